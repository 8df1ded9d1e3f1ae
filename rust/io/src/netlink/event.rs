//! What the kernel can say of the network: its values, and the news of them.

use fastlvs_core::net::{Mac, Prefix};
use std::net::IpAddr;

/// An interface.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Link {
    /// The kernel's number for it.
    pub index: u32,
    /// Its name, `eth0`.
    pub name: String,
    /// Its link-layer address, if it has one of 6 bytes.
    pub mac: Option<Mac>,
    /// The longest IP packet that it takes, in bytes.
    pub mtu: u32,
    /// Whether it is administratively up.
    pub up: bool,
    /// Whether it has a carrier, as far as the kernel knows.
    pub running: bool,
    /// Whether its frames are Ethernet's. Those of a loopback are not.
    pub ethernet: bool,
    /// The index of the bridge, bond or the like whose port it is: what it takes in is that one's. A member of a VRF
    /// stays an interface of its own.
    pub port_of: Option<u32>,
}

/// An address of an interface.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Address {
    /// The index of the link.
    pub link: u32,
    /// The address with the length of its on-link prefix.
    pub prefix: Prefix,
}

/// One line of a routing table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Route {
    /// Which destinations it is for.
    pub destination: Prefix,
    /// What happens to packets for them.
    pub kind: RouteKind,
    /// Smaller is preferred among routes of the same prefix.
    pub metric: u32,
    /// The table's number: 253 is default, 254 main, 255 local.
    pub table: u32,
}

/// What a route does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RouteKind {
    /// Hands packets to a neighbour. Of several next hops this is the first one alive.
    Unicast {
        /// The index of the link that they leave by.
        link: u32,
        /// The router; `None` when the destination itself is on the link.
        via: Option<IpAddr>,
        /// A limit below the link's, in bytes.
        mtu: Option<u32>,
        /// The source address that the host prefers for packets of its own.
        source: Option<IpAddr>,
    },
    /// The destination is the host itself.
    Local,
    /// Packets are refused (`unreachable`, `blackhole`, `prohibit`).
    Unreachable,
}

/// What one message says, as far as it concerns us.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Event {
    /// A link is there, so.
    Link(Link),
    /// The link of this index is gone.
    LinkGone(u32),
    /// An address can be used.
    Address(Address),
    /// An address cannot be used (any more, or yet).
    AddressGone(Address),
    /// A route is there; with `replaces` in the place of one alike.
    Route { route: Route, replaces: bool },
    /// A route is gone.
    RouteGone(Route),
    /// A next hop object is gone, that any number of routes may have used.
    NextHopGone,
    /// A neighbour's link-layer address, `None` when it has none that can be used.
    Neighbour { link: u32, address: IpAddr, mac: Option<Mac>, permanent: bool },
}

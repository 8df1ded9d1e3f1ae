//! From a message's bytes to what it says. Attributes are read one by one, so that one which this
//! version of the library cannot read costs neither the others nor the message.

use super::state::{Address, Link, Route, RouteKind};
use fastlvs_core::net::{Mac, Prefix};
use netlink_packet_core::{
    DecodeError, NLM_F_REPLACE, NetlinkBuffer, NetlinkHeader, NlaBuffer, Parseable, ParseableParametrized,
};
use netlink_packet_route::AddressFamily;
use netlink_packet_route::address::{
    AddressAttribute, AddressHeader, AddressHeaderFlags, AddressMessageBuffer,
};
use netlink_packet_route::link::{LinkAttribute, LinkFlags, LinkHeader, LinkLayerType, LinkMessageBuffer};
use netlink_packet_route::neighbour::{
    NeighbourAddress, NeighbourAttribute, NeighbourHeader, NeighbourMessageBuffer, NeighbourState,
};
use netlink_packet_route::route::{
    RouteAddress, RouteAttribute, RouteFlags, RouteHeader, RouteLwEnCapType, RouteMessageBuffer, RouteMetric,
    RouteNextHopFlags, RouteType, RouteVia,
};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

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
    /// A neighbour's link-layer address, `None` when it has none that can be used.
    Neighbour { link: u32, address: IpAddr, mac: Option<Mac>, permanent: bool },
}

impl Event {
    /// Reads a message; `None` when it is malformed or of no concern.
    pub(super) fn parse(header: &NetlinkHeader, payload: &[u8]) -> Option<Self> {
        match header.message_type {
            libc::RTM_NEWLINK => link(payload).map(Self::Link),
            libc::RTM_DELLINK => link(payload).map(|link| Self::LinkGone(link.index)),
            libc::RTM_NEWADDR => {
                address(payload).map(
                    |(address, usable)| {
                        if usable { Self::Address(address) } else { Self::AddressGone(address) }
                    },
                )
            }
            libc::RTM_DELADDR => address(payload).map(|(address, _)| Self::AddressGone(address)),
            libc::RTM_NEWROUTE => {
                let replaces = header.flags & NLM_F_REPLACE != 0;
                route(payload).map(|route| Self::Route { route, replaces })
            }
            libc::RTM_DELROUTE => route(payload).map(Self::RouteGone),
            libc::RTM_NEWNEIGH => neighbour(payload, true),
            libc::RTM_DELNEIGH => neighbour(payload, false),
            _ => None,
        }
    }
}

/// The first message of a datagram: its header and what follows it.
pub(super) fn split(datagram: &[u8]) -> Option<(NetlinkHeader, &[u8])> {
    let buffer = NetlinkBuffer::new_checked(datagram).ok()?;
    let header = NetlinkHeader::parse(&NetlinkBuffer::new(&datagram)).ok()?;
    Some((header, buffer.payload()))
}

fn link(payload: &[u8]) -> Option<Link> {
    let buffer = LinkMessageBuffer::new_checked(payload).ok()?;
    let header = LinkHeader::parse(&buffer).ok()?;
    // Bridges speak of their ports in messages of the same types: a port that leaves is no link gone.
    if header.interface_family != AddressFamily::Unspec {
        return None;
    }
    let (mut name, mut mac, mut mtu) = (None, None, None);
    for attribute in attributes(buffer.attributes()) {
        // The others are many, large and not wanted.
        if !matches!(attribute.kind(), libc::IFLA_IFNAME | libc::IFLA_ADDRESS | libc::IFLA_MTU) {
            continue;
        }
        match LinkAttribute::parse_with_param(&attribute, header.interface_family) {
            Ok(LinkAttribute::IfName(text)) => name = Some(text),
            Ok(LinkAttribute::Address(bytes)) => mac = to_mac(&bytes),
            Ok(LinkAttribute::Mtu(bytes)) => mtu = Some(bytes),
            _ => {}
        }
    }
    Some(Link {
        index: header.index,
        name: name?,
        mac,
        mtu: mtu?,
        up: header.flags.contains(LinkFlags::Up),
        loopback: header.flags.contains(LinkFlags::Loopback),
        ethernet: header.link_layer_type == LinkLayerType::Ether,
    })
}

/// An address, and whether it can be used: duplicate address detection may be under way or have failed.
fn address(payload: &[u8]) -> Option<(Address, bool)> {
    let buffer = AddressMessageBuffer::new_checked(payload).ok()?;
    let header = AddressHeader::parse(&buffer).ok()?;
    let (mut address, mut local) = (None, None);
    for attribute in attributes(buffer.attributes()) {
        match AddressAttribute::parse(&attribute) {
            Ok(AddressAttribute::Address(ip)) => address = Some(ip),
            Ok(AddressAttribute::Local(ip)) => local = Some(ip),
            _ => {}
        }
    }
    let own = local.or(address)?;
    let prefix = match address {
        // The prefix is the peer's, not ours.
        Some(peer) if peer != own => Prefix::host(own),
        _ => Prefix::new(own, header.prefix_len).ok()?,
    };
    let flags = header.flags;
    let waiting =
        flags.contains(AddressHeaderFlags::Tentative) && !flags.contains(AddressHeaderFlags::Optimistic);
    let usable = !waiting && !flags.contains(AddressHeaderFlags::Dadfailed);
    Some((Address { link: header.index, prefix }, usable))
}

fn route(payload: &[u8]) -> Option<Route> {
    let buffer = RouteMessageBuffer::new_checked(payload).ok()?;
    let header = RouteHeader::parse(&buffer).ok()?;
    // Routes for some sources or types of service only are beyond the director's look-up.
    if header.flags.contains(RouteFlags::Cloned) || header.source_prefix_length != 0 || header.tos != 0 {
        return None;
    }
    let anywhere: IpAddr = match header.address_family {
        AddressFamily::Inet => Ipv4Addr::UNSPECIFIED.into(),
        AddressFamily::Inet6 => Ipv6Addr::UNSPECIFIED.into(),
        _ => return None,
    };
    let mut found = RouteFields { table: header.table.into(), ..RouteFields::default() };
    let family = (header.address_family, header.kind, RouteLwEnCapType::None);
    for attribute in attributes(buffer.attributes()) {
        if let Ok(attribute) = RouteAttribute::parse_with_param(&attribute, family) {
            found.take(attribute);
        }
    }
    if !TABLES.contains(&found.table) {
        return None;
    }
    let kind = match header.kind {
        RouteType::Local => RouteKind::Local,
        RouteType::Unreachable | RouteType::BlackHole | RouteType::Prohibit => RouteKind::Unreachable,
        RouteType::Unicast if !header.flags.contains(RouteFlags::Dead) => {
            RouteKind::Unicast { link: found.link?, via: found.via, mtu: found.mtu, source: found.source }
        }
        _ => return None,
    };
    let destination = Prefix::new(found.destination.unwrap_or(anywhere), header.destination_prefix_length);
    Some(Route { destination: destination.ok()?, kind, metric: found.metric, table: found.table })
}

const TABLES: [u32; 3] =
    [libc::RT_TABLE_DEFAULT as u32, libc::RT_TABLE_MAIN as u32, libc::RT_TABLE_LOCAL as u32];

#[derive(Default)]
struct RouteFields {
    table: u32,
    destination: Option<IpAddr>,
    link: Option<u32>,
    via: Option<IpAddr>,
    mtu: Option<u32>,
    source: Option<IpAddr>,
    metric: u32,
}

impl RouteFields {
    fn take(&mut self, attribute: RouteAttribute) {
        match attribute {
            RouteAttribute::Table(table) => self.table = table,
            RouteAttribute::Destination(address) => self.destination = to_ip(&address),
            RouteAttribute::Oif(link) => self.link = Some(link),
            RouteAttribute::Gateway(address) => self.via = to_ip(&address),
            RouteAttribute::Via(RouteVia::Inet(address)) => self.via = Some(address.into()),
            RouteAttribute::Via(RouteVia::Inet6(address)) => self.via = Some(address.into()),
            RouteAttribute::PrefSource(address) => self.source = to_ip(&address),
            RouteAttribute::Priority(metric) => self.metric = metric,
            RouteAttribute::Metrics(metrics) => {
                self.mtu = metrics.iter().find_map(|metric| match metric {
                    RouteMetric::Mtu(bytes) if *bytes != 0 => Some(*bytes),
                    _ => None,
                });
            }
            RouteAttribute::MultiPath(hops) => {
                let alive = |flags: RouteNextHopFlags| !flags.contains(RouteNextHopFlags::Dead);
                if let Some(hop) = hops.into_iter().find(|hop| alive(hop.flags)) {
                    self.link = Some(hop.interface_index);
                    hop.attributes.into_iter().for_each(|attribute| self.take(attribute));
                }
            }
            _ => {}
        }
    }
}

fn neighbour(payload: &[u8], there: bool) -> Option<Event> {
    let buffer = NeighbourMessageBuffer::new_checked(payload).ok()?;
    let header = NeighbourHeader::parse(&buffer).ok()?;
    let (mut address, mut mac) = (None, None);
    for attribute in attributes(buffer.attributes()) {
        match NeighbourAttribute::parse_with_param(&attribute, header.family) {
            Ok(NeighbourAttribute::Destination(NeighbourAddress::Inet(ip))) => address = Some(ip.into()),
            Ok(NeighbourAttribute::Destination(NeighbourAddress::Inet6(ip))) => address = Some(ip.into()),
            Ok(NeighbourAttribute::LinkLocalAddress(bytes)) => mac = to_mac(&bytes),
            _ => {}
        }
    }
    let usable = there
        && matches!(
            header.state,
            NeighbourState::Reachable
                | NeighbourState::Stale
                | NeighbourState::Delay
                | NeighbourState::Probe
                | NeighbourState::Permanent
                | NeighbourState::Noarp
        );
    Some(Event::Neighbour {
        link: header.ifindex,
        // Bridges' forwarding entries have none.
        address: address?,
        mac: mac.filter(|_| usable),
        permanent: there && header.state == NeighbourState::Permanent,
    })
}

/// The attributes up to the first whose length is nonsense.
fn attributes<'a>(
    all: impl Iterator<Item = Result<NlaBuffer<&'a [u8]>, DecodeError>>,
) -> impl Iterator<Item = NlaBuffer<&'a [u8]>> {
    all.map_while(Result::ok)
}

fn to_mac(bytes: &[u8]) -> Option<Mac> {
    bytes.try_into().ok().map(Mac)
}

fn to_ip(address: &RouteAddress) -> Option<IpAddr> {
    match address {
        RouteAddress::Inet(address) => Some((*address).into()),
        RouteAddress::Inet6(address) => Some((*address).into()),
        _ => None,
    }
}

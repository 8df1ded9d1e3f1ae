//! From a message's bytes to what it says. Attributes are read one by one, so that one which this
//! version of the library cannot read costs neither the others nor the message.

use super::event::{Address, Event, Link, Route, RouteKind};
use fastlvs_core::net::{Mac, Prefix};
use netlink_packet_core::{
    DecodeError, NLM_F_REPLACE, NetlinkBuffer, NetlinkHeader, NlaBuffer, NlasIterator, Parseable,
    ParseableParametrized,
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

/// From linux/rtnetlink.h.
const RTM_DELNEXTHOP: u16 = 105;
/// From `linux/if_link.h`: of what kind the master is.
const INFO_SLAVE_KIND: u16 = 4;

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
            RTM_DELNEXTHOP => Some(Self::NextHopGone),
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
    let (mut name, mut mac, mut mtu, mut master, mut in_vrf) = (None, None, None, None, false);
    for attribute in attributes(buffer.attributes()) {
        // The others are many, large and not wanted.
        match attribute.kind() {
            libc::IFLA_LINKINFO => {
                in_vrf = attributes(NlasIterator::new(attribute.value()))
                    .any(|inner| inner.kind() == INFO_SLAVE_KIND && inner.value().starts_with(b"vrf\0"));
                continue;
            }
            libc::IFLA_IFNAME | libc::IFLA_ADDRESS | libc::IFLA_MTU | libc::IFLA_MASTER => {}
            _ => continue,
        }
        match LinkAttribute::parse_with_param(&attribute, header.interface_family) {
            Ok(LinkAttribute::IfName(text)) => name = Some(text),
            Ok(LinkAttribute::Address(bytes)) => mac = to_mac(&bytes),
            Ok(LinkAttribute::Mtu(bytes)) => mtu = Some(bytes),
            Ok(LinkAttribute::Controller(index)) if index != 0 => master = Some(index),
            _ => {}
        }
    }
    Some(Link {
        index: header.index,
        name: name?,
        mac,
        mtu: mtu?,
        up: header.flags.contains(LinkFlags::Up),
        running: header.flags.contains(LinkFlags::Running),
        ethernet: header.link_layer_type == LinkLayerType::Ether,
        port_of: master.filter(|_| !in_vrf),
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

#[cfg(test)]
mod tests {
    use super::*;
    use netlink_packet_core::{Emitable, NetlinkMessage, NetlinkPayload};
    use netlink_packet_route::RouteNetlinkMessage as Message;
    use netlink_packet_route::address::AddressMessage;
    use netlink_packet_route::link::{InfoPortKind, LinkInfo, LinkMessage};
    use netlink_packet_route::neighbour::NeighbourMessage;
    use netlink_packet_route::route::{RouteMessage, RouteNextHop};

    /// What the message says, once written as the kernel writes it.
    fn read(message: Message, flags: u16) -> Option<Event> {
        let mut message =
            NetlinkMessage::new(NetlinkHeader::default(), NetlinkPayload::InnerMessage(message));
        message.header.flags = flags;
        message.finalize();
        let mut bytes = vec![0; message.buffer_len()];
        message.serialize(&mut bytes);
        let (header, payload) = split(&bytes).unwrap();
        Event::parse(&header, payload)
    }

    fn eth0() -> LinkMessage {
        let mut message = LinkMessage::default();
        message.header.index = 7;
        message.header.link_layer_type = LinkLayerType::Ether;
        message.header.flags = LinkFlags::Up | LinkFlags::Running;
        message.attributes = vec![
            LinkAttribute::IfName("eth0".to_owned()),
            LinkAttribute::Mtu(1500),
            LinkAttribute::Address(vec![2, 0, 0, 0, 0, 1]),
        ];
        message
    }

    #[test]
    fn a_link_is_read_and_a_bridge_s_talk_of_ports_is_not() {
        let mac = Some(Mac([2, 0, 0, 0, 0, 1]));
        let name = "eth0".to_owned();
        let (up, running, ethernet) = (true, true, true);
        let link = Link { index: 7, name, mac, mtu: 1500, up, running, ethernet, port_of: None };
        assert_eq!(read(Message::NewLink(eth0()), 0), Some(Event::Link(link)));
        assert_eq!(read(Message::DelLink(eth0()), 0), Some(Event::LinkGone(7)));

        let mut of_bridge = eth0();
        of_bridge.header.interface_family = AddressFamily::Bridge;
        assert_eq!(read(Message::DelLink(of_bridge), 0), None);
        let mut wireless_event = eth0();
        wireless_event.attributes.truncate(1);
        assert_eq!(read(Message::NewLink(wireless_event), 0), None);
    }

    #[test]
    fn a_port_of_a_bridge_is_told_from_a_member_of_a_vrf() {
        let enslaved = |kind: Option<InfoPortKind>| {
            let mut message = eth0();
            message.attributes.push(LinkAttribute::Controller(9));
            let info = kind.map(|kind| LinkAttribute::LinkInfo(vec![LinkInfo::PortKind(kind)]));
            message.attributes.extend(info);
            match read(Message::NewLink(message), 0) {
                Some(Event::Link(link)) => link.port_of,
                other => panic!("{other:?}"),
            }
        };
        assert_eq!(enslaved(Some(InfoPortKind::Bridge)), Some(9));
        assert_eq!(enslaved(Some(InfoPortKind::Bond)), Some(9));
        assert_eq!(enslaved(None), Some(9));
        assert_eq!(enslaved(Some(InfoPortKind::Vrf)), None);
    }

    fn an_address(length: u8, flags: AddressHeaderFlags, attributes: Vec<AddressAttribute>) -> Message {
        let mut message = AddressMessage::default();
        message.header.index = 7;
        message.header.prefix_len = length;
        message.header.flags = flags;
        message.header.family = AddressFamily::Inet;
        message.attributes = attributes;
        Message::NewAddress(message)
    }

    #[test]
    fn an_address_is_ours_and_not_the_peer_s() {
        let local = |text: &str| AddressAttribute::Local(text.parse().unwrap());
        let address = |text: &str| AddressAttribute::Address(text.parse().unwrap());
        let none = AddressHeaderFlags::empty();
        let (tentative, failed) = (AddressHeaderFlags::Tentative, AddressHeaderFlags::Dadfailed);
        let cases = [
            (24, none, vec![address("10.0.0.1"), local("10.0.0.1")], "10.0.0.1/24", true),
            (24, none, vec![address("10.0.9.0"), local("10.0.0.1")], "10.0.0.1/32", true),
            (64, none, vec![address("2001:db8::1")], "2001:db8::1/64", true),
            (64, tentative, vec![address("2001:db8::1")], "2001:db8::1/64", false),
            (
                64,
                tentative | AddressHeaderFlags::Optimistic,
                vec![address("2001:db8::1")],
                "2001:db8::1/64",
                true,
            ),
            (64, tentative | failed, vec![address("2001:db8::1")], "2001:db8::1/64", false),
        ];
        for (length, flags, attributes, prefix, usable) in cases {
            let address = Address { link: 7, prefix: prefix.parse().unwrap() };
            let expected = if usable { Event::Address(address) } else { Event::AddressGone(address) };
            assert_eq!(read(an_address(length, flags, attributes), 0), Some(expected));
        }
        assert_eq!(read(an_address(33, none, vec![address("10.0.0.1")]), 0), None);
        assert_eq!(read(an_address(24, none, vec![]), 0), None);
    }

    fn a_route(kind: RouteType, attributes: Vec<RouteAttribute>) -> RouteMessage {
        let mut message = RouteMessage::default();
        message.header.address_family = AddressFamily::Inet;
        message.header.destination_prefix_length = 24;
        message.header.table = RouteHeader::RT_TABLE_MAIN;
        message.header.kind = kind;
        message.attributes = vec![RouteAttribute::Destination(RouteAddress::Inet([198, 51, 100, 0].into()))];
        message.attributes.extend(attributes);
        message
    }

    fn gateway(last: u8) -> RouteAttribute {
        RouteAttribute::Gateway(RouteAddress::Inet([192, 0, 2, last].into()))
    }

    fn hop(link: u32, last: u8, flags: RouteNextHopFlags) -> RouteNextHop {
        let mut hop = RouteNextHop::default();
        hop.interface_index = link;
        hop.flags = flags;
        hop.attributes = vec![gateway(last)];
        hop
    }

    #[test]
    fn a_route_says_where_to() {
        let unicast = |link, last, mtu, source: Option<[u8; 4]>| RouteKind::Unicast {
            link,
            via: Some([192, 0, 2, last].into()),
            mtu,
            source: source.map(Into::into),
        };
        let oif = RouteAttribute::Oif(7);
        let all = vec![
            oif.clone(),
            gateway(1),
            RouteAttribute::Metrics(vec![RouteMetric::Advmss(1200), RouteMetric::Mtu(1300)]),
            RouteAttribute::PrefSource(RouteAddress::Inet([192, 0, 2, 9].into())),
        ];
        let hops = RouteAttribute::MultiPath(vec![
            hop(3, 3, RouteNextHopFlags::Dead),
            hop(4, 4, RouteNextHopFlags::empty()),
            hop(5, 5, RouteNextHopFlags::empty()),
        ]);
        let cases = [
            (RouteType::Unicast, all, Some(unicast(7, 1, Some(1300), Some([192, 0, 2, 9])))),
            (RouteType::Unicast, vec![hops], Some(unicast(4, 4, None, None))),
            (RouteType::Unicast, vec![gateway(1)], None),
            (RouteType::Local, vec![oif.clone()], Some(RouteKind::Local)),
            (RouteType::BlackHole, vec![], Some(RouteKind::Unreachable)),
            (RouteType::Prohibit, vec![], Some(RouteKind::Unreachable)),
            (RouteType::Broadcast, vec![oif.clone()], None),
            (RouteType::Anycast, vec![oif], None),
        ];
        for (kind, attributes, expected) in cases {
            let got = read(Message::NewRoute(a_route(kind, attributes)), 0);
            let destination = "198.51.100.0/24".parse().unwrap();
            let route = expected.map(|kind| Route { destination, kind, metric: 0, table: 254 });
            assert_eq!(got, route.map(|route| Event::Route { route, replaces: false }), "{kind:?}");
        }
    }

    #[test]
    fn routes_beyond_the_look_up_are_left_out() {
        let good = || a_route(RouteType::Unreachable, vec![RouteAttribute::Priority(3)]);
        let Some(Event::Route { route, replaces: true }) = read(Message::NewRoute(good()), NLM_F_REPLACE)
        else {
            panic!("no route that replaces");
        };
        assert_eq!((route.metric, route.table), (3, 254));
        assert!(matches!(read(Message::DelRoute(good()), 0), Some(Event::RouteGone(_))));

        let edits: [fn(&mut RouteMessage); 6] = [
            |message| message.header.flags = RouteFlags::Cloned,
            |message| message.header.tos = 4,
            |message| message.header.source_prefix_length = 64,
            |message| message.header.destination_prefix_length = 33,
            |message| message.header.address_family = AddressFamily::Mpls,
            // The attribute counts, not the header, which has no room for the table's number.
            |message| message.attributes.push(RouteAttribute::Table(1_000)),
        ];
        for (place, edit) in edits.iter().enumerate() {
            let mut message = good();
            edit(&mut message);
            assert_eq!(read(Message::NewRoute(message), 0), None, "edit {place}");
        }
    }

    #[test]
    fn a_neighbour_counts_while_its_state_is_usable() {
        let mut message = NeighbourMessage::default();
        message.header.ifindex = 7;
        message.header.family = AddressFamily::Inet;
        message.attributes = vec![
            NeighbourAttribute::Destination(NeighbourAddress::Inet([10, 0, 0, 2].into())),
            NeighbourAttribute::LinkLocalAddress(vec![2; 6]),
        ];
        let states = [
            (NeighbourState::Reachable, true),
            (NeighbourState::Stale, true),
            (NeighbourState::Delay, true),
            (NeighbourState::Probe, true),
            (NeighbourState::Permanent, true),
            (NeighbourState::Noarp, true),
            (NeighbourState::Incomplete, false),
            (NeighbourState::Failed, false),
            (NeighbourState::None, false),
        ];
        let event = |mac: bool, permanent| {
            let mac = mac.then_some(Mac([2; 6]));
            Some(Event::Neighbour { link: 7, address: [10, 0, 0, 2].into(), mac, permanent })
        };
        for (state, usable) in states {
            message.header.state = state;
            let permanent = state == NeighbourState::Permanent;
            assert_eq!(
                read(Message::NewNeighbour(message.clone()), 0),
                event(usable, permanent),
                "{state:?}"
            );
            assert_eq!(read(Message::DelNeighbour(message.clone()), 0), event(false, false), "{state:?}");
        }
        message.attributes.remove(0);
        assert_eq!(read(Message::NewNeighbour(message), 0), None, "a forwarding entry of a bridge");
    }

    #[test]
    fn bytes_cut_anywhere_or_turned_are_read_or_skipped() {
        let message = a_route(RouteType::Unicast, vec![RouteAttribute::Oif(7), gateway(1)]);
        let mut payload = vec![0; message.buffer_len()];
        message.emit(&mut payload);
        let mut header = NetlinkHeader::default();
        for kind in 0..128 {
            header.message_type = kind;
            for length in 0..payload.len() {
                _ = Event::parse(&header, &payload[..length]);
            }
            for place in 0..payload.len() {
                for bit in 0..8 {
                    let mut turned = payload.clone();
                    turned[place] ^= 1 << bit;
                    _ = Event::parse(&header, &turned);
                }
            }
        }
        // An attribute that cannot be read leaves the others be.
        let broken = [&payload[..], &[5, 0, 5, 0, 1, 0, 0, 0]].concat();
        header.message_type = libc::RTM_NEWROUTE;
        assert_eq!(Event::parse(&header, &broken), Event::parse(&header, &payload));
        assert!(Event::parse(&header, &payload).is_some());
        assert!(split(&payload[..3]).is_none());
    }
}

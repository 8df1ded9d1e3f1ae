//! What the host itself sends as a masqueraded real server: replies that the engine has to translate.
//!
//! They leave by the host's own stack, where a packet socket sees only copies. So while a server's address is the host's, the
//! director's nftables table has a chain at the *egress* of the served interfaces too, which moves those packets to the
//! loopback. There they are for another host's link-layer address, so the stack drops them; a ring of the director's
//! takes them, and the engine decides. What it does not translate goes out as it would have gone.
//!
//! Where the source's link-layer address stands, they bear the owner's number and that of the interface that they were leaving by.
//! That interface's own address is put back.

use crate::claims::in_fragments;
use crate::ends::Ends;
use crate::family::{FAMILIES, OTHER_VLANS};
use fastlvs_core::forward::gateway;
use fastlvs_core::frame::{Egress, Frame, NextHop};
use fastlvs_core::net::{InterfaceId, Mac, Protocol};
use fastlvs_core::network::{Network, Output};
use fastlvs_core::packet::{self, Packet, Parsed};
use fastlvs_core::pipeline::ForHost;
use fastlvs_core::verdict::DropReason;
use fastlvs_io::af_packet::RingReceiver;
use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::net::{IpAddr, Ipv4Addr};
use std::ops::Range;
use std::sync::{Mutex, PoisonError};

/// Where packets are moved to.
pub const LOOPBACK: &str = "lo";
/// The source's link-layer address.
const SOURCE: Range<usize> = 6..12;

/// The ring of what was moved, on its way to the worker.
#[derive(Debug)]
pub struct Moved(Mutex<Option<RingReceiver>>);

impl Moved {
    /// To be taken once.
    pub const fn new(ring: RingReceiver) -> Self {
        Self(Mutex::new(Some(ring)))
    }

    /// The ring, for whoever asks first.
    pub fn take(&self) -> Option<RingReceiver> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

/// What stands in a packet of `owner`'s in the place of its source's link-layer address.
fn tag(owner: u32, interface: InterfaceId) -> Mac {
    let mut mac = Mac::default();
    mac.0[..4].copy_from_slice(&owner.to_be_bytes());
    mac.0[4..].copy_from_slice(&interface.0.to_be_bytes());
    mac
}

/// The interface that a moved packet was leaving by.
pub fn interface(frame: &[u8], network: &Network) -> Option<InterfaceId> {
    let number = frame.get(SOURCE)?.last_chunk().copied().map(u16::from_be_bytes)?;
    (usize::from(number) < network.interfaces().len()).then_some(InterfaceId(number))
}

/// Sends on a packet of the host's that is not the director's.
pub fn pass<E: Egress>(
    ForHost { frame, fragments }: &ForHost<'_>,
    network: &Network,
    egress: &mut E,
) -> Result<(), DropReason> {
    let Frame { interface, bytes, offload } = *frame;
    let device = network.interface(interface);
    let mac = bytes.first_chunk().map(|mac| Mac(*mac));
    if fragments.is_some()
        && let Ok(Parsed::Ip(packet)) = packet::parse(frame)
    {
        let hop = NextHop { interface, address: packet.destination(), mac };
        let output = Output { hop, source_mac: device.mac, mtu: device.mtu, source: None };
        return gateway::emit_own(&Packet { reassembled: *fragments, ..packet }, &output, egress);
    }
    // Nobody asks for the neighbour: the kernel has found him.
    let hop = NextHop { interface, address: Ipv4Addr::UNSPECIFIED.into(), mac };
    let slot = egress.slot(&hop, bytes.len())?;
    slot[..bytes.len()].copy_from_slice(bytes);
    slot[SOURCE].copy_from_slice(&device.mac.0);
    egress.send(bytes.len(), offload);
    Ok(())
}

/// The commands that make both chains. They hold no rules.
pub fn make(table: &str, owner: u32, interfaces: &[(InterfaceId, String)]) -> String {
    if interfaces.is_empty() {
        return format!("table netdev {table} {{\n chain move {{ }}\n chain egress {{ }}\n}}\n");
    }
    let names: Vec<_> = interfaces.iter().map(|(_, name)| format!("\"{name}\"")).collect();
    let tags: Vec<_> =
        interfaces.iter().map(|(id, name)| format!("\"{name}\" : {}", tag(owner, *id))).collect();
    let (devices, tags) = (names.join(", "), tags.join(", "));
    format!(
        "table netdev {table} {{\n chain move {{ ether saddr set oif map {{ {tags} }} fwd to \"{LOOPBACK}\"; }}\n \
         chain egress {{ type filter hook egress devices = {{ {devices} }} priority 0; policy accept; }}\n}}\n"
    )
}

/// The commands that remove them.
pub fn remove(table: &str) -> String {
    format!(
        "flush chain netdev {table} egress\ndelete chain netdev {table} egress\n\
         flush chain netdev {table} move\ndelete chain netdev {table} move\n"
    )
}

/// The commands that fill the chain anew: what comes from `local` is moved, but for what the director sends itself, and for
/// what goes to many, which the loopback would take for its own.
///
/// ICMP errors, and all but a datagram's first fragment, are moved by the address alone.
pub fn fill(table: &str, owner: u32, local: &Ends) -> String {
    let mut script = format!("flush chain netdev {table} egress\n");
    let mut rule = |rule: &str| {
        let _ = writeln!(script, "add rule netdev {table} egress {rule}");
    };
    rule(&format!("meta mark {owner} accept"));
    rule(&format!("{OTHER_VLANS} accept"));
    rule("ether daddr & 01:00:00:00:00:00 == 01:00:00:00:00:00 accept");
    for family in &FAMILIES {
        let (ip, fragment, error) = (family.ip, family.fragment, family.error);
        let mut of = |elements: &[String], what: &str| {
            if !elements.is_empty() {
                rule(&format!("{what} {{ {} }} goto move", elements.join(", ")));
            }
        };
        of(&family.points(&local.points), &format!("meta l4proto . {ip} saddr . th sport"));
        of(&family.hosts(&local.hosts), &format!("meta l4proto . {ip} saddr"));
        let servers = family.addresses(&addresses(local));
        let protocols = in_fragments(family.v4).map(|Protocol(number)| number.to_string()).join(", ");
        of(&servers, &format!("{fragment} meta l4proto {{ {protocols} }} {ip} saddr"));
        of(&servers, &format!("{error} {ip} saddr"));
        for range in &local.ranges {
            family.rules(range, "s").iter().for_each(|matches| rule(&format!("{matches} goto move")));
        }
    }
    script
}

/// The servers' addresses, to be read.
pub fn names(local: &Ends) -> String {
    addresses(local).iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

/// A range is one of ports, of one address: it is what a server answers from.
fn addresses(local: &Ends) -> BTreeSet<IpAddr> {
    let ranges = local.ranges.iter().map(|range| range.block().address());
    local.addresses().into_iter().chain(ranges).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ends;
    use fastlvs_core::capture::Capture;
    use fastlvs_core::frame::{ChecksumState, Offload};
    use fastlvs_core::net::{Endpoint, Prefix};
    use fastlvs_core::network::Interface;

    const OWNER: u32 = 0x0102_0304;

    fn network() -> Network {
        let interface = |number: u8| Interface {
            name: format!("eth{number}"),
            mac: Mac([2, 0, 0, 0, 0, number]),
            mtu: 1500,
            addresses: Vec::new(),
        };
        Network::new(vec![interface(0), interface(1)])
    }

    #[test]
    fn what_is_not_the_directors_goes_on_as_it_was() {
        let network = network();
        let mut bytes = [[7; 6], tag(OWNER, InterfaceId(1)).0].concat();
        bytes.extend([8, 0, 0x45, 1, 2, 3]);
        assert_eq!(bytes[6..10], OWNER.to_be_bytes(), "what the ring's filter looks for");
        let interface = interface(&bytes, &network).unwrap();
        let offload =
            Offload { checksum: ChecksumState::Partial { start: 34, offset: 16 }, segmentation: None };
        let mut sent = Capture::default();
        let frame = Frame { interface, bytes: &bytes, offload };
        pass(&ForHost { frame, fragments: None }, &network, &mut sent).unwrap();
        let (by, frame, left) = &sent.frames[0];
        assert_eq!((*by, *left), (InterfaceId(1), offload));
        assert_eq!(frame[..], [&[7; 6], &[2, 0, 0, 0, 0, 1][..], &bytes[12..]].concat());
    }

    #[test]
    fn what_bears_no_interface_of_ours_is_nobodys() {
        let bytes = [[7; 6], tag(OWNER, InterfaceId(2)).0].concat();
        assert_eq!(interface(&bytes, &network()), None);
        assert_eq!(interface(&bytes[..11], &network()), None);
    }

    #[test]
    fn only_the_servers_own_packets_are_moved() {
        let mut local = Ends::default();
        let server = Endpoint::new([10, 0, 0, 1].into(), 8080);
        local.insert(&ends::Range::new(Protocol::TCP, Prefix::host(server.address), 8080..=8080));
        local.insert(&ends::Range::new(Protocol::UDP, Prefix::host("fd00::1".parse().unwrap()), 8000..=8999));
        let script = fill("t", 7, &local);
        let rules: Vec<_> = script
            .lines()
            .skip(1)
            .filter_map(|line| line.strip_prefix("add rule netdev t egress "))
            .collect();
        assert_eq!(
            rules,
            [
                "meta mark 7 accept",
                "@ll,96,16 { 0x8100, 0x88a8 } @ll,112,16 & 0x0fff != 0 accept",
                "ether daddr & 01:00:00:00:00:00 == 01:00:00:00:00:00 accept",
                "meta l4proto . ip saddr . th sport { 6 . 10.0.0.1 . 8080 } goto move",
                "ip frag-off & 0x3fff != 0 meta l4proto { 1, 6, 17, 132 } ip saddr { 10.0.0.1 } goto move",
                "icmp type { 3, 4, 11 } ip frag-off & 0x3fff == 0 ip saddr { 10.0.0.1 } goto move",
                "exthdr frag exists meta l4proto { 58, 6, 17, 132 } ip6 saddr { fd00::1 } goto move",
                "icmpv6 type < 128 exthdr frag missing ip6 saddr { fd00::1 } goto move",
                "meta l4proto 17 ip6 saddr fd00::1/128 th sport 8000-8999 goto move",
                "exthdr frag exists meta l4proto { 58, 6, 17, 132 } ip6 saddr fd00::1/128 goto move",
            ]
        );
    }
}

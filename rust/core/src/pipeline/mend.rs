//! Packets that are not decided on as they came: fragments, and IPv4 packets with options.

use super::{Origin, Passage};
use crate::frame::{Egress, Frame, Offload};
use crate::net::Protocol;
use crate::network::Path;
use crate::packet::{Fragment, Packet, Parsed, parse};
use crate::reassembly::Reassembled;
use crate::trace::Trace;
use crate::verdict::{DropReason, Verdict};
use crate::wire::ipv4_options::{self, Options};
use crate::wire::{ipv4, ipv6_options};
use std::net::{IpAddr, Ipv4Addr};

impl<E: Egress, T: Trace> Passage<'_, E, T> {
    /// Keeps a fragment until its datagram is complete, which is then decided on as a whole.
    pub(super) fn gather(&mut self, packet: &Packet<'_>) -> Verdict {
        let may_be_balanced = matches!(packet.protocol(), Protocol::TCP | Protocol::UDP | Protocol::SCTP);
        let icmp = packet.protocol() == packet.icmp_protocol();
        // What a later IPv6 fragment carries only the first one says.
        let may_be_any = !packet.is_ipv4() && packet.fragment == Fragment::Later;
        let way = self.network().path(packet.destination());
        // Linux routes IPv4 fragments one by one before they are put together, IPv6's afterwards.
        let refused = packet.is_ipv4() && self.is_refused(packet, way);
        if !may_be_balanced && !icmp && !may_be_any || refused {
            return self.leave_to_host(packet);
        }
        let complete = match self.engine.reassembly.add(packet, self.now) {
            Reassembled::Kept => return Verdict::Queued,
            Reassembled::Apart if packet.fragment == Fragment::Later => return self.leave_to_host(packet),
            Reassembled::Apart => return self.decide(packet),
            Reassembled::Refused => return Verdict::Drop(DropReason::Fragment),
            Reassembled::Complete(complete) => complete,
        };
        let frame = Frame { interface: complete.interface, bytes: complete.bytes(), offload: Offload::NONE };
        let verdict = match parse(&frame) {
            Ok(Parsed::Ip(whole)) => {
                let whole = Packet { reassembled: Some(complete.fragments), ..whole };
                let verdict = self.decide(&whole);
                if verdict == Verdict::ToHost && self.engine.host_frame.get().is_none() {
                    self.engine.host_frame.copy(&whole);
                }
                verdict
            }
            Ok(_) => Verdict::Drop(DropReason::Fragment),
            Err(reason) => Verdict::Drop(reason),
        };
        self.engine.reassembly.reuse(complete);
        verdict
    }

    /// Gives up the datagrams that are late, and tells who sent the first fragment of those whose first fragment is `ours`.
    pub(super) fn give_up_late(&mut self, ours: impl Fn(&Packet<'_>) -> bool) {
        while let Some(late) = self.engine.reassembly.late(self.now) {
            if let Ok(Parsed::Ip(first)) = parse(&late.frame()) {
                let first = Packet { end: late.end(), ..first };
                if ours(&first) {
                    self.too_late(&first);
                }
            }
            self.engine.reassembly.reuse(late);
        }
    }

    /// What options alone decide about a packet, if they do: IPv4's, or IPv6's hop-by-hop. A host does not follow its sender's route, and
    /// tells what is wrong with broken ones itself.
    pub(super) fn stopped_by_options(&mut self, packet: &Packet<'_>) -> Option<Verdict> {
        if let Some(header) = packet.hop_by_hop() {
            return match ipv6_options::check(header) {
                ipv6_options::Options::Fine => None,
                ipv6_options::Options::Malformed => Some(Verdict::Drop(DropReason::MalformedIpv6)),
                ipv6_options::Options::Unknown => Some(self.leave_to_host(packet)),
            };
        }
        if !packet.has_options() {
            return None;
        }
        match ipv4_options::check(&packet.header()[ipv4::HEADER..]) {
            Options::Fine => None,
            Options::SourceRoute if self.origin == Origin::Wire => {
                Some(Verdict::Drop(DropReason::SourceRoute))
            }
            Options::SourceRoute | Options::Malformed => Some(self.leave_to_host(packet)),
        }
    }

    /// Goes on with a packet in whose options the director, as `own`, has left what a router leaves.
    pub(super) fn with_options(
        &mut self,
        packet: &Packet<'_>,
        own: IpAddr,
        go_on: impl FnOnce(&mut Self, &Packet<'_>) -> Verdict,
    ) -> Verdict {
        let (true, IpAddr::V4(own)) = (packet.has_options(), own) else { return go_on(self, packet) };
        let mut scratch = std::mem::take(&mut self.engine.scratch);
        scratch.clear();
        scratch.extend_from_slice(packet.bytes);
        let header = &mut scratch[packet.network..packet.transport];
        let milliseconds = self.now.as_nanos() / 1_000_000;
        let network = self.network();
        let is_meant = |address: Ipv4Addr| {
            let many = address.is_multicast() || address.is_broadcast();
            many || network.path(address.into()) == Some(Path::Local)
        };
        ipv4_options::record(&mut header[ipv4::HEADER..], own, milliseconds as u32, is_meant);
        ipv4::set_checksum(header);
        let verdict = go_on(self, &Packet { bytes: &scratch, ..*packet });
        self.engine.scratch = scratch;
        verdict
    }
}

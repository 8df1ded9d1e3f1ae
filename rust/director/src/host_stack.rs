//! The host's own stack, seen from the worker: what the engine leaves to it, and it was kept away from, is given back.

use crate::counters::WorkerCounters;
use crate::links::{Event, Links, Live};
use fastlvs_core::forward::{finish_checksum, gateway, segment};
use fastlvs_core::frame::{Egress, Frame, NextHop, Offload};
use fastlvs_core::net::Mac;
use fastlvs_core::network::{Output, Path};
use fastlvs_core::packet::{self, Packet, Parsed};
use fastlvs_core::pipeline::ForHost;
use fastlvs_core::verdict::DropReason;
use fastlvs_core::wire::ethernet;
use fastlvs_core::wire::ndp::{self, Neighbour};
use fastlvs_io::raw::GiveBack;
use std::net::IpAddr;

/// What is done with frames that the engine leaves to the host.
pub struct HostStack<'a> {
    pub live: &'a Live,
    pub links: &'a Links,
    /// Room for a packet of the greatest length.
    pub scratch: &'a mut [u8],
    pub counters: &'a mut WorkerCounters,
}

impl HostStack<'_> {
    /// Gives back what became of a frame that the kernel was kept away from. Of all other frames it has the original.
    pub fn leave(&mut self, frame: &Frame<'_>, for_host: &ForHost<'_>) {
        match packet::parse(frame) {
            Ok(Parsed::Ip(came)) => {
                if let Some(goes) = self.claimed(&came, &for_host.frame) {
                    self.give_back(&Packet { reassembled: for_host.fragments, ..goes });
                } else if let Some(address) = advertised(&came) {
                    self.heard(frame, address, came.source_mac);
                }
            }
            Ok(Parsed::Arp(arp)) => self.heard(frame, arp.sender().into(), arp.sender_mac()),
            _ => {}
        }
    }

    /// What the host is to get for a packet, if it was kept away from it. Mostly that is the packet itself, which is
    /// not read again then.
    fn claimed<'f>(&self, came: &Packet<'f>, for_host: &Frame<'f>) -> Option<Packet<'f>> {
        if !self.live.claims.take(came, &self.live.snapshot.network) {
            return None;
        }
        if std::ptr::eq(came.bytes, for_host.bytes) {
            return Some(*came);
        }
        match packet::parse(for_host) {
            Ok(Parsed::Ip(goes)) => Some(goes),
            _ => None,
        }
    }

    /// What the engine answered itself. Who asks by ARP says who he is: one that bears a VIP has it too.
    pub fn answered(&self, frame: &Frame<'_>) {
        if let Ok(Parsed::Arp(arp)) = packet::parse(frame) {
            self.heard(frame, arp.sender().into(), arp.sender_mac());
        }
    }

    /// Somebody on the link says that he has an address.
    fn heard(&self, frame: &Frame<'_>, address: IpAddr, mac: Mac) {
        if self.live.claims.has_service(address) {
            self.links.tell(Event::Claimed(frame.interface, address, mac));
        }
    }

    fn give_back(&mut self, packet: &Packet<'_>) {
        let path = self.live.snapshot.network.path(packet.destination());
        let routed = packet.reassembled.is_some() || packet.is_icmp_error();
        let done = match path {
            Some(Path::Out(output)) if routed => self.route(packet, &output),
            _ => segment::finished(packet, self.scratch, |frame| {
                send(&self.links.host, &frame[packet.network..]);
                Ok(())
            }),
        };
        self.counters.given_back += u64::from(done.is_ok());
    }

    /// Sends a packet on as a router does: fragments as they came, for the raw socket cuts nothing itself; an error no
    /// further than its TTL reaches, for the engine leaves those that do not to the router.
    fn route(&mut self, packet: &Packet<'_>, output: &Output) -> Result<(), DropReason> {
        let mut fragments = Datagrams { host: &self.links.host, room: self.scratch };
        gateway::emit(&Packet { dont_fragment: false, ..*packet }, output, &mut fragments)
    }
}

/// The kernel may refuse: it has no route, or the packet does not fit. So it would have done itself.
fn send(host: &GiveBack, datagram: &[u8]) {
    let _refused = host.send(datagram);
}

/// Hands the host what is written as frames.
struct Datagrams<'a> {
    host: &'a GiveBack,
    room: &'a mut [u8],
}

impl Egress for Datagrams<'_> {
    fn slot(&mut self, _: &NextHop, length: usize) -> Result<&mut [u8], DropReason> {
        self.room.get_mut(..length).ok_or(DropReason::TooBig)
    }

    fn send(&mut self, length: usize, offload: Offload) {
        finish_checksum(&mut self.room[..length], offload);
        send(self.host, &self.room[ethernet::HEADER..length]);
    }
}

/// The address of which a neighbour's advertisement says that he has it.
fn advertised(packet: &Packet<'_>) -> Option<IpAddr> {
    if packet.is_ipv4() || packet.icmp_type().is_none() {
        return None;
    }
    let said = Neighbour::parse(packet.payload()).filter(|said| !said.is_question())?;
    let valid = packet.ttl == ndp::HOP_LIMIT && packet.icmp_checksum_is_right();
    valid.then_some(said.target().into())
}

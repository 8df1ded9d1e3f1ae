//! Writing an IP packet into the egress, whole or in fragments.

use crate::frame::{ChecksumState, Egress, Offload};
use crate::network::Output;
use crate::packet::Packet;
use crate::verdict::DropReason;
use crate::wire::ipv4::{self, MORE_FRAGMENTS};
use crate::wire::{ethernet, ipv6, is_ipv4, set_u16, u16_at};
use std::ops::Range;

const OPTION_END: u8 = 0;
const OPTION_NOTHING: u8 = 1;
/// Fragments after the first carry only options with this bit (RFC 791 §3.1).
const OPTION_COPIED: u8 = 0x80;

/// The link-layer header of the frames that a packet becomes: untagged, with whatever priority it came.
#[derive(Clone, Copy)]
pub(super) struct Link<'a> {
    out: &'a Output,
    ethertype: u16,
}

impl<'a> Link<'a> {
    /// For `packet` itself, changed or not, or an answer to it, that leaves by `out`.
    pub(super) fn of(packet: &Packet<'_>, out: &'a Output) -> Self {
        Self { out, ethertype: u16_at(packet.bytes, packet.network - 2) }
    }

    /// The same for an IP packet that starts with another header than `packet`.
    pub(super) fn carrying(self, ethertype: u16) -> Self {
        Self { ethertype, ..self }
    }

    /// What its way takes.
    pub(super) const fn mtu(&self) -> u32 {
        self.out.mtu
    }

    /// Sends one frame: this header, and `length` bytes behind it that `write` fills.
    pub(super) fn emit<E: Egress + ?Sized>(
        &self,
        length: usize,
        offload: Offload,
        egress: &mut E,
        write: impl FnOnce(&mut [u8]),
    ) -> Result<(), DropReason> {
        let header = ethernet::HEADER;
        let frame = &mut egress.slot(&self.out.hop, header + length)?[..header + length];
        ethernet::set_addresses(frame, self.out.hop.mac.unwrap_or_default(), self.out.source_mac);
        set_u16(frame, header - 2, self.ethertype);
        write(&mut frame[header..]);
        egress.send(header + length, offload);
        Ok(())
    }
}

/// The packet's own offload, told from a first byte that is `dropped` bytes behind the frame's.
pub(super) fn offload_behind(packet: &Packet<'_>, dropped: usize) -> Offload {
    let checksum = match packet.offload.checksum {
        ChecksumState::Partial { start, offset } => {
            ChecksumState::Partial { start: start - dropped as u16, offset }
        }
        ChecksumState::Finished => ChecksumState::Finished,
    };
    Offload { checksum, ..packet.offload }
}

/// How a datagram may be cut, beside what its own header says.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Cut {
    /// The longest fragment allowed, where the way's MTU allows a longer one: a packet that came in
    /// fragments leaves in fragments that are no longer.
    pub(super) longest: Longest,
    /// What IPv6 fragments are told apart by; without it, an IPv6 packet is not cut.
    pub(super) identification: Option<u32>,
    /// Whether an IPv4 packet is cut in spite of its "don't fragment".
    pub(super) forced: bool,
    /// Whether the IPv4 fragments bear "don't fragment", as those did that the packet came in.
    pub(super) dont_fragment: bool,
}

/// How long fragments may be, beside what the MTU allows.
#[derive(Clone, Copy, Debug, Default)]
pub(super) enum Longest {
    /// As long as they like.
    #[default]
    Any,
    /// No longer than those that the packet came in: it is cut again even if it would fit.
    AsCame(u16),
    /// The same, but what fits is not cut.
    IfCut(u16),
    /// No longer than those, or than what every IPv6 link takes: there are no pieces that could go on as they
    /// came, since other bytes stand in front now, or since it came in one.
    Anew(u16),
}

impl Cut {
    /// For `packet` itself, changed or not.
    pub(super) fn of(packet: &Packet<'_>) -> Self {
        let fragments = packet.reassembled;
        Self {
            longest: fragments.map_or(Longest::Any, |f| Longest::AsCame(f.longest)),
            identification: fragments.map(|f| f.identification),
            forced: fragments.is_some() || packet.is_ipv4() && packet.is_icmp_error(),
            dont_fragment: fragments.is_some() && packet.is_ipv4() && packet.dont_fragment,
        }
    }
}

/// An IP packet in several runs of bytes, so that its beginning can be changed without a copy of the
/// rest. Checksums are finished.
pub(super) struct Datagram<'a> {
    /// The IP header with its options or extension headers. At most [`ipv4::LONGEST`] bytes in IPv4.
    pub(super) header: &'a [u8],
    /// What follows, one behind the other.
    pub(super) runs: [&'a [u8]; 4],
    /// How it may be cut.
    pub(super) cut: Cut,
}

impl Datagram<'_> {
    /// Sends it whole if it fits the way's MTU, in fragments that do otherwise. What may not be cut is
    /// [`DropReason::TooBig`] then.
    pub(super) fn emit<E: Egress + ?Sized>(&self, link: &Link<'_>, egress: &mut E) -> Result<(), DropReason> {
        let payload: usize = self.runs.iter().map(|run| run.len()).sum();
        let way = link.out.mtu as usize;
        let (whole, mtu) = match self.cut.longest {
            Longest::Any => (way, way),
            Longest::AsCame(longest) => (way.min(longest.into()), way.min(longest.into())),
            Longest::IfCut(longest) => (way, way.min(longest.into())),
            Longest::Anew(longest) => (way.min(longest.into()), way.min(ipv6::LEAST_MTU.max(longest.into()))),
        };
        if self.header.len() + payload <= whole {
            return self.emit_part(self.header, 0..payload, link, egress);
        }
        match self.cut.identification {
            _ if is_ipv4(self.header) => self.emit_cut_v4(payload, mtu, link, egress),
            Some(identification) => self.emit_cut_v6(payload, mtu, identification, link, egress),
            None => Err(DropReason::TooBig),
        }
    }

    fn emit_cut_v4<E: Egress + ?Sized>(
        &self,
        payload: usize,
        mtu: usize,
        link: &Link<'_>,
        egress: &mut E,
    ) -> Result<(), DropReason> {
        // Only the last fragment's length may be something else than a multiple of 8.
        let room = mtu.saturating_sub(self.header.len()) & !7;
        let field = u16_at(self.header, ipv4::FRAGMENT);
        let units = usize::from(field & ipv4::OFFSET) + payload / 8;
        let may_be_cut = self.cut.forced || field & ipv4::DONT_FRAGMENT == 0;
        if !may_be_cut || room == 0 || units > usize::from(ipv4::OFFSET) {
            return Err(DropReason::TooBig);
        }
        let kept = if self.cut.dont_fragment { ipv4::DONT_FRAGMENT } else { 0 };
        let field = field & !ipv4::DONT_FRAGMENT | kept;
        let mut buffer = [0; ipv4::LONGEST];
        let header = &mut buffer[..self.header.len()];
        header.copy_from_slice(self.header);
        for start in (0..payload).step_by(room) {
            let end = payload.min(start + room);
            set_u16(header, ipv4::TOTAL_LENGTH, (header.len() + end - start) as u16);
            let more = if end < payload { MORE_FRAGMENTS } else { 0 };
            set_u16(header, ipv4::FRAGMENT, (field + (start / 8) as u16) | more);
            ipv4::set_checksum(header);
            self.emit_part(header, start..end, link, egress)?;
            if start == 0 {
                erase_uncopied_options(&mut header[ipv4::HEADER..]);
            }
        }
        Ok(())
    }

    /// The extension headers that routers read are repeated in every fragment, the others are cut with the
    /// payload (RFC 8200 §4.5).
    fn emit_cut_v6<E: Egress + ?Sized>(
        &self,
        payload: usize,
        mtu: usize,
        identification: u32,
        link: &Link<'_>,
        egress: &mut E,
    ) -> Result<(), DropReason> {
        let (repeated, next_field) = ipv6::repeated_headers(self.header);
        let (repeated, cut) = self.header.split_at(repeated);
        let mut buffer = [0; ipv6::HEADER_ROOM];
        let length = repeated.len() + ipv6::FRAGMENT_HEADER;
        let header = buffer.get_mut(..length).ok_or(DropReason::TooBig)?;
        header[..repeated.len()].copy_from_slice(repeated);
        let next = std::mem::replace(&mut header[next_field], ipv6::FRAGMENT);
        let [first, second, third, fourth] = self.runs;
        // What the header runs on with is cut too; a packet in five runs has none.
        let runs = match cut {
            [] => self.runs,
            _ if fourth.is_empty() => [cut, first, second, third],
            _ => return Err(DropReason::TooBig),
        };
        let rest = Datagram { header: &[], runs, cut: self.cut };
        let payload = cut.len() + payload;
        let room = mtu.saturating_sub(length) & !7;
        if room == 0 || payload > usize::from(u16::MAX) {
            return Err(DropReason::TooBig);
        }
        for start in (0..payload).step_by(room) {
            let end = payload.min(start + room);
            set_u16(header, ipv6::PAYLOAD_LENGTH, (length - ipv6::HEADER + end - start) as u16);
            let place = start as u16 | u16::from(end < payload);
            ipv6::write_fragment_header(next, place, identification, &mut header[repeated.len()..]);
            rest.emit_part(header, start..end, link, egress)?;
        }
        Ok(())
    }

    fn emit_part<E: Egress + ?Sized>(
        &self,
        header: &[u8],
        part: Range<usize>,
        link: &Link<'_>,
        egress: &mut E,
    ) -> Result<(), DropReason> {
        link.emit(header.len() + part.len(), Offload::NONE, egress, |packet| {
            let (place, mut rest) = packet.split_at_mut(header.len());
            place.copy_from_slice(header);
            let mut before = 0;
            for run in self.runs {
                let from = part.start.saturating_sub(before).min(run.len());
                let to = part.end.saturating_sub(before).min(run.len());
                let (place, next) = rest.split_at_mut(to - from);
                place.copy_from_slice(&run[from..to]);
                rest = next;
                before += run.len();
            }
        })
    }
}

/// Replaces the options that later fragments do not carry by fill bytes, as Linux does, which keeps
/// the header's length.
fn erase_uncopied_options(options: &mut [u8]) {
    let mut at = 0;
    while at < options.len() {
        let length = match options[at] {
            OPTION_END => return,
            OPTION_NOTHING => 1,
            _ => options.get(at + 1).map_or(0, |length| usize::from(*length)),
        };
        let Some(option) = options.get_mut(at..at + length).filter(|option| !option.is_empty()) else {
            return;
        };
        if option[0] & OPTION_COPIED == 0 {
            option.fill(OPTION_NOTHING);
        }
        at += length;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::capture::Capture;
    use crate::forward::testing::{PING, out, packet};
    use crate::net::InterfaceId;

    #[test]
    fn later_fragments_carry_copied_options_only() {
        // Record route (not copied), stream identifier (copied), nothing, end.
        let mut options = [7, 3, 4, 0x88, 4, 0, 9, 1, 7, 2, 0];
        erase_uncopied_options(&mut options);
        assert_eq!(options, [1, 1, 1, 0x88, 4, 0, 9, 1, 1, 1, 0]);
        for mut broken in [[7, 0], [7, 3], [1, 7]] {
            let before = broken;
            erase_uncopied_options(&mut broken);
            assert_eq!(broken, before);
        }
    }

    #[test]
    fn a_fragment_is_cut_into_fragments_of_the_same_datagram() {
        let mut header = [0; 24];
        let fields = ipv4::Fields {
            tos: 0,
            total_length: 24 + 48,
            identification: 77,
            fragment: MORE_FRAGMENTS | 5,
            ttl: 9,
            protocol: crate::net::Protocol::UDP,
            source: [10, 0, 0, 2].into(),
            destination: [10, 0, 0, 3].into(),
        };
        fields.write(&mut header);
        header[0] = 0x46;
        // A route to be recorded, by the first fragment alone.
        header[20..].copy_from_slice(&[7, 3, 4, 0]);
        let (out, mut sent) = (out(InterfaceId(7), 24 + 39), Capture::default());
        let data: Vec<u8> = (0..48).collect();
        let datagram = Datagram {
            header: &header,
            runs: [&data[..1], &data[1..40], &data[40..], &[]],
            cut: Cut::default(),
        };
        datagram.emit(&Link::of(&packet(&PING), &out), &mut sent).unwrap();
        let seen: Vec<_> =
            sent.frames.iter().map(|(_, f, _)| (u16_at(f, 16), u16_at(f, 20), f[34], &f[38..])).collect();
        let more = MORE_FRAGMENTS;
        assert_eq!(seen, [(56, more | 5, 7, &data[..32]), (40, more | 9, 1, &data[32..])]);
    }

    #[test]
    fn pieces_that_are_cut_anew_are_as_long_as_every_ipv6_link_takes() {
        let mut header = [0; ipv6::HEADER];
        header[0] = 0x60;
        let way = out(InterfaceId(7), 1500);
        // Longest piece that came, length of the datagram with its headers; how long the pieces are.
        for (longest, length, pieces) in [
            (108, 108, vec![108]),
            (108, 200, vec![208]),
            (108, 1400, vec![1280, 176]),
            (1290, 1400, vec![1288, 168]),
        ] {
            let payload = vec![0; length - ipv6::HEADER];
            let cut = Cut { longest: Longest::Anew(longest), identification: Some(7), ..Cut::default() };
            let datagram = Datagram { header: &header, runs: [&payload, &[], &[], &[]], cut };
            let mut sent = Capture::default();
            datagram.emit(&Link::of(&packet(&PING), &way), &mut sent).unwrap();
            let seen: Vec<_> =
                sent.frames.iter().map(|(_, frame, _)| frame.len() - ethernet::HEADER).collect();
            assert_eq!(seen, pieces, "{length} bytes that came in pieces of {longest}");
        }
    }

    #[test]
    fn what_cannot_be_cut_is_refused() {
        let ping = packet(&PING);
        let cases = [
            ("no room for 8 bytes", 0x45, 0, 27),
            ("don't fragment", 0x45, ipv4::DONT_FRAGMENT, 28),
            ("a place beyond the longest datagram", 0x45, ipv4::OFFSET, 28),
            ("IPv6", 0x65, 0, 28),
        ];
        let mut sent = Capture::default();
        for (name, version, field, mtu) in cases {
            let mut header = [0; ipv4::HEADER];
            header[0] = version;
            set_u16(&mut header, 6, field);
            let datagram = Datagram { header: &header, runs: [&[0; 16], &[], &[], &[]], cut: Cut::default() };
            let narrow = out(InterfaceId(7), mtu);
            let done = datagram.emit(&Link::of(&ping, &narrow), &mut sent);
            assert_eq!(done, Err(DropReason::TooBig), "{name}");
        }
        assert!(sent.frames.is_empty());
    }
}

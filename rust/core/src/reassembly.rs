//! Putting fragments together again (RFC 815, RFC 8200 §4.5), as a Linux host does: a datagram with an overlap is
//! given up, a repeated fragment is ignored, an unfinished datagram is forgotten after half a minute (IPv4) or a
//! minute (IPv6).
//!
//! There is room for [`DATAGRAMS`] unfinished datagrams, and for [`MEMORY`] bytes of them; the oldest make room for
//! others. Buffers are kept for the next datagrams.

use crate::net::{InterfaceId, Protocol};
use crate::packet::{Fragment, Fragments, Packet};
use crate::time::{Duration, Instant};
use crate::wire::{ethernet, icmp, ipv4, ipv6, set_u16, tcp, u16_at, u32_at, udp};
use std::net::IpAddr;

/// Unfinished datagrams of one worker.
pub const DATAGRAMS: usize = 256;
/// Bytes of all of them together, as many as Linux has.
pub const MEMORY: usize = 4 << 20;
/// Buffers that are kept for the next datagrams.
const SPARE: usize = 32;
/// Runs of bytes that a datagram's fragments may form before it is complete.
const RUNS: usize = 128;
/// Room in front of the payload: link-layer header with a tag, IP header with options or extension headers.
const HEAD: usize = ethernet::HEADER + ethernet::TAG + ipv6::HEADER_ROOM;
/// Longest payload.
const LONGEST: usize = u16::MAX as usize - ipv4::HEADER;
/// Of the ECN codes seen (RFC 3168 §5.3), a bit each: that somebody does not know ECN, and that somebody was
/// congested.
const NOT_CAPABLE: u8 = 1 << 0b00;
const CONGESTION_EXPERIENCED: u8 = 1 << 0b11;
const PATIENCE_V4: Duration = Duration::from_secs(30);
const PATIENCE_V6: Duration = Duration::from_secs(60);

/// The unfinished datagrams of one worker.
#[derive(Debug, Default)]
pub struct Reassembly {
    datagrams: Vec<Unfinished>,
    spare: Vec<Store>,
    /// Datagrams begun so far.
    begun: u64,
}

/// Room for a datagram, used again and again.
#[derive(Debug, Default)]
struct Store {
    /// The payload from [`HEAD`] on, and the first fragment's headers in front of it.
    buffer: Vec<u8>,
    /// The bytes that are there, first and end of each run, in order.
    runs: Vec<(u16, u16)>,
}

/// What came of a fragment.
#[derive(Debug)]
pub enum Reassembled {
    /// It is kept until the others come.
    Kept,
    /// It contradicts itself or the others: it is dropped, and all of them forgotten unless it alone is wrong.
    Refused,
    /// It is none that is kept, and has to be decided on by itself.
    Apart,
    /// It was the last that was missing.
    Complete(Complete),
}

/// A complete datagram in a frame. To be given back with [`Reassembly::reuse`].
#[derive(Debug)]
pub struct Complete {
    store: Store,
    start: usize,
    /// The interface that its last fragment came in on.
    pub interface: InterfaceId,
    /// What is remembered of its fragments.
    pub fragments: Fragments,
}

impl Complete {
    /// The frame.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        &self.store.buffer[self.start..]
    }
}

impl Reassembly {
    /// Takes a fragment.
    pub fn add(&mut self, packet: &Packet<'_>, now: Instant) -> Reassembled {
        self.forget_old(now);
        if stands_apart(packet) {
            return Reassembled::Apart;
        }
        let Some(piece) = Piece::of(packet) else { return Reassembled::Refused };
        let place = self.datagrams.iter().position(|datagram| datagram.key == piece.key);
        let place = place.unwrap_or_else(|| self.begin(&piece, now));
        let datagram = &mut self.datagrams[place];
        match datagram.add(packet, &piece) {
            Added::Kept if datagram.is_complete() && datagram.disagrees_on_congestion() => {
                self.forget(place);
                return Reassembled::Refused;
            }
            Added::Kept if datagram.is_complete() => {}
            Added::Kept => {
                self.make_room();
                return Reassembled::Kept;
            }
            Added::Refused => {
                self.forget(place);
                return Reassembled::Refused;
            }
            Added::Beyond => return Reassembled::Refused,
        }
        Reassembled::Complete(self.datagrams.swap_remove(place).complete(packet.interface))
    }

    /// Takes the buffer of a datagram back.
    pub fn reuse(&mut self, complete: Complete) {
        self.keep(complete.store);
    }

    /// Forgets what was not completed in time.
    pub fn forget_old(&mut self, now: Instant) {
        while let Some(place) = self.datagrams.iter().position(|datagram| datagram.deadline <= now) {
            self.forget(place);
        }
    }

    fn forget(&mut self, place: usize) {
        let datagram = self.datagrams.swap_remove(place);
        self.keep(datagram.store);
    }

    fn keep(&mut self, store: Store) {
        if self.spare.len() < SPARE {
            self.spare.push(store);
        }
    }

    /// Lets go of spare buffers, and then forgets the oldest datagrams, while all of them are too many or too long.
    fn make_room(&mut self) {
        while self.memory() > MEMORY && self.spare.pop().is_some() {}
        while self.datagrams.len() > DATAGRAMS || self.memory() > MEMORY {
            let oldest = self.datagrams.iter().enumerate().min_by_key(|(_, datagram)| datagram.number);
            let Some((place, _)) = oldest else { return };
            let datagram = self.datagrams.swap_remove(place);
            if self.memory() + datagram.store.buffer.capacity() <= MEMORY {
                self.keep(datagram.store);
            }
        }
    }

    fn memory(&self) -> usize {
        let spare: usize = self.spare.iter().map(|store| store.buffer.capacity()).sum();
        spare + self.datagrams.iter().map(|datagram| datagram.store.buffer.capacity()).sum::<usize>()
    }

    fn begin(&mut self, piece: &Piece, now: Instant) -> usize {
        let patience = if piece.key.source.is_ipv4() { PATIENCE_V4 } else { PATIENCE_V6 };
        let mut store = self.spare.pop().unwrap_or_default();
        store.runs.clear();
        store.buffer.clear();
        self.begun += 1;
        self.datagrams.push(Unfinished {
            key: piece.key,
            number: self.begun,
            deadline: now + patience,
            store,
            head: Head::default(),
            alone: true,
            total: None,
            longest: 0,
            dont_fragment: 0,
            congestion: 0,
        });
        self.datagrams.len() - 1
    }
}

/// What tells the fragments of a datagram from those of another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Key {
    source: IpAddr,
    destination: IpAddr,
    identification: u32,
    /// The protocol, which is part of the name in IPv4 alone.
    protocol: Option<Protocol>,
}

/// Where a fragment belongs.
struct Piece {
    key: Key,
    start: usize,
    /// Where in the frame its payload begins.
    from: usize,
    length: usize,
    last: bool,
}

impl Piece {
    /// `None` when it belongs nowhere.
    fn of(packet: &Packet<'_>) -> Option<Self> {
        let (source, destination) = (packet.source(), packet.destination());
        let (start, more, from, key) = if packet.is_ipv4() {
            let header = packet.datagram();
            let field = u16_at(header, 6);
            let protocol = Some(packet.protocol());
            let identification = u32::from(u16_at(header, 4));
            let start = usize::from(field & ipv4::OFFSET) * 8;
            let key = Key { source, destination, identification, protocol };
            (start, field & ipv4::MORE_FRAGMENTS != 0, packet.transport, key)
        } else if packet.fragment_header == 0 {
            return None;
        } else {
            let header = &packet.bytes[packet.fragment_header..];
            let field = u16_at(header, 2);
            let key = Key { source, destination, identification: u32_at(header, 4), protocol: None };
            let from = packet.fragment_header + ipv6::FRAGMENT_HEADER;
            (usize::from(field & !7), field & 1 != 0, from, key)
        };
        let length = packet.end.checked_sub(from)?;
        // Where more follow, the next one's place is counted in eights.
        let length = if more { length & !7 } else { length };
        let fits = start + length <= LONGEST;
        let empty = length == 0 && (more || start > 0);
        (fits && !empty).then_some(Self { key, start, from, length, last: !more })
    }
}

enum Added {
    Kept,
    /// It contradicts the others.
    Refused,
    /// It does not end where others say that the datagram does, and only it is dropped: IPv6 alone.
    Beyond,
}

/// Whether Linux leaves a fragment as it is: an IPv6 one behind which no other can begin, or a first one without its
/// whole transport header (RFC 8200 §4.5).
fn stands_apart(packet: &Packet<'_>) -> bool {
    if packet.is_ipv4() || packet.fragment_header == 0 {
        return false;
    }
    let more = u16_at(packet.bytes, packet.fragment_header + 2) & 1 != 0;
    let uneven = !(packet.end - packet.fragment_header - ipv6::FRAGMENT_HEADER).is_multiple_of(8);
    let header = match packet.protocol() {
        Protocol::TCP => tcp::HEADER,
        Protocol::UDP => udp::HEADER,
        Protocol::ICMPV6 => icmp::HEADER,
        _ => 1,
    };
    more && uneven || packet.fragment == Fragment::First && packet.payload().len() < header
}

/// A datagram of which something is missing.
#[derive(Debug)]
struct Unfinished {
    key: Key,
    /// How many began before it.
    number: u64,
    deadline: Instant,
    store: Store,
    head: Head,
    /// Whether only one fragment has come.
    alone: bool,
    /// Length of the payload, once the last fragment has told it.
    total: Option<u16>,
    /// Lengths of the longest fragment, and of the longest that nobody may fragment.
    longest: u16,
    dont_fragment: u16,
    /// The ECN codes seen, a bit for each.
    congestion: u8,
}

impl Unfinished {
    fn is_complete(&self) -> bool {
        let runs = &self.store.runs[..];
        self.head.length > 0 && matches!((runs, self.total), ([(0, end)], Some(total)) if *end == total)
    }

    /// Whether some of its fragments know ECN and some do not.
    const fn disagrees_on_congestion(&self) -> bool {
        self.congestion & NOT_CAPABLE != 0 && self.congestion != NOT_CAPABLE
    }

    fn complete(mut self, interface: InterfaceId) -> Complete {
        let start = HEAD - self.head.length;
        self.store.buffer.truncate(HEAD + usize::from(self.total.unwrap_or_default()));
        let dont_fragment = self.dont_fragment == self.longest;
        let congestion = self.congestion & CONGESTION_EXPERIENCED != 0;
        self.head.finish(&mut self.store.buffer[start..], dont_fragment, congestion);
        let fragments =
            Fragments { longest: self.longest, identification: self.key.identification, alone: self.alone };
        Complete { store: self.store, start, interface, fragments }
    }

    fn add(&mut self, packet: &Packet<'_>, piece: &Piece) -> Added {
        let (start, end) = (piece.start as u16, (piece.start + piece.length) as u16);
        let beyond = self.total.is_some_and(|total| end > total || piece.last && end != total);
        let cut_short = piece.last && self.store.runs.last().is_some_and(|(_, reached)| *reached > end);
        if beyond || cut_short {
            return if packet.is_ipv4() { Added::Refused } else { Added::Beyond };
        }
        if self.store.runs.iter().any(|(first, reached)| *first <= start && end <= *reached && start < end) {
            return Added::Kept;
        }
        if self.store.runs.iter().any(|(first, reached)| *first < end && start < *reached) {
            return Added::Refused;
        }
        if self.store.runs.len() == RUNS {
            return Added::Refused;
        }
        self.alone = self.store.runs.is_empty();
        self.insert((start, end));
        if piece.last {
            self.total = Some(end);
        }
        let needed = HEAD + usize::from(end);
        let buffer = &mut self.store.buffer;
        if buffer.len() < needed {
            buffer.resize(needed, 0);
        }
        buffer[HEAD + piece.start..needed]
            .copy_from_slice(&packet.bytes[piece.from..piece.from + piece.length]);
        let length = packet.ip_length() as u16;
        self.longest = self.longest.max(length);
        if packet.is_ipv4() && packet.dont_fragment {
            self.dont_fragment = self.dont_fragment.max(length);
        }
        self.congestion |= 1 << (packet.tos & 3);
        if piece.start == 0 && !self.head.take(packet, piece.from, &mut self.store.buffer) {
            return Added::Refused;
        }
        Added::Kept
    }

    fn insert(&mut self, run: (u16, u16)) {
        let place = self.store.runs.partition_point(|(first, _)| *first < run.0);
        self.store.runs.insert(place, run);
        // Runs that touch become one.
        let mut at = place.saturating_sub(1);
        while at + 1 < self.store.runs.len() && at <= place {
            if self.store.runs[at].1 == self.store.runs[at + 1].0 {
                self.store.runs[at].1 = self.store.runs.remove(at + 1).1;
            } else {
                at += 1;
            }
        }
    }
}

/// The first fragment's headers, which end where the payload begins.
#[derive(Clone, Copy, Debug, Default)]
struct Head {
    /// From the frame's first byte; 0 while the first fragment has not come.
    length: usize,
    /// Length of the link-layer header.
    link: usize,
}

impl Head {
    /// Copies the headers in front of the payload, IPv6's fragment header left out. False when there is no
    /// room for them.
    fn take(&mut self, packet: &Packet<'_>, payload: usize, buffer: &mut [u8]) -> bool {
        let kept = if packet.is_ipv4() { payload } else { payload - ipv6::FRAGMENT_HEADER };
        if kept > HEAD {
            return false;
        }
        *self = Self { length: kept, link: packet.network };
        buffer[HEAD - kept..HEAD].copy_from_slice(&packet.bytes[..kept]);
        if !packet.is_ipv4() {
            let next = packet.bytes[packet.fragment_header];
            let header = &mut buffer[HEAD - kept + packet.network..HEAD];
            let field = last_next_field(header);
            header[field] = next;
        }
        true
    }

    /// Writes what the whole datagram's header says otherwise than the first fragment's.
    fn finish(&self, frame: &mut [u8], dont_fragment: bool, congestion: bool) {
        let datagram = &mut frame[self.link..];
        let length = datagram.len();
        if congestion {
            datagram[1] |= if datagram[0] >> 4 == 4 { 0x03 } else { 0x30 };
        }
        if datagram[0] >> 4 == 4 {
            set_u16(datagram, 2, length as u16);
            set_u16(datagram, 6, if dont_fragment { ipv4::DONT_FRAGMENT } else { 0 });
            ipv4::set_checksum(datagram);
        } else {
            set_u16(datagram, 4, (length - ipv6::HEADER) as u16);
        }
    }
}

/// Where the byte stands that names what follows all of these headers.
fn last_next_field(headers: &[u8]) -> usize {
    let (mut field, mut at) = (6, ipv6::HEADER);
    while at + 2 <= headers.len() {
        field = at;
        at += (usize::from(headers[at + 1]) + 1) * 8;
    }
    field
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::frame::{Frame, Offload};
    use crate::packet::{Parsed, parse};
    use proptest::prelude::*;

    /// A UDP packet's fragments, cut behind these places of its payload, as frames.
    fn fragments(payload: &[u8], cuts: &[usize], identification: u16) -> Vec<Vec<u8>> {
        let mut ends: Vec<usize> = cuts.to_vec();
        ends.push(payload.len());
        let mut start = 0;
        let mut frames = Vec::new();
        for end in ends {
            let more = if end < payload.len() { ipv4::MORE_FRAGMENTS } else { 0 };
            let fields = ipv4::Fields {
                tos: 0,
                total_length: (20 + end - start) as u16,
                identification,
                fragment: (start / 8) as u16 | more,
                ttl: 64,
                protocol: Protocol::UDP,
                source: [10, 0, 0, 2].into(),
                destination: [10, 99, 0, 1].into(),
            };
            let mut frame = vec![2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2, 8, 0];
            frame.resize(34, 0);
            fields.write(&mut frame[14..]);
            frame.extend(&payload[start..end]);
            frames.push(frame);
            start = end;
        }
        frames
    }

    fn packet(bytes: &[u8]) -> Packet<'_> {
        match parse(&Frame { interface: InterfaceId(0), bytes, offload: Offload::NONE }) {
            Ok(Parsed::Ip(packet)) => packet,
            other => panic!("{other:?}"),
        }
    }

    fn at(seconds: u64) -> Instant {
        Instant::ZERO + Duration::from_secs(seconds)
    }

    fn payload(length: usize) -> Vec<u8> {
        let mut payload: Vec<u8> = (0..length).map(|n| n as u8).collect();
        payload[4..8].copy_from_slice(&[(length >> 8) as u8, length as u8, 0, 0]);
        payload
    }

    proptest! {
        #[test]
        fn any_order_gives_the_datagram(
            length in 24_usize..3000,
            cuts in prop::collection::btree_set(1_usize..370, 1..6),
            order: u64,
        ) {
            let data = payload(length);
            let mut cuts: Vec<_> = cuts.into_iter().map(|cut| cut * 8).filter(|cut| *cut < length).collect();
            if cuts.is_empty() {
                cuts.push(8);
            }
            let mut frames = fragments(&data, &cuts, 7);
            let longest = frames.iter().map(Vec::len).max().unwrap() - 14;
            let mut seed = order;
            for place in (1..frames.len()).rev() {
                frames.swap(place, (seed % (place as u64 + 1)) as usize);
                seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            }
            let mut reassembly = Reassembly::default();
            let (last, others) = frames.split_last().unwrap();
            for frame in others {
                prop_assert!(matches!(reassembly.add(&packet(frame), at(0)), Reassembled::Kept));
            }
            let Reassembled::Complete(complete) = reassembly.add(&packet(last), at(1)) else { panic!("incomplete") };
            let whole = packet(complete.bytes());
            prop_assert_eq!(whole.fragment, Fragment::Whole);
            prop_assert_eq!(whole.payload(), &data[..]);
            prop_assert_eq!(usize::from(complete.fragments.longest), longest);
            prop_assert!(reassembly.datagrams.is_empty());
        }
    }

    #[test]
    fn overlaps_end_a_datagram_and_repetitions_do_not() {
        let data = payload(64);
        let frames = fragments(&data, &[16, 32], 7);
        let mut reassembly = Reassembly::default();
        for _ in 0..2 {
            assert!(matches!(reassembly.add(&packet(&frames[0]), at(0)), Reassembled::Kept));
        }
        let overlapping = fragments(&data, &[8, 32], 7);
        assert!(matches!(reassembly.add(&packet(&overlapping[1]), at(0)), Reassembled::Refused));
        assert!(reassembly.datagrams.is_empty());
        for frame in &frames[..2] {
            assert!(matches!(reassembly.add(&packet(frame), at(0)), Reassembled::Kept));
        }
        assert!(matches!(reassembly.add(&packet(&frames[2]), at(0)), Reassembled::Complete(_)));
    }

    #[test]
    fn fragments_that_know_ecn_and_others_make_no_datagram() {
        for (codes, refused) in [
            ([0, 0], false),
            ([1, 2], false),
            ([3, 1], false),
            ([0, 1], true),
            ([2, 0], true),
            ([0, 3], true),
        ] {
            let mut frames = fragments(&payload(64), &[16], 7);
            for (frame, code) in frames.iter_mut().zip(codes) {
                frame[15] = code;
                ipv4::set_checksum(&mut frame[14..34]);
            }
            let mut reassembly = Reassembly::default();
            assert!(matches!(reassembly.add(&packet(&frames[0]), at(0)), Reassembled::Kept));
            let last = reassembly.add(&packet(&frames[1]), at(0));
            assert_eq!(matches!(last, Reassembled::Refused), refused, "{codes:?}");
            assert!(reassembly.datagrams.is_empty());
        }
    }

    /// An IPv6 fragment of `protocol`, from this place on.
    fn fragment6(protocol: Protocol, place: u16, more: bool, length: usize) -> Vec<u8> {
        let mut frame = vec![2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2, 0x86, 0xdd];
        frame.resize(14 + ipv6::HEADER + ipv6::FRAGMENT_HEADER, 0);
        let fields = ipv6::Fields {
            traffic_class: 0,
            payload_length: (ipv6::FRAGMENT_HEADER + length) as u16,
            protocol: Protocol(ipv6::FRAGMENT),
            hop_limit: 64,
            source: "2001:db8::2".parse().unwrap(),
            destination: "2001:db8::1".parse().unwrap(),
        };
        fields.write(&mut frame[14..]);
        ipv6::write_fragment_header(protocol.0, place | u16::from(more), 7, &mut frame[14 + ipv6::HEADER..]);
        frame.extend(vec![5; length]);
        frame
    }

    #[test]
    fn an_ipv6_fragment_with_another_end_is_dropped_alone() {
        let (tcp, mut reassembly) = (Protocol::TCP, Reassembly::default());
        for (name, place, more, length, expected) in [
            ("the last", 40, false, 5, "Kept"),
            ("another end", 40, false, 4, "Refused"),
            ("beyond it", 48, true, 8, "Refused"),
            ("behind one that was not the last", 0, false, 32, "Refused"),
            ("the rest", 0, true, 40, "Complete"),
        ] {
            let added = reassembly.add(&packet(&fragment6(tcp, place, more, length)), at(0));
            assert!(format!("{added:?}").starts_with(expected), "{name}: {added:?}");
        }
    }

    #[test]
    fn an_ipv6_fragment_that_cannot_be_continued_stands_apart() {
        for (name, protocol, place, more, length, apart) in [
            ("no multiple of 8", Protocol::UDP, 0, true, 28, true),
            ("a later one", Protocol::UDP, 80, true, 28, true),
            ("the last may have any length", Protocol::UDP, 80, false, 28, false),
            ("TCP of 16 bytes", Protocol::TCP, 0, true, 16, true),
            ("TCP of 24 bytes", Protocol::TCP, 0, true, 24, false),
            ("UDP of 8 bytes", Protocol::UDP, 0, true, 8, false),
        ] {
            let mut reassembly = Reassembly::default();
            let added = reassembly.add(&packet(&fragment6(protocol, place, more, length)), at(0));
            assert_eq!(matches!(added, Reassembled::Apart), apart, "{name}");
        }
    }

    #[test]
    fn what_is_allocated_counts_not_what_is_used() {
        let mut reassembly = Reassembly::default();
        let piece = |identification, place: u16| {
            let mut frame = fragments(&payload(64), &[16], identification).swap_remove(1);
            frame[20..22].copy_from_slice(&(place | ipv4::MORE_FRAGMENTS).to_be_bytes());
            ipv4::set_checksum(&mut frame[14..34]);
            frame
        };
        // Buffers that grow twice have room for more than they hold.
        for identification in 0..300 {
            for place in [2100, 4100] {
                reassembly.add(&packet(&piece(identification, place)), at(0));
            }
            let spare = reassembly.spare.iter().map(|store| store.buffer.capacity());
            let used = reassembly.datagrams.iter().map(|datagram| datagram.store.buffer.capacity());
            assert!(spare.chain(used).sum::<usize>() <= MEMORY);
        }
    }

    #[test]
    fn unfinished_datagrams_are_forgotten_in_time_and_by_number() {
        let data = payload(64);
        let mut reassembly = Reassembly::default();
        let first = |identification| fragments(&data, &[16], identification).swap_remove(0);
        let last = |identification| fragments(&data, &[16], identification).swap_remove(1);
        for identification in 0..=DATAGRAMS as u16 {
            let seconds = u64::from(identification) / 40;
            assert!(matches!(
                reassembly.add(&packet(&first(identification)), at(seconds)),
                Reassembled::Kept
            ));
        }
        assert_eq!(reassembly.datagrams.len(), DATAGRAMS, "the oldest made room");
        assert!(matches!(reassembly.add(&packet(&last(0)), at(6)), Reassembled::Kept));
        assert!(matches!(reassembly.add(&packet(&last(80)), at(31)), Reassembled::Complete(_)));
        assert!(matches!(reassembly.add(&packet(&last(36)), at(32)), Reassembled::Kept), "too late");
    }

    #[test]
    fn long_datagrams_take_the_room_of_more() {
        let mut reassembly = Reassembly::default();
        let last = |identification| {
            let mut frame = fragments(&payload(64), &[16], identification).swap_remove(1);
            frame[20..22].copy_from_slice(&8180_u16.to_be_bytes());
            ipv4::set_checksum(&mut frame[14..34]);
            frame
        };
        for identification in 0..100 {
            assert!(matches!(reassembly.add(&packet(&last(identification)), at(0)), Reassembled::Kept));
        }
        assert!(reassembly.memory() <= MEMORY);
        assert!((60..70).contains(&reassembly.datagrams.len()), "{}", reassembly.datagrams.len());
        assert!(reassembly.datagrams.iter().all(|datagram| datagram.key.identification > 30));
    }
}

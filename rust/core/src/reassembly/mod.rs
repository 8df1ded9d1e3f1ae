//! Putting fragments together again (RFC 815, RFC 8200 §4.5), as a Linux host does: a datagram with an overlap is
//! given up, a repeated fragment is ignored, an unfinished datagram is late after half a minute (IPv4) or a
//! minute (IPv6): then its sender is to be told ([`Reassembly::late`]).
//!
//! There is room for [`DATAGRAMS`] unfinished datagrams, and for [`MEMORY`] bytes of them; the oldest make room for
//! others. Buffers are kept for the next datagrams.

mod datagram;
mod piece;

use crate::packet::Packet;
use crate::time::{Duration, Instant};
use datagram::{Added, Unfinished};
pub use datagram::{Complete, Late, Store};
use piece::{Apart, Piece};

/// Unfinished datagrams of one worker.
pub const DATAGRAMS: usize = 256;
/// Bytes of all of them together, as many as Linux has.
pub const MEMORY: usize = 4 << 20;
/// Buffers that are kept for the next datagrams.
const SPARE: usize = 32;
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

impl Reassembly {
    /// Takes a fragment.
    pub fn add(&mut self, packet: &Packet<'_>, now: Instant) -> Reassembled {
        let apart = Apart::of(packet);
        if matches!(apart, Some(Apart::CutShort)) {
            return Reassembled::Apart;
        }
        let Some(piece) = Piece::of(packet) else { return Reassembled::Refused };
        // One that is late is completed no more.
        let awaited = |datagram: &Unfinished| datagram.key == piece.key && datagram.deadline > now;
        let place = self.datagrams.iter().position(awaited);
        if apart.is_some() {
            if let Some(place) = place {
                self.forget(place);
            }
            return Reassembled::Apart;
        }
        let place = place.unwrap_or_else(|| self.begin(&piece, now));
        let datagram = &mut self.datagrams[place];
        match datagram.add(packet, &piece) {
            Added::Kept if datagram.is_complete() && datagram.disagrees_on_congestion() => {
                self.forget(place);
                return Reassembled::Refused;
            }
            Added::Kept if datagram.is_complete() => {}
            Added::Kept | Added::Repeated => {
                self.make_room();
                return Reassembled::Kept;
            }
            Added::Refused => {
                self.forget(place);
                return Reassembled::Refused;
            }
            // It may have begun a datagram all the same.
            Added::Beyond => {
                self.make_room();
                return Reassembled::Refused;
            }
        }
        Reassembled::Complete(self.datagrams.swap_remove(place).complete(packet.interface))
    }

    /// Takes the buffer of a datagram back, complete or late.
    pub fn reuse(&mut self, used: impl Into<Store>) {
        self.keep(used.into());
    }

    /// Gives up one datagram that was not completed in time, in the order in which their times were over; those without
    /// their first fragment are forgotten on the way. `None` when no other is late.
    pub fn late(&mut self, now: Instant) -> Option<Late> {
        loop {
            let late = self.datagrams.iter().enumerate().filter(|(_, datagram)| datagram.deadline <= now);
            let (place, _) = late.min_by_key(|(_, datagram)| (datagram.deadline, datagram.number))?;
            match self.datagrams.swap_remove(place).first() {
                Ok(late) => return Some(late),
                Err(store) => self.keep(store),
            }
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
        let store = self.spare.pop().unwrap_or_default();
        self.begun += 1;
        self.datagrams.push(Unfinished::new(piece.key, self.begun, now + patience, store));
        self.datagrams.len() - 1
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::frame::{Frame, Offload};
    use crate::net::{InterfaceId, Protocol};
    use crate::packet::{Fragment, Parsed, parse};
    use crate::wire::{ipv4, ipv6, set_u16, u16_at};
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
    fn what_cannot_be_continued_ends_its_datagram() {
        for (name, more, length, expected) in [
            ("uneven", true, 12, "Kept"),
            ("cut short", true, 0, "Complete"),
            ("no more", true, 40, "Complete"),
        ] {
            let mut reassembly = Reassembly::default();
            let mut add = |place, more, length| {
                format!(
                    "{:?}",
                    reassembly.add(&packet(&fragment6(Protocol::UDP, place, more, length)), at(0))
                )
            };
            assert_eq!(add(0, true, 40), "Kept");
            add(0, more, length);
            assert!(add(40, false, 5).starts_with(expected), "{name}");
        }
    }

    #[test]
    fn an_empty_fragment_says_where_the_datagram_ends() {
        let mut reassembly = Reassembly::default();
        for (place, more, length, expected) in [
            (0, true, 40, "Kept"),
            (40, false, 0, "Refused"),
            (40, false, 8, "Refused"),
            (0, true, 40, "Kept"),
        ] {
            let added = reassembly.add(&packet(&fragment6(Protocol::TCP, place, more, length)), at(0));
            assert!(format!("{added:?}").starts_with(expected), "{place}: {added:?}");
        }
        let [first, mut empty] = [0, 1].map(|place| fragments(&payload(64), &[16], 7).swap_remove(place));
        empty.truncate(34);
        set_u16(&mut empty[14..], 2, 20);
        ipv4::set_checksum(&mut empty[14..34]);
        assert!(matches!(reassembly.add(&packet(&first), at(0)), Reassembled::Kept));
        assert!(matches!(reassembly.add(&packet(&empty), at(0)), Reassembled::Refused));
        assert_eq!(reassembly.datagrams.len(), 1, "IPv4's is given up");
    }

    #[test]
    fn fragments_that_leave_nothing_behind_take_no_more_room_than_others() {
        let mut reassembly = Reassembly::default();
        for identification in 0..2 * DATAGRAMS as u16 {
            let mut empty = fragment6(Protocol::TCP, 40, false, 0);
            set_u16(&mut empty[14 + ipv6::HEADER..], ipv6::FRAGMENT_IDENTIFICATION, identification);
            assert!(matches!(reassembly.add(&packet(&empty), at(0)), Reassembled::Refused));
        }
        assert_eq!(reassembly.datagrams.len(), DATAGRAMS);
    }

    #[test]
    fn an_end_that_a_repeated_fragment_says_counts() {
        let mut reassembly = Reassembly::default();
        for (name, place, more, length, expected) in [
            ("the first", 0, true, 40, "Kept"),
            ("again, as the only one", 0, false, 40, "Kept"),
            ("what would complete it", 40, false, 8, "Refused"),
        ] {
            let added = reassembly.add(&packet(&fragment6(Protocol::TCP, place, more, length)), at(0));
            assert!(format!("{added:?}").starts_with(expected), "{name}: {added:?}");
        }
        assert!(reassembly.late(at(60)).is_some(), "it waits in vain");
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
            ("UDP of 7 bytes, the only one", Protocol::UDP, 0, false, 7, true),
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
    fn what_is_late_is_its_first_fragment_in_the_order_of_time() {
        let data = payload(64);
        let piece =
            |identification, place: usize| fragments(&data, &[16, 32], identification).swap_remove(place);
        let mut reassembly = Reassembly::default();
        // Number, place and second of the fragments; the first of number 3 never comes.
        for (identification, place, second) in [(1, 1, 0), (2, 0, 5), (3, 1, 6), (1, 0, 20), (4, 0, 29)] {
            let added = reassembly.add(&packet(&piece(identification, place)), at(second));
            assert!(matches!(added, Reassembled::Kept), "{identification}");
        }
        assert!(reassembly.late(at(29)).is_none());
        let mut told = Vec::new();
        while let Some(late) = reassembly.late(at(36)) {
            let first = packet(late.frame().bytes);
            assert_eq!(first.fragment, Fragment::First);
            assert_eq!(&late.frame().bytes[..late.end()], &piece(told.len() as u16 + 1, 0)[..]);
            told.push(u16_at(first.datagram(), 4));
            reassembly.reuse(late);
        }
        assert_eq!(told, [1, 2]);
        assert_eq!(reassembly.datagrams.len(), 1);
        let last = reassembly.add(&packet(&piece(4, 1)), at(59));
        assert!(matches!(last, Reassembled::Kept), "begun anew: {last:?}");
    }

    #[test]
    fn of_a_late_fragment_is_told_what_was_kept() {
        let mut uneven = fragments(&payload(64), &[16], 7).swap_remove(0);
        uneven.extend([0xaa; 5]);
        set_u16(&mut uneven[14..], 2, 20 + 21);
        ipv4::set_checksum(&mut uneven[14..34]);
        let padded = fragment6(Protocol::UDP, 0, true, 24);
        let mut reassembly = Reassembly::default();
        for (frame, kept) in [(&uneven, uneven.len() - 5), (&padded, padded.len())] {
            assert!(matches!(reassembly.add(&packet(frame), at(0)), Reassembled::Kept));
            let late = reassembly.late(at(60)).expect("late");
            assert_eq!(late.end(), kept);
            assert_eq!(late.frame().bytes[..kept], frame[..kept], "headers and all");
            assert_eq!(packet(late.frame().bytes).fragment, Fragment::First);
        }
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

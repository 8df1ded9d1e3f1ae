//! IPv4 options (RFC 791 §3.1), as far as a router reads and writes them.

use super::set_u32;
use std::net::Ipv4Addr;

const END: u8 = 0;
const NOTHING: u8 = 1;
const RECORD_ROUTE: u8 = 7;
const TIMESTAMP: u8 = 68;
const LOOSE_SOURCE_ROUTE: u8 = 131;
const STRICT_SOURCE_ROUTE: u8 = 137;
const COMMERCIAL_SECURITY: u8 = 134;
/// Timestamps alone; each with the address of who wrote it; for the addresses given.
const TIMES: u8 = 0;
const TIMES_AND_ADDRESSES: u8 = 1;
const TIMES_FOR_ADDRESSES: u8 = 3;
/// A time that is not counted from midnight UT has this bit.
const OTHER_CLOCK: u32 = 1 << 31;

/// What a router finds in a packet's options.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Options {
    /// Nothing that keeps the packet from going on.
    Fine,
    /// A route of the sender's own, which no host of today follows.
    SourceRoute,
    /// An option that contradicts itself.
    Malformed,
}

/// Looks at all options.
#[must_use]
pub fn check(options: &[u8]) -> Options {
    let mut found = Options::Fine;
    let (mut place, mut seen) = (0, 0_u8);
    while let Some(option) = next(options, place) {
        let Ok((at, length)) = option else { return Options::Malformed };
        place = at + length;
        let option = &options[at..place];
        // Of these there may be one.
        let single = match option[0] {
            RECORD_ROUTE => 1,
            TIMESTAMP => 2,
            LOOSE_SOURCE_ROUTE | STRICT_SOURCE_ROUTE => 4,
            COMMERCIAL_SECURITY => 8,
            _ => 0,
        };
        if seen & single != 0 {
            return Options::Malformed;
        }
        seen |= single;
        let pointer = option.get(2).map_or(0, |pointer| usize::from(*pointer));
        let entry = |size: usize| pointer > length || pointer + size - 1 <= length;
        let fine = match option[0] {
            RECORD_ROUTE => length >= 3 && pointer >= 4 && entry(4),
            LOOSE_SOURCE_ROUTE | STRICT_SOURCE_ROUTE => {
                found = Options::SourceRoute;
                length >= 3 && pointer >= 4 && entry(4)
            }
            TIMESTAMP => {
                let overflows = pointer > length && option.get(3).is_some_and(|flags| flags >> 4 == 15);
                let sensible = length >= 4 && pointer >= 5 && !overflows;
                sensible && timestamp_entry(option[3]).is_some_and(entry)
            }
            _ => true,
        };
        if !fine {
            return Options::Malformed;
        }
    }
    found
}

/// Writes into well-formed options what a router with the address `own` writes that passes the packet on at
/// `milliseconds` by its clock, which counts from wherever it likes. Where times are wanted of certain addresses,
/// `is_meant` says whether the next of these is one of the router's.
pub fn record(options: &mut [u8], own: Ipv4Addr, milliseconds: u32, is_meant: impl Fn(Ipv4Addr) -> bool) {
    let mut place = 0;
    while let Some(Ok((at, length))) = next(options, place) {
        place = at + length;
        let option = &mut options[at..place];
        match option[0] {
            RECORD_ROUTE => record_route(option, own),
            TIMESTAMP => record_time(option, own, milliseconds & !OTHER_CLOCK | OTHER_CLOCK, &is_meant),
            _ => {}
        }
    }
}

fn record_route(option: &mut [u8], own: Ipv4Addr) {
    let place = usize::from(option[2]) - 1;
    if let Some(entry) = option.get_mut(place..place + 4) {
        entry.copy_from_slice(&own.octets());
        option[2] += 4;
    }
}

fn record_time(option: &mut [u8], own: Ipv4Addr, time: u32, is_meant: impl Fn(Ipv4Addr) -> bool) {
    let place = usize::from(option[2]) - 1;
    let kind = option[3] & 0xf;
    if place >= option.len() {
        // Nobody's place: those who found none are counted.
        if kind != TIMES_FOR_ADDRESSES && option[3] >> 4 < 15 {
            option[3] += 0x10;
        }
        return;
    }
    let Some(entry) = timestamp_entry(kind).and_then(|size| option.get_mut(place..place + size)) else {
        return;
    };
    let size = entry.len();
    let (address, when) = entry.split_at_mut(size - 4);
    match kind {
        TIMES_AND_ADDRESSES => address.copy_from_slice(&own.octets()),
        TIMES_FOR_ADDRESSES => {
            let meant = address.first_chunk::<4>().is_some_and(|address| is_meant(Ipv4Addr::from(*address)));
            if !meant {
                return;
            }
        }
        _ => {}
    }
    set_u32(when, 0, time);
    option[2] += size as u8;
}

/// Length of an entry of a timestamp option of that kind.
const fn timestamp_entry(kind: u8) -> Option<usize> {
    match kind & 0xf {
        TIMES => Some(4),
        TIMES_AND_ADDRESSES | TIMES_FOR_ADDRESSES => Some(8),
        _ => None,
    }
}

/// The option at `at`, or where the fill bytes in front of it end: its place and length, or that it makes no
/// sense. `None` at the end.
fn next(options: &[u8], mut at: usize) -> Option<Result<(usize, usize), Senseless>> {
    while *options.get(at)? == NOTHING {
        at += 1;
    }
    if options[at] == END {
        return None;
    }
    let length = options.get(at + 1).map_or(0, |length| usize::from(*length));
    Some(if length < 2 || at + length > options.len() { Err(Senseless) } else { Ok((at, length)) })
}

struct Senseless;

#[cfg(test)]
mod tests {
    use super::*;

    const OWN: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 1);

    fn record(options: &mut [u8], own: Ipv4Addr, milliseconds: u32) {
        super::record(options, own, milliseconds, |address| address.octets()[3] == 1);
    }

    #[test]
    fn a_route_is_recorded_while_there_is_room() {
        let mut options = [1, 7, 7, 4, 0, 0, 0, 0];
        assert_eq!(check(&options), Options::Fine);
        record(&mut options, OWN, 5);
        assert_eq!(options, [1, 7, 7, 8, 10, 0, 0, 1]);
        assert_eq!(check(&options), Options::Fine);
        record(&mut options, OWN, 5);
        assert_eq!(options, [1, 7, 7, 8, 10, 0, 0, 1], "full");
    }

    #[test]
    fn times_are_written_and_those_who_found_no_place_counted() {
        let mut options = [68, 8, 5, 0, 0, 0, 0, 0];
        record(&mut options, OWN, 5);
        assert_eq!(options, [68, 8, 9, 0, 0x80, 0, 0, 5]);
        record(&mut options, OWN, 6);
        assert_eq!(options, [68, 8, 9, 0x10, 0x80, 0, 0, 5]);
        let mut options = [68, 12, 5, 1, 0, 0, 0, 0, 0, 0, 0, 0];
        record(&mut options, OWN, 5);
        assert_eq!(options, [68, 12, 13, 1, 10, 0, 0, 1, 0x80, 0, 0, 5]);
        let mut another = [68, 12, 5, 3, 192, 168, 0, 1, 0, 0, 0, 0];
        record(&mut another, OWN, 5);
        assert_eq!(another, [68, 12, 13, 3, 192, 168, 0, 1, 0x80, 0, 0, 5], "of the same router");
        let mut others = [68, 12, 5, 3, 10, 0, 0, 2, 0, 0, 0, 0];
        record(&mut others, OWN, 5);
        assert_eq!(others, [68, 12, 5, 3, 10, 0, 0, 2, 0, 0, 0, 0]);
    }

    #[test]
    fn contradictions_and_routes_are_noticed() {
        for malformed in [
            &[7][..],
            &[7, 1],
            &[7, 9, 4, 0],
            &[7, 3, 3],
            &[7, 7, 6, 0, 0, 0, 0],
            &[68, 8, 9, 0xf0, 0, 0, 0, 0],
            &[68, 8, 5, 2, 0, 0, 0, 0],
            &[7, 3, 4, 7, 3, 4],
            &[68, 8, 5, 0, 0, 0, 0, 0, 1, 68, 8, 5, 0, 0, 0, 0, 0],
            &[131, 7, 4, 10, 0, 0, 5, 137, 7, 4, 10, 0, 0, 5, 0],
            &[134, 6, 0, 0, 0, 1, 134, 6, 0, 0, 0, 1],
        ] {
            assert_eq!(check(malformed), Options::Malformed, "{malformed:?}");
        }
        assert_eq!(check(&[131, 7, 4, 10, 0, 0, 5, 0]), Options::SourceRoute);
        for fine in [&[][..], &[1, 1, 0, 7], &[0x82, 11, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0], &[0x94, 4, 0, 0]] {
            assert_eq!(check(fine), Options::Fine, "{fine:?}");
        }
    }
}

//! The yardstick: the least that any forwarder by NAT does in memory.
//!
//! For each packet it reads the tuple at fixed offsets, looks it up by a hash whose key strangers do not know, counts, copies the
//! frame, rewrites addresses and ports and updates both checksums. It checks nothing, knows no state, no timeouts and no other
//! way, and each of its flows is known. One by one, or in lanes: hashing a lane's tuples and touching
//! their records before the first is forwarded lets cache misses overlap.

use crate::frames::{self, LENGTH};
use crate::ring::Ring;
use hashbrown::HashTable;
use siphasher::sip::SipHasher13;
use std::hash::Hasher;
use std::net::Ipv4Addr;

/// Packets of a lane.
pub const LANE: usize = 16;

const HASH_KEY: (u64, u64) = (1, 2);
const SERVER_MAC: [u8; 6] = [2, 1, 0, 0, 0, 9];

type Frame = [u8; LENGTH];

/// A known flow, on a cache line of its own.
#[derive(Clone, Copy, Debug)]
#[repr(align(64))]
struct Flow {
    key: [u64; 2],
    server: Ipv4Addr,
    port: u16,
    /// What the IPv4 header's sum and UDP's change by, in ones' complement.
    deltas: [u16; 2],
    packets: u64,
    bytes: u64,
    last_seen: u64,
}

/// A forwarder that knows all of its flows.
#[derive(Debug, Default)]
pub struct Floor {
    flows: Vec<Flow>,
    index: HashTable<u32>,
    ring: Ring,
}

impl Floor {
    /// One that knows the flows of these frames, each sent to one of `servers` real servers at port 8080.
    #[must_use]
    pub fn new(frames: &[Frame], servers: u32) -> Self {
        let mut floor = Self::default();
        for (number, frame) in (0..).zip(frames) {
            let key = key(frame);
            let server = Ipv4Addr::from_bits(0xc0a8_0101 + number % servers);
            let port = 8080;
            let address = delta(&frames::VIP.octets(), &server.octets());
            let ports = delta(&frames::PORT.to_be_bytes(), &u16::to_be_bytes(port));
            // The TTL is the high byte of its word.
            let deltas = [add(address, !0x0100), add(address, ports)];
            floor.flows.push(Flow { key, server, port, deltas, packets: 0, bytes: 0, last_seen: 0 });
            let flows = &floor.flows;
            floor.index.insert_unique(hash(key), number, |place| hash(flows[*place as usize].key));
        }
        floor
    }

    /// Forwards these frames, one after the other.
    pub fn one_by_one(&mut self, frames: &[Frame], now: u64) {
        let Self { flows, index, ring } = self;
        for frame in frames {
            let key = key(frame);
            if let Some(&place) = index.find(hash(key), |place| flows[*place as usize].key == key) {
                forward(&mut flows[place as usize], frame, ring, now);
            }
        }
    }

    /// Forwards these frames in lanes of [`LANE`].
    pub fn in_lanes(&mut self, frames: &[Frame], now: u64) {
        let Self { flows, index, ring } = self;
        for lane in frames.chunks(LANE) {
            let keys: [[u64; 2]; LANE] = std::array::from_fn(|n| lane.get(n).map_or([0; 2], key));
            let hashes = keys.map(hash);
            // The first that the hash leads to is nearly always the right one; looking at it here is what fetches it.
            let hints: [u32; LANE] =
                std::array::from_fn(|n| index.find(hashes[n], |_| true).copied().unwrap_or(0));
            let right: [bool; LANE] = std::array::from_fn(|n| flows[hints[n] as usize].key == keys[n]);
            for (n, frame) in lane.iter().enumerate() {
                let place = if right[n] {
                    Some(hints[n])
                } else {
                    index.find(hashes[n], |place| flows[*place as usize].key == keys[n]).copied()
                };
                if let Some(place) = place {
                    forward(&mut flows[place as usize], frame, ring, now);
                }
            }
        }
    }
}

#[inline]
fn forward(flow: &mut Flow, frame: &Frame, ring: &mut Ring, now: u64) {
    flow.packets += 1;
    flow.bytes += LENGTH as u64 - 14;
    flow.last_seen = now;
    let Some(out) = ring.slot().first_chunk_mut::<LENGTH>() else { return };
    *out = *frame;
    out[..6].copy_from_slice(&SERVER_MAC);
    out[6..12].copy_from_slice(&frames::DIRECTOR[1]);
    out[22] -= 1;
    out[30..34].copy_from_slice(&flow.server.octets());
    out[36..38].copy_from_slice(&flow.port.to_be_bytes());
    for (at, delta) in [(24, flow.deltas[0]), (40, flow.deltas[1])] {
        let sum = !add(!u16::from_be_bytes([out[at], out[at + 1]]), delta);
        out[at..at + 2].copy_from_slice(&sum.to_be_bytes());
    }
}

/// The tuple of a frame, as it stands: source and destination; both ports and the protocol.
#[inline]
fn key(frame: &Frame) -> [u64; 2] {
    let word = |at: usize| u32::from_be_bytes([frame[at], frame[at + 1], frame[at + 2], frame[at + 3]]);
    [u64::from(word(26)) << 32 | u64::from(word(30)), u64::from(word(34)) << 8 | u64::from(frame[23])]
}

#[inline]
fn hash(key: [u64; 2]) -> u64 {
    let mut hasher = SipHasher13::new_with_keys(HASH_KEY.0, HASH_KEY.1);
    hasher.write_u64(key[0]);
    hasher.write_u64(key[1]);
    hasher.finish()
}

/// The sum of two numbers in ones' complement.
#[inline]
fn add(one: u16, other: u16) -> u16 {
    let (sum, carry) = one.overflowing_add(other);
    sum + u16::from(carry)
}

/// What a sum over `old` changes by where `new` takes its place (RFC 1624).
fn delta(old: &[u8], new: &[u8]) -> u16 {
    let words = |bytes: &[u8]| -> Vec<u16> {
        bytes.chunks(2).map(|two| u16::from_be_bytes([two[0], two[1]])).collect()
    };
    let old = words(old).into_iter().fold(0, |sum, word| add(sum, !word));
    words(new).into_iter().fold(old, add)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::world::World;
    use fastlvs_core::service::Method;

    /// What it forwards is what the engine forwards, byte for byte.
    #[test]
    fn the_floor_forwards_as_the_engine_does() {
        let frames: Vec<_> = (0..100).map(frames::udp).collect();
        let mut floor = Floor::new(&frames, 1);
        let mut world = World::new(Method::Masquerading, false, 1, "rr");
        for (number, frame) in frames.iter().enumerate() {
            world.process(frame);
            for lanes in [false, true] {
                let one = std::slice::from_ref(frame);
                let forward = if lanes { Floor::in_lanes } else { Floor::one_by_one };
                forward(&mut floor, one, 7);
                assert_eq!(floor.ring.last(LENGTH), world.ring.last(LENGTH), "flow {number}, lanes {lanes}");
            }
        }
        assert!(floor.flows.iter().all(|flow| (flow.packets, flow.last_seen) == (2, 7)));
    }
}

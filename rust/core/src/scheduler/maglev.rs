//! Maglev hashing (mh): like sh, but a server that comes or goes moves few clients to another one.
//!
//! A table of 4,093 slots. Each server has an order of its own in which it wants them: from `start` on, every
//! `skip`-th, both hashes of its address and port. In list order, round after round, each takes as many of
//! its next free slots as its weight says (divided by the weights' greatest common divisor, and halved until
//! the largest is below 64). A client's slot is a hash of its address, and with `mh-port` of its port.
//!
//! The weight that counts here is the latest that was not 0, since the server was added: quiescing a server leaves
//! its slots as they are, so its clients get no answer, or with `mh-fallback` another slot's server, and come back
//! with it.
//!
//! A server's address is hashed as one of the service's family: of an IPv6 tunnel's end in a service of IPv4 the first 32 bits.
//!
//! Cost: one SipHash-1-3 and one look-up; with `mh-fallback` as many as it takes to meet a server that may be chosen, if
//! there is one. Source: D. Eisenbud and others, "Maglev", NSDI 2016;
//! `ipvsadm(8)`, `mh`.

use super::hash::{fold, fold_as, greatest_common_divisor};
use super::{Request, Scheduler, Selection, ServerEvent, Servers};
use crate::net::Endpoint;
use siphasher::sip::SipHasher13;
use std::hash::Hasher;
use std::sync::Arc;

/// A prime, so that every skip visits every slot.
const SLOTS: u32 = 4093;
/// The most servers that the table has room for.
pub(crate) const MOST_SERVERS: usize = SLOTS as usize;
/// Turns of the heaviest server fit in so many bits.
const TURN_BITS: u32 = 6;
const FIRST_KEY: u64 = 2_654_435_761;
const SECOND_KEY: u64 = 2_654_446_892;

/// The table: each slot holds a place of the list. Empty when no server ever had a weight.
#[derive(Debug)]
pub(super) struct Maglev {
    slots: Arc<[u16]>,
    /// Whether the service is one of IPv6.
    ipv6: bool,
    /// Whether the list has changed since. A change ends with [`Scheduler::settled`], before anybody chooses.
    is_stale: bool,
}

impl Maglev {
    pub(super) fn new(servers: Servers<'_>, ipv6: bool) -> Self {
        Self { slots: slots(servers, ipv6).into(), ipv6, is_stale: false }
    }
}

/// Who has which slot.
fn slots(servers: Servers<'_>, ipv6: bool) -> Vec<u16> {
    let turns = turns(servers);
    if turns.iter().all(|turns| *turns == 0) {
        return Vec::new();
    }
    let mut slots = vec![None; SLOTS as usize];
    let mut cursors: Vec<_> = servers.iter().map(|server| Cursor::of(server.endpoint(), ipv6)).collect();
    let mut free = slots.len();
    while free > 0 {
        for ((place, cursor), turns) in cursors.iter_mut().enumerate().zip(&turns) {
            for _ in 0..(*turns).min(free) {
                *cursor.next_free(&mut slots) = Some(place as u16);
                free -= 1;
            }
        }
    }
    slots.into_iter().flatten().collect()
}

/// How many slots each server takes in a round.
fn turns(servers: Servers<'_>) -> Vec<usize> {
    let weights = || servers.iter().map(|server| server.last_weight());
    let divisor = weights().fold(0, greatest_common_divisor).max(1);
    let largest = weights().max().unwrap_or(0) / divisor;
    let shift = (u32::BITS - largest.leading_zeros()).saturating_sub(TURN_BITS);
    weights()
        .map(|weight| if weight == 0 { 0 } else { ((weight / divisor) >> shift).max(1) as usize })
        .collect()
}

/// Where a server looks for its next slot.
struct Cursor {
    slot: u32,
    skip: u32,
}

impl Cursor {
    fn of(server: Endpoint, ipv6: bool) -> Self {
        let value = fold_as(server.address, ipv6).wrapping_add(server.port.into());
        Self { slot: hash(FIRST_KEY, value) % SLOTS, skip: hash(SECOND_KEY, value) % (SLOTS - 1) + 1 }
    }

    /// The next slot that nobody has. There is one.
    fn next_free<'a>(&mut self, slots: &'a mut [Option<u16>]) -> &'a mut Option<u16> {
        while slots[self.slot as usize].is_some() {
            self.slot = (self.slot + self.skip) % SLOTS;
        }
        &mut slots[self.slot as usize]
    }
}

/// The kernel's `hsiphash` of one 32-bit number, on a 64-bit machine.
fn hash(key: u64, value: u32) -> u32 {
    let mut hasher = SipHasher13::new_with_keys(key, key);
    hasher.write(&value.to_le_bytes());
    hasher.finish() as u32
}

impl Scheduler for Maglev {
    fn name(&self) -> &'static str {
        "mh"
    }

    fn select(&self, request: &Request<'_>, servers: Servers<'_>) -> Selection {
        if self.slots.is_empty() {
            return Selection::NoServer;
        }
        let client = request.flow.client;
        let port = if request.flags.port { client.port.into() } else { 0 };
        let slot = |offset: u32| {
            hash(FIRST_KEY, offset.wrapping_add(port).wrapping_add(fold(client.address))) % SLOTS
        };
        let usable = |slot: u32| {
            let place = usize::from(self.slots[slot as usize]);
            servers.get(place)?.is_usable().then_some(place)
        };
        let first = slot(0);
        let found = usable(first);
        let in_vain = || !servers.iter().any(|server| server.is_usable());
        if found.is_some() || !request.flags.fallback || in_vain() {
            return found.into();
        }
        (0..SLOTS).map(|k| slot((k + first) % SLOTS)).find_map(usable).into()
    }

    fn successor(self: Arc<Self>, _event: ServerEvent<'_>) -> Arc<dyn Scheduler> {
        if self.is_stale {
            self
        } else {
            Arc::new(Self { slots: Arc::clone(&self.slots), is_stale: true, ..*self })
        }
    }

    fn settled(&self, servers: Servers<'_>) -> Option<Arc<dyn Scheduler>> {
        self.is_stale.then(|| Arc::new(Self::new(servers, self.ipv6)) as _)
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{flow, pick_with};
    use super::super::{SchedulerFlags, testing};
    use super::*;
    use crate::server::{Method, RealServer, ServerId};

    fn server(number: u32, endpoint: &str, weight: u32) -> Arc<RealServer> {
        let endpoint = endpoint.parse().unwrap();
        Arc::new(RealServer::new(ServerId(number), endpoint, Method::Masquerading, weight))
    }

    #[test]
    fn the_hashes_are_the_kernels() {
        assert_eq!((hash(FIRST_KEY, 0), hash(SECOND_KEY, 0)), (0x1d5a_77c2, 0xf882_433f));
        assert_eq!((hash(FIRST_KEY, 1), hash(SECOND_KEY, 1)), (0x16ec_66b2, 0x8210_aad1));
        let client = fold("203.0.113.9".parse().unwrap());
        assert_eq!((hash(FIRST_KEY, client), hash(SECOND_KEY, client)), (0xcbf7_eefc, 0x3842_901e));
        for (endpoint, start, skip) in
            [("10.0.0.11:80", 4032, 1541), ("10.0.0.12:80", 870, 874), ("10.0.0.13:8080", 4055, 3540)]
        {
            let cursor = Cursor::of(endpoint.parse().unwrap(), false);
            assert_eq!((cursor.slot, cursor.skip), (start, skip), "{endpoint}");
        }
        // 0a00:000b is 10.0.0.11.
        let tunnel = Cursor::of("[a00:b:1:2:3:4:5:6]:80".parse().unwrap(), false);
        assert_eq!((tunnel.slot, tunnel.skip), (4032, 1541), "an IPv6 tunnel's end in a service of IPv4");
    }

    #[test]
    fn slots_follow_weights() {
        let list = [server(2, "10.0.0.12:80", 3), server(1, "10.0.0.11:80", 1)];
        let mh = Maglev::new(&list, false);
        assert_eq!(mh.slots[..12], [0, 0, 1, 0, 0, 0, 1, 1, 0, 0, 0, 1]);
        assert_eq!(mh.slots.iter().filter(|place| **place == 0).count(), 3070);
        assert_eq!(turns(&testing::servers(&[0, 1000, 500, 3])), [0, 62, 31, 1]);
        assert!(Maglev::new(&testing::servers(&[0, 0]), false).slots.is_empty());
    }

    #[test]
    fn a_quiesced_server_keeps_its_slots() {
        let list = [server(2, "10.0.0.12:80", 3), server(1, "10.0.0.11:80", 1)];
        let mh: Arc<dyn Scheduler> = Arc::new(Maglev::new(&list, false));
        let asked = |mh: &dyn Scheduler, fallback| {
            let flags = SchedulerFlags { fallback, port: false };
            pick_with(mh, &list, flow("203.0.113.9", "10.0.0.1"), flags)
        };
        assert_eq!(asked(&*mh, false), 0);
        list[0].set_weight(0);
        let mh = mh.successor(ServerEvent::Edited(&list[0])).settled(&list).unwrap();
        assert_eq!((asked(&*mh, false), asked(&*mh, true)), (-1, 1));
    }

    /// Slot by slot, the fallback would take seconds.
    #[test]
    fn where_nobody_may_be_chosen_no_other_slot_is_tried() {
        let list = testing::servers(&[1, 1, 1]);
        let mh = Maglev::new(&list, false);
        for server in &list {
            server.set_weight(0);
        }
        let flags = SchedulerFlags { fallback: true, port: false };
        let began = std::time::Instant::now();
        for _ in 0..10_000 {
            assert_eq!(pick_with(&mh, &list, flow("203.0.113.9", "10.0.0.1"), flags), -1);
        }
        assert!(began.elapsed() < std::time::Duration::from_secs(1), "{:?}", began.elapsed());
    }
}

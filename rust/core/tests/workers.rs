//! Several workers share a scheduler: what makes each algorithm what it is still holds.

#![cfg(not(feature = "loom"))]
#![allow(
    clippy::unwrap_used,
    reason = "a test's set-up that fails is a failed test; clippy sees helpers as no tests"
)]

use fastlvs_core::net::{Endpoint, Protocol};
use fastlvs_core::scheduler::{Flow, Request, Scheduler, SchedulerFlags, Selection, named};
use fastlvs_core::service::{Method, RealServer, ServerId};
use fastlvs_core::settings::Settings;
use fastlvs_core::time::Instant;
use proptest::prelude::*;
use std::net::Ipv4Addr;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering::SeqCst};
use std::sync::{Arc, Barrier};
use std::thread;

const WORKERS: u32 = 4;

type Server = Arc<RealServer>;

fn servers(weights: &[u32]) -> Vec<Server> {
    let server = |(number, weight): (usize, &u32)| {
        let endpoint = Endpoint::new([10, 0, 0, number as u8 + 1].into(), 80);
        Arc::new(RealServer::new(ServerId(number as u32 + 1), endpoint, Method::Masquerading, *weight))
    };
    weights.iter().enumerate().map(server).collect()
}

fn choose(scheduler: &dyn Scheduler, servers: &[Server], destination: u32) -> Option<usize> {
    let settings = Settings::default();
    let request = Request {
        flow: Flow {
            protocol: Protocol::TCP,
            client: Endpoint::new([203, 0, 113, 9].into(), 40_000),
            destination: Endpoint::new(Ipv4Addr::from_bits(destination).into(), 80),
        },
        towards: Ipv4Addr::from_bits(destination).into(),
        now: Instant::ZERO,
        flags: SchedulerFlags::default(),
        settings: &settings,
        random: 0,
    };
    match scheduler.select(&request, servers) {
        Selection::Server(place) => Some(place),
        _ => None,
    }
}

/// How often each server was chosen when every worker chose `each` times, all at once.
fn chosen(scheduler: &dyn Scheduler, servers: &[Server], each: u32, bind: bool) -> Vec<u32> {
    let counts: Vec<AtomicU32> = servers.iter().map(|_| AtomicU32::new(0)).collect();
    let start = Barrier::new(WORKERS as usize);
    thread::scope(|scope| {
        for _ in 0..WORKERS {
            scope.spawn(|| {
                start.wait();
                for _ in 0..each {
                    let place = choose(scheduler, servers, 0x0a63_0001).unwrap();
                    if bind {
                        servers[place].bind();
                        servers[place].set_active(true);
                    }
                    counts[place].fetch_add(1, SeqCst);
                }
            });
        }
    });
    counts.into_iter().map(AtomicU32::into_inner).collect()
}

fn greatest_common_divisor(a: u32, b: u32) -> u32 {
    if b == 0 { a } else { greatest_common_divisor(b, a % b) }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    /// rr gives every usable server the same number of turns.
    #[test]
    fn round_robin_is_exact(weights in prop::collection::vec(0u32..3, 1..9), rounds in 1u32..200) {
        prop_assume!(weights.iter().any(|weight| *weight > 0));
        let list = servers(&weights);
        let usable = weights.iter().filter(|weight| **weight > 0).count() as u32;
        let counts = chosen(&*named("rr", &list, false, Instant::ZERO).unwrap(), &list, rounds * usable, false);
        for (count, weight) in counts.iter().zip(&weights) {
            prop_assert_eq!(*count, if *weight > 0 { rounds * WORKERS } else { 0 });
        }
    }

    /// wrr gives every server, in whole cycles, exactly what its weight says.
    #[test]
    fn weighted_round_robin_is_exact(weights in prop::collection::vec(0u32..7, 1..9), cycles in 1u32..50) {
        prop_assume!(weights.iter().any(|weight| *weight > 0));
        let list = servers(&weights);
        let divisor = weights.iter().copied().fold(0, greatest_common_divisor);
        let cycle = weights.iter().sum::<u32>() / divisor;
        let counts = chosen(&*named("wrr", &list, false, Instant::ZERO).unwrap(), &list, cycles * cycle, false);
        for (count, weight) in counts.iter().zip(&weights) {
            prop_assert_eq!(*count, cycles * WORKERS * (weight / divisor));
        }
    }

    /// The schedulers of the least load never choose a server that is worse than another by more than what the
    /// other workers are just about to bind: one connection each.
    #[test]
    fn the_least_loaded_is_missed_by_the_number_of_workers_at_most(
        weights in prop::collection::vec(1u32..6, 2..9),
        name in prop::sample::select(vec!["lc", "wlc", "sed", "nq"]),
        each in 1u32..300,
    ) {
        let list = servers(&weights);
        let counts = chosen(&*named(name, &list, false, Instant::ZERO).unwrap(), &list, each, true);
        let weight = |place: usize| if name == "lc" { 1 } else { u64::from(weights[place]) };
        let offset = u64::from(name == "sed" || name == "nq");
        for (worse, count) in counts.iter().enumerate().filter(|(_, count)| **count > WORKERS) {
            for (better, other) in counts.iter().enumerate() {
                // The last choice of `worse` was made when it had at least so many connections.
                let had = u64::from(count - WORKERS) + offset;
                prop_assert!(
                    had * weight(better) <= (u64::from(*other) + offset) * weight(worse),
                    "{name}: server {worse} of {counts:?}, weights {weights:?}"
                );
            }
        }
    }

    /// lblc and lblcr never choose a server that was quiesced all the while they chose.
    #[test]
    fn locality_never_chooses_the_dead(name in prop::sample::select(vec!["lblc", "lblcr"]), seed in any::<u32>()) {
        let list = servers(&[1, 1, 1, 1]);
        let scheduler = named(name, &list, false, Instant::ZERO).unwrap();
        // Odd while the server is quiesced, with its weight gone before and back after.
        let deaths: Vec<AtomicU32> = list.iter().map(|_| AtomicU32::new(0)).collect();
        let done = AtomicBool::new(false);
        let wrong = AtomicU32::new(0);
        thread::scope(|scope| {
            for worker in 1..WORKERS {
                let (scheduler, list, deaths, wrong, done) = (&scheduler, &list, &deaths, &wrong, &done);
                scope.spawn(move || {
                    for number in 0..4_000u32 {
                        let before: Vec<_> = deaths.iter().map(|death| death.load(SeqCst)).collect();
                        let destination = (seed ^ number.wrapping_mul(worker)) % 64;
                        if let Some(place) = choose(&**scheduler, list, destination) {
                            let same = deaths[place].load(SeqCst) == before[place];
                            if same && before[place] % 2 == 1 {
                                wrong.fetch_add(1, SeqCst);
                            }
                        }
                    }
                    done.store(true, SeqCst);
                });
            }
            let mut place = seed as usize;
            while !done.load(SeqCst) {
                place = (place + 1) % list.len();
                list[place].set_weight(0);
                deaths[place].fetch_add(1, SeqCst);
                thread::yield_now();
                deaths[place].fetch_add(1, SeqCst);
                list[place].set_weight(1);
            }
        });
        prop_assert_eq!(wrong.into_inner(), 0);
    }
}

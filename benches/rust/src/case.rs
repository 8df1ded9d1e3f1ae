//! The kinds of work that are measured.

use crate::floor::Floor;
use crate::frames::{self, shuffle};
use crate::world::World;
use fastlvs_core::net::{Endpoint, Protocol};
use fastlvs_core::scheduler::{Flow, Request, SchedulerFlags, Selection, named};
use fastlvs_core::service::{Method, RealServer, ServerId};
use fastlvs_core::settings::Settings;
use fastlvs_core::time::{Duration, Instant};
use std::hint::black_box;
use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time;

const FEW_FLOWS: u32 = 1_000;
const MANY_FLOWS: u32 = 1_000_000;
const SERVERS: u32 = 16;

/// So many operations took so long; what is between samples is in neither.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sample {
    /// Packets forwarded, or servers chosen.
    pub operations: u64,
    /// Wall time on a thread that does nothing else.
    pub time: time::Duration,
}

impl Sample {
    /// One operation's share, in nanoseconds.
    #[must_use]
    #[expect(
        clippy::cast_precision_loss,
        reason = "of more than 2^53 operations the last digits do not matter"
    )]
    pub fn nanoseconds(&self) -> f64 {
        self.time.as_secs_f64() * 1e9 / self.operations as f64
    }
}

/// Work that is ready to be done, about so many operations at a call.
pub type Work = Box<dyn FnMut(u64) -> Sample>;

/// One kind of work.
#[derive(Clone, Copy, Debug)]
pub struct Case {
    /// What it is called on a command line.
    pub name: &'static str,
    /// What it is, in a few words.
    pub what: &'static str,
    /// The yardstick that it is compared with, by name; `None`: there is none.
    pub floor: Option<&'static str>,
    prepare: fn(u32) -> Work,
}

impl Case {
    /// The case of that name.
    #[must_use]
    pub fn named(name: &str) -> Option<&'static Self> {
        ALL.iter().find(|case| case.name == name)
    }

    /// Makes what it needs, with `most` flows at most; not measured.
    #[must_use]
    pub fn prepare(&self, most: u32) -> Work {
        (self.prepare)(most)
    }
}

/// All cases, the yardsticks first.
pub const ALL: &[Case] = &[
    Case {
        name: "floor",
        what: "the floor one by one, 1 k flows",
        floor: None,
        prepare: |most| floor(FEW_FLOWS.min(most), Floor::one_by_one),
    },
    Case {
        name: "floor-lanes",
        what: "the floor in lanes, 1 k flows",
        floor: None,
        prepare: |most| floor(FEW_FLOWS.min(most), Floor::in_lanes),
    },
    Case {
        name: "floor-1m",
        what: "the floor one by one, 1 M flows in random order",
        floor: None,
        prepare: |most| floor(MANY_FLOWS.min(most), Floor::one_by_one),
    },
    Case {
        name: "floor-lanes-1m",
        what: "the floor in lanes, 1 M flows in random order",
        floor: None,
        prepare: |most| floor(MANY_FLOWS.min(most), Floor::in_lanes),
    },
    Case {
        name: "nat",
        what: "known UDP packet, NAT, 1 k flows",
        floor: Some("floor"),
        prepare: |most| known(Method::Masquerading, FEW_FLOWS.min(most), frames::udp, false),
    },
    Case {
        name: "nat-1m",
        what: "known UDP packet, NAT, 1 M flows in random order",
        floor: Some("floor-lanes-1m"),
        prepare: |most| known(Method::Masquerading, MANY_FLOWS.min(most), frames::udp, false),
    },
    Case {
        name: "dr",
        what: "known UDP packet, DR, 1 k flows",
        floor: Some("floor"),
        prepare: |most| known(Method::Gatewaying, FEW_FLOWS.min(most), frames::udp, false),
    },
    Case {
        name: "tun",
        what: "known UDP packet, TUN, 1 k flows",
        floor: Some("floor"),
        prepare: |most| known(Method::Tunneling, FEW_FLOWS.min(most), frames::udp, false),
    },
    Case {
        name: "nat6",
        what: "known UDP packet, NAT, IPv6, 1 k flows",
        floor: Some("floor"),
        prepare: |most| known(Method::Masquerading, FEW_FLOWS.min(most), frames::udp_v6, true),
    },
    Case {
        name: "new",
        what: "new connection, table grown before",
        floor: Some("floor"),
        prepare: |most| new(MANY_FLOWS.min(most), true),
    },
    Case {
        name: "new-growing",
        what: "new connection, table growing",
        floor: Some("floor"),
        prepare: |most| new(MANY_FLOWS.min(most), false),
    },
    Case { name: "rr-16", what: "rr among 16 servers", floor: None, prepare: |_| choose("rr", 16) },
    Case { name: "wrr-16", what: "wrr among 16 servers", floor: None, prepare: |_| choose("wrr", 16) },
    Case { name: "sh-16", what: "sh among 16 servers", floor: None, prepare: |_| choose("sh", 16) },
    Case { name: "dh-16", what: "dh among 16 servers", floor: None, prepare: |_| choose("dh", 16) },
    Case { name: "mh-16", what: "mh among 16 servers", floor: None, prepare: |_| choose("mh", 16) },
    Case { name: "lc-16", what: "lc among 16 servers", floor: None, prepare: |_| choose("lc", 16) },
    Case { name: "wlc-16", what: "wlc among 16 servers", floor: None, prepare: |_| choose("wlc", 16) },
    Case { name: "sed-16", what: "sed among 16 servers", floor: None, prepare: |_| choose("sed", 16) },
    Case { name: "nq-16", what: "nq among 16 servers", floor: None, prepare: |_| choose("nq", 16) },
    Case { name: "lc-1024", what: "lc among 1,024 servers", floor: None, prepare: |_| choose("lc", 1024) },
    Case { name: "wlc-1024", what: "wlc among 1,024 servers", floor: None, prepare: |_| choose("wlc", 1024) },
    Case { name: "sed-1024", what: "sed among 1,024 servers", floor: None, prepare: |_| choose("sed", 1024) },
    Case { name: "nq-1024", what: "nq among 1,024 servers", floor: None, prepare: |_| choose("nq", 1024) },
];

/// Takes the time of `work`, done as often as it takes to do `wanted` operations of `each` at a time.
fn timed(wanted: u64, each: u64, mut work: impl FnMut()) -> Sample {
    let rounds = wanted.div_ceil(each).max(1);
    let begin = time::Instant::now();
    for _ in 0..rounds {
        work();
    }
    Sample { operations: rounds * each, time: begin.elapsed() }
}

fn floor(flows: u32, forward: fn(&mut Floor, &[[u8; frames::LENGTH]], u64)) -> Work {
    let mut all: Vec<_> = (0..flows).map(frames::udp).collect();
    let mut floor = Floor::new(&all, SERVERS);
    shuffle(&mut all);
    let mut now = 0;
    Box::new(move |wanted| {
        timed(wanted, flows.into(), || {
            now += 1;
            forward(&mut floor, &all, now);
        })
    })
}

fn known<const LENGTH: usize>(
    method: Method,
    flows: u32,
    frame: fn(u32) -> [u8; LENGTH],
    ipv6: bool,
) -> Work {
    let mut all: Vec<_> = (0..flows).map(frame).collect();
    let mut world = World::new(method, ipv6, SERVERS, "rr");
    for frame in &all {
        world.process(frame);
    }
    shuffle(&mut all);
    Box::new(move |wanted| {
        timed(wanted, flows.into(), || {
            for frame in &all {
                black_box(world.process(frame));
            }
        })
    })
}

/// Flows that were never seen before. When they are done they expire, and the table keeps the room that it has grown to, or is made anew.
fn new(flows: u32, grown: bool) -> Work {
    let all: Vec<_> = (0..flows).map(frames::udp).collect();
    let make = || World::new(Method::Masquerading, false, SERVERS, "rr");
    let fill = |world: &mut World, all: &[[u8; frames::LENGTH]]| {
        for frame in all {
            black_box(world.process(frame));
        }
    };
    let empty = |world: &mut World| world.advance(world.now + Duration::from_secs(3600));
    let mut world = make();
    if grown {
        fill(&mut world, &all);
        empty(&mut world);
    }
    Box::new(move |wanted| {
        let count = wanted.clamp(1, flows.into()) as usize;
        let sample = timed(1, count as u64, || fill(&mut world, &all[..count]));
        if grown {
            empty(&mut world);
        } else {
            world = make();
        }
        sample
    })
}

/// Choices by a scheduler, each chosen server getting the connection and giving up an older one.
fn choose(scheduler: &str, count: u32) -> Work {
    let server = |number: u32| {
        let endpoint = Endpoint::new(Ipv4Addr::from_bits(0xc0a8_0101 + number).into(), 8080);
        Arc::new(RealServer::new(ServerId(number + 1), endpoint, Method::Masquerading, 1 + number % 4))
    };
    let servers: Vec<_> = (0..count).map(server).collect();
    let scheduler = named(scheduler, &servers, false, Instant::ZERO).expect("one of the built-in schedulers");
    // None is idle, which nq would take without looking further.
    let begin = |server: &RealServer| {
        server.bind();
        server.set_active(true);
    };
    for server in &servers {
        begin(server);
    }
    let settings = Settings::default();
    let mut client = 0;
    Box::new(move |wanted| {
        timed(wanted, 1, || {
            client += 1;
            let vip = Endpoint::new(frames::VIP.into(), frames::PORT);
            let flow = Flow {
                protocol: Protocol::UDP,
                client: Endpoint::new(Ipv4Addr::from_bits(0x0b00_0000 + client).into(), 1024),
                destination: vip,
            };
            let request = Request {
                flow,
                towards: vip.address,
                now: Instant::ZERO,
                flags: SchedulerFlags::default(),
                settings: &settings,
                random: client.into(),
            };
            if let Selection::Server(place) = scheduler.select(&request, &servers) {
                begin(&servers[place]);
                // An older connection of another server's ends: the counts stay level, as they are in use.
                let old = &servers[client.wrapping_mul(0x9e37_79b9) as usize % servers.len()];
                if old.active() > 1 {
                    old.unbind(true, Instant::ZERO);
                }
            }
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_case_does_what_it_says_it_did() {
        for case in ALL {
            let mut work = case.prepare(2_000);
            for wanted in [1, 1_500] {
                let sample = work(wanted);
                assert!(sample.operations >= wanted, "{}", case.name);
                assert!(sample.nanoseconds() > 0.0, "{}", case.name);
            }
        }
    }

    #[test]
    fn names_are_of_one_case_each_and_floors_are_cases() {
        for case in ALL {
            assert_eq!(ALL.iter().filter(|other| other.name == case.name).count(), 1, "{}", case.name);
            assert!(case.floor.is_none_or(|floor| Case::named(floor).is_some()), "{}", case.name);
        }
    }
}

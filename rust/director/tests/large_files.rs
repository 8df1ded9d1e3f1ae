//! What it costs to read a file follows its length, not the square of it.

#![allow(clippy::unwrap_used, reason = "a test's set-up that fails is a failed test")]

use fastlvs_director::config::Configuration;
use std::fmt::Write;
use std::time::{Duration, Instant};

/// Services, and servers of each.
type Size = (usize, usize);

/// `director.toml`.
fn toml((services, servers): Size) -> String {
    let mut text = String::new();
    for service in 0..services {
        let (high, low) = (service / 250, service % 250);
        writeln!(text, "[[service]]\nprotocol = \"tcp\"\naddress = \"10.{high}.{low}.1:80\"").unwrap();
        for server in 0..servers {
            let (high, low) = (server / 250, server % 250);
            writeln!(text, "[[service.server]]\naddress = \"172.16.{high}.{low}:80\"").unwrap();
        }
    }
    text
}

/// What `ipvsadm -Sn` saves.
fn rules((services, servers): Size) -> String {
    let mut text = String::new();
    for service in 0..services {
        let address = format!("10.{}.{}.1:80", service / 250, service % 250);
        writeln!(text, "-A -t {address} -s wlc").unwrap();
        for server in 0..servers {
            writeln!(text, "-a -t {address} -r 172.16.{}.{}:80 -g -w 1", server / 250, server % 250).unwrap();
        }
    }
    text
}

/// How long it takes to read a file, the shortest of three times.
fn time(size: Size, read: impl Fn(Size) -> Configuration) -> Duration {
    let once = || {
        let begin = Instant::now();
        let configuration = read(size);
        assert_eq!(configuration.specs().unwrap().len(), size.0);
        begin.elapsed()
    };
    (0..3).map(|_| once()).min().unwrap()
}

/// Eight times as much takes about eight times as long; its square would be 64.
#[test]
fn eight_times_as_much_does_not_take_sixty_four_times_as_long() {
    let from_toml = |size| Configuration::from_toml(&toml(size), "f").unwrap();
    let from_rules = |size| Configuration::from_rules(&rules(size), "f").unwrap();
    let times = |few: Size, many: Size, read: &dyn Fn(Size) -> Configuration| {
        let (few, many) = (time(few, read), time(many, read));
        println!("{few:?} {many:?}");
        many.as_secs_f64() / few.as_secs_f64()
    };
    for (few, many) in [((200, 2), (1_600, 2)), ((1, 750), (1, 6_000))] {
        for (name, read) in [("toml", &from_toml as &dyn Fn(Size) -> Configuration), ("rules", &from_rules)] {
            let factor = times(few, many, read);
            assert!(factor < 24.0, "{name} {many:?}: {factor}");
        }
    }
}

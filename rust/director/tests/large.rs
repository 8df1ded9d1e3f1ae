//! A configuration is read in time that follows its length, whatever there is much of.

use fastlvs_director::config::{ConfigError, Configuration};
use std::fmt::Write;
use std::time::{Duration, Instant};

type Read = fn(&str, &str) -> Result<Configuration, ConfigError>;
/// What there is much of, who reads it, who writes so many, and how many are few.
type Case = (&'static str, Read, fn(usize) -> String, usize);

/// The nth of so many addresses that begin with 10.
fn address(number: usize) -> String {
    format!("10.{}.{}.{}", number >> 16, number >> 8 & 255, number & 255)
}

fn text(count: usize, begin: &str, part: impl Fn(usize) -> String) -> String {
    (0..count).fold(begin.to_owned(), |mut text, number| {
        let _ = writeln!(text, "{}", part(number));
        text
    })
}

fn services_in_toml(count: usize) -> String {
    text(count, "", |number| {
        let vip = address(number);
        let server =
            format!("[[service.server]]\naddress = '10.255.0.1:{}'\nweight = 2", number % 60_000 + 1);
        format!("[[service]]\nprotocol = 'tcp'\naddress = '{vip}:80'\nforwarding = 'nat'\n{server}\n")
    })
}

fn servers_in_toml(count: usize) -> String {
    text(count, "[[service]]\nprotocol = 'tcp'\naddress = '192.0.2.1:80'\n", |number| {
        format!("[[service.server]]\naddress = '{}'\nweight = 2", address(number))
    })
}

fn marks_in_toml(count: usize) -> String {
    text(count, "", |number| {
        format!("[[mark]]\nmark = {}\ndestination = '{}/32'\nports = 80", number + 1, address(number))
    })
}

fn services_in_rules(count: usize) -> String {
    text(count, "", |number| {
        let vip = address(number);
        format!("-A -t {vip}:80 -s rr\n-a -t {vip}:80 -r 10.255.0.1:80 -m -w 2")
    })
}

fn servers_in_rules(count: usize) -> String {
    text(count, "-A -t 192.0.2.1:80 -s rr\n", |number| {
        format!("-a -t 192.0.2.1:80 -r {}:80 -g -w 2", address(number))
    })
}

#[test]
fn four_times_as_much_takes_four_times_as_long() {
    let cases: [Case; 5] = [
        ("services in TOML", Configuration::from_toml, services_in_toml, 500),
        ("a service's servers in TOML", Configuration::from_toml, servers_in_toml, 1000),
        ("rules for marks in TOML", Configuration::from_toml, marks_in_toml, 1000),
        ("services in rules", Configuration::from_rules, services_in_rules, 2000),
        ("a service's servers in rules", Configuration::from_rules, servers_in_rules, 2000),
    ];
    for (what, read, text, count) in cases {
        let (once, four_times) = (text(count), text(4 * count));
        let time = |text: &str| {
            let began = Instant::now();
            assert_eq!(read(text, "f").err(), None, "{what}");
            began.elapsed()
        };
        // The least of several times, since other programs run beside this one.
        let times = (0..5).map(|_| (time(&once), time(&four_times)));
        let least = |least: (Duration, Duration), next: (Duration, Duration)| {
            (least.0.min(next.0), least.1.min(next.1))
        };
        let (once, four_times) = times.reduce(least).expect("some");
        assert!(four_times < once * 8, "{what}: {once:?} and {four_times:?}");
    }
}

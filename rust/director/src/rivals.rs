//! Other directors in this network namespace. Two that served one VIP on one interface would each answer the other's
//! clients with resets, so the second is refused. What the others serve stands in their nftables tables.

use crate::claims::Claims;
use crate::error::Error;
use fastlvs_core::net::Prefix;
use std::collections::HashSet;
use std::io;
use std::net::IpAddr;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixListener};
use std::thread;
use std::time::{Duration, Instant};

/// Whoever has it bound looks what the others serve and claims more.
const TURN: &str = "fastlvs-claims";
/// How long another one's turn is waited for.
const PATIENCE: Duration = Duration::from_secs(5);
/// How often it is tried.
const LOOK: Duration = Duration::from_millis(10);
/// What is above that in a table's number counts the directors of a process: the kernel's process numbers are below.
pub const PROCESSES: u32 = 1 << 22;

/// Binds an abstract socket of that name, in this network namespace.
pub fn sign(name: &str) -> io::Result<UnixListener> {
    UnixListener::bind_addr(&SocketAddr::from_abstract_name(name)?)
}

/// The turn of this director, until it is dropped. Whoever cannot have it goes on without.
pub fn turn() -> Option<UnixListener> {
    let begin = Instant::now();
    loop {
        match sign(TURN) {
            Err(error) if error.kind() == io::ErrorKind::AddrInUse && begin.elapsed() < PATIENCE => {
                thread::sleep(LOOK);
            }
            turn => return turn.ok(),
        }
    }
}

/// What is served: VIPs, and blocks of them.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Vips {
    hosts: HashSet<IpAddr>,
    blocks: HashSet<Prefix>,
}

impl Vips {
    /// Those of these claims.
    pub fn of(claims: &Claims) -> Self {
        let mut vips = Self::default();
        vips.hosts.extend(claims.services.addresses());
        for range in &claims.services.ranges {
            vips.insert(range.block());
        }
        vips
    }

    /// Those that `before` has not.
    pub fn beyond(self, before: &Self) -> Self {
        Self {
            hosts: self.hosts.difference(&before.hosts).copied().collect(),
            blocks: self.blocks.difference(&before.blocks).copied().collect(),
        }
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.hosts.is_empty() && self.blocks.is_empty()
    }

    fn insert(&mut self, block: Prefix) {
        if block == Prefix::host(block.address()) {
            self.hosts.insert(block.address());
        } else {
            self.blocks.insert(block);
        }
    }

    /// One that `other` has as well, or that lies in a block of its.
    fn shared(&self, other: &Self) -> Option<Prefix> {
        let covers = |vips: &Self, address| vips.blocks.iter().any(|block| block.contains(address));
        let host = self.hosts.iter().find(|host| other.hosts.contains(host) || covers(other, **host));
        let lies_in = |block: &&Prefix| {
            covers(other, block.address())
                || other.hosts.iter().any(|host| block.contains(*host))
                || other.blocks.iter().any(|inner| block.contains(inner.address()))
        };
        host.map(|host| Prefix::host(*host)).or_else(|| self.blocks.iter().find(lies_in).copied())
    }
}

/// What a table says, as `nft list table` prints it: the interfaces that its chain stands at, and its VIPs.
fn served(listing: &str) -> (HashSet<&str>, Vips) {
    let (mut interfaces, mut vips) = (HashSet::new(), Vips::default());
    let mut in_vips = false;
    for line in listing.lines().map(str::trim) {
        if let Some(name) = line.strip_prefix("set ") {
            in_vips = name.starts_with("vips");
        } else if line.starts_with("chain ") {
            in_vips = false;
        }
        if let Some((_, hook)) = line.split_once("hook ingress device") {
            let names = hook.split_once("priority").map_or("", |(names, _)| names);
            let words = names.trim_start_matches('s').split(['=', '{', '}', ',', ' ', '"']);
            interfaces.extend(words.filter(|word| !word.is_empty()));
        } else if in_vips {
            let words = line.split(['{', '}', ',', ' ', '=']);
            vips.hosts.extend(words.filter_map(|word| word.parse::<IpAddr>().ok()));
        } else {
            // The chain of ranges. A reply's rule names another type of address there.
            let blocks =
                line.split(" daddr ").skip(1).filter_map(|rest| rest.split(' ').next()?.parse().ok());
            blocks.for_each(|block| vips.insert(block));
        }
    }
    (interfaces, vips)
}

/// Refuses `vips` on `interfaces` where the director of table `number` serves one of them, as its `listing` says.
pub fn refuse<'a>(
    vips: &Vips,
    mut interfaces: impl Iterator<Item = &'a str>,
    number: u32,
    listing: &str,
) -> Result<(), Error> {
    let (on, others) = served(listing);
    let Some(name) = interfaces.find(|name| on.contains(name)) else { return Ok(()) };
    let Some(vip) = vips.shared(&others) else { return Ok(()) };
    let vip = if vip == Prefix::host(vip.address()) { vip.address().to_string() } else { vip.to_string() };
    let who = match number % PROCESSES {
        own if own == std::process::id() => format!("another director of this process, {own},"),
        process => format!("another director, process {process},"),
    };
    let problem = format!("{who} serves the VIP {vip} there: each would reset the other's connections");
    Err(Error::Interface { name: name.to_owned(), problem })
}

#[cfg(test)]
mod tests {
    use super::*;

    const LISTING: &str = r"table netdev fastlvs-4711 {
	set services4 {
		type inet_proto . ipv4_addr . inet_service
		elements = { tcp . 10.0.0.81 . 80 }
	}

	set vips4 {
		type ipv4_addr
		elements = { 10.0.0.81, 10.0.0.82,
			     10.0.0.83 }
	}

	set servers4 {
		type ipv4_addr
		elements = { 10.1.0.11 }
	}

	set vips6 {
		type ipv6_addr
		elements = { fd00::81 }
	}

	chain ranges {
		meta l4proto 6 ip daddr 192.0.2.0/28 th dport 80-90 drop
		meta l4proto 17 ip saddr 10.1.0.12 th sport 1-9 fib daddr type != local drop
	}

	chain ingress {
		type filter hook ingress devices = { eth0, eth1 } priority filter; policy accept;
		ip daddr @owned4 drop
	}
}
";

    fn vips(of: &[&str]) -> Vips {
        let mut vips = Vips::default();
        for vip in of {
            vips.insert(vip.parse().unwrap());
        }
        vips
    }

    #[test]
    fn a_table_says_where_it_serves_what() {
        let (interfaces, found) = served(LISTING);
        assert_eq!(interfaces, HashSet::from(["eth0", "eth1"]));
        assert_eq!(found, vips(&["10.0.0.81", "10.0.0.82", "10.0.0.83", "fd00::81", "192.0.2.0/28"]));
        let alone =
            "chain ingress {\n type filter hook ingress device \"s0\" priority filter; policy accept;";
        assert_eq!(served(alone), (HashSet::from(["s0"]), Vips::default()));
    }

    #[test]
    fn one_vip_on_one_interface_is_one_directors() {
        let refused = |of: &[&str], interface| {
            let refused = refuse(&vips(of), [interface].into_iter(), 4711 + PROCESSES, LISTING);
            refused.err().map(|error| error.to_string())
        };
        for shared in ["10.0.0.81", "fd00::81", "192.0.2.7", "192.0.2.8/29", "192.0.0.0/16", "10.0.0.80/29"] {
            let error = refused(&["10.9.9.9", shared], "eth1").unwrap();
            let expected = format!(
                "interface eth1: another director, process 4711, serves the VIP {shared} there: each would reset \
                 the other's connections"
            );
            assert_eq!(error, expected);
            assert_eq!(refused(&[shared], "eth2"), None);
        }
        assert_eq!(
            refused(&["10.0.0.84", "10.1.0.11", "10.1.0.12", "192.0.2.16/28", "fd00::82"], "eth0"),
            None
        );
    }

    #[test]
    fn only_what_is_new_is_asked_about() {
        let new =
            vips(&["10.0.0.1", "10.0.0.2", "192.0.2.0/28"]).beyond(&vips(&["10.0.0.1", "192.0.2.0/28"]));
        assert_eq!(new, vips(&["10.0.0.2"]));
        assert!(vips(&["10.0.0.1"]).beyond(&new).beyond(&vips(&["10.0.0.1"])).is_empty());
    }
}

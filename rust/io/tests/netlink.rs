//! The monitor against the kernel itself: what `ip` does in a namespace of the test's own is seen.

#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "helpers of tests, and the reason of a skipped one"
)]

mod namespace;

use fastlvs_core::net::{Mac, Prefix};
use fastlvs_io::netlink::{Changed, Monitor, Route, RouteKind, State, netdev_tables};
use fastlvs_io::wake::PollSet;
use namespace::{Peer, address, in_namespace, ip, wait_until};
use std::net::Ipv4Addr;
use std::os::fd::AsFd;
use std::process::Command;
use std::time::Duration;

/// Updates until `condition` holds; says what changed on the way.
fn follow(monitor: &mut Monitor, what: &str, condition: impl Fn(&State) -> bool) -> Changed {
    let mut changed = Changed::default();
    let mut set = PollSet::default();
    wait_until(what, || {
        set.wait(&[monitor.as_fd()], Some(Duration::from_millis(100))).unwrap();
        let now = monitor.update().unwrap();
        changed.network |= now.network;
        changed.neighbours |= now.neighbours;
        condition(monitor.state())
    });
    changed
}

fn prefix(text: &str) -> Prefix {
    text.parse().unwrap()
}

fn has_address(state: &State, link: u32, text: &str) -> bool {
    state.addresses.iter().any(|address| address.link == link && address.prefix == prefix(text))
}

/// The routes of the main table to a destination.
fn routes<'a>(state: &'a State, destination: &str) -> Vec<&'a Route> {
    let wanted = prefix(destination);
    state.routes.iter().filter(|route| route.table == 254 && route.destination == wanted).collect()
}

fn neighbour_shown(address: &str) -> String {
    let output = Command::new("ip").args(["neighbour", "show", address]).output().unwrap();
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// What was followed must be what a fresh dump says, as soon as both speak of the same moment: the
/// kernel goes on meanwhile, with duplicate address detection for one.
fn same_as_anew(monitor: &mut Monitor) {
    let sorted = |state: &State| {
        let mut texts: Vec<_> = state.addresses.iter().map(|address| format!("{address:?}")).collect();
        texts.sort();
        texts
    };
    wait_until("the same state as a fresh dump's", || {
        monitor.update().unwrap();
        let (followed, anew) = (monitor.state(), Monitor::open().unwrap());
        followed.links == anew.state().links
            && followed.routes == anew.state().routes
            && sorted(followed) == sorted(anew.state())
    });
}

#[test]
fn links_appear_change_and_vanish() {
    in_namespace("links_appear_change_and_vanish", || {
        let mut monitor = Monitor::open().unwrap();
        let lo = monitor.state().link("lo").unwrap().clone();
        assert!(lo.up && !lo.ethernet, "{lo:?}");
        assert!(!monitor.update().unwrap().any(), "nothing happened since");

        ip("link add near type veth peer name far");
        ip("link set near address 02:00:00:00:00:0a mtu 1400");
        let changed =
            follow(&mut monitor, "the link", |state| state.link("near").is_some_and(|a| a.mtu == 1400));
        assert_eq!(changed, Changed { network: true, neighbours: false });
        let a = monitor.state().link("near").unwrap().clone();
        assert_eq!((a.mac, a.up), (Some("02:00:00:00:00:0a".parse::<Mac>().unwrap()), false));
        assert!(a.ethernet);

        ip("link set near up");
        assert!(follow(&mut monitor, "near up", |state| state.links[&a.index].up).network);
        ip("link set near down");
        ip("link set near name other");
        follow(&mut monitor, "near down, called other", |state| {
            let link = &state.links[&a.index];
            !link.up && link.name == "other"
        });
        // A port that leaves its bridge is still there.
        ip("link add name bridge0 type bridge");
        ip("link set other master bridge0");
        ip("link set other nomaster");
        follow(&mut monitor, "the bridge", |state| state.link("bridge0").is_some());
        assert!(monitor.state().link("other").is_some());
        ip("link del other");
        follow(&mut monitor, "both ends gone", |state| {
            state.link("other").is_none() && state.link("far").is_none()
        });
        same_as_anew(&mut monitor);
    });
}

#[test]
fn addresses_and_routes_appear_change_and_vanish() {
    in_namespace("addresses_and_routes_appear_change_and_vanish", || {
        ip("link add near type veth peer name far");
        ip("link set near up");
        ip("link set far up");
        let mut monitor = Monitor::open().unwrap();
        let a = monitor.state().link("near").unwrap().index;

        ip("address add 192.0.2.1/24 dev near");
        ip("address add 10.9.9.1 peer 10.9.9.2/32 dev near");
        ip("address add 2001:db8::1/64 dev near nodad");
        follow(&mut monitor, "addresses and what follows from them", |state| {
            has_address(state, a, "192.0.2.1/24")
                && has_address(state, a, "10.9.9.1/32")
                && has_address(state, a, "2001:db8::1/64")
                && routes(state, "2001:db8::/64").len() == 1
                && state.routes.iter().any(|route| {
                    route.table == 255
                        && route.kind == RouteKind::Local
                        && route.destination == prefix("2001:db8::1/128")
                })
        });
        let on_link =
            RouteKind::Unicast { link: a, via: None, mtu: None, source: Some(address("192.0.2.1")) };
        assert_eq!(routes(monitor.state(), "192.0.2.0/24")[0].kind, on_link);
        let local = |text| {
            monitor.state().routes.iter().any(|route| {
                route.destination == prefix(text) && route.kind == RouteKind::Local && route.table == 255
            })
        };
        assert!(local("192.0.2.1/32") && local("127.0.0.0/8"));
        assert!(!monitor.state().routes.iter().any(|route| route.destination == prefix("192.0.2.255/32")));

        ip("route add default via 192.0.2.254 mtu 1300 metric 5");
        ip("route add 198.51.100.0/24 nexthop via 192.0.2.2 nexthop via 192.0.2.3");
        ip("route add 203.0.113.0/25 via inet6 2001:db8::2 dev near");
        ip("route add unreachable 203.0.113.128/26");
        ip("route add blackhole 203.0.113.192/27");
        ip("route add prohibit 2001:db8:f::/48");
        ip("route add 100.64.0.0/10 via 192.0.2.2 table 77");
        follow(&mut monitor, "routes", |state| routes(state, "2001:db8:f::/48").len() == 1);
        let unicast = |via, mtu| RouteKind::Unicast { link: a, via: Some(address(via)), mtu, source: None };
        let expected = [
            ("0.0.0.0/0", unicast("192.0.2.254", Some(1300)), 5),
            ("198.51.100.0/24", unicast("192.0.2.2", None), 0),
            ("203.0.113.0/25", unicast("2001:db8::2", None), 0),
            ("203.0.113.128/26", RouteKind::Unreachable, 0),
            ("203.0.113.192/27", RouteKind::Unreachable, 0),
            ("2001:db8:f::/48", RouteKind::Unreachable, 1024),
        ];
        for (destination, kind, metric) in expected {
            let destination = prefix(destination);
            let table = 254;
            let wanted = Route { destination, kind, metric, table };
            assert!(monitor.state().routes.contains(&wanted), "{wanted:?} in {:#?}", monitor.state().routes);
        }
        assert!(!monitor.state().routes.iter().any(|route| route.destination == prefix("100.64.0.0/10")));
        same_as_anew(&mut monitor);

        ip("route replace default via 192.0.2.253 metric 5");
        ip("route del 203.0.113.0/25");
        ip("route add 198.51.100.0/24 via 192.0.2.9 metric 3");
        ip("route append 198.51.100.0/24 via 192.0.2.8 metric 3");
        follow(&mut monitor, "edited routes", |state| routes(state, "198.51.100.0/24").len() == 3);
        let default = routes(monitor.state(), "0.0.0.0/0");
        assert_eq!((default.len(), &default[0].kind), (1, &unicast("192.0.2.253", None)));
        assert_eq!(routes(monitor.state(), "203.0.113.0/25"), Vec::<&Route>::new());
        ip("route del 198.51.100.0/24 via 192.0.2.9 metric 3");
        follow(&mut monitor, "one of two alike gone", |state| routes(state, "198.51.100.0/24").len() == 2);
        same_as_anew(&mut monitor);

        // The kernel says nothing of the IPv4 routes that go with an address or a link.
        ip("route add 198.18.0.0/15 dev near src 192.0.2.1");
        ip("address del 192.0.2.1/24 dev near");
        follow(&mut monitor, "routes gone with their address", |state| {
            routes(state, "198.18.0.0/15").is_empty() && !has_address(state, a, "192.0.2.1/24")
        });
        same_as_anew(&mut monitor);
        // Without IPv6, whose addresses would be seen to go.
        std::fs::write("/proc/sys/net/ipv6/conf/near/disable_ipv6", "1").unwrap();
        ip("route add 198.18.0.0/15 dev near");
        follow(&mut monitor, "the route back", |state| routes(state, "198.18.0.0/15").len() == 1);
        ip("link set near down");
        follow(&mut monitor, "routes gone with their link", |state| {
            routes(state, "198.18.0.0/15").is_empty()
        });
        same_as_anew(&mut monitor);
    });
}

#[test]
fn routes_follow_the_next_hop_objects_that_they_use() {
    in_namespace("routes_follow_the_next_hop_objects_that_they_use", || {
        ip("link add near type veth peer name far");
        ip("link set near up");
        ip("link set far up");
        ip("address add 192.0.2.1/24 dev near");
        let mut monitor = Monitor::open().unwrap();
        let via = |state: &State| match routes(state, "198.51.100.0/24")[..] {
            [Route { kind: RouteKind::Unicast { via, .. }, .. }] => *via,
            _ => None,
        };
        ip("nexthop add id 1 via 192.0.2.2 dev near");
        ip("route add 198.51.100.0/24 nhid 1");
        follow(&mut monitor, "the route", |state| via(state) == Some(address("192.0.2.2")));
        ip("nexthop replace id 1 via 192.0.2.3 dev near");
        follow(&mut monitor, "its other next hop", |state| via(state) == Some(address("192.0.2.3")));
        ip("nexthop del id 1");
        follow(&mut monitor, "the route gone", |state| routes(state, "198.51.100.0/24").is_empty());
    });
}

#[test]
fn an_address_counts_when_duplicate_detection_is_over() {
    in_namespace("an_address_counts_when_duplicate_detection_is_over", || {
        ip("link add near type veth peer name far");
        ip("link set near up");
        ip("address add 2001:db8::1/64 dev near");
        let mut monitor = Monitor::open().unwrap();
        let a = monitor.state().link("near").unwrap().index;
        assert!(!has_address(monitor.state(), a, "2001:db8::1/64"), "tentative as long as the link is down");
        ip("link set far up");
        follow(&mut monitor, "the address", |state| has_address(state, a, "2001:db8::1/64"));
    });
}

#[test]
fn the_kernel_resolves_neighbours_for_us() {
    in_namespace("the_kernel_resolves_neighbours_for_us", || {
        let peer = Peer::new();
        ip("link add near type veth peer name far");
        ip(&format!("link set far netns {}", peer.pid()));
        ip("link set near up");
        ip("address add 192.0.2.1/24 dev near");
        ip("address add 2001:db8::1/64 dev near nodad");
        peer.ip("link set far address 02:00:00:00:00:0b up");
        peer.ip("address add 192.0.2.2/24 dev far");
        peer.ip("address add 2001:db8::2/64 dev far nodad");
        let mac: Mac = "02:00:00:00:00:0b".parse().unwrap();
        let other: Mac = "02:00:00:00:00:0c".parse().unwrap();

        let mut monitor = Monitor::open().unwrap();
        let near = monitor.state().link("near").unwrap().index;
        for text in ["192.0.2.2", "2001:db8::2"] {
            let place = (near, address(text));
            assert_eq!(monitor.state().neighbours.get(&place), None);
            monitor.resolve(near, place.1).unwrap();
            let changed = follow(&mut monitor, text, |state| state.neighbours.get(&place) == Some(&mac));
            assert!(changed.neighbours);
        }

        // A stale entry is confirmed.
        let settings = "/proc/sys/net/ipv4/neigh/near";
        std::fs::write(format!("{settings}/delay_first_probe_time"), "1").unwrap();
        std::fs::write(format!("{settings}/retrans_time_ms"), "20").unwrap();
        let place = (near, address("192.0.2.2"));
        ip("neighbour replace 192.0.2.2 lladdr 02:00:00:00:00:0b dev near nud stale");
        monitor.resolve(near, place.1).unwrap();
        wait_until("a confirmed entry", || neighbour_shown("192.0.2.2").contains("REACHABLE"));

        // A wrong one is given up, as nobody answers; asking again finds the right one.
        ip("neighbour replace 192.0.2.2 lladdr 02:00:00:00:00:0c dev near nud stale");
        follow(&mut monitor, "the wrong address", |state| state.neighbours.get(&place) == Some(&other));
        monitor.resolve(near, place.1).unwrap();
        follow(&mut monitor, "the wrong address gone", |state| !state.neighbours.contains_key(&place));
        monitor.resolve(near, place.1).unwrap();
        follow(&mut monitor, "the right address", |state| state.neighbours.get(&place) == Some(&mac));

        // So is one that did not answer before.
        let late = (near, address("192.0.2.3"));
        monitor.resolve(near, late.1).unwrap();
        wait_until("a failed entry", || neighbour_shown("192.0.2.3").contains("FAILED"));
        monitor.update().unwrap();
        assert_eq!(monitor.state().neighbours.get(&late), None);
        peer.ip("address add 192.0.2.3/24 dev far");
        monitor.resolve(near, late.1).unwrap();
        follow(&mut monitor, "the late neighbour", |state| state.neighbours.get(&late) == Some(&mac));

        // What an administrator entered stays so, before and after being asked about.
        ip("neighbour replace 192.0.2.3 lladdr 02:00:00:00:00:0c dev near nud permanent");
        follow(&mut monitor, "the permanent entry", |state| state.neighbours.get(&late) == Some(&other));
        monitor.resolve(near, late.1).unwrap();
        assert!(neighbour_shown("192.0.2.3").contains("PERMANENT"), "{}", neighbour_shown("192.0.2.3"));
        ip("neighbour del 192.0.2.3 dev near");
        follow(&mut monitor, "the entry gone", |state| !state.neighbours.contains_key(&late));
        ip("link set near down");
        follow(&mut monitor, "all gone with the link", |state| !state.neighbours.contains_key(&place));
    });
}

#[test]
fn an_overrun_is_made_good_by_a_dump() {
    in_namespace("an_overrun_is_made_good_by_a_dump", || {
        ip("link add near type veth peer name far");
        ip("link set near up");
        ip("link set far up");
        let mut monitor = Monitor::open().unwrap();
        // More than the receive buffer takes: each notification costs the kernel at least 256 bytes of it.
        let addresses = (0..60_000_u32).map(|number| Ipv4Addr::from_bits(0x0a00_0000 + number));
        let batch: Vec<_> = addresses.map(|address| format!("route add {address}/32 dev near\n")).collect();
        let path = std::env::temp_dir().join(format!("fastlvs-routes-{}", std::process::id()));
        std::fs::write(&path, batch.concat()).unwrap();
        ip(&format!("-batch {}", path.display()));
        std::fs::remove_file(&path).unwrap();
        assert!(monitor.update().unwrap().network);
        let hosts = monitor.state().routes.iter().filter(|route| route.destination.length() == 32);
        assert!(hosts.count() >= 60_000);
        monitor.update().unwrap();
        same_as_anew(&mut monitor);
    });
}

#[test]
fn nftables_tables_are_named() {
    in_namespace("nftables_tables_are_named", || {
        let nft = |command: &str| {
            let Ok(status) = Command::new("nft").arg(command).status() else {
                println!("SKIPPED: no program nft");
                return false;
            };
            assert!(status.success(), "nft {command}");
            true
        };
        if !nft("add table netdev one; add table ip other; add table netdev two") {
            return;
        }
        assert_eq!(netdev_tables().unwrap(), ["one", "two"]);
        nft("delete table netdev one");
        assert_eq!(netdev_tables().unwrap(), ["two"]);
        // More than one message of the kernel's holds.
        let many: Vec<_> =
            (0..2000).map(|n| format!("add table netdev a_table_with_a_long_name_{n}")).collect();
        nft(&many.join("; "));
        assert_eq!(netdev_tables().unwrap().len(), 2001);
    });
}

//! Both formats of a configuration: what they say, and what is said about mistakes.

use fastlvs_core::conn::{State, TcpState};
use fastlvs_core::net::Protocol;
use fastlvs_core::scheduler::NAMES;
use fastlvs_core::service::{Method, SchedulerSpec};
use fastlvs_director::config::{ConfigError, Configuration, SchedulerName};
use std::time::Duration;

const EXAMPLE: &str = include_str!("../../../docs/director.example.toml");
const REFERENCE: &str = include_str!("../../../docs/reference/configuration.md");

#[test]
fn the_documented_example_says_what_it_says() {
    let configuration = Configuration::from_toml(EXAMPLE, "director.example.toml").unwrap();
    assert_eq!(configuration.interfaces, ["eth0", "eth1"]);
    assert_eq!(configuration.spin, Duration::from_micros(500));
    let [web, dns] = &configuration.services[..] else { panic!("two services") };
    assert_eq!(web.key.to_string(), "TCP 192.0.2.10:80");
    let line = EXAMPLE.lines().position(|line| line == "scheduler = \"wlc\"").map(|index| index + 1);
    assert_eq!(web.place.line, line);
    let servers: Vec<_> = web.servers.iter().map(|s| (s.endpoint.to_string(), s.weight, s.method)).collect();
    let expected = [
        ("10.0.0.11:8080".to_owned(), 1, Method::Masquerading),
        ("10.0.0.12:8080".to_owned(), 3, Method::Masquerading),
    ];
    assert_eq!(servers, expected);
    assert_eq!((dns.key.protocol, dns.forwarding), (Protocol::UDP, Method::Gatewaying));
    assert_eq!(dns.servers[0].endpoint.to_string(), "10.0.0.21:53");
    assert_eq!(configuration.neighbours[0].mac.to_string(), "02:00:00:00:00:15");
    assert_eq!(configuration.routes[0].destination.to_string(), "198.51.100.0/24");
    assert_eq!(configuration.routes[0].mtu, Some(1400));
    let specs = configuration.specs().unwrap();
    assert!(matches!(&specs[1].scheduler, SchedulerSpec::Named(name) if name == "rr"));
}

/// The example shows the defaults of its settings.
#[test]
fn an_empty_file_has_the_defaults_of_the_example() {
    let empty = Configuration::from_toml("", "empty.toml").unwrap();
    let example = Configuration::from_toml(EXAMPLE, "director.example.toml").unwrap();
    assert_eq!(empty.settings, example.settings);
    assert_eq!(empty.spin, example.spin);
    assert!(empty.interfaces.is_empty() && empty.services.is_empty() && empty.capture.is_none());
}

/// An unknown key is answered with the known ones, so they can be looked for.
#[test]
fn every_key_and_scheduler_is_documented() {
    let server = format!("{WEB}[[service.server]]\nx = 1");
    let tables = [
        "[director]\nx = 1",
        "[settings]\nx = 1",
        "[[service]]\nx = 1",
        &server,
        "[[neighbour]]\nx = 1",
        "[[route]]\nx = 1",
    ];
    for text in tables {
        let error = Configuration::from_toml(text, "f").unwrap_err().message;
        let (_, keys) = error.split_once("expected one of ").expect(&error);
        for key in keys.split(", ") {
            assert!(
                EXAMPLE.contains(&format!("{key} = ")) || EXAMPLE.contains(&format!("[[service.{key}]]")),
                "{key}"
            );
            assert!(
                REFERENCE.contains(&format!("| `{key}` |"))
                    || REFERENCE.contains(&format!("[[service.{key}]]")),
                "{key}"
            );
        }
    }
    for document in [EXAMPLE, REFERENCE] {
        assert!(document.contains(&NAMES.join(" ")));
    }
}

#[test]
fn settings_and_director_are_read() {
    let text = r#"
        director.capture = "all.pcap"
        director.spin_microseconds = 0
        [settings]
        timeout_tcp = 0.5
        timeout_tcp_fin = 2
        timeout_udp = 1e1
        expire_nodest_conn = true
        conn_reuse_mode = 3
        sloppy_tcp = true
        connection_limit = 0x10
    "#;
    let configuration = Configuration::from_toml(text, "f").unwrap();
    let settings = configuration.settings;
    let timeouts = settings.timeouts;
    let states = [State::Tcp(TcpState::Established), State::Tcp(TcpState::FinWait), State::Udp];
    assert_eq!(states.map(|state| timeouts.of(state).as_millis()), [500, 2_000, 10_000]);
    assert!(settings.expire_nodest_conn && settings.sloppy_tcp);
    assert_eq!((settings.conn_reuse_mode, settings.connection_limit), (3, 16));
    assert_eq!(configuration.spin, Duration::ZERO);
    assert_eq!(configuration.capture.unwrap().to_str(), Some("all.pcap"));
}

#[test]
fn a_scheduler_in_python_is_read_but_not_run() {
    let text = "[[service]]\nprotocol = 'tcp'\naddress = '192.0.2.1:80'\nscheduler = 'python:mine.own:Fair'";
    let configuration = Configuration::from_toml(text, "d.toml").unwrap();
    assert_eq!(configuration.services[0].scheduler, SchedulerName::Python("python:mine.own:Fair".into()));
    assert_eq!(
        configuration.specs().unwrap_err().to_string(),
        "d.toml:4: service[0].scheduler: scheduler \"python:mine.own:Fair\" is in Python, which fastlvs-run does not have; \
         run it with: fastlvs run d.toml"
    );
}

/// A service that is right, in three lines.
const WEB: &str = "[[service]]\nprotocol = \"tcp\"\naddress = \"192.0.2.1:80\"\n";

#[test]
fn mistakes_about_the_director_and_its_settings_are_named_with_line_and_field() {
    refused(
        |text| Configuration::from_toml(text, "f"),
        &[
            ("[director\n".into(), "f:1: not TOML: "),
            ("a = 1\na = 2\n".into(), "f:2: not TOML: duplicate key"),
            (
                "\nbalance = 1\n".into(),
                "f:2: balance: unknown key; expected one of director, settings, service, neighbour, route",
            ),
            ("director = 1\n".into(), "f:1: director: expected a table, [director], got 1"),
            (
                "[director]\ninterface = 'eth0'\n".into(),
                "f:2: director.interface: unknown key; expected one of interfaces, spin_microseconds, capture",
            ),
            (
                "[director]\ninterfaces = 'eth0'\n".into(),
                "f:2: director.interfaces: expected a list of interface names, got \"eth0\"",
            ),
            (
                "[director]\ninterfaces = ['eth0',\n 1]\n".into(),
                "f:3: director.interfaces[1]: expected a string that is not empty, got 1",
            ),
            (
                "[director]\ninterfaces = ['eth0', 'eth0']\n".into(),
                "f:2: director.interfaces[1]: interface eth0 is named twice",
            ),
            (
                "[director]\nspin_microseconds = -1\n".into(),
                "f:2: director.spin_microseconds: expected a whole number from 0 to 1000000, got -1",
            ),
            (
                "[settings]\n\ntimeout_tcp = 'long'\n".into(),
                "f:3: settings.timeout_tcp: expected seconds above 0, got \"long\"",
            ),
            (
                "[settings]\ntimeout_udp = 0\n".into(),
                "f:2: settings.timeout_udp: expected seconds above 0, got 0",
            ),
            (
                "[settings]\ntimeout_udp = nan\n".into(),
                "f:2: settings.timeout_udp: expected seconds above 0, got nan",
            ),
            (
                "[settings]\nsloppy_tcp = 1\n".into(),
                "f:2: settings.sloppy_tcp: expected true or false, got 1",
            ),
            (
                "[settings]\nconn_reuse_mode = 4\n".into(),
                "f:2: settings.conn_reuse_mode: expected a whole number from 0 to 3, got 4",
            ),
            ("[settings]\ntcp = 4\n".into(), "f:2: settings.tcp: unknown key; expected one of timeout_tcp, "),
        ],
    );
}

#[test]
fn mistakes_about_services_are_named_with_line_and_field() {
    refused(
        |text| Configuration::from_toml(text, "f"),
        &[
            (
                "[service]\nprotocol = 'tcp'\n".into(),
                "f:1: service: expected tables, each beginning with [[service]], got a table",
            ),
            (
                format!("{WEB}port = 80\n"),
                "f:4: service[0].port: unknown key; expected one of protocol, address, scheduler, fallback, forwarding, server",
            ),
            ("\n[[service]]\naddress = '192.0.2.1:80'\n".into(), "f:2: service[0].protocol: missing key"),
            (
                WEB.replace("tcp", "sctp"),
                "f:2: service[0].protocol: expected protocol \"tcp\" or \"udp\", got \"sctp\"",
            ),
            (
                WEB.replace("192.0.2.1:80", "192.0.2.1"),
                "f:3: service[0].address: expected VIP and port from 1 to 65535, like \"192.0.2.10:80\", got \"192.0.2.1\"",
            ),
            (WEB.replace(":80", ":0"), "f:3: service[0].address: expected VIP and port"),
            (WEB.replace(":80", ":65536"), "f:3: service[0].address: expected VIP and port"),
            (
                format!("{WEB}scheduler = 'fastest'\n"),
                "f:4: service[0].scheduler: expected a scheduler: one of rr wrr lc wlc",
            ),
            (
                format!("{WEB}scheduler = 'python:fair'\n"),
                "f:4: service[0].scheduler: expected a scheduler: one of rr wrr lc wlc",
            ),
            (
                format!("{WEB}scheduler = 1\n"),
                "f:4: service[0].scheduler: expected a string that is not empty, got 1",
            ),
            (
                format!("{WEB}fallback = 'python:a:B'\n"),
                "f:4: service[0].fallback: expected a built-in scheduler, one of rr wrr",
            ),
            (
                format!("{WEB}forwarding = 'bridge'\n"),
                "f:4: service[0].forwarding: expected a forwarding method: masquerading (masq, nat), ",
            ),
            (
                format!("{WEB}\n{WEB}"),
                "f:7: service[1].address: service TCP 192.0.2.1:80 is defined twice, first in line 3",
            ),
        ],
    );
}

#[test]
fn mistakes_about_real_servers_are_named_with_line_and_field() {
    let server = |text: &str| format!("{WEB}[[service.server]]\n{text}");
    refused(
        |text| Configuration::from_toml(text, "f"),
        &[
            (server("weight = 1\n"), "f:4: service[0].server[0].address: missing key"),
            (
                server("address = 'web1'\n"),
                "f:5: service[0].server[0].address: expected an address, with or without a port from 1 to 65535, like 10.0.0.1:80 or [2001:db8::1]:80, got \"web1\"",
            ),
            (
                server("address = '10.0.0.1:0'\n"),
                "f:5: service[0].server[0].address: expected a port from 1 to 65535, got 0",
            ),
            (
                server("address = '10.0.0.1'\nweight = 2147483648\n"),
                "f:6: service[0].server[0].weight: expected a whole number from 0 to 2147483647, got 2147483648",
            ),
            (
                server("address = '10.0.0.1'\nweight = 1.5\n"),
                "f:6: service[0].server[0].weight: expected a whole number from 0 to 2147483647, got 1.5",
            ),
            (
                server("address = '10.0.0.1'\nforwarding = 3\n"),
                "f:6: service[0].server[0].forwarding: expected a forwarding method",
            ),
            (
                server("address = '10.0.0.1'\nport = 3\n"),
                "f:6: service[0].server[0].port: unknown key; expected one of address, weight, forwarding",
            ),
            (
                server("address = '10.0.0.1:8080'\n"),
                "f:5: service[0].server[0].address: service TCP 192.0.2.1:80: real server 10.0.0.1:8080 must have the service's port",
            ),
            (
                server(
                    "address = '10.0.0.1'\nforwarding = 'tun'\n[[service.server]]\naddress = '10.0.0.1:80'\n",
                ),
                "f:8: service[0].server[1].address: service TCP 192.0.2.1:80: real server 10.0.0.1:80 is defined twice",
            ),
            (
                server("address = '224.0.0.1'\n"),
                "f:5: service[0].server[0].address: service TCP 192.0.2.1:80: real server 224.0.0.1:80 is not a unicast address",
            ),
            (
                server("address = '[2001:db8::1]'\n"),
                "f:5: service[0].server[0].address: service TCP 192.0.2.1:80: real server [2001:db8::1]:80 is of another address family",
            ),
            (
                format!("{WEB}server = [1]\n"),
                "f:4: service[0].server[0]: expected tables, each beginning with [[service.server]], got 1",
            ),
        ],
    );
}

#[test]
fn mistakes_about_neighbours_and_routes_are_named_with_line_and_field() {
    refused(
        |text| Configuration::from_toml(text, "f"),
        &[
            (
                "[[neighbour]]\naddress = '10.0.0.300'\n".into(),
                "f:2: neighbour[0].address: expected an address like",
            ),
            ("[[neighbour]]\naddress = '10.0.0.3'\n".into(), "f:1: neighbour[0].mac: missing key"),
            (
                "[[neighbour]]\naddress = '10.0.0.3'\nmac = '02:00'\n".into(),
                "f:3: neighbour[0].mac: expected a link-layer address of one station",
            ),
            (
                "[[neighbour]]\naddress = '10.0.0.3'\nmac = 'ff:ff:ff:ff:ff:ff'\n".into(),
                "f:3: neighbour[0].mac: expected a link-layer address of one station",
            ),
            (
                "[[route]]\ndestination = '10.0.0.0/33'\n".into(),
                "f:2: route[0].destination: expected an address block like",
            ),
            (
                "[[route]]\ndestination = 'default'\n".into(),
                "f:1: route[0]: expected via (a router), interface, or both",
            ),
            (
                "[[route]]\ndestination = '10.0.0.0/8'\nvia = '2001:db8::1'\n".into(),
                "f:2: route[0].destination: router 2001:db8::1 is of another address family than 10.0.0.0/8",
            ),
            (
                "[[route]]\ndestination = 'default'\nvia = '10.0.0.1'\nmtu = 60\n".into(),
                "f:4: route[0].mtu: expected a whole number from 68 to 65535, got 60",
            ),
        ],
    );
}

#[test]
fn a_default_route_is_of_its_routers_family() {
    for (via, destination) in [("10.0.0.1", "0.0.0.0/0"), ("2001:db8::1", "::/0")] {
        let text = format!("[[route]]\ndestination = 'default'\nvia = '{via}'\n");
        let configuration = Configuration::from_toml(&text, "f").unwrap();
        assert_eq!(configuration.routes[0].destination.to_string(), destination);
    }
}

/// Services and servers as `ipvsadm -Sn` would print them, without the default port 0.
fn saved(text: &str) -> Vec<String> {
    let configuration = Configuration::from_rules(text, "rules").expect("good rules");
    let mut lines = Vec::new();
    for service in &configuration.services {
        let SchedulerName::BuiltIn(scheduler) = &service.scheduler else { panic!("built in") };
        lines.push(format!("{} {scheduler}", service.key));
        lines.extend(
            service.servers.iter().map(|s| format!("{} {} {}", s.endpoint, s.method.name(), s.weight)),
        );
    }
    lines
}

#[test]
fn rules_are_read_as_ipvsadm_reads_them() {
    let text = "\
# saved yesterday
-A -t 192.0.2.1:80 -s wrr
-a -t 192.0.2.1:80 -r 10.0.0.1:8080 -m -w 3
-a -t 192.0.2.1:80 -r 10.0.0.2:80 -i -w 0 --tun-type ipip

ipvsadm --add-service --udp-service=192.0.2.1:53
ipvsadm --add-server --udp-service 192.0.2.1:53 --real-server 10.0.0.3 --gatewaying --weight=2 -x 0 -y 0
-au192.0.2.1:53 -r10.0.0.4
-A -t [2001:db8::1]:443 -s sh
";
    assert_eq!(
        saved(text),
        [
            "TCP 192.0.2.1:80 wrr",
            "10.0.0.1:8080 masquerading 3",
            "10.0.0.2:80 tunneling 0",
            "UDP 192.0.2.1:53 wlc",
            "10.0.0.3:53 gatewaying 2",
            "10.0.0.4:53 gatewaying 1",
            "TCP [2001:db8::1]:443 sh",
        ]
    );
    assert_eq!(saved("-C\n\n"), [""; 0]);
}

#[test]
fn mistakes_in_rules_are_named_with_line_and_option() {
    let add = "-A -t 192.0.2.1:80";
    let server = |text: &str| format!("{add}\n-a -t 192.0.2.1:80 {text}");
    refused(
        |text| Configuration::from_rules(text, "r"),
        &[
            ("hello".into(), "r:1: unexpected argument \"hello\""),
            ("-t 192.0.2.1:80 -A".into(), "r:1: expected -A (--add-service) or -a (--add-server) first"),
            ("-D -t 192.0.2.1:80".into(), "r:1: -D: unknown option; expected -A, -a, "),
            ("-A".into(), "r:1: expected a service: -t VIP:PORT or -u VIP:PORT"),
            ("-A -t".into(), "r:1: -t: expected a value"),
            ("-A -t 192.0.2.1:80 -s".into(), "r:1: -s: expected a value"),
            ("-A -t 192.0.2.1:80 extra".into(), "r:1: unexpected argument \"extra\""),
            ("-A -t 192.0.2.1:80 -t 192.0.2.2:80".into(), "r:1: more than one service is named"),
            ("-A -t 192.0.2.1:80 -s rr -s rr".into(), "r:1: -s or its like is given twice"),
            (
                "-A -t 192.0.2.1:80 -s best".into(),
                "r:1: -s: service TCP 192.0.2.1:80: unknown scheduler \"best\"; expected one of rr wrr",
            ),
            ("-A -t 192.0.2.1:80 -m".into(), "r:1: -m does not belong to this command"),
            ("-A -t 192.0.2.1:80 --masquerading=1".into(), "r:1: --masquerading takes no value"),
            ("-A -t 192.0.2.1".into(), "r:1: -t: a service of all ports (port 0) is not supported"),
            ("-A -u 192.0.2.1:0".into(), "r:1: -u: port 0 (all ports) is not supported"),
            (
                "-A -t 192.0.2.1:http".into(),
                "r:1: -t: expected numbers, got names in \"192.0.2.1:http\"; save with `ipvsadm -Sn`",
            ),
            ("-A -t www.example.org:80".into(), "r:1: -t: expected numbers, got names"),
            ("-A -t [2001:db8::1]:http".into(), "r:1: -t: expected numbers, got names"),
            ("-A -t 192.0.2.1:99999".into(), "r:1: -t: expected an address, with or without a port"),
            ("\n-A -f 1 -s rr".into(), "r:2: -f: --fwmark-service is not supported"),
            ("-A --fwmark-service=1".into(), "r:1: -f: --fwmark-service is not supported"),
            ("-A -t 192.0.2.1:80 -p".into(), "r:1: -p: --persistent is not supported"),
            (
                "-A -t 192.0.2.1:80 -s rr -p 300 -M 255.255.255.0".into(),
                "r:1: -p: --persistent is not supported",
            ),
            ("-A -u 192.0.2.1:53 -o".into(), "r:1: -o: --ops is not supported"),
            ("-A -t 192.0.2.1:80 -s sh -b sh-port".into(), "r:1: -b: --sched-flags is not supported"),
            ("-A -u 192.0.2.1:5060 --pe sip".into(), "r:1: --pe: --pe is not supported"),
            ("-A --sctp-service 192.0.2.1:80".into(), "r:1: --sctp-service: --sctp-service is not supported"),
            ("-a -t 192.0.2.1:80 -r 10.0.0.1".into(), "r:1: service TCP 192.0.2.1:80 is not defined above"),
            (format!("{add}\n{add}"), "r:2: service TCP 192.0.2.1:80 is defined twice, first in line 1"),
            (format!("{add}\n-C"), "r:2: -C after a service"),
            (server(""), "r:2: expected a real server: -r RIP:PORT"),
            (server("-s rr -r 10.0.0.1"), "r:2: -s does not belong to this command"),
            (server("-r web1:80"), "r:2: -r: expected numbers, got names"),
            (server("-r 10.0.0.1 -m -g"), "r:2: -g or its like is given twice"),
            (
                server("-r 10.0.0.1 -w 2147483648"),
                "r:2: -w: expected a weight from 0 to 2147483647, got \"2147483648\"",
            ),
            (server("-r 10.0.0.1 -w -1"), "r:2: -w: expected a weight"),
            (server("-r 10.0.0.1 -x 100"), "r:2: -x: connection thresholds are not supported"),
            (
                server("-r 10.0.0.1 -i --tun-type gue --tun-port 6080"),
                "r:2: --tun-type: tunnel type \"gue\" is not supported",
            ),
            (
                server("-r 10.0.0.1 -m --tun-type ipip"),
                "r:2: --tun-type: expected -i with a tunnel's options",
            ),
            (server("-r 10.0.0.1 -i --tun-csum"), "r:2: --tun-csum: --tun-csum is not supported"),
            (
                server("-r 10.0.0.1:8080 -g"),
                "r:2: -r: service TCP 192.0.2.1:80: real server 10.0.0.1:8080 must have the service's port",
            ),
            (
                server("-r 10.0.0.1\n-a -t 192.0.2.1:80 -r 10.0.0.1:80"),
                "r:3: -r: service TCP 192.0.2.1:80: real server 10.0.0.1:80 is defined twice",
            ),
        ],
    );
}

/// Each text is refused with an error that begins as expected.
fn refused(read: impl Fn(&str) -> Result<Configuration, ConfigError>, cases: &[(String, &str)]) {
    for (text, expected) in cases {
        match read(text) {
            Ok(_) => panic!("accepted:\n{text}"),
            Err(error) => {
                assert!(
                    error.to_string().starts_with(expected),
                    "{text}\nexpected {expected}\n     got {error}"
                );
            }
        }
    }
}

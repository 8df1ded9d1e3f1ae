//! Both formats of a configuration: what they say, and what is said about mistakes.

mod refused;

use fastlvs_core::conn::{State, TcpState};
use fastlvs_core::net::Protocol;
use fastlvs_core::scheduler::NAMES;
use fastlvs_core::service::{Encapsulation, Method, SchedulerSpec, ServiceKey};
use fastlvs_core::settings::Timeouts;
use fastlvs_director::config::{Configuration, SchedulerName};
use refused::refused;
use std::net::IpAddr;
use std::time::Duration;

const EXAMPLE: &str = include_str!("../../../docs/director.example.toml");
const REFERENCE: &str = include_str!("../../../docs/reference/configuration.md");

#[test]
fn the_documented_example_says_what_it_says() {
    let configuration = Configuration::from_toml(EXAMPLE, "director.example.toml").unwrap();
    assert_eq!(configuration.interfaces, ["eth0", "eth1"]);
    assert_eq!(configuration.spin, Duration::from_micros(500));
    let [web, dns, marked] = &configuration.services[..] else { panic!("three services") };
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
    let persistence = web.persistence.unwrap();
    assert_eq!(
        (persistence.timeout.as_secs(), persistence.mask.to_string().as_str()),
        (300, "255.255.255.0")
    );
    assert_eq!(web.timeouts, [(State::Tcp(TcpState::Established), Duration::from_secs(3600))]);
    assert_eq!((marked.key, marked.flags.port), (ServiceKey::of_mark(1, false), true));
    assert_eq!(marked.servers[0].encapsulation, Encapsulation::Gue { port: 6080, checksum: false });
    let [rule] = &configuration.marks[..] else { panic!("one rule") };
    assert_eq!((rule.destination.to_string().as_str(), rule.ports.clone()), ("192.0.2.32/28", 8000..=8999));
    assert_eq!((rule.mark, rule.protocol), (1, Some(Protocol::TCP)));
    assert_eq!(configuration.neighbours[0].mac.to_string(), "02:00:00:00:00:15");
    assert_eq!(configuration.routes[0].destination.to_string(), "198.51.100.0/24");
    assert_eq!(configuration.routes[0].mtu, Some(1400));
    let specs = configuration.specs().unwrap();
    assert!(matches!(&specs[1].scheduler, SchedulerSpec::Named(name) if name == "rr"));
}

#[test]
fn a_byte_order_mark_is_no_part_of_the_text() {
    let service = "[[service]]\nprotocol = 'tcp'\naddress = '192.0.2.1:80'\n";
    let marked = Configuration::from_toml(&format!("\u{feff}{service}"), "f").unwrap();
    assert_eq!(marked.services[0].place.line, Some(1));
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
        "[[mark]]\nx = 1",
        "[[neighbour]]\nx = 1",
        "[[route]]\nx = 1",
    ];
    for text in tables {
        let error = Configuration::from_toml(text, "f").unwrap_err().message;
        let (_, keys) = error.split_once("expected one of ").expect(&error);
        for key in keys.split(", ") {
            let forms = [format!("{key} = "), format!("[service.{key}]"), format!("[[service.{key}]]")];
            assert!(forms.iter().any(|form| EXAMPLE.contains(form)), "{key}");
            let forms = [format!("| `{key}` |"), format!("[[service.{key}]]")];
            assert!(forms.iter().any(|form| REFERENCE.contains(form)), "{key}");
        }
    }
    let timeouts = Timeouts::default();
    for state in State::all() {
        let row = format!("| `{}` | {} |", state.timeout_name(), timeouts.of(state).as_secs());
        assert!(REFERENCE.contains(&row), "{row}");
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
fn services_say_all_that_an_engine_can_do() {
    let text = r#"
        [[service]]
        protocol = "sctp"
        address = "[2001:db8::1]:0"
        scheduler = "mh"
        flags = ["mh-port", "mh-fallback"]
        persistence = 0.5
        netmask = 64
        timeouts = { sctp_established = 10, sctp_closed = 0.5 }
        [[service.server]]
        address = "10.0.0.1"
        forwarding = "tun"
        tunnel = "gre"
        tunnel_flags = "csum"
        upper_threshold = 4
        lower_threshold = 2
        [[service]]
        mark = 7
        ipv6 = true
        one_packet = true
        [[service.server]]
        address = "[2001:db8::11]:53"
        forwarding = "nat"
        [[service]]
        protocol = "tcp"
        address = "192.0.2.16/28:8000-8999"
        [[service.server]]
        address = "10.0.0.1"
        [[mark]]
        mark = 7
        destination = "2001:db8::53"
        ports = 53
    "#;
    let configuration = Configuration::from_toml(text, "f").unwrap();
    let [all_ports, marked, block] = &configuration.specs().unwrap()[..] else { panic!("three services") };
    assert_eq!(block.key.to_string(), "TCP 192.0.2.16/28:8000-8999");
    assert_eq!(block.servers[0].endpoint.to_string(), "10.0.0.1:0");
    assert_eq!(all_ports.key.to_string(), "SCTP [2001:db8::1]:0");
    assert_eq!((all_ports.flags.port, all_ports.flags.fallback), (true, true));
    assert_eq!(all_ports.persistence.unwrap().mask, "ffff:ffff:ffff:ffff::".parse::<IpAddr>().unwrap());
    let timeouts = all_ports.timeouts.iter().map(|(state, time)| (state.timeout_name(), time.as_millis()));
    assert_eq!(
        timeouts.collect::<Vec<_>>(),
        [("sctp_established".to_owned(), 10_000), ("sctp_closed".to_owned(), 500)]
    );
    let [server] = all_ports.servers[..] else { panic!("one server") };
    assert_eq!(server.endpoint.to_string(), "10.0.0.1:0");
    assert_eq!(server.encapsulation, Encapsulation::Gre { checksum: true });
    assert_eq!((server.upper_threshold, server.lower_threshold), (4, 2));
    assert_eq!((marked.key, marked.one_packet), (ServiceKey::of_mark(7, true), true));
    assert_eq!(marked.servers[0].endpoint.port, 53);
    let [rule] = &configuration.marks[..] else { panic!("one rule") };
    assert_eq!((rule.ports.clone(), rule.protocol, rule.destination.length()), (53..=53, None, 128));
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
                "f:2: balance: unknown key; expected one of director, settings, service, mark, neighbour, route",
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
                "f:3: settings.timeout_tcp: expected seconds above 0, at most 2147483647, got \"long\"",
            ),
            (
                "[settings]\ntimeout_udp = 0\n".into(),
                "f:2: settings.timeout_udp: expected seconds above 0, at most 2147483647, got 0",
            ),
            (
                "[settings]\ntimeout_udp = nan\n".into(),
                "f:2: settings.timeout_udp: expected seconds above 0, at most 2147483647, got nan",
            ),
            (
                "[settings]\nsloppy_tcp = 1\n".into(),
                "f:2: settings.sloppy_tcp: expected true or false, got 1",
            ),
            (
                "[settings]\nconn_reuse_mode = 4\n".into(),
                "f:2: settings.conn_reuse_mode: expected a whole number from 0 to 3, got 4",
            ),
            (
                "[settings.timeouts]\nudp = 0\n".into(),
                "f:2: settings.timeouts.udp: expected seconds above 0, at most 2147483647, got 0",
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
                "f:4: service[0].port: unknown key; expected one of protocol, address, mark, scheduler, fallback, flags, persistence, netmask, one_packet, timeouts, forwarding, ipv6, server",
            ),
            ("\n[[service]]\naddress = '192.0.2.1:80'\n".into(), "f:2: service[0].protocol: missing key"),
            (
                WEB.replace("tcp", "icmp"),
                "f:2: service[0].protocol: expected protocol \"tcp\", \"udp\" or \"sctp\", got \"icmp\"",
            ),
            (
                WEB.replace("192.0.2.1:80", "192.0.2.1"),
                "f:3: service[0].address: expected VIP and port, like \"192.0.2.10:80\", or a block and a range, like \"192.0.2.0/28:8000-8999\"; port 0 stands for all ports, got \"192.0.2.1\"",
            ),
            (
                format!(
                    "{}[[service.server]]\naddress = '10.0.0.1:80'\n",
                    WEB.replace(".1:80", ".0/28:80-90")
                ),
                "f:5: service[0].server[0].address: service TCP 192.0.2.0/28:80-90: real server 10.0.0.1:80 must have the service's port (0 for a range of them)",
            ),
            (WEB.replace(".1:80", ".0/28:90-80"), "f:3: service[0].address: expected VIP and port"),
            (
                WEB.replace(":80", ":0"),
                "f:3: service[0].address: service TCP 192.0.2.1:0: expected a port from 1 to 65535; port 0 (all ports) needs persistence",
            ),
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
fn mistakes_about_the_options_of_services_are_named_with_line_and_field() {
    refused(
        |text| Configuration::from_toml(text, "f"),
        &[
            (
                format!("{WEB}scheduler = 'sh'\nflags = ['mh-port']\n"),
                "f:5: service[0].flags[0]: expected an option of sh: sh-fallback or sh-port, got \"mh-port\"",
            ),
            (
                format!("{WEB}flags = ['sh-port']\n"),
                "f:4: service[0].flags[0]: the scheduler wlc has no options (sh and mh have), got \"sh-port\"",
            ),
            (format!("{WEB}flags = 'sh-port'\n"), "f:4: service[0].flags: expected a list of options"),
            (
                format!("{WEB}persistence = 0\n"),
                "f:4: service[0].persistence: expected seconds above 0, at most 2147483647, got 0",
            ),
            (
                format!("{WEB}persistence = 4294967295\n"),
                "f:4: service[0].persistence: expected seconds above 0, at most 2147483647, got 4294967295",
            ),
            (
                "[[service]]\nprotocol = 'tcp'\naddress = '127.0.0.1:80'\n".into(),
                "f:3: service[0].address: service TCP 127.0.0.1:80: expected a VIP that is one host's address",
            ),
            (
                format!("{WEB}netmask = 24\n"),
                "f:4: service[0].netmask: belongs to a service with persistence",
            ),
            (
                format!("{WEB}persistence = 60\nnetmask = 33\n"),
                "f:5: service[0].netmask: expected a netmask like 255.255.255.0, or from 1 to 32 leading bits, got \"33\"",
            ),
            (
                format!("{WEB}persistence = 60\nnetmask = 'ffff::'\n"),
                "f:5: service[0].netmask: expected a netmask like 255.255.255.0",
            ),
            (
                format!("{WEB}one_packet = true\n"),
                "f:4: service[0].one_packet: service TCP 192.0.2.1:80: one-packet scheduling is for UDP and for marks",
            ),
            (
                format!("{WEB}timeouts = {{ tcp = 3 }}\n"),
                "f:4: service[0].timeouts.tcp: unknown key; expected one of tcp_none, ",
            ),
            (
                format!("{WEB}[service.timeouts]\ntcp_close = -1\n"),
                "f:5: service[0].timeouts.tcp_close: expected seconds above 0, at most 2147483647, got -1",
            ),
            (
                format!("{WEB}timeouts = 3\n"),
                "f:4: service[0].timeouts: expected a table of seconds by state",
            ),
            (
                format!("{WEB}mark = 3\n"),
                "f:2: service[0].protocol: does not belong to the service of a mark; its [[mark]] rules say",
            ),
            (format!("{WEB}ipv6 = true\n"), "f:4: service[0].ipv6: belongs to the service of a mark"),
            (
                "[[service]]\nmark = 0\n".into(),
                "f:2: service[0].mark: expected a whole number from 1 to 4294967295, got 0",
            ),
            (
                "[[service]]\nmark = 1\n[[service]]\nmark = 1\nipv6 = true\n[[service]]\nmark = 1".into(),
                "f:7: service[2].mark: service FWM 1 is defined twice, first in line 2",
            ),
        ],
    );
}

#[test]
fn real_servers_keep_the_ports_that_they_were_given() {
    let endpoints = |text: &str| {
        let configuration = Configuration::from_toml(text, "f").unwrap();
        let servers = configuration.services[0].servers.clone();
        servers.iter().map(|server| server.endpoint.to_string()).collect::<Vec<_>>()
    };
    let server = |text: &str| format!("[[service.server]]\n{text}\n");
    let web = "[[service]]\nprotocol = 'tcp'\naddress = '192.0.2.1:80'\nforwarding = 'nat'\n";
    let [plain, zero] = [server("address = '10.0.0.1'"), server("address = '10.0.0.2:0'")];
    assert_eq!(endpoints(&format!("{web}{plain}{zero}")), ["10.0.0.1:80", "10.0.0.2:0"]);
    for method in ["dr", "tun"] {
        let mark = format!("[[service]]\nmark = 1\nforwarding = '{method}'\n");
        let ports = ["10.0.0.1:80", "10.0.0.1:81", "10.0.0.1"];
        let servers = ports.map(|address| server(&format!("address = '{address}'"))).concat();
        assert_eq!(endpoints(&(mark + &servers)), ["10.0.0.1:80", "10.0.0.1:81", "10.0.0.1:0"], "{method}");
    }
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
                "f:5: service[0].server[0].address: expected an address, with or without a port from 0 to 65535, like 10.0.0.1:80 or [2001:db8::1]:80, got \"web1\"",
            ),
            (
                server("address = '10.0.0.1:65536'\n"),
                "f:5: service[0].server[0].address: expected an address, with or without a port from 0 to 65535, like 10.0.0.1:80 or [2001:db8::1]:80, got \"10.0.0.1:65536\"",
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
                "f:6: service[0].server[0].port: unknown key; expected one of address, weight, forwarding, tunnel, tunnel_port, tunnel_flags, upper_threshold, lower_threshold",
            ),
            (
                server("address = '10.0.0.1'\nupper_threshold = 3\nlower_threshold = 4\n"),
                "f:7: service[0].server[0].lower_threshold: service TCP 192.0.2.1:80: real server 10.0.0.1:80 has the lower threshold 4 above the upper threshold 3",
            ),
            (
                server("address = '10.0.0.1'\nupper_threshold = -1\n"),
                "f:6: service[0].server[0].upper_threshold: expected a whole number from 0 to 2147483647, got -1",
            ),
            (
                server("address = '10.0.0.1'\ntunnel = 'gre'\n"),
                "f:6: service[0].server[0].tunnel: belongs to a server that is reached by tunneling",
            ),
            (
                server("address = '10.0.0.1'\nforwarding = 'tun'\ntunnel = 'vxlan'\n"),
                "f:7: service[0].server[0].tunnel: expected ipip, gue or gre, got \"vxlan\"",
            ),
            (
                server("address = '10.0.0.1'\nforwarding = 'tun'\ntunnel = 'gue'\n"),
                "f:7: service[0].server[0].tunnel: a gue tunnel needs the port",
            ),
            (
                server("address = '10.0.0.1'\nforwarding = 'tun'\ntunnel_port = 6080\n"),
                "f:7: service[0].server[0].tunnel_port: only a gue tunnel has a port",
            ),
            (
                server(
                    "address = '10.0.0.1'\nforwarding = 'tun'\ntunnel = 'gre'\ntunnel_flags = 'remcsum'\n",
                ),
                "f:8: service[0].server[0].tunnel_flags: expected nocsum or csum with gre, got \"remcsum\"",
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
fn mistakes_about_marks_are_named_with_line_and_field() {
    let mark = |text: &str| format!("[[mark]]\nmark = 1\ndestination = '192.0.2.0/28'\n{text}\n");
    refused(
        |text| Configuration::from_toml(text, "f"),
        &[
            ("[[mark]]\nmark = 1".into(), "f:1: mark[0].destination: missing key"),
            ("[[mark]]\ndestination = '::/0'".into(), "f:1: mark[0].mark: missing key"),
            (
                "[[mark]]\ndestination = 'www'".into(),
                "f:2: mark[0].destination: expected an address block like \"192.0.2.0/28\", or an address, got \"www\"",
            ),
            (
                "[[mark]]\ndestination = '224.0.0.1'".into(),
                "f:2: mark[0].destination: expected addresses that are neither unspecified, loopback, multicast nor \
                 broadcast, got \"224.0.0.1/32\"",
            ),
            (
                mark("port = 80"),
                "f:4: mark[0].port: unknown key; expected one of mark, destination, protocol, ports, source",
            ),
            (
                mark("protocol = 'icmp'"),
                "f:4: mark[0].protocol: expected protocol \"tcp\", \"udp\" or \"sctp\"",
            ),
            (
                mark("ports = '90-80'"),
                "f:4: mark[0].ports: expected a port, or the first and the last, like \"8000-8999\", got \"90-80\"",
            ),
            (mark("ports = 65536"), "f:4: mark[0].ports: expected a port, or"),
            (
                mark("source = '::/0'"),
                "f:4: mark[0].source: source ::/0 is of another address family than destination 192.0.2.0/28",
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

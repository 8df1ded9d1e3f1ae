//! Rules of `ipvsadm -S`: what they say, and what is said about mistakes.

mod refused;

use fastlvs_core::service::{Encapsulation, Method, ServerSpec};
use fastlvs_director::config::{Configuration, SchedulerName, ServiceConfig};
use refused::refused;

/// Services and servers as `ipvsadm -Sn` prints them, with thresholds, which it leaves out.
fn saved(text: &str) -> Vec<String> {
    let configuration = Configuration::from_rules(text, "rules").expect("good rules");
    let mut lines = Vec::new();
    for service in &configuration.services {
        lines.push(saved_service(service));
        lines.extend(service.servers.iter().map(saved_server));
    }
    lines
}

fn saved_service(service: &ServiceConfig) -> String {
    let SchedulerName::BuiltIn(scheduler) = &service.scheduler else { panic!("built in") };
    let persistence =
        service.persistence.map(|p| format!(" -p {} -M {}", p.timeout.as_secs(), p.mask)).unwrap_or_default();
    let one_packet = if service.one_packet { " -o" } else { "" };
    let fallback = if service.flags.fallback { " fallback" } else { "" };
    let port = if service.flags.port { " port" } else { "" };
    format!("{} {scheduler}{persistence}{one_packet}{fallback}{port}", service.key)
}

fn saved_server(server: &ServerSpec) -> String {
    let method = match (server.method, server.encapsulation) {
        (Method::Tunneling, Encapsulation::Gue { port, checksum }) => format!("gue {port} {checksum}"),
        (Method::Tunneling, Encapsulation::Gre { checksum }) => format!("gre {checksum}"),
        (method, Encapsulation::Ipip) => method.name().to_owned(),
        other => panic!("{other:?}"),
    };
    let thresholds = match (server.upper_threshold, server.lower_threshold) {
        (0, 0) => String::new(),
        (upper, lower) => format!(" -x {upper} -y {lower}"),
    };
    format!("{} {method} {}{thresholds}", server.endpoint, server.weight)
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
fn a_saved_script_is_read_as_its_shell_would() {
    let text = "\u{feff}#!/bin/sh\r\n/sbin/ipvsadm -C\r\n\t/usr/sbin/ipvsadm -A -t 192.0.2.1:80 -s rr # the web\r\nipvsadm -a -t 192.0.2.1:80 -r 10.0.0.1:80 -m # \"one\"\r\n";
    assert_eq!(saved(text), ["TCP 192.0.2.1:80 rr", "10.0.0.1:80 masquerading 1"]);
}

/// As the kernel's director printed it, but for the thresholds.
#[test]
fn everything_that_a_kernel_serves_is_read() {
    let text = "\
-A -t 192.0.2.1:0 -s rr -p 300 -M 255.255.255.0
-a -t 192.0.2.1:0 -r 10.0.0.1:0 -m -w 1
-A -t 192.0.2.1:80
-a -t 192.0.2.1:80 -r 10.0.0.1:0 -m -w 1
-A -u 192.0.2.1:53 -s rr -o
-a -u 192.0.2.1:53 -r 10.0.0.1:53 -i -w 1 --tun-type gue --tun-port 6080 --tun-csum
-a -u 192.0.2.1:53 -r 10.0.0.2:53 -i -w 1 --tun-type gue --tun-port 6080 --tun-nocsum
-a -u 192.0.2.1:53 -r 10.0.0.3:53 -i -w 1 --tun-type gre --tun-csum
--add-service --sctp-service 192.0.2.1:2905 -s sh -b sh-fallback,sh-port
-a --sctp-service 192.0.2.1:2905 -r 10.0.0.1:2905 -g -w 1 -x 100 -y 80
-A -t [2001:db8::1]:443 -s mh -p -M 64 -b flag-2
-A -f 1 -s wlc
-a -f 1 -r 10.0.0.1:0 -g -w 1
-a -f 1 -r 10.0.0.11:80 -i
-a -f 1 -r 10.0.0.11:81 -i
-A -f 1 -6 -s wlc -p
-a -f 1 -6 -r [2001:db8::11]:8080 -m -w 1 -y 2 -x 3
";
    assert_eq!(
        saved(text),
        [
            "TCP 192.0.2.1:0 rr -p 300 -M 255.255.255.0",
            "10.0.0.1:0 masquerading 1",
            "TCP 192.0.2.1:80 wlc",
            "10.0.0.1:0 masquerading 1",
            "UDP 192.0.2.1:53 rr -o",
            "10.0.0.1:53 gue 6080 true 1",
            "10.0.0.2:53 gue 6080 false 1",
            "10.0.0.3:53 gre true 1",
            "SCTP 192.0.2.1:2905 sh fallback port",
            "10.0.0.1:2905 gatewaying 1 -x 100 -y 80",
            "TCP [2001:db8::1]:443 mh -p 360 -M ffff:ffff:ffff:ffff:: port",
            "FWM 1 wlc",
            "10.0.0.1:0 gatewaying 1",
            "10.0.0.11:80 tunneling 1",
            "10.0.0.11:81 tunneling 1",
            "FWM 1 IPv6 wlc -p 360 -M ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff",
            "[2001:db8::11]:8080 masquerading 1 -x 3 -y 2",
        ]
    );
}

#[test]
fn mistakes_in_rules_are_named_with_line_and_option() {
    refused(
        |text| Configuration::from_rules(text, "r"),
        &[
            ("hello".into(), "r:1: unexpected argument \"hello\""),
            ("-t 192.0.2.1:80 -A".into(), "r:1: expected -A (--add-service) or -a (--add-server) first"),
            ("-D -t 192.0.2.1:80".into(), "r:1: -D: unknown option; expected those of ipvsadm -A and -a"),
            (
                "-A".into(),
                "r:1: expected a service: -t VIP:PORT, -u VIP:PORT, --sctp-service VIP:PORT or -f MARK",
            ),
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
            (
                "-A -t 192.0.2.1".into(),
                "r:1: service TCP 192.0.2.1:0: expected a port from 1 to 65535; port 0 (all ports) needs persistence",
            ),
            ("-A -u 192.0.2.1:0".into(), "r:1: service UDP 192.0.2.1:0: expected a port from 1 to 65535"),
            (
                "-A -t 192.0.2.1:http".into(),
                "r:1: -t: expected numbers, got names in \"192.0.2.1:http\"; save with `ipvsadm -Sn`",
            ),
            ("-A -t www.example.org:80".into(), "r:1: -t: expected numbers, got names"),
            ("-A -t [2001:db8::1]:http".into(), "r:1: -t: expected numbers, got names"),
            ("-A -t 192.0.2.1:99999".into(), "r:1: -t: expected an address, with or without a port"),
            ("\n-A -f 0 -s rr".into(), "r:2: -f: expected a mark from 1 to 4294967295, got \"0\""),
            ("-A --fwmark-service=web".into(), "r:1: -f: expected a mark from 1 to 4294967295, got \"web\""),
            ("-A -t 192.0.2.1:80 -6".into(), "r:1: -6: belongs to a service of a mark, -f"),
            ("-A -f 1 -t 192.0.2.1:80".into(), "r:1: more than one service is named"),
            ("-A -t 192.0.2.1:80 -p 0".into(), "r:1: -p: expected from 1 to 2678400 seconds, got \"0\""),
            ("-A -t 192.0.2.1:80 -p 2678401".into(), "r:1: -p: expected from 1 to 2678400 seconds"),
            ("-A -t 192.0.2.1:80 -p 300 -M".into(), "r:1: -M: expected a value"),
            ("-A -t 192.0.2.1:80 -p -M 0".into(), "r:1: -M: expected a netmask like 255.255.255.0"),
            ("-A -t [2001:db8::1]:80 -p -M 129".into(), "r:1: -M: expected a netmask like ffff:"),
            ("-A -t 192.0.2.1:80 -M 255.0.0.0".into(), "r:1: -M: belongs to a service with persistence, -p"),
            (
                "-A -t 192.0.2.1:53 -o".into(),
                "r:1: -o: service TCP 192.0.2.1:53: one-packet scheduling is for UDP and for marks",
            ),
            (
                "-A -t 192.0.2.1:80 -s rr -b sh-port".into(),
                "r:1: -b: the scheduler rr has no options (sh and mh have), got \"sh-port\"",
            ),
            (
                "-A -t 192.0.2.1:80 -s sh -b sh-port,flag-3".into(),
                "r:1: -b: expected an option of sh: sh-fallback or sh-port, got \"flag-3\"",
            ),
            ("-A -u 192.0.2.1:5060 -p 60 --pe sip".into(), "r:1: --pe: --pe is not supported"),
        ],
    );
}

#[test]
fn mistakes_about_servers_in_rules_are_named_with_line_and_option() {
    let add = "-A -t 192.0.2.1:80";
    let server = |text: &str| format!("{add}\n-a -t 192.0.2.1:80 {text}");
    refused(
        |text| Configuration::from_rules(text, "r"),
        &[
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
            (
                server("-r 10.0.0.1 -x 100 -y 101"),
                "r:2: -y: service TCP 192.0.2.1:80: real server 10.0.0.1:80 has the lower threshold 101 above",
            ),
            (
                server("-r 10.0.0.1 -x many"),
                "r:2: -x: expected a number of connections from 0 to 2147483647, got \"many\"",
            ),
            (server("-r 10.0.0.1 -p 300"), "r:2: -p does not belong to this command"),
            (
                server("-r 10.0.0.1 -m --tun-type ipip"),
                "r:2: --tun-type: expected -i with a tunnel's options",
            ),
            (
                server("-r 10.0.0.1 -i --tun-type vxlan"),
                "r:2: --tun-type: expected ipip, gue or gre, got \"vxlan\"",
            ),
            (server("-r 10.0.0.1 -i --tun-type gue"), "r:2: --tun-type: a gue tunnel needs the port"),
            (
                server("-r 10.0.0.1 -i --tun-type gue --tun-port 0"),
                "r:2: --tun-port: expected a port from 1 to 65535, got \"0\"",
            ),
            (server("-r 10.0.0.1 -i --tun-port 6080"), "r:2: --tun-port: only a gue tunnel has a port"),
            (server("-r 10.0.0.1 -i --tun-csum"), "r:2: --tun-csum: an ipip tunnel has no checksum"),
            (
                server("-r 10.0.0.1 -i --tun-type gre --tun-remcsum"),
                "r:2: --tun-remcsum: expected nocsum or csum with gre",
            ),
            (
                server("-r 10.0.0.1 -i --tun-type gre --tun-csum --tun-nocsum"),
                "r:2: --tun-nocsum or its like is given twice",
            ),
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

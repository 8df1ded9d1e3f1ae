//! What is given back arrives in the host's own stack, as if it had come from where it claims.

#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "helpers of tests, and the reason of a skipped one"
)]

mod namespace;

use fastlvs_io::raw::GiveBack;
use namespace::{in_namespace, ip, wait_until};
use std::io::ErrorKind;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, TcpListener, UdpSocket};
use std::time::Duration;

/// The checksum of RFC 1071, over what the pseudo header and the segment add up to.
fn checksum(parts: &[&[u8]]) -> u16 {
    let words = parts.iter().flat_map(|part| part.chunks(2));
    let sum: u32 = words.map(|word| u32::from(word[0]) << 8 | u32::from(*word.get(1).unwrap_or(&0))).sum();
    let folded = (sum & 0xffff) + (sum >> 16);
    !(((folded & 0xffff) + (folded >> 16)) as u16)
}

/// An IP packet around a segment, whose checksum at `place` is filled in.
fn packet(source: IpAddr, destination: IpAddr, protocol: u8, mut segment: Vec<u8>, place: usize) -> Vec<u8> {
    let length = segment.len() as u16;
    let (mut header, addresses) = match (source, destination) {
        (IpAddr::V4(source), IpAddr::V4(destination)) => {
            let total = (20 + length).to_be_bytes();
            let header = vec![0x45, 0, total[0], total[1], 0, 1, 0x40, 0, 64, protocol, 0, 0];
            (header, [source.octets(), destination.octets()].concat())
        }
        (IpAddr::V6(source), IpAddr::V6(destination)) => {
            let length = length.to_be_bytes();
            let header = vec![0x60, 0, 0, 0, length[0], length[1], protocol, 64];
            (header, [source.octets(), destination.octets()].concat())
        }
        _ => unreachable!("two families in one packet"),
    };
    let sum = checksum(&[&addresses, &[0, protocol], &length.to_be_bytes(), &segment]);
    segment[place..place + 2].copy_from_slice(&sum.to_be_bytes());
    header.extend(addresses);
    header.extend(segment);
    header
}

fn udp(source: IpAddr, destination: IpAddr, payload: &[u8]) -> Vec<u8> {
    let length = (8 + payload.len() as u16).to_be_bytes();
    let segment = [&[0x10, 0x01, 0x13, 0x88][..], &length, &[0, 0], payload].concat();
    packet(source, destination, 17, segment, 6)
}

fn network() {
    ip("link add near type veth peer name far");
    ip("link set near up");
    ip("link set far up");
    ip("address add 192.0.2.1/24 dev near");
    ip("address add 2001:db8::1/64 dev near nodad");
    ip("route add default via 192.0.2.254");
}

#[test]
fn a_datagram_reaches_a_local_socket() {
    in_namespace("a_datagram_reaches_a_local_socket", || {
        network();
        let back = GiveBack::open().unwrap();
        let cases: [(IpAddr, IpAddr); 2] = [
            (Ipv4Addr::new(198, 51, 100, 7).into(), Ipv4Addr::new(192, 0, 2, 1).into()),
            (
                "2001:db8:9::7".parse::<Ipv6Addr>().unwrap().into(),
                "2001:db8::1".parse::<Ipv6Addr>().unwrap().into(),
            ),
        ];
        for (source, destination) in cases {
            let socket = UdpSocket::bind((destination, 5000)).unwrap();
            socket.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
            for payload in [&b"back"[..], &[7; 8_000]] {
                back.send(&udp(source, destination, payload)).unwrap();
                let mut buffer = [0; 9_000];
                let (length, from) = socket.recv_from(&mut buffer).unwrap();
                assert_eq!((&buffer[..length], from), (payload, (source, 0x1001).into()));
            }
        }
    });
}

#[test]
fn a_connection_request_is_answered_by_the_listener() {
    in_namespace("a_connection_request_is_answered_by_the_listener", || {
        network();
        let _listener = TcpListener::bind("192.0.2.1:5000").unwrap();
        let syn =
            [&[0x10, 0x01, 0x13, 0x88, 0, 0, 0, 1, 0, 0, 0, 0, 0x50, 0x02, 0xff, 0xff][..], &[0; 4]].concat();
        let (source, destination) = (Ipv4Addr::new(198, 51, 100, 7), Ipv4Addr::new(192, 0, 2, 1));
        GiveBack::open().unwrap().send(&packet(source.into(), destination.into(), 6, syn, 16)).unwrap();
        // State 03 is SYN_RECV: the answer is on its way to 198.51.100.7.
        let entry = format!("{:08X}:1001 03", u32::from_ne_bytes(source.octets()));
        wait_until("the half-open connection", || {
            std::fs::read_to_string("/proc/net/tcp").unwrap().contains(&entry)
        });
    });
}

#[test]
fn what_cannot_be_sent_is_an_error() {
    in_namespace("what_cannot_be_sent_is_an_error", || {
        network();
        let back = GiveBack::open().unwrap();
        for bytes in [&[][..], &[0x45; 19], &[0x60; 39], &[0x50; 60]] {
            assert_eq!(back.send(bytes).unwrap_err().kind(), ErrorKind::InvalidInput, "{bytes:x?}");
        }
        let far = Ipv4Addr::new(203, 0, 113, 1).into();
        let long = udp(Ipv4Addr::new(198, 51, 100, 7).into(), far, &[0; 1_500]);
        assert_eq!(back.send(&long).unwrap_err().raw_os_error(), Some(libc::EMSGSIZE));
    });
}

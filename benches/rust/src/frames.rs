//! Frames of many flows towards one VIP.

use fastlvs_core::net::Protocol;
use fastlvs_core::wire::checksum::Sum;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// The length of each frame of IPv4, in bytes, without its check sequence.
pub const LENGTH: usize = 64;
/// The same of IPv6, whose header is longer.
pub const LENGTH_V6: usize = LENGTH + 20;
/// Link-layer addresses of the director's two legs.
pub const DIRECTOR: [[u8; 6]; 2] = [[2, 0, 0, 0, 0, 1], [2, 0, 0, 0, 1, 1]];
/// That of the router that clients are behind.
pub const ROUTER: [u8; 6] = [2, 0, 0, 0, 0, 2];
/// The VIP and its port.
pub const VIP: Ipv4Addr = Ipv4Addr::new(10, 99, 0, 1);
/// The same in IPv6.
pub const VIP_V6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1);
/// The port of the service.
pub const PORT: u16 = 80;

const ETHERNET: usize = 14;
const CLIENT_PORTS: u32 = 1 << 14;
const FIRST_CLIENT_PORT: u16 = 1024;

/// The client's port of flow `number`.
fn client_port(number: u32) -> u16 {
    FIRST_CLIENT_PORT + (number % CLIENT_PORTS) as u16
}

/// A UDP datagram of flow `number` in a frame of [`LENGTH`] bytes, both checksums right.
#[must_use]
pub fn udp(number: u32) -> [u8; LENGTH] {
    let client = Ipv4Addr::from_bits(0x0b00_0000 + number / CLIENT_PORTS);
    let mut frame = [0; LENGTH];
    ethernet(&mut frame, 0x0800);
    let ip = &mut frame[ETHERNET..];
    let length = ip.len() as u16;
    ip[0] = 0x45;
    ip[2..4].copy_from_slice(&length.to_be_bytes());
    ip[8] = 64;
    ip[9] = Protocol::UDP.0;
    ip[12..16].copy_from_slice(&client.octets());
    ip[16..20].copy_from_slice(&VIP.octets());
    let sum = Sum::default().bytes(&ip[..20]).checksum();
    ip[10..12].copy_from_slice(&sum.to_be_bytes());
    datagram(&mut ip[20..], number, client.into(), VIP.into());
    frame
}

/// The same in IPv6, of [`LENGTH_V6`] bytes.
#[must_use]
pub fn udp_v6(number: u32) -> [u8; LENGTH_V6] {
    let client = Ipv6Addr::from_bits(0x2001_0db8_00aa_u128 << 80 | u128::from(number / CLIENT_PORTS));
    let mut frame = [0; LENGTH_V6];
    ethernet(&mut frame, 0x86dd);
    let ip = &mut frame[ETHERNET..];
    let length = ip.len() as u16 - 40;
    ip[0] = 0x60;
    ip[4..6].copy_from_slice(&length.to_be_bytes());
    ip[6] = Protocol::UDP.0;
    ip[7] = 64;
    ip[8..24].copy_from_slice(&client.octets());
    ip[24..40].copy_from_slice(&VIP_V6.octets());
    datagram(&mut ip[40..], number, client.into(), VIP_V6.into());
    frame
}

fn ethernet(frame: &mut [u8], kind: u16) {
    frame[..6].copy_from_slice(&DIRECTOR[0]);
    frame[6..12].copy_from_slice(&ROUTER);
    frame[12..14].copy_from_slice(&kind.to_be_bytes());
}

fn datagram(udp: &mut [u8], number: u32, client: IpAddr, vip: IpAddr) {
    let length = udp.len();
    udp[..2].copy_from_slice(&client_port(number).to_be_bytes());
    udp[2..4].copy_from_slice(&PORT.to_be_bytes());
    udp[4..6].copy_from_slice(&(length as u16).to_be_bytes());
    let sum = Sum::pseudo_header(client, vip, Protocol::UDP, length).bytes(udp).checksum();
    udp[6..8].copy_from_slice(&sum.to_be_bytes());
}

/// Mixes `items` up, the same way each time (xorshift, Marsaglia 2003; Fisher and Yates).
pub fn shuffle<T>(items: &mut [T]) {
    let mut state = 88_172_645_463_325_252_u64;
    for last in (1..items.len()).rev() {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        items.swap(last, (state % (last as u64 + 1)) as usize);
    }
}

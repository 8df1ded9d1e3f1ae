//! Texts that both formats have in common. An error is what was expected and what stands there.

use fastlvs_core::net::Endpoint;
use std::net::{IpAddr, Ipv6Addr};

/// The largest weight that the kernel takes.
pub const WEIGHT_LIMIT: u32 = i32::MAX.unsigned_abs();

/// An address, with a port from 1 to 65535 or without one: `10.0.0.1:80`, `10.0.0.1`, `[2001:db8::1]:80`,
/// `2001:db8::1`.
pub fn endpoint(text: &str) -> Result<(IpAddr, Option<u16>), String> {
    let plain = || match text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
        Some(inner) => inner.parse::<Ipv6Addr>().ok().map(IpAddr::V6),
        None => text.parse().ok(),
    };
    if let Some(address) = plain() {
        return Ok((address, None));
    }
    match text.parse::<Endpoint>() {
        Ok(endpoint) if endpoint.port == 0 => {
            Err(format!("expected a port from 1 to 65535, got 0 in {text:?}"))
        }
        Ok(endpoint) => Ok((endpoint.address, Some(endpoint.port))),
        Err(_) => Err(format!(
            "expected an address, with or without a port from 1 to 65535, like 10.0.0.1:80 or [2001:db8::1]:80, got {text:?}"
        )),
    }
}

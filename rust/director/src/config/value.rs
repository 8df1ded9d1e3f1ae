//! Texts that both formats have in common. An error is what was expected and what stands there.

use fastlvs_core::net::Endpoint;
use fastlvs_core::scheduler::SchedulerFlags;
use fastlvs_core::service::Encapsulation;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::ops::RangeInclusive;

/// The largest number that the kernel takes: weights, thresholds, and most others.
pub const NUMBER_LIMIT: u32 = i32::MAX.unsigned_abs();

/// An address, with a port or without one: `10.0.0.1:80`, `10.0.0.1`, `[2001:db8::1]:80`,
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
        Ok(endpoint) => Ok((endpoint.address, Some(endpoint.port))),
        Err(_) => Err(format!(
            "expected an address, with or without a port from 0 to 65535, like 10.0.0.1:80 or [2001:db8::1]:80, got {text:?}"
        )),
    }
}

/// A port, or a range of ports: `80`, `8000-8999`.
pub fn ports(text: &str) -> Result<RangeInclusive<u16>, String> {
    let (first, last) = text.split_once('-').unwrap_or((text, text));
    match (first.parse(), last.parse()) {
        (Ok(first), Ok(last)) if first <= last => Ok(first..=last),
        _ => Err(format!("expected a port, or the first and the last, like \"8000-8999\", got {text:?}")),
    }
}

/// The bits that tell clients apart, of the family of `like`: a mask, or the number of leading bits.
pub fn netmask(text: &str, like: IpAddr) -> Result<IpAddr, String> {
    let most = if like.is_ipv4() { 32 } else { 128 };
    let bits = text.parse::<u32>().ok().filter(|bits| (1..=most).contains(bits));
    let mask = match (bits, like) {
        (Some(bits), IpAddr::V4(_)) => Some(Ipv4Addr::from_bits(u32::MAX << (32 - bits)).into()),
        (Some(bits), IpAddr::V6(_)) => Some(Ipv6Addr::from_bits(u128::MAX << (128 - bits)).into()),
        (None, _) => text.parse().ok().filter(|mask: &IpAddr| mask.is_ipv4() == like.is_ipv4()),
    };
    let example = if like.is_ipv4() { "255.255.255.0" } else { "ffff:ffff:ffff:ffff::" };
    mask.ok_or_else(|| {
        format!("expected a netmask like {example}, or from 1 to {most} leading bits, got {text:?}")
    })
}

/// All bits of an address of the family of `like`.
pub const fn all_bits(like: IpAddr) -> IpAddr {
    match like {
        IpAddr::V4(_) => IpAddr::V4(Ipv4Addr::BROADCAST),
        IpAddr::V6(_) => IpAddr::V6(Ipv6Addr::from_bits(u128::MAX)),
    }
}

/// Puts an option of the scheduler of that name into `flags`: `sh-port`, or as `ipvsadm` numbers them, `flag-2`.
pub fn flag(text: &str, scheduler: &str, flags: &mut SchedulerFlags) -> Result<(), String> {
    let (of, option) = text.split_once('-').unwrap_or((text, ""));
    let hashes = matches!(scheduler, "sh" | "mh");
    match option {
        _ if hashes && of != scheduler && of != "flag" => Err(()),
        "fallback" | "1" if hashes => Ok(&mut flags.fallback),
        "port" | "2" if hashes => Ok(&mut flags.port),
        _ => Err(()),
    }
    .map(|flag| *flag = true)
    .map_err(|()| {
        if hashes {
            format!(
                "expected an option of {scheduler}: {scheduler}-fallback or {scheduler}-port, got {text:?}"
            )
        } else {
            format!("the scheduler {scheduler} has no options (sh and mh have), got {text:?}")
        }
    })
}

/// What a tunnel is made of, from its type, the UDP port and the words about checksums, without "tun-". The error
/// is about the named part.
pub fn encapsulation(
    kind: Option<&str>,
    port: Option<u16>,
    flags: Option<&str>,
) -> Result<Encapsulation, (&'static str, String)> {
    let checksum = match (kind, flags) {
        (_, None) | (Some("gue" | "gre"), Some("nocsum")) => false,
        (Some("gue" | "gre"), Some("csum")) | (Some("gue"), Some("remcsum")) => true,
        (Some("gue"), Some(text)) => {
            return Err(("tunnel_flags", format!("expected nocsum, csum or remcsum, got {text:?}")));
        }
        (Some("gre"), Some(text)) => {
            return Err(("tunnel_flags", format!("expected nocsum or csum with gre, got {text:?}")));
        }
        (_, Some(text)) => {
            return Err(("tunnel_flags", format!("an ipip tunnel has no checksum; got {text:?}")));
        }
    };
    let encapsulation = match (kind.unwrap_or("ipip"), port) {
        ("gue", Some(port)) => Encapsulation::Gue { port, checksum },
        ("gue", None) => {
            return Err(("tunnel", "a gue tunnel needs the port that the server takes it on".to_owned()));
        }
        ("ipip" | "gre", Some(_)) => {
            return Err(("tunnel_port", "only a gue tunnel has a port".to_owned()));
        }
        ("gre", None) => Encapsulation::Gre { checksum },
        ("ipip", None) => Encapsulation::Ipip,
        (text, _) => return Err(("tunnel", format!("expected ipip, gue or gre, got {text:?}"))),
    };
    Ok(encapsulation)
}

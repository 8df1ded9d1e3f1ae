//! The addresses and ports that a service is for: one of each, as in the kernel, or blocks and ranges of them.

use crate::net::{Endpoint, Prefix};
use std::fmt;
use std::net::IpAddr;
use std::ops::RangeInclusive;
use std::str::FromStr;

/// What a service takes beyond one address and port: none of it, for any service that the kernel could have.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Span {
    /// How many of the address's last bits may be any.
    pub free_bits: u8,
    /// How many more ports there are behind the first.
    pub more_ports: u16,
}

/// The addresses and ports of a service, as they are written: `192.0.2.10:80`, `192.0.2.0/28:8000-8999`,
/// `[2001:db8::/64]:443`. Port 0 of a block is all ports.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ServiceAddress {
    /// The first address and port.
    pub first: Endpoint,
    /// What there is beside.
    pub span: Span,
}

/// What is no address of a service.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "expected an address and a port, or blocks and ranges of them, like 192.0.2.10:80, 192.0.2.0/28:8000-8999 or [2001:db8::/64]:443, got {0:?}"
)]
pub struct ServiceAddressError(String);

impl ServiceAddress {
    /// The block of addresses.
    #[must_use]
    pub fn block(&self) -> Prefix {
        let host = Prefix::host(self.first.address);
        let length = host.length().saturating_sub(self.span.free_bits);
        Prefix::new(self.first.address, length).unwrap_or(host)
    }

    /// The address, where there is only one.
    #[must_use]
    pub fn alone(&self) -> Option<IpAddr> {
        (self.span.free_bits == 0).then_some(self.first.address)
    }

    /// The ports.
    #[must_use]
    pub const fn ports(&self) -> RangeInclusive<u16> {
        self.first.port..=self.first.port.saturating_add(self.span.more_ports)
    }

    /// The port that real servers have where nothing else is said; 0: each packet's own.
    #[must_use]
    pub const fn server_port(&self) -> u16 {
        if self.span.more_ports == 0 { self.first.port } else { 0 }
    }
}

impl FromStr for ServiceAddress {
    type Err = ServiceAddressError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let read = || {
            let (block, ports) = text.rsplit_once(':')?;
            let inner = block.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
            let block: Prefix = inner.unwrap_or(block).parse().ok()?;
            if inner.is_some() != block.address().is_ipv6() {
                return None;
            }
            let (first, last) = ports.split_once('-').unwrap_or((ports, ports));
            let (first, last): (u16, u16) = (first.parse().ok()?, last.parse().ok()?);
            let free_bits = Prefix::host(block.address()).length() - block.length();
            let last = if free_bits > 0 && (first, last) == (0, 0) { u16::MAX } else { last };
            let span = Span { free_bits, more_ports: last.checked_sub(first)? };
            Some(Self { first: Endpoint::new(block.network(), first), span })
        };
        read().ok_or_else(|| ServiceAddressError(text.to_owned()))
    }
}

impl fmt::Display for ServiceAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let block = self.block();
        if self.alone().is_some() {
            write!(f, "{}", self.first)?;
        } else if self.first.address.is_ipv6() {
            write!(f, "[{block}]:{}", self.first.port)?;
        } else {
            write!(f, "{block}:{}", self.first.port)?;
        }
        match self.span.more_ports {
            0 => Ok(()),
            _ => write!(f, "-{}", self.ports().end()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_written_as_they_are_read() {
        for (text, written) in [
            ("192.0.2.10:80", "192.0.2.10:80"),
            ("192.0.2.10:0", "192.0.2.10:0"),
            ("192.0.2.10:80-80", "192.0.2.10:80"),
            ("192.0.2.10/32:80-81", "192.0.2.10:80-81"),
            ("192.0.2.10/28:8000-8999", "192.0.2.0/28:8000-8999"),
            ("192.0.2.0/28:0", "192.0.2.0/28:0-65535"),
            ("[2001:db8::1]:80", "[2001:db8::1]:80"),
            ("[2001:db8::7/64]:443", "[2001:db8::/64]:443"),
            ("0.0.0.0/0:1-65535", "0.0.0.0/0:1-65535"),
        ] {
            let read: ServiceAddress = text.parse().unwrap();
            assert_eq!(read.to_string(), written);
            assert_eq!(written.parse(), Ok(read));
        }
        for text in
            ["192.0.2.10", "192.0.2.0/33:80", "192.0.2.0:90-80", "2001:db8::1:80", "[192.0.2.1]:80", ":80"]
        {
            assert!(text.parse::<ServiceAddress>().is_err(), "{text}");
        }
    }
}

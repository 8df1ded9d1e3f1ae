//! What names a virtual service.

use crate::net::{Endpoint, Protocol};
use crate::service_address::{ServiceAddress, Span};
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// What names a virtual service: protocol, VIP and port; port 0 stands for all ports that have no service of
/// their own. Or, beyond the kernel, a block of VIPs and a range of ports. Or a mark: then the protocol is [`Protocol::ANY`], the port 0, and the address is the mark's
/// number written as one (0.0.0.7, or `0:7::` for IPv6), as the kernel lists it.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct ServiceKey {
    /// TCP, UDP or SCTP.
    pub protocol: Protocol,
    /// VIP and port; of a block of addresses or a range of ports the first.
    pub address: Endpoint,
    /// The rest of the block and the range.
    pub span: Span,
}

impl ServiceKey {
    /// The service of one VIP and port.
    #[must_use]
    pub const fn new(protocol: Protocol, address: Endpoint) -> Self {
        Self { protocol, address, span: Span { free_bits: 0, more_ports: 0 } }
    }

    /// The service of these addresses and ports.
    #[must_use]
    pub const fn at(protocol: Protocol, ServiceAddress { first, span }: ServiceAddress) -> Self {
        Self { protocol, address: first, span }
    }

    /// Its addresses and ports.
    #[must_use]
    pub const fn address(&self) -> ServiceAddress {
        ServiceAddress { first: self.address, span: self.span }
    }

    /// Whether it is a service of the kernel's kind: of one address, or a mark.
    #[must_use]
    pub fn is_exact(&self) -> bool {
        self.span == Span::default()
    }

    /// The service of IPv4 packets with a mark, or of IPv6 packets.
    #[must_use]
    pub fn of_mark(mark: u32, ipv6: bool) -> Self {
        let address = if ipv6 {
            IpAddr::V6(Ipv6Addr::from_bits(u128::from(mark) << 96))
        } else {
            IpAddr::V4(Ipv4Addr::from_bits(mark))
        };
        Self::new(Protocol::ANY, Endpoint::new(address, 0))
    }

    /// The mark, when it is the service of one.
    #[must_use]
    pub fn mark(&self) -> Option<u32> {
        let number = match self.address.address {
            IpAddr::V4(address) => address.to_bits(),
            IpAddr::V6(address) => (address.to_bits() >> 96) as u32,
        };
        (self.protocol == Protocol::ANY).then_some(number)
    }

    /// Whether it balances IPv6 packets.
    #[must_use]
    pub const fn is_ipv6(&self) -> bool {
        self.address.address.is_ipv6()
    }
}

impl fmt::Display for ServiceKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.mark() {
            Some(mark) => write!(f, "FWM {mark}{}", if self.is_ipv6() { " IPv6" } else { "" }),
            None => write!(f, "{} {}", self.protocol, self.address()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn marks_are_written_as_addresses() {
        let key = ServiceKey::of_mark(7, true);
        assert_eq!((key.mark(), key.to_string().as_str()), (Some(7), "FWM 7 IPv6"));
        assert_eq!(key.address.address, "0:7::".parse::<IpAddr>().unwrap());
        assert_eq!(ServiceKey::of_mark(0x0102_0304, false).address.to_string(), "1.2.3.4:0");
        assert_eq!(ServiceKey::new(Protocol::UDP, "0.0.0.7:0".parse().unwrap()).mark(), None);
    }
}

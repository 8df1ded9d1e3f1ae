//! What names a place on the network: protocol, endpoint, flow, link address, interface.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::str::FromStr;

/// An IP protocol by its number.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Protocol(pub u8);

impl Protocol {
    /// None in particular; listed as `IP`.
    pub const ANY: Self = Self(0);
    /// Internet Control Message Protocol for IPv4.
    pub const ICMP: Self = Self(1);
    /// IPv4 in IP.
    pub const IPIP: Self = Self(4);
    /// Transmission Control Protocol.
    pub const TCP: Self = Self(6);
    /// User Datagram Protocol.
    pub const UDP: Self = Self(17);
    /// IPv6 in IP.
    pub const IPV6: Self = Self(41);
    /// Generic Routing Encapsulation.
    pub const GRE: Self = Self(47);
    /// Encapsulating Security Payload.
    pub const ESP: Self = Self(50);
    /// Authentication Header.
    pub const AH: Self = Self(51);
    /// Internet Control Message Protocol for IPv6.
    pub const ICMPV6: Self = Self(58);
    /// Stream Control Transmission Protocol.
    pub const SCTP: Self = Self(132);

    /// The name as `ipvsadm` prints it, where the protocol has one.
    #[must_use]
    pub const fn name(self) -> Option<&'static str> {
        Some(match self {
            Self::ANY => "IP",
            Self::ICMP => "ICMP",
            Self::IPIP => "IPIP",
            Self::TCP => "TCP",
            Self::UDP => "UDP",
            Self::IPV6 => "IPv6",
            Self::GRE => "GRE",
            Self::ESP => "ESP",
            Self::AH => "AH",
            Self::ICMPV6 => "ICMPv6",
            Self::SCTP => "SCTP",
            _ => return None,
        })
    }
}

impl fmt::Display for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.name() {
            Some(name) => f.pad(name),
            None => write!(f, "{}", self.0),
        }
    }
}

impl fmt::Debug for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// An address and a port, `10.0.0.1:80` or `[2001:db8::1]:80`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Endpoint {
    /// The address, of either family.
    pub address: IpAddr,
    /// The port, in host order; 0 where there is none.
    pub port: u16,
}

impl Endpoint {
    /// No address and no port: what is still to be filled in.
    pub const UNSPECIFIED: Self = Self::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), 0);

    /// The endpoint of `address` and `port`.
    #[must_use]
    pub const fn new(address: IpAddr, port: u16) -> Self {
        Self { address, port }
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&SocketAddr::new(self.address, self.port).to_string())
    }
}

impl fmt::Debug for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for Endpoint {
    type Err = std::net::AddrParseError;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        text.parse::<SocketAddr>().map(|a| Self::new(a.ip(), a.port()))
    }
}

/// Both ends of a packet's way, as its header names them.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct FlowKey {
    /// The transport protocol.
    pub protocol: Protocol,
    /// Who sent the packet.
    pub source: Endpoint,
    /// Where it is to go.
    pub destination: Endpoint,
}

impl FlowKey {
    /// The same flow seen in the other direction.
    #[must_use]
    pub const fn reversed(self) -> Self {
        Self { protocol: self.protocol, source: self.destination, destination: self.source }
    }
}

/// A link-layer (EUI-48) address.
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Mac(pub [u8; 6]);

impl Mac {
    /// All stations of the link.
    pub const BROADCAST: Self = Self([0xff; 6]);

    /// Whether the group bit is set: broadcast or multicast.
    #[must_use]
    pub const fn is_group(self) -> bool {
        self.0[0] & 1 != 0
    }
}

impl fmt::Display for Mac {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (place, byte) in self.0.iter().enumerate() {
            write!(f, "{}{byte:02x}", if place == 0 { "" } else { ":" })?;
        }
        Ok(())
    }
}

impl fmt::Debug for Mac {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// What a text that should be a link-layer address is not.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("expected a link-layer address like 02:00:00:00:00:01, got {0:?}")]
pub struct MacParseError(String);

impl FromStr for Mac {
    type Err = MacParseError;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let error = || MacParseError(text.to_owned());
        let mut bytes = [0; 6];
        let mut parts = text.split(':');
        for byte in &mut bytes {
            let part = parts.next().filter(|p| p.len() == 2).ok_or_else(error)?;
            *byte = u8::from_str_radix(part, 16).map_err(|_| error())?;
        }
        if parts.next().is_some() { Err(error()) } else { Ok(Self(bytes)) }
    }
}

/// An interface of the director, by its place in [`crate::network::Network::interfaces`].
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct InterfaceId(pub u16);

/// A block of addresses, `192.0.2.0/24`.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Prefix {
    address: IpAddr,
    length: u8,
}

/// What a text or pair that should be a prefix is not.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("expected an address block like 192.0.2.0/24 or 2001:db8::/64, got {0:?}")]
pub struct PrefixError(String);

/// Whether clients elsewhere can send to `first`, or to a block that begins with it: a block may be all addresses there are.
#[must_use]
pub fn can_be_reached(first: IpAddr, is_alone: bool) -> bool {
    let nobodys = match first {
        IpAddr::V4(address) => address.is_unspecified() || address.is_broadcast(),
        IpAddr::V6(address) => address.is_unspecified(),
    };
    !(first.is_loopback() || first.is_multicast() || nobodys && is_alone)
}

impl Prefix {
    /// The block of `length` leading bits of `address`; the host bits are kept (an interface's
    /// address is a prefix too) and ignored by [`Prefix::contains`].
    pub fn new(address: IpAddr, length: u8) -> Result<Self, PrefixError> {
        if length > address_bits(address) {
            return Err(PrefixError(format!("{address}/{length}")));
        }
        Ok(Self { address, length })
    }

    /// The block that holds `address` alone.
    #[must_use]
    pub const fn host(address: IpAddr) -> Self {
        Self { address, length: address_bits(address) }
    }

    /// The address that the prefix was written with.
    #[must_use]
    pub const fn address(&self) -> IpAddr {
        self.address
    }

    /// The number of leading bits that count.
    #[must_use]
    pub const fn length(&self) -> u8 {
        self.length
    }

    /// Whether `address` lies in the block.
    #[must_use]
    pub fn contains(&self, address: IpAddr) -> bool {
        match (self.address, address) {
            (IpAddr::V4(a), IpAddr::V4(b)) => (a.to_bits() ^ b.to_bits()) & mask32(self.length) == 0,
            (IpAddr::V6(a), IpAddr::V6(b)) => (a.to_bits() ^ b.to_bits()) & mask128(self.length) == 0,
            _ => false,
        }
    }

    /// The block's first address: the host bits cleared.
    #[must_use]
    pub fn network(&self) -> IpAddr {
        match self.address {
            IpAddr::V4(a) => Ipv4Addr::from_bits(a.to_bits() & mask32(self.length)).into(),
            IpAddr::V6(a) => Ipv6Addr::from_bits(a.to_bits() & mask128(self.length)).into(),
        }
    }
}

const fn address_bits(address: IpAddr) -> u8 {
    match address {
        IpAddr::V4(_) => 32,
        IpAddr::V6(_) => 128,
    }
}

fn mask32(length: u8) -> u32 {
    u32::MAX.checked_shl(32 - u32::from(length)).unwrap_or(0)
}

fn mask128(length: u8) -> u128 {
    u128::MAX.checked_shl(128 - u32::from(length)).unwrap_or(0)
}

impl fmt::Display for Prefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.address, self.length)
    }
}

impl fmt::Debug for Prefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for Prefix {
    type Err = PrefixError;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let error = || PrefixError(text.to_owned());
        let (address, length) = match text.split_once('/') {
            Some((address, length)) => (address, Some(length.parse().map_err(|_| error())?)),
            None => (text, None),
        };
        let address: IpAddr = address.parse().map_err(|_| error())?;
        Self::new(address, length.unwrap_or(address_bits(address))).map_err(|_| error())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prefixes_contain_what_their_leading_bits_say() {
        let block: Prefix = "192.0.2.7/24".parse().unwrap();
        assert!(block.contains("192.0.2.200".parse().unwrap()));
        assert!(!block.contains("192.0.3.1".parse().unwrap()));
        assert_eq!(block.network(), "192.0.2.0".parse::<IpAddr>().unwrap());
        let all: Prefix = "0.0.0.0/0".parse().unwrap();
        assert!(all.contains("255.255.255.255".parse().unwrap()));
        assert!(!all.contains("::1".parse().unwrap()));
        assert!("192.0.2.0/33".parse::<Prefix>().is_err());
    }

    #[test]
    fn link_addresses_read_back_as_written() {
        let mac: Mac = "02:00:00:00:01:fe".parse().unwrap();
        assert_eq!(mac.to_string(), "02:00:00:00:01:fe");
        assert!("02:00:00:00:01".parse::<Mac>().is_err());
        assert!("02:00:00:00:01:0g".parse::<Mac>().is_err());
    }
}

//! How packets reach a real server.

/// How packets reach a real server (`ipvsadm`'s `-m`, `-g`, `-i`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Method {
    /// NAT: destination address and port are rewritten, replies pass the director.
    Masquerading = 0,
    /// TUN: the packet travels in an IP packet of its own.
    Tunneling = 2,
    /// DR: only the link-layer destination changes. `ipvsadm`'s default.
    #[default]
    Gatewaying = 3,
}

impl Method {
    /// `ipvsadm`'s long word.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Masquerading => "masquerading",
            Self::Gatewaying => "gatewaying",
            Self::Tunneling => "tunneling",
        }
    }

    /// The method of that name: long (`masquerading`), short (`masq`) or as people say (`nat`).
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Some(match name.to_ascii_lowercase().as_str() {
            "masquerading" | "masq" | "nat" => Self::Masquerading,
            "gatewaying" | "gate" | "route" | "dr" => Self::Gatewaying,
            "tunneling" | "ipip" | "tunnel" | "tun" => Self::Tunneling,
            _ => return None,
        })
    }

    pub(crate) const fn from_number(number: u8) -> Self {
        match number {
            0 => Self::Masquerading,
            2 => Self::Tunneling,
            _ => Self::Gatewaying,
        }
    }
}

/// What a tunnel puts between its outer IP header and the packet (`ipvsadm`'s `--tun-type`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Encapsulation {
    /// Nothing: IP in IP (RFC 2003, RFC 2473, RFC 4213).
    #[default]
    Ipip,
    /// UDP and Generic UDP Encapsulation.
    Gue {
        /// The UDP port that the server takes tunnels on.
        port: u16,
        /// Whether UDP's checksum is computed.
        checksum: bool,
    },
    /// Generic Routing Encapsulation (RFC 2784).
    Gre {
        /// Whether its checksum is computed.
        checksum: bool,
    },
}

impl Encapsulation {
    /// As a number, to be kept in an atomic.
    pub(crate) const fn number(self) -> u32 {
        match self {
            Self::Ipip => 0,
            Self::Gue { port, checksum } => 1 << 17 | (checksum as u32) << 16 | port as u32,
            Self::Gre { checksum } => 2 << 17 | (checksum as u32) << 16,
        }
    }

    pub(crate) const fn from_number(number: u32) -> Self {
        let checksum = number >> 16 & 1 == 1;
        match number >> 17 {
            1 => Self::Gue { port: (number & 0xffff) as u16, checksum },
            2 => Self::Gre { checksum },
            _ => Self::Ipip,
        }
    }
}

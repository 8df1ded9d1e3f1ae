//! How a packet's way through the engine ends.

use std::fmt;

/// What became of a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Verdict {
    /// Sent on, to a real server or back to a client.
    Forward,
    /// Answered by the director: an ICMP error, an ARP reply, what a host says for an owned VIP.
    Reply,
    /// Not the engine's: whatever the host's own stack makes of it.
    ToHost,
    /// A fragment, kept until the others of its datagram have come.
    Queued,
    /// Ended here.
    Drop(DropReason),
}

/// Declares [`DropReason`] together with the names and descriptions that users see.
macro_rules! drop_reasons {
    ($($variant:ident = $name:literal, $about:literal;)*) => {
        /// Why a frame was dropped. The names are stable: metric labels and anchors in the docs.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        #[repr(u8)]
        pub enum DropReason {
            $(#[doc = $about] $variant,)*
        }

        impl DropReason {
            /// Every reason, in the order of its number.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)*];

            /// The name in metrics and listings.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self { $(Self::$variant => $name,)* }
            }

            /// One sentence about it.
            #[must_use]
            pub const fn about(self) -> &'static str {
                match self { $(Self::$variant => $about,)* }
            }
        }
    };
}

drop_reasons! {
    Truncated = "truncated", "The receiving device had no room for all of the frame.";
    MalformedEthernet = "malformed_ethernet", "The frame ends inside its Ethernet header or priority tag.";
    MalformedArp = "malformed_arp", "The ARP packet is cut short or of foreign sizes.";
    MalformedIpv4 = "malformed_ipv4", "The IPv4 header is cut short or contradicts itself.";
    Ipv4Checksum = "ipv4_checksum", "The IPv4 header checksum is wrong.";
    MalformedIpv6 = "malformed_ipv6", "The IPv6 header or an extension header is cut short.";
    MalformedTcp = "malformed_tcp", "The TCP header is cut short or its length is impossible.";
    MalformedUdp = "malformed_udp", "The UDP header is cut short or its length is impossible.";
    MalformedSctp = "malformed_sctp", "The SCTP header is cut short.";
    MalformedIcmp = "malformed_icmp", "The ICMP header is cut short, or what an error to be scheduled quotes.";
    MartianSource = "martian_source", "The source is an address that no packet may come from.";
    Fragment = "fragment", "A fragment that contradicts the others of its datagram.";
    SourceRoute = "source_route", "The sender chose the packet's route itself, which is not allowed.";
    NoConnection = "no_connection", "A real server's packet of no connection, and the server cannot be told.";
    IcmpChecksum = "icmp_checksum", "An ICMP error about a connection, with a wrong checksum.";
    PathMtu = "path_mtu", "An ICMP error that told a tunnel's path MTU, of which no client needs to hear.";
    NoServer = "no_server", "No real server may be chosen and the sender cannot be told.";
    DropPacket = "drop_packet", "Dropped by the defence of that name, which spares memory for others.";
    ServerGone = "server_gone", "The connection's real server is no longer configured.";
    NoRoute = "no_route", "There is no way to the next host and the sender cannot be told.";
    NeighbourUnknown = "neighbour_unknown", "The next host's link-layer address is not known.";
    TtlExpired = "ttl_expired", "The packet's time to live ended here and the sender cannot be told.";
    TooBig = "too_big", "The packet is longer than its way allows and the sender cannot be told.";
    ConnectionLimit = "connection_limit", "The connection table is full.";
    TxFull = "tx_full", "The device had no room for the frame.";
    LocalServer = "local_server", "The real server is a loopback address, or one of the engine's own: NAT reaches neither.";
    LocalClient = "local_client", "A translated reply is for an address of the engine's own.";
    HostSilent = "host_silent", "A packet for an address of the engine's own, to which a host says nothing.";
}

impl DropReason {
    /// The number of reasons.
    pub const COUNT: usize = Self::ALL.len();
}

impl fmt::Display for DropReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reasons_are_numbered_in_order_and_named_once() {
        for (number, reason) in DropReason::ALL.iter().enumerate() {
            assert_eq!(*reason as usize, number);
            assert_eq!(DropReason::ALL.iter().filter(|r| r.name() == reason.name()).count(), 1);
        }
    }
}

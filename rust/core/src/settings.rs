//! What the kernel calls sysctls: how the engine behaves, with the kernel's names and defaults.

use crate::time::Duration;

/// How the engine behaves.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(clippy::struct_excessive_bools, reason = "each is a switch of the kernel's")]
pub struct Settings {
    /// The timeouts that `ipvsadm --set` sets.
    pub timeouts: Timeouts,
    /// Whether a connection whose real server was deleted ends with its next packet, instead of
    /// having its packets dropped until it expires (`expire_nodest_conn`).
    pub expire_nodest_conn: bool,
    /// Whether a SYN on the addresses of a connection that is closing starts a new one: 0 never,
    /// any other value in `TIME_WAIT` and `CLOSE`, bit 1 in `FIN_WAIT` too where only the client is seen
    /// (`conn_reuse_mode`).
    pub conn_reuse_mode: u8,
    /// Whether any TCP segment but a RST may start a connection (`sloppy_tcp`).
    pub sloppy_tcp: bool,
    /// How long lblc remembers a destination that nobody asks for (`lblc_expiration`).
    pub lblc_expiration: Duration,
    /// The same for lblcr, and how long a destination's set stays as it is before it shrinks
    /// (`lblcr_expiration`).
    pub lblcr_expiration: Duration,
    /// Whether an ICMP error about a packet of no connection, which a service's server may have sent, is given
    /// to a server (`schedule_icmp`).
    pub schedule_icmp: bool,
    /// Whether a masqueraded server is told that its packet belongs to no connection, instead of having it
    /// routed on as it is (`nat_icmp_send`).
    pub nat_icmp_send: bool,
    /// Whether a client's "don't fragment" holds for the tunnel that its packet travels in (`pmtu_disc`).
    pub pmtu_disc: bool,
    /// The most connections that one worker keeps.
    pub connection_limit: u32,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            timeouts: Timeouts::default(),
            expire_nodest_conn: false,
            conn_reuse_mode: 1,
            sloppy_tcp: false,
            lblc_expiration: Duration::from_secs(86_400),
            lblcr_expiration: Duration::from_secs(86_400),
            schedule_icmp: false,
            nat_icmp_send: false,
            pmtu_disc: true,
            connection_limit: 10_000_000,
        }
    }
}

/// How long connections are kept after their last packet, for the states in which users may say so.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timeouts {
    /// TCP, established.
    pub tcp: Duration,
    /// TCP, after the server's FIN.
    pub tcp_fin: Duration,
    /// UDP.
    pub udp: Duration,
}

impl Default for Timeouts {
    fn default() -> Self {
        Self {
            tcp: Duration::from_secs(900),
            tcp_fin: Duration::from_secs(120),
            udp: Duration::from_secs(300),
        }
    }
}

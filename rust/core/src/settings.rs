//! What the kernel calls sysctls: how the engine behaves, with the kernel's names and defaults.

use crate::state::State;
use crate::time::Duration;

/// How the engine behaves.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(clippy::struct_excessive_bools, reason = "each is a switch of the kernel's")]
pub struct Settings {
    /// How long connections are kept (`ipvsadm --set`, and what the kernel keeps to itself).
    pub timeouts: Timeouts,
    /// Whether a connection whose real server was deleted ends with its next packet, instead of
    /// having its packets dropped until it expires (`expire_nodest_conn`).
    pub expire_nodest_conn: bool,
    /// Whether persistent clients of a quiesced server go to another one (`expire_quiescent_template`).
    pub expire_quiescent_template: bool,
    /// Whether a SYN on the addresses of a connection that is closing starts a new one: 0 never,
    /// any other value in `TIME_WAIT` and `CLOSE`, bit 1 in `FIN_WAIT` too where only the client is seen
    /// (`conn_reuse_mode`).
    pub conn_reuse_mode: u8,
    /// Whether any TCP segment but a RST may start a connection (`sloppy_tcp`).
    pub sloppy_tcp: bool,
    /// Whether any SCTP chunk but an ABORT may start a connection (`sloppy_sctp`).
    pub sloppy_sctp: bool,
    /// Whether half-open and idle connections are dropped at random (`drop_entry`).
    pub drop_entry: Defence,
    /// Whether some of the packets that would start a connection are dropped (`drop_packet`).
    pub drop_packet: Defence,
    /// Whether TCP connections count as established later (`secure_tcp`).
    pub secure_tcp: Defence,
    /// With less memory than this the automatic defences act; in pages of 4 KiB (`amemthresh`).
    pub amemthresh: u32,
    /// `drop_packet` drops one of so many where it always acts (`am_droprate`).
    pub am_droprate: u32,
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
    /// The most connections that one worker keeps, persistence templates among them. The default is what the table grows
    /// to without a packet that waits for it longer than 0.1 s.
    pub connection_limit: u32,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            timeouts: Timeouts::default(),
            expire_nodest_conn: false,
            expire_quiescent_template: false,
            conn_reuse_mode: 1,
            sloppy_tcp: false,
            sloppy_sctp: false,
            drop_entry: Defence::Off,
            drop_packet: Defence::Off,
            secure_tcp: Defence::Off,
            amemthresh: 1024,
            am_droprate: 10,
            lblc_expiration: Duration::from_secs(86_400),
            lblcr_expiration: Duration::from_secs(86_400),
            schedule_icmp: false,
            nat_icmp_send: false,
            pmtu_disc: true,
            connection_limit: 200_000,
        }
    }
}

/// When a defence against floods acts. The kernel's numbers: 0; 1 and 2, between which it changes itself;
/// 3.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Defence {
    /// Never.
    #[default]
    Off,
    /// While memory is scarce.
    Automatic,
    /// Always.
    Always,
}

impl Defence {
    /// What the kernel means by `number`.
    #[must_use]
    pub const fn from_number(number: u8) -> Option<Self> {
        match number {
            0 => Some(Self::Off),
            1 | 2 => Some(Self::Automatic),
            3 => Some(Self::Always),
            _ => None,
        }
    }

    /// Whether it acts, with memory scarce or not.
    #[must_use]
    pub const fn acts(self, scarce: bool) -> bool {
        match self {
            Self::Off => false,
            Self::Automatic => scarce,
            Self::Always => true,
        }
    }
}

/// How long connections are kept after their last packet, by state.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Timeouts([Duration; State::COUNT]);

impl Timeouts {
    /// That of one state.
    #[must_use]
    pub const fn of(&self, state: State) -> Duration {
        self.0[state.number()]
    }

    /// Says how long connections are kept in `state`.
    pub const fn set(&mut self, state: State, timeout: Duration) {
        self.0[state.number()] = timeout;
    }
}

impl Default for Timeouts {
    fn default() -> Self {
        let mut timeouts = [Duration::ZERO; State::COUNT];
        for state in State::all() {
            timeouts[state.number()] = match state {
                State::Tcp(state) => state.default_timeout(),
                State::Sctp(state) => state.default_timeout(),
                State::Udp | State::Template { .. } => Duration::from_secs(300),
            };
        }
        Self(timeouts)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::state::TcpState;

    #[test]
    fn each_state_has_its_timeout() {
        let closing = State::Tcp(TcpState::Close);
        let mut timeouts = Timeouts::default();
        timeouts.set(closing, Duration::from_secs(1));
        assert_eq!(timeouts.of(closing), Duration::from_secs(1));
        assert_eq!(timeouts.of(State::Tcp(TcpState::Established)), Duration::from_secs(900));
        assert_eq!(timeouts.of(State::Udp), Duration::from_secs(300));
    }
}

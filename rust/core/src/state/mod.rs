//! States of connections, whatever their protocol, and what moves them.

mod direction;
mod sctp;
mod tcp;

pub use direction::Direction;
pub use sctp::{SctpEvent, SctpState};
pub use tcp::TcpState;

use crate::net::Protocol;
use crate::packet::{Packet, TcpFlags};

/// The state of a connection, by its protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// TCP's machine.
    Tcp(TcpState),
    /// UDP has only one state.
    Udp,
    /// SCTP's machine.
    Sctp(SctpState),
    /// That of a persistence template: whether a connection of it was established (`ASSURED`).
    Template {
        /// Whether one was.
        assured: bool,
    },
}

/// What a packet says to the state machine of its protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// A TCP segment with these flags.
    Tcp(TcpFlags),
    /// An SCTP packet; `None`: its chunk is cut short.
    Sctp(Option<SctpEvent>),
    /// Anything else.
    Other,
}

impl Event {
    /// What `packet` says.
    #[must_use]
    pub fn of(packet: &Packet<'_>) -> Self {
        match packet.protocol() {
            Protocol::TCP if !packet.cut_short => Self::Tcp(packet.tcp_flags),
            Protocol::SCTP => Self::Sctp(SctpEvent::of(packet.payload())),
            _ => Self::Other,
        }
    }
}

impl State {
    /// The number of states of connections, templates left out.
    pub const COUNT: usize = TcpState::ALL.len() + 1 + SctpState::ALL.len();

    /// The state of a connection of which nothing has been seen.
    #[must_use]
    pub const fn first(protocol: Protocol) -> Self {
        match protocol {
            Protocol::TCP => Self::Tcp(TcpState::None),
            Protocol::SCTP => Self::Sctp(SctpState::None),
            _ => Self::Udp,
        }
    }

    /// All states of connections.
    pub fn all() -> impl Iterator<Item = Self> {
        let tcp = TcpState::ALL.into_iter().map(Self::Tcp);
        tcp.chain([Self::Udp]).chain(SctpState::ALL.into_iter().map(Self::Sctp))
    }

    /// The place among all states of connections.
    pub(crate) const fn number(self) -> usize {
        match self {
            Self::Tcp(state) => state as usize,
            Self::Udp | Self::Template { .. } => TcpState::ALL.len(),
            Self::Sctp(state) => TcpState::ALL.len() + 1 + state as usize,
        }
    }

    /// The state after `event`. UDP has nowhere to go.
    #[must_use]
    pub const fn next(self, direction: Direction, event: Event, secure_tcp: bool) -> Self {
        match (self, event) {
            (Self::Tcp(state), Event::Tcp(flags)) => Self::Tcp(state.next(direction, flags, secure_tcp)),
            (Self::Sctp(state), Event::Sctp(Some(event))) => Self::Sctp(state.next(direction, event)),
            (state, _) => state,
        }
    }

    /// Whether a connection in this state counts as active.
    #[must_use]
    pub const fn is_active(self) -> bool {
        match self {
            Self::Tcp(state) => state.is_active(),
            Self::Sctp(state) => state.is_established(),
            Self::Udp | Self::Template { .. } => false,
        }
    }

    /// Whether both sides have done with the connection, which is remembered for a while yet.
    #[must_use]
    pub const fn is_over(self) -> bool {
        matches!(self, Self::Tcp(TcpState::TimeWait | TcpState::Close) | Self::Sctp(SctpState::Closed))
    }

    /// Whether data may flow.
    #[must_use]
    pub const fn is_established(self) -> bool {
        matches!(self, Self::Tcp(TcpState::Established) | Self::Sctp(SctpState::Established))
    }

    /// The name in `ipvsadm -Lc`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Tcp(state) => state.name(),
            Self::Udp => "UDP",
            Self::Sctp(state) => state.name(),
            Self::Template { assured: true } => "ASSURED",
            Self::Template { assured: false } => "NONE",
        }
    }

    /// The name of its timeout: `tcp_time_wait`, `udp`, `sctp_cookie_sent` (whose state is listed as `C-SENT`).
    #[must_use]
    pub fn timeout_name(self) -> String {
        let name = self.name().to_ascii_lowercase();
        match self {
            Self::Tcp(_) => format!("tcp_{name}"),
            Self::Sctp(_) => {
                let (cookie, shutdown) = (name.strip_prefix("c-"), name.strip_prefix("s-"));
                let long = cookie.map(|rest| format!("cookie_{rest}"));
                let long = long.or_else(|| shutdown.map(|rest| format!("shutdown_{rest}")));
                format!("sctp_{}", long.unwrap_or(name.clone()).replace('-', "_"))
            }
            Self::Udp | Self::Template { .. } => name,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn states_are_numbered_in_order() {
        assert_eq!(State::all().count(), State::COUNT);
        for (number, state) in State::all().enumerate() {
            assert_eq!(state.number(), number, "{}", state.timeout_name());
        }
        let names: Vec<_> = State::all().map(State::timeout_name).collect();
        assert_eq!([&names[4], &names[11], &names[23]], ["tcp_fin_wait", "udp", "sctp_shutdown_ack_sent"]);
    }

    #[test]
    fn a_connection_begins_neither_active_nor_over() {
        for protocol in [Protocol::TCP, Protocol::UDP, Protocol::SCTP] {
            let first = State::first(protocol);
            assert!(!first.is_active() && !first.is_over(), "its server counts it as inactive: {first:?}");
        }
        assert!(State::all().all(|state| !(state.is_active() && state.is_over())));
    }
}

//! The defence `drop_entry`: each second a thirty-second part of the table, drawn by lot, is looked at, and
//! what is half-open or idle there goes, so that a flood does not fill the memory.

use super::{Connection, SctpState, State, TcpState};
use crate::time::{Duration, Instant};

/// One of so many entries is looked at.
const SHARE: u64 = 32;
/// Only what was idle for so long may be dropped though it is established.
const IDLE: Duration = Duration::from_secs(60);
/// Who has sent more packets than this stays.
const FEW_PACKETS: usize = 8;

/// Of the idle connections that have sent n packets, every n-th goes: how many are left to spare, by n.
#[derive(Debug, Default)]
pub(super) struct Turns([i32; FEW_PACKETS + 1]);

impl Turns {
    fn is_up(&mut self, packets: u32) -> bool {
        let Some(left) = self.0.get_mut(packets as usize).filter(|_| packets > 0) else { return false };
        *left -= 1;
        if *left > 0 {
            return false;
        }
        *left = packets.cast_signed();
        true
    }
}

/// A thirty-second of `places`, its fraction by lot.
pub(super) fn share_of(places: u64, lot: &mut impl FnMut() -> u64) -> u64 {
    (places + lot() % SHARE) / SHARE
}

impl Connection {
    /// Whether the defence may do without it.
    pub(super) fn is_dispensable(&self, turns: &mut Turns, now: Instant) -> bool {
        match self.state {
            State::Tcp(TcpState::SynReceived | TcpState::SynAck)
            | State::Sctp(SctpState::Init1 | SctpState::Init) => true,
            State::Tcp(TcpState::Established) | State::Sctp(SctpState::Established) | State::Udp => {
                now + self.timeout >= self.deadline + IDLE && turns.is_up(self.in_packets)
            }
            _ => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_nth_of_those_with_n_packets() {
        let mut turns = Turns::default();
        assert!((0..4).all(|_| turns.is_up(1)));
        let third: Vec<_> = (0..7).map(|_| turns.is_up(3)).collect();
        assert_eq!(third, [true, false, false, true, false, false, true]);
        assert!(!turns.is_up(0) && !turns.is_up(9));
    }
}

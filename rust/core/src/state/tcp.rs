//! The TCP state machine of IPVS: coarse, from flags alone, in the three points of view that a
//! director can have. Source: the tables of Linux 6.1 (checked against recordings of that kernel).
//!
//! Under the defence `secure_tcp` a connection is not established before the server has answered, and one
//! whose server is not seen waits in `SYNACK` for the client's next segment.

use super::Direction;
use crate::packet::TcpFlags;
use crate::time::Duration;

/// The states, with the numbers that connection synchronisation puts on the wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum TcpState {
    /// Nothing seen yet.
    None = 0,
    /// Data may flow.
    Established = 1,
    /// The server opened.
    SynSent = 2,
    /// The client opened.
    SynReceived = 3,
    /// The server closed its half (or the client did, where only that side is seen).
    FinWait = 4,
    /// Both halves are closed.
    TimeWait = 5,
    /// Reset, or closed in a way that TCP does not know.
    Close = 6,
    /// The client closed its half.
    CloseWait = 7,
    /// Waiting for the last acknowledgement.
    LastAck = 8,
    /// A connection that is expected.
    Listen = 9,
    /// Opened under the defence against SYN floods.
    SynAck = 10,
}

use TcpState::{
    Close as CL, CloseWait as CW, Established as ES, FinWait as FW, LastAck as LA, Listen as LI, None as NO,
    SynAck as SA, SynReceived as SR, SynSent as SS, TimeWait as TW,
};

const SYN: usize = 0;
const FIN: usize = 1;
const ACK: usize = 2;
const RST: usize = 3;

/// Next states, a row for each present state, in it: SYN, FIN, ACK, RST.
type Table = [[TcpState; 4]; 11];

/// From the client, when replies pass the director too.
const INPUT: Table = [
    [SR, CL, ES, CL],
    [ES, CW, ES, CL],
    [ES, SS, SS, CL],
    [SR, TW, ES, SR],
    [SR, TW, FW, CL],
    [SR, TW, TW, CL],
    [SR, CL, CL, CL],
    [SR, CW, CW, CL],
    [SR, LA, CL, LA],
    [SR, LI, LI, LI],
    [SR, TW, ES, SR],
];

/// From the server.
const OUTPUT: Table = [
    [SS, TW, ES, CL],
    [ES, FW, ES, CL],
    [SS, SS, SS, SS],
    [SR, TW, ES, CL],
    [SS, FW, FW, CL],
    [SS, TW, TW, TW],
    [SS, CL, CL, CL],
    [SS, TW, CW, CL],
    [SS, LA, LA, CL],
    [LI, LI, ES, CL],
    [SR, TW, ES, CL],
];

/// From the client, when its packets are all that the director sees (DR and TUN).
const INPUT_ONLY: Table = [
    [SR, CL, ES, CL],
    [ES, FW, ES, CL],
    [ES, SS, SS, CL],
    [SR, TW, ES, SR],
    [SR, FW, FW, CL],
    [SR, TW, TW, CL],
    [SR, CL, CL, CL],
    [SR, CW, CW, CL],
    [SR, LA, CL, LA],
    [SR, LI, LI, LI],
    [SR, TW, ES, CL],
];

impl TcpState {
    /// Every state, in the order of its number.
    pub const ALL: [Self; 11] = [NO, ES, SS, SR, FW, TW, CL, CW, LA, LI, SA];

    /// The state after a segment with `flags`. RST counts before SYN, SYN before FIN, FIN before
    /// ACK; a segment with none of them closes.
    #[must_use]
    pub const fn next(self, direction: Direction, flags: TcpFlags, secure: bool) -> Self {
        let event = if flags.rst() {
            RST
        } else if flags.syn() {
            SYN
        } else if flags.fin() {
            FIN
        } else if flags.ack() {
            ACK
        } else {
            return CL;
        };
        if secure && let Some(next) = self.next_under_defence(direction, event) {
            return next;
        }
        let table = match direction {
            Direction::Input => &INPUT,
            Direction::Output => &OUTPUT,
            Direction::InputOnly => &INPUT_ONLY,
        };
        table[self as usize][event]
    }

    /// The state after a segment where the defence makes a difference.
    const fn next_under_defence(self, direction: Direction, event: usize) -> Option<Self> {
        match (direction, self, event) {
            (Direction::Input, SR, ACK) => Some(SR),
            (Direction::Input, SA, RST) => Some(CL),
            (Direction::Input, SA, _)
            | (Direction::Output, SR | SA, SYN)
            | (Direction::InputOnly, NO | FW | TW | CL | CW | LA | LI | SA, SYN) => Some(SA),
            _ => None,
        }
    }

    /// Whether a connection in this state counts as active.
    #[must_use]
    pub const fn is_active(self) -> bool {
        matches!(self, ES | SS | SR | SA)
    }

    /// How long the kernel keeps a connection after its last packet.
    pub(crate) const fn default_timeout(self) -> Duration {
        Duration::from_secs(match self {
            NO => 2,
            ES => 900,
            SR | CW => 60,
            CL => 10,
            LA => 30,
            SS | FW | TW | LI | SA => 120,
        })
    }

    /// The name in `ipvsadm -Lc`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            NO => "NONE",
            ES => "ESTABLISHED",
            SS => "SYN_SENT",
            SR => "SYN_RECV",
            FW => "FIN_WAIT",
            TW => "TIME_WAIT",
            CL => "CLOSE",
            CW => "CLOSE_WAIT",
            LA => "LAST_ACK",
            LI => "LISTEN",
            SA => "SYNACK",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use Direction::{Input, InputOnly, Output};

    const SYN: TcpFlags = TcpFlags::SYN;
    const FIN_ACK: TcpFlags = TcpFlags::FIN.with(TcpFlags::ACK);
    const SYN_ACK: TcpFlags = TcpFlags::SYN.with(TcpFlags::ACK);
    const ACK: TcpFlags = TcpFlags::ACK;
    const RST: TcpFlags = TcpFlags::RST;

    fn walk(steps: &[(Direction, TcpFlags, TcpState)]) {
        walk_with(false, steps);
    }

    fn walk_with(secure: bool, steps: &[(Direction, TcpFlags, TcpState)]) {
        let mut state = NO;
        for (number, (direction, flags, expected)) in steps.iter().enumerate() {
            state = state.next(*direction, *flags, secure);
            assert_eq!(state, *expected, "step {number}");
        }
    }

    #[test]
    fn under_defence_the_server_has_to_answer() {
        let answered =
            [(Input, SYN, SR), (Input, ACK, SR), (Output, SYN_ACK, SA), (Input, ACK, SA), (Output, ACK, ES)];
        walk_with(true, &answered);
        walk_with(true, &[(InputOnly, SYN, SA), (InputOnly, ACK, ES), (InputOnly, FIN_ACK, FW)]);
    }

    #[test]
    fn a_whole_life_seen_from_both_sides() {
        walk(&[
            (Input, SYN, SR),
            (Output, SYN_ACK, SR),
            (Input, ACK, ES),
            (Input, FIN_ACK, CW),
            (Output, FIN_ACK, TW),
            (Input, ACK, TW),
            (Input, SYN, SR),
        ]);
        walk(&[
            (Input, SYN, SR),
            (Output, SYN_ACK, SR),
            (Input, ACK, ES),
            (Output, FIN_ACK, FW),
            (Input, FIN_ACK, TW),
        ]);
    }

    #[test]
    fn a_whole_life_seen_from_the_client_alone() {
        walk(&[(InputOnly, SYN, SR), (InputOnly, ACK, ES), (InputOnly, FIN_ACK, FW), (InputOnly, ACK, FW)]);
    }

    #[test]
    fn resets_and_oddities() {
        walk(&[(Input, SYN, SR), (Input, RST, SR), (Output, RST, CL)]);
        walk(&[(Input, SYN, SR), (Input, FIN_ACK, TW)]);
        walk(&[(Input, SYN, SR), (Input, TcpFlags::PSH, CL)]);
    }
}

//! The SCTP state machine of IPVS: from the first chunk of each packet, in the three points of view that a
//! director can have. Source: the tables of Linux 6.1 (checked against recordings of that kernel).

use super::Direction;
use crate::time::Duration;
use crate::wire::{sctp, u16_at};

/// The states, with the numbers that connection synchronisation puts on the wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum SctpState {
    /// Nothing seen yet.
    None = 0,
    /// The client opened.
    Init1 = 1,
    /// The client opened again, or the server answered an opening that nobody has seen.
    Init = 2,
    /// The server sent its cookie.
    CookieSent = 3,
    /// The client sent the cookie back.
    CookieReplied = 4,
    /// The server opened.
    CookieWait = 5,
    /// The client sent its cookie.
    Cookie = 6,
    /// The server sent the cookie back.
    CookieEchoed = 7,
    /// Data may flow.
    Established = 8,
    /// The server closes.
    ShutdownSent = 9,
    /// The client closes.
    ShutdownReceived = 10,
    /// The server agreed to close.
    ShutdownAckSent = 11,
    /// Aborted while it opened.
    Rejected = 12,
    /// Over.
    Closed = 13,
}

use SctpState::{
    Closed as CL, Cookie as CO, CookieEchoed as CE, CookieReplied as CR, CookieSent as CS, CookieWait as CW,
    Established as ES, Init as IN, Init1 as I1, None as NO, Rejected as RJ, ShutdownAckSent as SA,
    ShutdownReceived as SR, ShutdownSent as SS,
};

/// What a packet says, by its first chunk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum SctpEvent {
    /// Data, acknowledgements, heartbeats, and what nobody knows.
    Data = 0,
    /// INIT.
    Init = 1,
    /// INIT ACK.
    InitAck = 2,
    /// COOKIE ECHO.
    CookieEcho = 3,
    /// COOKIE ACK.
    CookieAck = 4,
    /// SHUTDOWN.
    Shutdown = 5,
    /// SHUTDOWN ACK.
    ShutdownAck = 6,
    /// SHUTDOWN COMPLETE.
    ShutdownComplete = 7,
    /// ERROR.
    Error = 8,
    /// ABORT.
    Abort = 9,
}

impl SctpEvent {
    /// What an SCTP packet says, from its common header on; `None` when its first chunk is cut short.
    ///
    /// An ABORT bundled behind a cookie counts: it ends the association that the cookie opens.
    #[must_use]
    pub fn of(packet: &[u8]) -> Option<Self> {
        let first = chunk_at(packet, sctp::HEADER)?;
        let event = Self::of_chunk(first.kind);
        if matches!(event, Self::CookieEcho | Self::CookieAck)
            && usize::from(first.length) >= sctp::CHUNK_HEADER
            && let Some(second) =
                chunk_at(packet, sctp::HEADER + usize::from(first.length).next_multiple_of(4))
            && Self::of_chunk(second.kind) == Self::Abort
        {
            return Some(Self::Abort);
        }
        Some(event)
    }

    /// What the first chunk alone says.
    #[must_use]
    pub fn of_first_chunk(packet: &[u8]) -> Option<Self> {
        chunk_at(packet, sctp::HEADER).map(|chunk| Self::of_chunk(chunk.kind))
    }

    const fn of_chunk(kind: u8) -> Self {
        match kind {
            1 => Self::Init,
            2 => Self::InitAck,
            6 => Self::Abort,
            7 => Self::Shutdown,
            8 => Self::ShutdownAck,
            9 => Self::Error,
            10 => Self::CookieEcho,
            11 => Self::CookieAck,
            14 => Self::ShutdownComplete,
            _ => Self::Data,
        }
    }
}

struct Chunk {
    kind: u8,
    length: u16,
}

fn chunk_at(packet: &[u8], place: usize) -> Option<Chunk> {
    let header = packet.get(place..place + sctp::CHUNK_HEADER)?;
    Some(Chunk { kind: header[sctp::CHUNK_TYPE], length: u16_at(header, sctp::CHUNK_LENGTH) })
}

/// Next states: a row for each event, in it one for each present state.
type Table = [[SctpState; 14]; 10];

/// From the client, when replies pass the director too.
#[rustfmt::skip]
const INPUT: Table = [
    [ES, I1, IN, CS, CR, CW, CO, CE, ES, SS, SR, SA, RJ, CL],
    [I1, IN, IN, CS, CR, CW, CO, CE, ES, SS, SR, SA, IN, IN],
    [CW, CW, CW, CS, CR, CO, CO, CE, ES, SS, SR, SA, RJ, CL],
    [CR, IN, IN, CR, CR, CW, CO, CE, ES, SS, SR, SA, RJ, CL],
    [ES, I1, IN, CS, CR, CW, CO, ES, ES, SS, SR, SA, RJ, CL],
    [SR, I1, IN, CS, CR, CW, CO, CE, SR, SS, SR, SA, RJ, CL],
    [CL, IN, IN, CS, CR, CW, CO, CE, ES, CL, SR, CL, RJ, CL],
    [CL, CL, CL, CS, CR, CW, CO, CE, ES, SS, SR, CL, RJ, CL],
    [CL, I1, IN, CS, CR, CW, CO, CL, ES, SS, SR, SA, RJ, CL],
    [CL, CL, CL, CL, CL, RJ, CL, CL, CL, CL, CL, CL, CL, CL],
];

/// From the server.
#[rustfmt::skip]
const OUTPUT: Table = [
    [ES, I1, IN, CS, CR, CW, CO, CE, ES, SS, SR, SA, RJ, CL],
    [CW, CW, CW, CW, CW, CW, CW, CW, ES, CW, CW, CW, CW, CW],
    [CS, CS, CS, CS, CR, CW, CO, CE, ES, SS, SR, SA, RJ, CL],
    [CE, CE, CE, CE, CE, CE, CE, CE, ES, SS, SR, SA, RJ, CL],
    [ES, ES, ES, ES, ES, ES, ES, ES, ES, SS, SR, SA, RJ, CL],
    [SS, SS, SS, SS, SS, SS, SS, SS, SS, SS, SR, SA, RJ, CL],
    [SA, SA, SA, SA, SA, CW, CO, CE, ES, SA, SA, SA, RJ, CL],
    [CL, I1, IN, CS, CR, CW, CO, CE, ES, SS, SR, SA, RJ, CL],
    [CL, CL, CL, CL, CL, CW, CO, CE, ES, SS, SR, SA, RJ, CL],
    [CL, RJ, CL, CL, CL, CL, CL, CL, CL, CL, CL, CL, CL, CL],
];

/// From the client, when its packets are all that the director sees (DR and TUN).
#[rustfmt::skip]
const INPUT_ONLY: Table = [
    [ES, I1, IN, CS, CR, ES, CO, CE, ES, SS, SR, SA, RJ, CL],
    [I1, IN, IN, IN, IN, IN, CO, CE, ES, SS, SR, SA, IN, IN],
    [CE, CE, CE, CE, CE, CE, CO, CE, ES, SS, SR, SA, RJ, CL],
    [ES, ES, ES, ES, ES, ES, CO, CE, ES, SS, SR, SA, RJ, CL],
    [ES, I1, IN, ES, ES, CW, ES, ES, ES, SS, SR, SA, RJ, CL],
    [SR, I1, IN, CS, CR, CW, CO, CE, SR, SS, SR, SA, RJ, CL],
    [CL, IN, IN, CS, CR, CW, CO, CE, CL, CL, SR, CL, RJ, CL],
    [CL, CL, CL, CL, CL, CW, CO, CE, ES, SS, CL, CL, RJ, CL],
    [CL, I1, IN, CS, CR, CW, CO, CE, ES, SS, SR, SA, RJ, CL],
    [CL, CL, CL, CL, CL, RJ, CL, CL, CL, CL, CL, CL, CL, CL],
];

impl SctpState {
    /// Every state, in the order of its number.
    pub const ALL: [Self; 14] = [NO, I1, IN, CS, CR, CW, CO, CE, ES, SS, SR, SA, RJ, CL];

    /// The state after a packet.
    #[must_use]
    pub const fn next(self, direction: Direction, event: SctpEvent) -> Self {
        let table = match direction {
            Direction::Input => &INPUT,
            Direction::Output => &OUTPUT,
            Direction::InputOnly => &INPUT_ONLY,
        };
        table[event as usize][self as usize]
    }

    /// Whether data may flow; only then a connection counts as active.
    #[must_use]
    pub const fn is_established(self) -> bool {
        matches!(self, ES)
    }

    /// How long the kernel keeps a connection after its last packet.
    pub(crate) const fn default_timeout(self) -> Duration {
        Duration::from_secs(match self {
            NO => 2,
            I1 | RJ => 4,
            ES => 900,
            _ => 61,
        })
    }

    /// The name in `ipvsadm -Lc`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            NO => "NONE",
            I1 => "INIT1",
            IN => "INIT",
            CS => "C-SENT",
            CR => "C-REPLIED",
            CW => "C-WAIT",
            CO => "COOKIE",
            CE => "C-ECHOED",
            ES => "ESTABLISHED",
            SS => "S-SENT",
            SR => "S-RECEIVED",
            SA => "S-ACK-SENT",
            RJ => "REJECTED",
            CL => "CLOSED",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use Direction::{Input, InputOnly, Output};
    use SctpEvent::{
        Abort, CookieAck, CookieEcho, Data, Init, InitAck, Shutdown, ShutdownAck, ShutdownComplete,
    };

    fn walk(steps: &[(Direction, SctpEvent, SctpState)]) {
        let mut state = NO;
        for (number, (direction, event, expected)) in steps.iter().enumerate() {
            state = state.next(*direction, *event);
            assert_eq!(state, *expected, "step {number}");
        }
    }

    #[test]
    fn a_whole_life() {
        walk(&[
            (Input, Init, I1),
            (Output, InitAck, CS),
            (Input, CookieEcho, CR),
            (Output, CookieAck, ES),
            (Input, Data, ES),
            (Input, Shutdown, SR),
            (Output, ShutdownAck, SA),
            (Input, ShutdownComplete, CL),
        ]);
        walk(&[(InputOnly, Init, I1), (InputOnly, CookieEcho, ES), (InputOnly, Abort, CL)]);
    }

    #[test]
    fn the_first_chunk_speaks() {
        let packet = |chunks: &[&[u8]]| [&[0; 12], chunks.concat().as_slice()].concat();
        let of = |chunks: &[&[u8]]| SctpEvent::of(&packet(chunks));
        assert_eq!(of(&[&[1, 0, 0, 20]]), Some(Init));
        assert_eq!(of(&[&[10, 0, 0, 6, 9, 9, 0, 0], &[6, 0, 0, 4]]), Some(Abort), "behind its padding");
        assert_eq!(of(&[&[10, 0, 0, 4], &[0, 3, 0, 17]]), Some(CookieEcho));
        assert_eq!(of(&[&[0, 3, 0, 4], &[6, 0, 0, 4]]), Some(Data));
        assert_eq!(of(&[&[130, 0, 0, 4]]), Some(Data));
        assert_eq!(of(&[&[1, 0, 0]]), None);
    }
}

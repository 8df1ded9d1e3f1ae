//! One datagram, while fragments of it are missing, and when it is complete.

use super::piece::{Key, Piece};
use crate::frame::{Frame, Offload};
use crate::net::InterfaceId;
use crate::packet::{Fragments, Packet};
use crate::time::Instant;
use crate::wire::{ethernet, ipv4, ipv6, is_ipv4, mark_congestion, set_u16};

/// Runs of bytes that a datagram's fragments may form before it is complete.
const RUNS: usize = 128;
/// Room in front of the payload: link-layer header with a tag, IP header with options or extension headers.
const HEAD: usize = ethernet::HEADER + ethernet::TAG + ipv6::HEADER_ROOM + ipv6::FRAGMENT_HEADER;
/// Of the ECN codes seen (RFC 3168 §5.3), a bit each: that somebody does not know ECN, and that somebody was
/// congested.
const NOT_CAPABLE: u8 = 1 << 0b00;
const CONGESTION_EXPERIENCED: u8 = 1 << 0b11;

/// Room for a datagram, used again and again.
#[derive(Debug, Default)]
pub struct Store {
    /// The payload from [`HEAD`] on, and the first fragment's headers in front of it.
    pub(super) buffer: Vec<u8>,
    /// The bytes that are there, first and end of each run, in order.
    pub(super) runs: Vec<(u16, u16)>,
}

/// A complete datagram in a frame. To be given back with [`super::Reassembly::reuse`].
#[derive(Debug)]
pub struct Complete {
    pub(super) store: Store,
    start: usize,
    /// The interface that its last fragment came in on.
    pub interface: InterfaceId,
    /// What is remembered of its fragments.
    pub fragments: Fragments,
}

impl Complete {
    /// The frame.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        &self.store.buffer[self.start..]
    }
}

impl From<Complete> for Store {
    fn from(complete: Complete) -> Self {
        complete.store
    }
}

/// The first fragment of a datagram whose time was over before all of it had come. To be given back with
/// [`super::Reassembly::reuse`].
#[derive(Debug)]
pub struct Late {
    store: Store,
    head: Head,
    interface: InterfaceId,
}

impl Late {
    /// The fragment's frame as it came, but that it may end in other bytes than were kept of it.
    #[must_use]
    pub fn frame(&self) -> Frame<'_> {
        let bytes = &self.store.buffer[self.head.start()..];
        Frame { interface: self.interface, bytes, offload: Offload::NONE }
    }

    /// Where in the frame ends what was kept: of an IPv4 fragment behind which others come, a multiple of 8 bytes.
    #[must_use]
    pub const fn end(&self) -> usize {
        self.head.length + self.head.payload as usize
    }
}

impl From<Late> for Store {
    fn from(late: Late) -> Self {
        late.store
    }
}

pub(super) enum Added {
    Kept,
    /// It had come before, but for what it says of the datagram's end.
    Repeated,
    /// It contradicts the others.
    Refused,
    /// It is empty, or does not end where others say that the datagram does, and only it is dropped: IPv6 alone.
    Beyond,
}

/// A datagram of which something is missing.
#[derive(Debug)]
pub(super) struct Unfinished {
    pub(super) key: Key,
    /// How many began before it.
    pub(super) number: u64,
    pub(super) deadline: Instant,
    pub(super) store: Store,
    head: Head,
    /// The interface that the first fragment came in on.
    first_on: InterfaceId,
    /// Whether only one fragment has come.
    alone: bool,
    /// Length of the payload, once the last fragment has told it.
    total: Option<u16>,
    /// Lengths of the longest fragment, and of the longest that nobody may fragment.
    longest: u16,
    dont_fragment: u16,
    /// The ECN codes seen, a bit for each.
    congestion: u8,
}

impl Unfinished {
    /// A datagram of which nothing has come, the `number`th, whose store may be used already.
    pub(super) fn new(key: Key, number: u64, deadline: Instant, mut store: Store) -> Self {
        store.runs.clear();
        store.buffer.clear();
        Self {
            key,
            number,
            deadline,
            store,
            head: Head::default(),
            first_on: InterfaceId(0),
            alone: true,
            total: None,
            longest: 0,
            dont_fragment: 0,
            congestion: 0,
        }
    }

    pub(super) fn is_complete(&self) -> bool {
        let runs = &self.store.runs[..];
        self.head.length > 0 && matches!((runs, self.total), ([(0, end)], Some(total)) if *end == total)
    }

    /// Whether some of its fragments know ECN and some do not.
    pub(super) const fn disagrees_on_congestion(&self) -> bool {
        self.congestion & NOT_CAPABLE != 0 && self.congestion != NOT_CAPABLE
    }

    /// The datagram, whose last missing fragment came in on `interface`.
    pub(super) fn complete(mut self, interface: InterfaceId) -> Complete {
        let buffer = &mut self.store.buffer;
        buffer.truncate(HEAD + usize::from(self.total.unwrap_or_default()));
        let dont_fragment = self.dont_fragment == self.longest;
        let congestion = self.congestion & CONGESTION_EXPERIENCED != 0;
        let start = self.head.finish(buffer, dont_fragment, congestion);
        let fragments =
            Fragments { longest: self.longest, identification: self.key.identification, alone: self.alone };
        Complete { store: self.store, start, interface, fragments }
    }

    /// What came of it: the first fragment, or the buffer alone without that.
    pub(super) fn first(self) -> Result<Late, Store> {
        let Self { store, head, first_on: interface, .. } = self;
        if head.length > 0 { Ok(Late { store, head, interface }) } else { Err(store) }
    }

    pub(super) fn add(&mut self, packet: &Packet<'_>, piece: &Piece) -> Added {
        let (start, end) = (piece.start as u16, (piece.start + piece.length) as u16);
        let beyond = self.total.is_some_and(|total| end > total || piece.last && end != total);
        let cut_short = piece.last && self.store.runs.last().is_some_and(|(_, reached)| *reached > end);
        if beyond || cut_short {
            return if packet.is_ipv4() { Added::Refused } else { Added::Beyond };
        }
        // What is said of the end counts, even where the rest is known or of no use.
        if piece.last {
            self.total = Some(end);
        }
        if start == end {
            return if packet.is_ipv4() { Added::Refused } else { Added::Beyond };
        }
        if self.store.runs.iter().any(|(first, reached)| *first <= start && end <= *reached) {
            return Added::Repeated;
        }
        if self.store.runs.iter().any(|(first, reached)| *first < end && start < *reached) {
            return Added::Refused;
        }
        if self.store.runs.len() == RUNS {
            return Added::Refused;
        }
        self.alone = self.store.runs.is_empty();
        self.insert((start, end));
        let place = HEAD + piece.start;
        // Room for what is not kept, too: the first fragment may have to be read again.
        let needed = place + packet.end - piece.from;
        let buffer = &mut self.store.buffer;
        if buffer.len() < needed {
            buffer.resize(needed, 0);
        }
        let kept = &packet.bytes[piece.from..piece.from + piece.length];
        buffer[place..place + kept.len()].copy_from_slice(kept);
        let length = packet.ip_length() as u16;
        self.longest = self.longest.max(length);
        if packet.is_ipv4() && packet.dont_fragment {
            self.dont_fragment = self.dont_fragment.max(length);
        }
        self.congestion |= 1 << (packet.tos & 3);
        if piece.start == 0 {
            self.first_on = packet.interface;
            if !self.head.take(packet, piece, &mut self.store.buffer) {
                return Added::Refused;
            }
        }
        Added::Kept
    }

    fn insert(&mut self, run: (u16, u16)) {
        let place = self.store.runs.partition_point(|(first, _)| *first < run.0);
        self.store.runs.insert(place, run);
        // Runs that touch become one.
        let mut at = place.saturating_sub(1);
        while at + 1 < self.store.runs.len() && at <= place {
            if self.store.runs[at].1 == self.store.runs[at + 1].0 {
                self.store.runs[at].1 = self.store.runs.remove(at + 1).1;
            } else {
                at += 1;
            }
        }
    }
}

/// The first fragment's headers, which end where the payload begins: IPv6's fragment header is the last of them.
#[derive(Clone, Copy, Debug, Default)]
struct Head {
    /// From the frame's first byte; 0 while the first fragment has not come.
    length: usize,
    /// Length of the link-layer header.
    link: usize,
    /// Length of the first fragment's payload.
    payload: u16,
}

impl Head {
    /// Copies the headers in front of the payload. False when there is no room for them.
    fn take(&mut self, packet: &Packet<'_>, piece: &Piece, buffer: &mut [u8]) -> bool {
        if piece.from > HEAD {
            return false;
        }
        *self = Self { length: piece.from, link: packet.network, payload: piece.length as u16 };
        buffer[self.start()..HEAD].copy_from_slice(&packet.bytes[..piece.from]);
        true
    }

    /// Where in the buffer the frame begins.
    const fn start(&self) -> usize {
        HEAD - self.length
    }

    /// Writes what the whole datagram's header says otherwise than the first fragment's; returns where its frame
    /// begins.
    fn finish(&self, buffer: &mut [u8], dont_fragment: bool, congestion: bool) -> usize {
        let mut start = self.start();
        if !is_ipv4(&buffer[start + self.link..]) {
            start += ipv6::FRAGMENT_HEADER;
            remove_fragment_header(&mut buffer[self.start()..HEAD], self.link);
        }
        let datagram = &mut buffer[start + self.link..];
        let length = datagram.len();
        if congestion {
            mark_congestion(datagram);
        }
        if is_ipv4(datagram) {
            set_u16(datagram, ipv4::TOTAL_LENGTH, length as u16);
            set_u16(datagram, ipv4::FRAGMENT, if dont_fragment { ipv4::DONT_FRAGMENT } else { 0 });
            ipv4::set_checksum(datagram);
        } else {
            set_u16(datagram, ipv6::PAYLOAD_LENGTH, (length - ipv6::HEADER) as u16);
        }
        start
    }
}

/// Moves headers, of which the first `link` bytes are the link layer's, to where the fragment header behind them ends.
fn remove_fragment_header(headers: &mut [u8], link: usize) {
    let fragment_header = headers.len() - ipv6::FRAGMENT_HEADER;
    let next = headers[fragment_header];
    headers.copy_within(..fragment_header, ipv6::FRAGMENT_HEADER);
    let kept = &mut headers[link + ipv6::FRAGMENT_HEADER..];
    let field = last_next_field(kept);
    kept[field] = next;
}

/// Where the byte stands that names what follows all of these headers.
fn last_next_field(headers: &[u8]) -> usize {
    let (mut field, mut at) = (ipv6::NEXT_HEADER, ipv6::HEADER);
    while at + 2 <= headers.len() {
        field = at;
        at += ipv6::options_length(&headers[at..]);
    }
    field
}

//! Cutting an aggregate into the packets that it stands for (generic segmentation offload).

use super::datagram::{Cut, Datagram};
use super::{finish_checksum, finished_checksum};
use crate::frame::ChecksumState;
use crate::net::Protocol;
use crate::packet::{Packet, TcpFlags};
use crate::verdict::DropReason;
use crate::wire::checksum::Sum;
use crate::wire::{ipv4, ipv6, set_u16, set_u32, tcp, u16_at, u32_at, udp};

/// Room for an IPv4 header with all options, and for an IPv6 header with more extension headers than
/// anybody sends together with an aggregate.
const HEADER_ROOM: usize = 256;
const TRANSPORT_ROOM: usize = 60;
/// Flags that only the last segment carries.
const LAST_ONLY: u8 = TcpFlags::FIN.0 | TcpFlags::PSH.0;

/// One of the packets that an aggregate stands for, its checksums finished: headers of its own, data
/// still in the aggregate.
pub(super) struct Piece<'a> {
    header: Buffer<HEADER_ROOM>,
    transport: Buffer<TRANSPORT_ROOM>,
    pub(super) data: &'a [u8],
    pub(super) cut: Cut,
}

impl Piece<'_> {
    /// IP header and transport header, to be changed, and the data.
    pub(super) fn parts(&mut self) -> (&mut [u8], &mut [u8], &[u8]) {
        (self.header.bytes_mut(), self.transport.bytes_mut(), self.data)
    }

    /// The piece as it stands.
    pub(super) fn datagram(&self) -> Datagram<'_> {
        Datagram {
            header: self.header.bytes(),
            runs: [self.transport.bytes(), self.data, &[], &[]],
            cut: self.cut,
        }
    }

    /// IP header, transport header, data.
    pub(super) fn runs(&self) -> [&[u8]; 3] {
        [self.header.bytes(), self.transport.bytes(), self.data]
    }
}

/// Hands the frames that `packet` stands for to `take`, one after the other, each whole, with the
/// packet's own link-layer header and finished checksums, and ends at the first error that it returns.
/// A packet that is no aggregate is handed out once. `scratch` holds one frame at a time.
///
/// # Errors
/// [`DropReason::TooBig`] when `scratch` is too short (65,557 bytes are always enough), or the aggregate
/// is of a kind that its own headers do not bear out (one within a tunnel, say), and what `take` returned.
pub fn finished(
    packet: &Packet<'_>,
    scratch: &mut [u8],
    mut take: impl FnMut(&[u8]) -> Result<(), DropReason>,
) -> Result<(), DropReason> {
    if packet.offload.segmentation.is_none() {
        let frame = scratch.get_mut(..packet.end).ok_or(DropReason::TooBig)?;
        frame.copy_from_slice(&packet.bytes[..packet.end]);
        finish_checksum(frame, packet.offload);
        return take(frame);
    }
    pieces(packet, |piece| {
        let length = piece.runs().iter().map(|run| run.len()).sum::<usize>() + packet.network;
        let frame = scratch.get_mut(..length).ok_or(DropReason::TooBig)?;
        let (link, mut rest) = frame.split_at_mut(packet.network);
        link.copy_from_slice(&packet.bytes[..packet.network]);
        for run in piece.runs() {
            let (place, next) = rest.split_at_mut(run.len());
            place.copy_from_slice(run);
            rest = next;
        }
        take(frame)
    })
}

/// Hands the packets that `packet` stands for to `take`, and ends at the first error that it returns.
/// A packet that is no aggregate is its only piece.
pub(super) fn pieces<'a>(
    packet: &Packet<'a>,
    mut take: impl FnMut(&mut Piece<'a>) -> Result<(), DropReason>,
) -> Result<(), DropReason> {
    let aggregate = packet.aggregate();
    let foreign = packet.offload.segmentation.is_some() && aggregate.is_none();
    let unfinished = packet.offload.checksum != ChecksumState::Finished;
    if foreign || unfinished && !packet.checksum_is_partial() {
        return Err(DropReason::TooBig);
    }
    let (transport, data) = packet.payload().split_at(packet.transport_header_length());
    let mut piece = Piece {
        header: Buffer::copy(packet.header())?,
        transport: Buffer::copy(transport)?,
        data,
        cut: Cut::of(packet),
    };
    let Some(aggregate) = aggregate else {
        if unfinished {
            finish_transport(packet, &mut piece);
        }
        return take(&mut piece);
    };
    let size = usize::from(aggregate.size);
    for start in (0..data.len().max(1)).step_by(size) {
        let end = data.len().min(start + size);
        piece.header = Buffer::copy(packet.header())?;
        piece.transport = Buffer::copy(transport)?;
        piece.data = &data[start..end];
        let length = transport.len() + end - start;
        number_header(packet, piece.header.bytes_mut(), length, (start / size) as u16);
        number_transport(packet, piece.transport.bytes_mut(), start..end, data.len());
        // A UDP sender that computes no checksum computes none for the pieces.
        if unfinished || packet.protocol() != Protocol::UDP || u16_at(transport, udp::CHECKSUM) != 0 {
            sum_transport(packet, &mut piece);
        }
        take(&mut piece)?;
    }
    Ok(())
}

/// Writes the length of the piece's payload, and the number that tells its IPv4 packet from the others.
fn number_header(packet: &Packet<'_>, header: &mut [u8], payload: usize, number: u16) {
    if packet.is_ipv4() {
        let identification = u16_at(header, ipv4::IDENTIFICATION).wrapping_add(number);
        set_u16(header, ipv4::TOTAL_LENGTH, (header.len() + payload) as u16);
        set_u16(header, ipv4::IDENTIFICATION, identification);
        ipv4::set_checksum(header);
    } else {
        set_u16(header, ipv6::PAYLOAD_LENGTH, (header.len() - ipv6::HEADER + payload) as u16);
    }
}

/// Writes what tells the transport's piece from its siblings.
fn number_transport(packet: &Packet<'_>, header: &mut [u8], part: std::ops::Range<usize>, whole: usize) {
    if packet.protocol() == Protocol::UDP {
        set_u16(header, udp::LENGTH, (udp::HEADER + part.len()) as u16);
        return;
    }
    let sequence = u32_at(header, tcp::SEQUENCE).wrapping_add(part.start as u32);
    set_u32(header, tcp::SEQUENCE, sequence);
    if part.end < whole {
        header[tcp::FLAGS] &= !LAST_ONLY;
    }
    if part.start > 0 {
        header[tcp::FLAGS] &= !TcpFlags::CWR.0;
    }
}

/// Computes the piece's checksum from nothing.
fn sum_transport(packet: &Packet<'_>, piece: &mut Piece<'_>) {
    let length = piece.transport.length + piece.data.len();
    let pseudo = Sum::pseudo_header(packet.source(), packet.destination(), packet.protocol(), length);
    if let Some(field) = packet.checksum_field() {
        set_u16(piece.transport.bytes_mut(), field, pseudo.folded());
        finish_transport(packet, piece);
    }
}

/// Completes a checksum whose field holds the pseudo-header's sum.
fn finish_transport(packet: &Packet<'_>, piece: &mut Piece<'_>) {
    if let Some(field) = packet.checksum_field() {
        let sum = Sum::ZERO.bytes(piece.transport.bytes()).bytes(piece.data);
        set_u16(piece.transport.bytes_mut(), field, finished_checksum(field, sum));
    }
}

/// A header that is changed in a place of its own.
struct Buffer<const ROOM: usize> {
    bytes: [u8; ROOM],
    length: usize,
}

impl<const ROOM: usize> Buffer<ROOM> {
    fn copy(header: &[u8]) -> Result<Self, DropReason> {
        let mut buffer = Self { bytes: [0; ROOM], length: header.len() };
        buffer.bytes.get_mut(..header.len()).ok_or(DropReason::TooBig)?.copy_from_slice(header);
        Ok(buffer)
    }

    fn bytes(&self) -> &[u8] {
        &self.bytes[..self.length]
    }

    fn bytes_mut(&mut self) -> &mut [u8] {
        &mut self.bytes[..self.length]
    }
}

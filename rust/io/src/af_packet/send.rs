//! The sending half of an interface: a transmit ring for ordinary frames, a socket for all others.

use super::abi::{SEND_OFFSET, VNET_HEADER, write_vnet};
use super::mapping::Mapping;
use super::socket::{Layout, PacketSocket};
use crate::device::Sender;
use fastlvs_core::frame::Offload;
use fastlvs_core::verdict::DropReason;
use std::io;

/// The longest frame that anybody hands over: an aggregate of 65,535 bytes with its link-layer header and
/// two VLAN tags.
const LONGEST: usize = 65_535 + 14 + 8;
/// Link-layer header with two VLAN tags.
const LINK_HEADER: usize = 14 + 8;
const SLOTS: usize = 2048;
const BLOCK: usize = 1 << 16;
/// Bytes of sent frames that the kernel may keep for us.
const BUFFER: libc::c_int = 64 << 20;

/// The sending half of an interface.
///
/// Every frame of the ring is copied into the kernel's buffer as a whole (`hdr_len` is its length): a frame whose
/// data stayed in the ring could be read by a local receiver after its slot has been used again.
#[derive(Debug)]
pub struct RingSender {
    // Before the sockets: the memory is given back first.
    memory: Mapping,
    ring: PacketSocket,
    /// Without bypass: the kernel cuts aggregates where the device cannot, and queues.
    queue: PacketSocket,
    layout: Layout,
    /// The slot that is filled next.
    slot: usize,
    /// Frames that are ready in the ring and that the kernel has not been told of.
    waiting: bool,
    /// Room for a frame that is longer than a slot.
    long: Box<[u8]>,
    /// Whether that is what was handed out last.
    long_out: bool,
    refused: u64,
}

impl RingSender {
    /// Opens the sending half of the interface of that index, whose MTU is `mtu` bytes, for frames of that mark.
    pub(super) fn open(interface: u32, mtu: u32, mark: u32) -> io::Result<Self> {
        let needed = SEND_OFFSET + VNET_HEADER + LINK_HEADER + mtu as usize;
        let slot = needed.next_power_of_two().clamp(2048, BLOCK);
        let layout = Layout { slot, block: BLOCK, blocks: SLOTS * 2048 / BLOCK };
        let ring = socket()?;
        ring.mark(mark)?;
        ring.set(libc::PACKET_QDISC_BYPASS, 1)?;
        // A frame that the kernel cannot take is skipped, and does not hold up the others.
        ring.set(libc::PACKET_LOSS, 1)?;
        let memory = ring.ring(libc::PACKET_TX_RING, layout)?;
        ring.bind(interface, 0)?;
        let queue = socket()?;
        queue.mark(mark)?;
        queue.bind(interface, 0)?;
        let long = vec![0; LONGEST].into_boxed_slice();
        Ok(Self { memory, ring, queue, layout, slot: 0, waiting: false, long, long_out: false, refused: 0 })
    }

    /// Whether the slot that comes next is free.
    fn is_free(&self) -> bool {
        let busy = libc::TP_STATUS_SEND_REQUEST | libc::TP_STATUS_SENDING;
        self.memory.status(self.layout.place(self.slot)) & busy == 0
    }

    /// Sends a frame through the kernel's own path, behind all that was sent before.
    fn send_queued(&mut self, length: usize, offload: Offload) {
        self.flush();
        // Addresses, VLAN tag and IP header: enough for the kernel to look at.
        let linear = length.min(LINK_HEADER + 128);
        let place = self.layout.place(self.slot) + SEND_OFFSET + VNET_HEADER;
        let frame: &[u8] =
            if self.long_out { &self.long[..length] } else { self.memory.bytes_mut(place, length) };
        if self.queue.send(&write_vnet(offload, linear), frame).is_err() {
            self.refused += 1;
        }
    }
}

impl Sender for RingSender {
    fn slot(&mut self, length: usize) -> Result<&mut [u8], DropReason> {
        self.long_out = length > self.layout.slot - SEND_OFFSET - VNET_HEADER;
        if self.long_out {
            return self.long.get_mut(..length).ok_or(DropReason::TooBig);
        }
        if !self.is_free() {
            self.flush();
            if !self.is_free() {
                return Err(DropReason::TxFull);
            }
        }
        let place = self.layout.place(self.slot) + SEND_OFFSET + VNET_HEADER;
        Ok(self.memory.bytes_mut(place, length))
    }

    fn send(&mut self, length: usize, offload: Offload) {
        if self.long_out || offload.segmentation.is_some() {
            return self.send_queued(length, offload);
        }
        let place = self.layout.place(self.slot);
        let whole = VNET_HEADER + length;
        let header = self.memory.bytes_mut(place + SEND_OFFSET, VNET_HEADER);
        header.copy_from_slice(&write_vnet(offload, length));
        // `tp_len` is all of `tpacket2_hdr` that a sender fills, beside the status.
        self.memory.bytes_mut(place + 4, 4).copy_from_slice(&(whole as u32).to_ne_bytes());
        self.memory.hand_over(place, libc::TP_STATUS_SEND_REQUEST);
        self.slot = (self.slot + 1) % self.layout.slots();
        self.waiting = true;
    }

    fn flush(&mut self) {
        if !self.waiting {
            return;
        }
        match self.ring.kick() {
            Ok(()) => self.waiting = false,
            // No room in the kernel right now: what waits in the ring goes with the next flush.
            Err(error)
                if matches!(error.raw_os_error(), Some(libc::EAGAIN | libc::ENOBUFS | libc::EINTR)) => {}
            Err(_) => {
                self.refused += 1;
                self.waiting = false;
            }
        }
    }

    fn refused(&mut self) -> u64 {
        std::mem::take(&mut self.refused)
    }
}

/// Sends a frame now and then, past all rings.
#[derive(Debug)]
pub struct FrameSocket(PacketSocket);

impl FrameSocket {
    /// For the interface of that index.
    ///
    /// # Errors
    /// The system's, as [`super::AfPacket::open`].
    pub fn open(interface: u32) -> io::Result<Self> {
        let socket = socket()?;
        socket.bind(interface, 0)?;
        Ok(Self(socket))
    }

    /// Whether the interface is still there. One that has gone and came back takes another socket, and other rings,
    /// even if it has its number again.
    #[must_use]
    pub fn is_bound(&self) -> bool {
        self.0.is_bound()
    }

    /// Sends a whole frame.
    ///
    /// # Errors
    /// The system's: the interface is down, there is no room.
    pub fn send(&self, frame: &[u8]) -> io::Result<()> {
        self.0.send(&write_vnet(Offload::NONE, frame.len()), frame)
    }
}

fn socket() -> io::Result<PacketSocket> {
    let socket = PacketSocket::open()?;
    socket.set(libc::PACKET_VNET_HDR, 1)?;
    socket.send_buffer(BUFFER)?;
    Ok(socket)
}

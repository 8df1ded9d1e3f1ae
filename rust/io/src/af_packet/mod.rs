//! `AF_PACKET`: rings shared with the kernel, for receiving and for sending whole frames (packet(7) and
//! the kernel's `packet_mmap` document).
//!
//! What is done here, and why (figures of veth pairs, Linux 6.18):
//!
//! * **Two receive rings for an interface**, one of small slots and one of large, told apart by the
//!   frame's length in the sockets' filters. Local senders hand over TCP aggregates of 64 KB, so there
//!   have to be slots of that size; but if all were, small packets would cost twice as much. The kernel's
//!   time stamps tell in which order the two rings are to be read.
//! * **`PACKET_VNET_HDR`** everywhere: aggregates and unfinished checksums keep what is left to be done.
//! * **`PACKET_IGNORE_OUTGOING`**, and a filter for frames that are addressed to this host (and ARP and neighbour
//!   discovery): what the director or its host sends is not looked at.
//! * **`TPACKET_V2`**: version 3 hands frames over by a timer.
//! * **A mark on all that is sent**: what goes past the queueing discipline still passes nftables' egress hook.
//! * **A transmit ring that bypasses the queueing discipline**, and a second socket that does not, for
//!   aggregates: only the kernel's own path cuts them where the device cannot.

mod abi;
mod mapping;
mod receive;
mod send;
mod socket;

pub use receive::RingReceiver;
pub use send::{FrameSocket, RingSender};

use crate::device::Device;
use std::io;

/// The rings of one interface.
#[derive(Debug)]
pub struct AfPacket {
    receiver: RingReceiver,
    sender: RingSender,
}

impl AfPacket {
    /// Opens the rings of the interface with that index, whose MTU is `mtu` bytes. What is sent bears `mark`, by
    /// which the kernel's rules know it.
    ///
    /// # Errors
    /// The system's: `EPERM` without `CAP_NET_RAW`, `ENODEV` when there is no such interface.
    pub fn open(index: u32, mtu: u32, mark: u32) -> io::Result<Self> {
        Ok(Self { receiver: RingReceiver::open(index)?, sender: RingSender::open(index, mtu, mark)? })
    }
}

impl Device for AfPacket {
    type Receiver = RingReceiver;
    type Sender = RingSender;

    fn split(self) -> (RingReceiver, RingSender) {
        (self.receiver, self.sender)
    }
}

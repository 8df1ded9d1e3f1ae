//! A packet socket and its options.

use super::mapping::Mapping;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

/// A packet socket for whole frames.
#[derive(Debug)]
pub struct PacketSocket(OwnedFd);

/// How a ring is laid out: blocks of memory, each cut into slots of one size.
#[derive(Clone, Copy, Debug)]
pub struct Layout {
    /// Bytes of a slot; a multiple of 16.
    pub slot: usize,
    /// Bytes of a block; a multiple of the page size and at least a slot.
    pub block: usize,
    /// The number of blocks.
    pub blocks: usize,
}

impl Layout {
    /// The number of slots.
    pub const fn slots(&self) -> usize {
        self.block / self.slot * self.blocks
    }

    /// Where a slot begins, in bytes from the ring's first.
    pub const fn place(&self, slot: usize) -> usize {
        let in_block = self.block / self.slot;
        slot / in_block * self.block + slot % in_block * self.slot
    }
}

impl PacketSocket {
    /// A socket that receives nothing before it is bound.
    pub fn open() -> io::Result<Self> {
        let kind = libc::SOCK_RAW | libc::SOCK_CLOEXEC;
        // SAFETY: no pointers are passed.
        let descriptor = unsafe { libc::socket(libc::AF_PACKET, kind, 0) };
        if descriptor < 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: the descriptor was just opened, and nobody else has it.
        Ok(Self(unsafe { OwnedFd::from_raw_fd(descriptor) }))
    }

    /// Receives from an interface whatever its protocol (`ETH_P_ALL`); with `protocol` 0 it only sends.
    pub fn bind(&self, interface: u32, protocol: u16) -> io::Result<()> {
        // SAFETY: all bit patterns are values of this structure, zero included.
        let mut address: libc::sockaddr_ll = unsafe { std::mem::zeroed() };
        address.sll_family = libc::AF_PACKET as u16;
        address.sll_protocol = protocol.to_be();
        address.sll_ifindex = interface.cast_signed();
        let length = size_of_val(&address) as libc::socklen_t;
        // SAFETY: the pointer is to an address of that length, which is only read.
        done(unsafe { libc::bind(self.0.as_raw_fd(), (&raw const address).cast(), length) })
    }

    /// Sets an option of packet(7).
    pub fn set<T: Copy>(&self, option: libc::c_int, value: T) -> io::Result<()> {
        self.set_at(libc::SOL_PACKET, option, value)
    }

    /// Sets an option.
    pub fn set_at<T: Copy>(&self, level: libc::c_int, option: libc::c_int, value: T) -> io::Result<()> {
        let length = size_of::<T>() as libc::socklen_t;
        // SAFETY: the pointer is to a value of that length, which is only read.
        done(unsafe {
            libc::setsockopt(self.0.as_raw_fd(), level, option, (&raw const value).cast(), length)
        })
    }

    /// Lets only those frames in that a classic BPF program accepts.
    pub fn filter(&self, program: &[libc::sock_filter]) -> io::Result<()> {
        let program = libc::sock_fprog { len: program.len() as u16, filter: program.as_ptr().cast_mut() };
        // The kernel copies the program before the call returns.
        self.set_at(libc::SOL_SOCKET, libc::SO_ATTACH_FILTER, program)
    }

    /// Lets the kernel keep so many bytes of sent frames; more than the system's limit needs
    /// `CAP_NET_ADMIN` in the first user namespace, without which the limit is what there is.
    pub fn send_buffer(&self, bytes: libc::c_int) -> io::Result<()> {
        self.set_at(libc::SOL_SOCKET, libc::SO_SNDBUFFORCE, bytes)
            .or_else(|_| self.set_at(libc::SOL_SOCKET, libc::SO_SNDBUF, bytes))
    }

    /// Gives what is sent a netfilter mark; needs `CAP_NET_ADMIN`.
    pub fn mark(&self, mark: u32) -> io::Result<()> {
        self.set_at(libc::SOL_SOCKET, libc::SO_MARK, mark)
    }

    /// Makes a ring (`PACKET_RX_RING` or `PACKET_TX_RING`), of `TPACKET_V2` slots, and maps it.
    pub fn ring(&self, option: libc::c_int, layout: Layout) -> io::Result<Mapping> {
        self.set(libc::PACKET_VERSION, libc::tpacket_versions::TPACKET_V2 as libc::c_int)?;
        let request = libc::tpacket_req {
            tp_block_size: layout.block as u32,
            tp_block_nr: layout.blocks as u32,
            tp_frame_size: layout.slot as u32,
            tp_frame_nr: layout.slots() as u32,
        };
        self.set(option, request)?;
        Mapping::new(self.0.as_fd(), layout.block * layout.blocks)
    }

    /// Frames that did not fit into the receive ring since the last call.
    pub fn drops(&self) -> u64 {
        let mut statistics = libc::tpacket_stats { tp_packets: 0, tp_drops: 0 };
        let mut length = size_of_val(&statistics) as libc::socklen_t;
        // SAFETY: the pointer is to a structure of that length, which the kernel fills.
        let result = unsafe {
            libc::getsockopt(
                self.0.as_raw_fd(),
                libc::SOL_PACKET,
                libc::PACKET_STATISTICS,
                (&raw mut statistics).cast(),
                &raw mut length,
            )
        };
        if result == 0 { u64::from(statistics.tp_drops) } else { 0 }
    }

    /// Forgets an error that keeps the socket readable, such as an interface that went down.
    pub fn clear_error(&self) {
        let (mut error, mut length): (libc::c_int, _) = (0, size_of::<libc::c_int>() as libc::socklen_t);
        // SAFETY: the pointer is to an integer of that length, which the kernel fills. Whether it can is of no
        // interest.
        unsafe {
            libc::getsockopt(
                self.0.as_raw_fd(),
                libc::SOL_SOCKET,
                libc::SO_ERROR,
                (&raw mut error).cast(),
                &raw mut length,
            )
        };
    }

    /// Whether the interface that it was bound to is still there; one that has gone never gets it back.
    pub fn is_bound(&self) -> bool {
        // SAFETY: all bit patterns are values of this structure, zero included.
        let mut address: libc::sockaddr_ll = unsafe { std::mem::zeroed() };
        let mut length = size_of_val(&address) as libc::socklen_t;
        // SAFETY: the pointer is to an address of that length, which the kernel fills.
        let result =
            unsafe { libc::getsockname(self.0.as_raw_fd(), (&raw mut address).cast(), &raw mut length) };
        result == 0 && address.sll_ifindex > 0
    }

    /// Has the kernel send what is ready in the transmit ring, without waiting for room.
    pub fn kick(&self) -> io::Result<()> {
        // SAFETY: without a buffer nothing is read or written but the ring.
        let result = unsafe { libc::send(self.0.as_raw_fd(), std::ptr::null(), 0, libc::MSG_DONTWAIT) };
        if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
    }

    /// Sends one frame behind its virtio header.
    pub fn send(&self, vnet: &[u8], frame: &[u8]) -> io::Result<()> {
        let part =
            |bytes: &[u8]| libc::iovec { iov_base: bytes.as_ptr().cast_mut().cast(), iov_len: bytes.len() };
        let mut parts = [part(vnet), part(frame)];
        // SAFETY: all bit patterns are values of this structure, zero included.
        let mut message: libc::msghdr = unsafe { std::mem::zeroed() };
        message.msg_iov = parts.as_mut_ptr();
        message.msg_iovlen = parts.len() as _;
        // SAFETY: the message and both slices that it points to outlive the call, and are only read.
        let result = unsafe { libc::sendmsg(self.0.as_raw_fd(), &raw const message, libc::MSG_DONTWAIT) };
        if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
    }
}

impl AsFd for PacketSocket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

fn done(result: libc::c_int) -> io::Result<()> {
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slots_do_not_straddle_blocks() {
        let layout = Layout { slot: 69_632, block: 1 << 20, blocks: 2 };
        assert_eq!(layout.slots(), 30);
        assert_eq!(layout.place(14), 14 * 69_632);
        assert_eq!(layout.place(15), 1 << 20);
    }
}

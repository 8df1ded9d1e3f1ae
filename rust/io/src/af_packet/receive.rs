//! The receive rings of an interface.

use super::abi::{VNET_HEADER, moved, read_vnet};
use super::mapping::Mapping;
use super::socket::{Layout, PacketSocket};
use crate::device::{Received, Receiver};
use libc::{BPF_ABS, BPF_B, BPF_JEQ, BPF_JGE, BPF_JMP, BPF_K, BPF_LD, BPF_LEN, BPF_RET, BPF_W};
use std::io;
use std::os::fd::{AsFd, BorrowedFd};

/// Most frames: the rest goes to the other ring.
const SMALL: Layout = Layout { slot: 2048, block: 1 << 20, blocks: 8 };
/// Aggregates of up to 64 KB, and what does not fit into a small slot.
const LARGE: Layout = Layout { slot: 69_632, block: 1 << 20, blocks: 16 };
/// Frames of at least so many bytes take a large slot: a small one holds this much behind its headers.
const LONG: u32 = 1900;

/// Length of a VLAN tag, and where it stands in a frame.
const TAG: usize = 4;
const TAG_PLACE: usize = 12;
const DEFAULT_TAG_PROTOCOL: u16 = 0x8100;

/// Both receive rings of an interface, read as one.
#[derive(Debug)]
pub struct RingReceiver {
    small: Ring,
    large: Ring,
}

impl RingReceiver {
    /// Opens the rings for the interface of that index.
    pub(super) fn open(interface: u32) -> io::Result<Self> {
        let open = |layout, filter: &[libc::sock_filter]| Ring::open(interface, layout, filter);
        Ok(Self { small: open(SMALL, &filter(false))?, large: open(LARGE, &filter(true))? })
    }

    /// Opens the rings for frames that the kernel's rules moved to the interface of that index, a loopback: those that
    /// are for others, and whose source address begins with the number `owner`.
    ///
    /// # Errors
    /// The system's, as [`super::AfPacket::open`].
    pub fn open_moved(interface: u32, owner: u32) -> io::Result<Self> {
        let open = |layout, long| Ring::open(interface, layout, &moved_filter(owner, long));
        Ok(Self { small: open(SMALL, false)?, large: open(LARGE, true)? })
    }

    /// The ring whose next frame came first.
    ///
    /// A frame of the small ring may only be taken when the large one was seen to hold none that is
    /// older, *after* the small one's was there: the kernel fills the rings in the order of the frames of a
    /// flow, so what is older is visible by then. The same the other way round.
    fn next(&mut self) -> Option<&mut Ring> {
        let (mut small, mut large) = (self.small.head(), self.large.head());
        if small.is_none() && large.is_some() {
            small = self.small.head();
        }
        if large.is_none() && small.is_some() {
            large = self.large.head();
        }
        match (small, large) {
            (None, None) => None,
            (Some(_), None) => Some(&mut self.small),
            (Some(small), Some(large)) if small <= large => Some(&mut self.small),
            (_, Some(_)) => Some(&mut self.large),
        }
    }
}

impl Receiver for RingReceiver {
    fn receive(&mut self, budget: usize, mut take: impl FnMut(Received<'_>)) -> usize {
        for taken in 0..budget {
            match self.next() {
                Some(ring) => ring.take(&mut take),
                None => return taken,
            }
        }
        budget
    }

    fn descriptors(&self) -> Vec<BorrowedFd<'_>> {
        vec![self.small.socket.as_fd(), self.large.socket.as_fd()]
    }

    fn missed(&mut self) -> u64 {
        [&self.small, &self.large].map(|ring| ring.socket.drops()).iter().sum()
    }

    fn recover(&mut self) {
        self.small.socket.clear_error();
        self.large.socket.clear_error();
    }
}

/// One ring, and the slot that the kernel fills next.
#[derive(Debug)]
struct Ring {
    // Before the socket: the memory is given back first.
    memory: Mapping,
    socket: PacketSocket,
    layout: Layout,
    slot: usize,
}

impl Ring {
    fn open(interface: u32, layout: Layout, filter: &[libc::sock_filter]) -> io::Result<Self> {
        let socket = PacketSocket::open()?;
        socket.set(libc::PACKET_VNET_HDR, 1)?;
        socket.set(libc::PACKET_IGNORE_OUTGOING, 1)?;
        socket.filter(filter)?;
        let memory = socket.ring(libc::PACKET_RX_RING, layout)?;
        socket.bind(interface, libc::ETH_P_ALL as u16)?;
        Ok(Self { memory, socket, layout, slot: 0 })
    }

    /// When the next frame came (seconds, nanoseconds), if it is there.
    fn head(&mut self) -> Option<(u32, u32)> {
        let place = self.layout.place(self.slot);
        if self.memory.status(place) & libc::TP_STATUS_USER == 0 {
            return None;
        }
        let header = Header::read(&mut self.memory, place);
        Some((header.seconds, header.nanoseconds))
    }

    /// Hands out the next frame, which is there, and gives its slot back.
    fn take(&mut self, take: &mut impl FnMut(Received<'_>)) {
        let place = self.layout.place(self.slot);
        let status = self.memory.status(place);
        let header = Header::read(&mut self.memory, place);
        let (start, length) = (usize::from(header.frame), header.kept as usize);
        // The virtio header stands right in front of the frame.
        let bytes = self.memory.bytes_mut(place + start - VNET_HEADER, VNET_HEADER + length);
        let (vnet, _) = bytes.split_first_chunk().expect("as long as the header and more");
        let offload = read_vnet(*vnet);
        let truncated = header.kept < header.whole;
        if status & libc::TP_STATUS_VLAN_VALID == 0 || length < TAG_PLACE {
            take(Received { bytes: &bytes[VNET_HEADER..], offload, truncated });
        } else {
            // The kernel took the tag out. The addresses move over the virtio header, which has been read.
            let frame = &mut bytes[VNET_HEADER - TAG..];
            frame.copy_within(TAG..TAG + TAG_PLACE, 0);
            let given = status & libc::TP_STATUS_VLAN_TPID_VALID != 0;
            let protocol = if given { header.tag_protocol } else { DEFAULT_TAG_PROTOCOL };
            frame[TAG_PLACE..TAG_PLACE + 2].copy_from_slice(&protocol.to_be_bytes());
            frame[TAG_PLACE + 2..TAG_PLACE + TAG].copy_from_slice(&header.tag.to_be_bytes());
            take(Received { bytes: frame, offload: moved(offload, TAG as u16), truncated });
        }
        self.memory.hand_over(place, libc::TP_STATUS_KERNEL);
        self.slot = (self.slot + 1) % self.layout.slots();
    }
}

/// What stands in front of a frame (`struct tpacket2_hdr`), as far as it is of use here.
struct Header {
    whole: u32,
    kept: u32,
    frame: u16,
    seconds: u32,
    nanoseconds: u32,
    tag: u16,
    tag_protocol: u16,
}

impl Header {
    fn read(memory: &mut Mapping, place: usize) -> Self {
        let bytes = memory.bytes_mut(place, size_of::<libc::tpacket2_hdr>());
        let word = |at: usize| u32::from_ne_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]]);
        let half = |at: usize| u16::from_ne_bytes([bytes[at], bytes[at + 1]]);
        Self {
            whole: word(4),
            kept: word(8),
            frame: half(12),
            seconds: word(16),
            nanoseconds: word(20),
            tag: half(24),
            tag_protocol: half(26),
        }
    }
}

/// The filter of a ring: frames addressed to this host, ARP to everybody, and neighbour discovery to the groups of
/// its addresses; of them the long ones, or the others.
fn filter(long: bool) -> [libc::sock_filter; 18] {
    const ALL: u32 = u32::MAX;
    const REJECT: u32 = 0;
    // Behind an Ethernet header: IPv6's next header, and the type of an ICMPv6 message that follows at once.
    const NEXT_HEADER: u32 = 14 + 6;
    const TYPE: u32 = 14 + 40;
    const SOLICITATION: u32 = 135;
    const ADVERTISEMENT: u32 = 136;
    let (at_least, below) = if long { (ALL, REJECT) } else { (REJECT, ALL) };
    let ancillary = |what: i32| (libc::SKF_AD_OFF + what).cast_unsigned();
    let protocol = ancillary(libc::SKF_AD_PROTOCOL);
    [
        statement(BPF_LD | BPF_W | BPF_ABS, ancillary(libc::SKF_AD_PKTTYPE)),
        jump(BPF_JEQ, u32::from(libc::PACKET_HOST), 11, 0),
        jump(BPF_JEQ, u32::from(libc::PACKET_MULTICAST), 3, 0),
        jump(BPF_JEQ, u32::from(libc::PACKET_BROADCAST), 0, 13),
        statement(BPF_LD | BPF_W | BPF_ABS, protocol),
        jump(BPF_JEQ, libc::ETH_P_ARP as u32, 7, 11),
        statement(BPF_LD | BPF_W | BPF_ABS, protocol),
        jump(BPF_JEQ, libc::ETH_P_IPV6 as u32, 0, 9),
        statement(BPF_LD | BPF_B | BPF_ABS, NEXT_HEADER),
        jump(BPF_JEQ, libc::IPPROTO_ICMPV6 as u32, 0, 7),
        statement(BPF_LD | BPF_B | BPF_ABS, TYPE),
        jump(BPF_JEQ, SOLICITATION, 1, 0),
        jump(BPF_JEQ, ADVERTISEMENT, 0, 4),
        // The length, of a frame that is wanted.
        statement(BPF_LD | BPF_W | BPF_LEN, 0),
        jump(BPF_JGE, LONG, 0, 1),
        statement(BPF_RET | BPF_K, at_least),
        statement(BPF_RET | BPF_K, below),
        statement(BPF_RET | BPF_K, REJECT),
    ]
}

/// The filter of a ring for frames that were moved to a loopback, of which the long ones, or the others. The loopback's
/// own frames are for this host, so that they pass one comparison alone.
fn moved_filter(owner: u32, long: bool) -> [libc::sock_filter; 9] {
    const SOURCE: u32 = 6;
    let (at_least, below) = if long { (u32::MAX, 0) } else { (0, u32::MAX) };
    [
        statement(BPF_LD | BPF_W | BPF_ABS, (libc::SKF_AD_OFF + libc::SKF_AD_PKTTYPE).cast_unsigned()),
        jump(BPF_JEQ, u32::from(libc::PACKET_OTHERHOST), 0, 6),
        statement(BPF_LD | BPF_W | BPF_ABS, SOURCE),
        jump(BPF_JEQ, owner, 0, 4),
        statement(BPF_LD | BPF_W | BPF_LEN, 0),
        jump(BPF_JGE, LONG, 0, 1),
        statement(BPF_RET | BPF_K, at_least),
        statement(BPF_RET | BPF_K, below),
        statement(BPF_RET | BPF_K, 0),
    ]
}

fn statement(code: u32, k: u32) -> libc::sock_filter {
    libc::sock_filter { code: code as u16, jt: 0, jf: 0, k }
}

/// Goes on so many statements further when the accumulator compares, and when it does not.
fn jump(comparison: u32, k: u32, yes: u8, no: u8) -> libc::sock_filter {
    libc::sock_filter { code: (BPF_JMP | comparison | BPF_K) as u16, jt: yes, jf: no, k }
}

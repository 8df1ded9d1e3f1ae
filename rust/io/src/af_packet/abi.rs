//! The parts of `linux/if_packet.h` and `linux/virtio_net.h` that the libc crate does not have as a
//! whole, and the translation of a virtio header to what the engine calls an offload.

use fastlvs_core::frame::{ChecksumState, Offload, Segmentation, SegmentationKind};

/// Length of `struct virtio_net_hdr`, which stands in front of each frame.
pub const VNET_HEADER: usize = 10;
/// Where a frame begins in a slot of a transmit ring: behind `tpacket2_hdr`, aligned.
pub const SEND_OFFSET: usize = align(size_of::<libc::tpacket2_hdr>());

const NEEDS_CHECKSUM: u8 = 1;
const GSO_NONE: u8 = 0;
const GSO_TCP4: u8 = 1;
const GSO_TCP6: u8 = 4;
const GSO_UDP: u8 = 5;
const GSO_ECN: u8 = 0x80;

const fn align(length: usize) -> usize {
    length.next_multiple_of(libc::TPACKET_ALIGNMENT)
}

/// Reads the header in front of a frame, whose numbers are in the host's byte order.
pub fn read_vnet(header: [u8; VNET_HEADER]) -> Offload {
    let [flags, gso, rest @ ..] = header;
    let number = |place: usize| u16::from_ne_bytes([rest[place], rest[place + 1]]);
    let checksum = if flags & NEEDS_CHECKSUM == 0 {
        ChecksumState::Finished
    } else {
        ChecksumState::Partial { start: number(4), offset: number(6) }
    };
    let kind = match gso & !GSO_ECN {
        GSO_TCP4 => Some(SegmentationKind::Tcp4),
        GSO_TCP6 => Some(SegmentationKind::Tcp6),
        GSO_UDP => Some(SegmentationKind::Udp),
        _ => None,
    };
    let segmentation = kind.map(|kind| Segmentation { size: number(2), kind, ecn: gso & GSO_ECN != 0 });
    Offload { checksum, segmentation }
}

/// The header for a frame of which the kernel is to keep the first `linear` bytes in one piece.
pub fn write_vnet(offload: Offload, linear: usize) -> [u8; VNET_HEADER] {
    let mut header = [0; VNET_HEADER];
    let mut number =
        |place: usize, value: u16| header[place..place + 2].copy_from_slice(&value.to_ne_bytes());
    number(2, linear as u16);
    if let ChecksumState::Partial { start, offset } = offload.checksum {
        number(6, start);
        number(8, offset);
    }
    if let Some(segmentation) = offload.segmentation {
        number(4, segmentation.size);
    }
    if offload.checksum != ChecksumState::Finished {
        header[0] = NEEDS_CHECKSUM;
    }
    header[1] = offload.segmentation.map_or(GSO_NONE, |segmentation| {
        let kind = match segmentation.kind {
            SegmentationKind::Tcp4 => GSO_TCP4,
            SegmentationKind::Tcp6 => GSO_TCP6,
            SegmentationKind::Udp => GSO_UDP,
        };
        kind | if segmentation.ecn { GSO_ECN } else { 0 }
    });
    header
}

/// The same offload for a frame to which a VLAN tag of so many bytes was added in front of the IP header.
pub fn moved(offload: Offload, bytes: u16) -> Offload {
    let checksum = match offload.checksum {
        ChecksumState::Partial { start, offset } => ChecksumState::Partial { start: start + bytes, offset },
        ChecksumState::Finished => ChecksumState::Finished,
    };
    Offload { checksum, ..offload }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn offloads_read_back_as_written() {
        let partial = ChecksumState::Partial { start: 34, offset: 16 };
        for kind in [SegmentationKind::Tcp4, SegmentationKind::Tcp6, SegmentationKind::Udp] {
            for ecn in [false, true] {
                let segmentation = Some(Segmentation { size: 1448, kind, ecn });
                let offload = Offload { checksum: partial, segmentation };
                assert_eq!(read_vnet(write_vnet(offload, 66)), offload);
            }
        }
        assert_eq!(read_vnet(write_vnet(Offload::NONE, 60)), Offload::NONE);
        let offload = Offload { checksum: partial, segmentation: None };
        assert_eq!(moved(offload, 4).checksum, ChecksumState::Partial { start: 38, offset: 16 });
    }
}

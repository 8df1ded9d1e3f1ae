//! Which nftables tables there are, asked of the kernel itself: the program nft reads everything that is in all of
//! them before it says a name, which takes seconds where sets are large.

use super::{ANSWER_SECONDS, DATAGRAM, DUMP_TRIES, messages, receive, status};
use crate::sockopt;
use netlink_packet_core::{
    NLM_F_DUMP, NLM_F_DUMP_INTR, NLM_F_REQUEST, NLMSG_DONE, NLMSG_ERROR, NlasIterator,
};
use netlink_sys::protocols::NETLINK_NETFILTER;
use netlink_sys::{Socket, SocketAddr};
use std::io;
use std::os::fd::AsFd;

/// From `linux/netfilter/nf_tables.h`.
const NFT_MSG_NEWTABLE: u16 = 0;
const NFT_MSG_GETTABLE: u16 = 1;
const NFTA_TABLE_NAME: u16 = 1;
/// The head of each message of netfilter's: family, version, a number in network order.
const HEAD: usize = 4;
/// What precedes it in each message of netlink's.
const HEADER: usize = 16;

/// The names of all nftables tables of the family `netdev` in this network namespace. Needs `CAP_NET_ADMIN`.
pub fn netdev_tables() -> io::Result<Vec<String>> {
    let mut socket = Socket::new(NETLINK_NETFILTER)?;
    socket.bind_auto()?;
    let patience = libc::timeval { tv_sec: ANSWER_SECONDS, tv_usec: 0 };
    sockopt::set(socket.as_fd(), libc::SOL_SOCKET, libc::SO_RCVTIMEO, patience)?;
    let mut tables = Vec::new();
    for sequence in 1..=DUMP_TRIES as u32 {
        tables.clear();
        if dump(&socket, sequence, &mut tables)? {
            break;
        }
    }
    Ok(tables)
}

/// Reads the names. Says whether there was no change meanwhile.
fn dump(socket: &Socket, sequence: u32, tables: &mut Vec<String>) -> io::Result<bool> {
    socket.send_to(&request(sequence), &SocketAddr::new(0, 0), 0)?;
    let mut buffer = vec![0; DATAGRAM];
    let mut still = true;
    loop {
        let length = receive(socket, &mut buffer, 0).map_err(|error| {
            let late = error.kind() == io::ErrorKind::WouldBlock;
            if late { io::Error::new(io::ErrorKind::TimedOut, "no answer from nfnetlink") } else { error }
        })?;
        for (header, payload) in messages(&buffer[..length]).filter(|(h, _)| h.sequence_number == sequence) {
            still &= header.flags & NLM_F_DUMP_INTR == 0;
            match header.message_type {
                NLMSG_DONE | NLMSG_ERROR => return status(payload).map(|()| still),
                kind if kind == kind_of(NFT_MSG_NEWTABLE) => tables.extend(name(payload)),
                _ => {}
            }
        }
    }
}

fn request(sequence: u32) -> [u8; HEADER + HEAD] {
    let mut request = [0; HEADER + HEAD];
    request[0..4].copy_from_slice(&((HEADER + HEAD) as u32).to_ne_bytes());
    request[4..6].copy_from_slice(&kind_of(NFT_MSG_GETTABLE).to_ne_bytes());
    request[6..8].copy_from_slice(&(NLM_F_REQUEST | NLM_F_DUMP).to_ne_bytes());
    request[8..12].copy_from_slice(&sequence.to_ne_bytes());
    request[HEADER] = libc::NFPROTO_NETDEV as u8;
    request
}

/// A kind of message of the subsystem nftables.
const fn kind_of(message: u16) -> u16 {
    (libc::NFNL_SUBSYS_NFTABLES as u16) << 8 | message
}

/// The name in a message about a table.
fn name(payload: &[u8]) -> Option<String> {
    let attributes = NlasIterator::new(payload.get(HEAD..)?).map_while(Result::ok);
    let name = attributes.into_iter().find(|attribute| attribute.kind() == NFTA_TABLE_NAME)?;
    let bytes = name.value().split(|byte| *byte == 0).next()?;
    String::from_utf8(bytes.to_vec()).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_read_and_nonsense_is_not() {
        let head = [libc::NFPROTO_NETDEV as u8, 0, 0, 9];
        // A number of rules in use, then the name.
        let message = [&head[..], &[8, 0, 3, 0, 0, 0, 0, 1], &[8, 0, 1, 0], b"abc\0"].concat();
        assert_eq!(name(&message).as_deref(), Some("abc"));
        for length in 0..message.len() {
            assert_eq!(name(&message[..length]), None, "{length} bytes");
        }
    }
}

//! Gives IP packets to the host's own stack: what the claim took from it and the engine left alone.

use crate::sockopt;
use std::io;
use std::mem::size_of;
use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd};

/// What may lie in the socket's queue, in bytes.
const SEND_BUFFER: i32 = 4 << 20;

/// The entry to the host's stack: a raw socket for each IP version. A packet sent here takes the way
/// of one that the host itself made: it is delivered if its destination is local and routed if not,
/// whoever its source claims to be. So it passes the OUTPUT hook, not PREROUTING, and its TTL stays.
#[derive(Debug)]
pub struct GiveBack {
    v4: OwnedFd,
    /// Or the errno that says why there is none.
    v6: Result<OwnedFd, i32>,
}

impl GiveBack {
    /// Opens the sockets; needs `CAP_NET_RAW`. A host without IPv6 is an error only for the IPv6 packet
    /// that is given back to it.
    pub fn open() -> io::Result<Self> {
        let v4 = open_socket(libc::AF_INET, libc::IPPROTO_IP, libc::IP_HDRINCL)?;
        let v6 = open_socket(libc::AF_INET6, libc::IPPROTO_IPV6, libc::IPV6_HDRINCL)
            .map_err(|error| error.raw_os_error().unwrap_or(libc::EAFNOSUPPORT));
        Ok(Self { v4, v6 })
    }

    /// Hands over one packet, from its IP header on, with finished checksums; its destination is the
    /// header's. Never waits: an error of kind `WouldBlock` says that the queue is full, `EMSGSIZE` that the
    /// packet is longer than the MTU of its way. The kernel writes the IPv4 header's length and checksum
    /// itself, and an identification where that is 0.
    pub fn send(&self, datagram: &[u8]) -> io::Result<()> {
        match datagram.first().map(|byte| byte >> 4) {
            Some(4) => {
                let destination = octets(datagram, 16)?;
                let address = libc::sockaddr_in {
                    sin_family: libc::AF_INET as libc::sa_family_t,
                    sin_port: 0,
                    sin_addr: libc::in_addr { s_addr: u32::from_ne_bytes(destination) },
                    sin_zero: [0; 8],
                };
                send_to(&self.v4, datagram, &address)
            }
            Some(6) => {
                let s6_addr = octets(datagram, 24)?;
                let socket = self.v6.as_ref().map_err(|errno| io::Error::from_raw_os_error(*errno))?;
                let address = libc::sockaddr_in6 {
                    sin6_family: libc::AF_INET6 as libc::sa_family_t,
                    sin6_port: 0,
                    sin6_flowinfo: 0,
                    sin6_addr: libc::in6_addr { s6_addr },
                    sin6_scope_id: 0,
                };
                send_to(socket, datagram, &address)
            }
            _ => Err(io::ErrorKind::InvalidInput.into()),
        }
    }
}

fn open_socket(family: i32, level: i32, header_included: i32) -> io::Result<OwnedFd> {
    // SAFETY: socket(2) takes no pointer.
    let fd = unsafe { libc::socket(family, libc::SOCK_RAW | libc::SOCK_CLOEXEC, libc::IPPROTO_RAW) };
    if fd < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the kernel just gave us this descriptor, and nobody else knows it.
    let socket = unsafe { OwnedFd::from_raw_fd(fd) };
    sockopt::set(socket.as_fd(), level, header_included, 1_i32)?;
    sockopt::set_buffer(socket.as_fd(), libc::SO_SNDBUFFORCE, libc::SO_SNDBUF, SEND_BUFFER)?;
    Ok(socket)
}

/// The `N` bytes of the header from `start` on.
fn octets<const N: usize>(datagram: &[u8], start: usize) -> io::Result<[u8; N]> {
    datagram
        .get(start..)
        .and_then(|rest| rest.first_chunk().copied())
        .ok_or(io::ErrorKind::InvalidInput.into())
}

/// `A` must be the address structure of the socket's family.
fn send_to<A>(socket: &OwnedFd, datagram: &[u8], address: &A) -> io::Result<()> {
    // SAFETY: both pointers come with the lengths of what they point to, which lives until the call
    // returns; the kernel only reads it.
    let result = unsafe {
        libc::sendto(
            socket.as_raw_fd(),
            datagram.as_ptr().cast(),
            datagram.len(),
            libc::MSG_DONTWAIT,
            std::ptr::from_ref(address).cast(),
            size_of::<A>() as libc::socklen_t,
        )
    };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

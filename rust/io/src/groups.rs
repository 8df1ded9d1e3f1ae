//! Membership in IPv6 multicast groups: the device lets their frames in, and the kernel tells switches so (MLD).

use crate::sockopt;
use std::io;
use std::net::Ipv6Addr;
use std::os::fd::{AsFd, FromRawFd, OwnedFd};

/// The memberships of a director, for as long as it lives. What is said to the groups is read elsewhere: this
/// socket is bound to no port, and receives nothing.
#[derive(Debug)]
pub struct Groups(OwnedFd);

impl Groups {
    /// Without any membership.
    pub fn open() -> io::Result<Self> {
        // SAFETY: socket(2) takes no pointer.
        let fd = unsafe { libc::socket(libc::AF_INET6, libc::SOCK_DGRAM | libc::SOCK_CLOEXEC, 0) };
        if fd < 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: the kernel just gave us this descriptor, and nobody else knows it.
        Ok(Self(unsafe { OwnedFd::from_raw_fd(fd) }))
    }

    /// Joins `group` on the interface of that index. An error of kind `AddrInUse` says that it had been joined.
    pub fn join(&self, interface: u32, group: Ipv6Addr) -> io::Result<()> {
        self.set(libc::IPV6_ADD_MEMBERSHIP, interface, group)
    }

    /// Leaves it again.
    pub fn leave(&self, interface: u32, group: Ipv6Addr) -> io::Result<()> {
        self.set(libc::IPV6_DROP_MEMBERSHIP, interface, group)
    }

    fn set(&self, option: i32, interface: u32, group: Ipv6Addr) -> io::Result<()> {
        let request = libc::ipv6_mreq {
            ipv6mr_multiaddr: libc::in6_addr { s6_addr: group.octets() },
            ipv6mr_interface: interface,
        };
        sockopt::set(self.0.as_fd(), libc::IPPROTO_IPV6, option, request)
    }
}

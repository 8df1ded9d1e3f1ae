//! What the kernel says of links, addresses, routes and neighbours, kept up to date over rtnetlink.

mod event;
mod message;
mod state;
mod tables;

pub use event::{Address, Link, Route, RouteKind};
pub use state::{Changed, State};
pub use tables::netdev_tables;

use crate::sockopt;
use event::Event;
use netlink_packet_core::{
    NLM_F_CREATE, NLM_F_DUMP, NLM_F_DUMP_INTR, NLM_F_REQUEST, NLMSG_DONE, NLMSG_ERROR, NetlinkHeader,
    NetlinkMessage, NetlinkPayload,
};
use netlink_packet_route::address::AddressMessage;
use netlink_packet_route::link::LinkMessage;
use netlink_packet_route::neighbour::{NeighbourAttribute, NeighbourFlags, NeighbourMessage};
use netlink_packet_route::route::RouteMessage;
use netlink_packet_route::{AddressFamily, RouteNetlinkMessage};
use netlink_sys::protocols::NETLINK_ROUTE;
use netlink_sys::{Socket, SocketAddr};
use state::Outcome;
use std::io;
use std::net::IpAddr;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd};

/// Holds some ten thousand notifications, so that a burst of them seldom costs a second dump.
const RECEIVE_BUFFER: i32 = 8 << 20;
/// The kernel fills at most 32 KiB at once.
const DATAGRAM: usize = 64 << 10;
/// A dump during which a table changed is taken again, so often at most; the notifications of the
/// change set right what the last one lacks.
const DUMP_TRIES: usize = 8;
/// What one [`Monitor::update`] reads at most, so that it ends even while the kernel keeps talking.
const UPDATE_DATAGRAMS: usize = 65_536;
/// How long the kernel may take for an answer; it answers at once.
const ANSWER_SECONDS: libc::time_t = 5;

const GROUPS: [u32; 7] = [
    libc::RTNLGRP_LINK,
    libc::RTNLGRP_NEIGH,
    libc::RTNLGRP_IPV4_IFADDR,
    libc::RTNLGRP_IPV4_ROUTE,
    libc::RTNLGRP_IPV6_IFADDR,
    libc::RTNLGRP_IPV6_ROUTE,
    libc::RTNLGRP_NEXTHOP,
];

/// Follows the network of the namespace that it was opened in. Readable (poll(2)) when there is
/// something for [`Monitor::update`].
#[derive(Debug)]
pub struct Monitor {
    /// Subscribed to the groups; requests without an answer go out here too.
    notices: Socket,
    /// Dumps have a socket of their own, whose answers no notification interrupts.
    requests: Socket,
    sequence: u32,
    state: State,
    /// Whether only a dump can tell what the state is.
    unsure: bool,
    buffer: Vec<u8>,
}

impl Monitor {
    /// Subscribes, then reads everything: in this order nothing is missed. Needs no privilege; with
    /// `CAP_NET_ADMIN` the receive buffer is larger.
    pub fn open() -> io::Result<Self> {
        let mut monitor = Self {
            notices: open_socket()?,
            requests: open_socket()?,
            sequence: 0,
            state: State::default(),
            unsure: false,
            buffer: vec![0; DATAGRAM],
        };
        let notices = monitor.notices.as_fd();
        sockopt::set_buffer(notices, libc::SO_RCVBUFFORCE, libc::SO_RCVBUF, RECEIVE_BUFFER)?;
        for group in GROUPS {
            monitor.notices.add_membership(group)?;
        }
        let patience = libc::timeval { tv_sec: ANSWER_SECONDS, tv_usec: 0 };
        sockopt::set(monitor.requests.as_fd(), libc::SOL_SOCKET, libc::SO_RCVTIMEO, patience)?;
        monitor.state = monitor.dump()?;
        Ok(monitor)
    }

    /// The network as of the last [`Monitor::update`].
    #[must_use]
    pub fn state(&self) -> &State {
        &self.state
    }

    /// Takes in all notifications that are queued, without waiting for more. Reads everything anew
    /// when the kernel had to drop some, or when one has consequences that the kernel tells nobody
    /// (IPv4 routes go silently with a link or a next hop object, on older kernels with an address
    /// too). After an error, the next call does.
    pub fn update(&mut self) -> io::Result<Changed> {
        let mut changed = Changed::default();
        for _ in 0..UPDATE_DATAGRAMS {
            let length = match receive(&self.notices, &mut self.buffer, libc::MSG_DONTWAIT) {
                Ok(length) => length,
                Err(error) => match error.raw_os_error() {
                    Some(libc::EAGAIN) => break,
                    Some(libc::ENOBUFS) => {
                        self.unsure = true;
                        continue;
                    }
                    _ => return Err(error),
                },
            };
            // The rest of the queue is older than the dump to come: it is only drained.
            if self.unsure {
                continue;
            }
            for (header, payload) in messages(&self.buffer[..length]) {
                match Event::parse(&header, payload).map(|event| self.state.apply(event)) {
                    None | Some(Outcome::Nothing) => {}
                    Some(Outcome::Network) => changed.network = true,
                    Some(Outcome::Neighbours) => changed.neighbours = true,
                    Some(Outcome::Unsure) => self.unsure = true,
                }
            }
        }
        if self.unsure {
            let state = self.dump()?;
            let more = self.state.difference(&state);
            changed.network |= more.network;
            changed.neighbours |= more.neighbours;
            self.state = state;
            self.unsure = false;
        }
        Ok(changed)
    }

    /// Makes the kernel find out the link-layer address of a neighbour, or confirm the one that it
    /// knows, by its own ARP or neighbour discovery. The answer comes as a notification, and so does
    /// the failure. An entry that an administrator made is left alone: asking would take its
    /// permanence away. Needs `CAP_NET_ADMIN`.
    pub fn resolve(&self, link: u32, address: IpAddr) -> io::Result<()> {
        if self.state.is_permanent(link, address) {
            return Ok(());
        }
        let mut request = NeighbourMessage::default();
        request.header.family = match address {
            IpAddr::V4(_) => AddressFamily::Inet,
            IpAddr::V6(_) => AddressFamily::Inet6,
        };
        request.header.ifindex = link;
        request.header.flags = NeighbourFlags::Use;
        request.attributes.push(NeighbourAttribute::Destination(address.into()));
        send(&self.notices, RouteNetlinkMessage::NewNeighbour(request), NLM_F_REQUEST | NLM_F_CREATE, 0)
    }

    /// Everything as the kernel has it now.
    fn dump(&mut self) -> io::Result<State> {
        let mut events = Vec::new();
        for request in [
            RouteNetlinkMessage::GetLink(LinkMessage::default()),
            RouteNetlinkMessage::GetAddress(AddressMessage::default()),
            RouteNetlinkMessage::GetRoute(RouteMessage::default()),
            RouteNetlinkMessage::GetNeighbour(NeighbourMessage::default()),
        ] {
            let start = events.len();
            for _ in 0..DUMP_TRIES {
                events.truncate(start);
                if self.dump_table(request.clone(), &mut events)? {
                    break;
                }
            }
        }
        Ok(State::from_dump(events))
    }

    /// Reads one table. Says whether it stood still meanwhile.
    fn dump_table(&mut self, request: RouteNetlinkMessage, events: &mut Vec<Event>) -> io::Result<bool> {
        self.sequence += 1;
        send(&self.requests, request, NLM_F_REQUEST | NLM_F_DUMP, self.sequence)?;
        let mut still = true;
        loop {
            let length = receive(&self.requests, &mut self.buffer, 0).map_err(|error| {
                let late = error.kind() == io::ErrorKind::WouldBlock;
                if late { io::Error::new(io::ErrorKind::TimedOut, "no answer from rtnetlink") } else { error }
            })?;
            for (header, payload) in messages(&self.buffer[..length]) {
                if header.sequence_number != self.sequence {
                    continue;
                }
                still &= header.flags & NLM_F_DUMP_INTR == 0;
                match header.message_type {
                    NLMSG_DONE | NLMSG_ERROR => return status(payload).map(|()| still),
                    _ => events.extend(Event::parse(&header, payload)),
                }
            }
        }
    }
}

impl AsFd for Monitor {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.notices.as_fd()
    }
}

impl AsRawFd for Monitor {
    fn as_raw_fd(&self) -> RawFd {
        self.notices.as_raw_fd()
    }
}

fn open_socket() -> io::Result<Socket> {
    let mut socket = Socket::new(NETLINK_ROUTE)?;
    socket.bind_auto()?;
    Ok(socket)
}

fn send(socket: &Socket, request: RouteNetlinkMessage, flags: u16, sequence: u32) -> io::Result<()> {
    let mut message = NetlinkMessage::new(NetlinkHeader::default(), NetlinkPayload::InnerMessage(request));
    message.header.flags = flags;
    message.header.sequence_number = sequence;
    message.finalize();
    let mut bytes = vec![0; message.buffer_len()];
    message.serialize(&mut bytes);
    socket.send_to(&bytes, &SocketAddr::new(0, 0), 0).map(drop)
}

/// Reads one datagram of the kernel's; 0 bytes for anybody else's.
fn receive(socket: &Socket, buffer: &mut [u8], flags: i32) -> io::Result<usize> {
    loop {
        match socket.recv_from(&mut &mut buffer[..], flags) {
            Ok((length, sender)) => return Ok(if sender.port_number() == 0 { length } else { 0 }),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

/// The messages of a datagram, up to the first whose length is nonsense.
fn messages(datagram: &[u8]) -> impl Iterator<Item = (NetlinkHeader, &[u8])> {
    let mut rest = datagram;
    std::iter::from_fn(move || {
        let (header, payload) = message::split(rest)?;
        rest = rest.get((header.length as usize).next_multiple_of(4)..).unwrap_or_default();
        Some((header, payload))
    })
}

/// The end of a dump: an errno, negative, or 0.
fn status(payload: &[u8]) -> io::Result<()> {
    match payload.first_chunk().map_or(0, |code| i32::from_ne_bytes(*code)) {
        0 => Ok(()),
        code => Err(io::Error::from_raw_os_error(-code)),
    }
}

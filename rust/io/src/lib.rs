//! Where frames come from and go to, and what the kernel says of the network: everything that talks
//! to the operating system. Nothing here decides about a packet.

pub mod af_packet;
pub mod capability;
pub mod device;
pub mod groups;
pub mod memory;
pub mod netlink;
pub mod pcap;
pub mod raw;
pub mod wake;

mod sockopt;

//! The LVS engine: frames in, frames out, time is an argument.
//!
//! A packet's way, and the file that each step is in:
//!
//! 1. [`packet::parse`] reads the headers once. What it cannot make sense of ends under a named
//!    [`verdict::DropReason`]; nothing below checks a length again.
//! 2. [`pipeline::Pipeline::process`] decides, and reads from top to bottom:
//!    a known connection, in either direction ([`conn::ConnectionTable::find`]);
//!    else the virtual service ([`service::ServiceTable::lookup`]) and its
//!    [`scheduler::Scheduler`], and a new connection; else the host's own stack.
//! 3. The connection's state machine runs and the packet is counted ([`conn`]).
//! 4. [`network::Network::path`] says where the real server or the client is.
//! 5. [`forward`] rewrites the packet while it copies it into the slot that the
//!    [`frame::Egress`] hands out.
//!
//! Nothing here owns a socket, reads a clock, starts a thread, logs or draws a random number. The
//! live director, an offline replay, a simulation and a unit test drive the same [`pipeline`].
//!
//! What is decided from (services, network, settings) is an immutable [`pipeline::Snapshot`]. What a
//! packet changes belongs to one worker, but for the counters and the scheduler state, which all
//! workers share and which are atomics.

pub mod capture;
pub mod conn;
pub mod counters;
pub mod forward;
pub mod frame;
pub mod marks;
pub mod net;
pub mod network;
pub mod packet;
pub mod path_mtu;
pub mod pipeline;
pub mod prefixes;
pub mod reassembly;
pub mod scheduler;
mod server;
pub mod service;
mod service_address;
mod service_key;
pub mod settings;
mod shared;
mod sources;
mod state;
pub mod time;
pub mod trace;
pub mod verdict;
pub mod wire;

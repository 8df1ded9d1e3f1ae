//! Connections and templates as others see them.

use super::State;
use crate::net::{Endpoint, Protocol};
use crate::server::Method;
use crate::time::Duration;

/// A connection as it is shown to somebody else.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ConnectionView {
    /// The transport protocol.
    pub protocol: Protocol,
    /// CIP and its port.
    pub client: Endpoint,
    /// VIP and its port.
    pub destination: Endpoint,
    /// RIP and the server's port.
    pub server: Endpoint,
    /// How packets reach the server.
    pub method: Method,
    /// Its state.
    pub state: State,
    /// Whether its server counts it as active.
    pub active: bool,
    /// What is left of its life, if no packet comes.
    pub expires: Duration,
    /// Packets from the client so far.
    pub in_packets: u32,
}

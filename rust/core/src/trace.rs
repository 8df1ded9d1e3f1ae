//! A packet's way told in the kernel model's stages, for those who want to see it. The live director
//! listens to none of it: [`NoTrace`] compiles to nothing.

use crate::net::{Endpoint, FlowKey};
use crate::server::Method;
use crate::service_key::ServiceKey;
use std::fmt;

/// Somebody who listens to a packet's way.
pub trait Trace {
    /// The packet reached a stage.
    fn stage(&mut self, stage: &Stage<'_>);
}

/// Nobody listens.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoTrace;

impl Trace for NoTrace {
    #[inline]
    fn stage(&mut self, _stage: &Stage<'_>) {}
}

/// A stage of a packet's way. `Display` gives the words that people know from netfilter and IPVS.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage<'a> {
    /// A packet came in.
    Prerouting {
        /// The interface's name.
        interface: &'a str,
        /// The packet's tuple.
        flow: FlowKey,
    },
    /// It belongs to a virtual service: a new connection.
    Service {
        /// Its name.
        service: &'a ServiceKey,
        /// Who chooses the server.
        scheduler: &'a str,
    },
    /// It belongs to a known connection, from its client.
    Connection {
        /// The connection's state before this packet.
        state: &'static str,
    },
    /// It belongs to a known connection, from its server.
    Forward {
        /// The connection's state before this packet.
        state: &'static str,
    },
    /// Its real server is known.
    RealServer {
        /// Its address and port.
        address: Endpoint,
        /// How it is reached.
        method: Method,
    },
    /// Its source was put back to what the client asked for.
    Translated {
        /// VIP and port.
        address: Endpoint,
    },
    /// It leaves.
    Postrouting {
        /// The interface's name.
        interface: &'a str,
    },
    /// It is left to the host's own stack.
    Host,
    /// The director answers in its own name.
    Answer {
        /// With what.
        what: &'static str,
    },
}

impl fmt::Display for Stage<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Prerouting { interface, .. } => write!(f, "PREROUTING {interface}"),
            Self::Service { service, scheduler } => {
                write!(f, "INPUT (service {} {scheduler})", service.to_string().to_ascii_lowercase())
            }
            Self::Connection { state } => write!(f, "INPUT (connection {state})"),
            Self::Forward { state } => write!(f, "FORWARD (connection {state})"),
            Self::RealServer { address, method } => {
                let method = match method {
                    Method::Masquerading => "masq",
                    Method::Gatewaying => "route",
                    Method::Tunneling => "tunnel",
                };
                write!(f, "real server {address} {method}")
            }
            Self::Translated { address } => write!(f, "source {address}"),
            Self::Postrouting { interface } => write!(f, "POSTROUTING {interface}"),
            Self::Host => f.write_str("the host's own stack"),
            Self::Answer { what } => write!(f, "answered: {what}"),
        }
    }
}

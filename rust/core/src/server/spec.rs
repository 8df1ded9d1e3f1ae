//! A real server as a user asks for it.

use super::{Encapsulation, Method};
use crate::net::Endpoint;

/// A real server as it is to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ServerSpec {
    /// RIP and port. With port 0 packets keep the port that they came to; so they do with any port where the method is
    /// none that translates, which only a mark's servers may then have beside the service's.
    pub endpoint: Endpoint,
    /// How packets reach it.
    pub method: Method,
    /// What its tunnel is made of, where the method is tunneling.
    pub encapsulation: Encapsulation,
    /// Its share; 0 = no new connections.
    pub weight: u32,
    /// With so many connections it gets no new ones; 0: no limit.
    pub upper_threshold: u32,
    /// Below so many it gets new ones again; 0: three quarters of the upper threshold.
    pub lower_threshold: u32,
}

impl Default for ServerSpec {
    /// A server without an address, of weight 1, reached by DR as `ipvsadm` has it.
    fn default() -> Self {
        Self {
            endpoint: Endpoint::UNSPECIFIED,
            method: Method::Gatewaying,
            encapsulation: Encapsulation::default(),
            weight: 1,
            upper_threshold: 0,
            lower_threshold: 0,
        }
    }
}

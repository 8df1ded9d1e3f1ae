//! Which of the services and servers a packet's addresses name, beside the service that it is for.

use super::{Encapsulation, Method, RealServer, ServiceTable};
use crate::net::{Endpoint, Protocol};
use std::net::IpAddr;
use std::sync::Arc;

impl ServiceTable {
    /// The server that takes tunnels at `address`, of which `fits` says whether they are such.
    #[must_use]
    pub fn tunnel_to(
        &self,
        address: IpAddr,
        fits: impl Fn(Encapsulation) -> bool,
    ) -> Option<&Arc<RealServer>> {
        self.servers().map(|(_, server)| server).find(|server| {
            server.endpoint().address == address
                && server.method() == Method::Tunneling
                && fits(server.encapsulation())
        })
    }

    /// Whether a packet from `source` comes from a masqueraded server, at the port where it serves. Those of
    /// marks serve any protocol.
    #[must_use]
    pub fn is_masqueraded(&self, protocol: Protocol, source: Endpoint) -> bool {
        self.servers().any(|(of, server)| {
            (of == protocol || of == Protocol::ANY)
                && server.endpoint() == source
                && server.method() == Method::Masquerading
        })
    }

    /// Every server, with its service's protocol.
    fn servers(&self) -> impl Iterator<Item = (Protocol, &Arc<RealServer>)> {
        let of = |service: &'_ super::VirtualService| service.key().protocol;
        self.services().iter().flat_map(move |s| s.servers().iter().map(move |server| (of(s), server)))
    }
}

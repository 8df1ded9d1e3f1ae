//! Which of the services and servers a packet's addresses name, beside the service that it is for.

use super::{Encapsulation, Method, RealServer, ServiceTable};
use crate::net::{Endpoint, Protocol};
use std::net::IpAddr;
use std::sync::Arc;

impl ServiceTable {
    /// Whether there is any service of this address family: packets of the other pass the engine by.
    #[must_use]
    pub fn serves(&self, ipv4: bool) -> bool {
        self.services().iter().any(|service| service.key().address.address.is_ipv4() == ipv4)
    }

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

    /// Whether a packet from `source` comes from a masqueraded server, at the port where it serves.
    #[must_use]
    pub fn is_masqueraded(&self, protocol: Protocol, source: Endpoint) -> bool {
        self.servers().any(|(of, server)| {
            of == protocol && server.endpoint() == source && server.method() == Method::Masquerading
        })
    }

    /// Every server, with its service's protocol.
    fn servers(&self) -> impl Iterator<Item = (Protocol, &Arc<RealServer>)> {
        let of = |service: &'_ super::VirtualService| service.key().protocol;
        self.services().iter().flat_map(move |s| s.servers().iter().map(move |server| (of(s), server)))
    }
}

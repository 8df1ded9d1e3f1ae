//! What a director is to do beside its services, and the network that follows from it.

use crate::config::{Configuration, StaticNeighbour, StaticRoute};
use crate::legs::Leg;
use crate::network;
use fastlvs_core::marks::Marks;
use fastlvs_core::net::Prefix;
use fastlvs_core::network::Network;
use fastlvs_core::service::ServiceKey;
use fastlvs_core::settings::Settings;
use fastlvs_io::netlink;
use std::net::IpAddr;
use std::sync::Arc;

/// What a director is to do, but for the services, which their table remembers as they were wished for.
#[derive(Clone, Debug)]
pub struct Wish {
    /// Which packets have marks.
    pub marks: Arc<Marks>,
    /// How the engine behaves.
    pub settings: Settings,
    /// Ways beside the kernel's.
    pub routes: Vec<StaticRoute>,
    /// Neighbours beside those that the kernel knows.
    pub neighbours: Vec<StaticNeighbour>,
}

impl Wish {
    /// What `configuration` says.
    pub fn new(configuration: &Configuration) -> Self {
        Self {
            marks: Arc::new(Marks::new(configuration.marks.clone())),
            settings: configuration.settings.clone(),
            routes: configuration.routes.clone(),
            neighbours: configuration.neighbours.clone(),
        }
    }

    /// The network as the kernel has it, with what was wished for beside; `services` are the names of all that there are.
    pub fn network<'a>(
        &self,
        kernel: &netlink::State,
        legs: &[Leg],
        services: impl Iterator<Item = &'a ServiceKey>,
        has: impl Fn(&ServiceKey) -> bool,
    ) -> Network {
        network::network(kernel, legs, &self.routes, &self.neighbours, self.vips(services, has))
    }

    /// The addresses that clients use. Blocks of them are routed to the director, so it needs not answer for these.
    fn vips<'a>(
        &self,
        services: impl Iterator<Item = &'a ServiceKey>,
        has: impl Fn(&ServiceKey) -> bool,
    ) -> impl Iterator<Item = IpAddr> {
        let named = services.filter(|key| key.mark().is_none()).filter_map(|key| key.address().alone());
        let marked = self.marks.rules().iter().filter(move |rule| has(&rule.service()));
        let alone =
            marked.map(|rule| rule.destination).filter(|block| *block == Prefix::host(block.address()));
        named.chain(alone.map(|block| block.address()))
    }
}

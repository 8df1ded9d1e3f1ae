//! What a director is to do, what the kernel says, and what follows from both for the worker and for
//! the kernel's stack.

use crate::claims::{Claims, Leftovers};
use crate::clock::Clock;
use crate::config::{Configuration, StaticNeighbour, StaticRoute};
use crate::error::Error;
use crate::network::{self, Leg};
use crate::nft;
use crate::worker::Live;
use arc_swap::ArcSwap;
use fastlvs_core::network::Network;
use fastlvs_core::pipeline::Snapshot;
use fastlvs_core::service::{ServiceSpec, ServiceTable};
use fastlvs_core::settings::Settings;
use fastlvs_io::netlink;
use std::sync::Arc;

/// Everything that the worker's snapshot is made from. Whoever changes something publishes it.
#[derive(Debug)]
pub struct Plan {
    specs: Vec<ServiceSpec>,
    services: Arc<ServiceTable>,
    settings: Settings,
    routes: Vec<StaticRoute>,
    neighbours: Vec<StaticNeighbour>,
    legs: Vec<Leg>,
    kernel: netlink::State,
    leftovers: Leftovers,
    table: nft::Table,
    /// What the kernel was told to keep away from.
    told: Claims,
    live: Arc<ArcSwap<Live>>,
    clock: Clock,
}

impl Plan {
    /// Checks the wish and tells the kernel what to keep away from. From here on the worker had better run.
    pub fn new(
        configuration: &Configuration,
        specs: &[ServiceSpec],
        kernel: netlink::State,
        live: Arc<ArcSwap<Live>>,
        clock: Clock,
    ) -> Result<Self, Error> {
        let legs = network::legs(&kernel, &configuration.interfaces)?;
        let services = Arc::new(ServiceTable::default().apply(specs, clock.now())?);
        let Configuration { settings, routes, neighbours, .. } = configuration;
        let network = network::network(&kernel, &legs, routes, neighbours, vips(specs));
        let told = Claims::new(specs, network.owned());
        let names: Vec<_> = legs.iter().map(|leg| leg.name.clone()).collect();
        let plan = Self {
            specs: specs.to_vec(),
            services,
            settings: settings.clone(),
            routes: routes.clone(),
            neighbours: neighbours.clone(),
            legs,
            kernel,
            leftovers: Leftovers::default(),
            table: nft::Table::new(&names, &told)?,
            told,
            live,
            clock,
        };
        plan.store(network);
        Ok(plan)
    }

    /// The interfaces that are served.
    pub fn legs(&self) -> &[Leg] {
        &self.legs
    }

    /// What is balanced.
    pub const fn services(&self) -> &Arc<ServiceTable> {
        &self.services
    }

    /// The same as it was wished for.
    pub fn specs(&self) -> &[ServiceSpec] {
        &self.specs
    }

    /// The network as the worker has it now.
    pub fn published(&self) -> Arc<Network> {
        Arc::clone(&self.live.load().snapshot.network)
    }

    /// What the kernel says.
    pub const fn kernel(&self) -> &netlink::State {
        &self.kernel
    }

    /// Balances `specs` from now on. Nothing changes when they are impossible.
    ///
    /// The kernel is kept away from what is new before the worker knows of it, and let at what is gone long
    /// after: in between it would answer with resets.
    pub fn apply(&mut self, specs: &[ServiceSpec]) -> Result<(), Error> {
        specs.iter().try_for_each(ServiceSpec::check)?;
        let network = self.network(specs);
        self.tell(Claims::new(specs, network.owned()).union(&self.told))?;
        let services = Arc::new(self.services.apply(specs, self.clock.now())?);
        self.leftovers.note(&self.services, &services);
        self.services = services;
        self.specs = specs.to_vec();
        self.store(network);
        Ok(())
    }

    /// Takes what else a configuration says; published with the next change.
    pub fn configure(&mut self, configuration: &Configuration) {
        self.settings = configuration.settings.clone();
        self.routes.clone_from(&configuration.routes);
        self.neighbours.clone_from(&configuration.neighbours);
    }

    /// Takes what the kernel says now.
    pub fn observe(&mut self, kernel: netlink::State) -> Result<(), Error> {
        self.kernel = kernel;
        let network = self.network(&self.specs);
        self.tell(Claims::new(&self.specs, network.owned()).union(&self.told))?;
        self.store(network);
        Ok(())
    }

    /// Lets the kernel at what the director needs no longer.
    pub fn tidy(&mut self) -> Result<(), Error> {
        self.leftovers.forget_idle();
        let live = self.live.load();
        let wanted = Claims::new(&self.specs, live.snapshot.network.owned()).union(&self.leftovers.claims());
        if wanted == self.told {
            return Ok(());
        }
        self.live.store(Arc::new(Live { claims: wanted.clone(), ..Live::clone(&live) }));
        self.tell(wanted)
    }

    fn network(&self, specs: &[ServiceSpec]) -> Network {
        network::network(&self.kernel, &self.legs, &self.routes, &self.neighbours, vips(specs))
    }

    fn tell(&mut self, claims: Claims) -> Result<(), Error> {
        if claims != self.told {
            self.table.set(&claims)?;
            self.told = claims;
        }
        Ok(())
    }

    fn store(&self, network: Network) {
        let snapshot = Snapshot {
            services: Arc::clone(&self.services),
            network: Arc::new(network),
            settings: self.settings.clone(),
        };
        self.live.store(Arc::new(Live { snapshot, claims: self.told.clone() }));
    }
}

fn vips(specs: &[ServiceSpec]) -> impl Iterator<Item = std::net::IpAddr> + '_ {
    specs.iter().map(|spec| spec.key.address.address)
}

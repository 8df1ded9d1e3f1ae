//! What a director is to do, what the kernel says, and what follows from both for the worker and for
//! the kernel's stack.

use crate::claims::{Claims, Leftovers};
use crate::clock::Clock;
use crate::config::{Configuration, StaticNeighbour, StaticRoute};
use crate::egress::{LOOPBACK, Moved};
use crate::ends::Ends;
use crate::error::Error;
use crate::network::{self, Leg};
use crate::nft;
use crate::worker::Live;
use arc_swap::ArcSwap;
use fastlvs_core::marks::{MarkRule, Marks};
use fastlvs_core::net::Prefix;
use fastlvs_core::network::Network;
use fastlvs_core::pipeline::Snapshot;
use fastlvs_core::service::{ServiceSpec, ServiceTable};
use fastlvs_core::settings::Settings;
use fastlvs_io::af_packet::RingReceiver;
use fastlvs_io::netlink;
use std::net::IpAddr;
use std::sync::Arc;

/// What a director is to do.
#[derive(Clone, Debug)]
pub struct Wish {
    /// What it balances.
    pub specs: Vec<ServiceSpec>,
    marks: Arc<Marks>,
    settings: Settings,
    routes: Vec<StaticRoute>,
    neighbours: Vec<StaticNeighbour>,
}

impl Wish {
    /// What `configuration` says, for these services.
    pub fn new(configuration: &Configuration, specs: &[ServiceSpec]) -> Self {
        Self {
            specs: specs.to_vec(),
            marks: Arc::new(Marks::new(configuration.marks.clone())),
            settings: configuration.settings.clone(),
            routes: configuration.routes.clone(),
            neighbours: configuration.neighbours.clone(),
        }
    }

    /// The same for other services.
    pub fn with_services(self, specs: &[ServiceSpec]) -> Self {
        Self { specs: specs.to_vec(), ..self }
    }

    /// The network as the kernel has it, with what was wished for beside.
    fn network(&self, kernel: &netlink::State, legs: &[Leg]) -> Network {
        network::network(kernel, legs, &self.routes, &self.neighbours, self.vips())
    }

    /// The addresses that clients use. Blocks of them are routed to the director, so it needs not answer for these.
    fn vips(&self) -> impl Iterator<Item = IpAddr> + '_ {
        let named = self.specs.iter().filter(|spec| spec.key.mark().is_none());
        let named = named.filter_map(|spec| spec.key.address().alone());
        let served = |rule: &&MarkRule| self.specs.iter().any(|spec| spec.key == rule.service());
        let marked = self.marks.rules().iter().filter(served).map(|rule| rule.destination);
        let alone = marked.filter(|block| *block == Prefix::host(block.address()));
        named.chain(alone.map(|block| block.address()))
    }

    fn claims(&self, network: &Network) -> Claims {
        Claims::new(&self.specs, &self.marks, network.owned()).on(network)
    }
}

/// Everything that the worker's snapshot is made from. Whoever changes something publishes it.
#[derive(Debug)]
pub struct Plan {
    wish: Wish,
    services: Arc<ServiceTable>,
    legs: Vec<Leg>,
    kernel: netlink::State,
    leftovers: Leftovers,
    table: nft::Table,
    /// What the kernel was told to keep away from.
    told: Claims,
    /// What the host sends from real servers of its own, while there are any.
    moved: Option<Arc<Moved>>,
    live: Arc<ArcSwap<Live>>,
    clock: Clock,
}

impl Plan {
    /// Checks the wish and tells the kernel what to keep away from. From here on the worker had better run.
    pub fn new(
        wish: Wish,
        interfaces: &[String],
        kernel: netlink::State,
        live: Arc<ArcSwap<Live>>,
        clock: Clock,
    ) -> Result<Self, Error> {
        let legs = network::legs(&kernel, interfaces)?;
        let services = Arc::new(ServiceTable::default().apply(&wish.specs, clock.now())?);
        let network = wish.network(&kernel, &legs);
        let claims = wish.claims(&network);
        let told = Claims { local: Ends::default(), ..claims.clone() };
        let names: Vec<_> = legs.iter().map(|leg| leg.name.clone()).collect();
        let table = nft::Table::new(&names, &told)?;
        let leftovers = Leftovers::default();
        let moved = None;
        let mut plan = Self { wish, services, legs, kernel, leftovers, table, told, moved, live, clock };
        plan.tell(claims)?;
        plan.store(network);
        Ok(plan)
    }

    /// The interfaces that are served.
    pub fn legs(&self) -> &[Leg] {
        &self.legs
    }

    /// What the director's own frames bear.
    pub const fn mark(&self) -> u32 {
        self.table.number()
    }

    /// What is balanced.
    pub const fn services(&self) -> &Arc<ServiceTable> {
        &self.services
    }

    /// What was wished for.
    pub const fn wish(&self) -> &Wish {
        &self.wish
    }

    /// The network as the worker has it now.
    pub fn published(&self) -> Arc<Network> {
        Arc::clone(&self.live.load().snapshot.network)
    }

    /// What the kernel says.
    pub const fn kernel(&self) -> &netlink::State {
        &self.kernel
    }

    /// Does what `wish` says from now on. Nothing changes when it is impossible.
    ///
    /// The kernel is kept away from what is new before the worker knows of it, and let at what is gone long
    /// after: in between it would answer with resets.
    pub fn apply(&mut self, wish: Wish) -> Result<(), Error> {
        wish.specs.iter().try_for_each(ServiceSpec::check)?;
        let network = wish.network(&self.kernel, &self.legs);
        self.tell(wish.claims(&network).union(&self.told))?;
        let services = Arc::new(self.services.apply(&wish.specs, self.clock.now())?);
        self.leftovers.note((&self.services, &self.wish.marks), (&services, &wish.marks));
        self.services = services;
        self.wish = wish;
        self.store(network);
        Ok(())
    }

    /// Takes what the kernel says now.
    pub fn observe(&mut self, kernel: netlink::State) -> Result<(), Error> {
        self.kernel = kernel;
        let network = self.wish.network(&self.kernel, &self.legs);
        self.tell(self.wish.claims(&network).union(&self.told))?;
        self.store(network);
        Ok(())
    }

    /// Sees to it that the kernel is still kept away; says what had to be done.
    pub fn mend(&mut self) -> Result<Vec<String>, Error> {
        self.table.mend(&self.told)
    }

    /// Lets the kernel at what the director needs no longer.
    pub fn tidy(&mut self) -> Result<(), Error> {
        self.services.estimate(self.clock.now());
        self.leftovers.forget_idle();
        let live = self.live.load();
        let network = &live.snapshot.network;
        let wanted = self.wish.claims(network).union(&self.leftovers.claims()).on(network);
        if wanted == self.told {
            return Ok(());
        }
        let live = Live { claims: wanted.clone(), ..Live::clone(&live) };
        self.live.store(Arc::new(live.clone()));
        self.tell(wanted)?;
        // Nothing is moved any more, so nobody needs to take it.
        self.live.store(Arc::new(Live { moved: self.moved.clone(), ..live }));
        Ok(())
    }

    /// Has the kernel keep away from all that. There is a ring for what the host sends before anything is moved there.
    fn tell(&mut self, claims: Claims) -> Result<(), Error> {
        if claims == self.told {
            return Ok(());
        }
        if !claims.local.is_empty() && self.moved.is_none() && self.table.can_move() {
            self.moved = Some(Arc::new(self.listen()?));
        }
        self.table.set(&claims)?;
        self.told = claims;
        if !self.table.moves() {
            self.moved = None;
        }
        Ok(())
    }

    fn listen(&self) -> Result<Moved, Error> {
        let error = |problem: String| Error::Interface { name: LOOPBACK.to_owned(), problem };
        let link =
            self.kernel.link(LOOPBACK).ok_or_else(|| error("there is none of that name".to_owned()))?;
        let ring = RingReceiver::open_moved(link.index, self.table.number());
        ring.map(Moved::new).map_err(|problem| error(problem.to_string()))
    }

    fn store(&self, network: Network) {
        let snapshot = Snapshot {
            services: Arc::clone(&self.services),
            marks: Arc::clone(&self.wish.marks),
            network: Arc::new(network),
            settings: self.wish.settings.clone(),
        };
        self.live.store(Arc::new(Live { snapshot, claims: self.told.clone(), moved: self.moved.clone() }));
    }
}

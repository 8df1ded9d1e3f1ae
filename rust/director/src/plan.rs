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
use fastlvs_core::service::{Edit, ServiceSpec, ServiceTable, VirtualService};
use fastlvs_core::settings::Settings;
use fastlvs_io::af_packet::RingReceiver;
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

    /// The network as the kernel has it, with what was wished for beside.
    fn network(&self, kernel: &netlink::State, legs: &[Leg], services: &ServiceTable) -> Network {
        network::network(kernel, legs, &self.routes, &self.neighbours, self.vips(services))
    }

    /// The addresses that clients use. Blocks of them are routed to the director, so it needs not answer for these.
    fn vips<'a>(&'a self, services: &'a ServiceTable) -> impl Iterator<Item = IpAddr> + 'a {
        let keys = services.services().iter().map(VirtualService::key);
        let named = keys.filter(|key| key.mark().is_none()).filter_map(|key| key.address().alone());
        let served = |rule: &&MarkRule| services.named(&rule.service()).is_some();
        let marked = self.marks.rules().iter().filter(served).map(|rule| rule.destination);
        let alone = marked.filter(|block| *block == Prefix::host(block.address()));
        named.chain(alone.map(|block| block.address()))
    }

    fn claims(&self, services: &ServiceTable, network: &Network) -> Claims {
        Claims::new(services.specs(), &self.marks, network.owned()).on(network)
    }
}

/// Everything that the worker's snapshot is made from. Whoever changes something publishes it.
#[derive(Debug)]
pub struct Plan {
    wish: Wish,
    /// Counts the wishes that were granted.
    generation: u64,
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
        specs: &[ServiceSpec],
        interfaces: &[String],
        kernel: netlink::State,
        live: Arc<ArcSwap<Live>>,
        clock: Clock,
    ) -> Result<Self, Error> {
        let legs = network::legs(&kernel, interfaces)?;
        let services = Arc::new(ServiceTable::default().apply(specs, clock.now())?);
        let network = wish.network(&kernel, &legs, &services);
        let claims = wish.claims(&services, &network);
        let told = Claims { local: Ends::default(), ..claims.clone() };
        let names: Vec<_> = legs.iter().map(|leg| leg.name.clone()).collect();
        let table = nft::Table::new(&names, &told)?;
        let leftovers = Leftovers::default();
        let (moved, generation) = (None, 1);
        let mut plan =
            Self { wish, generation, services, legs, kernel, leftovers, table, told, moved, live, clock };
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

    /// Counts the wishes that were granted: each makes it one more.
    pub const fn generation(&self) -> u64 {
        self.generation
    }

    /// Refuses who knows another generation of wishes than the one in force.
    pub const fn expect(&self, generation: Option<u64>) -> Result<(), Error> {
        match generation {
            Some(expected) if expected != self.generation => {
                Err(Error::Generation { expected, actual: self.generation })
            }
            _ => Ok(()),
        }
    }

    /// Makes these changes of the services, all or nothing.
    pub fn edit(&mut self, edits: &[Edit]) -> Result<u64, Error> {
        let services = self.services.edit(edits, self.clock.now())?;
        self.grant(self.wish.clone(), services)
    }

    /// Balances these services from now on, and does else what `wish` says. Nothing changes when it is impossible.
    pub fn apply(&mut self, wish: Wish, specs: &[ServiceSpec]) -> Result<u64, Error> {
        let services = self.services.apply(specs, self.clock.now())?;
        self.grant(wish, services)
    }

    /// Does else what `wish` says from now on, for the same services.
    pub fn set(&mut self, wish: Wish) -> Result<u64, Error> {
        self.grant(wish, ServiceTable::clone(&self.services))
    }

    /// Does what was wished for.
    ///
    /// The kernel is kept away from what is new before the worker knows of it, and let at what is gone long
    /// after: in between it would answer with resets.
    fn grant(&mut self, wish: Wish, services: ServiceTable) -> Result<u64, Error> {
        let network = wish.network(&self.kernel, &self.legs, &services);
        self.tell(wish.claims(&services, &network).union(&self.told))?;
        self.leftovers.note((&self.services, &self.wish.marks), (&services, &wish.marks));
        self.services = Arc::new(services);
        self.wish = wish;
        self.generation += 1;
        self.store(network);
        Ok(self.generation)
    }

    /// Takes what the kernel says now.
    pub fn observe(&mut self, kernel: netlink::State) -> Result<(), Error> {
        self.kernel = kernel;
        let network = self.wish.network(&self.kernel, &self.legs, &self.services);
        self.tell(self.wish.claims(&self.services, &network).union(&self.told))?;
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
        let wanted = self.wish.claims(&self.services, network).union(&self.leftovers.claims()).on(network);
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

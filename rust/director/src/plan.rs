//! What a director is to do, what the kernel says, and what follows from both for the worker and for
//! the kernel's stack.

use crate::claims::Claims;
use crate::clock::Clock;
use crate::enforced::Enforced;
use crate::error::Error;
use crate::legs::{Leg, Missing, legs};
use crate::links::Live;
use crate::network;
use crate::nft;
use crate::tally::{Change, Tally};
use crate::wish::Wish;
use arc_swap::ArcSwap;
use fastlvs_core::net::InterfaceId;
use fastlvs_core::network::Network;
use fastlvs_core::pipeline::Snapshot;
use fastlvs_core::service::{Checked, Edit, ServiceKey, ServiceSpec, ServiceTable};
use fastlvs_core::time::Instant;
use fastlvs_io::netlink;
use std::sync::Arc;

/// A change that is possible, and of which nothing is in force yet.
struct Step<'a> {
    wish: Wish,
    services: Checked<'a>,
    /// The network, where it changes.
    network: Option<Arc<Network>>,
    claims: Change,
}

/// What a plan begins with.
#[derive(Debug)]
pub struct Beginning<'a> {
    /// What is to be done,
    pub wish: Wish,
    /// for these services,
    pub specs: &'a [ServiceSpec],
    /// on the interfaces of these names; without any, on all that can be served.
    pub interfaces: &'a [String],
    /// What the kernel says.
    pub kernel: netlink::State,
    /// Where what the worker decides from is published.
    pub live: Arc<ArcSwap<Live>>,
    /// The director's time.
    pub clock: Clock,
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
    network: Arc<Network>,
    /// Who needs what of the claims.
    tally: Tally,
    /// Whether there may be claims that only the network needed before.
    is_network_new: bool,
    /// What the kernel is kept away from.
    enforced: Enforced,
    live: Arc<ArcSwap<Live>>,
    /// What the worker had before, until it has it no more: to free it takes long.
    retired: Vec<Arc<Live>>,
    clock: Clock,
}

impl Plan {
    /// Checks the wish and tells the kernel what to keep away from. From here on the worker had better run.
    pub fn new(beginning: Beginning<'_>) -> Result<Self, Error> {
        Self::with(nft::Table::new, beginning)
    }

    /// The same with a table of the caller's.
    fn with(
        table: impl FnOnce(Vec<(InterfaceId, String)>, &Claims) -> Result<nft::Table, Error>,
        Beginning { wish, specs, interfaces, kernel, live, clock }: Beginning<'_>,
    ) -> Result<Self, Error> {
        let legs = legs(&kernel, interfaces)?;
        let services = Arc::new(ServiceTable::default());
        let checked = services.check_all(specs)?;
        let enforced = Enforced::new(table, &legs)?;
        let mut plan = Self {
            wish: wish.clone(),
            generation: 0,
            services: Arc::clone(&services),
            legs,
            kernel,
            network: Arc::default(),
            tally: Tally::default(),
            is_network_new: false,
            enforced,
            live,
            retired: Vec::new(),
            clock,
        };
        plan.grant(Some(wish), checked)?;
        Ok(plan)
    }

    /// The interfaces that are served.
    pub fn legs(&self) -> &[Leg] {
        &self.legs
    }

    /// What the director's own frames bear.
    pub const fn mark(&self) -> u32 {
        self.enforced.mark()
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
        Arc::clone(&self.network)
    }

    /// The moment that it is.
    pub fn now(&self) -> Instant {
        self.clock.now()
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
        let services = Arc::clone(&self.services);
        self.grant(None, services.check(edits)?)
    }

    /// Balances these services from now on, and does else what `wish` says, if there is another. Nothing changes when
    /// it is impossible.
    pub fn apply(&mut self, wish: Option<Wish>, specs: &[ServiceSpec]) -> Result<u64, Error> {
        let services = Arc::clone(&self.services);
        self.grant(wish, services.check_all(specs)?)
    }

    /// Does else what `wish` says from now on, for the same services.
    pub fn set(&mut self, wish: Wish) -> Result<u64, Error> {
        let services = Arc::clone(&self.services);
        self.grant(Some(wish), services.check(&[])?)
    }

    /// Does what was wished for.
    fn grant(&mut self, wish: Option<Wish>, services: Checked<'_>) -> Result<u64, Error> {
        let step = self.prepare(wish, services);
        self.take(step)?;
        self.generation += 1;
        Ok(self.generation)
    }

    /// What a change comes to.
    fn prepare<'a>(&self, wish: Option<Wish>, services: Checked<'a>) -> Step<'a> {
        let is_new = wish.is_some();
        let wish = wish.unwrap_or_else(|| self.wish.clone());
        let mut claims = Change::default();
        let mut is_renamed = false;
        for (before, after) in services.changes() {
            is_renamed |= before.is_some() != after.is_some();
            let known = before.and_then(|spec| self.services.named(&spec.key));
            let servers = known.map_or(&[][..], |service| service.servers());
            claims.add(
                before.map(|spec| (spec, &*self.wish.marks)),
                after.map(|spec| (spec, &*wish.marks)),
                servers,
            );
        }
        if !Arc::ptr_eq(&wish.marks, &self.wish.marks) {
            let stay = self.services.services().iter().filter(|service| !services.is_about(service.key()));
            for service in stay.filter(|service| service.key().mark().is_some()) {
                let spec = &**service.spec();
                claims.add(Some((spec, &*self.wish.marks)), Some((spec, &*wish.marks)), service.servers());
            }
        }
        let network = (is_new || is_renamed).then(|| {
            Arc::new(wish.network(&self.kernel, &self.legs, services.keys(), |key| services.has(key)))
        });
        Step { wish, services, network, claims }
    }

    /// Takes a step: first the kernel is kept away from what is new, then the worker learns of it. What is gone the
    /// kernel is let at long after ([`Plan::tidy`]): in between it would answer with resets. If the kernel
    /// refuses, nothing has changed.
    fn take(&mut self, step: Step<'_>) -> Result<(), Error> {
        let Step { wish, services, network, claims } = step;
        match &network {
            Some(network) => self.enforced.add_on(network, claims.needed(), &self.kernel)?,
            None => self.enforced.add(claims.needed(), &self.network, &self.kernel)?,
        }
        self.is_network_new |= network.is_some();
        self.network = network.unwrap_or_else(|| Arc::clone(&self.network));
        self.tally.make(claims);
        self.services = Arc::new(services.make(self.clock.now()));
        self.wish = wish;
        self.store();
        Ok(())
    }

    /// Takes what the kernel says now: `changed` says in what.
    pub fn observe(&mut self, changed: netlink::Changed, kernel: &netlink::State) -> Result<(), Error> {
        if !changed.network {
            self.kernel.neighbours.clone_from(&kernel.neighbours);
            let network = Network::clone(&self.network);
            let neighbours = &self.wish.neighbours;
            self.network = Arc::new(network::with_neighbours(network, &self.kernel, &self.legs, neighbours));
            self.store();
            return Ok(());
        }
        self.kernel = kernel.clone();
        self.renew_network()
    }

    /// Lets go of interfaces that have gone: those whose names others have now, or none, and those whose rings are
    /// dead, as `is_open` says of a place. Says which are there again and not served yet.
    pub fn follow(&mut self, is_open: impl Fn(usize) -> bool) -> Vec<(InterfaceId, netlink::Link)> {
        let mut released = false;
        for (place, leg) in self.legs.iter_mut().enumerate() {
            released |= leg.release(&self.kernel, is_open(place));
        }
        if released {
            self.enforced.detach(&self.legs);
            // All that is needed beside is told again when it is tidied.
            let _later = self.renew_network();
        }
        let gone = self.legs.iter().enumerate().filter(|(_, leg)| leg.index.is_none());
        let back = gone.filter_map(|(place, leg)| Some((InterfaceId(place as u16), leg.link(&self.kernel)?)));
        back.map(|(id, link)| (id, link.clone())).collect()
    }

    /// Serves these interfaces again, whose rings the worker gets: as at the start, the kernel is kept away first.
    pub fn serve(&mut self, links: &[(InterfaceId, netlink::Link)]) -> Result<(), Error> {
        let mut legs = self.legs.clone();
        for (id, link) in links {
            legs[usize::from(id.0)].index = Some(link.index);
        }
        self.enforced.attach(&legs, &self.kernel)?;
        self.legs = legs;
        self.renew_network()
    }

    /// The interfaces by which nothing comes or goes right now.
    pub fn missing(&self) -> Vec<Missing> {
        let problem = |leg: &Leg| {
            let problem = leg.problem(&self.kernel)?.to_owned();
            Some(Missing { name: leg.name.clone(), problem })
        };
        self.legs.iter().filter_map(problem).collect()
    }

    /// The kernel's links by which packets come and go, each in its interface's place.
    pub fn links(&self) -> Vec<Option<netlink::Link>> {
        let link = |leg: &Leg| self.kernel.links.get(&leg.index?).cloned();
        self.legs.iter().map(link).collect()
    }

    /// Makes the network anew from what is known, for the worker to follow.
    fn renew_network(&mut self) -> Result<(), Error> {
        let keys = self.services.specs().map(|spec| &spec.key);
        let has = |key: &ServiceKey| self.services.named(key).is_some();
        let network = Arc::new(self.wish.network(&self.kernel, &self.legs, keys, has));
        // The worker follows the network whatever becomes of the claims.
        let told = self.enforced.add_on(&network, &[], &self.kernel);
        self.network = network;
        self.is_network_new = true;
        self.store();
        told
    }

    /// Sees to it that the kernel is still kept away; says what had to be done.
    pub fn mend(&mut self) -> Result<Vec<String>, Error> {
        self.enforced.mend()
    }

    /// Lets the kernel at everything, for good.
    pub fn end(&mut self) {
        self.enforced.end();
    }

    /// Lets the kernel at what nobody needs any longer. While it refuses, the worker goes on giving back
    /// what is not the engine's.
    pub fn tidy(&mut self) -> Result<(), Error> {
        self.tally.release_idle();
        if self.tally.unused().is_empty() && !self.is_network_new {
            return Ok(());
        }
        self.enforced.remove(self.tally.unused().iter(), &self.network, &self.kernel)?;
        self.tally.forget_unused();
        self.is_network_new = false;
        self.store();
        Ok(())
    }

    /// What the worker has no more of what it had: to be dropped where nobody waits.
    pub fn take_retired(&mut self) -> Vec<Arc<Live>> {
        self.retired.extract_if(.., |live| Arc::strong_count(live) == 1).collect()
    }

    fn store(&mut self) {
        let snapshot = Snapshot {
            services: Arc::clone(&self.services),
            marks: Arc::clone(&self.wish.marks),
            network: Arc::clone(&self.network),
            settings: self.wish.settings.clone(),
        };
        let claims = Arc::clone(self.enforced.claims());
        let live = Live { snapshot, claims, moved: self.enforced.moved().cloned() };
        self.retired.push(self.live.swap(Arc::new(live)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Configuration;
    use crate::testing::{FakeNft, LINK, kernel, service};
    use fastlvs_core::marks::{MarkRule, Marks};
    use fastlvs_core::net::{Endpoint, InterfaceId, Mac, Protocol};
    use fastlvs_core::service::{Method, ServerSpec};
    use std::sync::atomic::Ordering::Relaxed;
    use std::time::{Duration, Instant as Now};

    fn plan(specs: &[ServiceSpec]) -> (Plan, FakeNft) {
        plan_with(specs, FakeNft::default())
    }

    fn plan_with(specs: &[ServiceSpec], fake: FakeNft) -> (Plan, FakeNft) {
        let nft = fake.clone();
        let table = |interfaces: Vec<_>, claims: &Claims| nft::Table::with(Box::new(nft), interfaces, claims);
        let beginning = Beginning {
            wish: Wish::new(&Configuration::default()),
            specs,
            interfaces: &[],
            kernel: kernel(),
            live: Arc::default(),
            clock: Clock::start(),
        };
        let plan = Plan::with(table, beginning).unwrap();
        fake.told();
        (plan, fake)
    }

    const NAT: Method = Method::Masquerading;
    const DR: Method = Method::Gatewaying;

    #[test]
    fn the_kernel_is_told_the_difference_alone_and_of_what_is_gone_later() {
        let two = [service(1, &[(1, NAT)]), service(2, &[(1, NAT)])];
        let (mut plan, nft) = plan(&two);
        let key = two[0].key;
        let end = |host| Endpoint::new([10, 0, 1, host].into(), 80);
        plan.edit(&[Edit::SetWeight(key, end(1), 5)]).unwrap();
        assert_eq!(nft.told(), "", "a weight is nothing to the kernel");
        let new = ServerSpec { endpoint: end(2), method: NAT, ..ServerSpec::default() };
        plan.edit(&[Edit::AddServer(key, new), Edit::RemoveServer(key, end(1))]).unwrap();
        let told = nft.told();
        assert!(told.contains("replies4 { 6 . 10.0.1.2 . 80 }") && !told.contains("delete"), "{told}");
        assert!(told.contains("quoted_replies4 { 6 . 0xa000102 . 80 }"), "{told}");
        assert!(!told.contains("services4") && !told.contains("chain"), "{told}");
        plan.tidy().unwrap();
        let told = nft.told();
        assert!(
            told.starts_with("delete element") && told.contains("replies4 { 6 . 10.0.1.1 . 80 }"),
            "{told}"
        );
        plan.tidy().unwrap();
        assert_eq!(nft.told(), "", "nothing to do");
        assert_eq!(*plan.enforced.claims(), plan.live.load().claims);
    }

    #[test]
    fn an_old_nft_has_what_errors_quote_in_rules() {
        let specs = [service(1, &[(1, NAT)])];
        let (mut plan, nft) = plan_with(&specs, FakeNft::old());
        let new = ServerSpec {
            endpoint: Endpoint::new([10, 0, 1, 2].into(), 80),
            method: NAT,
            ..ServerSpec::default()
        };
        plan.edit(&[Edit::AddServer(specs[0].key, new)]).unwrap();
        let told = nft.told();
        assert!(
            told.contains(
                "quoted4 @th,136,8 . @th,192,32 . @th,240,16 { 6 . 0xa000101 . 80, 6 . 0xa000102 . 80 }"
            ),
            "{told}"
        );
        assert!(!told.contains("quoted_"), "{told}");
    }

    #[test]
    fn nothing_has_changed_when_the_kernel_refuses() {
        let (mut plan, nft) = plan(&[service(1, &[(1, NAT)])]);
        let key = service(1, &[]).key;
        let server = Endpoint::new([10, 0, 1, 1].into(), 80);
        let before = (plan.live.load_full(), plan.generation(), Arc::clone(plan.enforced.claims()));
        let is_as_before = |plan: &Plan| {
            assert!(Arc::ptr_eq(&plan.live.load_full(), &before.0));
            assert!(Arc::ptr_eq(plan.enforced.claims(), &before.2));
            assert_eq!(plan.generation(), before.1);
            let service = plan.services().named(&key).unwrap();
            assert_eq!((service.servers()[0].weight(), service.servers()[0].is_available()), (1, true));
        };
        nft.refuses.store(true, Relaxed);
        let edits = [
            Edit::SetWeight(key, server, 9),
            Edit::RemoveServer(key, server),
            Edit::AddService(service(2, &[(1, NAT)])),
        ];
        assert!(plan.edit(&edits).is_err());
        is_as_before(&plan);
        assert!(plan.apply(None, &[service(2, &[])]).is_err());
        is_as_before(&plan);
        let rule = MarkRule {
            destination: "192.0.2.1".parse().unwrap(),
            source: None,
            protocol: None,
            ports: 80..=80,
            mark: 7,
        };
        let marked = ServiceSpec { key: ServiceKey::of_mark(7, false), ..service(0, &[]) };
        nft.refuses.store(false, Relaxed);
        plan.edit(&[Edit::AddService(marked)]).unwrap();
        let before = plan.live.load_full();
        nft.refuses.store(true, Relaxed);
        let marks = Arc::new(Marks::new(vec![rule]));
        assert!(plan.set(Wish { marks, ..plan.wish().clone() }).is_err());
        assert!(Arc::ptr_eq(&plan.live.load_full(), &before));
        // What the table refuses the kernel is not told.
        nft.refuses.store(false, Relaxed);
        nft.told();
        assert!(plan.apply(None, &[service(3, &[]), service(3, &[])]).is_err());
        assert_eq!(nft.told(), "");
    }

    #[test]
    fn what_the_kernel_still_drops_the_worker_still_gives_back() {
        let (mut plan, nft) = plan(&[service(1, &[(1, NAT)]), service(2, &[])]);
        plan.edit(&[Edit::RemoveService(service(1, &[]).key)]).unwrap();
        nft.refuses.store(true, Relaxed);
        for _ in 0..2 {
            assert!(plan.tidy().is_err());
            let live = plan.live.load();
            assert!(live.claims.owned.contains(&"172.16.0.1".parse().unwrap()));
            assert!(live.claims.replies.contain(Protocol::TCP, "10.0.1.1:80".parse().unwrap()));
        }
        nft.refuses.store(false, Relaxed);
        plan.tidy().unwrap();
        let live = plan.live.load();
        assert_eq!((live.claims.owned.len(), live.claims.replies.is_empty()), (1, true));
    }

    #[test]
    fn a_neighbour_changes_neighbours_alone() {
        let (mut plan, nft) = plan(&[service(1, &[(1, NAT)])]);
        let before = plan.live.load_full();
        let mut kernel = kernel();
        let (address, mac) = ("10.9.9.9".parse().unwrap(), Mac([2, 0, 0, 0, 0, 9]));
        kernel.neighbours.insert((LINK, address), mac);
        plan.observe(netlink::Changed { network: false, neighbours: true }, &kernel).unwrap();
        let after = plan.live.load_full();
        assert_eq!(after.snapshot.network.neighbour(InterfaceId(0), address), Some(mac));
        assert!(Arc::ptr_eq(&before.claims, &after.claims));
        assert!(Arc::ptr_eq(&before.snapshot.services, &after.snapshot.services));
        assert_eq!(nft.told(), "");
        drop(before);
        assert_eq!(plan.take_retired().len(), 2, "nobody has them any more");
    }

    #[test]
    fn reloads_of_a_busy_dr_service_leave_nothing_behind() {
        let servers: Vec<_> = (1..=200).map(|host| (host, DR)).collect();
        let mut spec = service(1, &servers);
        let (mut plan, nft) = plan(std::slice::from_ref(&spec));
        plan.services().services()[0].servers().iter().for_each(|server| server.bind());
        for reload in 0..101 {
            spec.servers[0].weight = reload + 2;
            plan.apply(None, std::slice::from_ref(&spec)).unwrap();
            plan.tidy().unwrap();
            drop(plan.take_retired());
            assert!(plan.retired.is_empty());
        }
        assert_eq!(
            (plan.enforced.claims().replies.is_empty(), plan.enforced.claims().services.points.len()),
            (true, 1)
        );
        assert_eq!(nft.told(), "");
    }

    #[test]
    fn an_interface_that_comes_back_is_served_when_the_kernel_is_kept_away() {
        let (mut plan, nft) = plan(&[service(1, &[(1, NAT)])]);
        let network = |plan: &Plan| plan.live.load().snapshot.network.interface(InterfaceId(0)).clone();
        let all = netlink::Changed { network: true, neighbours: false };
        assert_eq!(plan.follow(|_| true), []);
        assert_eq!((plan.missing(), nft.told().as_str()), (vec![], ""));
        let before = network(&plan);

        plan.observe(all, &netlink::State::default()).unwrap();
        assert_eq!(plan.follow(|_| true), []);
        let problem = "is gone".to_owned();
        assert_eq!(plan.missing(), [Missing { name: "eth0".to_owned(), problem }]);
        assert_eq!(network(&plan).addresses, []);

        let mut again = kernel();
        let mut link = again.links.remove(&LINK).unwrap();
        (link.index, link.mac, link.mtu) = (LINK + 1, Some(Mac([2, 0, 0, 0, 0, 5])), 1400);
        again.addresses[0].link = link.index;
        again.links.insert(link.index, link.clone());
        plan.observe(all, &again).unwrap();
        let back = plan.follow(|_| true);
        assert_eq!(back, [(InterfaceId(0), link)]);
        assert_eq!(plan.missing().len(), 1, "it is there, and not served yet");
        nft.refuses.store(true, Relaxed);
        assert!(plan.serve(&back).is_err());
        assert_eq!((plan.missing().len(), network(&plan).addresses.len()), (1, 0));
        nft.refuses.store(false, Relaxed);
        nft.told();
        plan.serve(&back).unwrap();
        let told = nft.told();
        assert!(told.contains("delete table") && told.contains("devices = { \"eth0\" }"), "{told}");
        assert!(told.contains("services4 { 6 . 172.16.0.1 . 80 }"), "{told}");
        assert_eq!(plan.missing(), []);
        let after = network(&plan);
        assert_eq!((after.addresses, after.mtu), (before.addresses, 1400));
        // With its number again, and dead rings.
        assert_eq!(plan.follow(|_| false).len(), 1);
    }

    /// How long `work` takes, the shortest of three times: others use the machine too.
    fn timed(what: &str, mut work: impl FnMut()) -> Duration {
        let times = [(); 3].map(|()| {
            let begin = Now::now();
            work();
            begin.elapsed()
        });
        println!("{what}: {times:?}");
        *times.iter().min().unwrap()
    }

    /// Ten thousand services of five servers: what a change costs follows the change. Limits are for a machine that is
    /// busy with other things and a build for tests.
    #[test]
    fn a_change_costs_what_it_changes() {
        let servers = [1, 2, 3, 4, 5].map(|host| (host, NAT));
        let specs: Vec<_> = (0..10_000).map(|number| service(number, &servers)).collect();
        let (mut plan, _) = plan(&specs);
        let key = specs[5_000].key;
        let server = specs[5_000].servers[0].endpoint;
        let mut weights = 2..;
        let weight = timed("weight", || {
            plan.edit(&[Edit::SetWeight(key, server, weights.next().unwrap())]).unwrap();
        });
        let same = timed("unchanged", || _ = plan.apply(None, &specs).unwrap());
        let idle = timed("idle tidy", || plan.tidy().unwrap());
        let mut kernel = kernel();
        kernel.neighbours.insert((LINK, "10.9.9.9".parse().unwrap()), Mac([2, 0, 0, 0, 0, 9]));
        let changed = netlink::Changed { network: false, neighbours: true };
        let neighbour = timed("neighbour", || plan.observe(changed, &kernel).unwrap());
        let millis = Duration::from_millis;
        assert!(weight < millis(200) && same < millis(2000), "{weight:?} {same:?}");
        assert!(idle < millis(5) && neighbour < millis(20), "{idle:?} {neighbour:?}");
    }
}

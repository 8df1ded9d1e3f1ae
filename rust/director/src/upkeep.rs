//! The thread beside the worker: it follows what the kernel says of the network, finds neighbours out,
//! lets the kernel at what the director needs no longer, and watches who else answers for a VIP.

use crate::error::Error;
use crate::follow::Follow;
use crate::links::Event;
use crate::plan::Plan;
use crate::wanted::{Place, Wanted};
use crate::watch::Watch;
use fastlvs_core::network::{Network, Path};
use fastlvs_io::netlink::Monitor;
use fastlvs_io::wake::{PollSet, Wake};
use std::collections::HashSet;
use std::os::fd::AsFd;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, mpsc};
use std::time::{Duration, Instant};

const TICK: Duration = Duration::from_secs(1);
/// Ticks after which the kernel is asked to confirm the neighbours that the director uses: its own packets do not
/// tell it that they are reachable. Linux deems one stale after half a minute on average.
const CONFIRM: u64 = 20;
/// Ticks after which the kernel's rules are looked at.
const MEND: u64 = 5;
/// Ticks after which the links are asked who has the VIPs.
const PROBE: u64 = 30;
/// Events taken in one turn: a link that never stops talking does not keep the upkeep from all else.
const EVENTS: usize = 1024;

/// The thread's state.
#[derive(Debug)]
pub struct Upkeep {
    /// What the kernel says.
    pub monitor: Monitor,
    /// What follows from it.
    pub plan: Arc<Mutex<Plan>>,
    /// Interfaces that go and come back.
    pub follow: Follow,
    /// What the worker cannot do itself.
    pub events: mpsc::Receiver<Event>,
    /// Wakes this thread.
    pub wake: Arc<Wake>,
    /// Tells it to end.
    pub stop: Arc<AtomicBool>,
}

impl Upkeep {
    /// Works until it is told to end.
    pub fn run(mut self) -> Result<(), Error> {
        let mut watch = Watch::new(&self.plan().links());
        let mut wanted = Wanted::default();
        let mut poll = PollSet::default();
        let (mut next, mut ticks) = (Instant::now(), 0_u64);
        while !self.stop.load(Relaxed) {
            let now = Instant::now();
            if now >= next {
                self.tick(ticks, &mut wanted, &mut watch);
                (next, ticks) = (now + TICK, ticks + 1);
            }
            let descriptors = [self.monitor.as_fd(), self.wake.as_fd()];
            let readable = poll
                .wait(&descriptors, Some(next.saturating_duration_since(now)))
                .map_err(Error::platform("waiting for the kernel"))?;
            let (kernel_says, woken) = (readable.is(0), readable.is(1));
            if woken {
                self.wake.clear();
                self.take_events(&mut wanted, &mut watch);
            }
            if kernel_says {
                self.observe(&mut watch);
            }
        }
        Ok(())
    }

    fn tick(&mut self, ticks: u64, wanted: &mut Wanted, watch: &mut Watch) {
        let (services, now) = {
            let plan = self.plan();
            (Arc::clone(plan.services()), plan.now())
        };
        services.estimate(now);
        // Nothing is logged while the plan is locked: who listens may ask the director something.
        let tidied = self.plan().tidy();
        if let Err(error) = tidied {
            tracing::warn!("{error}");
        }
        if ticks % MEND == 1 {
            let mended = self.plan().mend();
            match mended {
                Ok(done) => done.iter().for_each(|done| tracing::warn!("{done}")),
                Err(error) => tracing::warn!("{error}"),
            }
        }
        let retired = self.plan().take_retired();
        drop(retired);
        self.follow.look(&self.plan, watch);
        let (network, links) = {
            let plan = self.plan();
            (plan.published(), plan.links())
        };
        watch.speak(&network, links);
        if ticks.is_multiple_of(CONFIRM) {
            let hops = self.hops_of_servers();
            let known = &self.monitor.state().neighbours;
            let answered = |place: &Place| known.contains_key(place) && !hops.contains(place);
            wanted.confirm(Instant::now(), answered, |place| self.resolve(place));
            for place in hops {
                self.resolve(place);
            }
        }
        if ticks % PROBE == 1 {
            watch.probe(&self.plan());
        }
    }

    fn take_events(&mut self, wanted: &mut Wanted, watch: &mut Watch) {
        let now = Instant::now();
        let links: Vec<_> = self.plan().legs().iter().map(|leg| leg.index).collect();
        let mut taken = 0;
        while let Ok(event) = self.events.try_recv() {
            taken += 1;
            match event {
                Event::Wanted(interface, address) => {
                    if let Some(link) = links[usize::from(interface.0)] {
                        self.resolve((link, address));
                        wanted.note((link, address), now);
                    }
                }
                Event::Claimed(interface, vip, mac) => {
                    let warning = watch.claimed(&self.plan(), interface, vip, mac);
                    if let Some(warning) = warning {
                        tracing::warn!("{warning}");
                    }
                }
            }
            if taken == EVENTS {
                self.wake.wake();
                return;
            }
        }
    }

    fn observe(&mut self, watch: &mut Watch) {
        match self.monitor.update() {
            Ok(changed) if changed.any() => {
                let observed = self.plan().observe(changed, self.monitor.state());
                if let Err(error) = observed {
                    tracing::error!("{error}");
                }
                if changed.network {
                    self.follow.look(&self.plan, watch);
                }
            }
            Ok(_) => {}
            Err(error) => tracing::error!("the kernel's network messages: {error}"),
        }
    }

    fn resolve(&self, (link, address): Place) {
        if let Err(error) = self.monitor.resolve(link, address) {
            tracing::debug!("neighbour {address}: {error}");
        }
    }

    /// The neighbours on the ways to the real servers.
    fn hops_of_servers(&self) -> HashSet<Place> {
        let plan = self.plan();
        let network: Arc<Network> = plan.published();
        let servers = plan.services().specs().flat_map(|spec| &spec.servers);
        let hop = |address| match network.path(address) {
            Some(Path::Out(output)) => {
                Some((plan.legs()[usize::from(output.hop.interface.0)].index?, output.hop.address))
            }
            _ => None,
        };
        servers.filter_map(|server| hop(server.endpoint.address)).collect()
    }

    fn plan(&self) -> MutexGuard<'_, Plan> {
        self.plan.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

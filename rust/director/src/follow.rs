//! Follows the interfaces that are served: what has gone is let go and named, what is there again is served again.

use crate::legs::Missing;
use crate::plan::Plan;
use crate::rings::Reopen;
use crate::watch::Watch;
use fastlvs_core::net::InterfaceId;
use fastlvs_io::netlink::Link;
use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// What was told of interfaces, and the way to rings for those that come back.
#[derive(Debug)]
pub struct Follow {
    rings: Box<dyn Reopen>,
    missing: Vec<Missing>,
    /// Why one that is there again cannot be served, by its name.
    refused: HashMap<String, String>,
}

impl Follow {
    /// All are there, as at the start.
    pub fn new(rings: Box<dyn Reopen>) -> Self {
        Self { rings, missing: Vec::new(), refused: HashMap::new() }
    }

    /// Looks what has become of the interfaces.
    pub fn look(&mut self, plan: &Mutex<Plan>, watch: &mut Watch) {
        self.rings.drop_replaced();
        let back = lock(plan).follow(|place| watch.is_open(place));
        self.tell(lock(plan).missing());
        let links: Vec<_> = back.into_iter().filter(|(at, link)| self.reopen(watch, *at, link)).collect();
        if links.is_empty() {
            return;
        }
        // Nothing is logged while the plan is locked: who listens may ask the director something.
        let served = lock(plan).serve(&links);
        if let Err(error) = served {
            for (_, link) in &links {
                self.refuse(&link.name, error.to_string());
            }
        }
        self.tell(lock(plan).missing());
    }

    /// The sockets of the watch before the rings: it is by these that one is known to have gone again.
    fn reopen(&mut self, watch: &mut Watch, interface: InterfaceId, link: &Link) -> bool {
        let opened = watch.attach(interface, link.index).and_then(|()| self.rings.reopen(interface, link));
        opened.inspect_err(|error| self.refuse(&link.name, error.to_string())).is_ok()
    }

    fn refuse(&mut self, name: &str, problem: String) {
        if self.refused.get(name) != Some(&problem) {
            tracing::warn!("interface {name} is there again, and cannot be served yet: {problem}");
            self.refused.insert(name.to_owned(), problem);
        }
    }

    /// Tells what has changed.
    fn tell(&mut self, missing: Vec<Missing>) {
        for missing in missing.iter().filter(|now| !self.missing.contains(now)) {
            tracing::warn!("{missing}: nothing is served by it meanwhile");
        }
        for Missing { name, .. } in &self.missing {
            if !missing.iter().any(|now| now.name == *name) {
                self.refused.remove(name);
                tracing::info!("interface {name} is there again, and is served");
            }
        }
        self.missing = missing;
    }
}

fn lock(plan: &Mutex<Plan>) -> MutexGuard<'_, Plan> {
    plan.lock().unwrap_or_else(PoisonError::into_inner)
}

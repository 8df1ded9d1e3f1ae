//! The claims in force: what the kernel's stack was told to keep away from, and the ring for what it hands over.

use crate::claims::{Claim, Claims};
use crate::error::Error;
use crate::legs::Leg;
use crate::moved::{LOOPBACK, Moved};
use crate::nft::Table;
use fastlvs_core::net::InterfaceId;
use fastlvs_core::network::Network;
use fastlvs_io::af_packet::RingReceiver;
use fastlvs_io::netlink;
use std::sync::Arc;

/// What the kernel was told last.
#[derive(Debug)]
pub struct Enforced {
    table: Table,
    /// All that is needed, and what was until a moment ago.
    claims: Arc<Claims>,
    /// What the host sends from real servers of its own, while there are any.
    moved: Option<Arc<Moved>>,
}

impl Enforced {
    /// No claims yet, in the table that `make` makes for these interfaces.
    pub fn new(
        make: impl FnOnce(Vec<(InterfaceId, String)>, &Claims) -> Result<Table, Error>,
        legs: &[Leg],
    ) -> Result<Self, Error> {
        Ok(Self { table: make(present(legs), &Claims::default())?, claims: Arc::default(), moved: None })
    }

    /// What the kernel is kept away from.
    pub const fn claims(&self) -> &Arc<Claims> {
        &self.claims
    }

    /// What the host sends from real servers of its own, while there are any.
    pub const fn moved(&self) -> Option<&Arc<Moved>> {
        self.moved.as_ref()
    }

    /// What the director's own frames bear.
    pub const fn mark(&self) -> u32 {
        self.table.number()
    }

    /// Has the kernel keep away from these too, on the network that it is kept away on.
    pub fn add(&mut self, needed: &[Claim], network: &Network, kernel: &netlink::State) -> Result<(), Error> {
        if needed.iter().all(|claim| self.claims.has(claim)) {
            return Ok(());
        }
        self.add_on(network, needed, kernel)
    }

    /// The same on another network, with what that needs beside.
    pub fn add_on(
        &mut self,
        network: &Network,
        needed: &[Claim],
        kernel: &netlink::State,
    ) -> Result<(), Error> {
        let mut claims = Claims::clone(&self.claims);
        for claim in needed.iter().filter(|claim| !self.claims.has(claim)) {
            claims.insert(claim);
        }
        claims.owned.extend(network.owned());
        let local = claims.clone().on(network).local;
        claims.local.extend(&local);
        self.set(claims, kernel)
    }

    /// Lets the kernel at these, and at addresses that `network` does not own.
    pub fn remove<'a>(
        &mut self,
        unused: impl Iterator<Item = &'a Claim>,
        network: &Network,
        kernel: &netlink::State,
    ) -> Result<(), Error> {
        let mut claims = Claims::clone(&self.claims);
        unused.for_each(|claim| claims.remove(claim));
        claims.owned = network.owned().iter().copied().collect();
        self.set(claims.on(network), kernel)
    }

    /// Has the kernel keep away from just that. There is a ring for what the host sends before anything is moved there.
    fn set(&mut self, claims: Claims, kernel: &netlink::State) -> Result<(), Error> {
        if claims == *self.claims {
            return Ok(());
        }
        let mut moved = self.moved.clone();
        if !claims.local.is_empty() && moved.is_none() && self.table.can_move() {
            moved = Some(Arc::new(self.listen(kernel)?));
        }
        self.table.change(&self.claims, &claims)?;
        self.claims = Arc::new(claims);
        self.moved = moved.filter(|_| self.table.moves());
        Ok(())
    }

    fn listen(&self, kernel: &netlink::State) -> Result<Moved, Error> {
        let error = |problem: String| Error::Interface { name: LOOPBACK.to_owned(), problem };
        let link = kernel.link(LOOPBACK).ok_or_else(|| error("there is none of that name".to_owned()))?;
        let ring = RingReceiver::open_moved(link.index, self.table.number());
        ring.map(Moved::new).map_err(|problem| error(problem.to_string()))
    }

    /// Sees to it that the kernel is still kept away; says what had to be done.
    pub fn mend(&mut self) -> Result<Vec<String>, Error> {
        self.table.mend(&self.claims)
    }

    /// Knows by now that some interfaces have gone: these are left.
    pub fn detach(&mut self, left: &[Leg]) {
        self.table.detach(present(left));
    }

    /// Keeps the kernel away on all these interfaces, some of which are there again.
    pub fn attach(&mut self, all: &[Leg], kernel: &netlink::State) -> Result<(), Error> {
        // What could not be moved before may be now.
        let mut moved = self.moved.clone();
        if !self.claims.local.is_empty() && moved.is_none() {
            moved = Some(Arc::new(self.listen(kernel)?));
        }
        self.table.attach(present(all), &self.claims)?;
        self.moved = moved.filter(|_| self.table.moves());
        Ok(())
    }

    /// Lets the kernel at everything, for good.
    pub fn end(&mut self) {
        self.table.end();
    }
}

/// The interfaces that are there, with their places.
fn present(legs: &[Leg]) -> Vec<(InterfaceId, String)> {
    let there = legs.iter().enumerate().filter(|(_, leg)| leg.index.is_some());
    there.map(|(place, leg)| (InterfaceId(place as u16), leg.name.clone())).collect()
}

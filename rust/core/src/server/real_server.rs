//! A real server: who it is, what it may take, what it carries.

use super::load::Load;
use super::{Account, Encapsulation, Method, ServerSpec, Statistics};
use crate::net::Endpoint;
use crate::shared::{AtomicU8, AtomicU32, AtomicU64};
use crate::time::Instant;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

/// Names a real server for the life of its service table; never 0, never used twice.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct ServerId(pub u32);

/// A real server of one virtual service. Shared by identity between service tables, connections and
/// schedulers, so that its counters and connections outlive every edit.
///
/// The fields that change are atomics of their own: readers want each value, never several that belong
/// together, so `Relaxed` is enough for all of them; what belongs together is in its load.
pub struct RealServer {
    id: ServerId,
    endpoint: Endpoint,
    method: AtomicU8,
    encapsulation: AtomicU32,
    last_weight: AtomicU32,
    load: Load,
    persistent: AtomicU32,
    /// Of the inactive connections those that are over.
    over: AtomicU32,
    /// When its last connection or template ended, in nanoseconds.
    left: AtomicU64,
    /// What it has been sent and what came back.
    pub statistics: Statistics,
    /// What its service has, which counts the packets of its connections.
    account: Arc<Account>,
}

impl RealServer {
    /// A server without connections.
    #[must_use]
    pub fn new(id: ServerId, endpoint: Endpoint, method: Method, weight: u32) -> Self {
        Self {
            id,
            endpoint,
            method: AtomicU8::new(method as u8),
            encapsulation: AtomicU32::new(Encapsulation::Ipip.number()),
            last_weight: AtomicU32::new(weight),
            load: Load::new(weight),
            persistent: AtomicU32::new(0),
            over: AtomicU32::new(0),
            left: AtomicU64::new(0),
            statistics: Statistics::default(),
            account: Arc::new(Account::new(None)),
        }
    }

    /// The same as a server of the service with that account.
    pub(crate) fn of(self, account: &Arc<Account>) -> Self {
        Self { account: Arc::clone(account), ..self }
    }

    /// What its service and all connections to it share.
    #[must_use]
    pub fn account(&self) -> &Account {
        &self.account
    }

    /// Its name within the service table.
    #[must_use]
    pub const fn id(&self) -> ServerId {
        self.id
    }

    /// Its address (RIP) and port.
    #[must_use]
    pub const fn endpoint(&self) -> Endpoint {
        self.endpoint
    }

    /// How packets reach it.
    #[must_use]
    pub fn method(&self) -> Method {
        Method::from_number(self.method.load(Relaxed))
    }

    /// What its tunnel is made of, where its method is [`Method::Tunneling`].
    #[must_use]
    pub fn encapsulation(&self) -> Encapsulation {
        Encapsulation::from_number(self.encapsulation.load(Relaxed))
    }

    /// Its share, relative to its siblings'; 0 = quiesced: no new connections.
    #[must_use]
    pub fn weight(&self) -> u32 {
        self.load.cell().weight()
    }

    /// The weight that schedulers go by: the configured one, or 0, for a server that is not to be chosen, where its upper
    /// threshold keeps new connections away, or it was deleted and a worker still has the list with it.
    #[must_use]
    pub fn effective_weight(&self) -> u32 {
        self.load.cell().effective_weight()
    }

    /// The latest weight that was not 0 since it was added; 0 when there was none.
    #[must_use]
    pub fn last_weight(&self) -> u32 {
        self.last_weight.load(Relaxed)
    }

    /// Connections that count as active (spec: TCP established or opening).
    #[must_use]
    pub fn active(&self) -> u32 {
        self.load.cell().active()
    }

    /// All its other connections.
    #[must_use]
    pub fn inactive(&self) -> u32 {
        self.load.cell().inactive()
    }

    /// Connections that are not over: all but those that both sides have done with, which are inactive and
    /// remembered for a while yet.
    #[must_use]
    pub fn unfinished(&self) -> u64 {
        self.load.cell().total().saturating_sub(self.over.load(Relaxed).into())
    }

    /// Persistence templates that name it.
    #[must_use]
    pub fn persistent(&self) -> u32 {
        self.persistent.load(Relaxed)
    }

    /// The upper and the lower connection threshold; 0 = none.
    #[must_use]
    pub fn thresholds(&self) -> (u32, u32) {
        self.load.thresholds()
    }

    /// Whether it is configured in its service (a deleted server lives on for its connections).
    #[must_use]
    pub fn is_available(&self) -> bool {
        self.load.cell().is_available()
    }

    /// Whether its upper threshold keeps new connections away.
    #[must_use]
    pub fn is_overloaded(&self) -> bool {
        self.load.cell().is_overloaded()
    }

    /// Whether a scheduler may choose it: its effective weight is above 0.
    #[must_use]
    pub fn is_usable(&self) -> bool {
        self.effective_weight() > 0
    }

    /// Takes the values with which it is added, for the first time or again: an earlier weight is forgotten.
    pub(crate) fn begin(&self, spec: &ServerSpec) {
        self.last_weight.store(spec.weight, Relaxed);
        self.set(spec);
    }

    /// Takes the values of an edit.
    pub(crate) fn set(&self, spec: &ServerSpec) {
        self.method.store(spec.method as u8, Relaxed);
        self.set_encapsulation(spec.encapsulation);
        self.set_weight(spec.weight);
        self.set_thresholds(spec.upper_threshold, spec.lower_threshold);
    }

    /// Sets the weight.
    pub fn set_weight(&self, weight: u32) {
        self.load.cell().set_weight(weight);
        if weight != 0 {
            self.last_weight.store(weight, Relaxed);
        }
    }

    /// Says what its tunnel is made of.
    pub fn set_encapsulation(&self, encapsulation: Encapsulation) {
        self.encapsulation.store(encapsulation.number(), Relaxed);
    }

    /// Says whether it is configured.
    pub fn set_available(&self, available: bool) {
        self.load.cell().set_available(available);
    }

    /// Sets the thresholds as an edit does: a raised or removed upper one lifts the overload.
    pub fn set_thresholds(&self, upper: u32, lower: u32) {
        self.load.set_thresholds(upper, lower);
    }

    /// A new connection is bound: inactive until its state says otherwise.
    pub fn bind(&self) {
        self.load.add();
    }

    /// A connection ended at `when`.
    pub fn unbind(&self, was_active: bool, when: Instant) {
        self.left.fetch_max(when.as_nanos(), Relaxed);
        self.load.remove(was_active);
    }

    /// A connection became active, or ceased to be.
    pub fn set_active(&self, active: bool) {
        self.load.cell().set_active(active);
    }

    /// A connection is over, or goes on or away after all.
    pub fn set_over(&self, over: bool) {
        if over {
            self.over.fetch_add(1, Relaxed);
        } else {
            self.over.fetch_sub(1, Relaxed);
        }
    }

    /// A persistence template is bound. It counts for no threshold, but lets them be looked at.
    pub fn bind_template(&self) {
        self.persistent.fetch_add(1, Relaxed);
        self.load.after_more();
    }

    /// A persistence template ended at `when`.
    pub fn unbind_template(&self, when: Instant) {
        self.left.fetch_max(when.as_nanos(), Relaxed);
        self.persistent.fetch_sub(1, Relaxed);
        self.load.after_less();
    }

    /// When its last connection or template ended; `None` while it has any.
    #[must_use]
    pub fn idle_since(&self) -> Option<Instant> {
        let idle = self.load.cell().total() == 0 && self.persistent() == 0;
        idle.then(|| Instant::from_nanos(self.left.load(Relaxed)))
    }
}

impl fmt::Debug for RealServer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RealServer")
            .field("id", &self.id.0)
            .field("endpoint", &self.endpoint)
            .field("method", &self.method())
            .field("weight", &self.weight())
            .field("active", &self.active())
            .field("inactive", &self.inactive())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn methods_have_every_name_that_people_use() {
        for (name, method) in [
            ("nat", Method::Masquerading),
            ("masq", Method::Masquerading),
            ("DR", Method::Gatewaying),
            ("gate", Method::Gatewaying),
            ("ipip", Method::Tunneling),
        ] {
            assert_eq!(Method::from_name(name), Some(method));
            assert_eq!(Method::from_name(method.name()), Some(method));
        }
        assert_eq!(Method::from_name("bypass"), None);
    }
}

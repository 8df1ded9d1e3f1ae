//! What all snapshots of a service, its servers and its connections share.

use super::Statistics;
use crate::service_key::ServiceKey;
use crate::settings::Timeouts;
use crate::state::State;
use crate::time::Duration;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};

/// What all snapshots of a service and its connections share.
#[derive(Debug)]
pub struct Account {
    /// The service's name; `None`: a server's own, which is in no service.
    service: Option<ServiceKey>,
    /// What the service has been sent and what came back.
    pub statistics: Statistics,
    /// Timeouts of its own, in milliseconds, by state; 0: the director's. `Relaxed`: each counts for
    /// itself, from the next packet on.
    timeouts: [AtomicU32; State::COUNT],
}

impl Account {
    /// Of the service of that name.
    pub(crate) fn new(service: Option<ServiceKey>) -> Self {
        let timeouts = [const { AtomicU32::new(0) }; State::COUNT];
        Self { service, statistics: Statistics::default(), timeouts }
    }

    /// The service's name, if it is that of a service.
    #[must_use]
    pub const fn service(&self) -> Option<&ServiceKey> {
        self.service.as_ref()
    }

    /// How long a connection of the service is kept in `state`, where the director says `general`.
    #[must_use]
    pub fn timeout(&self, state: State, general: &Timeouts) -> Duration {
        match self.timeouts[state.number()].load(Relaxed) {
            0 => general.of(state),
            millis => Duration::from_millis(millis.into()),
        }
    }

    pub(crate) fn set_timeouts(&self, wanted: &[(State, Duration)]) {
        let mut millis = [0; State::COUNT];
        for (state, timeout) in wanted {
            millis[state.number()] = u32::try_from(timeout.as_millis()).unwrap_or(u32::MAX).max(1);
        }
        for (timeout, millis) in self.timeouts.iter().zip(millis) {
            timeout.store(millis, Relaxed);
        }
    }
}

//! Services as they are read: each with the places of its parts, so that what is wrong with the whole
//! is reported where the offending part stands.

use super::{ConfigError, Place, SchedulerName, ServiceConfig};
use fastlvs_core::service::SpecError;
use std::collections::HashMap;
use std::collections::hash_map::Entry;

/// A service and where its parts stand.
#[derive(Debug)]
pub struct Draft {
    pub service: ServiceConfig,
    pub places: Places,
    /// One for each server.
    pub servers: Vec<Places>,
}

/// Where something stands, and where what is said about it.
#[derive(Clone, Debug)]
pub struct Places {
    /// What names it.
    pub name: Place,
    /// Parts, by the names that `director.toml` has for them.
    pub parts: Vec<(&'static str, Place)>,
}

/// The finished services, if there is nothing wrong with any.
pub fn finish(drafts: Vec<Draft>) -> Result<Vec<ServiceConfig>, ConfigError> {
    let mut known = HashMap::with_capacity(drafts.len());
    for draft in &drafts {
        let key = draft.service.key;
        match known.entry(key) {
            Entry::Vacant(entry) => entry.insert(&draft.places.name),
            Entry::Occupied(first) => {
                let line = first.get().line.map_or(String::new(), |line| format!(", first in line {line}"));
                return Err(draft.places.name.error(format!("service {key} is defined twice{line}")));
            }
        };
        draft.check()?;
    }
    Ok(drafts.into_iter().map(|draft| draft.service).collect())
}

impl Draft {
    /// Checks the service by the engine's own rules.
    fn check(&self) -> Result<(), ConfigError> {
        let scheduler = match &self.service.scheduler {
            SchedulerName::BuiltIn(name) => name,
            SchedulerName::Python(_) => &self.service.fallback,
        };
        let spec = self.service.with_scheduler(scheduler.clone());
        spec.check().map_err(|error| self.place(&error).error(&error))
    }

    fn place(&self, error: &SpecError) -> &Place {
        let (endpoint, occurrence, part) = match error {
            SpecError::UnknownScheduler(..) | SpecError::TooManyServers(..) => {
                return self.places.of("scheduler");
            }
            SpecError::OnePacket(..) => return self.places.of("one_packet"),
            SpecError::NoTime(..) => return self.places.of("persistence"),
            SpecError::MaskFamily(..) => return self.places.of("netmask"),
            SpecError::DuplicateServer(_, endpoint) => (endpoint, 1, "address"),
            SpecError::OtherPort(_, endpoint)
            | SpecError::NotUnicast(_, endpoint)
            | SpecError::OtherFamily(_, endpoint) => (endpoint, 0, "address"),
            SpecError::TunnelPort(_, endpoint) => (endpoint, 0, "tunnel_port"),
            SpecError::Weight(_, endpoint, _) => (endpoint, 0, "weight"),
            SpecError::Thresholds(_, endpoint, ..) => (endpoint, 0, "lower_threshold"),
            _ => return &self.places.name,
        };
        let mut places = self.service.servers.iter().zip(&self.servers);
        let found = places.by_ref().filter(|(server, _)| server.endpoint == *endpoint).nth(occurrence);
        found.map_or(&self.places.name, |(_, places)| places.of(part))
    }
}

impl Places {
    /// Where a part stands; what does not stand anywhere is the whole's.
    pub fn of(&self, part: &str) -> &Place {
        self.parts.iter().find(|(name, _)| *name == part).map_or(&self.name, |(_, place)| place)
    }
}

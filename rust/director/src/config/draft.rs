//! Services as they are read: each with the places of its parts, so that what is wrong with the whole
//! is reported where the offending part stands.

use super::{ConfigError, Place, SchedulerName, ServiceConfig};
use fastlvs_core::service::SpecError;

/// A service and where its parts stand.
#[derive(Debug)]
pub struct Draft {
    pub service: ServiceConfig,
    pub address: Place,
    pub scheduler: Place,
    /// One for each server.
    pub servers: Vec<Place>,
}

/// The finished services, if there is nothing wrong with any.
pub fn finish(drafts: Vec<Draft>) -> Result<Vec<ServiceConfig>, ConfigError> {
    for (number, draft) in drafts.iter().enumerate() {
        let key = draft.service.key;
        if let Some(first) = drafts[..number].iter().find(|d| d.service.key == key) {
            let line = first.address.line.map_or(String::new(), |line| format!(", first in line {line}"));
            return Err(draft.address.error(format!("service {key} is defined twice{line}")));
        }
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
        let (endpoint, occurrence) = match error {
            SpecError::UnknownScheduler(..) => return &self.scheduler,
            SpecError::DuplicateServer(_, endpoint) => (endpoint, 1),
            SpecError::OtherPort(_, endpoint)
            | SpecError::NotUnicast(_, endpoint)
            | SpecError::OtherFamily(_, endpoint)
            | SpecError::Weight(_, endpoint, _) => (endpoint, 0),
            _ => return &self.address,
        };
        let mut places = self.service.servers.iter().zip(&self.servers);
        let found = places.by_ref().filter(|(server, _)| server.endpoint == *endpoint).nth(occurrence);
        found.map_or(&self.address, |(_, place)| place)
    }
}

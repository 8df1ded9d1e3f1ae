//! What a director is to do, as plain values.

use super::{ConfigError, Place};
use fastlvs_core::conn::State;
use fastlvs_core::marks::MarkRule;
use fastlvs_core::net::{Mac, Prefix};
use fastlvs_core::scheduler::{NAMES, SchedulerFlags};
use fastlvs_core::service::{Method, Persistence, SchedulerSpec, ServerSpec, ServiceKey, ServiceSpec};
use fastlvs_core::settings::Settings;
use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

/// What a director is to do.
#[derive(Clone, Debug)]
pub struct Configuration {
    /// The interfaces that it serves; none: every one that is up, but lo.
    pub interfaces: Vec<String>,
    /// What it balances.
    pub services: Vec<ServiceConfig>,
    /// Which packets get a mark.
    pub marks: Vec<MarkRule>,
    /// How its engine behaves.
    pub settings: Settings,
    /// Link-layer addresses that need not be asked for.
    pub neighbours: Vec<StaticNeighbour>,
    /// Ways beside those that the kernel knows.
    pub routes: Vec<StaticRoute>,
    /// How long the worker looks for packets after the last one before it sleeps.
    pub spin: Duration,
    /// A pcap file that takes every frame that passes.
    pub capture: Option<PathBuf>,
}

impl Default for Configuration {
    fn default() -> Self {
        Self {
            interfaces: Vec::new(),
            services: Vec::new(),
            marks: Vec::new(),
            settings: Settings::default(),
            neighbours: Vec::new(),
            routes: Vec::new(),
            spin: Duration::from_micros(500),
            capture: None,
        }
    }
}

/// A virtual service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServiceConfig {
    /// Its protocol, VIP and port, or its mark.
    pub key: ServiceKey,
    /// Who chooses its servers.
    pub scheduler: SchedulerName,
    /// The built-in scheduler that decides when one in Python fails.
    pub fallback: String,
    /// Options of the scheduler.
    pub flags: SchedulerFlags,
    /// Whether and how long a client stays with its server.
    pub persistence: Option<Persistence>,
    /// Whether every UDP datagram is scheduled for itself.
    pub one_packet: bool,
    /// States whose timeout differs from the director's.
    pub timeouts: Vec<(State, Duration)>,
    /// How packets reach servers that say nothing else.
    pub forwarding: Method,
    /// Its real servers, in the order in which they are added.
    pub servers: Vec<ServerSpec>,
    /// Where it is defined, for errors.
    pub place: Place,
}

/// Who chooses the servers of a service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SchedulerName {
    /// A built-in scheduler by its `ipvsadm` name.
    BuiltIn(String),
    /// `python:module:Class`.
    Python(String),
}

/// A neighbour's link-layer address, given by hand.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StaticNeighbour {
    /// Its address.
    pub address: IpAddr,
    /// Its link-layer address.
    pub mac: Mac,
    /// The interface that it is on; `None`: the one whose network holds the address.
    pub interface: Option<String>,
}

/// A route given by hand. It has a router or an interface, or both.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StaticRoute {
    /// Where it leads.
    pub destination: Prefix,
    /// The router; `None`: the destination is on the link.
    pub via: Option<IpAddr>,
    /// The way out; `None`: the interface whose network holds the router.
    pub interface: Option<String>,
    /// The longest packet that it takes, in bytes; `None`: as the interface says.
    pub mtu: Option<u32>,
}

impl Configuration {
    /// The services in the engine's words. A scheduler in Python is an error: it needs an interpreter.
    pub fn specs(&self) -> Result<Vec<ServiceSpec>, ConfigError> {
        self.services.iter().map(ServiceConfig::spec).collect()
    }
}

impl ServiceConfig {
    /// Whether both say the same of a service, wherever they are defined.
    #[must_use]
    pub fn says_the_same(&self, other: &Self) -> bool {
        let Self {
            key,
            scheduler,
            fallback,
            flags,
            persistence,
            one_packet,
            timeouts,
            forwarding,
            servers,
            place: _,
        } = self;
        (key, scheduler, fallback, flags) == (&other.key, &other.scheduler, &other.fallback, &other.flags)
            && (persistence, one_packet) == (&other.persistence, &other.one_packet)
            && (timeouts, forwarding, servers) == (&other.timeouts, &other.forwarding, &other.servers)
    }

    /// A service of that name without servers, with the defaults of `ipvsadm`.
    pub(super) fn new(key: ServiceKey, place: Place) -> Self {
        Self {
            key,
            scheduler: SchedulerName::BuiltIn("wlc".to_owned()),
            fallback: "wlc".to_owned(),
            flags: SchedulerFlags::default(),
            persistence: None,
            one_packet: false,
            timeouts: Vec::new(),
            forwarding: Method::default(),
            servers: Vec::new(),
            place,
        }
    }

    fn spec(&self) -> Result<ServiceSpec, ConfigError> {
        let name = match &self.scheduler {
            SchedulerName::BuiltIn(name) => name.clone(),
            SchedulerName::Python(name) => {
                let file = if self.place.file.is_empty() { "FILE" } else { &self.place.file };
                let message = format!(
                    "scheduler {name:?} is in Python, which fastlvs-run does not have; run it with: fastlvs run {file}"
                );
                return Err(self.place.error(message));
            }
        };
        let spec = self.with_scheduler(name);
        spec.check().map_err(|error| self.place.error(error))?;
        Ok(spec)
    }

    /// The service in the engine's words, scheduled by the built-in scheduler `name`.
    pub(super) fn with_scheduler(&self, name: String) -> ServiceSpec {
        ServiceSpec {
            key: self.key,
            scheduler: SchedulerSpec::Named(name),
            flags: self.flags,
            persistence: self.persistence,
            one_packet: self.one_packet,
            timeouts: self.timeouts.clone(),
            servers: self.servers.clone(),
        }
    }
}

impl SchedulerName {
    /// The scheduler that a configuration calls `name`; an error says what was expected.
    pub fn parse(name: &str) -> Result<Self, String> {
        if NAMES.contains(&name) {
            return Ok(Self::BuiltIn(name.to_owned()));
        }
        match name.strip_prefix("python:").and_then(|rest| rest.split_once(':')) {
            Some((module, class)) if !module.is_empty() && !class.is_empty() && !class.contains(':') => {
                Ok(Self::Python(name.to_owned()))
            }
            _ => Err(format!(
                "expected a scheduler: one of {}, or python:MODULE:CLASS, got {name:?}",
                NAMES.join(" ")
            )),
        }
    }
}

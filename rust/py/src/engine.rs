//! `fastlvs._core.Engine`: a pipeline, its snapshot and its time, driven by hand.

use crate::connections::Connections;
use crate::convert::{self, FrameBytes, Moment, Name, Text};
use crate::edit::Edit;
use crate::errors;
use crate::outcome::{self, Outcome, Way};
use crate::scheduler::Schedulers;
use crate::service::Spec;
use crate::settings::{WantedMark, WantedSettings};
use crate::table::Services;
use crate::words;
use fastlvs_core::capture::Capture;
use fastlvs_core::frame::{Frame, Offload};
use fastlvs_core::marks::{MarkRule, Marks};
use fastlvs_core::net::{InterfaceId, Mac, MacParseError, Prefix};
use fastlvs_core::network::{Interface, Network, Path, Route, RouteKind};
use fastlvs_core::pipeline::{Pipeline, Snapshot};
use fastlvs_core::service::{ServiceAddress, ServiceKey, ServiceTable, SpecError};
use fastlvs_core::time::Instant;
use fastlvs_core::trace::{NoTrace, Trace};
use fastlvs_core::verdict::DropReason;
use fastlvs_director::Error;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyList};
use std::net::IpAddr;
use std::sync::Arc;

/// Nobody attacks an engine that is driven by hand, and the same frames are to give the same results.
const HASH_KEY: (u64, u64) = (0x6661_7374, 0x6c76_7300);

/// A pipeline, its snapshot and its time.
#[pyclass(module = "fastlvs._core")]
pub struct Engine {
    pipeline: Pipeline,
    snapshot: Snapshot,
    now: Instant,
    schedulers: Schedulers,
    generation: u64,
}

#[pymethods]
impl Engine {
    #[new]
    fn new(
        interfaces: Vec<WantedInterface>,
        routes: Vec<WantedRoute>,
        neighbours: Vec<(IpAddr, String)>,
        local: Vec<Text<Prefix>>,
        owned: Vec<IpAddr>,
    ) -> PyResult<Self> {
        let network = network(interfaces, routes)?
            .with_local(local.into_iter().map(|Text(prefix)| prefix))
            .with_owned(owned);
        let network = Arc::new(with_neighbours(network, neighbours)?);
        let snapshot = Snapshot { network, ..Snapshot::default() };
        let pipeline = Pipeline::new(HASH_KEY);
        Ok(Self { pipeline, snapshot, now: Instant::ZERO, schedulers: Schedulers::new(), generation: 0 })
    }

    fn process(&mut self, interface: Name, frame: FrameBytes, now: Moment) -> PyResult<Outcome> {
        let interface = self.interface(&interface.0)?;
        let mut way = Way::default();
        let outcome = self.take(interface, &frame, now.0, &mut way);
        Ok(outcome.with_way(way))
    }

    fn process_many(
        &mut self,
        py: Python<'_>,
        interface: Name,
        frames: &Bound<'_, PyAny>,
        times: &Bound<'_, PyAny>,
    ) -> PyResult<Vec<Outcome>> {
        let interface = self.interface(&interface.0)?;
        let frames = convert::several::<FrameBytes>(frames, "a list of frames", "frames")?;
        let times = convert::several::<Moment>(times, "a list of seconds", "times")?;
        if frames.len() != times.len() {
            let message = format!("expected a time for each frame, got {} for {}", times.len(), frames.len());
            return Err(errors::configuration(message, Some("times")));
        }
        let taken = frames.iter().zip(times);
        Ok(py.detach(|| taken.map(|(frame, now)| self.take(interface, frame, now.0, &mut NoTrace)).collect()))
    }

    fn process_output(&mut self, interface: Name, frame: FrameBytes, now: Moment) -> PyResult<Outcome> {
        let interface = self.interface(&interface.0)?;
        let mut capture = Capture::default();
        let now = self.pass_time(now.0, &mut capture);
        let frame = Frame { interface, bytes: &frame, offload: Offload::NONE };
        let outcome = self.pipeline.process_output(&self.snapshot, &frame, now, &mut capture);
        Ok(Outcome::new(&outcome, sent(capture), &self.snapshot.network))
    }

    fn advance<'py>(&mut self, py: Python<'py>, to: Moment) -> PyResult<Bound<'py, PyList>> {
        let mut capture = Capture::default();
        self.pass_time(to.0, &mut capture);
        outcome::listed(py, &sent(capture), &self.snapshot.network)
    }

    #[getter]
    fn now(&self) -> f64 {
        self.now.as_secs_f64()
    }

    #[pyo3(signature = (services, if_generation=None))]
    fn apply(
        &mut self,
        py: Python<'_>,
        services: Vec<Bound<'_, Spec>>,
        if_generation: Option<u64>,
    ) -> PyResult<u64> {
        self.expect(if_generation)?;
        let mut schedulers = Schedulers::new();
        let spec = |s: &Bound<'_, Spec>| s.get().spec(py, &self.schedulers, &mut schedulers);
        let specs = services.iter().map(spec).collect::<PyResult<Vec<_>>>()?;
        self.follow(self.snapshot.services.apply(&specs, self.now), schedulers)
    }

    #[pyo3(signature = (edits, if_generation=None))]
    fn edit(
        &mut self,
        py: Python<'_>,
        edits: Vec<Bound<'_, Edit>>,
        if_generation: Option<u64>,
    ) -> PyResult<u64> {
        self.expect(if_generation)?;
        let mut schedulers = self.schedulers.clone();
        let edits =
            edits.iter().map(|edit| edit.get().edit(py, &mut schedulers)).collect::<PyResult<Vec<_>>>()?;
        self.follow(self.snapshot.services.edit(&edits, self.now), schedulers)
    }

    /// How many changes there were.
    #[getter]
    const fn generation(&self) -> u64 {
        self.generation
    }

    fn zero(&self, service: Option<(String, Text<ServiceAddress>)>) {
        let key =
            service.map(|(protocol, Text(address))| ServiceKey::at(words::protocol(&protocol), address));
        self.snapshot.services.zero(key.as_ref());
    }

    fn services(&self) -> Services {
        Services::new(&self.snapshot.services, &self.schedulers)
    }

    fn set_settings(&mut self, settings: WantedSettings) {
        self.generation += 1;
        self.snapshot.settings = settings.into();
        self.pipeline.settings_changed(&self.snapshot);
    }

    fn set_marks(&mut self, rules: Vec<WantedMark>) {
        self.generation += 1;
        self.snapshot.marks = Arc::new(Marks::new(rules.into_iter().map(MarkRule::from).collect()));
    }

    fn set_available_memory(&mut self, pages: u64) {
        self.pipeline.set_available_memory(pages);
    }

    fn templates(&self) -> Connections {
        Connections::new(self.pipeline.connections().template_views(self.now).collect())
    }

    fn connections(&self) -> Connections {
        Connections::new(self.pipeline.views(self.now).collect())
    }

    fn counters<'py>(&self, py: Python<'py>) -> PyResult<(u64, u64, u64, u64, u64, Bound<'py, PyDict>)> {
        let counters = self.pipeline.counters();
        let drops = PyDict::new(py);
        for reason in DropReason::ALL {
            drops.set_item(reason.name(), counters.dropped(*reason))?;
        }
        let (to_host, queued) = (counters.to_host(), counters.queued());
        Ok((counters.frames(), counters.forwarded(), counters.replied(), to_host, queued, drops))
    }
}

impl Engine {
    /// Refuses who knows another generation of what is wished for than the one in force.
    fn expect(&self, generation: Option<u64>) -> PyResult<()> {
        match generation {
            Some(expected) if expected != self.generation => {
                Err(errors::director(Error::Generation { expected, actual: self.generation }))
            }
            _ => Ok(()),
        }
    }

    /// Balances the services of another table, if there is one.
    fn follow(&mut self, table: Result<ServiceTable, SpecError>, schedulers: Schedulers) -> PyResult<u64> {
        self.snapshot.services = Arc::new(table.map_err(|error| errors::configuration(error, None))?);
        self.schedulers = schedulers;
        self.pipeline.services_changed(&self.snapshot, self.now);
        self.generation += 1;
        Ok(self.generation)
    }

    /// Takes a frame its way, at `now` or at the latest time that was told.
    fn take<T: Trace>(&mut self, interface: InterfaceId, bytes: &[u8], now: f64, trace: &mut T) -> Outcome {
        let mut capture = Capture::default();
        let now = self.pass_time(now, &mut capture);
        let frame = Frame { interface, bytes, offload: Offload::NONE };
        let outcome = self.pipeline.process_traced(&self.snapshot, &frame, now, &mut capture, trace);
        Outcome::new(&outcome, sent(capture), &self.snapshot.network)
    }

    /// Lets time pass until `now`, if that is later than what was told before; returns what time it is.
    fn pass_time(&mut self, now: f64, capture: &mut Capture) -> Instant {
        let now = self.now.max(Instant::from_secs_f64(now));
        if now > self.now {
            self.now = now;
            self.pipeline.advance(&self.snapshot, now, capture);
            self.snapshot.services.estimate(now);
        }
        now
    }

    fn interface(&self, name: &str) -> PyResult<InterfaceId> {
        find_interface(&self.snapshot.network, name)
    }
}

/// The frames that were sent, and by which interfaces.
fn sent(capture: Capture) -> Vec<(InterfaceId, Vec<u8>)> {
    capture.frames.into_iter().map(|(id, bytes, _)| (id, bytes)).collect()
}

/// A `fastlvs.Interface`.
#[derive(FromPyObject)]
struct WantedInterface {
    name: String,
    mac: String,
    mtu: u32,
    addresses: Vec<Text<Prefix>>,
}

/// A `fastlvs.Route`.
#[derive(FromPyObject)]
pub struct WantedRoute {
    pub destination: Text<Prefix>,
    pub via: Option<IpAddr>,
    pub interface: Option<String>,
    pub mtu: Option<u32>,
    pub kind: String,
}

/// The network of these interfaces and routes. Routes on the link come first: a router has to be on one.
fn network(interfaces: Vec<WantedInterface>, routes: Vec<WantedRoute>) -> PyResult<Network> {
    let mut known = Vec::<Interface>::new();
    for WantedInterface { name, mac, mtu, addresses } in interfaces {
        if known.iter().any(|interface| interface.name == name) {
            return Err(errors::configuration("is defined twice", Some(&format!("interface {name}"))));
        }
        let mac = parse_mac(&mac, &format!("interface {name}"))?;
        let addresses = addresses.into_iter().map(|Text(prefix)| prefix).collect();
        known.push(Interface { name, mac, mtu, addresses });
    }
    let (plain, others): (Vec<_>, Vec<_>) = routes.into_iter().partition(|route| route.kind == "unicast");
    let (far, near): (Vec<_>, Vec<_>) = plain.into_iter().partition(|route| route.via.is_some());
    let mut network = Network::new(known).with_routes(others.into_iter().map(|route| Route {
        destination: route.destination.0,
        kind: if route.kind == "local" { RouteKind::Local } else { RouteKind::Unreachable },
        metric: 0,
    }));
    for route in near.iter().chain(&far) {
        let interface = match (&route.interface, route.via) {
            (Some(name), _) => find_interface(&network, name)?,
            (None, Some(via)) => link_of(&network, via, "router")?,
            (None, None) => return Err(errors::configuration("expected via or interface", Some("route"))),
        };
        let kind = RouteKind::Unicast { interface, via: route.via, mtu: route.mtu, source: None };
        network = network.with_routes([Route { destination: route.destination.0, kind, metric: 0 }]);
    }
    Ok(network)
}

fn with_neighbours(network: Network, neighbours: Vec<(IpAddr, String)>) -> PyResult<Network> {
    let placed = |(address, mac): (IpAddr, String)| {
        let mac = parse_mac(&mac, &format!("neighbour {address}"))?;
        Ok((link_of(&network, address, "neighbour")?, address, mac))
    };
    let placed = neighbours.into_iter().map(placed).collect::<PyResult<Vec<_>>>()?;
    Ok(network.with_neighbours(placed))
}

pub fn parse_mac(text: &str, field: &str) -> PyResult<Mac> {
    text.parse().map_err(|error: MacParseError| errors::configuration(error, Some(field)))
}

/// The interface on whose link an address is.
fn link_of(network: &Network, address: IpAddr, what: &str) -> PyResult<InterfaceId> {
    match network.path(address) {
        Some(Path::Out(output)) if output.hop.address == address => Ok(output.hop.interface),
        _ => {
            let message = "is on the link of no interface; expected an address in the network of one";
            Err(errors::configuration(message, Some(&format!("{what} {address}"))))
        }
    }
}

fn find_interface(network: &Network, name: &str) -> PyResult<InterfaceId> {
    network.interface_named(name).ok_or_else(|| {
        let known = network.interfaces().iter().map(|i| i.name.as_str()).collect::<Vec<_>>().join(" ");
        let name = name.chars().take(100).collect::<String>();
        errors::interface(format!("no interface {name:?}; the engine has {known}"))
    })
}

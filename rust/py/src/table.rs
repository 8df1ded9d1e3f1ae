//! What an engine has: services, their servers, and what these carry. Views of the living objects: reading
//! a value twice may give two values.

use crate::columns::place;
use crate::convert::{self, Text};
use crate::errors;
use crate::scheduler::Schedulers;
use crate::servers::{Servers, row, statistics};
use crate::words::{self, flag_names, protocol_name};
use fastlvs_core::service::{
    ServiceAddress, ServiceKey, ServiceTable, Statistics, StatisticsValues, VirtualService,
};
use pyo3::prelude::*;
use pyo3::types::{PyIterator, PyList};
use std::collections::HashSet;
use std::net::IpAddr;
use std::sync::Arc;

/// The virtual services of an engine.
#[pyclass(frozen, module = "fastlvs")]
pub struct Services {
    services: Vec<Service>,
    statistics: Arc<Statistics>,
}

/// One virtual service as an engine has it.
#[pyclass(frozen, module = "fastlvs")]
#[derive(Clone)]
pub struct Service {
    service: VirtualService,
    /// How often its scheduler, one of the user's, failed.
    #[pyo3(get)]
    scheduler_errors: u64,
}

impl Services {
    pub fn new(table: &ServiceTable, schedulers: &Schedulers) -> Self {
        let view = |service: &VirtualService| Service {
            service: service.clone(),
            scheduler_errors: schedulers.get(service.key()).map_or(0, |scheduler| scheduler.failures()),
        };
        let services = table.services().iter().map(view).collect();
        Self { services, statistics: Arc::clone(table.statistics()) }
    }
}

#[pymethods]
impl Services {
    fn __len__(&self) -> usize {
        self.services.len()
    }

    /// A service by its place, or by anything that names it.
    fn __getitem__(&self, key: &Bound<'_, PyAny>) -> PyResult<Service> {
        if key.hasattr("__index__")? {
            return Ok(self.services[place(key, self.services.len())?].clone());
        }
        let service_key = key.py().import("fastlvs.service")?.getattr("service_key")?;
        let (protocol, Text(address)) =
            service_key.call1((key,))?.extract::<(String, Text<ServiceAddress>)>()?;
        let name = ServiceKey::at(words::protocol(&protocol), address);
        let found = self.services.iter().find(|service| *service.service.key() == name).cloned();
        found.ok_or_else(|| errors::missing(format!("no service {protocol} {address}")))
    }

    fn __iter__<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyIterator>> {
        PyList::new(py, self.services.clone())?.try_iter()
    }

    /// What was counted of all of them together.
    #[getter]
    fn total<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        statistics(py, self.statistics.values())
    }

    /// How much of it there is in a second.
    #[getter]
    fn rates<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        statistics(py, self.statistics.rates())
    }

    /// As `ipvsadm -Ln --nosort` prints it.
    fn __repr__(&self) -> String {
        let head = "Prot LocalAddress:Port Scheduler Flags\n  \
                    -> RemoteAddress:Port           Forward Weight ActiveConn InActConn";
        let services = self.services.iter().map(Service::lines);
        std::iter::once(head.to_owned()).chain(services).collect::<Vec<_>>().join("\n")
    }
}

#[pymethods]
impl Service {
    /// "tcp", "udp", "sctp", or "fwm" for the service of a mark.
    #[getter]
    fn protocol(&self) -> &'static str {
        protocol_name(self.service.key().protocol)
    }

    /// Address and port (VIP), or a block and a range of them.
    #[getter]
    fn address<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        let key = self.service.key();
        if key.is_exact() {
            return convert::endpoint(py, key.address);
        }
        py.import("fastlvs.network")?.getattr("service_address")?.call1((key.address().to_string(),))
    }

    /// The name of the scheduler: ipvsadm's, or that of the user's class.
    #[getter]
    fn scheduler(&self) -> &str {
        self.service.scheduler().name()
    }

    /// The mark, when it is the service of one.
    #[getter]
    fn mark(&self) -> Option<u32> {
        self.service.key().mark()
    }

    /// The options of the scheduler: "sh-port", "mh-fallback"…
    #[getter]
    fn flags(&self) -> HashSet<String> {
        flag_names(self.service.flags(), self.scheduler())
    }

    /// Seconds that a client stays with its server after its latest new connection.
    #[getter]
    fn persistence(&self) -> Option<f64> {
        self.service.persistence().map(|persistence| persistence.timeout.as_secs_f64())
    }

    /// The bits of a client's address that tell clients apart for persistence.
    #[getter]
    fn netmask(&self) -> Option<IpAddr> {
        self.service.persistence().map(|persistence| persistence.mask)
    }

    /// Whether every UDP datagram is scheduled for itself.
    #[getter]
    fn one_packet(&self) -> bool {
        self.service.is_one_packet()
    }

    #[getter]
    fn servers(&self) -> Servers {
        Servers(self.service.servers().into())
    }

    /// Connections scheduled so far.
    #[getter]
    fn connections(&self) -> u64 {
        self.values().connections
    }

    /// Packets from clients.
    #[getter]
    fn in_packets(&self) -> u64 {
        self.values().in_packets
    }

    /// Their bytes, IP header included.
    #[getter]
    fn in_bytes(&self) -> u64 {
        self.values().in_bytes
    }

    /// Packets to clients that passed the director.
    #[getter]
    fn out_packets(&self) -> u64 {
        self.values().out_packets
    }

    /// Their bytes, IP header included.
    #[getter]
    fn out_bytes(&self) -> u64 {
        self.values().out_bytes
    }

    /// How much there is of all that in a second: averages that follow the traffic within some 8 s.
    #[getter]
    fn rates<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        statistics(py, self.service.statistics().rates())
    }

    fn __repr__(&self) -> String {
        self.lines()
    }
}

impl Service {
    fn values(&self) -> StatisticsValues {
        self.service.statistics().values()
    }

    fn lines(&self) -> String {
        let key = self.service.key();
        let name = match key.mark() {
            Some(mark) => format!("FWM  {mark}{}", if key.is_ipv6() { " IPv6" } else { "" }),
            None => format!("{:<4} {}", key.protocol, key.address()),
        };
        let persistence = self.service.persistence();
        let kept = persistence.map_or(String::new(), |p| format!(" persistent {}", p.timeout.as_secs_f64()));
        let one_packet = if self.service.is_one_packet() { " ops" } else { "" };
        let head = format!("{name} {}{kept}{one_packet}", self.scheduler());
        let rows = self.service.servers().iter().map(|server| row(server));
        std::iter::once(head).chain(rows).collect::<Vec<_>>().join("\n")
    }
}

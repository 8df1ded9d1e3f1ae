//! A scheduler of the user's, in Python, behind the core's trait.

use crate::convert::{self, Text};
use crate::errors;
use crate::logs;
use crate::servers::{Server, Servers};
use fastlvs_core::net::Endpoint;
use fastlvs_core::scheduler::{self, Flow as CoreFlow, NAMES, Request, Scheduler, Selection, ServerEvent};
use fastlvs_core::service::{ServerId, ServiceKey};
use pyo3::exceptions::PyKeyboardInterrupt;
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::{PyBool, PyType};
use std::collections::HashMap;
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, ThreadId};
use std::time::Instant;

/// The users' schedulers of an engine, kept over changes of its services.
pub type Schedulers = HashMap<ServiceKey, Arc<PythonScheduler>>;

/// Asks a Python object, and a built-in scheduler when that fails.
pub struct PythonScheduler {
    object: Py<PyAny>,
    name: String,
    service: ServiceKey,
    fallback_name: String,
    /// Made when it is needed first, and again after the list has changed.
    fallback: Mutex<Option<Fallback>>,
    failures: AtomicU64,
    asked: Mutex<Asked>,
}

/// Whether it is being asked, and by whom.
#[derive(Default)]
struct Asked {
    since: Option<Instant>,
    /// A thread that asked, and what Python calls it.
    thread: Option<(ThreadId, u64)>,
    /// Packets wait for the thread that asks: what it tells is told by another.
    is_live: bool,
    /// The director ends: nobody asks any more.
    closed: bool,
}

/// A built-in scheduler and the list that it was made for.
struct Fallback {
    list: Vec<(ServerId, u32)>,
    scheduler: Arc<dyn Scheduler>,
}

impl PythonScheduler {
    /// Checks what can be checked without asking it.
    pub fn new(service: ServiceKey, object: &Bound<'_, PyAny>, fallback: &str) -> PyResult<Self> {
        let error = |message| Err(errors::configuration(message, Some(&format!("service {service}"))));
        let class = object.get_type();
        if let Ok(class) = object.cast::<PyType>() {
            let name = class.name()?;
            return error(format!("expected a scheduler object, got its class; write {name}()"));
        }
        if !object.getattr("select").is_ok_and(|method| method.is_callable()) {
            let name = class.name()?;
            return error(format!(
                "expected a scheduler's name or an object with a method select, got a {name}"
            ));
        }
        if !NAMES.contains(&fallback) {
            return error(format!("unknown fallback {fallback:?}; expected one of {}", NAMES.join(" ")));
        }
        Ok(Self {
            object: object.clone().unbind(),
            name: class.name()?.to_string(),
            service,
            fallback_name: fallback.to_owned(),
            fallback: Mutex::default(),
            failures: AtomicU64::new(0),
            asked: Mutex::default(),
        })
    }

    /// Whether it is that object with that fallback.
    pub fn is(&self, object: &Bound<'_, PyAny>, fallback: &str) -> bool {
        self.object.is(object) && self.fallback_name == fallback
    }

    /// How often it failed.
    pub fn failures(&self) -> u64 {
        self.failures.load(Relaxed)
    }

    /// What it waits for, if it has not returned for a second.
    pub fn waits(&self) -> Option<String> {
        let seconds = self.asked().since?.elapsed().as_secs();
        let Self { name, service, .. } = self;
        (seconds > 0)
            .then(|| format!("scheduler {name} of service {service} has not returned for {seconds} s"))
    }

    /// It is a running director's.
    pub fn serve(&self) {
        self.asked().is_live = true;
    }

    /// Has it asked no more; where it has not returned yet, an exception is raised in it.
    pub fn close(&self) {
        let thread = {
            let mut asked = self.asked();
            asked.closed = true;
            asked.since.and(asked.thread)
        };
        if let Some((_, thread)) = thread {
            Python::try_attach(|py| {
                let module = py.import("fastlvs.schedulers");
                if let Err(error) = module.and_then(|module| module.call_method1("interrupt", (thread,))) {
                    error.write_unraisable(py, None);
                }
            });
        }
    }

    /// Notes that it is asked now, unless nobody is to.
    fn begin(&self, py: Python<'_>) -> PyResult<bool> {
        let current = thread::current().id();
        let known = self.asked().thread.filter(|(thread, _)| *thread == current);
        let thread = match known {
            Some(known) => known,
            None => (current, py.import("threading")?.call_method0("get_ident")?.extract()?),
        };
        let mut asked = self.asked();
        (asked.thread, asked.since) = (Some(thread), Some(Instant::now()));
        Ok(!asked.closed)
    }

    /// Never held while Python runs.
    fn asked(&self) -> MutexGuard<'_, Asked> {
        self.asked.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn ask(&self, py: Python<'_>, request: &Request<'_>, servers: &Servers) -> Result<Selection, Failure> {
        let flow = Flow { flow: request.flow, time: request.now.as_secs_f64() };
        let answer = self.object.bind(py).call_method1("select", (flow, servers.clone()))?;
        self.place(&answer, servers)?.ok_or_else(|| {
            Failure::Stranger(answer.repr().map_or_else(|_| "it".to_owned(), |r| r.to_string()))
        })
    }

    /// What an answer means; `None`: nothing that can be chosen.
    fn place(&self, answer: &Bound<'_, PyAny>, servers: &Servers) -> PyResult<Option<Selection>> {
        static REAL_SERVER: PyOnceLock<Py<PyType>> = PyOnceLock::new();
        let servers = &servers.0;
        let place = if answer.is_none() {
            return Ok(Some(Selection::NoServer));
        } else if let Ok(server) = answer.cast::<Server>() {
            servers.iter().position(|s| s.id() == server.get().0.id())
        } else if answer.is_instance(REAL_SERVER.import(answer.py(), "fastlvs.server", "RealServer")?)? {
            let Text(mut wanted) = answer.getattr("address")?.extract::<Text<Endpoint>>()?;
            wanted.port = if wanted.port == 0 { self.service.address.port } else { wanted.port };
            servers.iter().position(|s| s.endpoint() == wanted)
        } else if answer.is_instance_of::<PyBool>() {
            None
        } else {
            answer.extract().ok().filter(|place| *place < servers.len())
        };
        Ok(place.map(Selection::Server))
    }

    /// Counts a failure and tells the user about it.
    fn report(&self, py: Python<'_>, failure: Failure) {
        let count = self.failures.fetch_add(1, Relaxed) + 1;
        let (problem, error) = match failure {
            Failure::Raised(error) => ("select raised an exception".to_owned(), Some(error)),
            Failure::Stranger(answer) => {
                (format!("select answered {answer}, which is none of its servers"), None)
            }
        };
        // Ctrl-C came while the scheduler ran: the packet goes on its way, then the program gets it.
        let told = if error.as_ref().is_some_and(|e| e.is_instance_of::<PyKeyboardInterrupt>(py)) {
            py.import("_thread").and_then(|thread| thread.call_method0("interrupt_main")).map(drop)
        } else {
            let (service, name) = (self.service.to_string(), self.name.clone());
            let report = move |py: Python<'_>| {
                let arguments = (service, name, problem, error, count);
                py.import("fastlvs.schedulers")?.call_method1("report", arguments).map(drop)
            };
            let is_live = self.asked().is_live;
            if is_live {
                // Of many failures few are told: what is not needs no place in the queue.
                if is_power_of_ten(count) {
                    logs::aside(report);
                }
                Ok(())
            } else {
                report(py)
            }
        };
        if let Err(error) = told {
            error.write_unraisable(py, None);
        }
    }

    fn fall_back(&self, request: &Request<'_>, servers: &Servers) -> Selection {
        let list = servers.0.iter().map(|s| (s.id(), s.weight())).collect();
        let mut fallback = self.fallback.lock().unwrap_or_else(PoisonError::into_inner);
        if fallback.as_ref().is_none_or(|made| made.list != list) {
            let made = scheduler::named(&self.fallback_name, &servers.0, self.service.is_ipv6(), request.now);
            *fallback = made.map(|scheduler| Fallback { list, scheduler });
        }
        fallback.as_ref().map_or(Selection::NoServer, |f| f.scheduler.select(request, &servers.0))
    }
}

impl Scheduler for PythonScheduler {
    fn name(&self) -> &str {
        &self.name
    }

    fn select(&self, request: &Request<'_>, servers: scheduler::Servers<'_>) -> Selection {
        let servers = Servers(servers.into());
        let asked = Python::try_attach(|py| {
            let answer = match self.begin(py) {
                Ok(true) => self.ask(py, request, &servers),
                Ok(false) => return None,
                Err(error) => Err(error.into()),
            };
            self.asked().since = None;
            answer.map_err(|failure| self.report(py, failure)).ok()
        });
        // An interpreter that is shutting down cannot be asked any more.
        asked.flatten().unwrap_or_else(|| self.fall_back(request, &servers))
    }

    fn successor(self: Arc<Self>, _: ServerEvent<'_>) -> Arc<dyn Scheduler> {
        self
    }
}

impl fmt::Debug for PythonScheduler {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PythonScheduler").field("name", &self.name).finish_non_exhaustive()
    }
}

const fn is_power_of_ten(mut number: u64) -> bool {
    while number > 1 && number.is_multiple_of(10) {
        number /= 10;
    }
    number == 1
}

/// Why an answer cannot be taken.
enum Failure {
    Raised(PyErr),
    Stranger(String),
}

impl From<PyErr> for Failure {
    fn from(error: PyErr) -> Self {
        Self::Raised(error)
    }
}

/// What is known of the packet that opens a connection.
#[pyclass(frozen, module = "fastlvs")]
pub struct Flow {
    flow: CoreFlow,
    /// When it came, in seconds since the engine's origin.
    #[pyo3(get)]
    time: f64,
}

#[pymethods]
impl Flow {
    /// "tcp" or "udp".
    #[getter]
    fn protocol(&self) -> String {
        self.flow.protocol.to_string().to_lowercase()
    }

    /// Who asks: address and port (CIP).
    #[getter]
    fn client<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        convert::endpoint(py, self.flow.client)
    }

    /// What is asked for: address and port (VIP).
    #[getter]
    fn destination<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        convert::endpoint(py, self.flow.destination)
    }

    fn __repr__(&self) -> String {
        format!(
            "<Flow {} {} to {} at {} s>",
            self.protocol(),
            self.flow.client,
            self.flow.destination,
            self.time
        )
    }
}

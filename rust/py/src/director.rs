//! `fastlvs._core.Director`: a running director.
//!
//! Its threads ask for the interpreter (schedulers of the user's, logs). Whoever waits for them, or for a lock that
//! they hold, therefore lets the interpreter go meanwhile: every call into the director is made through [`Director::with`].

use crate::configuration::Configuration;
use crate::connections::Connections;
use crate::edit::Edit;
use crate::errors;
use crate::logs;
use crate::scheduler::{PythonScheduler, Schedulers};
use crate::service::Spec;
use crate::table::Services;
use fastlvs_core::conn::Filter;
use fastlvs_core::service::{ServerSpec, ServiceSpec};
use fastlvs_core::verdict::DropReason;
use fastlvs_director::{self as director, Around, Error};
use pyo3::prelude::*;
use pyo3::types::PyDict;
use std::fmt;
use std::mem;
use std::process;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, Weak};
use std::time::{Duration, Instant};

/// How long Ctrl-C may wait.
const SLICE: Duration = Duration::from_millis(50);

/// A running director.
#[pyclass(frozen, module = "fastlvs._core")]
pub struct Director {
    /// Until it is stopped.
    running: RwLock<Option<director::Director>>,
    schedulers: Mutex<Schedulers>,
    /// All that the worker may be asking, those of services that are gone included.
    asked: Arc<Interpreter>,
    /// The process that has its threads: a fork does not.
    process: u32,
}

#[pymethods]
impl Director {
    #[new]
    fn new(py: Python<'_>, configuration: &Configuration, services: Vec<Bound<'_, Spec>>) -> PyResult<Self> {
        logs::to_python();
        let mut schedulers = Schedulers::new();
        let specs = specs(py, &services, &Schedulers::new(), &mut schedulers)?;
        let asked = Arc::new(Interpreter::default());
        asked.know(&schedulers);
        let around: Arc<dyn Around> = asked.clone();
        let started = py.detach(|| director::Director::start_with(&configuration.0, &specs, around));
        Ok(Self {
            running: RwLock::new(Some(started.map_err(errors::director)?)),
            asked,
            schedulers: Mutex::new(schedulers),
            process: process::id(),
        })
    }

    #[pyo3(signature = (services, if_generation=None))]
    fn apply(
        &self,
        py: Python<'_>,
        services: Vec<Bound<'_, Spec>>,
        if_generation: Option<u64>,
    ) -> PyResult<u64> {
        self.change(py, &services, |director, specs| director.apply(specs, if_generation))
    }

    #[pyo3(signature = (edits, if_generation=None))]
    fn edit(&self, py: Python<'_>, edits: Vec<Bound<'_, Edit>>, if_generation: Option<u64>) -> PyResult<u64> {
        let mut schedulers = self.schedulers().clone();
        let edits =
            edits.iter().map(|edit| edit.get().edit(py, &mut schedulers)).collect::<PyResult<Vec<_>>>()?;
        self.asked.know(&schedulers);
        let generation = self.with(py, |director| director.edit(&edits, if_generation))?;
        *self.schedulers() = schedulers;
        Ok(generation)
    }

    /// How many wishes were granted.
    #[getter]
    fn generation(&self, py: Python<'_>) -> PyResult<u64> {
        self.with(py, |director| Ok(director.generation()))
    }

    fn reconfigure(
        &self,
        py: Python<'_>,
        configuration: &Configuration,
        services: Vec<Bound<'_, Spec>>,
    ) -> PyResult<()> {
        self.change(py, &services, |director, specs| director.reconfigure_with(&configuration.0, specs))
    }

    fn services(&self, py: Python<'_>) -> PyResult<Services> {
        let table = self.with(py, |director| Ok(director.services()))?;
        Ok(Services::new(&table, &self.schedulers()))
    }

    fn connections(&self, py: Python<'_>) -> PyResult<Connections> {
        self.with(py, |director| director.connections(&Filter::default())).map(Connections::new)
    }

    fn templates(&self, py: Python<'_>) -> PyResult<Connections> {
        self.with(py, |director| director.templates(&Filter::default())).map(Connections::new)
    }

    /// How many connections of the server at that place of a service are not over.
    fn unfinished(&self, py: Python<'_>, service: &Spec, place: usize) -> PyResult<u64> {
        let ServerSpec { endpoint, .. } = service.server(place)?;
        let key = service.key();
        self.with(py, |director| Ok(director.unfinished(&key, endpoint)))
    }

    /// Frames by verdict and drops by reason as `Engine.counters`; then frames missed, refused, abandoned, given back.
    fn counters<'py>(&self, py: Python<'py>) -> PyResult<(EngineCounters<'py>, (u64, u64, u64, u64))> {
        let counted = self.with(py, director::Director::counters)?;
        let drops = PyDict::new(py);
        let frames = &counted.pipeline;
        for reason in DropReason::ALL {
            drops.set_item(reason.name(), frames.dropped(*reason))?;
        }
        Ok((
            (frames.frames(), frames.forwarded(), frames.replied(), frames.to_host(), frames.queued(), drops),
            (counted.missed, counted.lost.refused, counted.lost.abandoned, counted.given_back),
        ))
    }

    fn interfaces(&self, py: Python<'_>) -> PyResult<Vec<String>> {
        self.with(py, |director| Ok(director.interfaces()))
    }

    /// The interfaces by which nothing comes or goes right now, and why.
    fn missing_interfaces(&self, py: Python<'_>) -> PyResult<Vec<(String, String)>> {
        let missing = self.with(py, |director| Ok(director.missing()))?;
        Ok(missing.into_iter().map(|missing| (missing.name, missing.problem)).collect())
    }

    /// Waits until it is stopped, or for so many seconds. Raises why it ended by itself, if it did.
    #[pyo3(signature = (timeout=None))]
    fn wait(&self, py: Python<'_>, timeout: Option<f64>) -> PyResult<()> {
        // What is too long for a clock is for ever.
        let end =
            timeout.and_then(|t| Instant::now().checked_add(Duration::try_from_secs_f64(t.max(0.0)).ok()?));
        while self.is_running(py) {
            let left = end.map_or(SLICE, |end| end.saturating_duration_since(Instant::now()).min(SLICE));
            // Stopped meanwhile is no failure.
            if let Ok(Some(failure)) = self.with(py, |director| Ok(director.wait(left))) {
                return Err(errors::director(failure));
            }
            py.check_signals()?;
            if left < SLICE {
                break;
            }
        }
        Ok(())
    }

    #[getter]
    fn is_running(&self, py: Python<'_>) -> bool {
        py.detach(|| self.running.read().unwrap_or_else(PoisonError::into_inner).is_some())
    }

    /// Ends it. A second call does nothing.
    fn stop(&self, py: Python<'_>) -> PyResult<()> {
        let stopped = py.detach(|| {
            let running = self.running.write().unwrap_or_else(PoisonError::into_inner).take();
            self.end(running)
        });
        stopped.map_err(errors::director)
    }
}

/// The values of `fastlvs.Counters`.
type EngineCounters<'py> = (u64, u64, u64, u64, u64, Bound<'py, PyDict>);

impl Director {
    /// Asks the director, with the interpreter let go.
    fn with<T: Send>(
        &self,
        py: Python<'_>,
        ask: impl FnOnce(&director::Director) -> Result<T, Error> + Send,
    ) -> PyResult<T> {
        let answer = py.detach(|| {
            let running = self.running.read().unwrap_or_else(PoisonError::into_inner);
            running.as_ref().map(ask)
        });
        answer.ok_or_else(errors::stopped)?.map_err(errors::director)
    }

    fn change<T: Send>(
        &self,
        py: Python<'_>,
        services: &[Bound<'_, Spec>],
        make: impl FnOnce(&director::Director, &[ServiceSpec]) -> Result<T, Error> + Send,
    ) -> PyResult<T> {
        let mut schedulers = Schedulers::new();
        let specs = specs(py, services, &self.schedulers(), &mut schedulers)?;
        self.asked.know(&schedulers);
        let answer = self.with(py, |director| make(director, &specs))?;
        *self.schedulers() = schedulers;
        Ok(answer)
    }

    /// Never held while the interpreter is let go.
    fn schedulers(&self) -> MutexGuard<'_, Schedulers> {
        self.schedulers.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn end(&self, running: Option<director::Director>) -> Result<(), Error> {
        match running {
            None => Ok(()),
            Some(director) if self.process == process::id() => {
                let stopped = director.stop();
                logs::flush();
                stopped
            }
            // A fork must not undo what its parent, which has the threads, goes on with.
            Some(director) => {
                mem::forget(director);
                Ok(())
            }
        }
    }
}

impl Drop for Director {
    fn drop(&mut self) {
        let running = self.running.get_mut().unwrap_or_else(PoisonError::into_inner).take();
        if running.is_some() {
            // Who cared for why it ended had asked.
            let _failure = Python::attach(|py| py.detach(|| self.end(running)));
        }
    }
}

/// What the worker has to do with the interpreter.
#[derive(Default)]
struct Interpreter(Mutex<Vec<Weak<PythonScheduler>>>);

impl Interpreter {
    /// These may be asked from now on.
    fn know(&self, schedulers: &Schedulers) {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        known.retain(|one| {
            one.upgrade().is_some_and(|one| !schedulers.values().any(|new| Arc::ptr_eq(new, &one)))
        });
        for scheduler in schedulers.values() {
            scheduler.serve();
            known.push(Arc::downgrade(scheduler));
        }
    }

    fn known(&self) -> Vec<Arc<PythonScheduler>> {
        let known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        known.iter().filter_map(Weak::upgrade).collect()
    }
}

impl Around for Interpreter {
    /// The worker's thread belongs to the interpreter from the beginning to its end: otherwise each call of a scheduler
    /// would make it a new state, which costs more than the call, and forgets what `threading.local` holds.
    fn run(&self, work: Box<dyn FnOnce() + Send>) {
        Python::attach(|py| py.detach(work));
    }

    fn waits_for(&self) -> Option<String> {
        self.known().iter().find_map(|scheduler| scheduler.waits())
    }

    fn interrupt(&self) {
        self.known().iter().for_each(|scheduler| scheduler.close());
    }
}

impl fmt::Debug for Interpreter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Interpreter").finish_non_exhaustive()
    }
}

fn specs(
    py: Python<'_>,
    services: &[Bound<'_, Spec>],
    known: &Schedulers,
    used: &mut Schedulers,
) -> PyResult<Vec<ServiceSpec>> {
    services.iter().map(|service| service.get().spec(py, known, used)).collect()
}

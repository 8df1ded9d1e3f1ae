//! A running director, as those who started it see it.

use crate::around::{Around, Nothing};
use crate::clock::Clock;
use crate::config::Configuration;
use crate::counters::WorkerCounters;
use crate::error::Error;
use crate::follow::Follow;
use crate::legs::Missing;
use crate::links::{Event, Links, Live, Question};
use crate::plan::{Beginning, Plan};
use crate::rings::reopening;
use crate::tap::Tap;
use crate::upkeep::Upkeep;
use crate::wish::Wish;
use crate::worker::Worker;
use arc_swap::ArcSwap;
use fastlvs_core::conn::{ConnectionView, Cursor, Filter, Page};
use fastlvs_core::marks::{MarkRule, Marks};
use fastlvs_core::net::Endpoint;
use fastlvs_core::service::{Edit, ServiceKey, ServiceSpec, ServiceTable};
use fastlvs_core::settings::Settings;
use fastlvs_io::af_packet::AfPacket;
use fastlvs_io::capability::missing_capabilities;
use fastlvs_io::device::Device;
use fastlvs_io::netlink::{Link, Monitor};
use fastlvs_io::raw::GiveBack;
use fastlvs_io::wake::Wake;
use std::hash::{BuildHasher, RandomState};
use std::io;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::mpsc::RecvTimeoutError;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, mpsc};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

/// Events that may wait for the upkeep.
const EVENTS: usize = 1024;
/// How long an answer of the worker may take.
const ANSWER: Duration = Duration::from_secs(5);
/// How long the threads may take to end, and after what time a scheduler that does not return is interrupted.
const ENDING: Duration = Duration::from_secs(5);
const GRACE: Duration = Duration::from_secs(2);
/// How often the end looks whether they have.
const LOOK: Duration = Duration::from_millis(1);

/// A running director. It ends when it is stopped or dropped, and then leaves nothing behind.
#[derive(Debug)]
pub struct Director {
    // Dropped last to first when stopped: threads before the nftables table, which the plan holds.
    plan: Arc<Mutex<Plan>>,
    questions: mpsc::Sender<Question>,
    worker_wake: Arc<Wake>,
    upkeep_wake: Arc<Wake>,
    stop: Arc<AtomicBool>,
    ended: Arc<Ended>,
    threads: Vec<(&'static str, JoinHandle<()>)>,
    around: Arc<dyn Around>,
}

/// Which thread ended by itself, and why.
#[derive(Debug, Default)]
struct Ended {
    first: Mutex<Option<(&'static str, String)>>,
    happened: Condvar,
}

/// What the upkeep has for itself, and the time.
struct Beside {
    monitor: Monitor,
    events: mpsc::Receiver<Event>,
    clock: Clock,
}

impl Director {
    /// Starts a director that does what `configuration` says.
    ///
    /// # Errors
    /// [`Error`] tells by its class what to do about it. Nothing is left behind then.
    pub fn start(configuration: &Configuration) -> Result<Self, Error> {
        Self::start_with(configuration, &configuration.specs()?, Arc::new(Nothing))
    }

    /// The same for services of the caller's, whose schedulers may be the caller's own, in the place of those in
    /// `configuration`. `around` knows what these need.
    ///
    /// # Errors
    /// As [`Director::start`].
    pub fn start_with(
        configuration: &Configuration,
        specs: &[ServiceSpec],
        around: Arc<dyn Around>,
    ) -> Result<Self, Error> {
        check_capabilities()?;
        let monitor = Monitor::open().map_err(Error::platform("asking the kernel for its network"))?;
        let clock = Clock::start();
        let live = Arc::new(ArcSwap::from_pointee(Live::default()));
        let plan = Plan::new(Beginning {
            wish: Wish::new(configuration),
            specs,
            interfaces: &configuration.interfaces,
            kernel: monitor.state().clone(),
            live: Arc::clone(&live),
            clock,
        })?;
        let tap = configuration.capture.as_deref().map(|path| Tap::create(path, clock)).transpose()?;
        let host = GiveBack::open().map_err(Error::platform("opening a raw socket"))?;
        let wake = || Wake::new().map(Arc::new).map_err(Error::platform("making an event descriptor"));
        let (worker_wake, upkeep_wake) = (wake()?, wake()?);
        let (questions, asked) = mpsc::channel();
        let (events, taken) = mpsc::sync_channel(EVENTS);
        let mark = plan.mark();
        let open = move |link: &Link| AfPacket::open(link.index, link.mtu, mark);
        let links = Links {
            live,
            events,
            on_event: Arc::clone(&upkeep_wake),
            questions: asked,
            wake: Arc::clone(&worker_wake),
            host,
            spin: configuration.spin,
        };
        let mut director = Self {
            plan: Arc::new(Mutex::new(plan)),
            questions,
            worker_wake,
            upkeep_wake,
            stop: Arc::default(),
            ended: Arc::default(),
            threads: Vec::new(),
            around,
        };
        let beside = Beside { monitor, events: taken, clock };
        match tap {
            None => director.run(open, links, beside),
            Some(tap) => director.run(move |link: &Link| Ok(tap.on(open(link)?)), links, beside),
        }?;
        Ok(director)
    }

    /// Opens the interfaces with `open` and starts the threads.
    fn run<D>(
        &mut self,
        open: impl Fn(&Link) -> io::Result<D> + Send + 'static,
        links: Links,
        Beside { monitor, events, clock }: Beside,
    ) -> Result<(), Error>
    where
        D: Device<Receiver: Send + 'static, Sender: Send + 'static> + 'static,
    {
        let served = self.plan().links();
        let device = |link: &Link| {
            let error =
                |error: io::Error| Error::Interface { name: link.name.clone(), problem: error.to_string() };
            open(link).map_err(error)
        };
        let devices = served.iter().flatten().map(device).collect::<Result<Vec<_>, Error>>()?;
        let (rings, reopened) = reopening(open);
        let worker = Worker::new(devices, hash_key(), links).with_reopened(reopened);
        let upkeep = Upkeep {
            monitor,
            plan: Arc::clone(&self.plan),
            follow: Follow::new(rings),
            events,
            wake: Arc::clone(&self.upkeep_wake),
            stop: Arc::clone(&self.stop),
        };
        let around = Arc::clone(&self.around);
        self.spawn("worker", move || {
            around.run(Box::new(move || worker.run(clock)));
            Ok(())
        })?;
        self.spawn("upkeep", move || upkeep.run())
    }

    /// Does what `configuration` says from now on: services, settings, static neighbours and routes. The
    /// interfaces stay.
    ///
    /// # Errors
    /// Nothing has changed then.
    pub fn reconfigure(&self, configuration: &Configuration) -> Result<(), Error> {
        self.reconfigure_with(configuration, &configuration.specs()?)
    }

    /// The same for services of the caller's, as [`Director::start_with`].
    ///
    /// # Errors
    /// Nothing has changed then.
    pub fn reconfigure_with(
        &self,
        configuration: &Configuration,
        specs: &[ServiceSpec],
    ) -> Result<(), Error> {
        self.change(None, |plan| plan.apply(Some(Wish::new(configuration)), specs))?;
        let (wanted, served) = (&configuration.interfaces, self.interfaces());
        if !wanted.is_empty() && *wanted != served {
            let (wanted, served) = (wanted.join(" "), served.join(" "));
            tracing::warn!("{served} are served on, not {wanted}: that takes a restart");
        }
        Ok(())
    }

    /// Balances these services from now on. What stays keeps its connections and counters. Says the generation of
    /// what is wished for, as all changes do: how many wishes were granted.
    ///
    /// # Errors
    /// Nothing has changed then.
    pub fn apply(&self, specs: &[ServiceSpec], if_generation: Option<u64>) -> Result<u64, Error> {
        self.change(if_generation, |plan| plan.apply(None, specs))
    }

    /// Makes these changes of the services, in this order: all of them, or none. What they are not about stays as
    /// it is. With a generation only if no wish was granted since that one.
    ///
    /// # Errors
    /// [`Error::Services`] for the first edit that is impossible, [`Error::Generation`] when somebody else was
    /// sooner. Nothing has changed then.
    pub fn edit(&self, edits: &[Edit], if_generation: Option<u64>) -> Result<u64, Error> {
        self.change(if_generation, |plan| plan.edit(edits))
    }

    /// Has the engine behave like this from now on.
    ///
    /// # Errors
    /// [`Error::Generation`], as for [`Director::edit`].
    pub fn set_settings(&self, settings: Settings, if_generation: Option<u64>) -> Result<u64, Error> {
        self.change(if_generation, |plan| plan.set(Wish { settings, ..plan.wish().clone() }))
    }

    /// Has packets bear these marks from now on.
    ///
    /// # Errors
    /// As for [`Director::edit`].
    pub fn set_marks(&self, marks: Vec<MarkRule>, if_generation: Option<u64>) -> Result<u64, Error> {
        let marks = Arc::new(Marks::new(marks));
        self.change(if_generation, |plan| plan.set(Wish { marks, ..plan.wish().clone() }))
    }

    /// How many wishes were granted, the first at the start. It does not count what follows from the kernel's network.
    #[must_use]
    pub fn generation(&self) -> u64 {
        self.plan().generation()
    }

    /// What is wished for: the services as they were asked for, in their order, and the generation.
    #[must_use]
    pub fn wanted(&self) -> (Vec<Arc<ServiceSpec>>, u64) {
        let (services, generation) = {
            let plan = self.plan();
            (Arc::clone(plan.services()), plan.generation())
        };
        (services.services().iter().map(|service| Arc::clone(service.spec())).collect(), generation)
    }

    /// The settings in force.
    #[must_use]
    pub fn settings(&self) -> Settings {
        self.plan().wish().settings.clone()
    }

    /// The marks in force.
    #[must_use]
    pub fn marks(&self) -> Arc<Marks> {
        Arc::clone(&self.plan().wish().marks)
    }

    fn change(
        &self,
        if_generation: Option<u64>,
        make: impl FnOnce(&mut Plan) -> Result<u64, Error>,
    ) -> Result<u64, Error> {
        let generation = {
            let mut plan = self.plan();
            plan.expect(if_generation)?;
            make(&mut plan)?
        };
        match self.ask(Question::ServicesChanged) {
            // Nothing would be gained by calling the change refused: the worker finds it when it goes on.
            Err(Error::Late { seconds, why }) => {
                tracing::warn!(
                    "the change is in force, but the worker is late: no answer for {seconds} s: {why}"
                );
            }
            answer => answer?,
        }
        Ok(generation)
    }

    /// What is balanced.
    #[must_use]
    pub fn services(&self) -> Arc<ServiceTable> {
        Arc::clone(self.plan().services())
    }

    /// The names of the interfaces that are served.
    #[must_use]
    pub fn interfaces(&self) -> Vec<String> {
        self.plan().legs().iter().map(|leg| leg.name.clone()).collect()
    }

    /// Some of the connections as they are now: a part of them that the worker has looked through in one turn, and
    /// where to go on. What a walk from page to page sees, [`Cursor`] says.
    ///
    /// # Errors
    /// [`Error::Late`] when the worker does not answer, [`Error::Ended`] when there is none any more.
    pub fn connections_page(&self, cursor: Cursor, filter: &Filter) -> Result<Page, Error> {
        self.ask(|to| Question::Connections(cursor, filter.clone(), to))
    }

    /// All connections that `filter` asks for, page by page: packets pass in between.
    ///
    /// # Errors
    /// [`Error::Late`] when the worker does not answer, [`Error::Ended`] when there is none any more.
    pub fn connections(&self, filter: &Filter) -> Result<Vec<ConnectionView>, Error> {
        all(|cursor| self.connections_page(cursor, filter))
    }

    /// The same as [`Director::connections_page`] of persistence templates.
    ///
    /// # Errors
    /// [`Error::Late`] when the worker does not answer, [`Error::Ended`] when there is none any more.
    pub fn templates_page(&self, cursor: Cursor, filter: &Filter) -> Result<Page, Error> {
        self.ask(|to| Question::Templates(cursor, filter.clone(), to))
    }

    /// The same as [`Director::connections`] of persistence templates.
    ///
    /// # Errors
    /// [`Error::Late`] when the worker does not answer, [`Error::Ended`] when there is none any more.
    pub fn templates(&self, filter: &Filter) -> Result<Vec<ConnectionView>, Error> {
        all(|cursor| self.templates_page(cursor, filter))
    }

    /// How many connections of a server are not over; of one that is not there, none. A server that is to go is
    /// drained when they are 0.
    #[must_use]
    pub fn unfinished(&self, service: &ServiceKey, server: Endpoint) -> u64 {
        let services = self.services();
        let server = services.named(service).and_then(|service| service.server(server));
        server.map_or(0, |server| server.unfinished())
    }

    /// What was counted so far.
    ///
    /// # Errors
    /// [`Error::Late`] when the worker does not answer, [`Error::Ended`] when there is none any more.
    pub fn counters(&self) -> Result<WorkerCounters, Error> {
        self.ask(Question::Counters)
    }

    /// The interfaces by which nothing comes or goes right now, because they are gone or down: it serves them again when
    /// they are back. Without any all is well.
    #[must_use]
    pub fn missing(&self) -> Vec<Missing> {
        self.plan().missing()
    }

    /// Why a thread of it ended by itself, if one did.
    #[must_use]
    pub fn failure(&self) -> Option<Error> {
        self.ended.error()
    }

    /// Waits for at most `timeout` until a thread of it ends by itself; says why, if one did.
    #[must_use]
    pub fn wait(&self, timeout: Duration) -> Option<Error> {
        let first = self.ended.lock();
        let waited = self.ended.happened.wait_timeout_while(first, timeout, |first| first.is_none());
        drop(waited);
        self.failure()
    }

    /// Ends it: the kernel's stack is let at everything again.
    ///
    /// # Errors
    /// Why a thread of it had ended before; or [`Error::Stuck`] when one does not end: it is left behind then, and all else
    /// is done.
    pub fn stop(mut self) -> Result<(), Error> {
        let failure = self.failure();
        let ended = self.end();
        failure.map_or(ended, Err)
    }

    fn end(&mut self) -> Result<(), Error> {
        let begin = Instant::now();
        let left = || ENDING.saturating_sub(begin.elapsed());
        let (to, counters) = mpsc::channel();
        self.stop.store(true, Relaxed);
        let asked = self.questions.send(Question::Counters(to)).and(self.questions.send(Question::Stop));
        self.worker_wake.wake();
        self.upkeep_wake.wake();
        let counters = asked.ok().and_then(|()| {
            let late = |_| {
                self.around.interrupt();
                counters.recv_timeout(left())
            };
            counters.recv_timeout(GRACE).or_else(late).ok()
        });
        if let Some(counters) = counters {
            tracing::info!("{counters}");
        }
        while self.threads.iter().any(|(_, thread)| !thread.is_finished()) && !left().is_zero() {
            thread::sleep(LOOK);
        }
        let mut stuck = None;
        for (name, thread) in self.threads.drain(..) {
            if thread.is_finished() {
                // A panic was noted as the thread's end.
                let _panicked = thread.join();
            } else {
                stuck = stuck.or(Some(name));
            }
        }
        let Some(thread) = stuck else { return Ok(()) };
        // It may have the plan, with which the table would go.
        if let Ok(mut plan) = self.plan.try_lock() {
            plan.end();
        }
        Err(Error::Stuck { thread, seconds: ENDING.as_secs(), why: self.why() })
    }

    /// What the worker waits for.
    fn why(&self) -> String {
        self.around.waits_for().unwrap_or_else(|| "it is busy, nobody knows with what".to_owned())
    }

    fn ask<T>(&self, question: impl FnOnce(mpsc::Sender<T>) -> Question) -> Result<T, Error> {
        let (to, answer) = mpsc::channel();
        let gone = |problem: &str| Error::Ended { thread: "worker", problem: problem.to_owned() };
        self.questions.send(question(to)).map_err(|_| gone("it takes no questions"))?;
        self.worker_wake.wake();
        answer.recv_timeout(ANSWER).map_err(|error| match error {
            RecvTimeoutError::Timeout => Error::Late { seconds: ANSWER.as_secs(), why: self.why() },
            RecvTimeoutError::Disconnected => self.failure().unwrap_or_else(|| gone("it dropped a question")),
        })
    }

    fn plan(&self) -> MutexGuard<'_, Plan> {
        self.plan.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn spawn(
        &mut self,
        name: &'static str,
        work: impl FnOnce() -> Result<(), Error> + Send + 'static,
    ) -> Result<(), Error> {
        let (ended, stop) = (Arc::clone(&self.ended), Arc::clone(&self.stop));
        let body = move || {
            let mut notice = Notice { ended, stop, thread: name, problem: "it panicked".to_owned() };
            notice.problem = match work() {
                Ok(()) => "it had nothing more to do".to_owned(),
                Err(error) => error.to_string(),
            };
        };
        let thread = thread::Builder::new().name(format!("fastlvs-{name}")).spawn(body);
        self.threads.push((name, thread.map_err(Error::platform("starting a thread"))?));
        Ok(())
    }
}

impl Drop for Director {
    fn drop(&mut self) {
        if self.threads.is_empty() {
            return; // stopped, or never started
        }
        if let Err(error) = self.end() {
            tracing::error!("{error}");
        }
    }
}

impl Ended {
    fn lock(&self) -> MutexGuard<'_, Option<(&'static str, String)>> {
        self.first.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn error(&self) -> Option<Error> {
        self.lock().as_ref().map(|(thread, problem)| Error::Ended { thread, problem: problem.clone() })
    }
}

/// Notes the end of a thread, however it ends.
struct Notice {
    ended: Arc<Ended>,
    stop: Arc<AtomicBool>,
    thread: &'static str,
    problem: String,
}

impl Drop for Notice {
    fn drop(&mut self) {
        if !self.stop.load(Relaxed) {
            let problem = std::mem::take(&mut self.problem);
            self.ended.lock().get_or_insert((self.thread, problem));
            self.ended.happened.notify_all();
        }
    }
}

/// What is on all pages of a walk.
fn all(page: impl Fn(Cursor) -> Result<Page, Error>) -> Result<Vec<ConnectionView>, Error> {
    let mut views = Vec::new();
    let mut cursor = Some(Cursor::default());
    while let Some(at) = cursor {
        let page = page(at)?;
        views.extend(page.views);
        cursor = page.next;
    }
    Ok(views)
}

fn check_capabilities() -> Result<(), Error> {
    let missing = missing_capabilities();
    if missing.is_empty() {
        return Ok(());
    }
    let program = std::env::current_exe().map_or("PROGRAM".to_owned(), |path| path.display().to_string());
    Err(Error::Capability { missing: missing.join(", "), program })
}

/// Random: clients are not to know which tuples collide.
fn hash_key() -> (u64, u64) {
    let random = || RandomState::new().hash_one(0_u8);
    (random(), random())
}

//! What the director logs, for Python's `logging`: under `fastlvs`, each module its own logger
//! (`fastlvs.director.upkeep`). A thread of its own hands it over, so that nobody waits for the interpreter, or for a handler
//! that blocks: what there is no room for, and what a handler does not take, is counted and told later.

use log::{Level, LevelFilter, Log, Metadata, Record};
use pyo3::prelude::*;
use std::process;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::mpsc::{Receiver, Sender, SyncSender, channel, sync_channel};
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

/// Lines that may wait for a handler.
const LINES: usize = 1024;
/// How long the end waits for what was logged before.
const PATIENCE: Duration = Duration::from_secs(1);
/// How often it looks whether there is room for one message more.
const LOOK: Duration = Duration::from_millis(5);
/// Where the number of lines that are missing is told.
const MISSING: &str = "fastlvs";

/// From now on. A second call changes nothing.
pub fn to_python() {
    // Another part of the process may have a logger already: then it gets what is logged.
    if log::set_logger(&Logging).is_ok() {
        log::set_max_level(LevelFilter::Debug);
    }
}

/// Has the log's thread do `work`, if there is room; its error is one of a handler's.
pub fn aside(work: impl FnOnce(Python<'_>) -> PyResult<()> + Send + 'static) {
    let Some(queue) = queue() else { return };
    if queue.messages.try_send(Message::Line(Box::new(work))).is_err() {
        UNWRITTEN.fetch_add(1, Relaxed);
    }
}

/// Waits a moment until what was logged is handed over, and ends the log's thread then: the next line starts another.
/// Not to be called with the interpreter.
pub fn flush() {
    let Some(queue) = queue() else { return };
    let begin = Instant::now();
    let (done, handed_over) = channel();
    while queue.messages.try_send(Message::End(done.clone())).is_err() {
        if begin.elapsed() >= PATIENCE {
            return;
        }
        thread::sleep(LOOK);
    }
    if handed_over.recv_timeout(PATIENCE.saturating_sub(begin.elapsed())).is_ok() {
        *QUEUE.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }
}

type Line = Box<dyn FnOnce(Python<'_>) -> PyResult<()> + Send>;

enum Message {
    Line(Line),
    /// Tells when all before it was handed over or given up.
    End(Sender<()>),
}

/// The way to the log's thread.
#[derive(Clone)]
struct Queue {
    /// A fork does not have the thread.
    process: u32,
    messages: SyncSender<Message>,
}

static QUEUE: Mutex<Option<Queue>> = Mutex::new(None);

/// Lines that no handler has taken and that nobody was told of yet.
static UNWRITTEN: AtomicU64 = AtomicU64::new(0);

/// That of this process; none without threads.
fn queue() -> Option<Queue> {
    let mut known = QUEUE.lock().unwrap_or_else(PoisonError::into_inner);
    if known.as_ref().is_none_or(|queue| queue.process != process::id()) {
        let (messages, taken) = sync_channel(LINES);
        let run = move || Writing { fails: false }.run(&taken);
        thread::Builder::new().name("fastlvs-log".to_owned()).spawn(run).ok()?;
        *known = Some(Queue { process: process::id(), messages });
    }
    known.clone()
}

/// What the log's thread has.
struct Writing {
    /// Whether the last line failed: one failure of several is told.
    fails: bool,
}

impl Writing {
    fn run(&mut self, messages: &Receiver<Message>) {
        for message in messages {
            match message {
                Message::Line(line) => {
                    if !self.tell_unwritten() || !self.hand_over(line) {
                        UNWRITTEN.fetch_add(1, Relaxed);
                    }
                }
                Message::End(done) => {
                    self.tell_unwritten();
                    // Who waited may have given up.
                    let _gone = done.send(());
                }
            }
        }
    }

    /// Says whether nothing is left to be told.
    fn tell_unwritten(&mut self) -> bool {
        let lines = UNWRITTEN.swap(0, Relaxed);
        let line = move |py: Python<'_>| {
            let text =
                format!("lines of the log that no handler took, or that there was no room for: {lines}");
            tell(py, MISSING, Level::Warn, &text)
        };
        let told = lines == 0 || self.hand_over(Box::new(line));
        if !told {
            UNWRITTEN.fetch_add(lines, Relaxed);
        }
        told
    }

    fn hand_over(&mut self, line: Line) -> bool {
        let failed_before = self.fails;
        let done = Python::try_attach(|py| {
            let Err(error) = line(py) else { return true };
            if !failed_before {
                error.write_unraisable(py, None);
            }
            false
        });
        // An interpreter that is shutting down logs no more, and nobody is told.
        self.fails = done == Some(false);
        !self.fails
    }
}

struct Logging;

impl Log for Logging {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.target().starts_with("fastlvs")
    }

    fn log(&self, record: &Record<'_>) {
        if self.enabled(record.metadata()) {
            let logger = record.target().replace("::", ".").replacen('_', ".", 1);
            let (level, text) = (record.level(), record.args().to_string());
            aside(move |py| tell(py, &logger, level, &text));
        }
    }

    fn flush(&self) {}
}

fn tell(py: Python<'_>, logger: &str, level: Level, text: &str) -> PyResult<()> {
    let logger = py.import("logging")?.call_method1("getLogger", (logger,))?;
    logger.call_method1("log", (number(level), "%s", text))?;
    Ok(())
}

/// Python's number for a level.
fn number(level: Level) -> u8 {
    match level {
        Level::Error => 40,
        Level::Warn => 30,
        Level::Info => 20,
        Level::Debug => 10,
        Level::Trace => 5,
    }
}

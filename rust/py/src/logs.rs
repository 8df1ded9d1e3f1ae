//! What the director logs, for Python's `logging`: under `fastlvs`, each module its own logger
//! (`fastlvs.director.upkeep`). The thread that forwards logs nothing, so no packet waits for the interpreter here.

use log::{Level, LevelFilter, Log, Metadata, Record};
use pyo3::prelude::*;

/// From now on. A second call changes nothing.
pub fn to_python() {
    // Another part of the process may have a logger already: then it gets what is logged.
    if log::set_logger(&Logging).is_ok() {
        log::set_max_level(LevelFilter::Debug);
    }
}

struct Logging;

impl Log for Logging {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.target().starts_with("fastlvs")
    }

    fn log(&self, record: &Record<'_>) {
        if self.enabled(record.metadata()) {
            // An interpreter that is shutting down logs no more.
            Python::try_attach(|py| {
                if let Err(error) = tell(py, record) {
                    error.write_unraisable(py, None);
                }
            });
        }
    }

    fn flush(&self) {}
}

fn tell(py: Python<'_>, record: &Record<'_>) -> PyResult<()> {
    let name = record.target().replace("::", ".").replacen('_', ".", 1);
    let logger = py.import("logging")?.call_method1("getLogger", (name,))?;
    logger.call_method1("log", (number(record.level()), "%s", record.args().to_string()))?;
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

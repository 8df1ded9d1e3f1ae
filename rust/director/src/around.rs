//! What is around a worker whose schedulers are the caller's own: they may need its thread prepared, and they may not return.

use std::fmt;

/// What a director asks of whoever brought its schedulers.
pub trait Around: fmt::Debug + Send + Sync {
    /// Runs what the worker's thread does, to its end.
    fn run(&self, work: Box<dyn FnOnce() + Send>) {
        work();
    }

    /// What the worker waits for, as far as it is known: "scheduler Slow has not returned for 7 s".
    fn waits_for(&self) -> Option<String> {
        None
    }

    /// The director ends: no scheduler is to be asked any more, and one that does not return is to be told.
    fn interrupt(&self) {}
}

/// Nothing: schedulers of the engine's own always return.
#[derive(Clone, Copy, Debug)]
pub struct Nothing;

impl Around for Nothing {}

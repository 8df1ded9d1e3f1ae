//! What a worker counted, and how it is told in a line.

use crate::ports::Lost;
use fastlvs_core::counters::Counters;
use fastlvs_core::verdict::DropReason;
use std::fmt;

/// What a worker counted.
#[derive(Clone, Debug, Default)]
pub struct WorkerCounters {
    /// Frames by verdict.
    pub pipeline: Counters,
    /// Frames that never reached the worker: it was too slow for its ring.
    pub missed: u64,
    /// Frames that were lost after they had been sent on.
    pub lost: Lost,
    /// Packets given back to the host.
    pub given_back: u64,
}

impl fmt::Display for WorkerCounters {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { pipeline, missed, lost, given_back } = self;
        write!(
            f,
            "{} frames: {} forwarded, {} answered, {} left to the host (of them {given_back} given back)",
            pipeline.frames(),
            pipeline.forwarded(),
            pipeline.replied(),
            pipeline.to_host()
        )?;
        for reason in DropReason::ALL.iter().filter(|reason| pipeline.dropped(**reason) > 0) {
            write!(f, ", {} dropped for {reason}", pipeline.dropped(*reason))?;
        }
        let besides = [
            (*missed, "missed"),
            (lost.refused, "refused by the system"),
            (lost.abandoned, "without neighbour"),
        ];
        for (count, what) in besides.iter().filter(|(count, _)| *count > 0) {
            write!(f, "; {count} {what}")?;
        }
        Ok(())
    }
}

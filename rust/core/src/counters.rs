//! What a worker counts: every frame under one verdict, every drop under one reason.

use crate::verdict::{DropReason, Verdict};

/// Counters of one worker.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Counters {
    frames: u64,
    forwarded: u64,
    replied: u64,
    to_host: u64,
    queued: u64,
    drops: [u64; DropReason::COUNT],
}

impl Default for Counters {
    fn default() -> Self {
        Self { frames: 0, forwarded: 0, replied: 0, to_host: 0, queued: 0, drops: [0; DropReason::COUNT] }
    }
}

impl Counters {
    /// Counts a frame and what became of it.
    pub fn count(&mut self, verdict: Verdict) {
        self.frames += 1;
        match verdict {
            Verdict::Forward => self.forwarded += 1,
            Verdict::Reply => self.replied += 1,
            Verdict::ToHost => self.to_host += 1,
            Verdict::Queued => self.queued += 1,
            Verdict::Drop(reason) => self.drops[reason as usize] += 1,
        }
    }

    /// Adds the counts of another worker.
    pub fn add(&mut self, other: &Self) {
        self.frames += other.frames;
        self.forwarded += other.forwarded;
        self.replied += other.replied;
        self.to_host += other.to_host;
        self.queued += other.queued;
        for (mine, others) in self.drops.iter_mut().zip(&other.drops) {
            *mine += others;
        }
    }

    /// Frames processed: the sum of all the others.
    #[must_use]
    pub const fn frames(&self) -> u64 {
        self.frames
    }

    /// Frames sent on.
    #[must_use]
    pub const fn forwarded(&self) -> u64 {
        self.forwarded
    }

    /// Frames that the director answered itself.
    #[must_use]
    pub const fn replied(&self) -> u64 {
        self.replied
    }

    /// Frames left to the host.
    #[must_use]
    pub const fn to_host(&self) -> u64 {
        self.to_host
    }

    /// Fragments kept until the others of their datagram came.
    #[must_use]
    pub const fn queued(&self) -> u64 {
        self.queued
    }

    /// Frames dropped for one reason.
    #[must_use]
    pub const fn dropped(&self, reason: DropReason) -> u64 {
        self.drops[reason as usize]
    }
}

//! The director: an engine with devices, a clock and a configuration.
//!
//! * [`Director`] is what those who start one see.
//! * The **worker** (a thread, `worker`) takes frames from the rings, asks the engine, and sends. It decides from a
//!   snapshot that is replaced as a whole; nobody else touches its connections, so who wants to know something
//!   asks it.
//! * The **upkeep** (a thread, `upkeep`) follows what the kernel says of the network and does what the worker has no time
//!   for.
//! * The **plan** is what both follow from: the wish, the kernel's network, and what the kernel's own stack was
//!   told to keep away from (`claims`, `nft`), or to hand over (`moved`).

mod around;
pub mod claims;
mod clock;
pub mod config;
mod counters;
mod director;
pub mod ends;
mod enforced;
mod error;
mod family;
mod follow;
mod host_stack;
mod legs;
mod links;
mod moved;
mod network;
mod nft;
mod plan;
mod ports;
mod quoted;
mod rings;
mod rivals;
mod tally;
mod tap;
#[cfg(test)]
mod testing;
mod told;
mod upkeep;
mod wanted;
mod watch;
mod wish;
mod worker;

pub use around::{Around, Nothing};
pub use counters::WorkerCounters;
pub use director::Director;
pub use error::Error;
pub use legs::Missing;
pub use ports::Lost;

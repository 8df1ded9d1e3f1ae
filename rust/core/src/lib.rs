//! The LVS engine.
pub mod frame;
pub mod net;
pub mod time;
pub mod verdict;

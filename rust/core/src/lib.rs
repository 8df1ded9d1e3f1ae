//! The LVS engine.
pub mod frame;
pub mod net;
pub mod network;
pub mod scheduler;
pub mod service;
pub mod time;
pub mod verdict;
pub mod wire;

//! The LVS engine.
pub mod capture;
pub mod forward;
pub mod frame;
pub mod net;
pub mod network;
pub mod packet;
pub mod scheduler;
pub mod service;
pub mod time;
pub mod verdict;
pub mod wire;

//! The director: an engine with devices, a clock and a configuration.

pub mod config;

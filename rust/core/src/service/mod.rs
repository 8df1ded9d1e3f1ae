//! What is balanced: virtual services, their real servers, and the table of both.

mod real_server;

pub use real_server::{Method, RealServer, ServerId, Statistics, StatisticsValues};

//! Real servers: what one is to be, how packets reach it, how many connections it has, what is counted of it.

mod account;
mod cell;
mod load;
mod method;
mod real_server;
mod spec;
mod statistics;

pub use account::Account;
pub use method::{Encapsulation, Method};
pub use real_server::{RealServer, ServerId};
pub use spec::ServerSpec;
pub(crate) use statistics::Passes;
pub use statistics::{Statistics, StatisticsValues};

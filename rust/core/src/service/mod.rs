//! What is balanced: virtual services, their real servers, and the table of both.

mod find;
mod real_server;
mod spec;
mod table;
mod trash;

pub use real_server::{Encapsulation, Method, RealServer, ServerId, Statistics, StatisticsValues};
pub use spec::{SchedulerSpec, ServerSpec, ServiceKey, ServiceSpec, SpecError};
pub use table::{ServiceTable, VirtualService};

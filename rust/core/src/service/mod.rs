//! What is balanced: virtual services, their real servers, and the table of both.

mod edit;
mod find;
mod load;
mod ranges;
mod real_server;
mod spec;
mod statistics;
mod table;
mod trash;
mod virtual_service;

pub use edit::{Checked, Edit, differences};
pub use ranges::{ServiceAddress, ServiceAddressError, Span};
pub use real_server::{Encapsulation, Method, RealServer, ServerId};
pub use spec::{Persistence, SchedulerSpec, ServerSpec, ServiceKey, ServiceSpec, SpecError};
pub use statistics::{Statistics, StatisticsValues};
pub(crate) use table::FTP_DATA_PORT;
pub use table::{FTP_PORT, ServiceTable};
pub use virtual_service::{Account, VirtualService};

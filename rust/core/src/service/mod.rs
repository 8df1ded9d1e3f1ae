//! What is balanced: virtual services, their real servers, and the table of both.

mod account;
mod address;
mod change;
mod check;
mod edit;
mod key;
mod load;
mod method;
mod ranges;
mod real_server;
mod row;
mod server_spec;
mod servers;
mod spec;
mod statistics;
mod table;
mod trash;
mod virtual_service;

pub use account::Account;
pub use address::{ServiceAddress, ServiceAddressError, Span};
pub use change::Checked;
pub use check::SpecError;
pub use edit::{Edit, differences};
pub use key::ServiceKey;
pub use method::{Encapsulation, Method};
pub use real_server::{RealServer, ServerId};
pub use server_spec::ServerSpec;
pub use spec::{Persistence, SchedulerSpec, ServiceSpec};
pub use statistics::{Statistics, StatisticsValues};
pub(crate) use table::FTP_DATA_PORT;
pub use table::{FTP_PORT, ServiceTable};
pub use virtual_service::VirtualService;

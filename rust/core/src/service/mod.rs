//! What is balanced: virtual services, their real servers, and the table of both.

mod change;
mod check;
mod edit;
mod ranges;
mod row;
mod servers;
mod spec;
mod table;
mod trash;
mod virtual_service;

pub use crate::server::{
    Account, Encapsulation, Method, RealServer, ServerId, ServerSpec, Statistics, StatisticsValues,
};
pub use crate::service_address::{ServiceAddress, ServiceAddressError, Span};
pub use crate::service_key::ServiceKey;
pub use change::Checked;
pub use check::SpecError;
pub use edit::{Edit, differences};
pub use spec::{Persistence, SchedulerSpec, ServiceSpec};
pub(crate) use table::FTP_DATA_PORT;
pub use table::{FTP_PORT, ServiceTable};
pub use virtual_service::VirtualService;

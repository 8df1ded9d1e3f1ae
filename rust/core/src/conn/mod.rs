//! Connections: what is remembered of each flow, how it is found, when it is forgotten.

mod connection;
mod index;
mod page;
mod rules;
mod slab;
mod table;
mod template;
mod thinning;
mod view;
mod wheel;

pub use crate::state::{Direction, Event, SctpEvent, SctpState, State, TcpState};
pub use connection::{Connection, ConnectionId};
pub use page::{Cursor, EndFilter, Filter, Page};
pub use rules::Rules;
pub(crate) use table::NEXT_TICK;
pub(crate) use table::Sweep;
pub use table::{ConnectionTable, Found};
pub use template::{TemplateId, TemplateKey};
pub use view::ConnectionView;

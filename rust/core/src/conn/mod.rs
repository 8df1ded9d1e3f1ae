//! Connections: what is remembered of each flow, how it is found, when it is forgotten.

mod connection;
mod direction;
mod index;
mod page;
mod rules;
mod sctp_state;
mod slab;
mod state;
mod table;
mod tcp_state;
mod template;
mod thinning;
mod view;
mod wheel;

pub use connection::{Connection, ConnectionId};
pub use direction::Direction;
pub use page::{Cursor, Ends, Filter, Page};
pub use rules::Rules;
pub use sctp_state::{SctpEvent, SctpState};
pub use state::{Event, State};
pub(crate) use table::NEXT_TICK;
pub(crate) use table::Sweep;
pub use table::{ConnectionTable, Found};
pub use tcp_state::TcpState;
pub use template::{TemplateId, TemplateKey};
pub use view::ConnectionView;

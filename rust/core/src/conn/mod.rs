//! Connections: what is remembered of each flow, how it is found, when it is forgotten.

mod connection;
mod table;
mod tcp_state;
mod wheel;

pub use connection::{Connection, ConnectionId, ConnectionView, Direction, State};
pub use table::{ConnectionTable, Found};
pub use tcp_state::TcpState;

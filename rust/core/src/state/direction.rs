//! Which way a packet goes, as the state machines see it.

/// Which way a packet of a connection goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// Client to server.
    Input,
    /// Server to client.
    Output,
    /// Client to server, while no packet of the server has passed.
    InputOnly,
}

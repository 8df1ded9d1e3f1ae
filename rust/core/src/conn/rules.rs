//! What the user says of states and timeouts.

use crate::settings::Timeouts;

/// What the state machines go by.
#[derive(Clone, Copy, Debug)]
pub struct Rules<'a> {
    /// How long connections are kept.
    pub timeouts: &'a Timeouts,
    /// Whether TCP connections count as established later.
    pub secure_tcp: bool,
}

//! What a director is to do, as plain values, and the two formats that say it: `director.toml`
//! (in [`Configuration::from_toml`]) and what `ipvsadm -S` saves (in [`Configuration::from_rules`]).
//!
//! Reading checks everything, so that a configuration that was read can be applied; what depends on the
//! machine (interfaces, privileges) the director finds out.

mod configuration;
mod draft;
mod error;
mod file;
mod rules;
mod service;
mod settings;
mod table;
mod value;

pub use configuration::{Configuration, SchedulerName, ServiceConfig, StaticNeighbour, StaticRoute};
pub use error::{ConfigError, Place};

impl Configuration {
    /// Reads the text of a `director.toml`. `file` is what errors call it.
    pub fn from_toml(text: &str, file: &str) -> Result<Self, ConfigError> {
        file::read(without_mark(text), file)
    }

    /// Reads rules in the format of `ipvsadm -S`. `file` is what errors call them.
    pub fn from_rules(text: &str, file: &str) -> Result<Self, ConfigError> {
        rules::read(without_mark(text), file)
    }
}

/// The text without the byte order mark that some editors put before it.
fn without_mark(text: &str) -> &str {
    text.strip_prefix('\u{feff}').unwrap_or(text)
}

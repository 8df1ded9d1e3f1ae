//! What is wrong with a configuration, and where.

use std::fmt;

/// What a configuration says that cannot be.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub struct ConfigError {
    /// The file as the user named it; empty where the configuration comes from no file.
    pub file: String,
    /// The line, counted from 1.
    pub line: Option<usize>,
    /// What the value belongs to, as the file calls it: `service[0].scheduler`, `--tcp-service`.
    pub field: Option<String>,
    /// What is wrong and what was expected.
    pub message: String,
}

/// The form that compilers made usual: `file:line: field: message`.
impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.file.as_str(), self.line) {
            ("", None) => {}
            ("", Some(line)) => write!(f, "line {line}: ")?,
            (file, None) => write!(f, "{file}: ")?,
            (file, Some(line)) => write!(f, "{file}:{line}: ")?,
        }
        if let Some(field) = &self.field {
            write!(f, "{field}: ")?;
        }
        f.write_str(&self.message)
    }
}

/// Where something is said.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Place {
    /// The file as the user named it; empty where there is none.
    pub file: String,
    /// The line, counted from 1.
    pub line: Option<usize>,
    /// What stands there, as the file calls it.
    pub field: Option<String>,
}

impl Place {
    /// The error that `message` is about what stands here.
    #[must_use]
    pub fn error(&self, message: impl fmt::Display) -> ConfigError {
        ConfigError {
            file: self.file.clone(),
            line: self.line,
            field: self.field.clone(),
            message: message.to_string(),
        }
    }
}

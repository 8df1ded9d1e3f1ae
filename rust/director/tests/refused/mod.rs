//! What is refused, and how.

use fastlvs_director::config::{ConfigError, Configuration};

/// Each text is refused with an error that begins as expected.
pub fn refused(read: impl Fn(&str) -> Result<Configuration, ConfigError>, cases: &[(String, &str)]) {
    for (text, expected) in cases {
        match read(text) {
            Ok(_) => panic!("accepted:\n{text}"),
            Err(error) => {
                assert!(
                    error.to_string().starts_with(expected),
                    "{text}\nexpected {expected}\n     got {error}"
                );
            }
        }
    }
}

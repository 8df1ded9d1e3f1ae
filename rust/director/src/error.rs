//! Why a director does not start, or does not go on.

use crate::config::ConfigError;
use fastlvs_core::service::SpecError;
use std::io;

/// What went wrong, by what a user would do about it.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A file says something impossible.
    #[error(transparent)]
    Configuration(#[from] ConfigError),
    /// A service or a server is impossible.
    #[error(transparent)]
    Services(#[from] SpecError),
    /// Who wanted a change did not know of the latest.
    #[error(
        "expected generation {expected} of what is wished for, but it is {actual} by now: somebody else changed it"
    )]
    Generation {
        /// The generation that the change was meant for.
        expected: u64,
        /// The one in force.
        actual: u64,
    },
    /// The process may not do what a director does.
    #[error(
        "missing capability {missing}: run as root, or grant it with \
         `setcap cap_net_admin,cap_net_raw+ep {program}`, or with AmbientCapabilities= in the systemd unit"
    )]
    Capability {
        /// Which, comma-separated.
        missing: String,
        /// The program that lacks it.
        program: String,
    },
    /// An interface that is not there, or not what a director can serve.
    #[error("interface {name}: {problem}")]
    Interface {
        /// Its name.
        name: String,
        /// What is wrong with it.
        problem: String,
    },
    /// Something else that the machine lacks.
    #[error("{what}: {problem}")]
    Platform {
        /// What was tried.
        what: &'static str,
        /// Why it failed.
        problem: String,
    },
    /// The worker does not answer. What was to be changed may be in force all the same.
    #[error("the director's worker has not answered for {seconds} s: {why}")]
    Late {
        /// How long.
        seconds: u64,
        /// What it waits for, as far as that is known.
        why: String,
    },
    /// A thread did not end with the director.
    #[error(
        "the director's {thread} did not end within {seconds} s and was left behind: {why}; the kernel has all its \
         packets again"
    )]
    Stuck {
        /// Which.
        thread: &'static str,
        /// How long it was waited for.
        seconds: u64,
        /// What it waits for, as far as that is known.
        why: String,
    },
    /// A thread of the director ended by itself.
    #[error("the director's {thread} ended by itself: {problem}")]
    Ended {
        /// Which.
        thread: &'static str,
        /// Why, as far as it is known.
        problem: String,
    },
}

impl Error {
    /// The exit status of a program that ends with this error: 3 configuration, 4 capability, 5 interface or
    /// platform, 1 anything else.
    #[must_use]
    pub const fn exit_code(&self) -> u8 {
        match self {
            Self::Configuration(_) | Self::Services(_) => 3,
            Self::Capability { .. } => 4,
            Self::Interface { .. } | Self::Platform { .. } => 5,
            Self::Ended { .. } | Self::Generation { .. } | Self::Late { .. } | Self::Stuck { .. } => 1,
        }
    }

    /// A system call that failed.
    pub(crate) fn platform(what: &'static str) -> impl FnOnce(io::Error) -> Self {
        move |error| Self::Platform { what, problem: error.to_string() }
    }
}

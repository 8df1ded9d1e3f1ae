//! The command line of `fastlvs-run`.

use clap::{ArgAction, Parser};
use fastlvs_director::config::{ConfigError, Configuration, Place};
use std::io::Read;
use std::path::{Path, PathBuf};
use tracing::Level;

const EXAMPLES: &str = "\
Examples:
  fastlvs-run director.toml               serve what the file says, until SIGTERM or SIGINT
  fastlvs-run --check director.toml       only say whether the file is good; needs no privilege
  ipvsadm -Sn | fastlvs-run --rules -     serve what the kernel's director serves now
  fastlvs-run --rules saved.rules --interface eth0 --interface eth1

Signals: SIGHUP reads the file again; SIGTERM and SIGINT end the director, a second one ends it at once.

Exit status: 0 good, 1 something else, 2 usage, 3 configuration, 4 missing capability,
  5 interface or platform; 130 or 143 ended at once by a second SIGINT or SIGTERM.

The file's keys are explained in docs/reference/configuration.md and docs/director.example.toml.";

/// The director of fastlvs: takes packets for virtual services and forwards them to real servers.
#[derive(Debug, Parser)]
#[command(name = "fastlvs-run", version, after_help = EXAMPLES, max_term_width = 100)]
pub struct Arguments {
    /// The configuration, a director.toml
    #[arg(required_unless_present = "rules")]
    file: Option<PathBuf>,

    /// Serve the rules of this file in the format of `ipvsadm -Sn`; - is standard input
    #[arg(long, value_name = "FILE", conflicts_with = "file")]
    rules: Option<PathBuf>,

    /// Serve this interface instead of those that the file names; may be given more than once
    #[arg(long, value_name = "NAME")]
    interface: Vec<String>,

    /// Write every frame that passes into this pcap file, which is replaced
    #[arg(long, value_name = "FILE", conflicts_with = "check")]
    capture: Option<PathBuf>,

    /// Check the configuration and end
    #[arg(long)]
    pub check: bool,

    /// Say more (twice: everything)
    #[arg(short, long, action = ArgAction::Count, conflicts_with = "quiet")]
    verbose: u8,

    /// Say only what needs attention (twice: only errors)
    #[arg(short, long, action = ArgAction::Count)]
    quiet: u8,
}

impl Arguments {
    /// What the user calls the configuration's file.
    pub fn name(&self) -> String {
        self.path().display().to_string()
    }

    /// Whether the configuration can be read again.
    pub fn rereadable(&self) -> bool {
        !self.is_standard_input()
    }

    /// Reads the configuration, and checks it as far as that goes without the machine.
    pub fn configuration(&self) -> Result<Configuration, ConfigError> {
        let name = self.name();
        let text = self.text().map_err(|error| {
            let place = Place { file: name.clone(), ..Place::default() };
            place.error(format_args!("cannot be read: {error}"))
        })?;
        let read = if self.rules.is_some() { Configuration::from_rules } else { Configuration::from_toml };
        let mut configuration = read(&text, &name)?;
        configuration.specs()?;
        if !self.interface.is_empty() {
            configuration.interfaces.clone_from(&self.interface);
        }
        if self.capture.is_some() {
            configuration.capture.clone_from(&self.capture);
        }
        Ok(configuration)
    }

    /// The least serious of what is logged.
    pub fn level(&self) -> Level {
        match (self.verbose, self.quiet) {
            (0, 0) => Level::INFO,
            (0, 1) => Level::WARN,
            (0, _) => Level::ERROR,
            (1, _) => Level::DEBUG,
            _ => Level::TRACE,
        }
    }

    fn text(&self) -> std::io::Result<String> {
        if self.is_standard_input() {
            let mut text = String::new();
            std::io::stdin().read_to_string(&mut text)?;
            return Ok(text);
        }
        std::fs::read_to_string(self.path())
    }

    /// One of the two is there: clap sees to it.
    fn path(&self) -> &Path {
        self.file.as_deref().or(self.rules.as_deref()).unwrap_or(Path::new("-"))
    }

    fn is_standard_input(&self) -> bool {
        self.rules.as_deref() == Some(Path::new("-"))
    }
}

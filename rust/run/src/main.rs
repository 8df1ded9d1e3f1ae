//! `fastlvs-run`: the director as a program.

mod cli;
mod log;
mod signals;

use clap::Parser;
use cli::Arguments;
use fastlvs_director::config::{ConfigError, Configuration};
use fastlvs_director::{Director, Error, Missing};
use log::Log;
use sd_notify::NotifyState;
use signals::Request;
use std::env;
use std::fmt;
use std::io::{self, IsTerminal, Write};
use std::process::ExitCode;
use std::sync::mpsc::RecvTimeoutError;
use std::time::Duration;
use tracing::{debug, error, info, warn};
use tracing_subscriber::EnvFilter;

/// How long a director that ended by itself may go unnoticed.
const LOOK: Duration = Duration::from_millis(250);

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    // Without threads there is no director either.
    let Ok(log) = Log::to(io::stderr()) else { return ExitCode::FAILURE };
    log_to(&log, &arguments);
    let ended = if arguments.check { check(&arguments).map_err(Error::from) } else { run(&arguments) };
    log.end(ended.as_ref().err().map(|error| format!("fastlvs-run: {error}\n")));
    ended.map_or_else(|error| ExitCode::from(error.exit_code()), |()| ExitCode::SUCCESS)
}

fn check(arguments: &Arguments) -> Result<(), ConfigError> {
    let configuration = arguments.configuration()?;
    say(&format!("{}: {}: good", arguments.name(), size(&configuration)));
    Ok(())
}

fn run(arguments: &Arguments) -> Result<(), Error> {
    let configuration = arguments.configuration()?;
    let requests = signals::requests()
        .map_err(|error| Error::Platform { what: "catching signals", problem: error.to_string() })?;
    let director = Director::start(&configuration)?;
    let mut serving = Serving {
        size: size(&configuration),
        interfaces: director.interfaces().join(" "),
        missing: Vec::new(),
    };
    let status = serving.to_string();
    say(&format!("fastlvs-run: ready: {status}"));
    tell_manager(&[NotifyState::Ready, NotifyState::Status(&status)]);
    let failure = loop {
        let missing = director.missing();
        if missing != serving.missing {
            serving.missing = missing;
            tell_manager(&[NotifyState::Status(&serving.to_string())]);
        }
        match requests.recv_timeout(LOOK) {
            Ok(Request::Reload) => reload(arguments, &director, &mut serving),
            Ok(Request::Stop) | Err(RecvTimeoutError::Disconnected) => break None,
            Err(RecvTimeoutError::Timeout) => {}
        }
        if let Some(failure) = director.failure() {
            break Some(failure);
        }
    };
    tell_manager(&[NotifyState::Stopping]);
    let stopped = director.stop();
    failure.map_or(stopped, Err)
}

/// What is told of a director that runs.
struct Serving {
    size: String,
    interfaces: String,
    missing: Vec<Missing>,
}

impl fmt::Display for Serving {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { size, interfaces, missing } = self;
        write!(f, "{size} on {interfaces}")?;
        for (place, missing) in missing.iter().enumerate() {
            write!(f, "{} {missing}", if place == 0 { "; degraded:" } else { "," })?;
        }
        Ok(())
    }
}

/// Reads the configuration again and applies it. What is wrong with it leaves the old one in force.
fn reload(arguments: &Arguments, director: &Director, serving: &mut Serving) {
    if !arguments.rereadable() {
        warn!("SIGHUP: rules from standard input cannot be read again");
        return;
    }
    let now = NotifyState::monotonic_usec_now();
    // A manager that wants the time of the reload refuses a reload without it.
    if let Ok(now) = now {
        tell_manager(&[NotifyState::Reloading, now]);
    }
    let applied = arguments.configuration().map_err(Error::from).and_then(|configuration| {
        director.reconfigure(&configuration)?;
        Ok(size(&configuration))
    });
    match applied {
        Ok(size) => {
            (serving.size, serving.missing) = (size, director.missing());
            if serving.missing.is_empty() {
                info!("reloaded {}: {}", arguments.name(), serving.size);
            } else {
                warn!("reloaded {}: {serving}", arguments.name());
            }
            tell_manager(&[NotifyState::Ready, NotifyState::Status(&serving.to_string())]);
        }
        Err(error) => {
            error!("reload refused, the old configuration stays in force: {error}");
            tell_manager(&[NotifyState::Ready]);
        }
    }
}

/// `3 services, 9 real servers`.
fn size(configuration: &Configuration) -> String {
    let counted = |count: usize, noun: &str| format!("{count} {noun}{}", if count == 1 { "" } else { "s" });
    let servers = configuration.services.iter().map(|service| service.servers.len()).sum();
    format!("{}, {}", counted(configuration.services.len(), "service"), counted(servers, "real server"))
}

/// Prints a line for whoever started the program.
fn say(line: &str) {
    let mut output = io::stdout().lock();
    if let Err(error) = writeln!(output, "{line}").and_then(|()| output.flush()) {
        warn!("standard output: {error}");
    }
}

fn tell_manager(state: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(false, state) {
        debug!("service manager: {error}");
    }
}

/// The journal stamps the time itself.
fn log_to(log: &Log, arguments: &Arguments) {
    let level = arguments.level().to_string();
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new(level));
    let lines = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_target(false)
        .with_ansi(io::stderr().is_terminal())
        .with_writer(log.clone());
    if env::var_os("JOURNAL_STREAM").is_some() { lines.without_time().init() } else { lines.init() }
}

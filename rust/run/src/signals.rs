//! Signals, as messages to the main thread.

use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;
use std::io;
use std::sync::mpsc::{Receiver, channel};
use std::thread;

/// What a signal asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Request {
    /// SIGHUP: read the configuration again.
    Reload,
    /// SIGTERM or SIGINT: end.
    Stop,
}

/// Catches the signals from now on. A second SIGTERM or SIGINT ends the process at once, with the status that
/// a shell gives for a program that the signal ended.
pub fn requests() -> io::Result<Receiver<Request>> {
    let mut signals = Signals::new([SIGHUP, SIGINT, SIGTERM])?;
    let (sender, receiver) = channel();
    let listen = move || {
        let mut stopping = false;
        for signal in signals.forever() {
            let request = if signal == SIGHUP { Request::Reload } else { Request::Stop };
            if request == Request::Stop && std::mem::replace(&mut stopping, true) {
                std::process::exit(128 + signal);
            }
            // The main thread has gone only when the process is ending.
            let _ = sender.send(request);
        }
    };
    thread::Builder::new().name("signals".to_owned()).spawn(listen)?;
    Ok(receiver)
}

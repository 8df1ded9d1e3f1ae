//! The log on standard error, which nobody waits for: a disk that is full, a pipe without reader or one that nobody
//! reads costs lines, never a director. What was not written is counted, and told as soon as something can be.

use std::io::{self, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::mpsc::{Receiver, Sender, SyncSender, TrySendError, channel, sync_channel};
use std::thread;
use std::time::{Duration, Instant};
use tracing_subscriber::fmt::MakeWriter;

/// What the number of lines that were not written is told with.
const MISSING: &str = "fastlvs-run: lines of the log that could not be written: ";
/// Lines that may wait to be written.
const LINES: usize = 1024;
/// How long the end waits for what is still to be written.
const PATIENCE: Duration = Duration::from_secs(1);
/// How often the end looks whether there is room for one line more.
const LOOK: Duration = Duration::from_millis(5);

/// Where lines are handed in.
#[derive(Clone, Debug)]
pub struct Log {
    queue: SyncSender<Message>,
    /// Lines that were not written and not told of yet.
    unwritten: Arc<AtomicU64>,
}

#[derive(Debug)]
enum Message {
    Line(Vec<u8>),
    /// Tells when all before it was written or given up.
    End(Sender<()>),
}

impl Log {
    /// A log whose thread writes into `output`.
    pub fn to(output: impl Write + Send + 'static) -> io::Result<Self> {
        let (queue, messages) = sync_channel(LINES);
        let unwritten = Arc::new(AtomicU64::new(0));
        let mut writing = Writing { output, unwritten: Arc::clone(&unwritten) };
        thread::Builder::new().name("log".to_owned()).spawn(move || writing.run(&messages))?;
        Ok(Self { queue, unwritten })
    }

    /// Writes what is still to be written, `line` last, as far as that goes within a second.
    pub fn end(&self, line: Option<String>) {
        let end = Instant::now() + PATIENCE;
        if let Some(line) = line {
            self.hand_in(Message::Line(line.into_bytes()), end);
        }
        let (done, written) = channel();
        if self.hand_in(Message::End(done), end) {
            // Late or not, nothing more can be done.
            let _late = written.recv_timeout(end.saturating_duration_since(Instant::now()));
        }
    }

    /// Waits for room until `end`.
    fn hand_in(&self, mut message: Message, end: Instant) -> bool {
        loop {
            message = match self.queue.try_send(message) {
                Ok(()) => return true,
                Err(TrySendError::Full(message)) if Instant::now() < end => message,
                Err(_) => return false,
            };
            thread::sleep(LOOK);
        }
    }
}

impl Write for Log {
    /// Takes a line. It never waits and never fails.
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        if self.queue.try_send(Message::Line(line.to_vec())).is_err() {
            self.unwritten.fetch_add(1, Relaxed);
        }
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl MakeWriter<'_> for Log {
    type Writer = Self;

    fn make_writer(&self) -> Self {
        self.clone()
    }
}

/// What the log's thread has.
struct Writing<W> {
    output: W,
    unwritten: Arc<AtomicU64>,
}

impl<W: Write> Writing<W> {
    fn run(&mut self, messages: &Receiver<Message>) {
        for message in messages {
            match message {
                Message::Line(line) => {
                    if !self.tell_unwritten() || self.put(&line).is_err() {
                        self.unwritten.fetch_add(1, Relaxed);
                    }
                }
                Message::End(done) => {
                    self.tell_unwritten();
                    // Who waited may have given up.
                    let _gone = done.send(());
                }
            }
        }
    }

    /// Says whether nothing is left to be told.
    fn tell_unwritten(&mut self) -> bool {
        let lines = self.unwritten.swap(0, Relaxed);
        if lines == 0 {
            return true;
        }
        // What failed may have written the beginning of a line.
        let told = self.put(format!("\n{MISSING}{lines}\n").as_bytes());
        if told.is_err() {
            self.unwritten.fetch_add(lines, Relaxed);
        }
        told.is_ok()
    }

    fn put(&mut self, line: &[u8]) -> io::Result<()> {
        self.output.write_all(line)?;
        self.output.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Mutex;

    /// Refuses everything while `full`.
    #[derive(Clone, Default)]
    struct Disk {
        full: Arc<Mutex<bool>>,
        written: Arc<Mutex<Vec<u8>>>,
    }

    impl Write for Disk {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            if *self.full.lock().unwrap() {
                return Err(io::ErrorKind::StorageFull.into());
            }
            self.written.lock().unwrap().extend(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn what_a_full_disk_did_not_take_is_told_when_there_is_room() {
        let disk = Disk::default();
        let mut log = Log::to(disk.clone()).unwrap();
        *disk.full.lock().unwrap() = true;
        for _ in 0..3 {
            writeln!(&mut log, "lost").unwrap();
        }
        log.end(None);
        *disk.full.lock().unwrap() = false;
        log.end(Some("last\n".to_owned()));
        let written = String::from_utf8(disk.written.lock().unwrap().clone()).unwrap();
        assert_eq!(written, format!("\n{MISSING}3\nlast\n"));
    }

    #[test]
    fn nobody_waits_for_a_pipe_that_nobody_reads() {
        let (mut reader, pipe) = io::pipe().unwrap();
        let mut log = Log::to(pipe).unwrap();
        let line = format!("{:100}\n", "a line").into_bytes();
        let begin = Instant::now();
        for _ in 0..10_000 {
            log.write_all(&line).unwrap();
        }
        assert!(begin.elapsed() < PATIENCE, "{:?}", begin.elapsed());
        log.end(Some("last\n".to_owned()));
        assert!(begin.elapsed() < 5 * PATIENCE, "{:?}", begin.elapsed());
        // When somebody reads at last, every line was written or told to be missing.
        let read = thread::spawn(move || io::read_to_string(&mut reader).unwrap());
        log.end(None);
        drop(log);
        let read = read.join().unwrap();
        let written = read.lines().filter(|line| line.starts_with("a line")).count() as u64;
        let missing = read.lines().filter_map(|line| line.strip_prefix(MISSING)?.parse::<u64>().ok());
        assert_eq!(written + missing.sum::<u64>(), 10_000);
        assert!(written < 5_000, "{written}");
    }
}

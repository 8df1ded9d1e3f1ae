//! Waiting for descriptors, and waking somebody who waits.

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::time::{Duration, Instant};

/// Wakes a thread out of [`PollSet::wait`]: share it, let the one wait for it and any other call
/// [`Wake::wake`]. Several wakes before a [`Wake::clear`] are one.
#[derive(Debug)]
pub struct Wake(OwnedFd);

impl Wake {
    /// A wake that nobody has called yet.
    pub fn new() -> io::Result<Self> {
        // SAFETY: eventfd(2) takes no pointer.
        let fd = unsafe { libc::eventfd(0, libc::EFD_CLOEXEC | libc::EFD_NONBLOCK) };
        if fd < 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: the kernel just gave us this descriptor, and nobody else knows it.
        Ok(Self(unsafe { OwnedFd::from_raw_fd(fd) }))
    }

    /// Makes the descriptor readable. Cannot fail: a counter that is full is readable already.
    pub fn wake(&self) {
        let one = 1_u64.to_ne_bytes();
        // SAFETY: the pointer and the length describe `one`, which the kernel only reads.
        unsafe { libc::write(self.0.as_raw_fd(), one.as_ptr().cast(), one.len()) };
    }

    /// Makes the descriptor unreadable until the next wake.
    pub fn clear(&self) {
        let mut count = [0_u8; 8];
        // SAFETY: the pointer and the length describe `count`, which the kernel fills.
        unsafe { libc::read(self.0.as_raw_fd(), count.as_mut_ptr().cast(), count.len()) };
    }
}

impl AsFd for Wake {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

/// poll(2) for reading. Keeps its list, so that waiting allocates only when more descriptors than
/// ever are waited for.
#[derive(Debug, Default)]
pub struct PollSet(Vec<libc::pollfd>);

impl PollSet {
    /// Waits until one of `fds` can be read, has an error or lost its peer, or `timeout` is over (`None`:
    /// for ever). Signals do not end the wait.
    pub fn wait(&mut self, fds: &[BorrowedFd<'_>], timeout: Option<Duration>) -> io::Result<Readable<'_>> {
        self.0.clear();
        self.0.extend(fds.iter().map(|fd| libc::pollfd {
            fd: fd.as_raw_fd(),
            events: libc::POLLIN,
            revents: 0,
        }));
        // A deadline beyond what the clock can count is none.
        let deadline = timeout.and_then(|timeout| Instant::now().checked_add(timeout));
        loop {
            let left =
                deadline.map(|deadline| to_timespec(deadline.saturating_duration_since(Instant::now())));
            let left_pointer = left.as_ref().map_or(std::ptr::null(), std::ptr::from_ref);
            // SAFETY: the pointer and the count describe our own vector, which nobody else touches until the
            // call returns; the time is null or points to `left`, which outlives the call; a null signal mask
            // means the present one.
            let result = unsafe {
                libc::ppoll(self.0.as_mut_ptr(), self.0.len() as libc::nfds_t, left_pointer, std::ptr::null())
            };
            if result >= 0 {
                return Ok(Readable(&self.0));
            }
            let error = io::Error::last_os_error();
            if error.kind() != io::ErrorKind::Interrupted {
                return Err(error);
            }
        }
    }
}

/// What a wait found.
#[derive(Clone, Copy, Debug)]
pub struct Readable<'a>(&'a [libc::pollfd]);

impl Readable<'_> {
    /// Whether the descriptor at this place of the list can be read, errors and hang-ups included;
    /// false beyond the list's end.
    #[must_use]
    pub fn is(self, place: usize) -> bool {
        self.0.get(place).is_some_and(|entry| entry.revents != 0)
    }

    /// Whether any can; if not, the time was over.
    #[must_use]
    pub fn any(self) -> bool {
        self.0.iter().any(|entry| entry.revents != 0)
    }
}

fn to_timespec(duration: Duration) -> libc::timespec {
    libc::timespec {
        tv_sec: libc::time_t::try_from(duration.as_secs()).unwrap_or(libc::time_t::MAX),
        tv_nsec: duration.subsec_nanos().into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SHORT: Option<Duration> = Some(Duration::from_millis(20));
    const LONG: Option<Duration> = Some(Duration::from_secs(60));

    #[test]
    fn a_wake_stays_until_it_is_cleared() {
        let (quiet, loud) = (Wake::new().unwrap(), Wake::new().unwrap());
        let mut set = PollSet::default();
        let fds = [quiet.as_fd(), loud.as_fd()];
        let start = Instant::now();
        assert!(!set.wait(&fds, SHORT).unwrap().any());
        assert!(start.elapsed() >= Duration::from_millis(20), "returned after {:?}", start.elapsed());

        loud.wake();
        loud.wake();
        for _ in 0..2 {
            let readable = set.wait(&fds, None).unwrap();
            assert_eq!([readable.is(0), readable.is(1), readable.is(2)], [false, true, false]);
        }
        loud.clear();
        loud.clear();
        assert!(!set.wait(&fds, Some(Duration::ZERO)).unwrap().any());
    }

    #[test]
    fn another_thread_ends_the_wait() {
        let wake = Wake::new().unwrap();
        std::thread::scope(|scope| {
            scope.spawn(|| {
                std::thread::sleep(Duration::from_millis(20));
                wake.wake();
            });
            assert!(PollSet::default().wait(&[wake.as_fd()], LONG).unwrap().any());
        });
    }

    #[test]
    fn a_peer_that_hung_up_is_readable() {
        let (ours, theirs) = std::os::unix::net::UnixStream::pair().unwrap();
        let mut set = PollSet::default();
        assert!(!set.wait(&[ours.as_fd()], Some(Duration::ZERO)).unwrap().any());
        drop(theirs);
        assert!(set.wait(&[ours.as_fd()], LONG).unwrap().is(0));
    }
}

//! The memory of a ring, shared with the kernel.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU32, Ordering};

/// The memory of one ring. Each slot starts with a status word that says whose the slot is: who has it
/// may read and write the rest of it, and hands it over by changing the word.
#[derive(Debug)]
pub struct Mapping {
    start: NonNull<u8>,
    length: usize,
}

// SAFETY: the memory is plain bytes, reached only through `&self` and `&mut self` below; the kernel, the
// other party, does not care which thread of ours it is.
unsafe impl Send for Mapping {}

impl Mapping {
    /// Maps the ring of a socket, `length` bytes, and has all of its pages made at once.
    pub fn new(socket: BorrowedFd<'_>, length: usize) -> io::Result<Self> {
        let protection = libc::PROT_READ | libc::PROT_WRITE;
        let flags = libc::MAP_SHARED | libc::MAP_POPULATE;
        // SAFETY: a new mapping at a place of the kernel's choice; nothing of ours is touched.
        let start =
            unsafe { libc::mmap(std::ptr::null_mut(), length, protection, flags, socket.as_raw_fd(), 0) };
        if start == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        let start = NonNull::new(start.cast()).ok_or(io::ErrorKind::OutOfMemory)?;
        Ok(Self { start, length })
    }

    /// The status word of the slot at `place`. `Acquire`: what the kernel wrote into the slot before it
    /// handed it over is seen after this.
    pub fn status(&self, place: usize) -> u32 {
        self.word(place).load(Ordering::Acquire)
    }

    /// Hands the slot at `place` to the kernel. `Release`: whatever was read from or written to the slot
    /// before is done before the kernel sees the word.
    pub fn hand_over(&self, place: usize, status: u32) {
        self.word(place).store(status, Ordering::Release);
    }

    /// Part of a slot that is ours: `length` bytes from `place` on.
    ///
    /// # Panics
    /// When the part does not lie in the ring.
    pub fn bytes_mut(&mut self, place: usize, length: usize) -> &mut [u8] {
        assert!(place <= self.length && length <= self.length - place, "a part of the ring");
        // SAFETY: it lies in the mapping, as was just checked, which lives as long as `self`; `&mut self` keeps
        // other parts of ours away. The kernel leaves a slot alone whose status says that it is ours, and the
        // callers look at the status first.
        unsafe { std::slice::from_raw_parts_mut(self.start.as_ptr().add(place), length) }
    }

    fn word(&self, place: usize) -> &AtomicU32 {
        assert!(place + 4 <= self.length && place.is_multiple_of(4), "a slot of the ring");
        // SAFETY: it lies in the mapping and is aligned, as was just checked (the mapping starts at a page);
        // both sides only ever use it as an atomic word.
        unsafe { AtomicU32::from_ptr(self.start.as_ptr().add(place).cast()) }
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        // SAFETY: the mapping was made by `new` with this length, and nobody holds a part of it any more.
        unsafe { libc::munmap(self.start.as_ptr().cast(), self.length) };
    }
}

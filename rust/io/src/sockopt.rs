//! setsockopt(2), for the options that the standard library does not know.

use std::io;
use std::mem::size_of;
use std::os::fd::{AsRawFd, BorrowedFd};

/// Sets one option of a socket. `T` must be the type that the kernel expects for it.
pub(crate) fn set<T: Copy>(fd: BorrowedFd<'_>, level: i32, name: i32, value: T) -> io::Result<()> {
    // SAFETY: the pointer and the length describe `value`, which lives until the call returns; the
    // kernel only reads it.
    let result = unsafe {
        libc::setsockopt(
            fd.as_raw_fd(),
            level,
            name,
            (&raw const value).cast(),
            size_of::<T>() as libc::socklen_t,
        )
    };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// Makes a buffer as large as asked, above the system's limit where the process may (`forced`), else
/// up to that limit (`plain`).
pub(crate) fn set_buffer(fd: BorrowedFd<'_>, forced: i32, plain: i32, bytes: i32) -> io::Result<()> {
    set(fd, libc::SOL_SOCKET, forced, bytes).or_else(|_| set(fd, libc::SOL_SOCKET, plain, bytes))
}

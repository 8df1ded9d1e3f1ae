//! Rings for interfaces that came back, on their way to the worker; and those that these replace, on their way to where
//! nobody waits while the kernel takes them apart.

use fastlvs_core::net::InterfaceId;
use fastlvs_io::device::{Device, Receiver, Sender};
use fastlvs_io::netlink::Link;
use std::fmt;
use std::io;
use std::sync::mpsc;

/// Opens rings for an interface that came back.
pub trait Reopen: Send {
    /// Opens them and hands them to the worker, which has them with the next snapshot at the latest.
    ///
    /// # Errors
    /// The system's: the link has gone again.
    fn reopen(&mut self, interface: InterfaceId, link: &Link) -> io::Result<()>;

    /// Drops the rings that the worker has replaced.
    fn drop_replaced(&mut self);
}

impl fmt::Debug for dyn Reopen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reopen").finish_non_exhaustive()
    }
}

/// The halves of a device, which stands at that place.
type Halves<R, S> = (InterfaceId, R, S);

/// What the worker has of it.
#[derive(Debug)]
pub struct Reopened<R, S> {
    new: mpsc::Receiver<Halves<R, S>>,
    old: mpsc::Sender<Halves<R, S>>,
}

impl<R: Receiver, S: Sender> Reopened<R, S> {
    /// The next rings that it is to have.
    pub fn next(&self) -> Option<Halves<R, S>> {
        self.new.try_recv().ok()
    }

    /// Takes what it had in their place.
    pub fn replaced(&self, interface: InterfaceId, receiver: R, sender: S) {
        // Without an upkeep the director is ending.
        let _ending = self.old.send((interface, receiver, sender));
    }
}

struct Reopening<D: Device, F> {
    open: F,
    new: mpsc::Sender<Halves<D::Receiver, D::Sender>>,
    old: mpsc::Receiver<Halves<D::Receiver, D::Sender>>,
}

impl<D, F> Reopen for Reopening<D, F>
where
    D: Device<Receiver: Send, Sender: Send>,
    F: FnMut(&Link) -> io::Result<D> + Send,
{
    fn reopen(&mut self, interface: InterfaceId, link: &Link) -> io::Result<()> {
        let (receiver, sender) = (self.open)(link)?.split();
        // Without a worker the director is ending.
        let _ending = self.new.send((interface, receiver, sender));
        Ok(())
    }

    fn drop_replaced(&mut self) {
        self.old.try_iter().for_each(drop);
    }
}

/// Both ends of it; rings are opened by `open`.
pub fn reopening<D>(
    open: impl FnMut(&Link) -> io::Result<D> + Send + 'static,
) -> (Box<dyn Reopen>, Reopened<D::Receiver, D::Sender>)
where
    D: Device<Receiver: Send, Sender: Send> + 'static,
{
    let (to_worker, new) = mpsc::channel();
    let (from_worker, old) = mpsc::channel();
    (Box::new(Reopening { open, new: to_worker, old }), Reopened { new, old: from_worker })
}

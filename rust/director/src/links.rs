//! What binds a worker to the rest of the director: what it decides from, what it tells and what it is asked.

use crate::claims::Claims;
use crate::counters::WorkerCounters;
use crate::moved::Moved;
use arc_swap::ArcSwap;
use fastlvs_core::conn::{Cursor, Filter, Page};
use fastlvs_core::net::{InterfaceId, Mac};
use fastlvs_core::pipeline::Snapshot;
use fastlvs_core::time::Duration;
use fastlvs_io::raw::GiveBack;
use fastlvs_io::wake::Wake;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::mpsc;

/// What a worker decides from; replaced as a whole.
#[derive(Clone, Debug, Default)]
pub struct Live {
    /// Services, network and settings.
    pub snapshot: Snapshot,
    /// What the kernel's stack is kept away from.
    pub claims: Arc<Claims>,
    /// What the host sends from real servers of its own, while there are any.
    pub moved: Option<Arc<Moved>>,
}

/// What a worker cannot do itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// A neighbour's link-layer address is wanted.
    Wanted(InterfaceId, IpAddr),
    /// Somebody on the link says that it has this address.
    Claimed(InterfaceId, IpAddr, Mac),
}

/// A question from outside, and where the answer goes.
#[derive(Debug)]
pub enum Question {
    /// Some of the connections as they are now.
    Connections(Cursor, Filter, mpsc::Sender<Page>),
    /// Some of the persistence templates.
    Templates(Cursor, Filter, mpsc::Sender<Page>),
    /// What was counted.
    Counters(mpsc::Sender<WorkerCounters>),
    /// The services were changed; answered when the worker has seen it.
    ServicesChanged(mpsc::Sender<()>),
    /// End.
    Stop,
}

/// A worker's connections to the rest of the director.
#[derive(Debug)]
pub struct Links {
    /// What it decides from.
    pub live: Arc<ArcSwap<Live>>,
    /// Where it tells of events; when that is full they are told later, or never.
    pub events: mpsc::SyncSender<Event>,
    /// Wakes who takes the events.
    pub on_event: Arc<Wake>,
    /// What it is asked.
    pub questions: mpsc::Receiver<Question>,
    /// Wakes the worker.
    pub wake: Arc<Wake>,
    /// The way to the host's own stack.
    pub host: GiveBack,
    /// How long to look for packets after the last one before it sleeps.
    pub spin: Duration,
}

impl Links {
    /// Tells of an event, if there is room.
    pub fn tell(&self, event: Event) {
        if self.events.try_send(event).is_ok() {
            self.on_event.wake();
        }
    }
}

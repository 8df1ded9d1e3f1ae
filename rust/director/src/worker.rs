//! The thread that forwards: frames in, a decision, frames out.

use crate::claims::Claims;
use crate::clock::Clock;
use crate::egress::{self, Moved};
use crate::host::Host;
use crate::ports::{Lost, Ports};
use arc_swap::ArcSwap;
use fastlvs_core::conn::ConnectionView;
use fastlvs_core::counters::Counters;
use fastlvs_core::frame::Frame;
use fastlvs_core::net::{InterfaceId, Mac};
use fastlvs_core::pipeline::{Pipeline, Snapshot};
use fastlvs_core::time::{Duration, Instant};
use fastlvs_core::verdict::{DropReason, Verdict};
use fastlvs_io::af_packet::RingReceiver;
use fastlvs_io::device::{Device, Received, Receiver, Sender};
use fastlvs_io::raw::GiveBack;
use fastlvs_io::wake::{PollSet, Wake};
use std::fmt;
use std::net::IpAddr;
use std::os::fd::AsFd;
use std::sync::Arc;
use std::sync::mpsc;

/// Frames taken from a device before the next one's turn, and sent with one system call.
const BATCH: usize = 64;
/// The longest sleep: connections expire and frames stop waiting at least this often.
const SLEEP: Duration = Duration::from_millis(100);
/// An aggregate of the greatest length with its link-layer header and VLAN tags.
const SCRATCH: usize = 65_535 + 14 + 8;

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
    /// The connections as they are now.
    Connections(mpsc::Sender<Vec<ConnectionView>>),
    /// What was counted.
    Counters(mpsc::Sender<WorkerCounters>),
    /// The services were changed; answered when the worker has seen it.
    ServicesChanged(mpsc::Sender<()>),
    /// End.
    Stop,
}

/// What a worker counted.
#[derive(Clone, Debug, Default)]
pub struct WorkerCounters {
    /// Frames by verdict.
    pub pipeline: Counters,
    /// Frames that never reached the worker: it was too slow for its ring.
    pub missed: u64,
    /// Frames that were lost after they had been sent on.
    pub lost: Lost,
    /// Packets given back to the host.
    pub given_back: u64,
}

impl fmt::Display for WorkerCounters {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { pipeline, missed, lost, given_back } = self;
        write!(
            f,
            "{} frames: {} forwarded, {} answered, {} left to the host (of them {given_back} given back)",
            pipeline.frames(),
            pipeline.forwarded(),
            pipeline.replied(),
            pipeline.to_host()
        )?;
        for reason in DropReason::ALL.iter().filter(|reason| pipeline.dropped(**reason) > 0) {
            write!(f, ", {} dropped for {reason}", pipeline.dropped(*reason))?;
        }
        let besides = [
            (*missed, "missed"),
            (lost.refused, "refused by the system"),
            (lost.abandoned, "without neighbour"),
        ];
        for (count, what) in besides.iter().filter(|(count, _)| *count > 0) {
            write!(f, "; {count} {what}")?;
        }
        Ok(())
    }
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

/// One worker: devices, connections, and the thread's state.
#[derive(Debug)]
pub struct Worker<R, S> {
    receivers: Vec<R>,
    /// What the host sends from real servers of its own.
    moved: Option<RingReceiver>,
    ports: Ports<S>,
    pipeline: Pipeline,
    links: Links,
    live: Arc<Live>,
    counters: WorkerCounters,
    scratch: Box<[u8]>,
}

impl<R: Receiver, S: Sender> Worker<R, S> {
    /// A worker on these devices, whose places are their [`InterfaceId`]s. `hash_key` guards its
    /// connection table.
    pub fn new<D>(devices: impl IntoIterator<Item = D>, hash_key: (u64, u64), links: Links) -> Self
    where
        D: Device<Receiver = R, Sender = S>,
    {
        let (receivers, senders) = devices.into_iter().map(Device::split).unzip();
        Self {
            receivers,
            moved: None,
            ports: Ports::new(senders),
            pipeline: Pipeline::new(hash_key),
            live: Arc::default(),
            links,
            counters: WorkerCounters::default(),
            scratch: vec![0; SCRATCH].into_boxed_slice(),
        }
    }

    /// Forwards until it is told to stop.
    pub fn run(mut self, clock: Clock) {
        let mut poll = PollSet::default();
        let mut busy = clock.now();
        loop {
            let now = clock.now();
            if self.answer(now) {
                return;
            }
            if self.poll(now) > 0 {
                busy = now;
            } else if now.since(busy) >= self.links.spin {
                self.sleep(&mut poll);
            } else {
                std::hint::spin_loop();
            }
        }
    }

    /// Forwards what is there now, one batch of each device; says how many frames that were.
    pub fn poll(&mut self, now: Instant) -> usize {
        self.refresh(now);
        self.pipeline.advance(now);
        let mut taken = 0;
        for number in 0..self.receivers.len() {
            taken += self.forward(InterfaceId(number as u16), now);
            self.ports.flush();
        }
        if self.moved.is_some() {
            taken += self.forward_moved(now);
            self.ports.flush();
        }
        if self.ports.has_waiting() {
            self.ask();
        }
        taken
    }

    fn forward(&mut self, interface: InterfaceId, now: Instant) -> usize {
        let Self { receivers, ports, pipeline, links, live, counters, scratch, .. } = self;
        let mut host = Host { live, links, scratch, counters };
        receivers[usize::from(interface.0)].receive(BATCH, |received| {
            let Received { bytes, offload, truncated } = received;
            if truncated {
                return pipeline.truncated();
            }
            let frame = Frame { interface, bytes, offload };
            match pipeline.process(&live.snapshot, &frame, now, ports).verdict {
                Verdict::ToHost => host.leave(&frame, &pipeline.for_host(&frame), pipeline.host_fragments()),
                Verdict::Reply => host.answered(&frame),
                _ => {}
            }
        })
    }

    fn forward_moved(&mut self, now: Instant) -> usize {
        let Self { moved, ports, pipeline, live, counters, .. } = self;
        let Some(ring) = moved else { return 0 };
        let network = &live.snapshot.network;
        ring.receive(BATCH, |received| {
            let Received { bytes, offload, truncated } = received;
            let interface = egress::interface(bytes, network);
            let (Some(interface), false) = (interface, truncated) else { return pipeline.truncated() };
            let frame = Frame { interface, bytes, offload };
            if pipeline.process_output(&live.snapshot, &frame, now, ports).verdict == Verdict::ToHost {
                let (packet, fragments) = (pipeline.for_host(&frame), pipeline.host_fragments());
                let passed = egress::pass(&packet, fragments, network, ports);
                counters.lost.refused += u64::from(passed.is_err());
            }
        })
    }

    /// Takes the newest snapshot, and sends what waited for a neighbour that it knows.
    fn refresh(&mut self, now: Instant) {
        self.ports.set_time(now);
        let live = self.links.live.load();
        let changed = !Arc::ptr_eq(&live, &self.live);
        if changed {
            self.live = Arc::clone(&live);
            match &live.moved {
                None => self.moved = None,
                Some(moved) => self.moved = moved.take().or_else(|| self.moved.take()),
            }
        }
        if changed || self.ports.has_overdue() {
            self.ports.retry(&self.live.snapshot.network);
        }
    }

    fn ask(&mut self) {
        let links = &self.links;
        self.ports.questions(|interface, address| links.tell(Event::Wanted(interface, address)));
    }

    /// Answers who asks; says whether it was told to stop.
    fn answer(&mut self, now: Instant) -> bool {
        while let Ok(question) = self.links.questions.try_recv() {
            // Who asked may have gone meanwhile.
            let _gone = match question {
                Question::Stop => return true,
                Question::Connections(to) => to.send(self.pipeline.views(now).collect()).is_err(),
                Question::Counters(to) => to.send(self.counted()).is_err(),
                Question::ServicesChanged(to) => {
                    self.refresh(now);
                    self.pipeline.services_changed(&self.live.snapshot, now);
                    to.send(()).is_err()
                }
            };
        }
        false
    }

    fn counted(&mut self) -> WorkerCounters {
        self.counters.missed += self.receivers.iter_mut().map(Receiver::missed).sum::<u64>();
        self.counters.missed += self.moved.as_mut().map_or(0, Receiver::missed);
        let lost = self.ports.lost();
        self.counters.lost.refused += lost.refused;
        self.counters.lost.abandoned += lost.abandoned;
        WorkerCounters { pipeline: self.pipeline.counters().clone(), ..self.counters.clone() }
    }

    /// Waits for a frame, a question or a moment.
    fn sleep(&mut self, poll: &mut PollSet) {
        let woken = {
            let mut descriptors = vec![self.links.wake.as_fd()];
            descriptors.extend(self.receivers.iter().flat_map(Receiver::descriptors));
            descriptors.extend(self.moved.iter().flat_map(Receiver::descriptors));
            let readable =
                poll.wait(&descriptors, Some(SLEEP)).map(|readable| (readable.is(0), readable.any()));
            // Without poll(2) there is still the next look.
            readable.unwrap_or_default()
        };
        if woken.0 {
            self.links.wake.clear();
        } else if woken.1 {
            self.receivers.iter_mut().for_each(Receiver::recover);
            self.moved.iter_mut().for_each(Receiver::recover);
        }
    }
}

impl Links {
    /// Tells of an event, if there is room.
    pub fn tell(&self, event: Event) {
        if self.events.try_send(event).is_ok() {
            self.on_event.wake();
        }
    }
}

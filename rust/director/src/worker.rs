//! The thread that forwards: frames in, a decision, frames out.

use crate::clock::Clock;
use crate::counters::WorkerCounters;
use crate::host_stack::HostStack;
use crate::links::{Event, Links, Live, Question};
use crate::moved;
use crate::ports::Ports;
use crate::rings::Reopened;
use fastlvs_core::frame::Frame;
use fastlvs_core::net::InterfaceId;
use fastlvs_core::pipeline::Pipeline;
use fastlvs_core::time::{Duration, Instant};
use fastlvs_core::verdict::Verdict;
use fastlvs_io::af_packet::RingReceiver;
use fastlvs_io::device::{Device, Received, Receiver, Sender};
use fastlvs_io::wake::PollSet;
use std::ops::ControlFlow;
use std::os::fd::AsFd;
use std::sync::Arc;

/// Frames taken from a device before the next one's turn, and sent with one system call.
const BATCH: usize = 64;
/// The longest sleep: connections expire and frames stop waiting at least this often.
const SLEEP: Duration = Duration::from_millis(100);
/// Places of a table looked at to answer one question: some 50 µs, in which no packet is forwarded.
const PLACES: u32 = 1024;
/// An aggregate of the greatest length with its link-layer header and VLAN tags.
const SCRATCH: usize = 65_535 + 14 + 8;

/// One worker: devices, connections, and the thread's state.
#[derive(Debug)]
pub struct Worker<R, S> {
    receivers: Vec<R>,
    /// What the host sends from real servers of its own.
    moved: Option<RingReceiver>,
    ports: Ports<S>,
    /// Rings of interfaces that came back.
    reopened: Option<Reopened<R, S>>,
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
            reopened: None,
            pipeline: Pipeline::new(hash_key),
            live: Arc::default(),
            links,
            counters: WorkerCounters::default(),
            scratch: vec![0; SCRATCH].into_boxed_slice(),
        }
    }

    /// The same, which gets other rings for interfaces that come back.
    pub fn with_reopened(self, reopened: Reopened<R, S>) -> Self {
        Self { reopened: Some(reopened), ..self }
    }

    /// Forwards until it is told to stop.
    pub fn run(mut self, clock: Clock) {
        let mut poll = PollSet::default();
        let mut busy = clock.now();
        loop {
            let now = clock.now();
            let asked = match self.answer(now) {
                ControlFlow::Break(()) => return,
                ControlFlow::Continue(asked) => asked,
            };
            if self.poll(now) > 0 {
                busy = now;
            } else if asked {
                // There may be another question, and nobody wakes the worker for it again.
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
        self.advance(now);
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

    /// Lets time pass. Of a late fragment that the kernel had too, the kernel tells.
    fn advance(&mut self, now: Instant) {
        let Self { ports, pipeline, live, .. } = self;
        let Live { snapshot, claims, .. } = &**live;
        pipeline.advance_where(snapshot, now, ports, |first| claims.take(first, &snapshot.network));
        ports.flush();
    }

    fn forward(&mut self, interface: InterfaceId, now: Instant) -> usize {
        let Self { receivers, ports, pipeline, links, live, counters, scratch, .. } = self;
        let mut host = HostStack { live, links, scratch, counters };
        receivers[usize::from(interface.0)].receive(BATCH, |received| {
            let Received { bytes, offload, truncated } = received;
            if truncated {
                return pipeline.truncated();
            }
            let frame = Frame { interface, bytes, offload };
            let outcome = pipeline.process(&live.snapshot, &frame, now, ports);
            match (outcome.verdict, outcome.for_host) {
                (_, Some(for_host)) => host.leave(&frame, &for_host),
                (Verdict::Reply, None) => host.answered(&frame),
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
            let interface = moved::interface(bytes, network);
            let (Some(interface), false) = (interface, truncated) else { return pipeline.truncated() };
            let frame = Frame { interface, bytes, offload };
            if let Some(for_host) = pipeline.process_output(&live.snapshot, &frame, now, ports).for_host {
                let passed = moved::pass(&for_host, network, ports);
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
            self.take_reopened();
        }
        if changed || self.ports.has_overdue() {
            self.ports.retry(&self.live.snapshot.network);
        }
    }

    fn take_reopened(&mut self) {
        while let Some((interface, receiver, sender)) = self.reopened.as_ref().and_then(Reopened::next) {
            // What the old rings lost is counted before they go.
            self.count_lost();
            let receiver = std::mem::replace(&mut self.receivers[usize::from(interface.0)], receiver);
            let sender = self.ports.replace(interface, sender);
            if let Some(reopened) = &self.reopened {
                reopened.replaced(interface, receiver, sender);
            }
        }
    }

    fn ask(&mut self) {
        let links = &self.links;
        self.ports.questions(|interface, address| links.tell(Event::Wanted(interface, address)));
    }

    /// Answers one question, if there is any: packets come between any two. Says whether there was one, and breaks when
    /// told to stop.
    fn answer(&mut self, now: Instant) -> ControlFlow<(), bool> {
        let Ok(question) = self.links.questions.try_recv() else { return ControlFlow::Continue(false) };
        let connections = self.pipeline.connections();
        // Who asked may have gone meanwhile.
        let _gone = match question {
            Question::Stop => return ControlFlow::Break(()),
            Question::Connections(cursor, filter, to) => {
                to.send(connections.page(cursor, PLACES, &filter, now)).is_err()
            }
            Question::Templates(cursor, filter, to) => {
                to.send(connections.template_page(cursor, PLACES, &filter, now)).is_err()
            }
            Question::Counters(to) => to.send(self.counted()).is_err(),
            Question::ServicesChanged(to) => {
                self.refresh(now);
                self.pipeline.services_changed(&self.live.snapshot, now);
                to.send(()).is_err()
            }
        };
        ControlFlow::Continue(true)
    }

    fn counted(&mut self) -> WorkerCounters {
        self.count_lost();
        WorkerCounters { pipeline: self.pipeline.counters().clone(), ..self.counters.clone() }
    }

    fn count_lost(&mut self) {
        self.counters.missed += self.receivers.iter_mut().map(Receiver::missed).sum::<u64>();
        self.counters.missed += self.moved.as_mut().map_or(0, Receiver::missed);
        let lost = self.ports.lost();
        self.counters.lost.refused += lost.refused;
        self.counters.lost.abandoned += lost.abandoned;
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rings::reopening;
    use arc_swap::ArcSwap;
    use fastlvs_core::conn::{Cursor, Filter};
    use fastlvs_core::frame::Offload;
    use fastlvs_core::net::{Endpoint, Mac, Prefix, Protocol};
    use fastlvs_core::network::{Interface, Network};
    use fastlvs_core::pipeline::Snapshot;
    use fastlvs_core::service::{ServerSpec, ServiceKey, ServiceSpec, ServiceTable};
    use fastlvs_io::memory::{MemoryDevice, MemoryReceiver, MemorySender};
    use fastlvs_io::netlink::Link;
    use fastlvs_io::raw::GiveBack;
    use fastlvs_io::wake::Wake;
    use std::sync::mpsc;

    const CLIENTS: u32 = 5 * PLACES / 2;

    /// A datagram of a client's from 10.0.0.2 to 10.99.0.1:53, without checksum.
    fn datagram(client: u16) -> Vec<u8> {
        let mut frame = vec![2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2, 8, 0];
        frame.extend([0x45, 0, 0, 0x1c, 0, 7, 0, 0, 0x40, 17, 0x66, 0x65, 10, 0, 0, 2, 10, 99, 0, 1]);
        frame.extend(client.to_be_bytes());
        frame.extend([0, 53, 0, 8, 0, 0]);
        frame
    }

    fn live() -> Live {
        let server =
            ServerSpec { endpoint: Endpoint::new([10, 0, 0, 9].into(), 53), ..ServerSpec::default() };
        let key = ServiceKey::new(Protocol::UDP, Endpoint::new([10, 99, 0, 1].into(), 53));
        let spec = ServiceSpec { key, servers: vec![server], ..ServiceSpec::default() };
        let interface = Interface {
            name: "eth0".to_owned(),
            mac: Mac([2, 0, 0, 0, 0, 1]),
            mtu: 1500,
            addresses: vec![Prefix::new([10, 0, 0, 1].into(), 24).unwrap()],
        };
        let server = (InterfaceId(0), [10, 0, 0, 9].into(), Mac([2, 0, 0, 0, 0, 9]));
        let network = Network::new(vec![interface]).with_neighbours([server]);
        let services = Arc::new(ServiceTable::default().apply(&[spec], Instant::ZERO).unwrap());
        Live {
            snapshot: Snapshot { services, network: Arc::new(network), ..Snapshot::default() },
            ..Live::default()
        }
    }

    /// A worker on a device, with who asks it; `None` where the host cannot be given anything.
    fn worker() -> Option<(Worker<MemoryReceiver, MemorySender>, MemoryDevice, mpsc::Sender<Question>)> {
        let host =
            GiveBack::open().inspect_err(|error| println!("SKIPPED: opening a raw socket: {error}")).ok()?;
        let (questions, asked) = mpsc::channel();
        let links = Links {
            live: Arc::new(ArcSwap::from_pointee(live())),
            events: mpsc::sync_channel(1).0,
            on_event: Arc::new(Wake::new().unwrap()),
            questions: asked,
            wake: Arc::new(Wake::new().unwrap()),
            host,
            spin: Duration::ZERO,
        };
        let device = MemoryDevice::new();
        Some((Worker::new([device.clone()], (1, 2), links), device, questions))
    }

    #[test]
    fn rings_of_an_interface_that_came_back_take_the_place_of_the_dead_ones() {
        let Some((worker, dead, _)) = worker() else { return };
        let again = MemoryDevice::new();
        let device = again.clone();
        let (mut rings, reopened) = reopening(move |_: &Link| Ok(device.clone()));
        let mut worker = worker.with_reopened(reopened);
        dead.put(datagram(1024), Offload::NONE);
        assert_eq!((worker.poll(Instant::ZERO), dead.sent().len()), (1, 1));
        let link = Link {
            index: 9,
            name: "eth0".to_owned(),
            mac: None,
            mtu: 1500,
            up: true,
            running: true,
            ethernet: true,
            port_of: None,
        };
        rings.reopen(InterfaceId(0), &link).unwrap();
        worker.links.live.store(Arc::new(live()));
        dead.put(datagram(1024), Offload::NONE);
        again.put(datagram(1024), Offload::NONE);
        assert_eq!((worker.poll(Instant::ZERO), dead.sent().len(), again.sent().len()), (1, 0, 1));
        rings.drop_replaced();
    }

    #[test]
    fn a_full_table_is_listed_in_many_turns_between_which_packets_pass() {
        let Some((mut worker, device, questions)) = worker() else { return };
        for client in 0..CLIENTS {
            device.put(datagram(1024 + client as u16), Offload::NONE);
        }
        while worker.poll(Instant::ZERO) > 0 {}
        assert_eq!(device.sent().len(), CLIENTS as usize);
        let (to, answers) = mpsc::channel();
        let (mut cursor, mut seen, mut turns) = (Some(Cursor::default()), Vec::new(), 0);
        while let Some(at) = cursor {
            // Two ask at once: each is answered in a turn of its own.
            for _ in 0..2 {
                questions.send(Question::Connections(at, Filter::default(), to.clone())).unwrap();
            }
            let mut pages = Vec::new();
            for _ in 0..2 {
                assert_eq!(worker.answer(Instant::ZERO), ControlFlow::Continue(true));
                let page: Vec<_> = answers.try_iter().collect();
                assert_eq!(page.len(), 1);
                assert!(page[0].views.len() <= PLACES as usize);
                pages.extend(page);
                device.put(datagram(1024), Offload::NONE);
                assert_eq!((worker.poll(Instant::ZERO), device.sent().len()), (1, 1));
            }
            assert_eq!(pages[0].next, pages[1].next);
            let page = pages.remove(0);
            seen.extend(page.views.iter().map(|view| view.client.port));
            (cursor, turns) = (page.next, turns + 1);
        }
        assert_eq!(worker.answer(Instant::ZERO), ControlFlow::Continue(false));
        seen.sort_unstable();
        assert_eq!((seen.len(), seen[0], turns), (CLIENTS as usize, 1024, 3));
        seen.dedup();
        assert_eq!(seen.len(), CLIENTS as usize);
    }
}

//! Where a worker's frames leave: the sending halves of its interfaces, and a place to wait for frames
//! whose next host's link-layer address has to be found out first.

use fastlvs_core::frame::{Egress, NextHop, Offload};
use fastlvs_core::net::InterfaceId;
use fastlvs_core::network::Network;
use fastlvs_core::time::{Duration, Instant};
use fastlvs_core::verdict::DropReason;
use fastlvs_core::wire::ethernet;
use fastlvs_io::device::Sender;
use std::net::IpAddr;

/// Frames that may wait altogether, and for one neighbour. Linux keeps about as many.
const WAITING: usize = 1024;
const WAITING_FOR_ONE: usize = 128;
/// How long a frame waits: as long as the kernel asks for a neighbour.
const PATIENCE: Duration = Duration::from_secs(3);
/// How soon the same neighbour is asked for again.
const ASK_AGAIN: Duration = Duration::from_secs(1);

/// The sending halves, in the order of their [`InterfaceId`].
#[derive(Debug)]
pub struct Ports<S> {
    senders: Vec<S>,
    /// Who got the slot that was handed out last.
    slot: Slot,
    waiting: Vec<Waiting>,
    asked: Vec<Asked>,
    now: Instant,
    /// Frames that waited in vain.
    abandoned: u64,
}

#[derive(Debug)]
enum Slot {
    None,
    Sender(usize),
    Waiting(Waiting),
}

/// A frame that waits for its neighbour.
#[derive(Debug)]
struct Waiting {
    neighbour: (InterfaceId, IpAddr),
    frame: Vec<u8>,
    offload: Offload,
    since: Instant,
}

/// A neighbour that somebody was asked to find out.
#[derive(Debug)]
struct Asked {
    neighbour: (InterfaceId, IpAddr),
    at: Instant,
    told: bool,
}

impl<S: Sender> Ports<S> {
    /// Ports of these senders.
    pub fn new(senders: Vec<S>) -> Self {
        Self {
            senders,
            slot: Slot::None,
            waiting: Vec::new(),
            asked: Vec::new(),
            now: Instant::ZERO,
            abandoned: 0,
        }
    }

    /// Puts a sender into the place of the one there, which it gives back.
    pub fn replace(&mut self, interface: InterfaceId, sender: S) -> S {
        self.slot = Slot::None;
        std::mem::replace(&mut self.senders[usize::from(interface.0)], sender)
    }

    /// Says what time it is, for the frames that begin to wait.
    pub fn set_time(&mut self, now: Instant) {
        self.now = now;
    }

    /// Lets go of all that was sent.
    pub fn flush(&mut self) {
        self.senders.iter_mut().for_each(Sender::flush);
    }

    /// Sends what waited for a neighbour that `network` knows, and gives up what waited too long.
    pub fn retry(&mut self, network: &Network) {
        if self.waiting.is_empty() {
            self.asked.clear();
            return;
        }
        for mut waiting in std::mem::take(&mut self.waiting) {
            let (interface, address) = waiting.neighbour;
            match network.neighbour(interface, address) {
                Some(mac) => {
                    ethernet::set_destination(&mut waiting.frame, mac);
                    self.transmit(&waiting);
                }
                None if self.now.since(waiting.since) < PATIENCE => self.waiting.push(waiting),
                None => self.abandoned += 1,
            }
        }
        let still = |asked: &Asked| self.waiting.iter().any(|w| w.neighbour == asked.neighbour);
        self.asked.retain(still);
    }

    /// Whether any frame waits.
    pub fn has_waiting(&self) -> bool {
        !self.waiting.is_empty()
    }

    /// Whether any frame has waited long enough.
    pub fn has_overdue(&self) -> bool {
        self.waiting.first().is_some_and(|oldest| self.now.since(oldest.since) >= PATIENCE)
    }

    /// Neighbours that are to be found out, each named once a second at most.
    pub fn questions(&mut self, mut ask: impl FnMut(InterfaceId, IpAddr)) {
        for asked in &mut self.asked {
            if !asked.told || self.now.since(asked.at) >= ASK_AGAIN {
                (asked.told, asked.at) = (true, self.now);
                ask(asked.neighbour.0, asked.neighbour.1);
            }
        }
    }

    /// Frames that were lost since the last call behind the engine's back: refused by the system, or
    /// abandoned while they waited for a neighbour.
    pub fn lost(&mut self) -> Lost {
        Lost {
            refused: self.senders.iter_mut().map(Sender::refused).sum(),
            abandoned: std::mem::take(&mut self.abandoned),
        }
    }

    fn transmit(&mut self, waiting: &Waiting) {
        let sender = &mut self.senders[usize::from(waiting.neighbour.0.0)];
        match sender.slot(waiting.frame.len()) {
            Ok(slot) => {
                slot[..waiting.frame.len()].copy_from_slice(&waiting.frame);
                sender.send(waiting.frame.len(), waiting.offload);
            }
            Err(_) => self.abandoned += 1,
        }
    }

    /// Room for a frame that has to wait. It is the one place here that allocates.
    fn wait(&mut self, neighbour: (InterfaceId, IpAddr), length: usize) -> Result<&mut [u8], DropReason> {
        let for_one = self.waiting.iter().filter(|waiting| waiting.neighbour == neighbour).count();
        if self.waiting.len() >= WAITING || for_one >= WAITING_FOR_ONE {
            return Err(DropReason::NeighbourUnknown);
        }
        if !self.asked.iter().any(|asked| asked.neighbour == neighbour) {
            self.asked.push(Asked { neighbour, at: self.now, told: false });
        }
        let frame = vec![0; length];
        self.slot = Slot::Waiting(Waiting { neighbour, frame, offload: Offload::NONE, since: self.now });
        let Slot::Waiting(waiting) = &mut self.slot else { return Err(DropReason::NeighbourUnknown) };
        Ok(&mut waiting.frame)
    }
}

/// Frames that were lost after the engine had sent them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Lost {
    /// The system did not take them.
    pub refused: u64,
    /// Their neighbour did not answer.
    pub abandoned: u64,
}

impl<S: Sender> Egress for Ports<S> {
    fn slot(&mut self, hop: &NextHop, length: usize) -> Result<&mut [u8], DropReason> {
        self.slot = Slot::None;
        if hop.mac.is_none() {
            return self.wait((hop.interface, hop.address), length);
        }
        let place = usize::from(hop.interface.0);
        self.slot = Slot::Sender(place);
        self.senders[place].slot(length)
    }

    fn send(&mut self, length: usize, offload: Offload) {
        match std::mem::replace(&mut self.slot, Slot::None) {
            Slot::None => {}
            Slot::Sender(place) => self.senders[place].send(length, offload),
            Slot::Waiting(mut waiting) => {
                waiting.frame.truncate(length);
                waiting.offload = offload;
                self.waiting.push(waiting);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use fastlvs_core::net::Mac;
    use fastlvs_io::device::Device;
    use fastlvs_io::memory::MemoryDevice;

    const HOP: NextHop = NextHop {
        interface: InterfaceId(0),
        address: IpAddr::V4(std::net::Ipv4Addr::new(10, 0, 0, 2)),
        mac: None,
    };

    fn at(seconds: u64) -> Instant {
        Instant::ZERO + Duration::from_secs(seconds)
    }

    fn ports() -> (MemoryDevice, Ports<impl Sender>) {
        let device = MemoryDevice::new();
        let (_, sender) = device.clone().split();
        (device, Ports::new(vec![sender]))
    }

    fn send<S: Sender>(ports: &mut Ports<S>, bytes: &[u8]) -> Result<(), DropReason> {
        ports.slot(&HOP, bytes.len() + 8)?[..bytes.len()].copy_from_slice(bytes);
        ports.send(bytes.len(), Offload::NONE);
        Ok(())
    }

    fn questions<S: Sender>(ports: &mut Ports<S>) -> usize {
        let mut asked = 0;
        ports.questions(|_, _| asked += 1);
        asked
    }

    #[test]
    fn a_frame_waits_until_its_neighbour_is_known() {
        let (device, mut ports) = ports();
        send(&mut ports, &[0; 14]).unwrap();
        send(&mut ports, &[1; 15]).unwrap();
        assert_eq!((questions(&mut ports), questions(&mut ports)), (1, 0), "one question for both");
        ports.retry(&Network::default());
        assert_eq!(device.sent(), []);
        let mac = Mac([2, 0, 0, 0, 0, 2]);
        ports.retry(&Network::default().with_neighbours([(HOP.interface, HOP.address, mac)]));
        let sent: Vec<_> = device.sent().into_iter().map(|(frame, _)| frame).collect();
        assert_eq!(sent[0], [2, 0, 0, 0, 0, 2, 0, 0, 0, 0, 0, 0, 0, 0]);
        assert_eq!((sent[1].len(), sent[1][6]), (15, 1));
        assert!(!ports.has_waiting());
    }

    #[test]
    fn a_frame_does_not_wait_for_ever() {
        let (device, mut ports) = ports();
        send(&mut ports, &[0; 14]).unwrap();
        assert_eq!(questions(&mut ports), 1);
        ports.set_time(at(1));
        assert_eq!(questions(&mut ports), 1, "asked again after a second");
        ports.set_time(at(3));
        ports.retry(&Network::default());
        assert_eq!((ports.has_waiting(), questions(&mut ports)), (false, 0));
        assert_eq!(ports.lost(), Lost { refused: 0, abandoned: 1 });
        assert_eq!(device.sent(), []);
    }

    #[test]
    fn not_everybody_can_wait() {
        let (_, mut ports) = ports();
        for _ in 0..WAITING_FOR_ONE {
            send(&mut ports, &[0; 14]).unwrap();
        }
        assert_eq!(send(&mut ports, &[0; 14]), Err(DropReason::NeighbourUnknown));
    }
}

//! Speaks for the VIPs that the engine alone has, and watches who else answers for a VIP: the oldest trap of DR
//! and TUN is a real server that does.

use crate::plan::Plan;
use crate::told::Told;
use fastlvs_core::net::{InterfaceId, Mac};
use fastlvs_core::network::{Interface, Network};
use fastlvs_core::service::{Method, ServiceSpec};
use fastlvs_core::wire::arp::Arp;
use fastlvs_core::wire::ndp;
use fastlvs_io::af_packet::FrameSocket;
use fastlvs_io::groups::Groups;
use fastlvs_io::netlink::Link;
use std::collections::{HashMap, HashSet};
use std::io::{self, ErrorKind};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// How long what is known of the real servers' link-layer addresses holds.
const KNOWN: Duration = Duration::from_secs(1);

/// The sockets to speak with, and what was said already.
#[derive(Debug)]
pub struct Watch {
    /// Each in its interface's place.
    sockets: Vec<Option<(u32, FrameSocket)>>,
    /// None on a host without IPv6.
    groups: Option<Groups>,
    joined: HashSet<(u32, Ipv6Addr)>,
    refused: HashSet<(u32, Ipv6Addr)>,
    /// What was announced: where, whose link-layer address it has there.
    announced: HashSet<(InterfaceId, Mac, IpAddr)>,
    /// What that was made from, unless something is left to be announced.
    spoken_of: Option<(Arc<Network>, Vec<Option<Link>>)>,
    /// The real servers on the links, when they were looked up.
    servers: HashMap<Mac, IpAddr>,
    looked_up: Option<Instant>,
    /// What was said of real servers, and of others: these may be made up, and are not to hide those.
    of_servers: Told,
    of_others: Told,
}

impl Watch {
    /// Speaks on these links, each in its interface's place. What cannot be opened has gone meanwhile.
    pub fn new(links: &[Option<Link>]) -> Self {
        let open = |link: &Option<Link>| {
            let index = link.as_ref()?.index;
            Some((index, FrameSocket::open(index).ok()?))
        };
        let now = Instant::now();
        Self {
            sockets: links.iter().map(open).collect(),
            groups: Groups::open().ok(),
            joined: HashSet::new(),
            refused: HashSet::new(),
            announced: HashSet::new(),
            spoken_of: None,
            servers: HashMap::new(),
            looked_up: None,
            of_servers: Told::new(now),
            of_others: Told::new(now),
        }
    }

    /// Whether the interface at that place is the one for which its rings were opened.
    pub fn is_open(&self, place: usize) -> bool {
        self.sockets[place].as_ref().is_some_and(|(_, socket)| socket.is_bound())
    }

    /// Speaks on the link of that index from now on, in the place of that interface.
    pub fn attach(&mut self, interface: InterfaceId, index: u32) -> io::Result<()> {
        let socket = FrameSocket::open(index)?;
        self.sockets[usize::from(interface.0)] = Some((index, socket));
        // With the interface the memberships went.
        self.joined.retain(|(link, _)| *link != index);
        self.refused.retain(|(link, _)| *link != index);
        self.announced.retain(|(place, ..)| *place != interface);
        self.spoken_of = None;
        Ok(())
    }

    /// Listens to questions about the VIPs that the engine alone has, and announces them on links that do not know them
    /// yet: because the VIP is new, or the link, or its link-layer address or its carrier.
    pub fn speak(&mut self, network: &Arc<Network>, links: Vec<Option<Link>>) {
        if self.spoken_of.as_ref().is_some_and(|(of, on)| Arc::ptr_eq(of, network) && *on == links) {
            return;
        }
        self.join(network.owned());
        let (mut announced, mut all_sent) = (HashSet::new(), true);
        for (place, (socket, link)) in self.sockets.iter().zip(&links).enumerate() {
            let (Some((_, socket)), Some(link)) = (socket, link) else { continue };
            let interface = InterfaceId(place as u16);
            let Interface { mac, addresses, .. } = network.interface(interface);
            if !link.up || !link.running {
                continue;
            }
            for vip in network.owned() {
                let place = (interface, *mac, *vip);
                if !addresses.iter().any(|prefix| prefix.contains(*vip)) {
                    continue;
                }
                if self.announced.contains(&place) || socket.send(&announcement(*mac, *vip)).is_ok() {
                    announced.insert(place);
                } else {
                    all_sent = false;
                }
            }
        }
        self.announced = announced;
        self.spoken_of = all_sent.then(|| (Arc::clone(network), links));
    }

    /// Asks every link who has the VIPs of services that real servers hold too; nobody should answer.
    pub fn probe(&self, plan: &Plan) {
        let network = plan.published();
        let vips = shared_vips(plan.services().specs());
        for (number, socket) in self.sockets.iter().enumerate() {
            let Some((_, socket)) = socket else { continue };
            for vip in &vips {
                if let Some(question) = question(&network, InterfaceId(number as u16), *vip) {
                    send(socket, &question);
                }
            }
        }
    }

    /// Somebody on a link said that it has `vip`: the warning, if it is not left unsaid.
    pub fn claimed(&mut self, plan: &Plan, interface: InterfaceId, vip: IpAddr, mac: Mac) -> Option<String> {
        let network = plan.published();
        if network.interfaces().iter().any(|own| own.mac == mac) {
            return None;
        }
        let now = Instant::now();
        if self.looked_up.is_none_or(|at| now.saturating_duration_since(at) >= KNOWN) {
            (self.servers, self.looked_up) = (servers(plan), Some(now));
        }
        let server = self.servers.get(&mac);
        let told = if server.is_some() { &mut self.of_servers } else { &mut self.of_others };
        let unsaid = match told.say(vip, mac, now)? {
            0 => String::new(),
            count => format!(" ({count} more such claims were left unsaid)"),
        };
        let link = &network.interface(interface).name;
        let asked = if vip.is_ipv4() { "ARP" } else { "neighbour solicitations" };
        Some(match server {
            Some(server) => format!(
                "real server {server} ({mac}) answers {asked} for the VIP {vip} on {link}: clients reach it past \
                 the director; `fastlvs real-server dr --rip {server} --vip {vip}` prints what stops it{unsaid}"
            ),
            None => format!("somebody else on {link} ({mac}) answers {asked} for the VIP {vip}{unsaid}"),
        })
    }

    fn indices(&self) -> impl Iterator<Item = u32> {
        self.sockets.iter().flatten().filter(|(_, socket)| socket.is_bound()).map(|(index, _)| *index)
    }

    /// Is a member of the groups to which questions about these addresses go, and of no other.
    fn join(&mut self, owned: &[IpAddr]) {
        let Some(socket) = &self.groups else { return };
        let groups = owned.iter().filter_map(|vip| match vip {
            IpAddr::V4(_) => None,
            IpAddr::V6(vip) => Some(ndp::solicited_node(*vip)),
        });
        let wanted: HashSet<_> =
            groups.flat_map(|group| self.indices().map(move |index| (index, group))).collect();
        for (index, group) in self.joined.difference(&wanted) {
            // With its interface a membership is gone already.
            let _gone = socket.leave(*index, *group);
        }
        self.joined.retain(|place| wanted.contains(place));
        for place in &wanted {
            if self.joined.contains(place) {
                continue;
            }
            match socket.join(place.0, place.1) {
                Err(error) if error.kind() != ErrorKind::AddrInUse => {
                    if self.refused.insert(*place) {
                        let (index, group) = place;
                        tracing::warn!(
                            "cannot join {group} on interface {index}, where its VIP is asked for: {error}"
                        );
                    }
                }
                _ => _ = self.joined.insert(*place),
            }
        }
    }
}

/// The real servers whose link-layer addresses the kernel knows.
fn servers(plan: &Plan) -> HashMap<Mac, IpAddr> {
    let servers: HashSet<IpAddr> = plan
        .services()
        .specs()
        .flat_map(|spec| &spec.servers)
        .map(|server| server.endpoint.address)
        .collect();
    let known = plan.kernel().neighbours.iter().filter(|((_, address), _)| servers.contains(address));
    known.map(|((_, address), mac)| (*mac, *address)).collect()
}

/// A link that is down has nobody on it.
fn send(socket: &FrameSocket, frame: &[u8]) {
    let _unsent = socket.send(frame);
}

/// Tells a link that `vip` is at `mac`.
fn announcement(mac: Mac, vip: IpAddr) -> Vec<u8> {
    match vip {
        IpAddr::V4(vip) => Arp::question(mac, vip, vip).to_vec(),
        IpAddr::V6(vip) => ndp::announcement(mac, vip).to_vec(),
    }
}

/// Asks a link who has `vip`. In IPv6 an address of the interface's own asks: a question from nobody would have a
/// host fail that is about to take the VIP.
fn question(network: &Network, interface: InterfaceId, vip: IpAddr) -> Option<Vec<u8>> {
    let mac = network.interface(interface).mac;
    match (vip, network.source_on(interface, vip)) {
        (IpAddr::V4(vip), _) => Some(Arp::question(mac, Ipv4Addr::UNSPECIFIED, vip).to_vec()),
        (IpAddr::V6(vip), Some(IpAddr::V6(own))) => Some(ndp::question(mac, own, vip).to_vec()),
        (IpAddr::V6(_), _) => None,
    }
}

/// The VIPs that real servers hold as well.
fn shared_vips<'a>(specs: impl Iterator<Item = &'a ServiceSpec>) -> HashSet<IpAddr> {
    let shared = |spec: &&'a ServiceSpec| spec.servers.iter().any(|s| s.method != Method::Masquerading);
    let vip = |spec: &ServiceSpec| spec.key.address().alone();
    specs.filter(shared).filter_map(vip).collect()
}

//! Watches who answers ARP for a VIP beside the director: the oldest trap of DR and TUN is a real server that
//! does. It also tells the links of VIPs that the engine alone has.

use crate::error::Error;
use crate::network::Leg;
use crate::plan::Plan;
use fastlvs_core::net::{InterfaceId, Mac};
use fastlvs_core::service::{Method, ServiceSpec};
use fastlvs_core::wire::arp::Arp;
use fastlvs_io::af_packet::FrameSocket;
use std::collections::HashSet;
use std::net::{IpAddr, Ipv4Addr};

/// The sockets to ask with, and what was told already.
#[derive(Debug)]
pub struct Watch {
    sockets: Vec<FrameSocket>,
    told: HashSet<(Ipv4Addr, Mac)>,
    announced: HashSet<Ipv4Addr>,
}

impl Watch {
    /// Asks on these interfaces.
    pub fn new(legs: &[Leg]) -> Result<Self, Error> {
        let open =
            |leg: &Leg| FrameSocket::open(leg.index).map_err(Error::platform("opening a packet socket"));
        let sockets = legs.iter().map(open).collect::<Result<_, _>>()?;
        Ok(Self { sockets, told: HashSet::new(), announced: HashSet::new() })
    }

    /// Asks every link who has the VIPs of services that real servers hold too; nobody should answer. And
    /// announces new VIPs of the engine's own.
    pub fn probe(&mut self, plan: &Plan) {
        let network = plan.published();
        for (socket, interface) in self.sockets.iter().zip(network.interfaces()) {
            let ask = |sender, vip| {
                // A link that is down has nobody on it.
                let _unsent = socket.send(&Arp::question(interface.mac, sender, vip));
            };
            for vip in shared_vips(&plan.wish().specs) {
                ask(Ipv4Addr::UNSPECIFIED, vip);
            }
            for owned in network.owned() {
                if let IpAddr::V4(vip) = owned
                    && !self.announced.contains(vip)
                    && interface.addresses.iter().any(|prefix| prefix.contains(*owned))
                {
                    ask(*vip, *vip);
                }
            }
        }
        self.announced = network
            .owned()
            .iter()
            .filter_map(|a| if let IpAddr::V4(a) = a { Some(*a) } else { None })
            .collect();
    }

    /// Somebody on a link said that it has `vip`: the warning, once for each who does.
    pub fn claimed(
        &mut self,
        plan: &Plan,
        interface: InterfaceId,
        vip: Ipv4Addr,
        mac: Mac,
    ) -> Option<String> {
        let network = plan.published();
        let is_own = network.interfaces().iter().any(|own| own.mac == mac);
        if is_own || !self.told.insert((vip, mac)) {
            return None;
        }
        let link = &network.interface(interface).name;
        let known = &plan.kernel().neighbours;
        let has_mac = |address: &IpAddr| known.iter().any(|((_, a), m)| a == address && *m == mac);
        let servers = plan.wish().specs.iter().flat_map(|spec| &spec.servers);
        Some(match servers.map(|server| server.endpoint.address).find(has_mac) {
            Some(server) => format!(
                "real server {server} ({mac}) answers ARP for the VIP {vip} on {link}: clients reach it past \
                 the director; `fastlvs real-server dr --rip {server} --vip {vip}` prints what stops it"
            ),
            None => format!("somebody else on {link} ({mac}) answers ARP for the VIP {vip}"),
        })
    }
}

/// The IPv4 VIPs that real servers hold as well.
fn shared_vips(specs: &[ServiceSpec]) -> HashSet<Ipv4Addr> {
    let shared = |spec: &&ServiceSpec| spec.servers.iter().any(|s| s.method != Method::Masquerading);
    let vip = |spec: &ServiceSpec| match spec.key.address.address {
        IpAddr::V4(vip) => Some(vip),
        IpAddr::V6(_) => None,
    };
    specs.iter().filter(shared).filter_map(vip).collect()
}

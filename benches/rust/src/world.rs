//! An engine in memory, with a service, its servers and the network that a director of two legs has.

use crate::frames::{DIRECTOR, PORT, ROUTER, VIP, VIP_V6};
use crate::ring::Ring;
use fastlvs_core::frame::{Frame, Offload};
use fastlvs_core::net::{Endpoint, InterfaceId, Mac, Prefix, Protocol};
use fastlvs_core::network::{Interface, Network, Route, RouteKind};
use fastlvs_core::pipeline::{Pipeline, Snapshot};
use fastlvs_core::service::{Method, SchedulerSpec, ServerSpec, ServiceKey, ServiceSpec, ServiceTable};
use fastlvs_core::settings::Settings;
use fastlvs_core::time::Instant;
use fastlvs_core::verdict::Verdict;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;

const CLIENT_LEG: InterfaceId = InterfaceId(0);
const SERVER_LEG: InterfaceId = InterfaceId(1);
const SERVER_MAC: Mac = Mac([2, 1, 0, 0, 0, 9]);

/// An engine and what it decides from.
#[derive(Debug)]
pub struct World {
    snapshot: Snapshot,
    /// The engine.
    pub pipeline: Pipeline,
    /// Where it sends.
    pub ring: Ring,
    /// The time of what happens next.
    pub now: Instant,
}

impl World {
    /// One UDP service of IPv4 or IPv6 with so many servers, reached by `method` and chosen by `scheduler`.
    ///
    /// # Panics
    /// With a scheduler that does not exist.
    #[must_use]
    pub fn new(method: Method, ipv6: bool, servers: u32, scheduler: &str) -> Self {
        let vip: IpAddr = if ipv6 { VIP_V6.into() } else { VIP.into() };
        let address = |number: u32| -> IpAddr {
            if ipv6 {
                Ipv6Addr::from_bits((0x2001_0db8_00bb_u128 << 80) + 0x101 + u128::from(number)).into()
            } else {
                Ipv4Addr::from_bits(0xc0a8_0101 + number).into()
            }
        };
        let port = if method == Method::Masquerading { 8080 } else { PORT };
        let server = |number| ServerSpec {
            endpoint: Endpoint::new(address(number), port),
            method,
            ..ServerSpec::default()
        };
        let spec = ServiceSpec {
            key: ServiceKey::new(Protocol::UDP, Endpoint::new(vip, PORT)),
            scheduler: SchedulerSpec::Named(scheduler.to_owned()),
            servers: (0..servers).map(server).collect(),
            ..ServiceSpec::default()
        };
        let services = ServiceTable::default().apply(&[spec], Instant::ZERO);
        let neighbours = (0..servers).map(|number| (SERVER_LEG, address(number), SERVER_MAC));
        let network = network().with_neighbours(neighbours).with_local([Prefix::host(vip)]);
        let snapshot = Snapshot {
            services: Arc::new(services.expect("the service is a good one")),
            network: Arc::new(network),
            settings: Settings { connection_limit: u32::MAX, ..Settings::default() },
            ..Snapshot::default()
        };
        Self { snapshot, pipeline: Pipeline::new((1, 2)), ring: Ring::default(), now: Instant::ZERO }
    }

    /// Takes a client's frame its whole way.
    #[inline]
    pub fn process(&mut self, bytes: &[u8]) -> Verdict {
        let frame = Frame { interface: CLIENT_LEG, bytes, offload: Offload::NONE };
        self.pipeline.process(&self.snapshot, &frame, self.now, &mut self.ring).verdict
    }

    /// Lets time pass until `now`.
    pub fn advance(&mut self, now: Instant) {
        self.now = now;
        self.pipeline.advance(&self.snapshot, now, &mut self.ring);
    }
}

/// Two legs: clients behind a router, servers on the link.
fn network() -> Network {
    let leg = |name: &str, mac: [u8; 6], addresses: [&str; 2]| Interface {
        name: name.to_owned(),
        mac: Mac(mac),
        mtu: 1500,
        addresses: addresses.map(|address| address.parse().expect("an address and its length")).into(),
    };
    let default = |destination: &str, router: IpAddr| Route {
        destination: destination.parse().expect("a block of addresses"),
        kind: RouteKind::Unicast { interface: CLIENT_LEG, via: Some(router), mtu: None, source: None },
        metric: 0,
    };
    let routers: [IpAddr; 2] =
        [Ipv4Addr::new(10, 0, 0, 2).into(), Ipv6Addr::new(0x2001, 0xdb8, 0xcc, 0, 0, 0, 0, 2).into()];
    Network::new(vec![
        leg("clients", DIRECTOR[0], ["10.0.0.1/24", "2001:db8:cc::1/64"]),
        leg("servers", DIRECTOR[1], ["192.168.0.1/16", "2001:db8:bb::1/64"]),
    ])
    .with_routes([default("0.0.0.0/0", routers[0]), default("::/0", routers[1])])
    .with_neighbours(routers.map(|router| (CLIENT_LEG, router, Mac(ROUTER))))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::frames;

    /// Every frame of every case is forwarded, or a figure would be one of refusals.
    #[test]
    fn all_is_forwarded() {
        for method in [Method::Masquerading, Method::Gatewaying, Method::Tunneling] {
            for number in 0..3 {
                let mut world = World::new(method, false, 2, "rr");
                assert_eq!(world.process(&frames::udp(number)), Verdict::Forward, "{method:?}");
                let mut world = World::new(method, true, 2, "rr");
                assert_eq!(world.process(&frames::udp_v6(number)), Verdict::Forward, "{method:?} IPv6");
                assert_eq!(world.ring.sent, 1);
            }
        }
    }
}

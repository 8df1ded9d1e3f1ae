//! What the director's tests share: an nft and a kernel that are none, and services.

use crate::error::Error;
use crate::nft::Nft;
use fastlvs_core::net::{Endpoint, Mac, Protocol};
use fastlvs_core::service::{Method, ServerSpec, ServiceKey, ServiceSpec};
use fastlvs_io::netlink;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, Mutex};

/// An nft that does what it is told, or refuses everything.
#[derive(Clone, Debug, Default)]
pub struct FakeNft {
    /// Whether it refuses.
    pub refuses: Arc<AtomicBool>,
    /// Whether it is older than sets of what has no name.
    is_old: bool,
    scripts: Arc<Mutex<Vec<String>>>,
    tables: Arc<Mutex<Vec<String>>>,
}

impl Nft for FakeNft {
    fn run(&self, script: &str) -> Result<(), Error> {
        if self.refuses.load(Relaxed) || self.is_old && script.contains("typeof") {
            return Err(Error::Platform { what: "nft refused", problem: "it was told to".to_owned() });
        }
        let made = script.lines().filter_map(|line| line.strip_prefix("table netdev ")?.strip_suffix(" {"));
        self.tables.lock().unwrap().extend(made.map(str::to_owned));
        self.scripts.lock().unwrap().push(script.to_owned());
        Ok(())
    }

    fn tables(&self) -> Result<Vec<String>, Error> {
        Ok(self.tables.lock().unwrap().clone())
    }

    fn list(&self, _: &str) -> Result<String, Error> {
        Ok(String::new())
    }
}

impl FakeNft {
    /// One that is older than sets of what has no name.
    pub fn old() -> Self {
        Self { is_old: true, ..Self::default() }
    }

    /// What it was told since it was asked last.
    pub fn told(&self) -> String {
        std::mem::take(&mut *self.scripts.lock().unwrap()).concat()
    }
}

/// The number of its interface.
pub const LINK: u32 = 7;

/// A kernel with one interface, eth0, of 10.255.0.1/8.
pub fn kernel() -> netlink::State {
    let mut kernel = netlink::State::default();
    let link = netlink::Link {
        index: LINK,
        name: "eth0".to_owned(),
        mac: Some(Mac([2, 0, 0, 0, 0, 1])),
        mtu: 1500,
        up: true,
        running: true,
        ethernet: true,
        port_of: None,
    };
    kernel.links.insert(LINK, link);
    kernel.addresses.push(netlink::Address { link: LINK, prefix: "10.255.0.1/8".parse().unwrap() });
    kernel
}

/// A service of the VIP 172.16.X.Y:80, X.Y its number, with servers 10.X.Y.Z:80: each a Z, and its method.
pub fn service(number: usize, servers: &[(u8, Method)]) -> ServiceSpec {
    let [high, low] = (number as u16).to_be_bytes();
    let server = |(host, method): &(u8, Method)| ServerSpec {
        endpoint: Endpoint::new([10, high, low, *host].into(), 80),
        method: *method,
        ..ServerSpec::default()
    };
    ServiceSpec {
        key: ServiceKey::new(Protocol::TCP, Endpoint::new([172, 16, high, low].into(), 80)),
        servers: servers.iter().map(server).collect(),
        ..ServiceSpec::default()
    }
}

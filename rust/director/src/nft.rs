//! Tells the kernel what to keep away from, through nftables: a table of ours in the family `netdev`, whose
//! chain stands at the ingress of the director's interfaces, behind the packet sockets and before everything else.
//!
//! The table's name has this process's number, and an abstract socket of the same name lives as long as the
//! process. So a table that a killed director left behind is known by its missing socket, and the next
//! director removes it. Until then it stays: connections meet silence instead of resets.

use crate::claims::Claims;
use crate::error::Error;
use fastlvs_core::net::{Endpoint, Protocol};
use fastlvs_io::capability::hand_on;
use std::fmt::Write as _;
use std::io::{self, Write as _};
use std::net::IpAddr;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixListener};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

const PREFIX: &str = "fastlvs-";
/// Where system programs are; an ordinary user's PATH often leaves these out.
const FOLDERS: [&str; 5] = ["/usr/local/sbin", "/usr/sbin", "/sbin", "/usr/bin", "/bin"];

/// The table of this director. It is removed with the value.
#[derive(Debug)]
pub struct Table {
    nft: PathBuf,
    name: String,
    /// Says, as long as it is bound, that the table has an owner.
    _sign: UnixListener,
}

impl Table {
    /// Makes the table, with these claims on these interfaces, and removes those that nobody owns any more.
    pub fn new(interfaces: &[String], claims: &Claims) -> Result<Self, Error> {
        let nft = program().ok_or_else(|| Error::Platform {
            what: "no program 'nft' found",
            problem: "install the package nftables".to_owned(),
        })?;
        let mut number = std::process::id();
        // A process may have more than one director.
        let sign = loop {
            match sign(&format!("{PREFIX}{number}")) {
                Err(error) if error.kind() == io::ErrorKind::AddrInUse => {
                    number = number.wrapping_add(1 << 22);
                }
                done => break done.map_err(Error::platform("marking the nftables table"))?,
            }
        };
        let table = Self { nft, name: format!("{PREFIX}{number}"), _sign: sign };
        run(&table.nft, &(skeleton(&table.name, interfaces) + &elements(&table.name, claims)))?;
        for orphan in table.orphans()? {
            tracing::info!("removing nftables table {orphan}, which a killed director left behind");
            run(&table.nft, &format!("delete table netdev {orphan}\n"))?;
        }
        Ok(table)
    }

    /// Makes the table agree with `claims`, in one step.
    pub fn set(&self, claims: &Claims) -> Result<(), Error> {
        run(&self.nft, &elements(&self.name, claims))
    }

    /// Tables like ours whose directors are gone.
    fn orphans(&self) -> Result<Vec<String>, Error> {
        let listed = hand_on(Command::new(&self.nft).args(["list", "tables", "netdev"]))
            .output()
            .map_err(Error::platform("running nft"))?;
        let text = String::from_utf8_lossy(&listed.stdout);
        let names = text.lines().filter_map(|line| line.strip_prefix("table netdev "));
        let ours = names.filter(|name| name.starts_with(PREFIX) && *name != self.name);
        Ok(ours.filter(|name| sign(name).is_ok()).map(str::to_owned).collect())
    }
}

impl Drop for Table {
    fn drop(&mut self) {
        if let Err(error) = run(&self.nft, &format!("delete table netdev {}\n", self.name)) {
            tracing::warn!("nftables table {} stays: {error}", self.name);
        }
    }
}

/// Binds the abstract socket that says who owns a table of that name, in this network namespace.
fn sign(name: &str) -> io::Result<UnixListener> {
    UnixListener::bind_addr(&SocketAddr::from_abstract_name(name)?)
}

fn program() -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let folders = std::env::split_paths(&path).chain(FOLDERS.iter().map(PathBuf::from));
    folders.map(|folder| folder.join("nft")).find(|file| Path::is_file(file))
}

/// Has nft do a script, all of it or nothing.
fn run(nft: &Path, script: &str) -> Result<(), Error> {
    let failed = Error::platform("running nft");
    let mut child = match hand_on(Command::new(nft).args(["-f", "-"]))
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
    {
        Ok(child) => child,
        Err(error) => return Err(failed(error)),
    };
    if let Some(mut input) = child.stdin.take()
        && let Err(error) = input.write_all(script.as_bytes())
    {
        return Err(failed(error));
    }
    let done = child.wait_with_output().map_err(failed)?;
    if done.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&done.stderr);
    Err(Error::Platform {
        what: "nft refused",
        problem: said.lines().next().unwrap_or("no reason").to_owned(),
    })
}

/// The table without elements. `fib` leaves the host's own talk with its real servers alone.
fn skeleton(name: &str, interfaces: &[String]) -> String {
    let devices: Vec<_> = interfaces.iter().map(|name| format!("\"{name}\"")).collect();
    let mut script = format!("table netdev {name} {{\n");
    for (family, address) in FAMILIES {
        for set in ["services", "replies"] {
            let _ = writeln!(script, " set {set}{family} {{ type inet_proto . {address} . inet_service; }}");
            let _ = writeln!(script, " set all_{set}{family} {{ type inet_proto . {address}; }}");
        }
        let _ = writeln!(script, " set owned{family} {{ type {address}; }}");
    }
    let _ = writeln!(
        script,
        " chain ingress {{ type filter hook ingress devices = {{ {} }} priority 0; policy accept;\n  \
         meta pkttype != host accept",
        devices.join(", ")
    );
    for (family, ip) in [("4", "ip"), ("6", "ip6")] {
        let _ = writeln!(
            script,
            "  {ip} daddr @owned{family} drop\n  \
             meta l4proto . {ip} daddr . th dport @services{family} drop\n  \
             meta l4proto . {ip} daddr @all_services{family} drop\n  \
             meta l4proto . {ip} saddr . th sport @replies{family} fib daddr type != local drop\n  \
             meta l4proto . {ip} saddr @all_replies{family} fib daddr type != local drop"
        );
    }
    script + " }\n}\n"
}

const FAMILIES: [(&str, &str); 2] = [("4", "ipv4_addr"), ("6", "ipv6_addr")];

/// The commands that fill the sets anew.
fn elements(table: &str, claims: &Claims) -> String {
    let is_v4 = |address: &IpAddr| address.is_ipv4();
    let triple = |(Protocol(number), endpoint): &(Protocol, Endpoint)| {
        format!("{number} . {} . {}", endpoint.address, endpoint.port)
    };
    let mut script = String::new();
    for (family, v4) in [("4", true), ("6", false)] {
        let triples = |set: &std::collections::BTreeSet<(Protocol, Endpoint)>| -> Vec<String> {
            set.iter().filter(|(_, endpoint)| is_v4(&endpoint.address) == v4).map(triple).collect()
        };
        let owned: Vec<_> = claims.owned.iter().filter(|a| is_v4(a) == v4).map(ToString::to_string).collect();
        let pairs = |set: &std::collections::BTreeSet<(Protocol, IpAddr)>| -> Vec<String> {
            let of_family = set.iter().filter(|(_, address)| is_v4(address) == v4);
            of_family.map(|(Protocol(number), address)| format!("{number} . {address}")).collect()
        };
        for (set, elements) in [
            ("services", triples(&claims.services)),
            ("all_services", pairs(&claims.all_services)),
            ("replies", triples(&claims.replies)),
            ("all_replies", pairs(&claims.all_replies)),
            ("owned", owned),
        ] {
            let _ = writeln!(script, "flush set netdev {table} {set}{family}");
            if !elements.is_empty() {
                let elements = elements.join(", ");
                let _ = writeln!(script, "add element netdev {table} {set}{family} {{ {elements} }}");
            }
        }
    }
    script
}

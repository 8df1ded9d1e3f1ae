//! Tells the kernel what to keep away from, through nftables: a table of ours in the family `netdev`, whose
//! chain stands at the ingress of the director's interfaces, behind the packet sockets and before everything else.
//!
//! The table's name has this process's number, and an abstract socket of the same name lives as long as the
//! process. So a table that a killed director left behind is known by its missing socket, and the next
//! director removes it. Until then it stays: connections meet silence instead of resets.

use crate::claims::{Claims, in_fragments};
use crate::error::Error;
use crate::family::{FAMILIES, Family, OTHER_VLANS};
use crate::moved;
use crate::quoted::QuotedEnd;
use crate::rivals::{self, PROCESSES, Vips, sign};
use fastlvs_core::net::{InterfaceId, Protocol};
use fastlvs_io::capability::hand_on;
use fastlvs_io::netlink::netdev_tables;
use std::fmt::{self, Write as _};
use std::io::{self, Write as _};
use std::mem;
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

const PREFIX: &str = "fastlvs-";
/// Where system programs are; an ordinary user's PATH often leaves these out.
const FOLDERS: [&str; 5] = ["/usr/local/sbin", "/usr/sbin", "/sbin", "/usr/bin", "/bin"];

/// What the program nft does.
pub trait Nft: fmt::Debug + Send {
    /// A script: all of it, or nothing.
    fn run(&self, script: &str) -> Result<(), Error>;

    /// The names of all tables of the family `netdev`.
    fn tables(&self) -> Result<Vec<String>, Error>;

    /// All that is in one of them, as nft prints it.
    fn list(&self, table: &str) -> Result<String, Error>;
}

/// The table of this director. It is removed with the value.
#[derive(Debug)]
pub struct Table {
    nft: Box<dyn Nft>,
    name: String,
    number: u32,
    /// Those that are there, with their places among all that are served.
    interfaces: Vec<(InterfaceId, String)>,
    moving: Moving,
    /// Whether it was removed for good.
    has_ended: bool,
    quotes: Quotes,
    /// Says, as long as it is bound, that the table has an owner.
    _sign: UnixListener,
}

/// Whether what the host sends from real servers of its own is moved to the director.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Moving {
    /// There are none.
    Unused,
    InForce,
    /// It was impossible, and nobody was told why yet.
    Refused(String),
    Impossible,
}

/// How the table holds what ICMP errors quote.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Quotes {
    /// In sets, whose elements come and go one by one.
    Sets,
    /// In rules, written anew at each change of claims: nft before 1.0.3 makes no sets of what has no name in it.
    Rules,
}

impl Table {
    /// Makes the table, with these claims on these interfaces, and removes those that nobody owns any more.
    pub fn new(interfaces: Vec<(InterfaceId, String)>, claims: &Claims) -> Result<Self, Error> {
        let nft = program().ok_or_else(|| Error::Platform {
            what: "no program 'nft' found",
            problem: "install the package nftables".to_owned(),
        })?;
        Self::with(Box::new(Program(nft)), interfaces, claims)
    }

    /// The same with another nft.
    pub fn with(
        nft: Box<dyn Nft>,
        interfaces: Vec<(InterfaceId, String)>,
        claims: &Claims,
    ) -> Result<Self, Error> {
        let mut number = std::process::id();
        // A process may have more than one director.
        let sign = loop {
            match sign(&format!("{PREFIX}{number}")) {
                Err(error) if error.kind() == io::ErrorKind::AddrInUse => {
                    number = number.wrapping_add(PROCESSES);
                }
                done => break done.map_err(Error::platform("marking the nftables table"))?,
            }
        };
        let name = format!("{PREFIX}{number}");
        let (moving, quotes) = (Moving::Unused, Quotes::Sets);
        let mut table = Self { nft, name, number, interfaces, moving, quotes, has_ended: false, _sign: sign };
        table.make(claims)?;
        table.mend(claims)?.iter().for_each(|done| tracing::info!("{done}"));
        Ok(table)
    }

    /// The number in its name, which marks the frames that its director sends.
    pub const fn number(&self) -> u32 {
        self.number
    }

    /// Whether packets are moved to the director's ring that the host sends from real servers of its own.
    pub fn moves(&self) -> bool {
        self.moving == Moving::InForce
    }

    /// Whether they can be, for all that is known.
    pub const fn can_move(&self) -> bool {
        matches!(self.moving, Moving::Unused | Moving::InForce)
    }

    /// Makes the table agree with `after`, in one step, from where it agrees with `before`. Where somebody changed
    /// or removed it meanwhile, all is written anew. After an error the table is as before. It is one that another director
    /// serves a new VIP.
    pub fn change(&mut self, before: &Claims, after: &Claims) -> Result<(), Error> {
        let is_same = before.services == after.services;
        let new = if is_same { Vips::default() } else { Vips::of(after).beyond(&Vips::of(before)) };
        let _turn = self.alone(&new, &self.interfaces)?;
        let Err(_) = self.run(&contents(&self.name, self.quotes, Some(before), after), after) else {
            return Ok(());
        };
        if self.nft.tables()?.contains(&self.name) {
            self.run(&contents(&self.name, self.quotes, None, after), after)
        } else {
            self.make(after)
        }
    }

    /// Makes the table anew where somebody removed it (as `nft flush ruleset` does), and removes those of directors
    /// that have gone meanwhile. Says what was done.
    pub fn mend(&mut self, claims: &Claims) -> Result<Vec<String>, Error> {
        let (is_there, orphans) = self.listed()?;
        let mut done = Vec::new();
        if let Moving::Refused(problem) = &self.moving {
            done.push(problem.clone());
            self.moving = Moving::Impossible;
        }
        if !is_there {
            self.make(claims)?;
            done.push(format!("somebody removed nftables table {}; it is there again", self.name));
        }
        for orphan in orphans {
            self.remove(&orphan)?;
            done.push(format!("removed nftables table {orphan}, which a killed director left behind"));
        }
        Ok(done)
    }

    /// These interfaces are there from now on. What there is anew is hooked when it is attached.
    pub fn detach(&mut self, interfaces: Vec<(InterfaceId, String)>) {
        self.interfaces = interfaces;
    }

    /// Hooks these interfaces: a hook goes with its interface, on most kernels, and the number with which packets are moved
    /// does on all. After an error the table is as before.
    pub fn attach(&mut self, interfaces: Vec<(InterfaceId, String)>, claims: &Claims) -> Result<(), Error> {
        let _turn = self.alone(&Vips::of(claims), &interfaces)?;
        let before = mem::replace(&mut self.interfaces, interfaces);
        // It may have been impossible for want of an interface.
        let moving = mem::replace(&mut self.moving, Moving::Unused);
        let made = self.make(claims);
        if made.is_err() {
            (self.interfaces, self.moving) = (before, moving);
        }
        made
    }

    /// Sees to it that nobody else serves these VIPs on these interfaces, for as long as what it gives lives.
    fn alone(
        &self,
        vips: &Vips,
        interfaces: &[(InterfaceId, String)],
    ) -> Result<Option<UnixListener>, Error> {
        if vips.is_empty() {
            return Ok(None);
        }
        let turn = rivals::turn();
        let others = self.nft.tables()?.into_iter().filter(|name| *name != self.name);
        for name in others {
            let Some(number) = name.strip_prefix(PREFIX).and_then(|number| number.parse().ok()) else {
                continue;
            };
            if sign(&name).is_err()
                // One that ends meanwhile serves nothing.
                && let Ok(listing) = self.nft.list(&name)
            {
                rivals::refuse(vips, interfaces.iter().map(|(_, name)| name.as_str()), number, &listing)?;
            }
        }
        Ok(turn)
    }

    /// Makes the table anew, whatever there is of it.
    fn make(&mut self, claims: &Claims) -> Result<(), Error> {
        if self.moving == Moving::InForce {
            self.moving = Moving::Unused;
        }
        let made = self.make_with(self.quotes, claims);
        if made.is_err() && self.quotes == Quotes::Sets && self.make_with(Quotes::Rules, claims).is_ok() {
            self.quotes = Quotes::Rules;
            return Ok(());
        }
        made
    }

    fn make_with(&mut self, quotes: Quotes, claims: &Claims) -> Result<(), Error> {
        let Self { name, interfaces, .. } = self;
        let script = format!("table netdev {name}\ndelete table netdev {name}\n")
            + &skeleton(name, interfaces, quotes)
            + &contents(name, quotes, None, claims);
        self.run(&script, claims)
    }

    /// Does a script, and moves what `claims` say that the host sends from real servers of its own. An old kernel cannot:
    /// all else goes on then.
    fn run(&mut self, script: &str, claims: &Claims) -> Result<(), Error> {
        if self.has_ended {
            return Ok(());
        }
        let wanted = !claims.local.is_empty() && self.can_move();
        let Self { nft, name, number, interfaces, .. } = self;
        let chains = match (wanted, &self.moving) {
            (true, Moving::InForce) => moved::fill(name, *number, &claims.local),
            (true, _) => moved::make(name, *number, interfaces) + &moved::fill(name, *number, &claims.local),
            (false, Moving::InForce) => moved::remove(name),
            (false, _) => return nft.run(script),
        };
        match nft.run(&(script.to_owned() + &chains)) {
            Ok(()) => self.moving = if wanted { Moving::InForce } else { Moving::Unused },
            Err(problem) if wanted && self.moving == Moving::Unused => {
                nft.run(script)?;
                let servers = moved::names(&claims.local);
                self.moving = Moving::Refused(format!(
                    "replies of real servers on this host ({servers}) are not translated: that takes nftables' netdev \
                     egress hook (Linux 5.16 with CONFIG_NETFILTER_EGRESS and CONFIG_NFT_FWD_NETDEV, nft 1.0.1): \
                     {problem}"
                ));
            }
            Err(problem) => return Err(problem),
        }
        Ok(())
    }

    fn remove(&self, table: &str) -> Result<(), Error> {
        self.nft.run(&format!("delete table netdev {table}\n"))
    }

    /// Whether our table is there, and tables like it whose directors are gone.
    fn listed(&self) -> Result<(bool, Vec<String>), Error> {
        let (own, others): (Vec<_>, Vec<_>) = self
            .nft
            .tables()?
            .into_iter()
            .filter(|name| name.starts_with(PREFIX))
            .partition(|name| *name == self.name);
        let orphans = others.into_iter().filter(|name| sign(name).is_ok()).collect();
        Ok((!own.is_empty(), orphans))
    }
}

impl Drop for Table {
    fn drop(&mut self) {
        self.end();
    }
}

impl Table {
    /// Removes it, for good.
    pub fn end(&mut self) {
        if mem::replace(&mut self.has_ended, true) {
            return;
        }
        if let Err(error) = self.remove(&self.name) {
            tracing::warn!("nftables table {} stays: {error}", self.name);
        }
    }
}

fn program() -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let folders = std::env::split_paths(&path).chain(FOLDERS.iter().map(PathBuf::from));
    folders.map(|folder| folder.join("nft")).find(|file| Path::is_file(file))
}

/// The program itself.
#[derive(Debug)]
struct Program(PathBuf);

impl Nft for Program {
    fn run(&self, script: &str) -> Result<(), Error> {
        let failed = Error::platform("running nft");
        let mut child = match hand_on(Command::new(&self.0).args(["-f", "-"]))
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

    fn list(&self, table: &str) -> Result<String, Error> {
        let listed = hand_on(Command::new(&self.0).args(["list", "table", "netdev", table]))
            .output()
            .map_err(Error::platform("running nft"))?;
        Ok(String::from_utf8_lossy(&listed.stdout).into_owned())
    }

    fn tables(&self) -> Result<Vec<String>, Error> {
        netdev_tables().map_err(Error::platform("asking the kernel for its nftables tables"))
    }
}

/// The table without elements. `fib` leaves the host's own talk with its real servers alone.
fn skeleton(name: &str, interfaces: &[(InterfaceId, String)], quotes: Quotes) -> String {
    let devices: Vec<_> = interfaces.iter().map(|(_, name)| format!("\"{name}\"")).collect();
    let hook = match &devices[..] {
        [] => String::new(),
        some => {
            format!("type filter hook ingress devices = {{ {} }} priority 0; policy accept;", some.join(", "))
        }
    };
    let mut script = format!("table netdev {name} {{\n chain ranges {{ }}\n");
    for Family { v4, suffix, address, .. } in &FAMILIES {
        let _ = writeln!(script, " chain quoted{suffix} {{ }}");
        let ends = if quotes == Quotes::Sets { &quoted_ends(*v4)[..] } else { &[] };
        let mut rules = String::new();
        for (set, end, unless) in ends {
            let (point, host) = end.names();
            for (set, name) in [(format!("quoted_{set}"), point), (format!("quoted_all_{set}"), host)] {
                let _ = writeln!(script, " set {set}{suffix} {{ typeof {name}; }}");
                let _ = writeln!(rules, "  {name} @{set}{suffix}{unless} drop");
            }
        }
        let _ = writeln!(script, " chain errors{suffix} {{\n{rules}  jump quoted{suffix}\n }}");
        for set in ["services", "replies"] {
            let _ = writeln!(script, " set {set}{suffix} {{ type inet_proto . {address} . inet_service; }}");
            let _ = writeln!(script, " set all_{set}{suffix} {{ type inet_proto . {address}; }}");
        }
        for set in ["owned", "vips", "servers"] {
            let _ = writeln!(script, " set {set}{suffix} {{ type {address}; }}");
        }
    }
    script += " chain errors {\n";
    for Family { suffix, error, .. } in &FAMILIES {
        let _ = writeln!(script, "  {error} jump errors{suffix}");
    }
    script += " }\n";
    let _ =
        writeln!(script, " chain ingress {{ {hook}\n  meta pkttype != host accept\n  {OTHER_VLANS} accept");
    for Family { v4, suffix, ip, fragment, .. } in &FAMILIES {
        let protocols = in_fragments(*v4).map(|Protocol(number)| number.to_string()).join(", ");
        let _ = writeln!(
            script,
            "  {ip} daddr @owned{suffix} drop\n  \
             meta l4proto . {ip} daddr . th dport @services{suffix} drop\n  \
             meta l4proto . {ip} daddr @all_services{suffix} drop\n  \
             meta l4proto . {ip} saddr . th sport @replies{suffix} fib daddr type != local drop\n  \
             meta l4proto . {ip} saddr @all_replies{suffix} fib daddr type != local drop\n  \
             {fragment} meta l4proto {{ {protocols} }} {ip} daddr @vips{suffix} drop\n  \
             {fragment} meta l4proto {{ {protocols} }} {ip} saddr @servers{suffix} fib daddr type != local drop"
        );
    }
    let Protocol(icmp4) = Protocol::ICMP;
    let Protocol(icmp6) = Protocol::ICMPV6;
    script + &format!("  meta l4proto {{ {icmp4}, {icmp6} }} jump errors\n  jump ranges\n }}\n}}\n")
}

/// Leaves what goes to the host itself alone.
const UNLESS_LOCAL: &str = " fib daddr type != local";

/// The commands that make the sets and chains agree with `after`, where they agree with `before`; without it from
/// nothing, whatever they hold. Blocks and ranges that overlap are in a chain, for no set can hold them.
fn contents(table: &str, quotes: Quotes, before: Option<&Claims>, after: &Claims) -> String {
    let mut script = String::new();
    let none = Claims::default();
    let known = before.unwrap_or(&none);
    for family in &FAMILIES {
        let mut change = |set: &str, gone: Vec<String>, new: Vec<String>| {
            let set = format!("netdev {table} {set}{}", family.suffix);
            if before.is_none() {
                let _ = writeln!(script, "flush set {set}");
            }
            for (verb, elements) in [("delete", gone), ("add", new)] {
                if !elements.is_empty() {
                    let _ = writeln!(script, "{verb} element {set} {{ {} }}", elements.join(", "));
                }
            }
        };
        let [services, replies] = quoted_ends(family.v4);
        for ((name, quoted, _), addresses, old, new) in [
            (services, "vips", &known.services, &after.services),
            (replies, "servers", &known.replies, &after.replies),
        ] {
            let same = (&old.points, &old.hosts) == (&new.points, &new.hosts);
            if same && before.is_some() {
                continue;
            }
            let points = (old.points.difference(&new.points), new.points.difference(&old.points));
            let hosts = (old.hosts.difference(&new.hosts), new.hosts.difference(&old.hosts));
            if quotes == Quotes::Sets {
                let (gone, new) = points.clone();
                change(&format!("quoted_{name}"), quoted.points(gone), quoted.points(new));
                let (gone, new) = hosts.clone();
                change(&format!("quoted_all_{name}"), quoted.hosts(gone), quoted.hosts(new));
            }
            change(name, family.points(points.0), family.points(points.1));
            change(&format!("all_{name}"), family.hosts(hosts.0), family.hosts(hosts.1));
            let (had, has) = (old.addresses(), new.addresses());
            let gone = family.addresses(had.difference(&has));
            change(addresses, gone, family.addresses(has.difference(&had)));
        }
        let gone = family.addresses(known.owned.difference(&after.owned));
        change("owned", gone, family.addresses(after.owned.difference(&known.owned)));
    }
    let of_ranges = (&known.services.ranges, &known.replies.ranges);
    let same = before.is_some() && of_ranges == (&after.services.ranges, &after.replies.ranges);
    if !same {
        script += &ranges_chain(table, after);
    }
    let same = same
        && (quotes == Quotes::Sets || (&known.services, &known.replies) == (&after.services, &after.replies));
    if !same {
        script += &quoted_chains(table, quotes, after);
    }
    script
}

/// Where errors quote what is claimed, by the name of its sets, and what is excepted.
const fn quoted_ends(v4: bool) -> [(&'static str, QuotedEnd, &'static str); 2] {
    [("services", QuotedEnd::source(v4), ""), ("replies", QuotedEnd::destination(v4), UNLESS_LOCAL)]
}

fn ranges_chain(table: &str, claims: &Claims) -> String {
    let mut script = format!("flush chain netdev {table} ranges\n");
    for family in &FAMILIES {
        let services = claims.services.ranges.iter().map(|range| (range, "d", ""));
        let replies = claims.replies.ranges.iter().map(|range| (range, "s", UNLESS_LOCAL));
        for (range, end, unless) in services.chain(replies) {
            for rule in family.rules(range, end) {
                let _ = writeln!(script, "add rule netdev {table} ranges {rule}{unless} drop");
            }
        }
    }
    script
}

/// What of all that errors quote is in no set.
fn quoted_chains(table: &str, quotes: Quotes, claims: &Claims) -> String {
    let mut script = String::new();
    for Family { v4, suffix, .. } in &FAMILIES {
        let _ = writeln!(script, "flush chain netdev {table} quoted{suffix}");
        for ((_, end, unless), ends) in quoted_ends(*v4).into_iter().zip([&claims.services, &claims.replies])
        {
            let conditions = if quotes == Quotes::Sets { end.ranges(ends) } else { end.conditions(ends) };
            for condition in conditions {
                let _ = writeln!(script, "add rule netdev {table} quoted{suffix} {condition}{unless} drop");
            }
        }
    }
    script
}

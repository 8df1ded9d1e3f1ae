//! The rules that `ipvsadm -S` saves and `ipvsadm -R` restores: one command a line, `-A` for a service and
//! `-a` for a real server of one above it.
//!
//! Read as `ipvsadm` reads its command line (`--option=value`, `--option value`, short options bundled), with
//! its defaults. What the director cannot do is refused by name, never ignored.

use super::draft::{self, Draft, Places};
use super::value::{self, NUMBER_LIMIT};
use super::{ConfigError, Configuration, Place, SchedulerName, ServiceConfig};
use fastlvs_core::net::{Endpoint, Protocol};
use fastlvs_core::service::{Encapsulation, Method, Persistence, ServerSpec, ServiceKey};
use std::collections::HashMap;
use std::iter::Peekable;
use std::net::IpAddr;
use std::time::Duration;

/// How long a client stays where nothing is said, in seconds.
const PERSISTENCE: &str = "360";
/// A month.
const LONGEST_PERSISTENCE: u64 = 2_678_400;

/// Reads the rules.
pub fn read(text: &str, file: &str) -> Result<Configuration, ConfigError> {
    let mut drafts = Drafts::default();
    for (number, line) in text.lines().enumerate() {
        let place = Place { file: file.to_owned(), line: Some(number + 1), field: None };
        rule(line, &place, &mut drafts)?;
    }
    Ok(Configuration { services: draft::finish(drafts.list)?, ..Configuration::default() })
}

/// The services so far, in order, and where each stands.
#[derive(Default)]
struct Drafts {
    list: Vec<Draft>,
    /// Of two with one name the first; they are refused together when all is read.
    places: HashMap<ServiceKey, usize>,
}

impl Drafts {
    fn push(&mut self, draft: Draft) {
        self.places.entry(draft.service.key).or_insert(self.list.len());
        self.list.push(draft);
    }

    fn find(&mut self, key: &ServiceKey) -> Option<&mut Draft> {
        self.places.get(key).map(|place| &mut self.list[*place])
    }
}

/// An option, by its long name; see [`OPTIONS`].
struct OptionKind {
    short: Option<char>,
    long: &'static str,
    meaning: Meaning,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Meaning {
    Command(Command),
    /// Names a service by its address.
    Service(Protocol),
    /// Names a service by its mark, of which there are those of IPv6.
    Mark,
    Ipv6,
    Scheduler,
    Flags,
    Persistence,
    Netmask,
    OnePacket,
    Server,
    Forwarding(Method),
    Weight,
    UpperThreshold,
    LowerThreshold,
    TunnelType,
    TunnelPort,
    /// What of a tunnel is checked, as `director.toml` calls it.
    TunnelFlags(&'static str),
    /// What `ipvsadm` has and the director has not.
    Missing,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Command {
    AddService,
    AddServer,
    /// Begins an empty table, which is where every file begins.
    Clear,
}

const fn option(short: Option<char>, long: &'static str, meaning: Meaning) -> OptionKind {
    OptionKind { short, long, meaning }
}

const OPTIONS: &[OptionKind] = &[
    option(Some('A'), "add-service", Meaning::Command(Command::AddService)),
    option(Some('a'), "add-server", Meaning::Command(Command::AddServer)),
    option(Some('C'), "clear", Meaning::Command(Command::Clear)),
    option(Some('t'), "tcp-service", Meaning::Service(Protocol::TCP)),
    option(Some('u'), "udp-service", Meaning::Service(Protocol::UDP)),
    option(None, "sctp-service", Meaning::Service(Protocol::SCTP)),
    option(Some('f'), "fwmark-service", Meaning::Mark),
    option(Some('6'), "ipv6", Meaning::Ipv6),
    option(Some('s'), "scheduler", Meaning::Scheduler),
    option(Some('b'), "sched-flags", Meaning::Flags),
    option(Some('p'), "persistent", Meaning::Persistence),
    option(Some('M'), "netmask", Meaning::Netmask),
    option(Some('o'), "ops", Meaning::OnePacket),
    option(Some('r'), "real-server", Meaning::Server),
    option(Some('m'), "masquerading", Meaning::Forwarding(Method::Masquerading)),
    option(Some('g'), "gatewaying", Meaning::Forwarding(Method::Gatewaying)),
    option(Some('i'), "ipip", Meaning::Forwarding(Method::Tunneling)),
    option(Some('w'), "weight", Meaning::Weight),
    option(Some('x'), "u-threshold", Meaning::UpperThreshold),
    option(Some('y'), "l-threshold", Meaning::LowerThreshold),
    option(None, "tun-type", Meaning::TunnelType),
    option(None, "tun-port", Meaning::TunnelPort),
    option(None, "tun-nocsum", Meaning::TunnelFlags("nocsum")),
    option(None, "tun-csum", Meaning::TunnelFlags("csum")),
    option(None, "tun-remcsum", Meaning::TunnelFlags("remcsum")),
    option(None, "pe", Meaning::Missing),
];

impl OptionKind {
    /// As `ipvsadm` names it in what it prints itself: `-t`, `--tun-type`.
    fn name(&self) -> String {
        self.short.map_or_else(|| format!("--{}", self.long), |short| format!("-{short}"))
    }

    fn takes_value(&self) -> bool {
        !matches!(
            self.meaning,
            Meaning::Command(_)
                | Meaning::Forwarding(_)
                | Meaning::Ipv6
                | Meaning::OnePacket
                | Meaning::TunnelFlags(_)
        )
    }

    /// What it may be given without a value.
    fn default(&self) -> Option<&'static str> {
        match self.meaning {
            Meaning::Persistence => Some(PERSISTENCE),
            _ => (!self.takes_value()).then_some(""),
        }
    }

    /// Whether it names a service, or is part of what does.
    fn names_service(&self) -> bool {
        matches!(self.meaning, Meaning::Service(_) | Meaning::Mark | Meaning::Ipv6)
    }

    fn describes_service(&self) -> bool {
        let Self { meaning, .. } = self;
        matches!(
            meaning,
            Meaning::Scheduler
                | Meaning::Flags
                | Meaning::Persistence
                | Meaning::Netmask
                | Meaning::OnePacket
        )
    }
}

fn rule(line: &str, place: &Place, drafts: &mut Drafts) -> Result<(), ConfigError> {
    // As a shell does: what follows a word that begins with # is a comment.
    let mut words: Vec<&str> = line.split_whitespace().take_while(|word| !word.starts_with('#')).collect();
    if words.first().is_some_and(|word| word.rsplit('/').next() == Some("ipvsadm")) {
        words.remove(0);
    }
    if words.is_empty() {
        return Ok(());
    }
    let rule = Rule::parse(&words, place)?;
    match rule.command {
        Command::AddService => drafts.push(rule.service()?),
        Command::AddServer => rule.server(drafts)?,
        Command::Clear if drafts.list.is_empty() => {}
        Command::Clear => return Err(place.error("-C after a service would remove what stands above it")),
    }
    Ok(())
}

/// A line, taken apart.
struct Rule<'a> {
    command: Command,
    /// With the command left out.
    options: Vec<(&'static OptionKind, &'a str)>,
    place: &'a Place,
}

impl<'a> Rule<'a> {
    fn parse(words: &[&'a str], place: &'a Place) -> Result<Self, ConfigError> {
        let mut options = options(words, place)?.into_iter();
        let command = match options.next() {
            Some((OptionKind { meaning: Meaning::Command(command), .. }, _)) => *command,
            _ => return Err(place.error("expected -A (--add-service) or -a (--add-server) first")),
        };
        let mut rule = Rule { command, options: Vec::new(), place };
        for (option, value) in options {
            rule.take(option, value)?;
        }
        Ok(rule)
    }

    fn take(&mut self, option: &'static OptionKind, value: &'a str) -> Result<(), ConfigError> {
        let name = option.name();
        let legal = match self.command {
            Command::AddService => option.names_service() || option.describes_service(),
            Command::AddServer => !option.describes_service(),
            Command::Clear => false,
        };
        if !legal || matches!(option.meaning, Meaning::Command(_)) {
            return Err(self.place.error(format_args!("{name} does not belong to this command")));
        }
        let is_service = |option: &OptionKind| option.names_service() && option.meaning != Meaning::Ipv6;
        if is_service(option) && self.options.iter().any(|(other, _)| is_service(other)) {
            return Err(self.place.error("more than one service is named"));
        }
        let same = |other: &OptionKind| match (other.meaning, option.meaning) {
            (Meaning::Forwarding(_), Meaning::Forwarding(_))
            | (Meaning::TunnelFlags(_), Meaning::TunnelFlags(_)) => true,
            _ => other.long == option.long,
        };
        if self.options.iter().any(|(other, _)| same(other)) {
            return Err(self.place.error(format_args!("{name} or its like is given twice")));
        }
        self.options.push((option, value));
        Ok(())
    }

    fn key(&self) -> Result<ServiceKey, ConfigError> {
        let ipv6 = self.value(Meaning::Ipv6).is_some();
        if let Some(text) = self.value(Meaning::Mark) {
            let mark = text.parse().ok().filter(|mark| *mark != 0).ok_or_else(|| {
                named(self.place, "-f")
                    .error(format_args!("expected a mark from 1 to {}, got {text:?}", u32::MAX))
            })?;
            return Ok(ServiceKey::of_mark(mark, ipv6));
        }
        if ipv6 {
            return Err(named(self.place, "-6").error("belongs to a service of a mark, -f"));
        }
        let service = self.options.iter().find_map(|(option, value)| match option.meaning {
            Meaning::Service(protocol) => Some((option, protocol, *value)),
            _ => None,
        });
        let Some((option, protocol, text)) = service else {
            let message = "expected a service: -t VIP:PORT, -u VIP:PORT, --sctp-service VIP:PORT or -f MARK";
            return Err(self.place.error(message));
        };
        let (address, port) =
            endpoint(text).map_err(|message| named(self.place, &option.name()).error(message))?;
        Ok(ServiceKey::new(protocol, Endpoint::new(address, port.unwrap_or(0))))
    }

    fn service(&self) -> Result<Draft, ConfigError> {
        let mut service = ServiceConfig::new(self.key()?, self.place.clone());
        let scheduler = self.value(Meaning::Scheduler).unwrap_or("wlc");
        service.scheduler = SchedulerName::BuiltIn(scheduler.to_owned());
        for text in self.value(Meaning::Flags).unwrap_or_default().split(',').filter(|text| !text.is_empty())
        {
            value::flag(text, scheduler, &mut service.flags)
                .map_err(|message| named(self.place, "-b").error(message))?;
        }
        service.persistence = self.persistence(service.key.address.address)?;
        service.one_packet = self.value(Meaning::OnePacket).is_some();
        Ok(Draft { service, places: self.places(), servers: Vec::new() })
    }

    fn persistence(&self, family: IpAddr) -> Result<Option<Persistence>, ConfigError> {
        let netmask = self.value(Meaning::Netmask);
        let Some(text) = self.value(Meaning::Persistence) else {
            let alone = named(self.place, "-M").error("belongs to a service with persistence, -p");
            return if netmask.is_some() { Err(alone) } else { Ok(None) };
        };
        let seconds = text.parse().ok().filter(|seconds| (1..=LONGEST_PERSISTENCE).contains(seconds));
        let seconds = seconds.ok_or_else(|| {
            let expected = format!("expected from 1 to {LONGEST_PERSISTENCE} seconds, got {text:?}");
            named(self.place, "-p").error(expected)
        })?;
        let mask = match netmask {
            None => value::all_bits(family),
            Some(text) => {
                value::netmask(text, family).map_err(|message| named(self.place, "-M").error(message))?
            }
        };
        Ok(Some(Persistence { timeout: Duration::from_secs(seconds), mask }))
    }

    fn server(&self, drafts: &mut Drafts) -> Result<(), ConfigError> {
        let key = self.key()?;
        let draft = drafts
            .find(&key)
            .ok_or_else(|| self.place.error(format_args!("service {key} is not defined above")))?;
        let Some(text) = self.value(Meaning::Server) else {
            return Err(self.place.error("expected a real server: -r RIP:PORT"));
        };
        let (address, port) = endpoint(text).map_err(|message| named(self.place, "-r").error(message))?;
        let method = self.options.iter().find_map(|(option, _)| match option.meaning {
            Meaning::Forwarding(method) => Some(method),
            _ => None,
        });
        let method = method.unwrap_or_default();
        draft.service.servers.push(ServerSpec {
            endpoint: Endpoint::new(address, port.unwrap_or(key.address.port)),
            method,
            encapsulation: self.encapsulation(method)?,
            weight: self.number(Meaning::Weight, "a weight", 1)?,
            upper_threshold: self.number(Meaning::UpperThreshold, "a number of connections", 0)?,
            lower_threshold: self.number(Meaning::LowerThreshold, "a number of connections", 0)?,
        });
        draft.servers.push(Places { name: named(self.place, "-r"), ..self.places() });
        Ok(())
    }

    fn encapsulation(&self, method: Method) -> Result<Encapsulation, ConfigError> {
        let flags = self.options.iter().find_map(|(option, _)| match option.meaning {
            Meaning::TunnelFlags(flags) => Some(flags),
            _ => None,
        });
        let places = self.places();
        let of_tunnel = |(option, _): &&(&OptionKind, &str)| part(option).starts_with("tunnel");
        if let Some((option, _)) = self.options.iter().find(of_tunnel)
            && method != Method::Tunneling
        {
            return Err(named(self.place, &option.name()).error("expected -i with a tunnel's options"));
        }
        let port = match self.value(Meaning::TunnelPort) {
            None => None,
            Some(text) => Some(text.parse().ok().filter(|port| *port != 0).ok_or_else(|| {
                places.of("tunnel_port").error(format_args!("expected a port from 1 to 65535, got {text:?}"))
            })?),
        };
        value::encapsulation(self.value(Meaning::TunnelType), port, flags)
            .map_err(|(part, message)| places.of(part).error(message))
    }

    fn number(&self, meaning: Meaning, what: &str, default: u32) -> Result<u32, ConfigError> {
        let given = self.options.iter().find(|(option, _)| option.meaning == meaning);
        let Some((option, text)) = given else { return Ok(default) };
        text.parse().ok().filter(|number| *number <= NUMBER_LIMIT).ok_or_else(|| {
            let message = format!("expected {what} from 0 to {NUMBER_LIMIT}, got {text:?}");
            named(self.place, &option.name()).error(message)
        })
    }

    fn value(&self, meaning: Meaning) -> Option<&'a str> {
        self.options.iter().find(|(option, _)| option.meaning == meaning).map(|(_, value)| *value)
    }

    /// Everything stands in the line.
    fn places(&self) -> Places {
        let place = |(option, _): &(&OptionKind, _)| (part(option), named(self.place, &option.name()));
        Places { name: self.place.clone(), parts: self.options.iter().map(place).collect() }
    }
}

/// What `director.toml` calls that which an option says; empty where nothing else is asked for by it.
const fn part(option: &OptionKind) -> &'static str {
    match option.meaning {
        Meaning::Scheduler => "scheduler",
        Meaning::Persistence => "persistence",
        Meaning::Netmask => "netmask",
        Meaning::OnePacket => "one_packet",
        Meaning::Weight => "weight",
        Meaning::LowerThreshold => "lower_threshold",
        Meaning::TunnelType => "tunnel",
        Meaning::TunnelPort => "tunnel_port",
        Meaning::TunnelFlags(_) => "tunnel_flags",
        _ => "",
    }
}

/// The options of a line with their values, as popt takes it apart.
fn options<'a>(words: &[&'a str], place: &Place) -> Result<Vec<(&'static OptionKind, &'a str)>, ConfigError> {
    let mut options = Vec::new();
    let mut words = words.iter().copied().peekable();
    while let Some(word) = words.next() {
        if let Some(long) = word.strip_prefix("--") {
            let (name, mut value) = long.split_once('=').map_or((long, None), |(n, v)| (n, Some(v)));
            let option = OPTIONS.iter().find(|option| option.long == name);
            let option = supported(option, word, place)?;
            if !option.takes_value() && value.is_some() {
                return Err(place.error(format_args!("--{name} takes no value")));
            }
            if option.takes_value() && value.is_none() {
                value = next_value(option, &mut words);
            }
            options.push(valued(option, value, place)?);
        } else if let Some(mut letters) = word.strip_prefix('-') {
            while let Some(letter) = letters.chars().next() {
                letters = &letters[letter.len_utf8()..];
                let option = OPTIONS.iter().find(|option| option.short == Some(letter));
                let option = supported(option, &format!("-{letter}"), place)?;
                if option.takes_value() {
                    let rest = std::mem::take(&mut letters);
                    let value = if rest.is_empty() { next_value(option, &mut words) } else { Some(rest) };
                    options.push(valued(option, value, place)?);
                } else {
                    options.push((option, ""));
                }
            }
        } else {
            return Err(place.error(format_args!("unexpected argument {word:?}")));
        }
    }
    Ok(options)
}

/// Refuses what does not exist or cannot be had.
fn supported(
    option: Option<&'static OptionKind>,
    word: &str,
    place: &Place,
) -> Result<&'static OptionKind, ConfigError> {
    match option {
        None => {
            let message = "unknown option; expected those of ipvsadm -A and -a";
            Err(named(place, word).error(message))
        }
        Some(option) if option.meaning == Meaning::Missing => {
            Err(named(place, &option.name()).error(format_args!("--{} is not supported", option.long)))
        }
        Some(option) => Ok(option),
    }
}

/// The word behind an option, which is its value; where it may do without, unless the word is an option itself.
fn next_value<'a>(
    option: &OptionKind,
    words: &mut Peekable<impl Iterator<Item = &'a str>>,
) -> Option<&'a str> {
    words.next_if(|word| option.default().is_none() || !word.starts_with('-'))
}

/// Refuses a value that is missing.
fn valued<'a>(
    option: &'static OptionKind,
    value: Option<&'a str>,
    place: &Place,
) -> Result<(&'static OptionKind, &'a str), ConfigError> {
    let value = value.or(option.default());
    value.map(|value| (option, value)).ok_or_else(|| named(place, &option.name()).error("expected a value"))
}

/// An address in numbers, with a port in numbers or none.
fn endpoint(text: &str) -> Result<(IpAddr, Option<u16>), String> {
    let letters = |part: &str| part.chars().any(|c| c.is_ascii_alphabetic());
    let (host, port) = match text.rsplit_once(':') {
        Some((host, port)) if host.starts_with('[') || !host.contains(':') => (host, port),
        _ => (text, ""),
    };
    let names = letters(port) || !host.contains(':') && letters(host);
    let expected = format!("expected numbers, got names in {text:?}; save with `ipvsadm -Sn`");
    value::endpoint(text).map_err(|message| if names { expected } else { message })
}

fn named(place: &Place, field: &str) -> Place {
    Place { field: Some(field.to_owned()), ..place.clone() }
}

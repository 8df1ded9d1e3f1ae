//! The rules that `ipvsadm -S` saves and `ipvsadm -R` restores: one command a line, `-A` for a service and
//! `-a` for a real server of one above it.
//!
//! Read as `ipvsadm` reads its command line (`--option=value`, `--option value`, short options bundled), with
//! its defaults. What the director cannot do is refused by name, never ignored.

use super::draft::{self, Draft};
use super::value::{self, WEIGHT_LIMIT};
use super::{ConfigError, Configuration, Place, SchedulerName, ServiceConfig};
use fastlvs_core::net::{Endpoint, Protocol};
use fastlvs_core::service::{Method, ServerSpec, ServiceKey};

/// Reads the rules.
pub fn read(text: &str, file: &str) -> Result<Configuration, ConfigError> {
    let mut drafts = Vec::new();
    for (number, line) in text.lines().enumerate() {
        let place = Place { file: file.to_owned(), line: Some(number + 1), field: None };
        rule(line, &place, &mut drafts)?;
    }
    Ok(Configuration { services: draft::finish(drafts)?, ..Configuration::default() })
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
    Service(Protocol),
    Scheduler,
    Server,
    Forwarding(Method),
    Weight,
    /// A connection threshold, of which only 0, none, can be had.
    Threshold,
    TunnelType,
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
    option(Some('s'), "scheduler", Meaning::Scheduler),
    option(Some('r'), "real-server", Meaning::Server),
    option(Some('m'), "masquerading", Meaning::Forwarding(Method::Masquerading)),
    option(Some('g'), "gatewaying", Meaning::Forwarding(Method::Gatewaying)),
    option(Some('i'), "ipip", Meaning::Forwarding(Method::Tunneling)),
    option(Some('w'), "weight", Meaning::Weight),
    option(Some('x'), "u-threshold", Meaning::Threshold),
    option(Some('y'), "l-threshold", Meaning::Threshold),
    option(None, "tun-type", Meaning::TunnelType),
    option(Some('f'), "fwmark-service", Meaning::Missing),
    option(Some('6'), "ipv6", Meaning::Missing),
    option(None, "sctp-service", Meaning::Missing),
    option(Some('p'), "persistent", Meaning::Missing),
    option(Some('M'), "netmask", Meaning::Missing),
    option(None, "pe", Meaning::Missing),
    option(Some('o'), "ops", Meaning::Missing),
    option(Some('b'), "sched-flags", Meaning::Missing),
    option(None, "tun-port", Meaning::Missing),
    option(None, "tun-nocsum", Meaning::Missing),
    option(None, "tun-csum", Meaning::Missing),
    option(None, "tun-remcsum", Meaning::Missing),
];

impl OptionKind {
    /// As `ipvsadm` names it in what it prints itself: `-t`, `--tun-type`.
    fn name(&self) -> String {
        self.short.map_or_else(|| format!("--{}", self.long), |short| format!("-{short}"))
    }

    fn takes_value(&self) -> bool {
        !matches!(self.meaning, Meaning::Command(_) | Meaning::Forwarding(_))
    }
}

fn rule(line: &str, place: &Place, drafts: &mut Vec<Draft>) -> Result<(), ConfigError> {
    let mut words: Vec<&str> = line.split_whitespace().collect();
    if words.first() == Some(&"ipvsadm") {
        words.remove(0);
    }
    if words.first().is_none_or(|word| word.starts_with('#')) {
        return Ok(());
    }
    let rule = Rule::parse(&words, place)?;
    match rule.command {
        Command::AddService => drafts.push(rule.service(place)?),
        Command::AddServer => rule.server(place, drafts)?,
        Command::Clear if drafts.is_empty() => {}
        Command::Clear => return Err(place.error("-C after a service would remove what stands above it")),
    }
    Ok(())
}

/// A line, taken apart.
struct Rule<'a> {
    command: Command,
    service: Option<(Protocol, &'a str)>,
    options: Vec<(&'static OptionKind, &'a str)>,
}

impl<'a> Rule<'a> {
    fn parse(words: &[&'a str], place: &Place) -> Result<Self, ConfigError> {
        let mut options = options(words, place)?.into_iter();
        let command = match options.next() {
            Some((OptionKind { meaning: Meaning::Command(command), .. }, _)) => *command,
            _ => return Err(place.error("expected -A (--add-service) or -a (--add-server) first")),
        };
        let mut rule = Rule { command, service: None, options: Vec::new() };
        for (option, value) in options {
            rule.take(option, value, place)?;
        }
        Ok(rule)
    }

    fn take(
        &mut self,
        option: &'static OptionKind,
        value: &'a str,
        place: &Place,
    ) -> Result<(), ConfigError> {
        let name = option.name();
        let of_service = matches!(option.meaning, Meaning::Service(_) | Meaning::Scheduler);
        let legal = match self.command {
            Command::AddService => of_service,
            Command::AddServer => option.meaning != Meaning::Scheduler,
            Command::Clear => false,
        };
        if !legal {
            return Err(place.error(format_args!("{name} does not belong to this command")));
        }
        if let Meaning::Service(protocol) = option.meaning {
            if self.service.replace((protocol, value)).is_some() {
                return Err(place.error("more than one service is named"));
            }
            return Ok(());
        }
        let same = |other: &OptionKind| match (other.meaning, option.meaning) {
            (Meaning::Forwarding(_), Meaning::Forwarding(_)) => true,
            _ => other.long == option.long,
        };
        if self.options.iter().any(|(other, _)| same(other)) {
            return Err(place.error(format_args!("{name} or its like is given twice")));
        }
        self.options.push((option, value));
        Ok(())
    }

    fn key(&self, place: &Place) -> Result<ServiceKey, ConfigError> {
        let Some((protocol, text)) = self.service else {
            return Err(place.error("expected a service: -t VIP:PORT or -u VIP:PORT"));
        };
        let place = named(place, if protocol == Protocol::TCP { "-t" } else { "-u" });
        let (address, port) = endpoint(text).map_err(|message| place.error(message))?;
        let port = port.ok_or_else(|| {
            place.error(format_args!(
                "a service of all ports (port 0) is not supported; expected VIP:PORT, got {text:?}"
            ))
        })?;
        Ok(ServiceKey { protocol, address: Endpoint::new(address, port) })
    }

    fn service(&self, place: &Place) -> Result<Draft, ConfigError> {
        let key = self.key(place)?;
        let scheduler_place = named(place, "-s");
        let scheduler = self.value(Meaning::Scheduler).unwrap_or("wlc").to_owned();
        let service = ServiceConfig {
            key,
            scheduler: SchedulerName::BuiltIn(scheduler),
            fallback: "wlc".to_owned(),
            forwarding: Method::default(),
            servers: Vec::new(),
            place: place.clone(),
        };
        Ok(Draft { service, address: place.clone(), scheduler: scheduler_place, servers: Vec::new() })
    }

    fn server(&self, place: &Place, drafts: &mut [Draft]) -> Result<(), ConfigError> {
        let key = self.key(place)?;
        let draft = drafts
            .iter_mut()
            .find(|draft| draft.service.key == key)
            .ok_or_else(|| place.error(format_args!("service {key} is not defined above")))?;
        let Some(text) = self.value(Meaning::Server) else {
            return Err(place.error("expected a real server: -r RIP:PORT"));
        };
        let (address, port) = endpoint(text).map_err(|message| named(place, "-r").error(message))?;
        let method = self.options.iter().find_map(|(option, _)| match option.meaning {
            Meaning::Forwarding(method) => Some(method),
            _ => None,
        });
        let method = method.unwrap_or_default();
        if self.value(Meaning::TunnelType).is_some() && method != Method::Tunneling {
            return Err(named(place, "--tun-type").error("expected -i with a tunnel's options"));
        }
        let weight = self.value(Meaning::Weight).map_or(Ok(1), |text| weight(text, place))?;
        let endpoint = Endpoint::new(address, port.unwrap_or(key.address.port));
        draft.service.servers.push(ServerSpec { endpoint, method, weight, ..ServerSpec::default() });
        draft.servers.push(named(place, "-r"));
        Ok(())
    }

    fn value(&self, meaning: Meaning) -> Option<&'a str> {
        self.options.iter().find(|(option, _)| option.meaning == meaning).map(|(_, value)| *value)
    }
}

/// The options of a line with their values, as popt takes it apart.
fn options<'a>(words: &[&'a str], place: &Place) -> Result<Vec<(&'static OptionKind, &'a str)>, ConfigError> {
    let mut options = Vec::new();
    let mut words = words.iter().copied();
    while let Some(word) = words.next() {
        if let Some(long) = word.strip_prefix("--") {
            let (name, mut value) = long.split_once('=').map_or((long, None), |(n, v)| (n, Some(v)));
            let option = OPTIONS.iter().find(|option| option.long == name);
            let option = known(option, word, place)?;
            if !option.takes_value() && value.is_some() {
                return Err(place.error(format_args!("--{name} takes no value")));
            }
            if option.takes_value() && value.is_none() {
                value = words.next();
            }
            options.push(valued(option, value, place)?);
        } else if let Some(mut letters) = word.strip_prefix('-') {
            while let Some(letter) = letters.chars().next() {
                letters = &letters[letter.len_utf8()..];
                let option = OPTIONS.iter().find(|option| option.short == Some(letter));
                let option = known(option, &format!("-{letter}"), place)?;
                if option.takes_value() {
                    let rest = std::mem::take(&mut letters);
                    let value = if rest.is_empty() { words.next() } else { Some(rest) };
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
fn known(
    option: Option<&'static OptionKind>,
    word: &str,
    place: &Place,
) -> Result<&'static OptionKind, ConfigError> {
    match option {
        None => {
            let message = "unknown option; expected -A, -a, -t, -u, -s, -r, -m, -g, -i or -w";
            Err(named(place, word).error(message))
        }
        Some(option) if option.meaning == Meaning::Missing => {
            Err(named(place, &option.name()).error(format_args!("--{} is not supported", option.long)))
        }
        Some(option) => Ok(option),
    }
}

/// Refuses a value that is missing, or that means what cannot be had.
fn valued<'a>(
    option: &'static OptionKind,
    value: Option<&'a str>,
    place: &Place,
) -> Result<(&'static OptionKind, &'a str), ConfigError> {
    let place = named(place, &option.name());
    let Some(value) = value.or((!option.takes_value()).then_some("")) else {
        return Err(place.error("expected a value"));
    };
    match option.meaning {
        Meaning::Threshold if value.parse() != Ok(0) => {
            Err(place.error("connection thresholds are not supported, 0 (none) excepted"))
        }
        Meaning::TunnelType if value != "ipip" => {
            Err(place.error(format_args!("tunnel type {value:?} is not supported; expected \"ipip\"")))
        }
        _ => Ok((option, value)),
    }
}

/// An address in numbers, with a port in numbers or none.
fn endpoint(text: &str) -> Result<(std::net::IpAddr, Option<u16>), String> {
    if text.ends_with(":0") && text.parse::<Endpoint>().is_ok() {
        return Err(format!(
            "port 0 (all ports) is not supported; expected a port from 1 to 65535, got {text:?}"
        ));
    }
    let letters = |part: &str| part.chars().any(|c| c.is_ascii_alphabetic());
    let (host, port) = match text.rsplit_once(':') {
        Some((host, port)) if host.starts_with('[') || !host.contains(':') => (host, port),
        _ => (text, ""),
    };
    let names = letters(port) || !host.contains(':') && letters(host);
    let expected = format!("expected numbers, got names in {text:?}; save with `ipvsadm -Sn`");
    value::endpoint(text).map_err(|message| if names { expected } else { message })
}

fn weight(text: &str, place: &Place) -> Result<u32, ConfigError> {
    text.parse().ok().filter(|weight| *weight <= WEIGHT_LIMIT).ok_or_else(|| {
        named(place, "-w").error(format_args!("expected a weight from 0 to {WEIGHT_LIMIT}, got {text:?}"))
    })
}

fn named(place: &Place, field: &str) -> Place {
    Place { field: Some(field.to_owned()), ..place.clone() }
}

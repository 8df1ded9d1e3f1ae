//! `[[service]]` of a `director.toml`, and the servers in it.

use super::draft::{Draft, Places};
use super::settings::{seconds, timeouts};
use super::table::{Table, Value};
use super::value::{self, NUMBER_LIMIT};
use super::{ConfigError, SchedulerName, ServiceConfig};
use fastlvs_core::net::{Endpoint, Protocol};
use fastlvs_core::scheduler::{NAMES, SchedulerFlags};
use fastlvs_core::service::{Encapsulation, Method, Persistence, ServerSpec, ServiceKey};

/// What a service says about itself.
const PARTS: [&str; 10] = [
    "scheduler",
    "fallback",
    "flags",
    "persistence",
    "netmask",
    "one_packet",
    "timeouts",
    "forwarding",
    "ipv6",
    "server",
];

/// What a server says about itself.
const SERVER_PARTS: [&str; 7] =
    ["weight", "forwarding", "tunnel", "tunnel_port", "tunnel_flags", "upper_threshold", "lower_threshold"];

/// Reads a service and its servers.
pub fn service(table: Table<'_>) -> Result<Draft, ConfigError> {
    let table = table.only(&[&["protocol", "address", "mark"][..], &PARTS].concat())?;
    let (key, name) = key(&table)?;
    let places = table.places(name, &PARTS);
    let mut service = ServiceConfig::new(key, table.place_of("scheduler"));
    if let Some(value) = table.value("scheduler") {
        service.scheduler = value.parsed(SchedulerName::parse)?;
    }
    if let Some(value) = table.value("fallback") {
        service.fallback = built_in(&value)?;
    }
    if let Some(value) = table.value("flags") {
        service.flags = flags(&value, &service.scheduler)?;
    }
    service.persistence = persistence(&table, key)?;
    if let Some(value) = table.value("one_packet") {
        service.one_packet = value.boolean()?;
    }
    if let Some(value) = table.value("timeouts") {
        service.timeouts = timeouts(&value)?;
    }
    if let Some(value) = table.value("forwarding") {
        service.forwarding = method(&value)?;
    }
    let mut draft = Draft { service, places, servers: Vec::new() };
    for table in table.tables("server")? {
        let (server, places) = server(table, key, draft.service.forwarding)?;
        draft.service.servers.push(server);
        draft.servers.push(places);
    }
    Ok(draft)
}

/// A protocol that can be balanced.
pub fn protocol(value: &Value<'_>) -> Result<Protocol, ConfigError> {
    let read = |text: &str| match text.to_ascii_lowercase().as_str() {
        "tcp" => Some(Protocol::TCP),
        "udp" => Some(Protocol::UDP),
        "sctp" => Some(Protocol::SCTP),
        _ => None,
    };
    value.text("protocol \"tcp\", \"udp\" or \"sctp\"", read)
}

/// The service's name, and the key that says it.
fn key(table: &Table<'_>) -> Result<(ServiceKey, &'static str), ConfigError> {
    let Some(mark) = table.value("mark") else {
        if let Some(value) = table.value("ipv6") {
            return Err(value.place().error("belongs to the service of a mark: an address says its family"));
        }
        let protocol = protocol(&table.required("protocol")?)?;
        let expected = "VIP and port, like \"192.0.2.10:80\", or a block and a range, like \"192.0.2.0/28:8000-8999\"; port 0 stands for all ports";
        let address = table.required("address")?.text(expected, |text| text.parse().ok())?;
        return Ok((ServiceKey::at(protocol, address), "address"));
    };
    if let Some(value) = ["protocol", "address"].iter().find_map(|key| table.value(key)) {
        let message =
            "does not belong to the service of a mark; its [[mark]] rules say which packets it takes";
        return Err(value.place().error(message));
    }
    let ipv6 = table.value("ipv6").map_or(Ok(false), |value| value.boolean())?;
    Ok((ServiceKey::of_mark(mark.number(1, u32::MAX)?, ipv6), "mark"))
}

fn flags(value: &Value<'_>, scheduler: &SchedulerName) -> Result<SchedulerFlags, ConfigError> {
    let (SchedulerName::BuiltIn(scheduler) | SchedulerName::Python(scheduler)) = scheduler;
    let mut flags = SchedulerFlags::default();
    for item in value.list("a list of options of the scheduler, like [\"sh-port\"]")? {
        item.parsed(|text| value::flag(text, scheduler, &mut flags))?;
    }
    Ok(flags)
}

fn persistence(table: &Table<'_>, key: ServiceKey) -> Result<Option<Persistence>, ConfigError> {
    let netmask = table.value("netmask");
    let Some(value) = table.value("persistence") else {
        let alone = |value: Value<'_>| value.place().error("belongs to a service with persistence");
        return netmask.map_or(Ok(None), |value| Err(alone(value)));
    };
    let family = key.address.address;
    let mask = match netmask {
        None => value::all_bits(family),
        Some(mask) => mask.number_or_text(|text| value::netmask(text, family))?,
    };
    Ok(Some(Persistence { timeout: seconds(&value)?, mask }))
}

fn server(table: Table<'_>, key: ServiceKey, default: Method) -> Result<(ServerSpec, Places), ConfigError> {
    let table = table.only(&[&["address"][..], &SERVER_PARTS].concat())?;
    let (address, port) = table.required("address")?.parsed(value::endpoint)?;
    let method = table.value("forwarding").as_ref().map_or(Ok(default), method)?;
    let number = |key, default| table.value(key).map_or(Ok(default), |v| v.number(0, NUMBER_LIMIT));
    let server = ServerSpec {
        endpoint: Endpoint::new(address, port.unwrap_or(key.address().server_port())),
        method,
        encapsulation: encapsulation(&table, method)?,
        weight: number("weight", 1)?,
        upper_threshold: number("upper_threshold", 0)?,
        lower_threshold: number("lower_threshold", 0)?,
    };
    Ok((server, table.places("address", &SERVER_PARTS)))
}

fn encapsulation(table: &Table<'_>, method: Method) -> Result<Encapsulation, ConfigError> {
    let [kind, port, flags] = ["tunnel", "tunnel_port", "tunnel_flags"].map(|key| table.value(key));
    if let Some(value) = kind.as_ref().or(port.as_ref()).or(flags.as_ref())
        && method != Method::Tunneling
    {
        return Err(value.place().error("belongs to a server that is reached by tunneling"));
    }
    let kind = kind.as_ref().map(Value::string).transpose()?;
    let port = port.map(|value| value.number(1, u16::MAX.into()).map(|port| port as u16)).transpose()?;
    let flags = flags.as_ref().map(Value::string).transpose()?;
    let places = table.places("address", &SERVER_PARTS);
    value::encapsulation(kind, port, flags).map_err(|(part, message)| places.of(part).error(message))
}

fn method(value: &Value<'_>) -> Result<Method, ConfigError> {
    let expected = "a forwarding method: masquerading (masq, nat), gatewaying (gate, route, dr) or tunneling (tunnel, ipip, tun)";
    value.text(expected, Method::from_name)
}

fn built_in(value: &Value<'_>) -> Result<String, ConfigError> {
    let expected = format!("a built-in scheduler, one of {}", NAMES.join(" "));
    value.text(&expected, |name| NAMES.contains(&name).then(|| name.to_owned()))
}

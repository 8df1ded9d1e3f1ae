//! `director.toml`: its keys, what they take, and their defaults. `docs/director.example.toml` shows them all.

use super::draft::{self, Draft};
use super::table::{Source, Table, Value};
use super::value::{self, WEIGHT_LIMIT};
use super::{ConfigError, Configuration, Place, SchedulerName, ServiceConfig, StaticNeighbour, StaticRoute};
use fastlvs_core::conn::{State, TcpState};
use fastlvs_core::net::{Endpoint, Mac, Prefix, Protocol};
use fastlvs_core::scheduler::NAMES;
use fastlvs_core::service::{Method, ServerSpec, ServiceKey};
use fastlvs_core::settings::{Defence, Settings};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::PathBuf;
use std::time::Duration;

/// Reads the text of a file.
pub fn read(text: &str, file: &str) -> Result<Configuration, ConfigError> {
    let source = Source::new(file, text);
    let parsed = source.parse()?;
    let root =
        Table::root(source, &parsed).only(&["director", "settings", "service", "neighbour", "route"])?;
    let mut configuration = Configuration::default();
    if let Some(table) = root.table("director")? {
        director(&table.only(&["interfaces", "spin_microseconds", "capture"])?, &mut configuration)?;
    }
    if let Some(table) = root.table("settings")? {
        settings(table, &mut configuration.settings)?;
    }
    let services = root.tables("service")?.into_iter().map(service).collect::<Result<_, _>>()?;
    configuration.services = draft::finish(services)?;
    configuration.neighbours =
        root.tables("neighbour")?.into_iter().map(neighbour).collect::<Result<_, _>>()?;
    configuration.routes = root.tables("route")?.into_iter().map(route).collect::<Result<_, _>>()?;
    Ok(configuration)
}

fn director(table: &Table<'_>, configuration: &mut Configuration) -> Result<(), ConfigError> {
    if let Some(value) = table.value("interfaces") {
        for item in value.list("a list of interface names")? {
            let name = item.string()?.to_owned();
            if configuration.interfaces.contains(&name) {
                return Err(item.place().error(format_args!("interface {name} is named twice")));
            }
            configuration.interfaces.push(name);
        }
    }
    if let Some(value) = table.value("spin_microseconds") {
        configuration.spin = Duration::from_micros(value.number(0, 1_000_000)?.into());
    }
    if let Some(value) = table.value("capture") {
        configuration.capture = Some(PathBuf::from(value.string()?));
    }
    Ok(())
}

/// Takes one setting from its value.
type Take = fn(&mut Settings, &Value<'_>) -> Result<(), ConfigError>;

/// The settings, by the names that `fastlvs.Settings` has too.
const SETTINGS: &[(&str, Take)] = &[
    ("timeout_tcp", |s, v| seconds(v).map(|t| s.timeouts.set(State::Tcp(TcpState::Established), t))),
    ("timeout_tcp_fin", |s, v| seconds(v).map(|t| s.timeouts.set(State::Tcp(TcpState::FinWait), t))),
    ("timeout_udp", |s, v| seconds(v).map(|t| s.timeouts.set(State::Udp, t))),
    ("expire_nodest_conn", |s, v| v.boolean().map(|b| s.expire_nodest_conn = b)),
    ("expire_quiescent_template", |s, v| v.boolean().map(|b| s.expire_quiescent_template = b)),
    ("conn_reuse_mode", |s, v| v.number(0, 3).map(|n| s.conn_reuse_mode = n as u8)),
    ("sloppy_tcp", |s, v| v.boolean().map(|b| s.sloppy_tcp = b)),
    ("sloppy_sctp", |s, v| v.boolean().map(|b| s.sloppy_sctp = b)),
    ("schedule_icmp", |s, v| v.boolean().map(|b| s.schedule_icmp = b)),
    ("nat_icmp_send", |s, v| v.boolean().map(|b| s.nat_icmp_send = b)),
    ("pmtu_disc", |s, v| v.boolean().map(|b| s.pmtu_disc = b)),
    ("drop_entry", |s, v| defence(v).map(|d| s.drop_entry = d)),
    ("drop_packet", |s, v| defence(v).map(|d| s.drop_packet = d)),
    ("secure_tcp", |s, v| defence(v).map(|d| s.secure_tcp = d)),
    ("amemthresh", |s, v| v.number(0, u32::MAX).map(|n| s.amemthresh = n)),
    ("am_droprate", |s, v| v.number(0, u32::MAX).map(|n| s.am_droprate = n)),
    ("lblc_expiration", |s, v| seconds(v).map(|t| s.lblc_expiration = t)),
    ("lblcr_expiration", |s, v| seconds(v).map(|t| s.lblcr_expiration = t)),
    ("connection_limit", |s, v| v.number(0, u32::MAX).map(|n| s.connection_limit = n)),
];

fn settings(table: Table<'_>, settings: &mut Settings) -> Result<(), ConfigError> {
    let table = table.only(&SETTINGS.iter().map(|(name, _)| *name).collect::<Vec<_>>())?;
    for (name, take) in SETTINGS {
        if let Some(value) = table.value(name) {
            take(settings, &value)?;
        }
    }
    Ok(())
}

fn defence(value: &Value<'_>) -> Result<Defence, ConfigError> {
    value.number(0, 3).map(|number| Defence::from_number(number as u8).unwrap_or_default())
}

fn seconds(value: &Value<'_>) -> Result<Duration, ConfigError> {
    let limit = f64::from(WEIGHT_LIMIT);
    let seconds = value.float().filter(|seconds| *seconds > 0.0 && *seconds <= limit);
    seconds.map(Duration::from_secs_f64).ok_or_else(|| value.unexpected("seconds above 0"))
}

fn service(table: Table<'_>) -> Result<Draft, ConfigError> {
    let table = table.only(&["protocol", "address", "scheduler", "fallback", "forwarding", "server"])?;
    let protocol = table.required("protocol")?.text("protocol \"tcp\" or \"udp\"", |text| {
        match text.to_ascii_lowercase().as_str() {
            "tcp" => Some(Protocol::TCP),
            "udp" => Some(Protocol::UDP),
            _ => None,
        }
    })?;
    let address = table.required("address")?;
    let key = ServiceKey {
        protocol,
        address: address.text("VIP and port from 1 to 65535, like \"192.0.2.10:80\"", |text| {
            text.parse::<Endpoint>().ok().filter(|endpoint| endpoint.port != 0)
        })?,
    };
    let scheduler = table.value("scheduler");
    let forwarding = table.value("forwarding").as_ref().map_or(Ok(Method::default()), method)?;
    let mut draft = Draft {
        service: ServiceConfig {
            key,
            scheduler: scheduler
                .as_ref()
                .map_or(Ok(SchedulerName::BuiltIn("wlc".to_owned())), |v| v.parsed(SchedulerName::parse))?,
            fallback: table.value("fallback").as_ref().map_or(Ok("wlc".to_owned()), built_in)?,
            forwarding,
            servers: Vec::new(),
            place: scheduler.as_ref().map_or_else(|| table.place(), Value::place),
        },
        address: address.place(),
        scheduler: scheduler.as_ref().map_or_else(|| table.place(), Value::place),
        servers: Vec::new(),
    };
    for table in table.tables("server")? {
        let (server, place) = server(table, key, forwarding)?;
        draft.service.servers.push(server);
        draft.servers.push(place);
    }
    Ok(draft)
}

fn server(table: Table<'_>, key: ServiceKey, default: Method) -> Result<(ServerSpec, Place), ConfigError> {
    let table = table.only(&["address", "weight", "forwarding"])?;
    let value = table.required("address")?;
    let (address, port) = value.parsed(value::endpoint)?;
    let server = ServerSpec {
        endpoint: Endpoint::new(address, port.unwrap_or(key.address.port)),
        method: table.value("forwarding").as_ref().map_or(Ok(default), method)?,
        weight: table.value("weight").map_or(Ok(1), |v| v.number(0, WEIGHT_LIMIT))?,
        ..ServerSpec::default()
    };
    Ok((server, value.place()))
}

fn method(value: &Value<'_>) -> Result<Method, ConfigError> {
    let expected = "a forwarding method: masquerading (masq, nat), gatewaying (gate, route, dr) or tunneling (tunnel, ipip, tun)";
    value.text(expected, Method::from_name)
}

fn built_in(value: &Value<'_>) -> Result<String, ConfigError> {
    let expected = format!("a built-in scheduler, one of {}", NAMES.join(" "));
    value.text(&expected, |name| NAMES.contains(&name).then(|| name.to_owned()))
}

fn neighbour(table: Table<'_>) -> Result<StaticNeighbour, ConfigError> {
    let table = table.only(&["address", "mac", "interface"])?;
    Ok(StaticNeighbour {
        address: address(&table.required("address")?)?,
        mac: table
            .required("mac")?
            .text("a link-layer address of one station, like \"02:00:00:00:00:01\"", |text| {
                text.parse::<Mac>().ok().filter(|mac| !mac.is_group())
            })?,
        interface: optional_string(&table, "interface")?,
    })
}

fn route(table: Table<'_>) -> Result<StaticRoute, ConfigError> {
    let table = table.only(&["destination", "via", "interface", "mtu"])?;
    let via = table.value("via").as_ref().map(address).transpose()?;
    let destination = table.required("destination")?;
    let expected = "an address block like \"192.0.2.0/24\" or \"2001:db8::/64\", or \"default\"";
    let route = StaticRoute {
        destination: destination.text(expected, |text| prefix(text, via))?,
        via,
        interface: optional_string(&table, "interface")?,
        mtu: table.value("mtu").map(|value| value.number(68, 65535)).transpose()?,
    };
    match via {
        Some(via) if via.is_ipv4() != route.destination.address().is_ipv4() => {
            let message = format!("router {via} is of another address family than {}", route.destination);
            Err(destination.place().error(message))
        }
        None if route.interface.is_none() => {
            Err(table.place().error("expected via (a router), interface, or both"))
        }
        _ => Ok(route),
    }
}

/// `default` is everything of the router's address family.
fn prefix(text: &str, via: Option<IpAddr>) -> Option<Prefix> {
    match (text, via) {
        ("default", Some(IpAddr::V6(_))) => Prefix::new(Ipv6Addr::UNSPECIFIED.into(), 0).ok(),
        ("default", _) => Prefix::new(Ipv4Addr::UNSPECIFIED.into(), 0).ok(),
        _ => text.parse().ok(),
    }
}

fn address(value: &Value<'_>) -> Result<IpAddr, ConfigError> {
    value.text("an address like \"192.0.2.1\" or \"2001:db8::1\"", |text| text.parse().ok())
}

fn optional_string(table: &Table<'_>, key: &str) -> Result<Option<String>, ConfigError> {
    table.value(key).map(|value| value.string().map(str::to_owned)).transpose()
}

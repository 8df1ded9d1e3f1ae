//! `director.toml`: its keys, what they take, and their defaults. `docs/director.example.toml` shows them all.

use super::table::{Lines, Source, Table, Value};
use super::{ConfigError, Configuration, StaticNeighbour, StaticRoute, draft, service, settings, value};
use fastlvs_core::marks::MarkRule;
use fastlvs_core::net::{Mac, Prefix, can_be_reached};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::PathBuf;
use std::time::Duration;

/// Reads the text of a file.
pub fn read(text: &str, file: &str) -> Result<Configuration, ConfigError> {
    let lines = Lines::of(text);
    let source = Source::new(file, text, &lines);
    let parsed = source.parse()?;
    let root = Table::root(source, &parsed).only(&[
        "director",
        "settings",
        "service",
        "mark",
        "neighbour",
        "route",
    ])?;
    let mut configuration = Configuration::default();
    if let Some(table) = root.table("director")? {
        director(&table.only(&["interfaces", "spin_microseconds", "capture"])?, &mut configuration)?;
    }
    if let Some(table) = root.table("settings")? {
        settings::settings(table, &mut configuration.settings)?;
    }
    let services = root.tables("service")?.into_iter().map(service::service).collect::<Result<_, _>>()?;
    configuration.services = draft::finish(services)?;
    configuration.marks = root.tables("mark")?.into_iter().map(mark).collect::<Result<_, _>>()?;
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

fn mark(table: Table<'_>) -> Result<MarkRule, ConfigError> {
    let table = table.only(&["mark", "destination", "protocol", "ports", "source"])?;
    let destination = table.required("destination")?;
    let block = block(&destination)?;
    if !can_be_reached(block.network(), block == Prefix::host(block.address())) {
        let message = format!(
            "expected addresses that are neither unspecified, loopback, multicast nor broadcast, got \"{block}\""
        );
        return Err(destination.place().error(message));
    }
    let source = table.value("source");
    let rule = MarkRule {
        destination: block,
        source: source.as_ref().map(self::block).transpose()?,
        protocol: table.value("protocol").as_ref().map(service::protocol).transpose()?,
        ports: table.value("ports").as_ref().map_or(Ok(0..=u16::MAX), |v| v.number_or_text(value::ports))?,
        mark: table.required("mark")?.number(1, u32::MAX)?,
    };
    match (source, rule.source) {
        (Some(value), Some(source)) if source.address().is_ipv4() != block.address().is_ipv4() => {
            let message = format!("source {source} is of another address family than destination {block}");
            Err(value.place().error(message))
        }
        _ => Ok(rule),
    }
}

fn block(value: &Value<'_>) -> Result<Prefix, ConfigError> {
    value.text("an address block like \"192.0.2.0/28\", or an address", |text| text.parse().ok())
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

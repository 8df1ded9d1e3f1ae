//! `[settings]`, and what it shares with services: timeouts by state.

use super::ConfigError;
use super::table::{Table, Value};
use super::value::NUMBER_LIMIT;
use fastlvs_core::conn::{State, TcpState};
use fastlvs_core::settings::{Defence, Settings};
use std::time::Duration;

/// Takes one setting from its value.
type Take = fn(&mut Settings, &Value<'_>) -> Result<(), ConfigError>;

/// The settings, by the names that `fastlvs.Settings` has too.
const SETTINGS: &[(&str, Take)] = &[
    ("timeout_tcp", |s, v| seconds(v).map(|t| s.timeouts.set(State::Tcp(TcpState::Established), t))),
    ("timeout_tcp_fin", |s, v| seconds(v).map(|t| s.timeouts.set(State::Tcp(TcpState::FinWait), t))),
    ("timeout_udp", |s, v| seconds(v).map(|t| s.timeouts.set(State::Udp, t))),
    // After those that it may name again.
    ("timeouts", |s, v| timeouts(v).map(|all| all.iter().for_each(|(state, t)| s.timeouts.set(*state, *t)))),
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
    ("amemthresh", |s, v| v.number(0, NUMBER_LIMIT).map(|n| s.amemthresh = n)),
    ("am_droprate", |s, v| v.number(0, NUMBER_LIMIT).map(|n| s.am_droprate = n)),
    ("lblc_expiration", |s, v| seconds(v).map(|t| s.lblc_expiration = t)),
    ("lblcr_expiration", |s, v| seconds(v).map(|t| s.lblcr_expiration = t)),
    ("connection_limit", |s, v| v.number(0, u32::MAX).map(|n| s.connection_limit = n)),
];

/// Takes the settings that the table has.
pub fn settings(table: Table<'_>, settings: &mut Settings) -> Result<(), ConfigError> {
    let table = table.only(&SETTINGS.iter().map(|(name, _)| *name).collect::<Vec<_>>())?;
    for (name, take) in SETTINGS {
        if let Some(value) = table.value(name) {
            take(settings, &value)?;
        }
    }
    Ok(())
}

/// Seconds by state: `{ tcp_time_wait = 30 }`.
pub fn timeouts(value: &Value<'_>) -> Result<Vec<(State, Duration)>, ConfigError> {
    let names: Vec<_> = State::all().map(|state| (state, state.timeout_name())).collect();
    let known: Vec<_> = names.iter().map(|(_, name)| name.as_str()).collect();
    let table = value.table("a table of seconds by state")?.only(&known)?;
    let given = names.iter().filter_map(|(state, name)| Some((state, table.value(name)?)));
    given.map(|(state, value)| Ok((*state, seconds(&value)?))).collect()
}

/// A time above 0, no longer than the kernel's numbers reach.
pub fn seconds(value: &Value<'_>) -> Result<Duration, ConfigError> {
    let limit = f64::from(NUMBER_LIMIT);
    let seconds = value.float().filter(|seconds| *seconds > 0.0 && *seconds <= limit);
    seconds.map(Duration::from_secs_f64).ok_or_else(|| {
        let expected = format!("seconds above 0, at most {NUMBER_LIMIT}");
        value.unexpected(&expected)
    })
}

fn defence(value: &Value<'_>) -> Result<Defence, ConfigError> {
    value.number(0, 3).map(|number| Defence::from_number(number as u8).unwrap_or_default())
}

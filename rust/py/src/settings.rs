//! How an engine behaves and what it marks, read from the dataclasses of `fastlvs.settings` and `fastlvs.marks`.

use crate::convert::Text;
use crate::words::{protocol, state};
use fastlvs_core::conn::{State, TcpState};
use fastlvs_core::marks::MarkRule;
use fastlvs_core::net::Prefix;
use fastlvs_core::settings::{Defence, Settings, Timeouts};
use fastlvs_core::time::Duration;
use pyo3::prelude::*;
use std::collections::HashMap;

/// A `fastlvs.Settings`.
#[derive(FromPyObject)]
#[expect(clippy::struct_excessive_bools, reason = "each is a switch of the kernel's")]
pub struct WantedSettings {
    timeout_tcp: f64,
    timeout_tcp_fin: f64,
    timeout_udp: f64,
    timeouts: HashMap<String, f64>,
    expire_nodest_conn: bool,
    expire_quiescent_template: bool,
    conn_reuse_mode: u8,
    sloppy_tcp: bool,
    sloppy_sctp: bool,
    schedule_icmp: bool,
    nat_icmp_send: bool,
    pmtu_disc: bool,
    drop_entry: u8,
    drop_packet: u8,
    secure_tcp: u8,
    amemthresh: u32,
    am_droprate: u32,
    lblc_expiration: f64,
    lblcr_expiration: f64,
    connection_limit: u32,
}

impl From<WantedSettings> for Settings {
    fn from(wanted: WantedSettings) -> Self {
        let mut timeouts = Timeouts::default();
        let usual = [
            (State::Tcp(TcpState::Established), wanted.timeout_tcp),
            (State::Tcp(TcpState::FinWait), wanted.timeout_tcp_fin),
            (State::Udp, wanted.timeout_udp),
        ];
        let others = wanted.timeouts.iter().filter_map(|(name, seconds)| Some((state(name)?, *seconds)));
        for (state, seconds) in usual.into_iter().chain(others) {
            timeouts.set(state, Duration::from_secs_f64(seconds));
        }
        // The dataclass has checked that they are from 0 to 3.
        let defence = |number| Defence::from_number(number).unwrap_or_default();
        Self {
            timeouts,
            expire_nodest_conn: wanted.expire_nodest_conn,
            expire_quiescent_template: wanted.expire_quiescent_template,
            conn_reuse_mode: wanted.conn_reuse_mode,
            sloppy_tcp: wanted.sloppy_tcp,
            sloppy_sctp: wanted.sloppy_sctp,
            schedule_icmp: wanted.schedule_icmp,
            nat_icmp_send: wanted.nat_icmp_send,
            pmtu_disc: wanted.pmtu_disc,
            drop_entry: defence(wanted.drop_entry),
            drop_packet: defence(wanted.drop_packet),
            secure_tcp: defence(wanted.secure_tcp),
            amemthresh: wanted.amemthresh,
            am_droprate: wanted.am_droprate,
            lblc_expiration: Duration::from_secs_f64(wanted.lblc_expiration),
            lblcr_expiration: Duration::from_secs_f64(wanted.lblcr_expiration),
            connection_limit: wanted.connection_limit,
        }
    }
}

/// A `fastlvs.Mark`.
#[derive(FromPyObject)]
pub struct WantedMark {
    mark: u32,
    destination: Text<Prefix>,
    protocol: Option<String>,
    ports: (u16, u16),
    source: Option<Text<Prefix>>,
}

impl From<WantedMark> for MarkRule {
    fn from(wanted: WantedMark) -> Self {
        Self {
            destination: wanted.destination.0,
            source: wanted.source.map(|Text(prefix)| prefix),
            protocol: wanted.protocol.as_deref().map(protocol),
            ports: wanted.ports.0..=wanted.ports.1,
            mark: wanted.mark,
        }
    }
}

//! Words of the Python side for values of the core.

use fastlvs_core::conn::State;
use fastlvs_core::net::Protocol;
use fastlvs_core::scheduler::SchedulerFlags;

/// The protocol of that name: `fwm` for those of marked packets, which may be any.
pub fn protocol(name: &str) -> Protocol {
    match name {
        "tcp" => Protocol::TCP,
        "udp" => Protocol::UDP,
        "sctp" => Protocol::SCTP,
        _ => Protocol::ANY,
    }
}

/// The name of a protocol of a service.
pub fn protocol_name(protocol: Protocol) -> &'static str {
    match protocol {
        Protocol::TCP => "tcp",
        Protocol::UDP => "udp",
        Protocol::SCTP => "sctp",
        _ => "fwm",
    }
}

/// The names of the options of a scheduler: `sh-port`.
pub fn flag_names<C: FromIterator<String>>(flags: SchedulerFlags, scheduler: &str) -> C {
    let set = [("fallback", flags.fallback), ("port", flags.port)].into_iter().filter(|(_, is)| *is);
    set.map(|(flag, _)| format!("{scheduler}-{flag}")).collect()
}

/// The state whose timeout has that name.
pub fn state(name: &str) -> Option<State> {
    State::all().find(|state| state.timeout_name() == name)
}

//! Changes of what is balanced, one by one: `ipvsadm`'s verbs, and which of them lead from one wish to another.

use super::{ServerSpec, ServiceKey, ServiceSpec};
use crate::net::Endpoint;
use std::collections::{HashMap, HashSet};

/// One change.
#[derive(Clone, Debug)]
pub enum Edit {
    /// A new service, with its servers (`ipvsadm -A`).
    AddService(ServiceSpec),
    /// Other values for a service (`ipvsadm -E`). Its servers stay as they are; those named here are ignored.
    EditService(ServiceSpec),
    /// A service goes, with its servers (`ipvsadm -D`).
    RemoveService(ServiceKey),
    /// A new server at the head of its service's list (`ipvsadm -a`).
    AddServer(ServiceKey, ServerSpec),
    /// Other values for the server of that address and port (`ipvsadm -e`). The scheduler hears of it even if they
    /// are those that it has: wrr begins its cycle anew.
    EditServer(ServiceKey, ServerSpec),
    /// A server goes (`ipvsadm -d`).
    RemoveServer(ServiceKey, Endpoint),
    /// Another weight for a server. One that it has already is no change: nobody hears of it.
    SetWeight(ServiceKey, Endpoint, u32),
}

impl Edit {
    /// The service that it is about.
    #[must_use]
    pub const fn service(&self) -> &ServiceKey {
        match self {
            Self::AddService(ServiceSpec { key, .. })
            | Self::EditService(ServiceSpec { key, .. })
            | Self::RemoveService(key)
            | Self::AddServer(key, _)
            | Self::EditServer(key, _)
            | Self::RemoveServer(key, _)
            | Self::SetWeight(key, ..) => key,
        }
    }
}

/// The edits that lead from some services to others: what goes, goes first; what stays as it is has none.
#[must_use]
pub fn differences<'a>(
    before: impl IntoIterator<Item = &'a ServiceSpec>,
    after: &[ServiceSpec],
) -> Vec<Edit> {
    let before: Vec<_> = before.into_iter().collect();
    let known: HashMap<_, _> = before.iter().map(|spec| (spec.key, *spec)).collect();
    let wanted: HashSet<_> = after.iter().map(|spec| spec.key).collect();
    let gone = before.iter().map(|spec| spec.key).filter(|key| !wanted.contains(key));
    let mut edits: Vec<_> = gone.map(Edit::RemoveService).collect();
    for spec in after {
        match known.get(&spec.key) {
            None => edits.push(Edit::AddService(spec.clone())),
            Some(known) => differences_within(known, spec, &mut edits),
        }
    }
    edits
}

/// Those of one service.
fn differences_within(before: &ServiceSpec, after: &ServiceSpec, edits: &mut Vec<Edit>) {
    let key = after.key;
    if !before.agrees_but_for_servers(after) {
        edits.push(Edit::EditService(ServiceSpec { servers: Vec::new(), ..after.clone() }));
    }
    if before.servers == after.servers {
        return;
    }
    let known: HashMap<_, _> = before.servers.iter().map(|server| (server.endpoint, server)).collect();
    let wanted: HashSet<_> = after.servers.iter().map(|server| server.endpoint).collect();
    let gone = before.servers.iter().map(|server| server.endpoint).filter(|server| !wanted.contains(server));
    // The newest first, as they stand in the list.
    edits.extend(gone.rev().map(|server| Edit::RemoveServer(key, server)));
    for server in &after.servers {
        match known.get(&server.endpoint) {
            None => edits.push(Edit::AddServer(key, *server)),
            Some(known) if *known != server => edits.push(Edit::EditServer(key, *server)),
            Some(_) => {}
        }
    }
}

//! How edits are checked together, and then make the next table together.

use super::row::Row;
use super::table::ServiceTable;
use super::{Edit, SchedulerSpec, ServerSpec, ServiceKey, ServiceSpec, SpecError, differences};
use crate::net::Endpoint;
use crate::scheduler::MOST_MH_SERVERS;
use crate::time::Instant;
use std::borrow::Cow;
use std::collections::{HashMap, HashSet};

/// Edits of a table that are possible, each after those before it, and not made yet: nothing has changed so far.
#[derive(Debug)]
pub struct Checked<'a> {
    table: &'a ServiceTable,
    edits: Cow<'a, [Edit]>,
    /// The services that they are about, as they will be; `None`: gone.
    drafts: HashMap<ServiceKey, Option<ServiceSpec>>,
    /// All services, where the edits were found for the sake of these.
    wanted: Option<&'a [ServiceSpec]>,
}

impl<'a> Checked<'a> {
    fn new(table: &'a ServiceTable, edits: Cow<'a, [Edit]>) -> Result<Self, SpecError> {
        let mut drafts = HashMap::new();
        for edit in edits.iter() {
            let key = edit.service();
            let now = || table.named(key).map(|service| Draft::new(ServiceSpec::clone(service.spec())));
            draft(edit, drafts.entry(*key).or_insert_with(now))?;
        }
        let drafts = drafts.into_iter().map(|(key, draft)| (key, draft.map(Draft::finish))).collect();
        Ok(Self { table, edits, drafts, wanted: None })
    }

    /// The services that change, come or go: what was wished for, and what is.
    pub fn changes(&self) -> impl Iterator<Item = (Option<&ServiceSpec>, Option<&ServiceSpec>)> {
        self.drafts
            .iter()
            .map(|(key, after)| (self.table.named(key).map(|service| &**service.spec()), after.as_ref()))
    }

    /// The names of all services that there will be.
    pub fn keys(&self) -> impl Iterator<Item = &ServiceKey> {
        let stay = self.table.specs().map(|spec| &spec.key).filter(|key| !self.drafts.contains_key(key));
        stay.chain(self.drafts.iter().filter(|(_, after)| after.is_some()).map(|(key, _)| key))
    }

    /// Whether they are about the service of that name.
    #[must_use]
    pub fn is_about(&self, key: &ServiceKey) -> bool {
        self.drafts.contains_key(key)
    }

    /// Whether there will be a service of that name.
    #[must_use]
    pub fn has(&self, key: &ServiceKey) -> bool {
        self.drafts.get(key).map_or_else(|| self.table.named(key).is_some(), Option::is_some)
    }

    /// Makes them, at `now`. Weights and what else servers share with the table before count from here on.
    #[must_use]
    pub fn make(self, now: Instant) -> ServiceTable {
        let mut next = self.table.next(now);
        for edit in self.edits.iter() {
            next.make(edit, now);
        }
        let mut next = next.finish(self.drafts.into_values().flatten());
        if let Some(specs) = self.wanted {
            next.put_in_order(specs);
        }
        next
    }
}

/// A service as it is after some of the edits.
#[derive(Debug)]
struct Draft {
    /// All but its servers.
    spec: ServiceSpec,
    servers: Row<ServerSpec>,
}

impl Draft {
    fn new(mut spec: ServiceSpec) -> Self {
        let servers = Row::new(std::mem::take(&mut spec.servers));
        Self { spec, servers }
    }

    fn finish(self) -> ServiceSpec {
        ServiceSpec { servers: self.servers.iter().copied().collect(), ..self.spec }
    }

    /// Where a server stands.
    fn place(&mut self, endpoint: Endpoint) -> Result<u32, SpecError> {
        self.servers.find(endpoint).ok_or(SpecError::NoServer(self.spec.key, endpoint))
    }

    fn server(&mut self, endpoint: Endpoint) -> Result<&mut ServerSpec, SpecError> {
        let place = self.place(endpoint)?;
        self.servers.at_mut(place).ok_or(SpecError::NoServer(self.spec.key, endpoint))
    }
}

/// Makes an edit of a service's draft.
fn draft(edit: &Edit, draft: &mut Option<Draft>) -> Result<(), SpecError> {
    let key = *edit.service();
    if let Edit::AddService(spec) = edit {
        spec.check()?;
        return match draft.replace(Draft::new(spec.clone())) {
            None => Ok(()),
            Some(_) => Err(SpecError::ServiceExists(key)),
        };
    }
    let known = draft.as_mut().ok_or(SpecError::NoService(key))?;
    match edit {
        Edit::AddService(_) => {}
        Edit::EditService(wanted) => {
            let servers = known.servers.iter().copied().collect();
            let spec = ServiceSpec { servers, ..wanted.clone() };
            spec.check()?;
            known.spec = ServiceSpec { servers: Vec::new(), ..spec };
        }
        Edit::RemoveService(_) => *draft = None,
        Edit::AddServer(_, wanted) => {
            if known.place(wanted.endpoint).is_ok() {
                return Err(SpecError::ServerExists(key, wanted.endpoint));
            }
            wanted.check(key)?;
            known.servers.push(*wanted);
            let is_mh = matches!(&known.spec.scheduler, SchedulerSpec::Named(name) if name == "mh");
            if is_mh && known.servers.len() > MOST_MH_SERVERS {
                return Err(SpecError::TooManyServers(key, known.servers.len()));
            }
        }
        Edit::EditServer(_, wanted) => {
            wanted.check(key)?;
            *known.server(wanted.endpoint)? = *wanted;
        }
        Edit::RemoveServer(_, endpoint) => {
            let place = known.place(*endpoint)?;
            known.servers.take(place);
        }
        Edit::SetWeight(_, endpoint, weight) => {
            let server = known.server(*endpoint)?;
            server.weight = *weight;
            server.check(key)?;
        }
    }
    Ok(())
}

impl ServiceTable {
    /// Whether `edits` are possible, made in this order. What they are not about will be shared with this table. A
    /// server that comes back to a service of the same name within two minutes of its last connection will be the
    /// same as before, with its counters and connections.
    ///
    /// # Errors
    /// The first edit that is impossible: what it adds is there, what it changes or removes is not, or what it
    /// asks for cannot be.
    pub fn check<'a>(&'a self, edits: &'a [Edit]) -> Result<Checked<'a>, SpecError> {
        Checked::new(self, Cow::Borrowed(edits))
    }

    /// The same for the edits that lead to these services and no others, in this order.
    ///
    /// # Errors
    /// A service that cannot be, or is defined twice.
    pub fn check_all<'a>(&'a self, specs: &'a [ServiceSpec]) -> Result<Checked<'a>, SpecError> {
        let mut known = HashSet::with_capacity(specs.len());
        for spec in specs {
            spec.check()?;
            if !known.insert(spec.key) {
                return Err(SpecError::DuplicateService(spec.key));
            }
        }
        let checked = Checked::new(self, Cow::Owned(differences(self.specs(), specs)))?;
        Ok(Checked { wanted: Some(specs), ..checked })
    }

    /// The table after `edits`: all of them, or none ([`ServiceTable::check`]).
    ///
    /// # Errors
    /// Nothing has changed then.
    pub fn edit(&self, edits: &[Edit], now: Instant) -> Result<Self, SpecError> {
        Ok(self.check(edits)?.make(now))
    }

    /// The table that agrees with `specs` ([`ServiceTable::check_all`]).
    ///
    /// # Errors
    /// Nothing has changed then.
    pub fn apply(&self, specs: &[ServiceSpec], now: Instant) -> Result<Self, SpecError> {
        Ok(self.check_all(specs)?.make(now))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::net::Protocol;
    use crate::scheduler::{Flow, Request, SchedulerFlags};
    use crate::service::Method;
    use crate::settings::Settings;
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    fn key(port: u16) -> ServiceKey {
        ServiceKey::new(Protocol::TCP, Endpoint::new([10, 99, 0, 1].into(), port))
    }

    fn end(host: u8) -> Endpoint {
        Endpoint::new([10, 0, 0, host].into(), 80)
    }

    fn server(host: u8, weight: u32) -> ServerSpec {
        ServerSpec { endpoint: end(host), method: Method::Masquerading, weight, ..ServerSpec::default() }
    }

    fn service(port: u16, scheduler: &str, servers: &[(u8, u32)]) -> ServiceSpec {
        ServiceSpec {
            key: key(port),
            scheduler: SchedulerSpec::Named(scheduler.to_owned()),
            servers: servers.iter().map(|(host, weight)| server(*host, *weight)).collect(),
            ..ServiceSpec::default()
        }
    }

    fn table(specs: &[ServiceSpec]) -> ServiceTable {
        ServiceTable::default().apply(specs, Instant::ZERO).unwrap()
    }

    /// Service, scheduler, servers in their list and their weights: what is in force, then what was wished.
    type Seen = (ServiceKey, String, Vec<(Endpoint, u32)>, ServiceSpec);

    fn seen(table: &ServiceTable) -> Vec<Seen> {
        let seen = table.services().iter().map(|service| {
            let servers = service.servers().iter().map(|server| (server.endpoint(), server.weight()));
            let name = service.scheduler().name().to_owned();
            (*service.key(), name, servers.collect(), ServiceSpec::clone(service.spec()))
        });
        seen.collect()
    }

    #[test]
    fn each_verb_changes_what_it_names_and_nothing_else() {
        let before = table(&[service(80, "rr", &[(1, 1), (2, 1)]), service(81, "rr", &[(1, 1)])]);
        let after = before
            .edit(
                &[
                    Edit::AddService(service(82, "wlc", &[(9, 1)])),
                    Edit::EditService(service(80, "sh", &[])),
                    Edit::AddServer(key(80), server(3, 4)),
                    Edit::EditServer(key(80), server(1, 7)),
                    Edit::RemoveServer(key(80), end(2)),
                    Edit::SetWeight(key(82), end(9), 5),
                    Edit::RemoveService(key(81)),
                ],
                Instant::ZERO,
            )
            .unwrap();
        let expected = table(&[service(80, "sh", &[(1, 7), (3, 4)]), service(82, "wlc", &[(9, 5)])]);
        assert_eq!(seen(&after), seen(&expected));
        let stays = |table: &ServiceTable| table.named(&key(80)).unwrap().servers().last().unwrap().id();
        assert_eq!(stays(&after), before.services()[0].servers()[1].id(), "the server itself stays");
        assert!(after.named(&key(81)).is_none());
    }

    #[test]
    fn an_impossible_edit_undoes_those_before_it() {
        let before = table(&[service(80, "rr", &[(1, 1), (2, 1)])]);
        let refused = |edit: Edit| {
            let unchanged = seen(&before);
            let edits = [Edit::SetWeight(key(80), end(1), 9), Edit::RemoveServer(key(80), end(2)), edit];
            let error = before.edit(&edits, Instant::ZERO).unwrap_err();
            assert_eq!(seen(&before), unchanged);
            assert!(before.services()[0].servers().iter().all(|server| server.is_available()));
            error.to_string()
        };
        for (edit, said) in [
            (Edit::AddService(service(80, "rr", &[])), "service TCP 10.99.0.1:80 is there already"),
            (Edit::EditService(service(81, "rr", &[])), "service TCP 10.99.0.1:81 is not there"),
            (Edit::RemoveService(key(81)), "service TCP 10.99.0.1:81 is not there"),
            (
                Edit::AddServer(key(80), server(1, 1)),
                "service TCP 10.99.0.1:80 has the real server 10.0.0.1:80 already",
            ),
            (Edit::RemoveServer(key(80), end(2)), "service TCP 10.99.0.1:80 has no real server 10.0.0.2:80"),
            (
                Edit::EditServer(key(80), server(7, 1)),
                "service TCP 10.99.0.1:80 has no real server 10.0.0.7:80",
            ),
            (
                Edit::SetWeight(key(80), end(1), 1 << 31),
                "service TCP 10.99.0.1:80: real server 10.0.0.1:80 has weight 2147483648; expected 0 to 2147483647",
            ),
        ] {
            assert_eq!(refused(edit), said);
        }
        assert!(refused(Edit::EditService(service(80, "fastest", &[]))).contains("unknown scheduler"));
    }

    #[test]
    fn only_an_edit_of_a_server_is_one_without_a_change() {
        let before = table(&[service(80, "wrr", &[(1, 1), (2, 1)])]);
        let scheduler =
            |table: &ServiceTable| std::ptr::from_ref(table.services()[0].scheduler()).cast::<()>();
        let after = |edit| scheduler(&before.edit(&[edit], Instant::ZERO).unwrap());
        assert_eq!(after(Edit::SetWeight(key(80), end(1), 1)), scheduler(&before));
        assert_ne!(after(Edit::EditServer(key(80), server(1, 1))), scheduler(&before));
        let same = before.apply(&[service(80, "wrr", &[(1, 1), (2, 1)])], Instant::ZERO).unwrap();
        assert_eq!(scheduler(&same), scheduler(&before));
    }

    fn wish() -> impl Strategy<Value = Vec<ServiceSpec>> {
        let servers = prop::collection::btree_map(1_u8..6, 0_u32..3, 0..4);
        let values = (prop::sample::select(vec!["rr", "wlc", "mh"]), servers);
        let spec = |(port, (scheduler, servers)): (u16, (&str, BTreeMap<u8, u32>))| {
            service(port, scheduler, &servers.into_iter().collect::<Vec<_>>())
        };
        prop::collection::btree_map(80_u16..84, values, 0..4)
            .prop_map(move |services| services.into_iter().map(spec).collect::<Vec<_>>())
            .prop_shuffle()
    }

    proptest! {
        /// What is applied is what was wished for, wherever it began; and then there is nothing left to do.
        #[test]
        fn differences_lead_there(first in wish(), second in wish()) {
            let after = table(&first).apply(&second, Instant::ZERO).unwrap();
            let wished: Vec<_> = after.services().iter().map(|service| ServiceSpec::clone(service.spec())).collect();
            prop_assert_eq!(&wished, &second);
            for (service, spec) in after.services().iter().zip(&second) {
                prop_assert_eq!(after.named(&spec.key).unwrap().key(), service.key());
                let mut servers: Vec<_> = service.servers().iter().map(|s| (s.endpoint(), s.weight())).collect();
                let mut expected: Vec<_> = spec.servers.iter().map(|s| (s.endpoint, s.weight)).collect();
                servers.sort_by_key(|(end, _)| end.address);
                expected.sort_by_key(|(end, _)| end.address);
                prop_assert_eq!(servers, expected);
            }
            prop_assert!(differences(&wished, &second).is_empty());
        }

        /// Many edits in one change come to what they come to one by one: lists, weights, and whom the scheduler chooses
        /// from then on.
        #[test]
        fn edits_of_one_change_are_as_good_as_alone(
            scheduler in prop::sample::select(vec!["rr", "wrr", "wlc", "dh", "sh", "mh", "fo"]),
            begin in prop::collection::vec((1_u8..9, 0_u32..7), 0..6),
            before in 0_usize..9,
            edits in prop::collection::vec((0_u8..5, 1_u8..9, 0_u32..7), 0..25),
        ) {
            let mut begin = begin;
            begin.sort_unstable();
            begin.dedup_by_key(|(host, _)| *host);
            let start = || {
                let table = table(&[service(80, scheduler, &begin)]);
                choices(&table, before);
                table
            };
            let (mut alone, together) = (start(), start());
            let mut possible = Vec::new();
            for (verb, host, weight) in edits {
                let edit = match verb {
                    0 => Edit::RemoveServer(key(80), end(host)),
                    1 => Edit::EditServer(key(80), server(host, weight)),
                    2 => Edit::SetWeight(key(80), end(host), weight),
                    _ => Edit::AddServer(key(80), server(host, weight)),
                };
                if let Ok(next) = alone.edit(std::slice::from_ref(&edit), Instant::ZERO) {
                    alone = next;
                    possible.push(edit);
                }
            }
            let together = together.edit(&possible, Instant::ZERO).unwrap();
            prop_assert_eq!(seen(&together), seen(&alone), "{:?}", possible);
            prop_assert_eq!(choices(&together, 30), choices(&alone, 30), "{:?}", possible);
        }
    }

    /// The servers of so many choices.
    fn choices(table: &ServiceTable, count: usize) -> Vec<Option<Endpoint>> {
        let settings = Settings::default();
        let chosen = (0..count as u16).map(|n| {
            let client = Endpoint::new([192, 0, 2, n as u8].into(), 1024 + n);
            let flow = Flow { protocol: Protocol::TCP, client, destination: key(80).address };
            let request = Request {
                flow,
                towards: [10, 99, 0, n as u8].into(),
                now: Instant::ZERO,
                flags: SchedulerFlags::default(),
                settings: &settings,
                random: 0,
            };
            table.services()[0].schedule(&request).map(|server| server.endpoint())
        });
        chosen.collect()
    }

    #[test]
    fn an_edit_costs_the_same_however_many_others_there_are() {
        let server = |number: u32, weight| ServerSpec {
            endpoint: Endpoint::new((0x0a00_0000 + number).to_be_bytes().into(), 80),
            weight,
            ..ServerSpec::default()
        };
        let of = |servers: std::ops::Range<u32>, weight: u32| ServiceSpec {
            servers: servers.map(|number| server(number, weight)).collect(),
            ..service(80, "wrr", &[])
        };
        let began = std::time::Instant::now();
        let many = 50_000;
        let all = table(&[of(0..many, 2)]);
        let heavier = all.apply(&[of(0..many, 6)], Instant::ZERO).unwrap();
        assert_eq!(heavier.services()[0].servers()[0].weight(), 6);
        let half = heavier.apply(&[of(0..many / 2, 6)], Instant::ZERO).unwrap();
        let back = half.apply(&[of(0..many, 4)], Instant::ZERO).unwrap();
        assert_eq!(back.services()[0].servers().len(), many as usize);
        // Each looked for among all the others, or each heard of by a walk over all weights, this takes minutes.
        assert!(began.elapsed().as_secs() < 20, "{:?}", began.elapsed());
    }
}

//! Servers in the order in which they were added, while a change of any size is made: each edit costs about the same,
//! however many there are.

use super::{RealServer, ServerSpec};
use crate::net::Endpoint;
use foldhash::fast::RandomState;
use std::collections::HashMap;
use std::sync::Arc;

/// So many servers are looked for one by one; who looks for more has them hashed.
const FEW: u32 = 8;

/// What has an address and a port.
pub(super) trait Named {
    /// The address and the port.
    fn name(&self) -> Endpoint;
}

impl Named for ServerSpec {
    fn name(&self) -> Endpoint {
        self.endpoint
    }
}

impl Named for Arc<RealServer> {
    fn name(&self) -> Endpoint {
        self.endpoint()
    }
}

/// Servers in a row, the oldest first. A place stays that of its server, even when others are taken out.
#[derive(Debug)]
pub(super) struct Row<T> {
    servers: Vec<Option<T>>,
    /// For each place a later one, or itself: from where the next server that is there is looked for.
    onward: Vec<u32>,
    len: usize,
    searches: u32,
    places: Option<HashMap<Endpoint, u32, RandomState>>,
}

impl<T: Named> Row<T> {
    /// These servers, of which no two have one name.
    pub(super) fn new(servers: impl IntoIterator<Item = T>) -> Self {
        let servers: Vec<_> = servers.into_iter().map(Some).collect();
        let (onward, len) = ((0..servers.len() as u32).collect(), servers.len());
        Self { servers, onward, len, searches: 0, places: None }
    }

    /// How many there are.
    pub(super) const fn len(&self) -> usize {
        self.len
    }

    /// Where the server of that name stands.
    pub(super) fn find(&mut self, name: Endpoint) -> Option<u32> {
        if self.places.is_none() && self.searches < FEW {
            self.searches += 1;
            return self.places().find(|(_, server)| server.name() == name).map(|(place, _)| place);
        }
        if self.places.is_none() {
            self.places = Some(self.places().map(|(place, server)| (server.name(), place)).collect());
        }
        self.places.as_ref()?.get(&name).copied()
    }

    /// The server at a place, if it is there.
    pub(super) fn at(&self, place: u32) -> Option<&T> {
        self.servers.get(place as usize)?.as_ref()
    }

    /// The same, to be changed; its name stays.
    pub(super) fn at_mut(&mut self, place: u32) -> Option<&mut T> {
        self.servers.get_mut(place as usize)?.as_mut()
    }

    /// Adds the newest. Nobody has its name.
    pub(super) fn push(&mut self, server: T) {
        let place = self.servers.len() as u32;
        if let Some(places) = &mut self.places {
            places.insert(server.name(), place);
        }
        self.servers.push(Some(server));
        self.onward.push(place);
        self.len += 1;
    }

    /// Takes a server out, if it is there.
    pub(super) fn take(&mut self, place: u32) -> Option<T> {
        let gone = self.servers.get_mut(place as usize)?.take()?;
        if let Some(places) = &mut self.places {
            places.remove(&gone.name());
        }
        self.onward[place as usize] = place + 1;
        self.len -= 1;
        Some(gone)
    }

    /// The next newer one of those that are there.
    pub(super) fn newer(&mut self, place: u32) -> Option<&T> {
        let mut place = place as usize + 1;
        while let Some(onward) = self.onward.get(place).map(|onward| *onward as usize) {
            if onward == place {
                break;
            }
            // Who comes this way again has half of it before him.
            let further = self.onward.get(onward).copied().unwrap_or(onward as u32);
            self.onward[place] = further;
            place = further as usize;
        }
        self.servers.get(place)?.as_ref()
    }

    /// All that are there, the oldest first.
    pub(super) fn iter(&self) -> impl DoubleEndedIterator<Item = &T> {
        self.servers.iter().flatten()
    }

    fn places(&self) -> impl Iterator<Item = (u32, &T)> {
        let places = self.servers.iter().enumerate();
        places.filter_map(|(place, server)| Some((place as u32, server.as_ref()?)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn server(host: u8) -> ServerSpec {
        ServerSpec { endpoint: Endpoint::new([10, 0, 0, host].into(), 80), ..ServerSpec::default() }
    }

    proptest! {
        /// Against a plain list.
        #[test]
        fn a_row_is_a_list(begin in 0_u8..6, steps in prop::collection::vec((any::<bool>(), 0_u8..12, 0_u32..9), 0..60)) {
            let mut list: Vec<_> = (0..begin).map(server).collect();
            let mut row = Row::new(list.clone());
            for (looks, host, weight) in steps {
                let place = row.find(server(host).endpoint);
                let known = list.iter().position(|known| known.endpoint == server(host).endpoint);
                prop_assert_eq!(place.is_some(), known.is_some());
                match (place, known) {
                    (Some(place), Some(known)) if looks => {
                        row.at_mut(place).unwrap().weight = weight;
                        list[known].weight = weight;
                        prop_assert_eq!(row.at(place), list.get(known));
                    }
                    (Some(place), Some(known)) => {
                        prop_assert_eq!(row.newer(place).copied(), list.get(known + 1).copied());
                        prop_assert_eq!(row.take(place), Some(list.remove(known)));
                        prop_assert_eq!(row.newer(place).copied(), list.get(known).copied());
                        prop_assert_eq!(row.take(place), None);
                    }
                    _ => {
                        row.push(server(host));
                        list.push(server(host));
                    }
                }
                prop_assert_eq!(row.iter().copied().collect::<Vec<_>>(), list.clone());
                prop_assert_eq!(row.len(), list.len());
            }
        }
    }
}

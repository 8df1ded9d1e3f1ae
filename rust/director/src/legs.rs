//! The interfaces that a director serves. Each is followed by its name: one that goes and comes back, deleted and made
//! again or lent to another network namespace, is served again.

use crate::error::Error;
use fastlvs_io::netlink::{Link, State};
use std::fmt;

/// An interface that the director serves: its place in the list is its [`fastlvs_core::net::InterfaceId`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Leg {
    /// Its name.
    pub name: String,
    /// The kernel's number, while it is served.
    pub index: Option<u32>,
}

/// An interface that is to be served, and by which nothing comes or goes right now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Missing {
    /// Its name.
    pub name: String,
    /// Why, as a sentence about it: "is gone".
    pub problem: String,
}

impl fmt::Display for Missing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "interface {} {}", self.name, self.problem)
    }
}

/// The interfaces of these names; without names, all that are up but loopbacks and ports of bridges, bonds and the like:
/// what a port takes in is its master's, and would be served twice.
pub fn legs(state: &State, names: &[String]) -> Result<Vec<Leg>, Error> {
    let leg = |link: &Link| Leg { index: Some(link.index), name: link.name.clone() };
    if names.is_empty() {
        let serves = |link: &&Link| link.up && link.ethernet && link.port_of.is_none();
        let usable = state.links.values().filter(serves);
        let legs: Vec<_> = usable.map(leg).collect();
        if legs.is_empty() {
            let problem = "no Ethernet interface is up that is no port of another; name one that exists, or \
                           `ip link set NAME up`";
            return Err(Error::Interface { name: "any".to_owned(), problem: problem.to_owned() });
        }
        return Ok(legs);
    }
    let find = |name: &String| {
        let error = |problem: String| Error::Interface { name: name.clone(), problem };
        match state.link(name) {
            None => {
                let known: Vec<_> = state.links.values().map(|link| link.name.as_str()).collect();
                Err(error(format!("there is none of that name; there are {}", known.join(" "))))
            }
            Some(link) if !link.ethernet => {
                Err(error("is not an Ethernet interface, which alone can be served".to_owned()))
            }
            Some(link) if !link.up => Err(error(format!("is down; `ip link set {name} up`"))),
            Some(link) => {
                if let Some(master) = link.port_of {
                    let master = state.links.get(&master).map_or("another interface", |link| &link.name);
                    tracing::warn!(
                        "interface {name} is a port of {master}, whose packets it takes in: name {master} in its place"
                    );
                }
                Ok(leg(link))
            }
        }
    };
    names.iter().map(find).collect()
}

impl Leg {
    /// The link that has its name now, if it can be served.
    pub fn link<'a>(&self, state: &'a State) -> Option<&'a Link> {
        state.link(&self.name).filter(|link| link.ethernet)
    }

    /// Lets go of a link that has another number by now, or whose rings are dead (`is_open`): it was deleted, or left,
    /// whatever there is of its name now. Says whether it did.
    pub fn release(&mut self, state: &State, is_open: bool) -> bool {
        let now = self.link(state).map(|link| link.index);
        let is_over = self.index.is_some() && (now != self.index || !is_open);
        if is_over {
            self.index = None;
        }
        is_over
    }

    /// Why nothing comes by it, if so.
    pub fn problem(&self, state: &State) -> Option<&'static str> {
        match (state.link(&self.name), self.index) {
            (None, _) => Some("is gone"),
            (Some(link), _) if !link.ethernet => Some("is no Ethernet interface any more"),
            (Some(_), None) => Some("was replaced, and is not served yet"),
            (Some(link), _) if !link.up => Some("is down"),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kernel(links: &[(u32, &str, Option<u32>)]) -> State {
        let mut state = State::default();
        for (index, name, port_of) in links {
            let link = Link {
                index: *index,
                name: (*name).to_owned(),
                mac: None,
                mtu: 1500,
                up: true,
                running: true,
                ethernet: true,
                port_of: *port_of,
            };
            state.links.insert(*index, link);
        }
        state
    }

    fn names(legs: &[Leg]) -> Vec<&str> {
        legs.iter().map(|leg| leg.name.as_str()).collect()
    }

    #[test]
    fn a_port_is_served_only_when_it_is_named() {
        let state = kernel(&[(2, "eth0", Some(4)), (3, "eth1", None), (4, "br0", None)]);
        assert_eq!(names(&legs(&state, &[]).unwrap()), ["eth1", "br0"]);
        assert_eq!(names(&legs(&state, &["eth0".to_owned()]).unwrap()), ["eth0"]);
        let error = legs(&kernel(&[(2, "eth0", Some(4))]), &[]).unwrap_err().to_string();
        assert!(error.contains("no port of another"), "{error}");
    }

    #[test]
    fn an_interface_is_followed_by_its_name() {
        let first = kernel(&[(2, "eth0", None)]);
        let leg = legs(&first, &[]).unwrap().remove(0);
        // What the kernel has by then, whether the rings live, whether it is let go, and what is wrong with it.
        let renumbered = kernel(&[(7, "eth0", None)]);
        let renamed = kernel(&[(2, "lan0", None)]);
        let swapped = kernel(&[(2, "eth1", None), (3, "eth0", None)]);
        let mut down = first.clone();
        down.links.get_mut(&2).unwrap().up = false;
        let mut tunnel = first.clone();
        tunnel.links.get_mut(&2).unwrap().ethernet = false;
        let replaced = Some("was replaced, and is not served yet");
        for (state, is_open, released, problem) in [
            (&first, true, false, None),
            (&first, false, true, replaced),
            (&kernel(&[]), true, true, Some("is gone")),
            (&renumbered, true, true, replaced),
            (&renamed, true, true, Some("is gone")),
            (&swapped, true, true, replaced),
            (&down, true, false, Some("is down")),
            (&tunnel, true, true, Some("is no Ethernet interface any more")),
        ] {
            let mut leg = leg.clone();
            assert_eq!((leg.release(state, is_open), leg.problem(state)), (released, problem), "{state:?}");
            assert!(!leg.release(state, is_open), "once is enough");
            leg.index = leg.link(state).map(|link| link.index);
            let left = problem.filter(|problem| Some(*problem) != replaced);
            assert_eq!(leg.problem(state), left, "once it is served again");
        }
    }
}

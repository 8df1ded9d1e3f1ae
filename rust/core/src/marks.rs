//! Marks: numbers that rules give to packets, so that one service balances many addresses and ports. In the
//! kernel netfilter marks packets; here the first rule that fits does.
//!
//! Of many rules those for a destination are found by hash, because every packet that no connection is known to asks.

use crate::net::{FlowKey, Prefix, Protocol};
use crate::service_key::ServiceKey;
use foldhash::fast::RandomState;
use std::collections::HashMap;
use std::net::IpAddr;
use std::ops::RangeInclusive;

/// As many rules are looked through one by one.
const FEW: usize = 16;

/// Packets that get a mark.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MarkRule {
    /// Where they go.
    pub destination: Prefix,
    /// Where they come from; `None`: anywhere.
    pub source: Option<Prefix>,
    /// Their protocol; `None`: any that can be balanced.
    pub protocol: Option<Protocol>,
    /// The ports that they go to.
    pub ports: RangeInclusive<u16>,
    /// The mark that they get, above 0.
    pub mark: u32,
}

impl MarkRule {
    /// The service of the packets that it marks.
    #[must_use]
    pub fn service(&self) -> ServiceKey {
        ServiceKey::of_mark(self.mark, self.destination.address().is_ipv6())
    }

    fn fits(&self, flow: &FlowKey) -> bool {
        self.destination.contains(flow.destination.address)
            && self.ports.contains(&flow.destination.port)
            && self.protocol.is_none_or(|protocol| protocol == flow.protocol)
            && self.source.is_none_or(|source| source.contains(flow.source.address))
    }
}

/// The rules, in their order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Marks {
    rules: Vec<MarkRule>,
    /// Where those of many stand; empty while there are few.
    lengths: Vec<Length>,
}

/// The rules for destinations of one family and length: their places in order, by the block's first address.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Length {
    ipv4: bool,
    bits: u8,
    blocks: HashMap<IpAddr, Vec<usize>, RandomState>,
}

impl Marks {
    /// These rules, the first that fits counts.
    #[must_use]
    pub fn new(rules: Vec<MarkRule>) -> Self {
        let lengths = if rules.len() > FEW { lengths(&rules) } else { Vec::new() };
        Self { rules, lengths }
    }

    /// The mark of a packet; 0 when no rule fits.
    #[must_use]
    pub fn of(&self, flow: &FlowKey) -> u32 {
        let rule = if self.lengths.is_empty() {
            self.rules.iter().find(|rule| rule.fits(flow))
        } else {
            self.find(flow).map(|place| &self.rules[place])
        };
        rule.map_or(0, |rule| rule.mark)
    }

    /// The place of the first rule that fits.
    fn find(&self, flow: &FlowKey) -> Option<usize> {
        let address = flow.destination.address;
        let lengths = self.lengths.iter().filter(|length| length.ipv4 == address.is_ipv4());
        let first_of = |length: &Length| {
            let places = length.blocks.get(&Prefix::new(address, length.bits).ok()?.network())?;
            places.iter().copied().find(|place| self.rules[*place].fits(flow))
        };
        lengths.filter_map(first_of).min()
    }

    /// The rules.
    #[must_use]
    pub fn rules(&self) -> &[MarkRule] {
        &self.rules
    }
}

fn lengths(rules: &[MarkRule]) -> Vec<Length> {
    let mut lengths = Vec::<Length>::new();
    for (place, MarkRule { destination, .. }) in rules.iter().enumerate() {
        let (ipv4, bits) = (destination.address().is_ipv4(), destination.length());
        let known = lengths.iter().position(|length| (length.ipv4, length.bits) == (ipv4, bits));
        let known = known.unwrap_or_else(|| {
            lengths.push(Length { ipv4, bits, blocks: HashMap::default() });
            lengths.len() - 1
        });
        lengths[known].blocks.entry(destination.network()).or_default().push(place);
    }
    lengths
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::net::Endpoint;
    use proptest::prelude::*;
    use std::net::Ipv6Addr;

    fn address() -> impl Strategy<Value = IpAddr> {
        let ipv6 = |host: u8| IpAddr::from(Ipv6Addr::from_bits(0xfd << 120 | u128::from(host)));
        prop_oneof![(0..16_u8).prop_map(|host| [10, 0, 0, host].into()), (0..16_u8).prop_map(ipv6)]
    }

    fn block() -> impl Strategy<Value = Prefix> {
        (address(), 0..5_u8)
            .prop_map(|(address, free)| Prefix::new(address, Prefix::host(address).length() - free).unwrap())
    }

    fn rule() -> impl Strategy<Value = MarkRule> {
        let protocol = prop::option::of(prop::sample::select(vec![Protocol::TCP, Protocol::UDP]));
        (block(), prop::option::of(block()), protocol, 0..4_u16, 0..4_u16, 1..100_u32).prop_map(
            |(destination, source, protocol, first, more, mark)| MarkRule {
                destination,
                source,
                protocol,
                ports: first..=first + more,
                mark,
            },
        )
    }

    proptest! {
        #[test]
        fn of_many_the_same_fits_as_of_few(
            rules in prop::collection::vec(rule(), 0..40),
            flows in prop::collection::vec((address(), address(), 0..6_u16, any::<bool>()), 1..20),
        ) {
            let few = Marks { rules: rules.clone(), lengths: Vec::new() };
            let many = Marks { lengths: lengths(&rules), rules };
            for (source, destination, port, tcp) in flows {
                let flow = FlowKey {
                    protocol: if tcp { Protocol::TCP } else { Protocol::UDP },
                    source: Endpoint::new(source, 4000),
                    destination: Endpoint::new(destination, port),
                };
                prop_assert_eq!(many.of(&flow), few.of(&flow));
            }
        }
    }

    #[test]
    fn the_first_rule_that_fits_marks() {
        let rule = |destination: &str, protocol, ports, mark| MarkRule {
            destination: destination.parse().unwrap(),
            source: None,
            protocol,
            ports,
            mark,
        };
        let marks = Marks::new(vec![
            rule("10.99.0.0/16", Some(Protocol::TCP), 8000..=8100, 1),
            rule("10.99.1.0/24", None, 0..=u16::MAX, 2),
        ]);
        let of = |protocol, destination: &str| {
            let source = "203.0.113.9:8000".parse().unwrap();
            marks.of(&FlowKey { protocol, source, destination: destination.parse().unwrap() })
        };
        assert_eq!(of(Protocol::TCP, "10.99.1.1:8100"), 1);
        assert_eq!(of(Protocol::UDP, "10.99.1.1:8100"), 2);
        assert_eq!(of(Protocol::TCP, "10.99.2.1:8101"), 0);
    }
}

//! Marks: numbers that rules give to packets, so that one service balances many addresses and ports. In the
//! kernel netfilter marks packets; here the first rule that fits does.

use crate::net::{FlowKey, Prefix, Protocol};
use crate::service_key::ServiceKey;
use std::ops::RangeInclusive;

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
pub struct Marks(Vec<MarkRule>);

impl Marks {
    /// These rules, the first that fits counts.
    #[must_use]
    pub const fn new(rules: Vec<MarkRule>) -> Self {
        Self(rules)
    }

    /// The mark of a packet; 0 when no rule fits.
    #[must_use]
    pub fn of(&self, flow: &FlowKey) -> u32 {
        self.0.iter().find(|rule| rule.fits(flow)).map_or(0, |rule| rule.mark)
    }

    /// The rules.
    #[must_use]
    pub fn rules(&self) -> &[MarkRule] {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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

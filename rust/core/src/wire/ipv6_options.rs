//! Hop-by-hop options (RFC 8200 §4.3), which every router on the way looks at, as Linux does.

const PAD_1: u8 = 0;
const PAD_N: u8 = 1;
/// Options that a router may not understand, by what it does then: skip them, or stop the packet.
const IF_UNKNOWN: u8 = 0xc0;
const ROUTER_ALERT: u8 = 5;
const JUMBO: u8 = 0xc2;
/// Padding aligns what follows to eight bytes: there is never more of it in a row.
const LONGEST_PADDING: usize = 7;

/// What a router finds in a packet's hop-by-hop options.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Options {
    /// Nothing that keeps the packet from going on.
    Fine,
    /// Padding that is none, an option cut short, or one that asks to be dropped without a word by those who do
    /// not know it.
    Malformed,
    /// An option that the sender wants to be told of by those who do not know it.
    Unknown,
}

/// Looks at the options of a hop-by-hop header, whose first byte names what follows it.
#[must_use]
pub fn check(header: &[u8]) -> Options {
    let (mut at, mut padding) = (2, 0);
    while at < header.len() {
        let kind = header[at];
        let length = match (kind, header.get(at + 1)) {
            (PAD_1, _) => 1,
            (_, Some(length)) => 2 + usize::from(*length),
            (_, None) => return Options::Malformed,
        };
        let Some(option) = header.get(at..at + length) else { return Options::Malformed };
        at += length;
        if matches!(kind, PAD_1 | PAD_N) {
            padding += length;
            if padding > LONGEST_PADDING || option.iter().skip(2).any(|byte| *byte != 0) {
                return Options::Malformed;
            }
            continue;
        }
        padding = 0;
        match (kind, kind & IF_UNKNOWN) {
            (ROUTER_ALERT | JUMBO, _) | (_, 0) => {}
            (_, 0x40) => return Options::Malformed,
            _ => return Options::Unknown,
        }
    }
    Options::Fine
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn padding_only_pads() {
        for (header, found) in [
            (&[6, 0, 1, 4, 0, 0, 0, 0][..], Options::Fine),
            (&[6, 0, 0, 0, 0, 0, 0, 0], Options::Fine),
            (&[6, 0, 1, 4, 0, 0, 0, 9], Options::Malformed),
            (&[6, 1, 1, 6, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0], Options::Malformed),
            (&[6, 0, 1, 5, 0, 0, 0, 0], Options::Malformed),
            (&[6, 0, 5, 2, 0, 0, 1, 0], Options::Fine),
            (&[6, 0, 0x1e, 2, 0, 0, 1, 0], Options::Fine),
            (&[6, 0, 0x5e, 2, 0, 0, 1, 0], Options::Malformed),
            (&[6, 0, 0x9e, 2, 0, 0, 1, 0], Options::Unknown),
        ] {
            assert_eq!(check(header), found, "{header:?}");
        }
    }
}

//! Which privileges the process lacks.

/// What a live director needs: packet and raw sockets; the nftables rule, promiscuity, neighbours.
const NEEDED: [(&str, u32); 2] = [("CAP_NET_ADMIN", 12), ("CAP_NET_RAW", 13)];

/// Which of `CAP_NET_ADMIN` and `CAP_NET_RAW` the process does not have in effect. None is named where
/// /proc does not tell; the operation that needs one then fails by itself.
#[must_use]
pub fn missing_capabilities() -> Vec<&'static str> {
    std::fs::read_to_string("/proc/self/status").map_or_else(|_| Vec::new(), |status| missing(&status))
}

fn missing(status: &str) -> Vec<&'static str> {
    let line = status.lines().find_map(|line| line.strip_prefix("CapEff:"));
    let Some(effective) = line.and_then(|hex| u64::from_str_radix(hex.trim(), 16).ok()) else {
        return Vec::new();
    };
    NEEDED.iter().filter(|(_, bit)| effective >> bit & 1 == 0).map(|(name, _)| *name).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_what_the_effective_set_lacks() {
        let cases: [(&str, &[&str]); 5] = [
            ("Name:\tx\nCapEff:\t000001ffffffffff\n", &[]),
            ("CapEff:\t0000000000003000\n", &[]),
            ("CapPrm:\t000001ffffffffff\nCapEff:\t0000000000002000\n", &["CAP_NET_ADMIN"]),
            ("CapEff:\t0000000000000000\n", &["CAP_NET_ADMIN", "CAP_NET_RAW"]),
            ("CapEff:\tgarbage\n", &[]),
        ];
        for (status, expected) in cases {
            assert_eq!(missing(status), expected, "{status:?}");
        }
    }
}

//! Which privileges the process lacks, and how the programs that it starts get those that it has.

use std::os::unix::process::CommandExt;
use std::process::Command;

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

/// Lets the program that `command` starts have both, as far as the process has them. Those of root and ambient ones
/// it inherits anyway; those that the process has from its own file (`setcap`) end at exec(2).
pub fn hand_on(command: &mut Command) -> &mut Command {
    // SAFETY: between fork and exec, the function makes system calls and touches its own stack, nothing else.
    unsafe {
        command.pre_exec(|| {
            raise_ambient();
            Ok(())
        })
    }
}

/// What capget(2) and capset(2) take: version 3, with two words for each set.
#[repr(C)]
struct Header {
    version: u32,
    process: libc::c_int,
}

#[repr(C)]
#[derive(Clone, Copy, Default)]
struct Sets {
    effective: u32,
    permitted: u32,
    inheritable: u32,
}

const VERSION_3: u32 = 0x2008_0522;

/// Makes what is permitted of the two ambient, in the calling process. Where that fails, the program that is
/// started will say what it may not do.
fn raise_ambient() {
    let mut header = Header { version: VERSION_3, process: 0 };
    let mut sets = [Sets::default(); 2];
    // SAFETY: the kernel reads the header and fills two sets, which is the number that version 3 has.
    if unsafe { libc::syscall(libc::SYS_capget, &raw mut header, sets.as_mut_ptr()) } < 0 {
        return;
    }
    for (_, bit) in NEEDED {
        sets[0].inheritable |= sets[0].permitted & (1 << bit);
    }
    // SAFETY: the kernel reads the header and two sets.
    unsafe { libc::syscall(libc::SYS_capset, &raw mut header, sets.as_ptr()) };
    // What prctl(2) takes is as long as a pointer.
    let (raise, none): (libc::c_ulong, libc::c_ulong) = (libc::PR_CAP_AMBIENT_RAISE as _, 0);
    for (_, bit) in NEEDED {
        // SAFETY: no pointers are passed.
        unsafe { libc::prctl(libc::PR_CAP_AMBIENT, raise, libc::c_ulong::from(bit), none, none) };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_started_program_has_what_the_process_has() {
        let own = std::fs::read_to_string("/proc/self/status").unwrap();
        let status = hand_on(Command::new("cat").arg("/proc/self/status")).output().unwrap().stdout;
        let (permitted, ambient) =
            (set(&own, "CapPrm:"), set(&String::from_utf8(status).unwrap(), "CapAmb:"));
        let needed: u64 = NEEDED.iter().map(|(_, bit)| 1 << bit).sum();
        assert_eq!(ambient & needed, permitted & needed);
    }

    fn set(status: &str, name: &str) -> u64 {
        let line = status.lines().find_map(|line| line.strip_prefix(name)).unwrap();
        u64::from_str_radix(line.trim(), 16).unwrap()
    }

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

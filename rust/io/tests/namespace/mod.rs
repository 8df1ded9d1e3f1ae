//! Tests that have a network of their own: each runs in a child process in a namespace of its own,
//! as root or as an ordinary user (then in a user namespace); where neither may be made it is skipped.

use std::net::IpAddr;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

const INSIDE: &str = "FASTLVS_TEST_IN_NAMESPACE";
/// Long, for the sake of a busy machine: who waits for what happens pays nothing for it.
const PATIENCE: Duration = Duration::from_secs(60);

/// Runs `body`, which is the whole of the test called `test`, in a new network namespace.
pub fn in_namespace(test: &str, body: impl FnOnce()) {
    if std::env::var_os(INSIDE).is_some() {
        ip("link set lo up");
        return body();
    }
    let ways: [&[&str]; 2] = [&["--net"], &["--user", "--map-root-user", "--net"]];
    let unshare = |way: &[&str]| {
        let mut command = Command::new("unshare");
        command.args(way).stdin(Stdio::null());
        command
    };
    let works = |way: &&&[&str]| {
        let mut probe = unshare(way);
        probe.args(["ip", "link"]).stdout(Stdio::null()).stderr(Stdio::null());
        probe.status().is_ok_and(|status| status.success())
    };
    let Some(way) = ways.iter().find(works) else {
        println!(
            "SKIPPED {test}: `unshare --net ip link` works neither as this user nor in a user namespace"
        );
        return;
    };
    let mut child = unshare(way);
    child.arg(std::env::current_exe().unwrap()).args([test, "--exact", "--nocapture"]).env(INSIDE, "1");
    assert!(child.status().unwrap().success(), "{test} failed in its namespace");
}

/// Runs `ip` here.
pub fn ip(arguments: &str) {
    let status = Command::new("ip").args(arguments.split_whitespace()).status().unwrap();
    assert!(status.success(), "ip {arguments}");
}

/// Another host: a second namespace, held by a process that waits for the end of its input, and so ends with
/// this one.
pub struct Peer(Child);

#[allow(dead_code, reason = "not every test file has a peer")]
impl Peer {
    pub fn new() -> Self {
        let child = Command::new("unshare").args(["--net", "cat"]).stdin(Stdio::piped()).spawn().unwrap();
        let own = std::fs::read_link("/proc/self/ns/net").unwrap();
        let theirs = format!("/proc/{}/ns/net", child.id());
        wait_until("the peer's namespace", || std::fs::read_link(&theirs).is_ok_and(|link| link != own));
        Self(child)
    }

    /// Its process, for `ip link set NAME netns PID`.
    pub fn pid(&self) -> u32 {
        self.0.id()
    }

    /// Runs `ip` there.
    pub fn ip(&self, arguments: &str) {
        let mut command = Command::new("nsenter");
        command.args(["--net", "--target", &self.pid().to_string(), "ip"]);
        assert!(command.args(arguments.split_whitespace()).status().unwrap().success(), "ip {arguments}");
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        _ = self.0.kill();
        _ = self.0.wait();
    }
}

/// Tries until `condition` holds, or fails the test.
pub fn wait_until(what: &str, mut condition: impl FnMut() -> bool) {
    let start = Instant::now();
    while !condition() {
        assert!(start.elapsed() < PATIENCE, "waited {PATIENCE:?} for {what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

#[allow(dead_code, reason = "not every test file writes addresses")]
pub fn address(text: &str) -> IpAddr {
    text.parse().unwrap()
}

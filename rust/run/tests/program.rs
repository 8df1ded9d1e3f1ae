//! The program from outside: what it prints and what it ends with, as far as that needs no privilege.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

const EXAMPLE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/director.example.toml");

const PYTHON: &str = "[[service]]
protocol = 'tcp'
address = '192.0.2.1:80'
scheduler = 'python:mine:Fair'
";

const RULES: &str = "-A -t 192.0.2.1:80 -s rr\n-a -t 192.0.2.1:80 -r 10.0.0.1:8080 -m -w 1\n";

fn program(arguments: &[&str], input: &str) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_fastlvs-run"));
    command.args(arguments).env_remove("RUST_LOG").env_remove("NOTIFY_SOCKET");
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the program starts");
    // A program that ends without reading closes its input, which is no error of this test.
    let _ = child.stdin.take().expect("its input").write_all(input.as_bytes());
    let deadline = Instant::now() + Duration::from_secs(60);
    while child.try_wait().expect("its state").is_none() {
        if Instant::now() > deadline {
            child.kill().expect("the program can be killed");
            panic!("{arguments:?}: the program runs on");
        }
        sleep(Duration::from_millis(5));
    }
    child.wait_with_output().expect("the program's output")
}

/// Standard output, standard error and exit status.
fn run(arguments: &[&str], input: &str) -> (String, String, Option<i32>) {
    let Output { status, stdout, stderr } = program(arguments, input);
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("UTF-8");
    (text(stdout), text(stderr), status.code())
}

/// A file of that text, for one test.
fn file(name: &str, text: &str) -> String {
    let path: PathBuf = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    std::fs::write(&path, text).expect("a temporary file");
    path.display().to_string()
}

#[test]
fn check_says_what_a_good_file_holds() {
    let expected = format!("{EXAMPLE}: 3 services, 4 real servers: good\n");
    assert_eq!(run(&["--check", EXAMPLE], ""), (expected, String::new(), Some(0)));
    let rules = file("good.rules", RULES);
    let expected = format!("{rules}: 1 service, 1 real server: good\n");
    assert_eq!(run(&["--check", "--rules", &rules], ""), (expected, String::new(), Some(0)));
    let expected = "-: 1 service, 1 real server: good\n".to_owned();
    assert_eq!(run(&["--rules", "-", "--check"], RULES), (expected, String::new(), Some(0)));
}

#[test]
fn a_bad_configuration_ends_with_3_and_its_place() {
    let mistaken = file("mistaken.toml", "\n[setings]\n");
    let python = file("python.toml", PYTHON);
    let cases: [(&[&str], &str, String); 5] = [
        (
            &["--check", &mistaken],
            "",
            format!("fastlvs-run: {mistaken}:2: setings: unknown key; expected one of "),
        ),
        (&[&mistaken], "", format!("fastlvs-run: {mistaken}:2: setings: unknown key; expected one of ")),
        (
            &["--check", &python],
            "",
            format!(
                "fastlvs-run: {python}:4: service[0].scheduler: scheduler \"python:mine:Fair\" is in Python"
            ),
        ),
        (
            &["--rules", "-"],
            "-A -u 192.0.2.1:5060 --pe sip\n",
            "fastlvs-run: -:1: --pe: --pe is not supported\n".to_owned(),
        ),
        (
            &["--check", "/nowhere/director.toml"],
            "",
            "fastlvs-run: /nowhere/director.toml: cannot be read: No such file".to_owned(),
        ),
    ];
    for (arguments, input, expected) in cases {
        let (output, errors, status) = run(arguments, input);
        assert_eq!((output.as_str(), status), ("", Some(3)), "{arguments:?}: {errors}");
        assert!(errors.starts_with(&expected), "expected {expected}\n     got {errors}");
        assert_eq!(errors.lines().count(), 1, "{errors}");
    }
    let (_, errors, _) = run(&["--check", &python], "");
    assert!(errors.trim_end().ends_with(&format!("run it with: fastlvs run {python}")), "{errors}");
}

#[test]
fn wrong_usage_ends_with_2() {
    let cases: [&[&str]; 7] = [
        &[],
        &["--check"],
        &["--unknown", "a.toml"],
        &["a.toml", "b.toml"],
        &["a.toml", "--rules", "b.rules"],
        &["a.toml", "--interface"],
        &["-v", "-q", "a.toml"],
    ];
    for arguments in cases {
        let (output, errors, status) = run(arguments, "");
        assert_eq!((output.as_str(), status), ("", Some(2)), "{arguments:?}: {errors}");
        assert!(errors.starts_with("error: "), "{errors}");
    }
}

#[test]
fn help_has_examples_and_exit_codes() {
    let (output, errors, status) = run(&["--help"], "");
    assert_eq!((errors.as_str(), status), ("", Some(0)));
    for part in ["--rules <FILE>", "fastlvs-run --check director.toml", "Exit status: 0 good", "SIGHUP"] {
        assert!(output.contains(part), "{part} is not in:\n{output}");
    }
    let version = format!("fastlvs-run {}\n", env!("CARGO_PKG_VERSION"));
    assert_eq!(run(&["--version"], ""), (version, String::new(), Some(0)));
}

/// Without the capabilities it says so, with them it looks for the interface.
#[test]
fn what_the_machine_lacks_ends_with_4_or_5() {
    let rules = file("machine.rules", RULES);
    let (output, errors, status) = run(&["--rules", &rules, "--interface", "no-such-if"], "");
    let (expected, part) = if privileged() { (5, "no-such-if") } else { (4, "cap_net_admin") };
    assert_eq!((output.as_str(), status), ("", Some(expected)), "{errors}");
    assert!(errors.to_lowercase().contains(part), "{part} is not in: {errors}");
}

/// Whether this process has `CAP_NET_ADMIN` and `CAP_NET_RAW`.
fn privileged() -> bool {
    let status = std::fs::read_to_string("/proc/self/status").expect("/proc");
    let effective = status.lines().find_map(|line| line.strip_prefix("CapEff:")).expect("CapEff");
    let set = u64::from_str_radix(effective.trim(), 16).expect("a hexadecimal number");
    [12, 13].iter().all(|capability| set & (1 << capability) != 0)
}

//! Does one kind of work, for a tool that counts what it costs: `once CASE OPERATIONS`.
//!
//! Two runs with other numbers of operations tell an operation's share: what the preparation costs is in both.

#![allow(clippy::print_stderr, reason = "a program's usage")]

use fastlvs_benches::case::{ALL, Case};
use std::process::ExitCode;

fn main() -> ExitCode {
    let arguments: Vec<_> = std::env::args().skip(1).collect();
    let (case, operations) = match &arguments[..] {
        [name, operations] => (Case::named(name), operations.parse().ok()),
        _ => (None, None),
    };
    let (Some(case), Some(operations)) = (case, operations) else {
        let names: Vec<_> = ALL.iter().map(|case| case.name).collect();
        eprintln!("usage: once CASE OPERATIONS\ncases: {}", names.join(" "));
        return ExitCode::from(2);
    };
    case.prepare(u32::MAX)(operations);
    ExitCode::SUCCESS
}

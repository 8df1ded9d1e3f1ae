//! Does one kind of work, for a tool that counts what it costs: `once CASE OPERATIONS FLOWS`, with so many flows at most.
//!
//! Two runs with other numbers of operations tell an operation's share: what the preparation costs is in both.

#![allow(clippy::print_stderr, reason = "a program's usage")]

use fastlvs_benches::case::{ALL, Case};
use std::process::ExitCode;

fn main() -> ExitCode {
    let arguments: Vec<_> = std::env::args().skip(1).collect();
    let asked = match &arguments[..] {
        [name, operations, flows] => Case::named(name).zip(operations.parse().ok()).zip(flows.parse().ok()),
        _ => None,
    };
    let Some(((case, operations), flows)) = asked else {
        let names: Vec<_> = ALL.iter().map(|case| case.name).collect();
        eprintln!("usage: once CASE OPERATIONS FLOWS\ncases: {}", names.join(" "));
        return ExitCode::from(2);
    };
    case.prepare(flows)(operations);
    ExitCode::SUCCESS
}

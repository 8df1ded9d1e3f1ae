//! Cases beside each other, interleaved, with their ratios to the floor: `compare [--runs N] [--operations N] [CASE ...]`.
//!
//! A run does every case once, in turn; a ratio is of one run's two figures, so that what the machine does besides meets both.

#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a program's output")]

use fastlvs_benches::case::{ALL, Case};
use std::process::ExitCode;

struct Asked {
    runs: usize,
    operations: u64,
    cases: Vec<&'static Case>,
}

fn asked(mut arguments: impl Iterator<Item = String>) -> Option<Asked> {
    let mut asked = Asked { runs: 5, operations: 1_000_000, cases: Vec::new() };
    while let Some(argument) = arguments.next() {
        match argument.as_str() {
            "--runs" => asked.runs = arguments.next()?.parse().ok().filter(|runs| *runs > 0)?,
            "--operations" => asked.operations = arguments.next()?.parse().ok()?,
            name => asked.cases.push(Case::named(name)?),
        }
    }
    if asked.cases.is_empty() {
        asked.cases = ALL.iter().collect();
    }
    for floor in asked.cases.clone().into_iter().filter_map(|case| Case::named(case.floor?)) {
        if !asked.cases.iter().any(|case| case.name == floor.name) {
            asked.cases.insert(0, floor);
        }
    }
    Some(asked)
}

/// The first quartile, the median and the third.
fn quartiles(mut values: Vec<f64>) -> [f64; 3] {
    values.sort_by(f64::total_cmp);
    [1, 2, 3].map(|quarter| values[(values.len() - 1) * quarter / 4])
}

fn main() -> ExitCode {
    let Some(Asked { runs, operations, cases }) = asked(std::env::args().skip(1)) else {
        let names: Vec<_> = ALL.iter().map(|case| case.name).collect();
        eprintln!("usage: compare [--runs N] [--operations N] [CASE ...]\ncases: {}", names.join(" "));
        return ExitCode::from(2);
    };
    let mut works: Vec<_> = cases.iter().map(|case| case.prepare(u32::MAX)).collect();
    let mut times = vec![Vec::with_capacity(runs); cases.len()];
    // One more than is kept: the first warms the caches up.
    for run in 0..=runs {
        eprint!("\rrun {run} of {runs}");
        for (work, times) in works.iter_mut().zip(&mut times) {
            let sample = work(operations);
            if run > 0 {
                times.push(sample.nanoseconds());
            }
        }
    }
    eprintln!();
    println!("{:16} {:>9} {:>19} {:>8}  what", "case", "median ns", "quartiles", "x floor");
    for (case, own) in cases.iter().zip(&times) {
        let [first, median, third] = quartiles(own.clone());
        let floor = case.floor.and_then(|name| cases.iter().position(|case| case.name == name));
        let ratio = floor.map(|floor| {
            let ratios = own.iter().zip(&times[floor]).map(|(own, floor)| own / floor).collect();
            format!("{:.2}", quartiles(ratios)[1])
        });
        let ratio = ratio.unwrap_or_default();
        println!("{:16} {median:9.1} {first:9.1} {third:9.1} {ratio:>8}  {}", case.name, case.what);
    }
    ExitCode::SUCCESS
}

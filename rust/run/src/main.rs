//! `fastlvs-run`: the director as a program.

fn main() {}

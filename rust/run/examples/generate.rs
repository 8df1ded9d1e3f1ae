//! Writes the man page and the shell completions of `fastlvs-run` into a folder: `make man` does it.

use clap::CommandFactory;
use clap_complete::{Shell, generate_to};
use clap_mangen::Man;
use clap_mangen::roff::{Roff, roman};
use std::error::Error;
use std::fs;
use std::io::Write;
use std::path::Path;

#[allow(dead_code, reason = "only what describes the command line is of use here")]
#[path = "../src/cli.rs"]
mod cli;

const SHELLS: [Shell; 3] = [Shell::Bash, Shell::Zsh, Shell::Fish];

fn main() -> Result<(), Box<dyn Error>> {
    let folder = std::env::args_os().nth(1).ok_or("usage: generate FOLDER")?;
    let folder = Path::new(&folder);
    fs::create_dir_all(folder)?;
    man_page(&mut fs::File::create(folder.join("fastlvs-run.8"))?)?;
    for shell in SHELLS {
        generate_to(shell, &mut cli::Arguments::command(), "fastlvs-run", folder)?;
    }
    Ok(())
}

/// What follows the options in `--help` keeps its lines: it is laid out by hand.
fn man_page(file: &mut dyn Write) -> Result<(), Box<dyn Error>> {
    let command = cli::Arguments::command();
    let notes = command.get_after_help().map(ToString::to_string).unwrap_or_default();
    let page = Man::new(command).section("8").manual("System administration");
    page.render_title(file)?;
    page.render_name_section(file)?;
    page.render_synopsis_section(file)?;
    page.render_description_section(file)?;
    page.render_options_section(file)?;
    let mut section = Roff::new();
    section.control("SH", ["NOTES"]).control("nf", []);
    for line in notes.lines() {
        section.text([roman(line)]);
    }
    section.control("fi", []);
    section.to_writer(file)?;
    Ok(())
}

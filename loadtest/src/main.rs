//! `loadtest`: load for the task backend.

mod cli;

use std::process::ExitCode;

use clap::Parser;

fn main() -> ExitCode {
    cli::Cli::parse().execute().unwrap_or_else(|error| {
        eprintln!("loadtest: {error:#}");
        ExitCode::from(cli::exit_of(&error) as u8)
    })
}

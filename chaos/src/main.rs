//! `chaos`: runs experiments against a stack and says what they prove.

use std::process::ExitCode;

use clap::Parser;

fn main() -> ExitCode {
    chaos::cli::main(chaos::cli::Cli::parse())
}

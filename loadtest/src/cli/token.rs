//! `loadtest token`.

use std::time::Duration;

use clap::Args;
use loadtest::verdict::Exit;

use super::{StackArgs, parse_duration};

#[derive(Args)]
pub(crate) struct TokenArgs {
    #[command(flatten)]
    stack: StackArgs,
    /// The owner: the token's `sub`.
    #[arg(long, default_value = "someone")]
    owner: String,
    #[arg(long, default_value = "60m", value_parser = parse_duration)]
    ttl: Duration,
}

pub(crate) fn token(args: &TokenArgs) -> anyhow::Result<Exit> {
    println!("{}", loadtest::mint(&args.stack.load()?, &args.owner, args.ttl)?);
    Ok(Exit::Ok)
}

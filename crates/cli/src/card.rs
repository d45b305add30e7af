//! `daca card`: what an agent says of itself, whether that can be believed, and what is wrong with it.
//!
//! # Invariants
//! - `daca card URL` is `daca card fetch URL`.

mod fetch;
mod lint;
mod sign;
pub(crate) mod source;
mod verify;

use crate::{
    agent::Agent,
    exit::{Exit, Failure},
    output::Output,
};

/// What to do with a card; without a word, to print the one at a URL.
#[derive(Debug, clap::Args)]
#[command(args_conflicts_with_subcommands = true, subcommand_negates_reqs = true)]
pub(crate) struct Args {
    #[command(flatten)]
    agent: Option<Agent>,
    /// The card that authenticated callers get, instead of the public one
    #[arg(long, requires = "url")]
    extended: bool,
    #[command(subcommand)]
    verb: Option<Verb>,
}

#[derive(Debug, clap::Subcommand)]
enum Verb {
    /// Print an agent's card
    Fetch(fetch::Args),
    /// Check a card's signatures against keys that you trust
    Verify(verify::Args),
    /// Print a card with one more signature
    Sign(sign::Args),
    /// List what is wrong with a card
    Lint(lint::Args),
}

pub(crate) async fn run(args: Args, output: &Output) -> Result<Exit, Failure> {
    match (args.verb, args.agent) {
        (Some(Verb::Fetch(args)), _) => fetch::run(args, output).await,
        (Some(Verb::Verify(args)), _) => verify::run(args, output).await,
        (Some(Verb::Sign(args)), _) => sign::run(&args, output),
        (Some(Verb::Lint(args)), _) => lint::run(&args, output).await,
        (None, Some(agent)) => {
            let extended = args.extended;
            fetch::run(fetch::Args { agent, extended }, output).await
        }
        // clap asks for a URL before it comes to this.
        (None, None) => Err(Failure::usage(anyhow::anyhow!("which agent's card?"))),
    }
}

//! The one binary: every role and every tool of the mesh by subcommand.
//!
//! # Invariants
//! - No logic of its own beside `up`: a verb parses flags, calls a crate, prints what comes back.
//! - stdout is the result, stderr is what a person needs besides; `--output json` keeps stdout to
//!   JSON alone.
//! - Exit codes are a contract, kept in `exit.rs`.

use std::process::ExitCode;

use clap::{Parser, Subcommand};

mod agent;
mod card;
mod exit;
mod load;
mod load_bus;
#[cfg(feature = "mcp")]
mod mcp;
mod output;
#[cfg(feature = "worker")]
mod push;
mod quote;
mod role;
mod route;
#[cfg(feature = "router")]
mod router;
mod send;
mod stream;
mod tap;
mod tasks;
mod up;
mod words;
#[cfg(feature = "worker")]
mod worker;

use exit::{Exit, Failure};
use output::{Format, Output};

/// DACA Mesh: a router for A2A agents, workers that run agents, and an A2A client for any of them.
#[derive(Debug, Parser)]
#[command(name = "daca", version, propagate_version = true, after_help = exit::HELP)]
struct Cli {
    /// How results are printed: text for people, JSON (ProtoJSON of A2A) for programs
    #[arg(long, global = true, value_enum, default_value_t = Format::Text)]
    output: Format,
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Start a whole mesh on this machine: a router and workers, as processes
    Up(up::Args),
    /// Run a router
    #[cfg(feature = "router")]
    Router(Box<router::Args>),
    /// Run a worker: an A2A server with agents in it
    #[cfg(feature = "worker")]
    Worker(worker::Args),
    /// Run a relay of push notifications beside workers, or look at those that were given up
    #[cfg(feature = "worker")]
    Push(push::Args),
    /// Run the MCP server with the small tools that the example agents use
    #[cfg(feature = "mcp")]
    Mcp(mcp::Args),
    /// Send a message to an agent and print its answer
    Send(send::Args),
    /// Send a message to an agent and print what happens, as it happens
    Stream(send::Args),
    /// Look at an agent's tasks, follow or cancel them
    #[command(subcommand)]
    Tasks(tasks::Verb),
    /// Print, verify, sign or check an agent's card
    Card(Box<card::Args>),
    /// Ask a router about its routing
    #[command(subcommand)]
    Route(route::Verb),
    /// Put an agent under load, open loop, and report what it did
    Load(load::Args),
    /// Print what comes on a topic of a bus, a line of JSON each, as one of a group
    Tap(tap::Args),
    /// Put buses under load, open loop, side by side, and report what they did
    LoadBus(load_bus::Args),
}

/// Runs the command line of this process.
#[must_use]
pub fn main() -> ExitCode {
    // Before anything can open a TLS connection: with no provider named, rustls would panic at the
    // first one. It fails only if a provider stands already, which is as good.
    drop(rustls::crypto::aws_lc_rs::default_provider().install_default());
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        // clap prints help and version to stdout with code 0, a usage error to stderr with code 2.
        Err(error) => {
            drop(error.print());
            return if error.use_stderr() {
                Exit::Usage
            } else {
                Exit::Ok
            }
            .into();
        }
    };
    let output = Output::new(cli.output);
    match run(cli.verb, &output) {
        Ok(exit) => exit.into(),
        Err(failure) => {
            output.failure(&failure);
            failure.exit.into()
        }
    }
}

fn run(verb: Verb, output: &Output) -> Result<Exit, Failure> {
    match verb {
        #[cfg(feature = "router")]
        Verb::Router(args) => router::run(*args, output),
        #[cfg(feature = "worker")]
        Verb::Worker(args) => worker::run(args, output),
        #[cfg(feature = "worker")]
        Verb::Push(args) => push::run(args, output),
        #[cfg(feature = "mcp")]
        Verb::Mcp(args) => mcp::run(args, output),
        Verb::Up(args) => role::here(up::run(args, output)),
        Verb::Send(args) => role::here(send::run(args, output)),
        Verb::Stream(args) => role::here(stream::run(args, output)),
        Verb::Tasks(verb) => role::here(tasks::run(verb, output)),
        Verb::Card(args) => role::here(card::run(*args, output)),
        Verb::Route(verb) => role::here(route::run(verb, output)),
        Verb::Load(args) => role::here(load::run(args, output)),
        Verb::Tap(args) => role::here(tap::run(args, output)),
        Verb::LoadBus(args) => role::here(load_bus::run(args, output)),
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    fn parse(line: &str) -> Result<Cli, clap::Error> {
        Cli::try_parse_from(line.split_whitespace())
    }

    #[test]
    fn the_command_line_is_sound() {
        Cli::command().debug_assert();
    }

    #[test]
    fn every_verb_of_the_documentation_parses() {
        for line in [
            "daca router --listen 127.0.0.1:0 --agent a=http://h:1,http://h:2 --agent b=http://h:3",
            "daca router --config r.toml --members m.toml --default-agent a --listen-agent a=h:1 \
             --keys k.toml --public-url https://mesh.example --threads 2 --admin 127.0.0.1:0 --control-at sqlite:/x",
            "daca worker --listen 127.0.0.1:0 --agents a.yaml --state sqlite:/tmp/x --router http://h \
             --threads 2 --admin 127.0.0.1:0 --capacity 50 --control-at dapr --in-batches a2a.push.v1",
            "daca mcp --root / --listen 127.0.0.1:0",
            "daca up",
            "daca up --listen 127.0.0.1:0 --workers 5 --state-dir /tmp/x",
            "daca send http://h/a hello",
            "daca send http://h/a hello --binding grpc --context c --task t --tenant x --header a=b",
            "daca send --output json http://h/a hello --return-immediately",
            "daca send http://h/a hello --a2a-version 0.3 --binding grpc",
            "daca stream http://h/a hello --binding rest",
            "daca tasks get http://h/a id --a2a-version 1.0",
            "daca tasks get http://h/a id --history 3",
            "daca tasks list http://h/a --context c --status working --page-size 10",
            "daca tasks cancel http://h/a id",
            "daca tasks subscribe http://h/a id",
            "daca card http://h/a",
            "daca card http://h/a --extended --header a=b",
            "daca card fetch http://h/a --extended",
            "daca card verify http://h/a --keys k.json --keys k.pem --jku-allow https://h/jwks",
            "daca card verify card.json --jku-allow https://h/jwks --algorithm ES256",
            "daca card sign card.json --key k.pem --kid k1 --jku https://h/jwks --jwks keys.json",
            "daca card lint - --output json",
            "daca route explain --router http://h --agent a --context c",
            "daca route explain --router http://h --agent a --task t --tenant x",
            "daca route explain --router http://h --agent a",
            "daca load http://h/a --rate 100",
            "daca load http://h/a http://i/a --rate 50,100,200 --for 30s --warm-up 5s --mix mixed \
             --binding jsonrpc,rest,grpc --connections 64 --deadline 2s --resume --text hi \
             --svg r.svg --watch router=1 --watch worker=2",
        ] {
            if let Err(error) = parse(line) {
                panic!("{line}: {error}");
            }
        }
    }

    #[test]
    fn what_makes_no_sense_is_a_usage_error() {
        for line in [
            "daca",
            "daca send http://h/a",
            "daca send http://h/a hi --binding soap",
            "daca send http://h/a hi --a2a-version 0.2",
            "daca send http://h/a hi --header novalue",
            "daca send http://h/a hi --no-card",
            "daca tasks list http://h/a --status asleep",
            "daca card",
            "daca card --extended",
            "daca card fetch",
            "daca card verify http://h/a",
            "daca card verify card.json --keys k.json --algorithm HS256",
            "daca card sign card.json --key k.pem",
            "daca route explain --router http://h --agent a --context c --task t",
            "daca up --workers 0",
            "daca router --threads 0",
            "daca worker --state redis:x",
            "daca load http://h/a",
            "daca load http://h/a --rate 0",
            "daca load http://h/a --rate 10 --mix everything",
            "daca load http://h/a --rate 10 --watch router",
        ] {
            let error = parse(line).err().map(|error| error.use_stderr());
            assert_eq!(error, Some(true), "{line}");
        }
    }
}

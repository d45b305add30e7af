//! `daca load`: an agent under open-loop load, and the report of it.

use std::{fs, num::NonZeroUsize, path::PathBuf, time::Duration};

use mesh_bench::load::{self, Aim, Plan};
use mesh_client::Binding;
use mesh_proto::Operation;
use mesh_runtime::settings::parse_duration;

use crate::{
    agent::BindingName,
    exit::{Exit, Failure},
    output::{Format, Output},
};

/// How much of what is called, and for how long.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The agent, as http://HOST:PORT/AGENT; several take turns
    #[arg(required = true, value_name = "URL")]
    urls: Vec<String>,
    /// Calls per second; several are steps, one after the other
    #[arg(long, required = true, value_name = "N", value_delimiter = ',', value_parser = rate)]
    rate: Vec<f64>,
    /// How long each step is measured
    #[arg(long = "for", value_name = "TIME", default_value = "10s", value_parser = parse_duration)]
    measured: Duration,
    /// How long each step runs before it is measured
    #[arg(long, value_name = "TIME", default_value = "2s", value_parser = parse_duration)]
    warm_up: Duration,
    /// What is called: send, stream, get (one send, then nine reads), mixed (a send, a stream, two reads)
    #[arg(long, value_name = "MIX", default_value = "send", value_parser = mix)]
    mix: Mix,
    /// The binding; several take turns. JSON-RPC and REST go over HTTP/1.1, gRPC over HTTP/2
    #[arg(long, value_enum, value_delimiter = ',', default_value = "jsonrpc")]
    binding: Vec<BindingName>,
    /// Connections to each URL over each binding, at most
    #[arg(long, value_name = "N", default_value = "64")]
    connections: NonZeroUsize,
    /// How long a call may take; it is told to the agent, and later answers don't count
    #[arg(long, value_name = "TIME", value_parser = parse_duration)]
    deadline: Option<Duration>,
    /// What the messages say
    #[arg(long, value_name = "TEXT", default_value = "hello")]
    text: String,
    /// Take a stream up again, once, that ended before its task
    #[arg(long)]
    resume: bool,
    /// Draw the report
    #[arg(long, value_name = "FILE")]
    svg: Option<PathBuf>,
    /// Report the processor time of a process on this machine, too; repeatable
    #[arg(long, value_name = "NAME=PID", value_parser = watched)]
    watch: Vec<(String, u32)>,
}

/// Operations, in turn.
#[derive(Clone, Debug)]
struct Mix(Vec<Operation>);

pub(crate) async fn run(args: Args, output: &Output) -> Result<Exit, Failure> {
    let mut aims = Vec::new();
    for url in &args.urls {
        for binding in &args.binding {
            let aim = Aim::parse(url, Binding::from(*binding)).await;
            aims.push(aim.map_err(Failure::usage)?);
        }
    }
    let plan = Plan {
        aims,
        mix: args.mix.0,
        rates: args.rate,
        measured: args.measured,
        warm_up: args.warm_up,
        deadline: args.deadline,
        connections: args.connections.get(),
        text: args.text,
        resume: args.resume,
        watched: args.watch,
    };
    let report = load::run(&plan).await;
    if let Some(file) = &args.svg {
        fs::write(file, report.svg()).map_err(Failure::role)?;
    }
    match output.format {
        Format::Json => output.json(&report)?,
        Format::Text => output.raw(&report.text()),
    }
    Ok(Exit::Ok)
}

pub(crate) fn rate(text: &str) -> Result<f64, String> {
    let rate: f64 = text.parse().map_err(|_| "that is no number")?;
    if rate.is_finite() && (0.001..=1e6).contains(&rate) {
        Ok(rate)
    } else {
        Err("a rate is between 0.001 and a million a second".to_owned())
    }
}

fn mix(text: &str) -> Result<Mix, String> {
    let mix = load::mix(text).ok_or("it is one of send, stream, get, mixed")?;
    Ok(Mix(mix))
}

pub(crate) fn watched(text: &str) -> Result<(String, u32), String> {
    let (name, pid) = text.split_once('=').ok_or("it has no '='")?;
    let pid = pid.parse().map_err(|_| "that is no process id")?;
    Ok((name.to_owned(), pid))
}

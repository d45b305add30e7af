//! `daca load-bus`: buses under open-loop load, side by side, and the report of it.

use std::{collections::BTreeSet, time::Duration};

use mesh_bench::bus::{self, Plan, Way};
use mesh_fabric::{bus::Transit, dapr, state};
use mesh_runtime::settings::parse_duration;

use crate::{
    exit::{Exit, Failure},
    load::{rate, watched},
    output::{Format, Output},
};

/// Which buses, how many events, and for how long.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// memory, sqlite:DIR, or dapr (dapr:STORE/BUS): the sidecar that DAPR_GRPC_PORT tells
    #[arg(required = true, value_name = "BUS")]
    buses: Vec<state::Place>,
    /// Events per second; several are steps, one after the other
    #[arg(long, required = true, value_name = "N", value_delimiter = ',', value_parser = rate)]
    rate: Vec<f64>,
    /// How events are given to the bus: each in a call of its own, or all that are due in one
    #[arg(long, value_enum, value_delimiter = ',', default_value = "single,bulk")]
    way: Vec<WayName>,
    /// How long each step is measured
    #[arg(long = "for", value_name = "TIME", default_value = "10s", value_parser = parse_duration)]
    measured: Duration,
    /// How long each step runs before it is measured
    #[arg(long, value_name = "TIME", default_value = "2s", value_parser = parse_duration)]
    warm_up: Duration,
    /// How large an event's body is, in bytes
    #[arg(long, value_name = "BYTES", default_value = "512", value_parser = clap::value_parser!(u32).range(24..=524_288))]
    body: u32,
    /// How many keys there are; events of one key stay in order
    #[arg(long, value_name = "N", default_value = "1024", value_parser = clap::value_parser!(u64).range(1..))]
    keys: u64,
    /// Where the events go; with brokers that want it, this topic must be there
    #[arg(long, value_name = "TOPIC", default_value = "a2a.load.v1")]
    topic: mesh_fabric::bus::Topic,
    /// Report the processor time of a process on this machine, too: a sidecar, a broker; repeatable
    #[arg(long, value_name = "NAME=PID", value_parser = watched)]
    watch: Vec<(String, u32)>,
}

#[derive(Clone, Copy, Debug, clap::ValueEnum)]
enum WayName {
    Single,
    Bulk,
}

/// Opens a bus, and says what it is called in the report.
async fn open(place: &state::Place) -> Result<(String, Transit), mesh_fabric::bus::Error> {
    let (name, bus) = match place {
        state::Place::Memory => ("memory", Transit::open(place).await?),
        state::Place::Sqlite(_) => ("sqlite", Transit::open(place).await?),
        state::Place::Dapr { bus, .. } => {
            // A load asks for nothing but to be carried.
            let settings = dapr::Settings {
                needs: BTreeSet::new(),
                bus: bus.clone(),
                ..dapr::Settings::default()
            };
            ("dapr", Transit::dapr(settings).await?)
        }
    };
    Ok((name.to_owned(), bus))
}

pub(crate) async fn run(args: Args, output: &Output) -> Result<Exit, Failure> {
    let mut places = Vec::new();
    for place in &args.buses {
        let (name, bus) = open(place).await.map_err(Failure::role)?;
        let watched = match place {
            state::Place::Memory | state::Place::Sqlite(_) => Vec::new(),
            state::Place::Dapr { .. } => args.watch.clone(),
        };
        places.push(bus::Place { name, bus, watched });
    }
    let way = |way: &WayName| match way {
        WayName::Single => Way::Single,
        WayName::Bulk => Way::Bulk,
    };
    let plan = Plan {
        ways: args.way.iter().map(way).collect(),
        rates: args.rate,
        measured: args.measured,
        warm_up: args.warm_up,
        body: usize::try_from(args.body).unwrap_or(usize::MAX),
        keys: args.keys,
        topic: args.topic,
        group: "load".to_owned(),
    };
    let report = bus::run(&plan, &places).await.map_err(Failure::role)?;
    match output.format {
        Format::Json => output.json(&report)?,
        Format::Text => output.raw(&report.text()),
    }
    Ok(Exit::Ok)
}

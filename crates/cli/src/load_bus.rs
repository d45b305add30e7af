//! `daca load-bus`: buses under open-loop load, side by side, and the report of it.

use std::{collections::BTreeSet, time::Duration};

use anyhow::Context as _;
use mesh_bench::bus::{self, Load, Plan, Way};
use mesh_fabric::{
    bus::{Inlet, Topic, Transit},
    dapr, state,
};
use mesh_runtime::{
    drain::{self, Drain},
    net,
    settings::parse_duration,
};

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
    topic: Topic,
    /// Run the load on the sidecar's bus once more, where the sidecar brings the events in batches to this
    /// address: that of its --app-port, with --app-protocol http; the broker must be Kafka
    #[arg(long, value_name = "HOST:PORT")]
    batches_at: Option<String>,
    /// Where the events of that run go
    #[arg(long, value_name = "TOPIC", default_value = "a2a.load-batches.v1")]
    batches_topic: Topic,
    /// Report the processor time of a process on this machine, too: a sidecar, a broker; repeatable
    #[arg(long, value_name = "NAME=PID", value_parser = watched)]
    watch: Vec<(String, u32)>,
}

#[derive(Clone, Copy, Debug, clap::ValueEnum)]
enum WayName {
    Single,
    Bulk,
}

impl Args {
    /// Opens a bus; the sidecar's twice, where it is to bring batches, too.
    async fn open(&self, place: &state::Place) -> Result<Vec<bus::Place>, mesh_fabric::bus::Error> {
        let of = |name: &str, bus, topic: &Topic| bus::Place {
            name: name.to_owned(),
            bus,
            topic: topic.clone(),
            watched: match place {
                state::Place::Memory | state::Place::Sqlite(_) => Vec::new(),
                state::Place::Dapr { .. } => self.watch.clone(),
            },
        };
        let dapr = |bus: &str, batches: BTreeSet<String>| {
            // A load asks for nothing but to be carried.
            Transit::dapr(dapr::Settings {
                needs: BTreeSet::new(),
                bus: bus.to_owned(),
                batches,
                ..dapr::Settings::default()
            })
        };
        Ok(match place {
            state::Place::Memory => vec![of("memory", Transit::open(place).await?, &self.topic)],
            state::Place::Sqlite(_) => vec![of("sqlite", Transit::open(place).await?, &self.topic)],
            state::Place::Dapr { bus, .. } => {
                let streamed = dapr(bus, BTreeSet::new()).await?;
                let mut places = vec![of("dapr", streamed, &self.topic)];
                if self.batches_at.is_some() {
                    let topic = &self.batches_topic;
                    let brought = dapr(bus, BTreeSet::from([topic.to_string()])).await?;
                    places.push(of("dapr, in batches", brought, topic));
                }
                places
            }
        })
    }
}

/// Serves the port that the sidecar brings batches to.
async fn serve(address: &str, inlet: Inlet, drain: &Drain) -> Result<(), Failure> {
    let listener = net::Listener::bind(address).await;
    let listener = listener.with_context(|| format!("cannot listen on {address}"));
    let listener = listener.map_err(Failure::role)?;
    let service = move |request, _| {
        let inlet = inlet.clone();
        async move { inlet.answer(request).await }
    };
    let serving = net::serve(listener, net::Settings::default(), drain.clone(), service);
    drain.spawn("batches", serving);
    Ok(())
}

pub(crate) async fn run(args: Args, output: &Output) -> Result<Exit, Failure> {
    let mut places = Vec::new();
    for place in &args.buses {
        places.extend(args.open(place).await.map_err(Failure::role)?);
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
        group: "load".to_owned(),
    };
    let inlet = places.iter().find_map(|place| place.bus.inlet());
    if args.batches_at.is_some() && inlet.is_none() {
        let text = "--batches-at is for the bus of a sidecar: say dapr";
        return Err(Failure::usage(anyhow::anyhow!(text)));
    }
    let load = Load::listen(&plan, &places).await.map_err(Failure::role)?;
    // Only now: the sidecar asks at once, and once, what it is to bring.
    let (trigger, drain) = drain::channel();
    if let (Some(address), Some(inlet)) = (&args.batches_at, inlet) {
        serve(address, inlet, &drain).await?;
    }
    let report = load.run().await;
    trigger.drain(Duration::ZERO).await;
    match output.format {
        Format::Json => output.json(&report)?,
        Format::Text => output.raw(&report.text()),
    }
    Ok(Exit::Ok)
}

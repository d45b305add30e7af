//! The components that the contract is held on, with the settings that it takes to keep it, each with its
//! reason.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use anyhow::{Context as _, Result};
use mesh_fabric::{
    bus::{Inlet, Topic, Transit},
    dapr::{Need, Settings},
};
use mesh_runtime::{drain, net};
use mesh_tests::parts::{
    broker::{Broker, free_port},
    daprd::{Component, Daprd},
};

/// The name of the one group.
pub(crate) const GROUP: &str = "job";

/// Two processes' handles to a bus, with all that is behind them.
#[derive(Debug)]
pub(crate) struct Bench {
    /// What it is called in the table.
    pub(crate) name: &'static str,
    /// The one.
    pub(crate) a: Transit,
    /// The other.
    pub(crate) b: Transit,
    /// Whether one message is out at a time.
    pub(crate) is_serial: bool,
    /// How it was opened; unset for the embedded forms.
    pub(crate) settings: Option<Settings>,
    /// Its sidecars: that of `a`, and that of `b`.
    pub(crate) sidecars: Vec<Daprd>,
    /// What is behind them.
    pub(crate) broker: Option<Broker>,
}

impl Bench {
    /// Two handles to an embedded form.
    #[must_use]
    pub(crate) fn embedded(name: &'static str, a: Transit, b: Transit) -> Self {
        Self {
            name,
            a,
            b,
            is_serial: false,
            settings: None,
            sidecars: Vec::new(),
            broker: None,
        }
    }

    async fn dapr(
        name: &'static str,
        broker: Option<Broker>,
        sidecars: Vec<Daprd>,
        settings: Settings,
    ) -> Result<Self> {
        let open = async |sidecar: &Daprd| {
            let settings = Settings {
                endpoint: sidecar.endpoint(),
                ..settings.clone()
            };
            Transit::dapr(settings).await
        };
        let first = sidecars.first().context("there is a sidecar")?;
        let a = open(first).await?;
        let b = match sidecars.get(1) {
            Some(second) => open(second).await?,
            None => a.clone(),
        };
        let settings = Settings {
            endpoint: first.endpoint(),
            ..settings
        };
        Ok(Self {
            name,
            a,
            b,
            is_serial: false,
            settings: Some(settings),
            sidecars,
            broker,
        })
    }
}

fn settings(lacks: &[Need]) -> Settings {
    let needs = BTreeSet::from(Need::ALL);
    Settings {
        token: None,
        groups: BTreeMap::from([(GROUP.to_owned(), "pubsub".to_owned())]),
        needs: needs
            .into_iter()
            .filter(|need| !lacks.contains(need))
            .collect(),
        ..Settings::default()
    }
}

async fn sidecars<const N: usize>(components: &[Component]) -> Result<Option<Vec<Daprd>>> {
    let mut started = Vec::new();
    for _ in 0..N {
        match Daprd::start(components).await? {
            Some(sidecar) => started.push(sidecar),
            None => return Ok(None),
        }
    }
    Ok(Some(started))
}

/// The toy: within one sidecar, and nothing is brought again.
pub(crate) async fn in_memory() -> Result<Option<Bench>> {
    let components = [Component::new("pubsub", "pubsub.in-memory", &[])];
    let Some(sidecars) = sidecars::<1>(&components).await? else {
        return Ok(None);
    };
    let lacks = [
        Need::Durable,
        Need::Groups,
        Need::Broadcast,
        Need::Redelivery,
    ];
    let settings = Settings {
        broadcast: "pubsub".to_owned(),
        ..settings(&lacks)
    };
    Bench::dapr("dapr in-memory", None, sidecars, settings)
        .await
        .map(Some)
}

/// Redis streams.
pub(crate) async fn redis() -> Result<Option<Bench>> {
    let Some(broker) = Broker::redis().await? else {
        return Ok(None);
    };
    let address = broker.address();
    let shared = [
        ("redisHost", address.as_str()),
        // One after the other within a process; its ten workers would mix a key's messages.
        ("concurrency", "1"),
        // What a sidecar has not answered after five seconds goes to another, looked for each second.
        ("processingTimeout", "5s"),
        ("redeliverInterval", "1s"),
    ];
    let with = |id: &'static str| [&shared[..], &[("consumerID", id)]].concat();
    let components = [
        Component::new("pubsub", "pubsub.redis", &with(GROUP)),
        Component::new("pubsub-broadcast", "pubsub.redis", &with("{uuid}")),
    ];
    let Some(sidecars) = sidecars::<2>(&components).await? else {
        return Ok(None);
    };
    let mut bench = Bench::dapr(
        "dapr redis",
        Some(broker),
        sidecars,
        settings(&[Need::Order]),
    )
    .await?;
    bench.is_serial = true;
    Ok(Some(bench))
}

/// NATS JetStream, with a component for each topic of a group.
pub(crate) async fn jetstream(topics: &[Topic]) -> Result<Option<Bench>> {
    let Some(broker) = Broker::nats().await? else {
        return Ok(None);
    };
    broker.stream("bus", &["a2a.*.*"]).await?;
    // In a stream of their own, whatever else is known again by its id there.
    broker.stream("dead", &["a2a.dlq.*.*"]).await?;
    let url = format!("nats://{}", broker.address());
    let mut components = vec![
        Component::new("pubsub", "pubsub.jetstream", &[("natsURL", &url)]),
        Component::new(
            "pubsub-broadcast",
            "pubsub.jetstream",
            // No durable name: a consumer for each sidecar, from now on.
            &[("natsURL", &url), ("deliverPolicy", "new")],
        ),
    ];
    let mut settings = settings(&[]);
    for topic in topics {
        let name = format!("bus-{}", topic.as_str().replace('.', "-"));
        let metadata = [
            ("natsURL", url.as_str()),
            ("durableName", &name),
            ("queueGroupName", &name),
            // One at a time over all members: it is what keeps a key's order.
            ("maxAckPending", "1"),
            ("ackWait", "5s"),
        ];
        components.push(Component::new(&name, "pubsub.jetstream", &metadata));
        settings.groups.insert(format!("{GROUP}@{topic}"), name);
    }
    let Some(sidecars) = sidecars::<2>(&components).await? else {
        return Ok(None);
    };
    let mut bench = Bench::dapr("dapr jetstream", Some(broker), sidecars, settings).await?;
    bench.is_serial = true;
    Ok(Some(bench))
}

/// Kafka, which keeps all of it.
pub(crate) async fn kafka(topics: &[Topic]) -> Result<Option<Bench>> {
    let Some((broker, components)) = kafka_alone(topics).await? else {
        return Ok(None);
    };
    let Some(sidecars) = sidecars::<2>(&components).await? else {
        return Ok(None);
    };
    Bench::dapr("dapr kafka", Some(broker), sidecars, settings(&[]))
        .await
        .map(Some)
}

/// The same; the sidecar of `b` brings these topics in batches to a port of `b`'s.
pub(crate) async fn kafka_in_batches(topics: &[Topic]) -> Result<Option<(Bench, Door)>> {
    let Some((broker, components)) = kafka_alone(topics).await? else {
        return Ok(None);
    };
    let port = free_port()?;
    let (a, b) = tokio::try_join!(
        Daprd::start(&components),
        Daprd::start_for(&components, port, "")
    )?;
    let (Some(a), Some(b)) = (a, b) else {
        return Ok(None);
    };
    let (endpoint, sidecars) = (b.endpoint(), vec![a, b]);
    let mut bench = Bench::dapr("dapr kafka", Some(broker), sidecars, settings(&[])).await?;
    let batches = topics.iter().map(Topic::to_string).collect();
    bench.b = Transit::dapr(Settings {
        endpoint,
        batches,
        ..settings(&[])
    })
    .await?;
    let door = Door::new(port, &bench.b)?;
    Ok(Some((bench, door)))
}

/// A port that a sidecar brings batches to.
#[derive(Debug)]
pub(crate) struct Door {
    port: u16,
    inlet: Inlet,
    brought: Arc<AtomicUsize>,
    _trigger: drain::Trigger,
    drain: drain::Drain,
}

impl Door {
    fn new(port: u16, bus: &Transit) -> Result<Self> {
        let (trigger, drain) = drain::channel();
        Ok(Self {
            port,
            inlet: bus.inlet().context("it brings batches")?,
            brought: Arc::default(),
            _trigger: trigger,
            drain,
        })
    }

    /// Opens it, once all that listens has subscribed: its sidecar asks then what it is to bring.
    pub(crate) async fn open(&self) -> Result<()> {
        let listener = net::Listener::bind(&format!("127.0.0.1:{}", self.port)).await?;
        let (inlet, brought) = (self.inlet.clone(), Arc::clone(&self.brought));
        let service = move |request: http::Request<_>, _| {
            let (inlet, brought) = (inlet.clone(), Arc::clone(&brought));
            async move {
                if request.method() == http::Method::POST {
                    brought.fetch_add(1, Ordering::Relaxed);
                }
                inlet.answer(request).await
            }
        };
        let serving = net::serve(
            listener,
            net::Settings::default(),
            self.drain.clone(),
            service,
        );
        self.drain.spawn("door", serving);
        Ok(())
    }

    /// How many batches have come.
    pub(crate) fn brought(&self) -> usize {
        self.brought.load(Ordering::Relaxed)
    }
}

/// A broker with its topics, and what its sidecars are told of it.
pub(crate) async fn kafka_alone(topics: &[Topic]) -> Result<Option<(Broker, [Component; 2])>> {
    let Some(broker) = Broker::kafka().await? else {
        return Ok(None);
    };
    let names: Vec<_> = topics.iter().map(Topic::to_string).collect();
    broker.topics(&names).await?;
    let address = broker.address();
    let shared = [
        ("brokers", address.as_str()),
        ("authType", "none"),
        ("version", "3.0.0"),
        // While a partition has no leader, as after its start; each try is a tenth of a second.
        ("producerRetryMax", "30"),
        // A sidecar that has no topic left does not leave its group: the others wait for its session to
        // end before they are given its partitions. Each clause is such a change; in production there is
        // none, and Kafka's own ten seconds are right.
        ("sessionTimeout", "2s"),
        ("heartbeatInterval", "500ms"),
    ];
    let with = |group: &'static str, offset: &'static str| {
        let own = [("consumerGroup", group), ("initialOffset", offset)];
        [&shared[..], &own].concat()
    };
    let components = [
        // From the beginning: by default a new group misses what came before it.
        Component::new("pubsub", "pubsub.kafka", &with(GROUP, "oldest")),
        Component::new(
            "pubsub-broadcast",
            "pubsub.kafka",
            &with("{uuid}", "newest"),
        ),
    ];
    Ok(Some((broker, components)))
}

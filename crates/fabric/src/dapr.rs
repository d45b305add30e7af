//! A Dapr sidecar as this mesh uses it: a few lazy channels, a deadline on each call, a bound on how
//! many are under way.
//!
//! Of crate `dapr` only the generated stubs are used: its own client connects at once, waits without end
//! and has neither bulk publish nor streams.
//!
//! # Invariants
//! - No call is made before it is asked for, and none waits longer than [`Settings::deadline`], but for
//!   streams.
//! - At most [`Settings::in_flight`] calls are under way; the others wait their turn within their deadline.
//! - The token goes to the sidecar alone and is never printed.

mod blocks;
mod configuration;

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    future::Future,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use dapr::dapr::proto::runtime::v1::{
    GetMetadataRequest, RegisteredComponents, dapr_client::DaprClient,
};
use tokio::sync::Semaphore;
use tonic::{
    Request, Status,
    metadata::{Ascii, MetadataValue},
    service::{Interceptor, interceptor::InterceptedService},
    transport::{Channel, Endpoint},
};

pub use blocks::{Answer, Blocks, DEADLINE, Failed, Invocation, Secret};
pub use configuration::Changes;

/// The largest answer that is read, in bytes: a value of the store with its envelope.
const ANSWER_BYTES: usize = 24 << 20;

/// Connections to the sidecar. One would carry all, but a large answer keeps the others behind it.
const CHANNELS: usize = 3;

/// How often an idle connection is asked whether it lives, and how long it may take to say so.
const KEEP_ALIVE: (Duration, Duration) = (Duration::from_secs(10), Duration::from_secs(5));

/// How long it is waited between two looks for a sidecar that is not there yet.
const LOOK: Duration = Duration::from_millis(200);

/// Where the sidecar is, and which of its components are ours.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Settings {
    /// Its gRPC API. Default: `DAPR_GRPC_ENDPOINT`, else port `DAPR_GRPC_PORT` on loopback, else 50001,
    /// which is Dapr's own default.
    pub endpoint: String,
    /// What it wants to be shown. Default: `DAPR_API_TOKEN`.
    pub token: Option<Token>,
    /// How long a call may take. Default 5 s: Dapr has no deadline of its own.
    pub deadline: Duration,
    /// How long its start is waited for. Default 60 s: beside it in a pod it may come up later.
    pub patience: Duration,
    /// How many calls may be under way. Default 128.
    pub in_flight: usize,
    /// The state store component. Default `statestore`, as `dapr init` calls it.
    pub store: String,
    /// The component that messages are published to. Default `pubsub`, as `dapr init` calls it.
    pub bus: String,
    /// The component by which each process has its own copy. Default `pubsub-broadcast`.
    pub broadcast: String,
    /// The component of a group, by `GROUP` or `GROUP@TOPIC`, the latter first. A group that is not here
    /// uses the component that is called as [`Settings::bus`] with the topic behind it
    /// (`pubsub-a2a-push-v1`), where there is one, else [`Settings::bus`]. Redis and Kafka have one group
    /// for a component, JetStream one group and one topic.
    pub groups: BTreeMap<String, String>,
    /// What the bus must keep. Default all: a component that can't is refused at the start.
    pub needs: BTreeSet<Need>,
    /// The topics whose groups the sidecar brings in batches to this program's own port, instead of by a stream. Each had best have a component of its own: a
    /// sidecar carries one batch of a component at a time. Default none.
    pub batches: BTreeSet<String>,
}

/// Something that a bus can be asked to keep.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub enum Need {
    /// What was published outlives the sidecar.
    Durable,
    /// Members of a group in several processes share a topic's messages.
    Groups,
    /// Each process has its own copy of a broadcast.
    Broadcast,
    /// Messages of one key come in their order, to whichever member of a group.
    Order,
    /// What was not done arrives again.
    Redelivery,
}

impl Need {
    /// All of them.
    pub const ALL: [Self; 5] = [
        Self::Durable,
        Self::Groups,
        Self::Broadcast,
        Self::Order,
        Self::Redelivery,
    ];

    /// What a component lacks that does not keep it.
    #[must_use]
    pub const fn lack(self) -> &'static str {
        match self {
            Self::Durable => "forgets what was published",
            Self::Groups => "has no groups over several processes",
            Self::Broadcast => "has no broadcast over several processes",
            Self::Order => "keeps no order of a key between members of a group",
            Self::Redelivery => "does not bring back what was not done",
        }
    }
}

/// Whether the environment names a sidecar.
#[must_use]
pub fn is_beside() -> bool {
    let is_set = |name| std::env::var_os(name).is_some_and(|value| !value.is_empty());
    ["DAPR_GRPC_PORT", "DAPR_GRPC_ENDPOINT"]
        .into_iter()
        .any(is_set)
}

/// What the sidecar wants to be shown.
#[derive(Clone, Eq, PartialEq)]
pub struct Token(String);

impl Token {
    /// A token.
    #[must_use]
    pub const fn new(text: String) -> Self {
        Self(text)
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token(..)")
    }
}

impl Default for Settings {
    fn default() -> Self {
        let variable = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
        let port = variable("DAPR_GRPC_PORT").unwrap_or_else(|| "50001".to_owned());
        let endpoint = variable("DAPR_GRPC_ENDPOINT");
        Self {
            endpoint: endpoint.unwrap_or_else(|| format!("http://127.0.0.1:{port}")),
            token: variable("DAPR_API_TOKEN").map(Token),
            deadline: Duration::from_secs(5),
            patience: Duration::from_secs(60),
            in_flight: 128,
            store: "statestore".to_owned(),
            bus: "pubsub".to_owned(),
            broadcast: "pubsub-broadcast".to_owned(),
            groups: BTreeMap::new(),
            needs: Need::ALL.into(),
            batches: BTreeSet::new(),
        }
    }
}

/// Why the sidecar can't be used.
#[derive(Debug, thiserror::Error)]
pub enum Unusable {
    /// What the settings say can't be.
    #[error("{0:?} is no address of a sidecar, or its token no header")]
    Address(String),
    /// It was not up in time.
    #[error("the sidecar at {endpoint} does not answer")]
    Silent {
        /// Where it was looked for.
        endpoint: String,
        /// What it said last.
        #[source]
        source: Box<Status>,
    },
    /// It has no such component.
    #[error("the sidecar has no component {missing:?}; it has {there}")]
    Component {
        /// What was looked for.
        missing: String,
        /// What there is.
        there: String,
    },
    /// The component is of a kind that can't do what is needed.
    #[error("{0}")]
    Lacking(String),
}

pub(crate) type Stub = DaprClient<InterceptedService<Channel, Shown>>;

/// What a sidecar says of a component.
#[derive(Clone, Debug)]
pub(crate) struct Component {
    /// Its type: `state.redis`.
    pub(crate) kind: String,
    /// What it can: `ETAG`, `TTL`.
    pub(crate) capabilities: Vec<String>,
}

/// A sidecar. Clones use the same connections.
#[derive(Clone)]
pub(crate) struct Sidecar {
    stubs: Arc<[Stub]>,
    next: Arc<AtomicUsize>,
    turns: Arc<Semaphore>,
    deadline: Duration,
}

impl fmt::Debug for Sidecar {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sidecar").finish_non_exhaustive()
    }
}

/// Shows the token with each call.
#[derive(Clone)]
pub(crate) struct Shown(Option<MetadataValue<Ascii>>);

impl Interceptor for Shown {
    fn call(&mut self, mut request: Request<()>) -> Result<Request<()>, Status> {
        if let Some(token) = &self.0 {
            request
                .metadata_mut()
                .insert("dapr-api-token", token.clone());
        }
        Ok(request)
    }
}

impl Sidecar {
    /// A client, which connects when it is used first.
    pub(crate) fn new(settings: &Settings) -> Result<Self, Unusable> {
        let address = || Unusable::Address(settings.endpoint.clone());
        let endpoint = Endpoint::from_shared(settings.endpoint.clone()).map_err(|_| address())?;
        let endpoint = endpoint
            .connect_timeout(settings.deadline)
            .http2_keep_alive_interval(KEEP_ALIVE.0)
            .keep_alive_timeout(KEEP_ALIVE.1)
            .keep_alive_while_idle(true);
        let token = match &settings.token {
            None => None,
            Some(Token(text)) => {
                let mut token = MetadataValue::try_from(text.as_str()).map_err(|_| address())?;
                token.set_sensitive(true);
                Some(token)
            }
        };
        let stub = |_| {
            let channel = endpoint.connect_lazy();
            DaprClient::with_interceptor(channel, Shown(token.clone()))
                .max_decoding_message_size(ANSWER_BYTES)
                .max_encoding_message_size(ANSWER_BYTES)
        };
        Ok(Self {
            stubs: (0..CHANNELS).map(stub).collect(),
            next: Arc::default(),
            turns: Arc::new(Semaphore::new(settings.in_flight.max(1))),
            deadline: settings.deadline,
        })
    }

    /// A stub for a stream, which has no deadline.
    pub(crate) fn stub(&self) -> Stub {
        let turn = self.next.fetch_add(1, Ordering::Relaxed);
        // There are always some.
        self.stubs[turn % self.stubs.len()].clone()
    }

    /// Makes a call in its turn, within the deadline.
    pub(crate) async fn call<T, F>(&self, call: impl FnOnce(Stub) -> F) -> Result<T, Status>
    where
        F: Future<Output = Result<tonic::Response<T>, Status>>,
    {
        let made = tokio::time::timeout(self.deadline, async {
            let turn = self.turns.acquire().await;
            let _turn = turn.map_err(|_| Status::cancelled("closed"))?;
            call(self.stub()).await
        });
        match made.await {
            Ok(answer) => answer.map(tonic::Response::into_inner),
            Err(_) => Err(Status::deadline_exceeded(
                "the sidecar did not answer in time",
            )),
        }
    }

    /// The types of the components, all that are named among them, as soon as the sidecar is up.
    pub(crate) async fn kinds(
        &self,
        settings: &Settings,
        names: &BTreeSet<String>,
    ) -> Result<BTreeMap<String, String>, Unusable> {
        let there = self.components(settings, names).await?.into_iter();
        Ok(there.map(|(name, each)| (name, each.kind)).collect())
    }

    /// The components, all that are named among them, as soon as the sidecar is up: it serves its API
    /// once its components are.
    pub(crate) async fn components(
        &self,
        settings: &Settings,
        names: &BTreeSet<String>,
    ) -> Result<BTreeMap<String, Component>, Unusable> {
        let begun = tokio::time::Instant::now();
        loop {
            let asked = self
                .call(async move |mut stub: Stub| stub.get_metadata(GetMetadataRequest {}).await);
            let source = match asked.await {
                Ok(metadata) => {
                    let there = metadata.registered_components.into_iter();
                    let component = |each: RegisteredComponents| Component {
                        kind: each.r#type,
                        capabilities: each.capabilities,
                    };
                    let there: BTreeMap<_, _> = there
                        .map(|each| (each.name.clone(), component(each)))
                        .collect();
                    return match names.iter().find(|name| !there.contains_key(*name)) {
                        None => Ok(there),
                        Some(missing) => Err(Unusable::Component {
                            missing: missing.clone(),
                            there: format!("{:?}", there.keys().collect::<Vec<_>>()),
                        }),
                    };
                }
                Err(source) => source,
            };
            if begun.elapsed() > settings.patience {
                return Err(Unusable::Silent {
                    endpoint: settings.endpoint.clone(),
                    source: Box::new(source),
                });
            }
            tokio::time::sleep(LOOK).await;
        }
    }
}

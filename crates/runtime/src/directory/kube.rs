//! Members from Kubernetes: the endpoints of a service, from all of its EndpointSlices.
//!
//! One watch per service and port, over which kube's watcher lists (streaming, where the server can)
//! and follows. This file keeps what it says in order, and notices when it says nothing.
//!
//! # Invariants
//! - A relist replaces everything at its end, not before: while it runs, what was known stays.
//! - A version that has expired (410, as an event or as a status) leads to a new list, never to a loop.
//! - The server is heard from at least once per watch period, or the source counts as out of touch.

use std::{collections::BTreeMap, time::Duration};

use futures_util::StreamExt as _;
use http_body_util::BodyExt as _;
use k8s_openapi::api::discovery::v1::EndpointSlice;
use kube::{
    Api, Client,
    client::ClientBuilder,
    config::{Config, KubeConfigOptions, Kubeconfig},
    runtime::{
        WatchStreamExt as _,
        watcher::{self, Event},
    },
};
use tokio::time::{Instant, sleep, sleep_until};
use tower::util::MapResponseLayer;
use tracing::debug;

use super::{
    Error, Port, settings,
    sight::{Peer, Share, Teller, roster},
};
use crate::drain::Drain;

mod slices;

/// Names the service of a slice.
const SERVICE: &str = "kubernetes.io/service-name";
/// How long a streaming list may take before it is taken for one that the server does not know.
const LISTED_WITHIN: Duration = Duration::from_secs(10);
/// How much longer than a watch lasts the server may be silent: kube's own limit is at five seconds,
/// and tells nobody.
const SILENCE: Duration = Duration::from_secs(3);
/// Between two lists that both had to be given up.
const PAUSE: Duration = Duration::from_secs(1);

/// The API server, as far as it was told where it is.
#[derive(Clone)]
pub(super) struct Server(Config);

impl Server {
    /// The kubeconfig that is named, else the pod's service account, else the user's kubeconfig.
    ///
    /// # Errors
    /// [`Error::Kubeconfig`].
    pub(super) async fn find(settings: &settings::Kube) -> Result<Self, Error> {
        let options = KubeConfigOptions::default();
        let config = match &settings.kubeconfig {
            Some(path) => {
                let wrong = |error: kube::config::KubeconfigError| {
                    Error::Kubeconfig(format!("{}: {error}", path.display()))
                };
                let read = Kubeconfig::read_from(path).map_err(wrong)?;
                Config::from_custom_kubeconfig(read, &options)
                    .await
                    .map_err(wrong)?
            }
            None => match Config::incluster() {
                Ok(config) => config,
                Err(in_cluster) => Config::from_kubeconfig(&options).await.map_err(|outside| {
                    let why = format!("in a cluster: {in_cluster}; outside: {outside}");
                    Error::Kubeconfig(why)
                })?,
            },
        };
        Ok(Self::at(config, settings))
    }

    fn at(mut config: Config, settings: &settings::Kube) -> Self {
        config.connect_timeout = Some(Duration::from_secs(5));
        config.read_timeout = Some(settings.watch + SILENCE);
        config.reset_reader_on_write = true;
        Self(config)
    }
}

/// A service whose slices are watched.
pub(super) struct Source {
    api: Api<EndpointSlice>,
    selector: String,
    port: Option<Port>,
    watch_seconds: u32,
    shares: Vec<Share>,
    teller: Teller,
    /// By their names.
    slices: BTreeMap<String, EndpointSlice>,
    /// The slices of a list that has not ended yet.
    listing: Option<BTreeMap<String, EndpointSlice>>,
    /// Whether the server is asked to stream its lists.
    is_streaming: bool,
}

/// Why one stream of events is given up for another.
enum Over {
    /// The drain.
    Drain,
    /// A wish to look again.
    Asked,
    /// A fault that the watcher itself would not get over.
    Fault,
}

impl Source {
    /// # Errors
    /// [`Error::Kubeconfig`], where no client can be made of it.
    pub(super) fn new(
        server: &Server,
        settings: &settings::Kube,
        (namespace, service, port): (&str, &str, Option<Port>),
        shares: Vec<Share>,
        teller: Teller,
    ) -> Result<Self, Error> {
        let client = client(server, &teller)?;
        Ok(Self {
            api: Api::namespaced(client, namespace),
            selector: format!("{SERVICE}={service}"),
            port,
            watch_seconds: u32::try_from(settings.watch.as_secs().max(1)).unwrap_or(u32::MAX),
            shares,
            teller,
            slices: BTreeMap::new(),
            listing: None,
            is_streaming: true,
        })
    }

    /// Watches until the drain is signaled.
    pub(super) async fn follow(mut self, drain: Drain) {
        loop {
            match self.stream(&drain).await {
                Over::Drain => return,
                Over::Asked => {}
                Over::Fault => tokio::select! {
                    () = drain.signaled() => return,
                    () = sleep(PAUSE) => {}
                },
            }
        }
    }

    /// One list and what follows it.
    async fn stream(&mut self, drain: &Drain) -> Over {
        let mut config = watcher::Config::default()
            .labels(&self.selector)
            .timeout(self.watch_seconds);
        if self.is_streaming {
            config = config.streaming_lists();
        }
        let events = watcher::watcher(self.api.clone(), config);
        let mut events = events.default_backoff().boxed();
        self.listing = None;
        let mut patience = None;
        loop {
            let until = patience.unwrap_or_else(Instant::now);
            let event = tokio::select! {
                () = drain.signaled() => return Over::Drain,
                () = self.teller.asked() => return Over::Asked,
                () = sleep_until(until), if patience.is_some() => {
                    debug!("the API server did not end its streaming list; listing by pages");
                    self.is_streaming = false;
                    return Over::Fault;
                }
                event = events.next() => event,
            };
            match event {
                Some(Ok(event)) => {
                    let is_first = matches!(event, Event::Init);
                    self.take(event);
                    if is_first && self.is_streaming {
                        patience = Some(Instant::now() + LISTED_WITHIN);
                    }
                    if self.listing.is_none() {
                        patience = None;
                    }
                }
                Some(Err(error)) => {
                    self.teller.touch.lose(&error);
                    patience = None;
                    if self.is_for_good(&error) {
                        return Over::Fault;
                    }
                }
                None => return Over::Fault,
            }
        }
    }

    /// Whether the watcher would run into the same error for ever.
    fn is_for_good(&mut self, error: &watcher::Error) -> bool {
        let watcher::Error::WatchStartFailed(kube::Error::Api(status)) = error else {
            return false;
        };
        match status.code {
            // Before its first list the watcher starts with a list anyway.
            410 => true,
            // "sendInitialEvents" is not known, or not to everybody.
            400 | 403 | 404 | 405 | 422 if self.is_streaming && self.slices.is_empty() => {
                self.is_streaming = false;
                true
            }
            _ => false,
        }
    }

    fn take(&mut self, event: Event<EndpointSlice>) {
        match event {
            Event::Init => self.listing = Some(BTreeMap::new()),
            Event::InitApply(slice) => {
                let listing = self.listing.get_or_insert_default();
                listing.insert(name(&slice), slice);
            }
            Event::InitDone => {
                self.slices = self.listing.take().unwrap_or_default();
                let roster = roster(&self.peers(), &self.shares);
                self.teller.looked(roster);
            }
            Event::Apply(slice) => {
                self.slices.insert(name(&slice), slice);
                self.tell();
            }
            Event::Delete(slice) => {
                self.slices.remove(&name(&slice));
                self.tell();
            }
        }
    }

    fn tell(&self) {
        self.teller.tell(roster(&self.peers(), &self.shares));
        self.teller.touch.keep();
    }

    fn peers(&self) -> Vec<Peer> {
        slices::merge(self.slices.values(), self.port.as_ref())
    }
}

fn name(slice: &EndpointSlice) -> String {
    slice.metadata.name.clone().unwrap_or_default()
}

/// A client that tells the source of each sign of life: the watcher keeps bookmarks and new watches to
/// itself.
fn client(server: &Server, teller: &Teller) -> Result<Client, Error> {
    let wrong = |error: kube::Error| Error::Kubeconfig(error.to_string());
    let builder = ClientBuilder::try_from(server.0.clone()).map_err(wrong)?;
    let touch = teller.touch.clone();
    let heard = MapResponseLayer::new(
        move |response: http::Response<Box<kube::client::DynBody>>| {
            let is_good = response.status().is_success();
            if is_good {
                touch.keep();
            }
            let touch = touch.clone();
            response.map(|body| {
                body.map_frame(move |frame| {
                    if is_good {
                        touch.keep();
                    }
                    frame
                })
            })
        },
    );
    Ok(builder.with_layer(&heard).build())
}

#[cfg(test)]
mod tests;

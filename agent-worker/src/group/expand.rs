//! Takes chunks from the bus and asks their members.
//!
//! # Invariants
//! - A chunk is done when each member has ended, or the group's task rests: then what its members still
//!   do is canceled.
//! - What is known of members is in the store within [`FLUSH`], however long the others take.

use std::{collections::BTreeMap, time::Duration};

use bytes::Bytes;
use futures_util::{StreamExt as _, stream};
use mesh_fabric::bus::{self, Delivery, Reach, Subscription};
use mesh_runtime::drain::Drain;
use serde::{Deserialize, Serialize};
use tokio::{
    sync::mpsc,
    time::{Instant, MissedTickBehavior},
};
use tokio_util::sync::CancellationToken;
use tracing::warn;

use super::{Fanout, GROUP, Inner, LONGEST, member::Question, topic};
use crate::{
    record::{CHUNK, Chunk, End, Scope, Seat, TaskKey},
    session::CallContext,
};

/// What a message on the bus says: which chunk of which task.
#[derive(Debug, Deserialize, Serialize)]
pub(super) struct Order {
    agent: mesh_proto::AgentName,
    tenant: String,
    principal: String,
    task: String,
    chunk: u32,
}

impl Order {
    pub(super) fn of(key: &TaskKey, chunk: u32) -> Self {
        Self {
            agent: key.scope.agent.clone(),
            tenant: key.scope.tenant.clone(),
            principal: key.scope.principal.clone(),
            task: key.id.clone(),
            chunk,
        }
    }

    pub(super) fn encode(&self) -> Bytes {
        serde_json::to_vec(self).unwrap_or_default().into()
    }

    fn key(self) -> (TaskKey, u32) {
        let scope = Scope {
            agent: self.agent,
            tenant: self.tenant,
            principal: self.principal,
        };
        let id = self.task;
        (TaskKey { scope, id }, self.chunk)
    }
}

impl Fanout {
    /// Takes chunks from the bus until the drain; does nothing where no router is known.
    ///
    /// # Errors
    /// Those of [`bus::Transit::subscribe`].
    pub async fn serve(&self, drain: &Drain) -> Result<(), bus::Error> {
        let settings = &self.0.settings;
        if settings.router.is_none() {
            return Ok(());
        }
        let subscription = || Subscription {
            in_flight: settings.chunks.max(1),
            deadline: LONGEST + LATE * 2,
            attempts: ATTEMPTS,
            ..Subscription::new(topic(), Reach::Group(GROUP.to_owned()))
        };
        let mut deliveries = self.0.bus.subscribe(subscription()).await?;
        let (fanout, ask, spawner) = (self.clone(), subscription(), drain.clone());
        drain.spawn("group chunks", async move {
            loop {
                let next = tokio::select! {
                    () = spawner.signaled() => return,
                    next = deliveries.next() => next,
                };
                if let Some(delivery) = next {
                    fanout.take(delivery, &spawner);
                    continue;
                }
                match fanout.0.bus.subscribe(ask.clone()).await {
                    Ok(anew) => deliveries = anew,
                    Err(error) => {
                        warn!(%error, "the chunks of groups do not come");
                        tokio::time::sleep(AGAIN).await;
                    }
                }
            }
        });
        Ok(())
    }
    fn take(&self, delivery: Delivery, drain: &Drain) {
        let (fanout, end) = (self.clone(), drain.clone());
        drain.spawn("group chunk", async move {
            tokio::select! {
                // Left unsettled, it goes to another worker.
                () = end.signaled() => {}
                () = fanout.0.take(delivery) => {}
            }
        });
    }
}

impl Inner {
    async fn take(&self, delivery: Delivery) {
        let order: Order = match serde_json::from_slice(&delivery.message().body) {
            Ok(order) => order,
            Err(error) => return delivery.dead(&format!("no chunk: {error}")),
        };
        self.metrics.chunks.inc();
        let (key, number) = order.key();
        match self.expand(&key, number).await {
            Ok(()) => delivery.done().await,
            Err(error) => {
                warn!(%error, task = %key.id, number, "a chunk is tried again");
                delivery.again(&error.to_string());
            }
        }
    }

    /// Asks the members of a chunk that have not ended, and notes what they answer.
    async fn expand(&self, key: &TaskKey, number: u32) -> Result<(), crate::record::Error> {
        let Some(chunk) = self.records.chunk(key, number).await? else {
            return Ok(());
        };
        let (Some(call), Some(head)) = (self.call(key).await?, self.records.fan_out(key).await?)
        else {
            self.let_all_go(chunk).await;
            return Ok(());
        };
        let stop = CancellationToken::new();
        let message = head.message.unwrap_or_default();
        let question = Question {
            key,
            message: &message,
            call: &call,
            keep: usize::try_from(head.keep).unwrap_or(usize::MAX),
            stop: &stop,
        };
        let (tell, mut told) = mpsc::channel(CHUNK);
        let open = (0..).zip(chunk.seats);
        let open = open.filter(|(_, seat)| seat.end() == End::Open);
        let mut asking = Box::pin(stream::iter(open).for_each_concurrent(
            CHUNK,
            |(place, seat): (usize, Seat)| {
                let (question, tell) = (&question, &tell);
                async move {
                    // The semaphore is never closed, and the other end of the channel is this future.
                    let _turn = self.calls.acquire().await.ok();
                    let seat = self.member(question, seat, (place, tell)).await;
                    tell.send((place, seat)).await.ok();
                }
            },
        ));
        let mut news: BTreeMap<usize, Seat> = BTreeMap::new();
        let mut tick = tokio::time::interval(FLUSH);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut looked = Instant::now();
        loop {
            tokio::select! {
                biased;
                Some((place, seat)) = told.recv() => {
                    news.insert(place, seat);
                }
                () = &mut asking => break,
                _ = tick.tick() => {
                    if !news.is_empty() {
                        self.records.report(key, number, &news).await?;
                        news.clear();
                    }
                    if looked.elapsed() >= LOOK && !stop.is_cancelled() {
                        looked = Instant::now();
                        let late = mesh_runtime::clock::unix_millis().saturating_sub(head.until);
                        let is_late = Duration::from_millis(late) > LATE;
                        // A store that does not answer is no reason to stop.
                        if is_late || matches!(self.call(key).await, Ok(None)) {
                            stop.cancel();
                        }
                    }
                }
            }
        }
        while let Ok((place, seat)) = told.try_recv() {
            news.insert(place, seat);
        }
        self.records.report(key, number, &news).await
    }

    /// Where the group's call comes from; `None` once its task rests, or is gone.
    async fn call(&self, key: &TaskKey) -> Result<Option<CallContext>, crate::record::Error> {
        let record = self.records.task(key).await?;
        let progress = record.and_then(|(record, _)| record.custody.progress);
        Ok(progress.map(|progress| progress.call()))
    }

    /// Cancels what the members of a task that rests still do. Credentials are gone with the task's
    /// turn: a member that asks for them is left to its own deadline.
    async fn let_all_go(&self, chunk: Chunk) {
        let open = chunk.seats.into_iter();
        let open = open.filter(|seat| seat.end() == End::Open && !seat.task.is_empty());
        let call = CallContext::default();
        let call = &call;
        let go = |seat: Seat| async move { self.let_go(&seat, call).await };
        stream::iter(open).for_each_concurrent(PARALLEL, go).await;
    }
}

/// How soon what members answered is in the store.
const FLUSH: Duration = Duration::from_millis(100);

/// How often it is looked whether the group's task rests.
const LOOK: Duration = Duration::from_millis(500);

/// How long after its end a task may still be put to rest by its owner, or an adopter.
const LATE: Duration = Duration::from_secs(60);

/// How long until chunks are asked for again where the bus gives none.
const AGAIN: Duration = Duration::from_secs(1);

/// How often a chunk is handed out: each worker that dies with it, or drains, costs one.
const ATTEMPTS: u32 = 20;

/// How many members are let go at once.
const PARALLEL: usize = 16;

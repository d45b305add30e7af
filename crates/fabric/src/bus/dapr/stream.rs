//! One subscription at a sidecar: a stream of events, opened again whenever it breaks.
//!
//! # Invariants
//! - A listener hears nothing that was published before it had subscribed: some brokers replay a topic
//!   to a new consumer. It publishes a mark and begins where that comes back.
//! - An event that was read is handed out, or its stream is closed unanswered, so that the broker brings
//!   it again; only a component that brings nothing again is answered at once.
//! - Unanswered events are bounded by what was asked for, and one more; unread ones by the stream's window.

use std::{
    sync::{Arc, Weak},
    time::Duration,
};

use dapr::dapr::proto::runtime::v1::{
    PublishEventRequest, SubscribeTopicEventsRequestAlpha1 as Said,
    SubscribeTopicEventsRequestInitialAlpha1 as Initial,
    SubscribeTopicEventsRequestProcessedAlpha1 as Processed,
    SubscribeTopicEventsResponseAlpha1 as Heard, TopicEventRequest, TopicEventResponse,
    subscribe_topic_events_request_alpha1::SubscribeTopicEventsRequestType as Say,
    subscribe_topic_events_response_alpha1::SubscribeTopicEventsResponseType as Hear,
};
use tokio::sync::{mpsc, oneshot};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Code, Status, Streaming};
use tracing::{debug, warn};

use super::{
    super::{Arrivals, Error, Reach, Topic},
    Shared, Standing,
    event::{self, Read},
    inbox::{Answer, Came, Inbox},
};
use crate::dapr::Stub;

/// How long a sidecar may take to subscribe: a broker may have to agree.
const OPENING: Duration = Duration::from_secs(15);

/// How long a broken stream is left alone.
const REOPENING: Duration = Duration::from_millis(250);

/// How often a listener's mark is published until it comes back.
const MARKING: Duration = Duration::from_millis(500);

/// How much older than a listener an event may be that it hears after its stream broke: as far as
/// clocks may differ.
const SKEW: Duration = Duration::from_mins(1);

/// How many events wait here that have been answered already.
const ANSWERED: usize = 1024;

/// Opens the stream and waits until it is.
pub(super) async fn open(
    shared: Arc<Shared>,
    component: String,
    topic: Topic,
    reach: Reach,
    in_flight: usize,
) -> Result<Box<dyn Arrivals>, Error> {
    let place = Arc::new(Place {
        shared: Arc::clone(&shared),
        name: (component, topic),
    });
    let blocks = shared.kind(&place.name.0).blocks_publishers();
    let (came, arrivals) = mpsc::channel(if blocks { ANSWERED } else { 1 });
    let (ready, is_ready) = oneshot::channel();
    let line = Line {
        place: Arc::clone(&place),
        answers_at_once: blocks,
        answers: in_flight.clamp(16, 1024),
        came,
        mark: matches!(reach, Reach::Broadcast).then(|| mesh_runtime::dice::uuid().to_string()),
        since: None,
    };
    drop(shared.drain.spawn("bus stream", line.run(ready)));
    let arrivals = Inbox::new(arrivals, in_flight, Closing(Arc::downgrade(&place)));
    // The task has the other one.
    drop(place);
    is_ready.await.map_err(|_| Error::Closed)??;
    Ok(Box::new(arrivals))
}

/// The one place for a stream of a component and topic; it is free when the task has ended.
struct Place {
    shared: Arc<Shared>,
    name: (String, Topic),
}

impl Drop for Place {
    fn drop(&mut self) {
        self.shared.streams.leave(&self.name);
    }
}

/// The subscriber's end. The place is free when the task has noticed it.
struct Closing(Weak<Place>);

impl Drop for Closing {
    fn drop(&mut self) {
        if let Some(place) = self.0.upgrade() {
            let mut open = place.shared.streams.open.lock();
            open.insert(place.name.clone(), Standing::Closing);
        }
    }
}

/// The task's side.
struct Line {
    place: Arc<Place>,
    answers_at_once: bool,
    answers: usize,
    came: mpsc::Sender<Came>,
    /// A listener's.
    mark: Option<String>,
    /// Since when it listens, in Unix milliseconds.
    since: Option<u64>,
}

type Ready = Option<oneshot::Sender<Result<(), Error>>>;

impl Line {
    async fn run(mut self, ready: oneshot::Sender<Result<(), Error>>) {
        let (mut ready, closed) = (Some(ready), self.came.clone());
        loop {
            let status = tokio::select! {
                () = closed.closed() => return,
                status = self.live(&mut ready) => status,
            };
            let (component, topic) = &self.place.name;
            if let Some(ready) = ready.take() {
                let error = refusal(component, topic, status);
                if ready.send(Err(error)).is_err() {
                    debug!(%topic, "nobody waits for the stream any more");
                }
                return;
            }
            warn!(component, %topic, %status, "a stream of the sidecar broke; it is opened again");
            tokio::select! {
                () = closed.closed() => return,
                () = tokio::time::sleep(REOPENING) => {}
            }
        }
    }

    /// One life of the stream.
    async fn live(&mut self, ready: &mut Ready) -> Status {
        let (say, said) = mpsc::channel(self.answers);
        let opened = tokio::time::timeout(OPENING, self.opened(&say, said)).await;
        let mut stream = match opened {
            Ok(Ok(stream)) => stream,
            Ok(Err(status)) => return status,
            Err(_) => return Status::deadline_exceeded("the sidecar did not subscribe in time"),
        };
        if let Some(mark) = self.mark.clone()
            && self.since.is_none()
        {
            if let Err(status) = self.marked(&mut stream, &say, &mark).await {
                return status;
            }
            self.since = Some(event::now());
        }
        if let Some(ready) = ready.take()
            && ready.send(Ok(())).is_err()
        {
            return Status::cancelled("nobody waits for it");
        }
        loop {
            match next(&mut stream).await {
                Err(status) => return status,
                Ok(event) => {
                    if let Err(status) = self.arrive(event, &say).await {
                        return status;
                    }
                }
            }
        }
    }

    async fn opened(
        &self,
        say: &mpsc::Sender<Said>,
        said: mpsc::Receiver<Said>,
    ) -> Result<Streaming<Heard>, Status> {
        let (component, topic) = &self.place.name;
        let initial = Initial {
            pubsub_name: component.clone(),
            topic: topic.to_string(),
            metadata: Default::default(),
            dead_letter_topic: None,
        };
        let sent = say.send(of(Say::InitialRequest(initial))).await;
        sent.map_err(|_| Status::cancelled("closed"))?;
        let mut stub: Stub = self.place.shared.sidecar.stub();
        let said = ReceiverStream::new(said);
        let mut stream = stub.subscribe_topic_events_alpha1(said).await?.into_inner();
        let first = stream.message().await?;
        match first.and_then(|first| first.subscribe_topic_events_response_type) {
            Some(Hear::InitialResponse(_)) => Ok(stream),
            _ => Err(Status::unknown(
                "the sidecar did not say that it has subscribed",
            )),
        }
    }

    /// Publishes the mark until it comes back, and lets go of all before it.
    async fn marked(
        &self,
        stream: &mut Streaming<Heard>,
        say: &mpsc::Sender<Said>,
        mark: &str,
    ) -> Result<(), Status> {
        let marking = async {
            loop {
                if let Err(status) = self.publish_mark(mark).await {
                    debug!(%status, "a listener's mark was not published");
                }
                tokio::time::sleep(MARKING).await;
            }
        };
        let heard = async {
            loop {
                let event = next(stream).await?;
                let id = event.id.clone();
                let read = event::decode(&self.place.name.1, event.into()).1;
                answer(id, say).await?;
                if matches!(read, Read::Mark(name) if name == mark) {
                    return Ok(());
                }
            }
        };
        tokio::select! {
            heard = heard => heard,
            () = marking => Ok(()),
            () = tokio::time::sleep(OPENING) => {
                Err(Status::deadline_exceeded("a listener's own mark did not come back"))
            }
        }
    }

    async fn publish_mark(&self, mark: &str) -> Result<(), Status> {
        let (shared, topic) = (&self.place.shared, &self.place.name.1);
        let request = PublishEventRequest {
            pubsub_name: shared.settings.bus.clone(),
            topic: topic.to_string(),
            data: event::mark(topic, mark),
            data_content_type: event::CONTENT_TYPE.to_owned(),
            metadata: Default::default(),
        };
        let put = shared
            .sidecar
            .call(async move |mut stub: Stub| stub.publish_event(request).await);
        put.await
    }

    async fn arrive(
        &self,
        event: TopicEventRequest,
        say: &mpsc::Sender<Said>,
    ) -> Result<(), Status> {
        let id = event.id.clone();
        let (at, read) = event::decode(&self.place.name.1, event.into());
        let is_old = |since: u64| at.is_some_and(|at| at + millis(SKEW) < since);
        let Read::Message(message, expires) = read else {
            return answer(id, say).await;
        };
        if self.since.is_some_and(is_old) {
            return answer(id, say).await;
        }
        let unanswered = if self.answers_at_once {
            answer(id, say).await?;
            None
        } else {
            Some(Answer::Stream(id, say.clone()))
        };
        let came = Came {
            message,
            expires,
            attempt: 1,
            answer: unanswered,
        };
        let sent = self.came.send(came).await;
        sent.map_err(|_| Status::cancelled("closed"))
    }
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

const fn of(say: Say) -> Said {
    Said {
        subscribe_topic_events_request_type: Some(say),
    }
}

/// The next event of a stream.
async fn next(stream: &mut Streaming<Heard>) -> Result<TopicEventRequest, Status> {
    loop {
        let heard = stream.message().await?;
        let heard = heard.ok_or_else(|| Status::unavailable("the sidecar ended the stream"))?;
        if let Some(Hear::EventMessage(event)) = heard.subscribe_topic_events_response_type {
            return Ok(event);
        }
    }
}

/// Says that an event is done.
pub(super) async fn answer(id: String, say: &mpsc::Sender<Said>) -> Result<(), Status> {
    let processed = Processed {
        id,
        // Zero is success, to Dapr and by default.
        status: Some(TopicEventResponse { status: 0 }),
    };
    let sent = say.send(of(Say::EventProcessed(processed))).await;
    sent.map_err(|_| Status::unavailable("the stream has ended"))
}

/// Why a stream was not opened.
fn refusal(component: &str, topic: &Topic, status: Status) -> Error {
    match status.code() {
        Code::InvalidArgument | Code::NotFound | Code::FailedPrecondition | Code::Unimplemented => {
            let said = status.message();
            Error::Unable(format!(
                "component {component:?} does not subscribe to {topic}: {said}"
            ))
        }
        _ => Error::unavailable(status),
    }
}

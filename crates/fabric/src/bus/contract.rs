//! The contract of the bus, clause by clause, for any form: held against the embedded ones here, and
//! against real brokers where those are.
//!
//! # Invariants
//! - A clause asks only what [`Transit`] promises for every form, through two handles: what two
//!   processes have.
//! - Nothing is slept for, but a time to live: a clause waits for what must come, at most [`PATIENCE`], and for what must
//!   not come it waits for something that would come after it.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use bytes::Bytes;
use futures_util::{StreamExt as _, future::BoxFuture, stream::FuturesUnordered};

use super::{
    BODY_BYTES, Deliveries, Delivery, Error, Message, Reach, Subscription, Topic, Transit,
};

/// How long a clause waits for what must come.
const PATIENCE: Duration = Duration::from_secs(20);

/// What a clause is held on: a topic and a group that nothing else uses.
#[derive(Clone, Debug)]
pub struct Ground {
    /// One process's handle.
    pub a: Transit,
    /// Another's; it may be the same.
    pub b: Transit,
    /// The topic.
    pub topic: Topic,
    /// A second one.
    pub other: Topic,
    /// The group.
    pub group: String,
    /// Whether the form has one message out at a time, and no other key beside it.
    pub is_serial: bool,
}

/// What a clause says when it does not hold.
pub type Held = Result<(), String>;

/// One clause.
#[derive(Clone, Copy)]
pub struct Clause {
    /// It as a sentence.
    pub name: &'static str,
    /// Holds it against a form.
    pub check: fn(Ground) -> BoxFuture<'static, Held>,
}

impl std::fmt::Debug for Clause {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name)
    }
}

macro_rules! clauses {
    ($($check:path: $name:literal,)*) => {
        /// All of them.
        pub const CLAUSES: &[Clause] = &[$(Clause {
            name: $name,
            check: |ground| Box::pin($check(ground)),
        },)*];
    };
}

clauses! {
    bytes_and_attributes: "bytes, ids, keys and attributes arrive as they were",
    sharing: "one member of a group gets each message",
    listening: "each listener of a broadcast gets each message",
    order: "messages of one key come in order, one at a time",
    again: "what failed comes again, before the next of its key",
    giving_up: "after its attempts a message is a dead letter that says why",
    dead_at_once: "what can never be done is a dead letter at once",
    deadline: "an attempt that takes too long has failed",
    leaving: "what a member had when it left goes to another",
    expiry: "what has expired is not handed out",
    in_flight: "no more is out than was asked for",
    duplicates: "an id that comes twice, or on two topics, loses nothing",
    bounds: "what is too large is refused, and keeps nothing else back",
    publishing::full: "a full queue takes no more, and loses nothing that it has",
    publishing::given_up: "a publish given up harms nothing and can be made again",
}

macro_rules! must {
    ($condition:expr, $($said:tt)*) => {
        if !$condition {
            return Err(format!($($said)*));
        }
    };
}

mod publishing;

fn message(topic: &Topic, id: &str, key: &str) -> Message {
    Message::new(
        topic.clone(),
        id.to_owned(),
        key.to_owned(),
        Bytes::from(id.to_owned()),
    )
}

impl Ground {
    /// A subscription with short pauses.
    fn ask(&self, reach: Reach) -> Subscription {
        Subscription {
            attempts: 3,
            first_pause: Duration::from_millis(30),
            longest_pause: Duration::from_millis(60),
            ..Subscription::new(self.topic.clone(), reach)
        }
    }

    fn to_group(&self) -> Subscription {
        self.ask(Reach::Group(self.group.clone()))
    }

    async fn member(&self) -> Result<Deliveries, String> {
        subscribed(&self.a, self.to_group()).await
    }

    async fn publish(&self, batch: Vec<Message>) -> Held {
        for answer in self.a.publish(batch).await {
            answer.map_err(|error| format!("publish: {error:?}"))?;
        }
        Ok(())
    }

    async fn publish_ids(&self, ids: &[&str], key: &str) -> Held {
        let batch = ids.iter().map(|id| message(&self.topic, id, key));
        self.publish(batch.collect()).await
    }
}

async fn subscribed(bus: &Transit, ask: Subscription) -> Result<Deliveries, String> {
    let subscribed = bus.subscribe(ask).await;
    subscribed.map_err(|error| format!("subscribe: {error:?}"))
}

async fn next(deliveries: &mut Deliveries) -> Result<Delivery, String> {
    let next = tokio::time::timeout(PATIENCE, deliveries.next()).await;
    let next = next.map_err(|_| "nothing came".to_owned())?;
    next.ok_or_else(|| "the subscription ended".to_owned())
}

async fn expect(deliveries: &mut Deliveries, id: &str, attempt: u32) -> Result<Delivery, String> {
    let delivery = next(deliveries).await?;
    let met = (delivery.message().id.as_str(), delivery.attempt());
    must!(
        met == (id, attempt),
        "{met:?} came and not {:?}",
        (id, attempt)
    );
    Ok(delivery)
}

/// The dead letter of a message.
async fn letter(ground: &Ground, id: &str) -> Result<Message, String> {
    let ask = Subscription {
        topic: ground.topic.dead(),
        ..ground.to_group()
    };
    let mut letters = subscribed(&ground.b, ask).await?;
    let letter = next(&mut letters).await?;
    let message = letter.message().clone();
    letter.done().await;
    let attribute = |name: &str| message.attributes.get(name).cloned().unwrap_or_default();
    must!(attribute("origin") == ground.topic.as_str(), "{message:?}");
    must!(attribute("originid") == id, "{message:?}");
    Ok(message)
}

async fn bytes_and_attributes(ground: Ground) -> Held {
    let mut member = ground.member().await?;
    let body = b"{\"b\":1,  \"a\":2.50, \"n\":12345678901234567890}\0\xff";
    let mut sent = message(&ground.topic, "task/7@odd", "a key: \u{e4}");
    sent.body = Bytes::from_static(body);
    sent.attributes = BTreeMap::from([
        ("kind".to_owned(), "status".to_owned()),
        ("shard".to_owned(), "4095".to_owned()),
    ]);
    ground.publish(vec![sent.clone()]).await?;
    let came = next(&mut member).await?;
    must!(
        *came.message() == sent,
        "{:?} became {:?}",
        sent,
        came.message()
    );
    came.done().await;
    Ok(())
}

async fn sharing(ground: Ground) -> Held {
    let mut one = subscribed(&ground.a, ground.to_group()).await?;
    let mut two = subscribed(&ground.b, ground.to_group()).await?;
    let ids: Vec<_> = (0..40).map(|n| format!("m{n}")).collect();
    let batch = ids.iter().map(|id| message(&ground.topic, id, id));
    ground.publish(batch.collect()).await?;
    let mut came = BTreeMap::<String, u32>::new();
    while came.len() < ids.len() {
        let delivery = tokio::time::timeout(PATIENCE, async {
            tokio::select! {
                delivery = one.next() => delivery,
                delivery = two.next() => delivery,
            }
        });
        let delivery = delivery
            .await
            .map_err(|_| format!("only {} came", came.len()))?;
        let delivery = delivery.ok_or("a subscription ended")?;
        *came.entry(delivery.message().id.clone()).or_default() += 1;
        delivery.done().await;
    }
    let twice: Vec<_> = came.iter().filter(|(_, times)| **times > 1).collect();
    must!(twice.is_empty(), "both got {twice:?}");
    Ok(())
}

async fn listening(ground: Ground) -> Held {
    let mut one = subscribed(&ground.a, ground.ask(Reach::Broadcast)).await?;
    let mut two = subscribed(&ground.b, ground.ask(Reach::Broadcast)).await?;
    ground.publish_ids(&["m1", "m2", "m3"], "k").await?;
    for listener in [&mut one, &mut two] {
        for id in ["m1", "m2", "m3"] {
            expect(listener, id, 1).await?.done().await;
        }
    }
    Ok(())
}

async fn order(ground: Ground) -> Held {
    let mut one = subscribed(&ground.a, ground.to_group()).await?;
    let mut two = subscribed(&ground.b, ground.to_group()).await?;
    let ids: Vec<_> = (0..30)
        .map(|n| (format!("m{n:02}"), format!("k{}", n % 3)))
        .collect();
    let batch = ids.iter().map(|(id, key)| message(&ground.topic, id, key));
    ground.publish(batch.collect()).await?;
    let mut out = BTreeSet::new();
    let mut last = BTreeMap::<String, String>::new();
    let mut working = FuturesUnordered::new();
    let mut done = 0;
    while done < ids.len() {
        let delivery = tokio::select! {
            delivery = one.next() => delivery,
            delivery = two.next() => delivery,
            Some(delivery) = working.next(), if !working.is_empty() => {
                let delivery: Delivery = delivery;
                out.remove(&delivery.message().key);
                delivery.done().await;
                done += 1;
                continue;
            }
            () = tokio::time::sleep(PATIENCE) => return Err(format!("only {done} came")),
        };
        let delivery = delivery.ok_or("a subscription ended")?;
        let (id, key) = (
            delivery.message().id.clone(),
            delivery.message().key.clone(),
        );
        must!(out.insert(key.clone()), "two of {key} are out");
        let before = last.insert(key.clone(), id.clone());
        must!(before.as_ref() < Some(&id), "{id} came after {before:?}");
        working.push(async move {
            // Others come in between, if they may.
            tokio::task::yield_now().await;
            delivery
        });
    }
    Ok(())
}

async fn again(ground: Ground) -> Held {
    let mut member = ground.member().await?;
    ground.publish_ids(&["m1", "m2"], "k").await?;
    expect(&mut member, "m1", 1).await?.again("not yet");
    expect(&mut member, "m1", 2).await?.done().await;
    expect(&mut member, "m2", 1).await?.done().await;
    Ok(())
}

async fn giving_up(ground: Ground) -> Held {
    let mut member = ground.member().await?;
    ground.publish_ids(&["m1", "m2"], "k").await?;
    for attempt in 1..=3 {
        expect(&mut member, "m1", attempt)
            .await?
            .again("the receiver is away");
    }
    // The next of its key comes when it has left.
    expect(&mut member, "m2", 1).await?.done().await;
    let letter = letter(&ground, "m1").await?;
    must!(
        letter
            .attributes
            .get("attempts")
            .is_some_and(|attempts| attempts == "3"),
        "{letter:?}"
    );
    let reason = letter.attributes.get("reason");
    must!(
        reason.is_some_and(|reason| reason == "the receiver is away"),
        "{letter:?}"
    );
    must!(letter.body == Bytes::from_static(b"m1"), "{letter:?}");
    Ok(())
}

async fn dead_at_once(ground: Ground) -> Held {
    let mut member = ground.member().await?;
    ground.publish_ids(&["m1", "m2"], "k").await?;
    expect(&mut member, "m1", 1).await?.dead("no such target");
    expect(&mut member, "m2", 1).await?.done().await;
    let letter = letter(&ground, "m1").await?;
    must!(
        letter
            .attributes
            .get("attempts")
            .is_some_and(|attempts| attempts == "1"),
        "{letter:?}"
    );
    Ok(())
}

async fn deadline(ground: Ground) -> Held {
    let ask = Subscription {
        deadline: Duration::from_millis(200),
        ..ground.to_group()
    };
    let mut member = subscribed(&ground.a, ask).await?;
    ground.publish_ids(&["m1"], "k").await?;
    let stuck = expect(&mut member, "m1", 1).await?;
    expect(&mut member, "m1", 2).await?.done().await;
    // What it says now is of no meaning any more.
    stuck.again("late");
    ground.publish_ids(&["m2"], "k").await?;
    expect(&mut member, "m2", 1).await?.done().await;
    Ok(())
}

async fn leaving(ground: Ground) -> Held {
    let mut one = subscribed(&ground.a, ground.to_group()).await?;
    ground.publish_ids(&["m1", "m2"], "k").await?;
    let held = next(&mut one).await?;
    must!(held.message().id == "m1", "{held:?}");
    drop((held, one));
    let mut two = subscribed(&ground.b, ground.to_group()).await?;
    for id in ["m1", "m2"] {
        let delivery = next(&mut two).await?;
        must!(delivery.message().id == id, "{delivery:?} and not {id}");
        delivery.done().await;
    }
    Ok(())
}

async fn expiry(ground: Ground) -> Held {
    let ask = Subscription {
        in_flight: 1,
        ..ground.to_group()
    };
    let mut member = subscribed(&ground.a, ask).await?;
    let mut brief = message(&ground.topic, "m2", "k");
    brief.ttl = Some(Duration::from_secs(1));
    let batch = vec![
        message(&ground.topic, "m1", "k"),
        brief,
        message(&ground.topic, "m3", "k"),
    ];
    ground.publish(batch).await?;
    let first = expect(&mut member, "m1", 1).await?;
    tokio::time::sleep(Duration::from_millis(1100)).await;
    first.done().await;
    expect(&mut member, "m3", 1).await?.done().await;
    Ok(())
}

async fn in_flight(ground: Ground) -> Held {
    let ask = Subscription {
        in_flight: 2,
        ..ground.to_group()
    };
    let mut member = subscribed(&ground.a, ask).await?;
    let ids = ["m1", "m2", "m3", "m4"];
    let batch = ids.iter().map(|id| message(&ground.topic, id, id));
    ground.publish(batch.collect()).await?;
    let one = next(&mut member).await?;
    if ground.is_serial {
        let second = tokio::time::timeout(Duration::from_millis(300), member.next()).await;
        must!(second.is_err(), "a second is out: {second:?}");
        one.done().await;
        for _ in 1..ids.len() {
            next(&mut member).await?.done().await;
        }
        return Ok(());
    }
    let two = next(&mut member).await?;
    let third = tokio::time::timeout(Duration::from_millis(300), member.next()).await;
    must!(third.is_err(), "a third is out: {third:?}");
    one.done().await;
    let three = next(&mut member).await?;
    two.done().await;
    three.done().await;
    next(&mut member).await?.done().await;
    Ok(())
}

async fn duplicates(ground: Ground) -> Held {
    let mut member = ground.member().await?;
    let ask = Subscription {
        topic: ground.other.clone(),
        ..ground.to_group()
    };
    let mut other = subscribed(&ground.b, ask).await?;
    ground.publish_ids(&["same"], "k").await?;
    ground.publish_ids(&["same"], "k").await?;
    ground
        .publish(vec![message(&ground.other, "same", "k")])
        .await?;
    ground.publish_ids(&["last"], "k").await?;
    expect(&mut other, "same", 1).await?.done().await;
    let mut times = 0;
    loop {
        let delivery = next(&mut member).await?;
        let id = delivery.message().id.clone();
        delivery.done().await;
        match id.as_str() {
            "same" => times += 1,
            _ => break,
        }
    }
    must!((1..=2).contains(&times), "it came {times} times");
    Ok(())
}

async fn bounds(ground: Ground) -> Held {
    let mut member = ground.member().await?;
    let mut large = message(&ground.topic, "large", "k");
    large.body = Bytes::from(vec![7; BODY_BYTES + 1]);
    let mut largest = message(&ground.topic, "largest", "k");
    largest.body = Bytes::from(vec![7; BODY_BYTES]);
    let long = message(&ground.topic, &"x".repeat(257), "k");
    let nameless = message(&ground.topic, "", "k");
    let answers = ground.a.publish(vec![large, nameless, largest, long]).await;
    let sizes: Vec<_> = answers
        .iter()
        .map(|answer| matches!(answer, Err(Error::Size)))
        .collect();
    must!(sizes == [true, true, false, true], "{answers:?}");
    let came = next(&mut member).await?;
    must!(
        came.message().body.len() == BODY_BYTES,
        "{} bytes came",
        came.message().body.len()
    );
    came.done().await;
    Ok(())
}

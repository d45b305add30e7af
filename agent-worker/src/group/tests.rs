//! What a fan-out costs, and what the agents file may say of a group.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use futures_util::{FutureExt as _, future::BoxFuture};
use mesh_fabric::{
    bus::{Arrivals, Bus, Depth, Promises, Reach},
    state::{Bounds, Store},
};

use super::*;
use crate::record::Scope;

/// A bus that counts what it takes, and takes nothing the first time.
#[derive(Clone, Debug, Default)]
struct Counting {
    taken: Arc<AtomicUsize>,
    refused: Arc<AtomicUsize>,
    refuses: usize,
}

impl Bus for Counting {
    fn promises(&self) -> Promises {
        Promises::default()
    }

    fn publish(&self, batch: Vec<Message>) -> BoxFuture<'_, Vec<Result<(), bus::Error>>> {
        let take = |_: Message| {
            if self.refused.load(Ordering::Relaxed) < self.refuses {
                self.refused.fetch_add(1, Ordering::Relaxed);
                return Err(bus::Error::Full);
            }
            self.taken.fetch_add(1, Ordering::Relaxed);
            Ok(())
        };
        let answers = batch.into_iter().map(take).collect();
        async move { answers }.boxed()
    }

    fn subscribe(
        &self,
        _: Topic,
        _: Reach,
        _: usize,
    ) -> BoxFuture<'_, Result<Box<dyn Arrivals>, bus::Error>> {
        async { Err(bus::Error::Closed) }.boxed()
    }

    fn depth(&self, _: Topic, _: String) -> BoxFuture<'_, Result<Option<Depth>, bus::Error>> {
        async { Ok(None) }.boxed()
    }
}

fn key() -> TaskKey {
    TaskKey {
        scope: Scope {
            agent: "everybody".parse().unwrap(),
            tenant: String::new(),
            principal: String::new(),
        },
        id: "t".to_owned(),
    }
}

fn fanout(bus: &Counting) -> Fanout {
    let bounds = Bounds {
        bytes: 1 << 30,
        ..Bounds::default()
    };
    let records = Records::new(Store::memory(bounds), Duration::from_secs(600));
    let settings = Settings {
        router: Some("http://127.0.0.1:1".to_owned()),
        ..Settings::default()
    };
    let bus = Transit::of(bus.clone());
    Fanout::new(bus, records, settings, &mut Registry::default())
}

fn of(members: usize) -> Config {
    let member = |n: usize| Member::Within {
        agent: "clerk".parse().unwrap(),
        context: format!("c{n}"),
    };
    Config {
        members: (0..members).map(member).collect(),
        owners: Vec::new(),
        skill: None,
        sample: None,
        policy: Policy::All,
        seconds: 60,
    }
}

#[tokio::test]
async fn a_million_members_cost_3907_messages_and_asked_again_by_an_adopter_none() {
    let bus = Counting::default();
    let fanout = fanout(&bus);
    let config = of(MEMBERS);
    config.check(&"everybody".parse().unwrap()).unwrap();
    let message = a2a::Message::default();
    let head = fanout.ask(&key(), &config, &message).await.unwrap();
    assert_eq!(head.chunks(), 3907);
    assert_eq!(bus.taken.load(Ordering::Relaxed), 3907);
    let again = fanout.ask(&key(), &config, &message).await.unwrap();
    assert_eq!(again, head);
    assert_eq!(bus.taken.load(Ordering::Relaxed), 3907);
    let last = fanout.chunk(&key(), 3906).await.unwrap();
    assert_eq!(last.seats.len(), MEMBERS % CHUNK);
}

#[tokio::test(start_paused = true)]
async fn what_the_bus_refused_is_given_to_it_again_and_nothing_else() {
    let bus = Counting {
        refuses: 3,
        ..Counting::default()
    };
    let fanout = fanout(&bus);
    let message = a2a::Message::default();
    fanout.ask(&key(), &of(5 * CHUNK), &message).await.unwrap();
    assert_eq!(bus.taken.load(Ordering::Relaxed), 5);
}

#[test]
fn a_group_that_cant_be_one_is_told_why() {
    let name = "everybody".parse().unwrap();
    let wrong = |text: &str| {
        let config: Config = serde_saphyr::from_str(text).unwrap();
        config.check(&name).unwrap_err()
    };
    assert!(wrong("members: []").contains("no owners to name them"));
    assert!(wrong("members: [everybody]").contains("member of itself"));
    assert!(wrong("members: [a, b, a]").contains("a is a member twice"));
    assert!(wrong("{members: [a], policy: 'quorum:2'}").contains("no quorum of 2"));
    assert!(wrong("{members: [a, b], sample: 1, policy: 'quorum:2'}").contains("no quorum of 2"));
    assert!(wrong("{owners: [T], sample: 1, policy: 'quorum:2'}").contains("no quorum of 2"));
    assert!(wrong("{members: [a], seconds: 0}").contains("0 s"));
    for right in [
        "{members: [a, {agent: a, context: c}], policy: 'quorum:2'}",
        "{owners: [TOKEN], policy: 'quorum:2'}",
        "{members: [a, b, c], sample: 2, skill: talk}",
    ] {
        let config: Config = serde_saphyr::from_str(right).unwrap();
        assert_eq!(config.check(&name), Ok(()));
    }
}

#[tokio::test]
async fn members_of_the_file_and_of_the_store_are_asked_once_each() {
    let bus = Counting::default();
    let fanout = fanout(&bus);
    let group = key().scope.agent;
    let config = Config {
        owners: vec!["TOKEN".to_owned()],
        ..of(300)
    };
    let named: Vec<_> = of(500).members.iter().map(Member::seat).collect();
    let edit = fanout
        .0
        .records
        .edit_members(&group, record::Edit::Add, named, 1000);
    edit.await.unwrap();
    let message = a2a::Message::default();
    let head = fanout.ask(&key(), &config, &message).await.unwrap();
    assert_eq!((head.members, head.chunks()), (500, 2));
    let mut names = BTreeSet::new();
    for number in 0..2 {
        let chunk = fanout.chunk(&key(), number).await.unwrap();
        names.extend(chunk.seats.iter().map(Seat::name));
    }
    assert_eq!(names.len(), 500);
}

#[tokio::test]
async fn so_many_are_drawn_as_the_file_says_and_nobody_is_an_error() {
    let bus = Counting::default();
    let fanout = fanout(&bus);
    let message = a2a::Message::default();
    let config = Config {
        sample: NonZero::new(7),
        ..of(1000)
    };
    let head = fanout.ask(&key(), &config, &message).await.unwrap();
    assert_eq!((head.members, head.chunks()), (7, 1));
    let empty = Config {
        owners: vec!["TOKEN".to_owned()],
        ..of(0)
    };
    let other = TaskKey {
        id: "other".to_owned(),
        ..key()
    };
    let refused = fanout.ask(&other, &empty, &message).await.unwrap_err();
    assert!(matches!(refused, Error::Nobody(_)), "{refused}");
}

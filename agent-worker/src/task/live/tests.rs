//! Watchers of one task.

use std::time::Duration;

use futures_util::{FutureExt as _, StreamExt as _};
use mesh_fabric::state::{Bounds, Store};
use mesh_proto::AgentName;
use mesh_runtime::drain;
use proptest::prelude::*;

use super::*;
use crate::{
    record::{Records, Scope},
    task::{Event, Limits, Metrics},
};

fn working() -> (Ledger, Arc<Live>) {
    let records = Records::new(Store::memory(Bounds::default()), Duration::from_secs(60));
    let key = TaskKey {
        scope: Scope {
            agent: AgentName::parse("a").unwrap(),
            tenant: String::new(),
            principal: String::new(),
        },
        id: "t".to_owned(),
    };
    let mut task = Task::submitted("t".to_owned(), "c".to_owned(), 1);
    task.step(Event::Begin, 2).unwrap();
    let custody = Custody {
        fence: 1,
        ..Custody::default()
    };
    let (_trigger, drain) = drain::channel();
    let ledger = Ledger::new(records, Limits::default(), Metrics::default(), drain);
    (ledger, Arc::new(Live::new(key, task, custody)))
}

fn note(live: &Live, n: usize) -> usize {
    let step = |task: &mut Task| task.step(Event::Note(n.to_string()), 3);
    live.change(|task| step(task).map(Payload::StatusUpdate))
        .unwrap()
}

#[tokio::test]
async fn a_watcher_that_does_not_read_is_dropped_and_told_and_no_other_is() {
    let (ledger, live) = working();
    let slow = live.watch(&ledger, None, false).0;
    for n in 0..QUEUE {
        assert_eq!(note(&live, n), 0);
    }
    let fresh = live.watch(&ledger, None, false).0;
    assert_eq!(note(&live, QUEUE), 1, "one watcher is dropped");
    assert_eq!(note(&live, QUEUE + 1), 0, "and only once");
    live.finish();
    let seen: Vec<_> = slow.collect().await;
    assert_eq!(seen.len(), 1 + QUEUE + 1);
    assert!(seen.iter().take(1 + QUEUE).all(Result::is_ok));
    let told = seen.last().unwrap().as_ref().unwrap_err();
    assert_eq!(told.fault, Fault::Exhausted);
    let seen: Vec<_> = fresh
        .map(|told| told.unwrap().event.payload.clone())
        .collect()
        .await;
    assert!(matches!(
        seen.as_slice(),
        [Some(Payload::Task(_)), Some(_), Some(_)]
    ));
}

#[tokio::test]
async fn who_gives_up_leaves_the_watchers_in_place() {
    let (ledger, live) = working();
    let mut events = live.watch(&ledger, None, false).0;
    assert!(events.next().await.is_some());
    live.release();
    assert_eq!(note(&live, 1), 0);
    assert!(events.next().await.is_some());
    drop(events);
    assert!(!live.lock().is_wanted());
}

#[tokio::test]
async fn streams_that_are_parted_end_with_the_reason() {
    let (ledger, live) = working();
    let events = live.watch(&ledger, None, false).0;
    live.part(&Problem::new(Fault::Unavailable, "elsewhere"));
    assert_eq!(note(&live, 1), 0, "nobody watches");
    let seen: Vec<_> = events.collect().await;
    let told = seen.last().unwrap().as_ref().unwrap_err();
    assert_eq!((seen.len(), told.message.as_str()), (2, "elsewhere"));
}

#[tokio::test]
async fn who_begins_to_watch_a_task_that_is_over_here_is_not_left_waiting() {
    let (ledger, live) = working();
    // At rest for whoever wants to know no more than that.
    let (events, _) = live.watch(&ledger, None, true);
    assert_eq!(events.count().await, 1);
    live.let_go(&Problem::new(Fault::Unavailable, "elsewhere"));
    let (events, _) = live.watch(&ledger, None, false);
    let seen: Vec<_> = events.collect().await;
    let told = seen.last().unwrap().as_ref().unwrap_err();
    assert_eq!((seen.len(), told.message.as_str()), (2, "elsewhere"));
}

/// What can happen to a task's watchers, in any order.
#[derive(Clone, Copy, Debug)]
enum Happening {
    /// The task changes.
    Change,
    /// Somebody comes, and names the event that he saw this many events ago.
    Join(Option<usize>),
    /// The n-th watcher reads one event.
    Read(usize),
}

fn happenings() -> impl Strategy<Value = Vec<Happening>> {
    let one = prop_oneof![
        3 => Just(Happening::Change),
        1 => proptest::option::of(0_usize..8).prop_map(Happening::Join),
        3 => (0_usize..6).prop_map(Happening::Read),
    ];
    proptest::collection::vec(one, 0..80)
}

proptest! {
    /// However changes, comings and reads fall: each watcher sees a snapshot, or else what followed
    /// the event that it named; from there every event, in the one order and under the one id.
    #[test]
    fn all_watchers_see_one_order(happenings in happenings()) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(async move {
            let (ledger, live) = working();
            let mut watchers: Vec<(Events, Vec<EventId>)> = Vec::new();
            for (n, happening) in happenings.into_iter().enumerate() {
                match happening {
                    Happening::Change => {
                        note(&live, n);
                    }
                    Happening::Join(back) => {
                        let last = live.lock().ring.last();
                        let after = back.map(|back| earlier(last, back));
                        let (events, is_replay) = live.watch(&ledger, after, false);
                        assert_eq!(is_replay, after.is_some());
                        let first = after.map_or(last, EventId::next);
                        assert_eq!(events.first_id(), first);
                        watchers.push((events, Vec::new()));
                    }
                    Happening::Read(watcher) => {
                        if let Some((events, seen)) = watchers.get_mut(watcher)
                            && let Some(Some(told)) = events.next().now_or_never()
                        {
                            seen.push(told.unwrap().id);
                        }
                    }
                }
            }
            let end = live.lock().ring.last();
            let all = live.lock().ring.since(earlier(end, usize::MAX)).unwrap();
            live.finish();
            for (events, mut seen) in watchers {
                let first = events.first_id();
                for told in events.collect::<Vec<_>>().await {
                    let told = told.unwrap();
                    let same = all.iter().find(|each| each.id == told.id);
                    let is_task = matches!(told.event.payload, Some(Payload::Task(_)));
                    let is_same = same.is_some_and(|each| Arc::ptr_eq(&each.event, &told.event));
                    assert!(is_task || is_same, "each event has one id");
                    seen.push(told.id);
                }
                let mut expected = vec![first];
                while expected.last().unwrap() < &end {
                    expected.push(expected.last().unwrap().next());
                }
                expected.retain(|id| *id <= end);
                assert_eq!(seen, expected, "without a gap");
            }
        });
    }
}

/// The id that was told so many events before one, the task's first at the earliest.
fn earlier(id: EventId, back: usize) -> EventId {
    let (fence, n) = id
        .to_string()
        .split_once('-')
        .map(|(f, n)| (f.to_owned(), n.parse::<usize>().unwrap()))
        .unwrap();
    EventId::parse(&format!("{fence}-{}", n.saturating_sub(back))).unwrap()
}

//! Steps of tasks in a store.

use mesh_proto::mesh::Slot;
use serde_json::Map;

use super::*;
use crate::session::Entry;

const TTL: Duration = Duration::from_secs(15);

fn scope(tenant: &str, principal: &str) -> Scope {
    Scope {
        agent: AgentName::parse("a").unwrap(),
        tenant: tenant.to_owned(),
        principal: principal.to_owned(),
    }
}

fn key(id: &str) -> TaskKey {
    TaskKey {
        scope: scope("", ""),
        id: id.to_owned(),
    }
}

fn records(bounds: state::Bounds) -> Records {
    Records::new(Store::memory(bounds), Duration::from_secs(60))
}

fn record(id: &str, owner: &str) -> Record {
    Record {
        task: a2a::Task {
            id: id.to_owned(),
            context_id: "c".to_owned(),
            ..a2a::Task::default()
        },
        custody: Custody {
            owner: owner.to_owned(),
            slot: Some(Slot(9)),
            ..Custody::default()
        },
    }
}

fn item(text: &str) -> Item {
    Item {
        task: "t".to_owned(),
        entry: Entry::User {
            text: text.to_owned(),
            fields: Map::new(),
        },
    }
}

async fn save(records: &Records, key: &TaskKey, held: Option<Etag>) -> Result<Etag, Error> {
    let record = record(&key.id, "");
    records.write(Move::of(key, &record, held)).await
}

async fn owned(records: &Records, boot: &str) -> Vec<String> {
    let (owned, next) = records.owned(boot, None).await.unwrap();
    assert_eq!(next, None);
    assert!(owned.iter().all(|owned| owned.slot == Some(Slot(9))));
    owned.into_iter().map(|owned| owned.key.id).collect()
}

#[tokio::test]
async fn one_of_two_writers_fails_and_no_scope_sees_anothers_task() {
    let records = records(state::Bounds::default());
    let key = |tenant: &str, principal: &str| TaskKey {
        scope: scope(tenant, principal),
        id: "x/1".to_owned(),
    };
    let mine = key("t", "p");
    let etag = save(&records, &mine, None).await.unwrap();
    let twice = save(&records, &mine, None).await;
    assert!(matches!(twice, Err(Error::Taken)));
    save(&records, &mine, Some(etag)).await.unwrap();
    let late = save(&records, &mine, Some(etag)).await;
    assert!(matches!(late, Err(Error::Taken)));
    for other in [key("t", ""), key("", "p"), key("t/p", ""), key("t%2Fp", "")] {
        assert!(records.task(&other).await.unwrap().is_none(), "{other:?}");
        let (tasks, _) = records.tasks(&other.scope, None).await.unwrap();
        assert!(tasks.is_empty(), "{other:?}");
    }
    assert!(records.task(&mine).await.unwrap().is_some());
}

#[tokio::test]
async fn a_task_that_a_full_memory_forgot_is_written_again() {
    let records = records(state::Bounds {
        entries: 1,
        bytes: 1000,
    });
    let etag = save(&records, &key("1"), None).await.unwrap();
    save(&records, &key("2"), None).await.unwrap();
    save(&records, &key("1"), Some(etag)).await.unwrap();
}

#[tokio::test]
async fn whoever_opens_the_same_store_reads_the_same_name() {
    let directory = tempfile::tempdir().unwrap();
    let open = async |place: &std::path::Path| {
        let store = Store::open(&Place::Sqlite(place.to_owned())).await.unwrap();
        let records = Records::new(store, Duration::from_secs(60));
        records.store_name().await.unwrap()
    };
    let one = open(directory.path()).await;
    assert!(!one.is_empty());
    assert_eq!(open(&directory.path().join(".")).await, one);
    assert_ne!(open(&directory.path().join("other")).await, one);
    let memory = records(state::Bounds::default());
    assert_eq!(memory.store_name().await.unwrap(), "");
}

#[tokio::test]
async fn conversations_that_grow_side_by_side_lose_nothing_but_their_oldest() {
    let records = records(state::Bounds::default());
    let add = |id: &'static str, said: Vec<Item>| {
        let records = records.clone();
        async move {
            let (key, record) = (key(id), record(id, ""));
            let step = Move {
                said: &said,
                ..Move::of(&key, &record, None)
            };
            records.write(step).await.unwrap()
        }
    };
    let one = |text: &str| vec![item(text)];
    tokio::join!(
        add("1", one("1")),
        add("2", one("2")),
        add("3", one("3")),
        add("4", one("4"))
    );
    let scope = scope("", "");
    assert_eq!(records.conversation(&scope, "c").await.unwrap().len(), 4);
    assert!(records.conversation(&scope, "d").await.unwrap().is_empty());
    add("5", vec![item("x"); ITEMS - 1]).await;
    let kept = records.conversation(&scope, "c").await.unwrap();
    assert_eq!(kept.len(), ITEMS);
    assert_eq!(kept[1], item("x"));
}

#[tokio::test]
async fn a_rest_that_is_written_twice_is_said_once() {
    let records = records(state::Bounds::default());
    let key = key("t");
    let etag = save(&records, &key, None).await.unwrap();
    let (record, said) = (record("t", ""), [item("once")]);
    let rest = Move {
        said: &said,
        ..Move::of(&key, &record, Some(etag))
    };
    records.write(rest).await.unwrap();
    assert!(matches!(records.write(rest).await, Err(Error::Taken)));
    let kept = records.conversation(&key.scope, "c").await.unwrap();
    assert_eq!(kept, said);
}

#[tokio::test]
async fn a_message_is_taken_once_and_with_it_the_step_that_takes_it() {
    let records = records(state::Bounds::default());
    let taken = |task: &str| Taken {
        task: task.to_owned(),
        hash: "h".to_owned(),
    };
    let (one, two) = (taken("1"), taken("2"));
    let take = async |id: &str, taken: &Taken| {
        let (key, record) = (key(id), record(id, "boot"));
        let step = Move {
            enters: true,
            message: Some(("m/1", taken)),
            ..Move::of(&key, &record, None)
        };
        records.write(step).await
    };
    take("1", &one).await.unwrap();
    assert!(matches!(take("2", &two).await, Err(Error::Taken)));
    assert!(records.task(&key("2")).await.unwrap().is_none());
    assert_eq!(owned(&records, "boot").await, ["1"]);
    let known = records.taken(&scope("", ""), "m/1").await.unwrap();
    assert_eq!(known, Some(one));
    let other = records.taken(&scope("", "p"), "m/1").await.unwrap();
    assert_eq!(other, None, "another caller's message is another message");
}

#[tokio::test]
async fn a_task_stands_in_the_index_of_one_owner_or_of_none() {
    let records = records(state::Bounds::default());
    let key = key("t");
    let mut record = record("t", "one");
    let begin = Move {
        enters: true,
        ..Move::of(&key, &record, None)
    };
    let etag = records.write(begin).await.unwrap();
    assert_eq!(owned(&records, "one").await, ["t"]);
    record.custody.owner = "two".to_owned();
    let adopt = Move {
        enters: true,
        leaves: "one",
        ..Move::of(&key, &record, Some(etag))
    };
    let etag = records.write(adopt).await.unwrap();
    assert!(owned(&records, "one").await.is_empty());
    assert_eq!(owned(&records, "two").await, ["t"]);
    record.custody.owner.clear();
    let rest = Move {
        leaves: "two",
        ..Move::of(&key, &record, Some(etag))
    };
    records.write(rest).await.unwrap();
    assert!(owned(&records, "two").await.is_empty());
}

#[tokio::test]
async fn a_lease_that_ran_out_is_seen_by_all_and_told_to_its_holder() {
    let time = std::sync::Arc::new(std::sync::atomic::AtomicI64::new(0));
    let clock = std::sync::Arc::clone(&time);
    let clock = move || clock.load(std::sync::atomic::Ordering::Relaxed);
    let store = Store::shared_by(state::Bounds::default(), clock);
    let records = Records::new(store, Duration::from_secs(3600));
    let held = records.renew("b", TTL, None).await.unwrap();
    let held = records.renew("b", TTL, Some(held)).await.unwrap();
    assert!(records.lives("b").await.unwrap() && !records.lives("c").await.unwrap());
    time.store(15_000, std::sync::atomic::Ordering::Relaxed);
    assert!(!records.lives("b").await.unwrap());
    assert_eq!(
        records.workers().await.unwrap(),
        ["b"],
        "somebody must look after it"
    );
    let late = records.renew("b", TTL, Some(held)).await;
    assert!(matches!(late, Err(Error::Taken)));
    records.renew("b", TTL, None).await.unwrap();
    records.release("b", false).await.unwrap();
    assert!(!records.lives("b").await.unwrap());
    assert_eq!(records.workers().await.unwrap(), ["b"]);
    records.release("b", true).await.unwrap();
    assert!(records.workers().await.unwrap().is_empty());
}

#[tokio::test]
async fn tasks_are_read_page_by_page() {
    let records = records(state::Bounds::default());
    for n in 0..PAGE + 3 {
        save(&records, &key(&format!("{n:04}")), None)
            .await
            .unwrap();
    }
    let (first, next) = records.tasks(&scope("", ""), None).await.unwrap();
    assert_eq!(first.len(), PAGE);
    let (rest, end) = records
        .tasks(&scope("", ""), next.as_deref())
        .await
        .unwrap();
    assert_eq!((rest.len(), end), (3, None));
}

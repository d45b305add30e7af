//! The contract of the store, held against each form, and against two handles of one SQLite file,
//! which is what two processes have.

use std::collections::BTreeSet;

use super::*;

const HOUR: Option<Duration> = Some(Duration::from_secs(3600));
const GONE: Option<Duration> = Some(Duration::ZERO);

/// Two handles to the same store. They may be one handle twice.
struct Pair {
    a: Store,
    b: Store,
    _dir: Option<tempfile::TempDir>,
}

async fn pairs() -> Vec<(&'static str, Pair)> {
    let memory = Store::open(&Place::Memory).await.unwrap();
    let dir = tempfile::tempdir().unwrap();
    let place = Place::Sqlite(dir.path().join("made/on/open"));
    let one = Store::open(&place).await.unwrap();
    let dir_of_two = tempfile::tempdir().unwrap();
    let shared = format!("sqlite:{}", dir_of_two.path().display());
    vec![
        (
            "memory",
            Pair {
                a: memory.clone(),
                b: memory,
                _dir: None,
            },
        ),
        (
            "sqlite",
            Pair {
                a: one.clone(),
                b: one,
                _dir: Some(dir),
            },
        ),
        (
            "sqlite, two handles",
            Pair {
                a: open(&shared).await.unwrap(),
                b: open(&shared).await.unwrap(),
                _dir: Some(dir_of_two),
            },
        ),
    ]
}

fn text(value: &'static str) -> Bytes {
    Bytes::from_static(value.as_bytes())
}

async fn keys(store: &Store, prefix: &str, after: Option<&str>, limit: usize) -> Vec<String> {
    let entries = store.list(prefix, after, limit).await.unwrap();
    entries.into_iter().map(|entry| entry.key).collect()
}

#[tokio::test]
async fn what_one_handle_writes_the_other_reads() {
    for (form, Pair { a, b, _dir }) in pairs().await {
        assert_eq!(b.get("k").await.unwrap(), None, "{form}");
        let etag = a.put("k", text("v"), Condition::Any, None).await.unwrap();
        let read = b.get("k").await.unwrap().unwrap();
        assert_eq!((read.value, read.etag), (text("v"), etag), "{form}");
        b.delete("k", Condition::Any).await.unwrap();
        a.delete("k", Condition::Any).await.unwrap();
        assert_eq!(a.get("k").await.unwrap(), None, "{form}");
    }
}

#[tokio::test]
async fn a_condition_that_does_not_hold_changes_nothing() {
    for (form, Pair { a, b, _dir }) in pairs().await {
        let first = a
            .put("k", text("1"), Condition::Absent, None)
            .await
            .unwrap();
        let late = b.put("k", text("2"), Condition::Absent, None).await;
        assert!(matches!(late, Err(Error::Conflict)), "{form}");
        let second = b
            .put("k", text("3"), Condition::Etag(first), None)
            .await
            .unwrap();
        let stale = a.put("k", text("4"), Condition::Etag(first), None).await;
        assert!(matches!(stale, Err(Error::Conflict)), "{form}");
        let stale = a.delete("k", Condition::Etag(first)).await;
        assert!(matches!(stale, Err(Error::Conflict)), "{form}");
        assert_eq!(
            a.get("k").await.unwrap().unwrap().value,
            text("3"),
            "{form}"
        );
        a.delete("k", Condition::Etag(second)).await.unwrap();
        let missing = a.put("k", text("5"), Condition::Etag(second), None).await;
        assert!(matches!(missing, Err(Error::Conflict)), "{form}");
    }
}

#[tokio::test]
async fn an_etag_does_not_come_back_after_a_deletion() {
    for (form, Pair { a, b, _dir }) in pairs().await {
        let mut seen = BTreeSet::new();
        for _ in 0..5 {
            let etag = a.put("k", text("same"), Condition::Absent, None).await;
            assert!(seen.insert(etag.unwrap().0), "{form}");
            b.delete("k", Condition::Any).await.unwrap();
        }
    }
}

#[tokio::test]
async fn what_has_expired_is_absent_to_everybody() {
    for (form, Pair { a, b, _dir }) in pairs().await {
        let etag = a.put("p/k", text("1"), Condition::Any, GONE).await.unwrap();
        assert_eq!(b.get("p/k").await.unwrap(), None, "{form}");
        assert!(keys(&b, "p/", None, 9).await.is_empty(), "{form}");
        let held = b.put("p/k", text("2"), Condition::Etag(etag), None).await;
        assert!(matches!(held, Err(Error::Conflict)), "{form}");
        b.put("p/k", text("3"), Condition::Absent, HOUR)
            .await
            .unwrap();
        assert_eq!(keys(&a, "p/", None, 9).await, ["p/k"], "{form}");
        // A later write without a time to live lives on.
        a.put("p/k", text("4"), Condition::Any, None).await.unwrap();
        assert_eq!(b.get("p/k").await.unwrap().unwrap().value, text("4"));
    }
}

#[tokio::test]
async fn a_list_is_ordered_bounded_and_can_be_walked() {
    for (form, Pair { a, b, _dir }) in pairs().await {
        for key in [
            "t/2",
            "t/1",
            "t",
            "u/1",
            "t/10",
            "t/\u{e9}",
            "t0",
            "t/\u{10ffff}x",
        ] {
            a.put(key, text("v"), Condition::Any, None).await.unwrap();
        }
        let all = ["t/1", "t/10", "t/2", "t/\u{e9}", "t/\u{10ffff}x"];
        assert_eq!(keys(&b, "t/", None, 99).await, all, "{form}");
        assert_eq!(keys(&b, "t/", None, 2).await, all[..2], "{form}");
        assert_eq!(keys(&b, "t/", Some(all[1]), 2).await, all[2..4], "{form}");
        assert_eq!(keys(&b, "t/", Some("a"), 1).await, all[..1], "{form}");
        assert!(keys(&b, "t/", Some("u"), 9).await.is_empty(), "{form}");
        assert_eq!(keys(&b, "", None, 99).await.len(), 8, "{form}");
        assert!(keys(&b, "nothing", None, 99).await.is_empty(), "{form}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_many_that_write_first_one_wins_and_no_increment_is_lost() {
    for (form, Pair { a, b, _dir }) in pairs().await {
        let claims = (0..8).map(|n| {
            let store = if n % 2 == 0 { &a } else { &b };
            store.put("owner", text("me"), Condition::Absent, None)
        });
        let won = futures_util::future::join_all(claims).await;
        assert_eq!(won.iter().filter(|r| r.is_ok()).count(), 1, "{form}");

        a.put("n", text("0"), Condition::Any, None).await.unwrap();
        tokio::join!(increment(&a, 20), increment(&b, 20));
        assert_eq!(a.get("n").await.unwrap().unwrap().value, "40", "{form}");
    }
}

/// Adds one to "n", `times`, each as read, compare and write.
async fn increment(store: &Store, times: u32) {
    let mut left = times;
    while left > 0 {
        let entry = store.get("n").await.unwrap().unwrap();
        let n: u32 = std::str::from_utf8(&entry.value).unwrap().parse().unwrap();
        let next = Bytes::from((n + 1).to_string());
        match store
            .put("n", next, Condition::Etag(entry.etag), None)
            .await
        {
            Ok(_) => left -= 1,
            Err(Error::Conflict) => {}
            Err(error) => panic!("{error}"),
        }
    }
}

#[tokio::test]
async fn the_writes_of_a_commit_happen_together_or_not_at_all() {
    for (form, Pair { a, b, _dir }) in pairs().await {
        let put =
            |key: &str, value, condition| Write::put(key.to_owned(), text(value), condition, None);
        let held = a.put("old", text("0"), Condition::Any, None).await.unwrap();
        let done = a
            .commit(vec![
                put("task", "1", Condition::Absent),
                put("index", "1", Condition::Any),
                Write::delete("old".to_owned(), Condition::Etag(held)),
            ])
            .await
            .unwrap();
        assert_eq!(done.len(), 3, "{form}");
        assert_eq!(
            b.get("task").await.unwrap().unwrap().etag,
            done[0],
            "{form}"
        );
        assert_eq!(
            b.get("index").await.unwrap().unwrap().etag,
            done[1],
            "{form}"
        );
        assert_eq!(b.get("old").await.unwrap(), None, "{form}");
        // The last of these does not hold, so the first two do not happen.
        let refused = b
            .commit(vec![
                put("task", "2", Condition::Etag(done[0])),
                Write::delete("index".to_owned(), Condition::Any),
                put("message", "2", Condition::Etag(done[1])),
            ])
            .await;
        assert!(matches!(refused, Err(Error::Conflict)), "{form}");
        assert_eq!(
            a.get("task").await.unwrap().unwrap().etag,
            done[0],
            "{form}"
        );
        assert_eq!(
            a.get("index").await.unwrap().unwrap().etag,
            done[1],
            "{form}"
        );
        assert_eq!(a.get("message").await.unwrap(), None, "{form}");
        assert!(a.commit(Vec::new()).await.unwrap().is_empty(), "{form}");
    }
}

#[tokio::test]
async fn each_write_of_a_commit_lives_as_long_as_it_says() {
    for (form, Pair { a, b, _dir }) in pairs().await {
        let put = |key: &str, ttl| Write::put(key.to_owned(), text("v"), Condition::Absent, ttl);
        let writes = vec![
            put("p/gone", GONE),
            put("p/hour", HOUR),
            put("p/ever", None),
        ];
        a.commit(writes).await.unwrap();
        assert_eq!(
            keys(&b, "p/", None, 9).await,
            ["p/ever", "p/hour"],
            "{form}"
        );
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_many_commits_that_meet_one_is_done_and_nothing_of_the_others() {
    for (form, Pair { a, b, _dir }) in pairs().await {
        let commits = (0..8).map(|n| {
            let store = if n % 2 == 0 { a.clone() } else { b.clone() };
            async move {
                let own = format!("own/{n}");
                let put = |key: String| Write::put(key, text("v"), Condition::Absent, None);
                store.commit(vec![put(own), put("shared".to_owned())]).await
            }
        });
        let done = futures_util::future::join_all(commits).await;
        assert_eq!(done.iter().filter(|done| done.is_ok()).count(), 1, "{form}");
        assert_eq!(keys(&b, "own/", None, 9).await.len(), 1, "{form}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_fault_refuses_and_does_nothing_and_passes() {
    let (faults, store) = (Faults::default(), Store::memory(Bounds::default()));
    let faulty = faults.over(store.clone());
    faults.down(true);
    let refused = faulty.put("k", text("v"), Condition::Any, None).await;
    assert!(matches!(refused, Err(Error::Unavailable(_))));
    assert!(faulty.get("k").await.is_err() && faulty.list("", None, 1).await.is_err());
    assert_eq!(store.get("k").await.unwrap(), None);
    faults.down(false);
    faults.slow(Duration::from_secs(3));
    let begun = tokio::time::Instant::now();
    faulty
        .put("k", text("v"), Condition::Any, None)
        .await
        .unwrap();
    assert_eq!(begun.elapsed(), Duration::from_secs(3));
}

/// A directory that is not writable is a store that only reads; root writes everywhere, so the lock of
/// another process stands for both.
#[tokio::test]
async fn a_file_that_another_process_holds_locked_is_unavailable_and_not_waited_for_without_end() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(&Place::Sqlite(dir.path().to_owned()))
        .await
        .unwrap();
    store
        .put("k", text("v"), Condition::Any, None)
        .await
        .unwrap();
    let other = rusqlite::Connection::open(dir.path().join("state.db")).unwrap();
    other.execute_batch("BEGIN EXCLUSIVE").unwrap();
    let refused = store.put("k", text("w"), Condition::Any, None).await;
    assert!(matches!(refused, Err(Error::Unavailable(_))));
    assert_eq!(store.get("k").await.unwrap().unwrap().value, text("v"));
    other.execute_batch("ROLLBACK").unwrap();
    store
        .put("k", text("w"), Condition::Any, None)
        .await
        .unwrap();
}

#[tokio::test]
async fn sizes_have_bounds() {
    for (form, Pair { a, .. }) in pairs().await {
        let long = "k".repeat(KEY_BYTES + 1);
        for key in ["", long.as_str()] {
            let refused = a.put(key, text("v"), Condition::Any, None).await;
            assert!(matches!(refused, Err(Error::Size)), "{form}");
        }
        let large = Bytes::from(vec![0; VALUE_BYTES + 1]);
        let refused = a.put("k", large, Condition::Any, None).await;
        assert!(matches!(refused, Err(Error::Size)), "{form}");
        let put = |n: usize| Write::put(n.to_string(), text("v"), Condition::Any, None);
        let many = a.commit((0..=COMMIT_WRITES).map(put).collect()).await;
        assert!(matches!(many, Err(Error::Size)), "{form}");
        let twice = a.commit(vec![put(1), put(1)]).await;
        assert!(matches!(twice, Err(Error::Size)), "{form}");
    }
}

#[tokio::test]
async fn a_full_memory_forgets_what_expired_and_then_the_oldest() {
    let store = Store::memory(Bounds {
        entries: 3,
        bytes: 1000,
    });
    let put = async |key: &'static str, ttl| {
        store
            .put(key, text("v"), Condition::Any, ttl)
            .await
            .unwrap();
    };
    put("a", None).await;
    put("b", None).await;
    put("expired", GONE).await;
    put("c", None).await;
    assert_eq!(keys(&store, "", None, 9).await, ["a", "b", "c"]);
    put("a", HOUR).await;
    put("d", None).await;
    assert_eq!(keys(&store, "", None, 9).await, ["a", "c", "d"]);
    let large = Bytes::from(vec![0; 2000]);
    store.put("e", large, Condition::Any, None).await.unwrap();
    assert_eq!(keys(&store, "", None, 9).await, ["e"]);
}

#[tokio::test]
async fn expired_rows_are_swept_from_the_file() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(&Place::Sqlite(dir.path().to_owned()))
        .await
        .unwrap();
    for n in 0..300 {
        let key = format!("k{n}");
        store
            .put(&key, text("v"), Condition::Any, GONE)
            .await
            .unwrap();
    }
    let file = rusqlite::Connection::open(dir.path().join("state.db")).unwrap();
    let rows: i64 = file
        .query_row("SELECT count(*) FROM state", [], |row| row.get(0))
        .unwrap();
    assert!(rows < 100, "{rows}");
}

#[test]
fn a_place_is_memory_or_a_directory_or_a_sidecar() {
    assert_eq!("memory".parse(), Ok(Place::Memory));
    let dir = Place::Sqlite(PathBuf::from("/x:y"));
    assert_eq!("sqlite:/x:y".parse(), Ok(dir.clone()));
    assert_eq!(dir.to_string(), "sqlite:/x:y");
    let (store, bus) = ("s".to_owned(), "b".to_owned());
    let named = Place::Dapr { store, bus };
    assert_eq!("dapr:s/b".parse(), Ok(named.clone()));
    assert_eq!(named.to_string(), "dapr:s/b");
    assert_eq!("dapr".parse(), "dapr:statestore/pubsub".parse::<Place>());
    for wrong in [
        "", "sqlite", "sqlite:", "redis:x", "memory:", "dapr:", "dapr:s", "dapr:/b", "dapr:s/",
    ] {
        assert!(wrong.parse::<Place>().is_err(), "{wrong}");
    }
}

#[tokio::test]
async fn a_directory_that_cannot_be_made_is_told() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("file");
    std::fs::write(&file, "x").unwrap();
    let opened = open(&format!("sqlite:{}", file.display())).await;
    assert!(matches!(opened, Err(Error::Open { .. })));
}

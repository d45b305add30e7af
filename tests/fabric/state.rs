//! The contract of the store on real components behind real sidecars, as a table: clause by component.

use std::{collections::BTreeSet, fmt::Write as _, time::Duration};

use anyhow::{Context as _, Result, ensure};
use bytes::Bytes;
use futures_util::{
    FutureExt as _,
    future::{BoxFuture, join_all},
};
use mesh_fabric::{
    dapr::Settings,
    state::{Condition, Error, Shelf, Store, Write},
};
use mesh_tests::{
    parts::{
        broker::Broker,
        daprd::{Component, Daprd},
    },
    process::say,
};

const HOUR: Option<Duration> = Some(Duration::from_secs(3600));
const GONE: Option<Duration> = Some(Duration::ZERO);

/// Two processes' handles to a store, with all that is behind them.
pub(crate) struct Bench {
    name: &'static str,
    /// The one.
    pub(crate) a: Store,
    /// The other.
    pub(crate) b: Store,
    /// That of `a`, and that of `b`.
    pub(crate) sidecars: Vec<Daprd>,
    /// What is behind them.
    pub(crate) broker: Option<Broker>,
}

fn settings(sidecar: &Daprd) -> Settings {
    Settings {
        endpoint: sidecar.endpoint(),
        token: None,
        ..Settings::default()
    }
}

async fn open(sidecar: &Daprd) -> Result<Store> {
    let shelf = |kind, depth| Shelf { kind, depth };
    let shelves = vec![shelf("list", 2), shelf("own", 1)];
    Ok(Store::dapr(&settings(sidecar), shelves).await?)
}

impl Bench {
    async fn new(
        name: &'static str,
        count: usize,
        component: Component,
        broker: Option<Broker>,
    ) -> Result<Option<Self>> {
        let mut sidecars = Vec::new();
        for _ in 0..count {
            match Daprd::start(std::slice::from_ref(&component)).await? {
                Some(sidecar) => sidecars.push(sidecar),
                None => return Ok(None),
            }
        }
        let a = open(sidecars.first().context("there is a sidecar")?).await?;
        let b = open(sidecars.last().context("there is a sidecar")?).await?;
        Ok(Some(Self {
            name,
            a,
            b,
            sidecars,
            broker,
        }))
    }

    /// Within one sidecar.
    async fn in_memory() -> Result<Option<Self>> {
        let component = Component::new("statestore", "state.in-memory", &[]);
        Self::new("state.in-memory", 1, component, None).await
    }

    /// Two sidecars with one Redis.
    pub(crate) async fn redis() -> Result<Option<Self>> {
        let Some(broker) = Broker::redis().await? else {
            return Ok(None);
        };
        let address = broker.address();
        let component = Component::new("statestore", "state.redis", &[("redisHost", &address)]);
        Self::new("state.redis", 2, component, Some(broker)).await
    }
}

fn text(value: &'static str) -> Bytes {
    Bytes::from_static(value.as_bytes())
}

async fn keys(
    store: &Store,
    prefix: &str,
    after: Option<&str>,
    limit: usize,
) -> Result<Vec<String>> {
    let entries = store.list(prefix, after, limit).await?;
    Ok(entries.into_iter().map(|entry| entry.key).collect())
}

fn is_conflict<T>(result: &Result<T, Error>) -> bool {
    matches!(result, Err(Error::Conflict))
}

async fn reads_what_the_other_wrote(a: Store, b: Store) -> Result<()> {
    ensure!(b.get("r|k").await?.is_none());
    for value in [
        &b""[..],
        b"{\"b\": 1,  \"n\": 12345678901234567890}",
        &[0xff, 0, 1],
    ] {
        let value = Bytes::copy_from_slice(value);
        let etag = a.put("r||k", value.clone(), Condition::Any, None).await?;
        let read = b.get("r||k").await?.context("it is there")?;
        ensure!((read.value, read.etag) == (value, etag));
    }
    b.delete("r||k", Condition::Any).await?;
    a.delete("r||k", Condition::Any).await?;
    ensure!(a.get("r||k").await?.is_none());
    Ok(())
}

async fn judges_conditions(a: Store, b: Store) -> Result<()> {
    let first = a.put("c", text("1"), Condition::Absent, None).await?;
    ensure!(is_conflict(
        &b.put("c", text("2"), Condition::Absent, None).await
    ));
    let second = b.put("c", text("3"), Condition::Etag(first), None).await?;
    ensure!(is_conflict(
        &a.put("c", text("4"), Condition::Etag(first), None).await
    ));
    ensure!(is_conflict(&a.delete("c", Condition::Etag(first)).await));
    ensure!(a.get("c").await?.context("it is there")?.value == "3");
    a.delete("c", Condition::Etag(second)).await?;
    ensure!(is_conflict(
        &a.put("c", text("5"), Condition::Etag(second), None).await
    ));
    Ok(())
}

async fn makes_new_etags(a: Store, b: Store) -> Result<()> {
    let mut seen = std::collections::HashSet::new();
    for _ in 0..5 {
        ensure!(seen.insert(a.put("e", text("same"), Condition::Absent, None).await?));
        b.delete("e", Condition::Any).await?;
    }
    Ok(())
}

async fn forgets_what_expired(a: Store, b: Store) -> Result<()> {
    let etag = a.put("list/x/k", text("1"), Condition::Any, GONE).await?;
    ensure!(b.get("list/x/k").await?.is_none());
    ensure!(keys(&b, "list/x/", None, 9).await?.is_empty());
    ensure!(is_conflict(
        &b.put("list/x/k", text("2"), Condition::Etag(etag), None)
            .await
    ));
    b.put("list/x/k", text("3"), Condition::Absent, HOUR)
        .await?;
    ensure!(keys(&a, "list/x/", None, 9).await? == ["list/x/k"]);
    a.put("list/x/k", text("4"), Condition::Any, None).await?;
    ensure!(b.get("list/x/k").await?.context("it is there")?.value == "4");
    Ok(())
}

async fn lists_in_order(a: Store, b: Store) -> Result<()> {
    let all = [
        "list/t/1",
        "list/t/10",
        "list/t/2",
        "list/t/\u{e9}",
        "list/t/\u{10ffff}x",
    ];
    for key in [
        "list/u/1",
        all[2],
        all[0],
        all[4],
        "list/t",
        all[3],
        "list/t0/1",
        all[1],
    ] {
        a.put(key, text("v"), Condition::Any, None).await?;
    }
    ensure!(keys(&b, "list/t/", None, 99).await? == all);
    ensure!(keys(&b, "list/t/", None, 2).await? == all[..2]);
    ensure!(keys(&b, "list/t/", Some(all[1]), 2).await? == all[2..4]);
    ensure!(keys(&b, "list/t/1", None, 9).await? == all[..2]);
    ensure!(keys(&b, "list/t/", Some("list/u"), 9).await?.is_empty());
    b.delete(all[2], Condition::Any).await?;
    let many = (0..100).map(|n| format!("list/many/{n:03}"));
    let put = many.map(|key| async {
        let key = key;
        a.put(&key, text("v"), Condition::Any, None).await
    });
    for put in join_all(put).await {
        put?;
    }
    ensure!(keys(&b, "list/t/", None, 99).await?.len() == 4);
    let (mut walked, mut after) = (BTreeSet::new(), None);
    loop {
        let page = keys(&b, "list/many/", after.as_deref(), 7).await?;
        let Some(last) = page.last() else { break };
        after = Some(last.clone());
        walked.extend(page);
    }
    ensure!(walked.len() == 100);
    ensure!(b.list("elsewhere/", None, 9).await.is_err(), "no shelf");
    Ok(())
}

async fn counts_each_increment(a: Store, b: Store) -> Result<()> {
    let claims = (0..8).map(|n| {
        let store = if n % 2 == 0 { &a } else { &b };
        store.put("owner", text("me"), Condition::Absent, None)
    });
    let won = join_all(claims).await;
    ensure!(
        won.iter().filter(|each| each.is_ok()).count() == 1,
        "{won:?}"
    );
    a.put("n", text("0"), Condition::Any, None).await?;
    let (one, other) = tokio::join!(increment(&a, 20), increment(&b, 20));
    one.and(other)?;
    ensure!(a.get("n").await?.context("it is there")?.value == "40");
    Ok(())
}

async fn increment(store: &Store, times: u32) -> Result<()> {
    let mut left = times;
    while left > 0 {
        let entry = store.get("n").await?.context("it is there")?;
        let next = std::str::from_utf8(&entry.value)?.parse::<u32>()? + 1;
        let condition = Condition::Etag(entry.etag);
        match store
            .put("n", next.to_string().into(), condition, None)
            .await
        {
            Ok(_) => left -= 1,
            Err(Error::Conflict) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}

async fn commits_all_or_nothing(a: Store, b: Store) -> Result<()> {
    let put =
        |key: &str, value, condition| Write::put(key.to_owned(), text(value), condition, None);
    let held = a.put("old", text("0"), Condition::Any, None).await?;
    let done = a
        .commit(vec![
            put("task", "1", Condition::Absent),
            put("index", "1", Condition::Any),
            Write::delete("old".to_owned(), Condition::Etag(held)),
        ])
        .await?;
    ensure!(b.get("task").await?.map(|entry| entry.etag) == Some(done[0]));
    ensure!(b.get("index").await?.map(|entry| entry.etag) == Some(done[1]));
    ensure!(b.get("old").await?.is_none());
    let refused = b
        .commit(vec![
            put("task", "2", Condition::Etag(done[0])),
            Write::delete("index".to_owned(), Condition::Any),
            put("message", "2", Condition::Etag(done[1])),
        ])
        .await;
    ensure!(is_conflict(&refused), "{refused:?}");
    ensure!(a.get("task").await?.map(|entry| entry.etag) == Some(done[0]));
    ensure!(a.get("index").await?.map(|entry| entry.etag) == Some(done[1]));
    ensure!(a.get("message").await?.is_none());
    ensure!(a.commit(Vec::new()).await?.is_empty());
    Ok(())
}

async fn gives_each_its_time(a: Store, b: Store) -> Result<()> {
    let put = |key: &str, ttl| Write::put(key.to_owned(), text("v"), Condition::Absent, ttl);
    let writes = vec![
        put("list/p/gone", GONE),
        put("list/p/hour", HOUR),
        put("list/p/ever", None),
    ];
    a.commit(writes).await?;
    ensure!(keys(&b, "list/p/", None, 9).await? == ["list/p/ever", "list/p/hour"]);
    Ok(())
}

async fn does_one_of_those_that_meet(a: Store, b: Store) -> Result<()> {
    let commits = (0..8).map(|n| {
        let store = if n % 2 == 0 { a.clone() } else { b.clone() };
        async move {
            let put = |key: String| Write::put(key, text("v"), Condition::Absent, None);
            let writes = vec![put(format!("own/{n}")), put("shared".to_owned())];
            store.commit(writes).await
        }
    });
    let done = join_all(commits).await;
    ensure!(
        done.iter().filter(|done| done.is_ok()).count() == 1,
        "{done:?}"
    );
    ensure!(
        done.iter().filter(|done| is_conflict(done)).count() == 7,
        "{done:?}"
    );
    ensure!(keys(&b, "own/", None, 9).await?.len() == 1);
    Ok(())
}

/// A commit that is dropped at any of its steps is done or not, and keeps the next from nothing.
async fn leaves_no_half_when_dropped(a: Store, b: Store) -> Result<()> {
    for polls in 1..24 {
        let key = |name: &str| format!("drop/{polls}/{name}");
        let put = |name: &str, value| Write::put(key(name), text(value), Condition::Any, None);
        let mut commit = Box::pin(a.commit(vec![put("x", "1"), put("y", "1")]));
        for _ in 0..polls {
            if commit.as_mut().now_or_never().is_some() {
                break;
            }
            // As many round trips as it takes for something to have come back.
            a.get("drop").await?;
        }
        drop(commit);
        let x = b.get(&key("x")).await?;
        let y = b.get(&key("y")).await?;
        ensure!(x.is_some() == y.is_some(), "{polls}: {x:?} {y:?}");
        if polls % 6 == 0 {
            b.commit(vec![put("x", "2"), put("y", "2")]).await?;
            for name in ["x", "y"] {
                ensure!(a.get(&key(name)).await?.context("it is there")?.value == "2");
            }
        }
    }
    Ok(())
}

type Check = fn(Store, Store) -> BoxFuture<'static, Result<()>>;

const CLAUSES: [(&str, Check); 10] = [
    ("what one writes the other reads, byte by byte", |a, b| {
        reads_what_the_other_wrote(a, b).boxed()
    }),
    ("a condition that does not hold changes nothing", |a, b| {
        judges_conditions(a, b).boxed()
    }),
    ("an etag does not come back after a deletion", |a, b| {
        makes_new_etags(a, b).boxed()
    }),
    ("what has expired is absent to everybody", |a, b| {
        forgets_what_expired(a, b).boxed()
    }),
    ("a list is ordered, bounded and can be walked", |a, b| {
        lists_in_order(a, b).boxed()
    }),
    ("the first write wins and no increment is lost", |a, b| {
        counts_each_increment(a, b).boxed()
    }),
    (
        "writes of a commit happen together or not at all",
        |a, b| commits_all_or_nothing(a, b).boxed(),
    ),
    ("each write of a commit lives as long as it says", |a, b| {
        gives_each_its_time(a, b).boxed()
    }),
    ("of commits that meet one is done, the rest not", |a, b| {
        does_one_of_those_that_meet(a, b).boxed()
    }),
    (
        "a commit that is dropped is done or not, never half",
        |a, b| leaves_no_half_when_dropped(a, b).boxed(),
    ),
];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_clause_of_the_store_holds_on_every_component() -> Result<()> {
    let (mut table, mut failed) = (String::new(), Vec::new());
    for bench in [Bench::in_memory().await?, Bench::redis().await?] {
        let Some(bench) = bench else { continue };
        for (name, check) in CLAUSES {
            let held = check(bench.a.clone(), bench.b.clone()).await;
            let cell = if held.is_ok() {
                "holds"
            } else {
                "DOES NOT HOLD"
            };
            writeln!(table, "{:18} {name:54} {cell}", bench.name)?;
            if let Err(error) = held {
                failed.push(format!("{}: {name}: {error:?}", bench.name));
            }
        }
    }
    say(&table);
    ensure!(failed.is_empty(), "{}", failed.join("\n"));
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_component_that_is_missing_or_is_no_store_is_told_at_the_start() -> Result<()> {
    let components = [
        Component::new("statestore", "state.in-memory", &[]),
        Component::new("pubsub", "pubsub.in-memory", &[]),
    ];
    let Some(sidecar) = Daprd::start(&components).await? else {
        return Ok(());
    };
    for (store, why) in [
        ("elsewhere", "no component \"elsewhere\""),
        ("pubsub", "no state store"),
    ] {
        let settings = Settings {
            store: store.to_owned(),
            ..settings(&sidecar)
        };
        let opened = Store::dapr(&settings, Vec::new()).await;
        let error = opened.err().context("it was opened")?;
        let told = format!("{:?}", anyhow::Error::from(error));
        ensure!(told.contains(why), "{told}");
    }
    Ok(())
}

//! What is left of commits when a sidecar or Redis is killed between and during them, and comes back.

use anyhow::{Context as _, Result, ensure};
use futures_util::FutureExt as _;
use mesh_fabric::state::{Condition, Store, Write};
use mesh_tests::{eventually::eventually, process::say};

use crate::state::Bench;

/// Commits pairs, each until it is acknowledged; what failed may have happened.
async fn pairs(store: &Store, numbers: std::ops::Range<u32>) -> Result<()> {
    for number in numbers {
        let put = |half: &str| {
            let (key, value) = (format!("list/{half}/{number}"), number.to_string().into());
            Write::put(key, value, Condition::Any, None)
        };
        eventually("a pair is committed", async || {
            let done = store.commit(vec![put("left"), put("right")]).await;
            Ok(done.ok())
        })
        .await?;
    }
    Ok(())
}

/// Looks at pairs until told to end: what it sees is whole.
async fn watch(store: &Store, over: &tokio::sync::Notify) -> Result<u32> {
    let (mut looks, over) = (0, over.notified());
    tokio::pin!(over);
    while over.as_mut().now_or_never().is_none() {
        for number in 0..160 {
            // The right one is read later: where the left one is, it must be too.
            let Ok(left) = store.get(&format!("list/left/{number}")).await else {
                continue;
            };
            let Ok(right) = store.get(&format!("list/right/{number}")).await else {
                continue;
            };
            ensure!(left.is_none() || right.is_some(), "half of {number}");
            looks += u32::from(left.is_some());
        }
        tokio::task::yield_now().await;
    }
    Ok(looks)
}

async fn disturb(bench: &mut Bench) -> Result<()> {
    let store = bench.a.clone();
    pairs(&store, 0..40).await?;
    for turn in [0_u32, 1] {
        let sidecar = bench.sidecars.first_mut().context("there is one")?;
        let range = 40 + 40 * turn..80 + 40 * turn;
        let cut = async {
            sidecar.kill().await?;
            sidecar.start_again().await
        };
        let (back, done) = tokio::join!(cut, pairs(&store, range));
        back.and(done)?;
    }
    let broker = bench.broker.as_mut().context("there is a broker")?;
    let cut = async {
        broker.kill().await?;
        broker.start_again().await
    };
    let (back, done) = tokio::join!(cut, pairs(&store, 120..160));
    back.and(done)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_commit_is_lost_or_halved_when_the_sidecar_and_redis_are_killed_and_come_back()
-> Result<()> {
    let Some(mut bench) = Bench::redis().await? else {
        return Ok(());
    };
    let (other, over) = (bench.b.clone(), tokio::sync::Notify::new());
    let disturbed = async {
        let disturbed = disturb(&mut bench).await;
        over.notify_one();
        disturbed
    };
    let (disturbed, looks) = tokio::join!(disturbed, watch(&other, &over));
    disturbed?;
    let looks = looks?;
    for half in ["left", "right"] {
        let all = other.list(&format!("list/{half}/"), None, 999).await?;
        ensure!(all.len() == 160, "{half}: {}", all.len());
    }
    say(&format!(
        "state.redis: 160 pairs acknowledged, all there, none seen half in {looks} looks"
    ));
    Ok(())
}

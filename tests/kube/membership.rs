//! Who is in the mesh, by the EndpointSlices of the real controllers.

use std::{
    collections::BTreeSet,
    sync::atomic::{AtomicBool, AtomicUsize, Ordering},
};

use anyhow::{Context as _, Result, ensure};
use futures_util::future::{join, join_all};
use kube::ResourceExt as _;
use mesh_proto::Binding;
use mesh_tests::{
    caller::{
        BINDINGS,
        words::{in_context, question},
    },
    eventually::eventually,
};

use crate::cluster::{self, Router, is_ending};

/// Callers that go on while the mesh changes, each with one call at a time.
const CALLERS: usize = 6;

/// Calls that must have been answered since a change, before it is taken for survived.
const SETTLED: usize = 10 * CALLERS;

#[tokio::test]
async fn routers_follow_workers_that_are_scaled_up_and_down() -> Result<()> {
    let test = "membership::routers_follow_workers_that_are_scaled_up_and_down";
    let Some(cluster) = cluster::inside(test).await? else {
        return Ok(());
    };
    cluster.apply(2, 2).await?;
    for count in [2, 4, 1, 3] {
        cluster.scale("workers", count).await?;
        let pods = cluster.running("worker", count).await?;
        for router in cluster.routers().await? {
            router.knows(&pods).await?;
        }
    }
    let [one, other] = cluster
        .routers()
        .await?
        .try_into()
        .ok()
        .context("two routers")?;
    ensure!(
        one.view().await? == other.view().await?,
        "two routers at rest disagree"
    );
    Ok(())
}

#[tokio::test]
async fn no_call_fails_while_the_workers_are_rolled() -> Result<()> {
    let test = "membership::no_call_fails_while_the_workers_are_rolled";
    let Some(cluster) = cluster::inside(test).await? else {
        return Ok(());
    };
    cluster.apply(2, 3).await?;
    let before = names(&cluster.running("worker", 3).await?);
    let routers = cluster.routers().await?;
    under_calls(&routers, async |answered| {
        settled(answered).await?;
        let rolled = "deployment/workers";
        let restart = ["rollout", "restart", rolled, "-n", cluster::NAMESPACE];
        cluster.plane.kubectl(&restart).await?;
        let after = eventually("all pods are others", || async {
            let pods = cluster.pods("worker").await?;
            let is_new = pods.len() == 3 && names(&pods).is_disjoint(&before);
            Ok(is_new.then_some(pods))
        })
        .await?;
        for router in &routers {
            router.knows(&after).await?;
        }
        settled(answered).await
    })
    .await
}

#[tokio::test]
async fn a_pod_that_is_killed_is_forgotten_and_its_successor_found() -> Result<()> {
    let test = "membership::a_pod_that_is_killed_is_forgotten_and_its_successor_found";
    let Some(cluster) = cluster::inside(test).await? else {
        return Ok(());
    };
    cluster.apply(1, 3).await?;
    let pods = cluster.running("worker", 3).await?;
    let victim = pods[0].name_any();
    let killed = [
        "delete",
        "pod",
        &victim,
        "-n",
        cluster::NAMESPACE,
        "--force",
        "--grace-period=0",
    ];
    cluster.plane.kubectl(&killed).await?;
    let pods = eventually("a successor", || async {
        let pods = cluster.running("worker", 3).await?;
        Ok((!names(&pods).contains(&victim)).then_some(pods))
    })
    .await?;
    for router in cluster.routers().await? {
        router.knows(&pods).await?;
        let asked = router
            .caller("assistant", Binding::JsonRpc)
            .send(question("1+1"))
            .await?;
        ensure!(asked.is_ok(), "{asked:?}");
    }
    Ok(())
}

#[tokio::test]
async fn a_pod_that_ends_keeps_its_tasks_and_gets_no_new_contexts() -> Result<()> {
    let test = "membership::a_pod_that_ends_keeps_its_tasks_and_gets_no_new_contexts";
    let Some(cluster) = cluster::inside(test).await? else {
        return Ok(());
    };
    cluster.apply(1, 2).await?;
    let pods = cluster.running("worker", 2).await?;
    let router = cluster.routers().await?.pop().context("a router")?;
    router.knows(&pods).await?;
    let ending = pods[0].name_any();
    let context = placed_on(&router, &ending).await?;
    let caller = router.caller("assistant", Binding::JsonRpc);
    let task = caller.send(in_context("1+1", &context)).await??;
    let end = [
        "delete",
        "pod",
        &ending,
        "-n",
        cluster::NAMESPACE,
        "--wait=false",
    ];
    cluster.plane.kubectl(&end).await?;
    eventually("its contexts go elsewhere", || async {
        let first = router
            .candidates("assistant", &context)
            .await?
            .into_iter()
            .next();
        Ok((first.as_deref() != Some(ending.as_str())).then_some(()))
    })
    .await?;
    let pods = cluster.pods("worker").await?;
    let still_there = pods
        .iter()
        .any(|pod| pod.name_any() == ending && is_ending(pod));
    ensure!(
        still_there,
        "it was seen as draining only after it was gone"
    );
    // It is alone in holding the task: its store is its own.
    let read = caller.get(&task.id).await??;
    ensure!(read.id == task.id, "{read:?}");
    Ok(())
}

#[tokio::test]
async fn a_router_without_its_role_waits_says_why_and_goes_on_once_it_has_it() -> Result<()> {
    let test = "membership::a_router_without_its_role_waits_says_why_and_goes_on_once_it_has_it";
    let Some(cluster) = cluster::inside(test).await? else {
        return Ok(());
    };
    cluster.apply(0, 1).await?;
    let unbind = ["delete", "rolebinding", "router", "-n", cluster::NAMESPACE];
    cluster.plane.kubectl(&unbind).await?;
    cluster.scale("router", 1).await?;
    let router = eventually("a router runs", || async {
        let pods = cluster.pods("router").await?;
        Ok(pods.first().and_then(|pod| Router::of(pod).ok()))
    })
    .await?;
    eventually("it says why it is not ready", || async {
        let said = cluster.kubelet.log(&router.name);
        let why = said
            .iter()
            .any(|line| line.contains("endpointslices") && line.contains("forbidden"));
        Ok(why.then_some(()))
    })
    .await?;
    ensure!(
        !router.is_ready().await?,
        "ready without having seen anybody"
    );
    // That alone: Deployments applied again would scale up and down, and might end this router.
    cluster.grant().await?;
    let pods = cluster.running("worker", 1).await?;
    router.knows(&pods).await
}

#[tokio::test]
async fn routing_goes_on_without_an_api_server_and_catches_up_after() -> Result<()> {
    let test = "membership::routing_goes_on_without_an_api_server_and_catches_up_after";
    let Some(mut cluster) = cluster::inside(test).await? else {
        return Ok(());
    };
    cluster.apply(2, 2).await?;
    let pods = cluster.running("worker", 2).await?;
    let routers = cluster.routers().await?;
    for router in &routers {
        router.knows(&pods).await?;
        ensure!(!router.is_stale().await?, "stale while the server is there");
    }
    cluster.plane.stop_server().await?;
    let away = std::time::Duration::from_secs(if is_long() { 60 } else { 10 });
    let until = tokio::time::Instant::now() + away;
    under_calls(&routers, async |answered| {
        for router in &routers {
            eventually("the metric says stale", || async {
                Ok(router.is_stale().await?.then_some(()))
            })
            .await?;
        }
        while tokio::time::Instant::now() < until {
            settled(answered).await?;
        }
        Ok(())
    })
    .await?;
    cluster.plane.start_server().await?;
    cluster.scale("workers", 3).await?;
    let pods = cluster.running("worker", 3).await?;
    for router in &routers {
        router.knows(&pods).await?;
        eventually("the metric says fresh", || async {
            Ok((!router.is_stale().await?).then_some(()))
        })
        .await?;
    }
    Ok(())
}

fn is_long() -> bool {
    std::env::var_os("DACA_LONG").is_some_and(|value| value == "1")
}

fn names(pods: &[k8s_openapi::api::core::v1::Pod]) -> BTreeSet<String> {
    pods.iter().map(|pod| pod.name_any()).collect()
}

/// A context that is placed on this member.
async fn placed_on(router: &Router, member: &str) -> Result<String> {
    for number in 0..256 {
        let context = format!("context-{number}");
        let candidates = router.candidates("assistant", &context).await?;
        if candidates.first().is_some_and(|first| first == member) {
            return Ok(context);
        }
    }
    anyhow::bail!("no context of 256 is placed on {member}")
}

/// Calls the agents through all routers, in all bindings, while `change` goes on; no call may fail.
async fn under_calls(
    routers: &[Router],
    change: impl AsyncFnOnce(&AtomicUsize) -> Result<()>,
) -> Result<()> {
    let (answered, over) = (AtomicUsize::new(0), AtomicBool::new(false));
    let calls = join_all((0..CALLERS).map(|number| {
        let router = &routers[number % routers.len()];
        let binding = BINDINGS[number % BINDINGS.len()];
        let caller = router.caller("assistant", binding);
        let (answered, over) = (&answered, &over);
        async move {
            while !over.load(Ordering::Relaxed) {
                let said = caller.send(question("2+2")).await?;
                ensure!(said.is_ok(), "{binding}: {said:?}");
                answered.fetch_add(1, Ordering::Relaxed);
            }
            Ok(())
        }
    }));
    let changing = async {
        let changed = change(&answered).await;
        over.store(true, Ordering::Relaxed);
        changed
    };
    let (calls, changed) = join(calls, changing).await;
    calls.into_iter().collect::<Result<Vec<()>>>()?;
    changed
}

/// Waits until many more calls were answered.
async fn settled(answered: &AtomicUsize) -> Result<()> {
    let wanted = answered.load(Ordering::Relaxed) + SETTLED;
    eventually("calls are answered", || async {
        Ok((answered.load(Ordering::Relaxed) >= wanted).then_some(()))
    })
    .await
}

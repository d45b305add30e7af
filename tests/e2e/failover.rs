//! A worker that dies takes its own tasks with it and nothing else.

use std::{
    collections::BTreeSet,
    sync::atomic::{AtomicBool, AtomicUsize, Ordering},
};

use anyhow::{Context as _, Result, ensure};
use futures_util::future::{join, join_all};
use mesh_proto::{Binding, Fault};
use mesh_tests::{
    caller::{
        BINDINGS, Refusal, number,
        words::{in_context, question},
    },
    eventually::eventually,
    mesh::Mesh,
    model::Model,
    process::Signal,
};

use crate::{affinity::places, stage::mesh};

const CONTEXTS: usize = 60;

#[tokio::test]
async fn a_killed_workers_contexts_move_on_and_the_others_are_untouched() -> Result<()> {
    let mut mesh = mesh(3).start().await?;
    let mut contexts = Vec::new();
    for turn in 0..CONTEXTS {
        let caller = mesh.router().caller("assistant", BINDINGS[turn % 3]);
        let task = caller.send(question("1+1")).await??;
        contexts.push((task.context_id, task.id));
    }
    let before = places(&mesh).await?;
    let victim = 1;
    let lost: BTreeSet<&str> = contexts
        .iter()
        .filter(|(_, task)| before.get(task) == Some(&victim))
        .map(|(context, _)| context.as_str())
        .collect();
    ensure!(
        !lost.is_empty() && lost.len() < CONTEXTS,
        "{} of {CONTEXTS}",
        lost.len()
    );

    let rounds = AtomicUsize::new(0);
    let over = AtomicBool::new(false);
    let router = &mesh.routers[0];
    let traffic = join_all(contexts.iter().enumerate().map(|(turn, (context, _))| {
        let caller = router.caller("assistant", BINDINGS[turn % 3]);
        let (rounds, over, may_fail) = (&rounds, &over, lost.contains(context.as_str()));
        async move {
            let mut refusals = Vec::new();
            while !over.load(Ordering::Relaxed) {
                // A hang or an answer that is not A2A is an error here, a refusal is not.
                let said = caller
                    .send(in_context("2+3", context))
                    .await
                    .context(context.clone())?;
                refusals.extend(said.err());
                let untouched = may_fail || refusals.is_empty();
                ensure!(untouched, "{context} was untouched, but {refusals:?}");
                rounds.fetch_add(1, Ordering::Relaxed);
            }
            Ok(refusals)
        }
    }));
    let process = &mesh.workers[victim].process;
    let murder = async {
        reach(&rounds, CONTEXTS).await?;
        process.signal(Signal::Kill)?;
        let killed = rounds.load(Ordering::Relaxed);
        let outcome = reach(&rounds, killed + 4 * CONTEXTS).await;
        over.store(true, Ordering::Relaxed);
        outcome
    };
    let (refusals, murdered) = join(traffic, murder).await;
    murdered?;
    for refusals in refusals {
        for refusal in refusals? {
            is_the_tables(&refusal)?;
        }
    }
    mesh.workers.remove(victim);
    still_served(&mesh, &contexts, &lost).await?;
    mesh.routers[0].is_well().await
}

#[tokio::test]
async fn a_stream_from_a_killed_worker_ends_with_an_error_and_not_with_silence() -> Result<()> {
    let model = Model::start().await?;
    for binding in BINDINGS {
        let mut mesh = mesh(1)
            .environment("OPENAI_BASE_URL", model.base_url())
            .start()
            .await?;
        let caller = mesh.router().caller("assistant", binding);
        let mut events = caller
            .stream(question(&format!("hold never-{binding}")))
            .await??;
        let first = events.event().await?;
        ensure!(first.is_some(), "{binding}: the stream begins");
        model.is_asked(&format!("never-{binding}")).await?;
        mesh.workers[0].end_by(Signal::Kill).await?;
        let refusal = loop {
            match events.next().await? {
                Some(Ok(_)) => {}
                Some(Err(refusal)) => break refusal,
                None => anyhow::bail!("{binding}: the stream just ended"),
            }
        };
        is_the_tables(&refusal)?;
        mesh.routers[0].is_well().await?;
    }
    Ok(())
}

#[tokio::test]
async fn with_no_worker_left_a_call_is_refused_and_does_not_hang() -> Result<()> {
    let mut mesh = mesh(2).start().await?;
    for worker in &mut mesh.workers {
        worker.end_by(Signal::Kill).await?;
    }
    for binding in BINDINGS {
        let caller = mesh.router().caller("assistant", binding);
        let refusal = caller
            .send(question("1+1"))
            .await?
            .err()
            .context("nobody can answer")?;
        refusal.expect(Fault::Unavailable)?;
    }
    mesh.routers[0].is_well().await
}

/// Every context goes on: the survivors' where they were, the dead one's somewhere else, together.
async fn still_served(
    mesh: &Mesh,
    contexts: &[(String, String)],
    lost: &BTreeSet<&str>,
) -> Result<()> {
    let mut turns = Vec::new();
    for (turn, (context, task)) in contexts.iter().enumerate() {
        let caller = mesh.router().caller("assistant", BINDINGS[turn % 3]);
        let first = caller.send(in_context("5+5", context)).await??;
        let again = caller.send(in_context("5+6", context)).await??;
        turns.push((context.as_str(), task, first.id, again.id));
    }
    let places = places(mesh).await?;
    for (context, task, first, again) in turns {
        let (first, again) = (places.get(&first), places.get(&again));
        ensure!(
            first.is_some() && first == again,
            "{context}: {first:?} then {again:?}"
        );
        if !lost.contains(context) {
            ensure!(
                places.get(task) == first,
                "{context} moved although its worker lives"
            );
        }
    }
    Ok(())
}

async fn reach(rounds: &AtomicUsize, goal: usize) -> Result<()> {
    eventually(&format!("{goal} calls"), || async {
        Ok((rounds.load(Ordering::Relaxed) >= goal).then_some(()))
    })
    .await
}

/// An error that a dead worker may cause, in the shape and with the number of the table.
fn is_the_tables(refusal: &Refusal) -> Result<()> {
    let Refusal {
        binding,
        number: told,
        ..
    } = refusal;
    let known = [Fault::Unavailable, Fault::Internal, Fault::TaskNotFound]
        .into_iter()
        .any(|fault| number(fault, *binding) == *told);
    ensure!(known, "not an error of the table: {refusal:?}");
    ensure!(!refusal.message.is_empty(), "no words: {refusal:?}");
    ensure!(
        *binding != Binding::JsonRpc || refusal.id == "1",
        "whose answer? {refusal:?}"
    );
    Ok(())
}

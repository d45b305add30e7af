//! What a client sees when something dies: the failure table, row by row, on real processes.
//!
//! Each row holds a task in the middle of its turn, by a model that waits for the test, and then breaks
//! one thing.

mod crashed;
mod dapr;
mod drained;
mod frozen;
mod moved;
mod routers;
mod store;
mod unreachable;

use anyhow::{Context as _, Result, ensure};
use mesh_proto::{Binding, a2a};
use mesh_tests::{
    caller::{
        Event, Events,
        words::{self, question},
    },
    eventually::eventually,
    mesh::{Mesh, Plan},
    model::Model,
};

use crate::{ground::Ground, stage};

/// Workers on one store, and a model that waits.
struct Stage {
    plan: Plan,
    mesh: Mesh,
    model: Model,
    ground: Ground,
}

/// What to start.
struct Scene {
    workers: usize,
    routers: usize,
    worker_arguments: &'static [&'static str],
    router_config: &'static str,
}

impl Default for Scene {
    fn default() -> Self {
        Self {
            workers: 3,
            routers: 1,
            worker_arguments: &[],
            router_config: "",
        }
    }
}

impl Stage {
    async fn of(scene: Scene) -> Result<Self> {
        Self::on(Ground::sqlite()?, scene).await
    }

    async fn on(ground: Ground, scene: Scene) -> Result<Self> {
        let model = Model::start().await?;
        let plan = stage::mesh(scene.workers)
            .routers(scene.routers)
            .environment("OPENAI_BASE_URL", model.base_url());
        let mut plan = ground.under(plan);
        for argument in scene.worker_arguments {
            plan = plan.worker(argument);
        }
        if !scene.router_config.is_empty() {
            let file = ground.folder.path().join("router.toml");
            std::fs::write(&file, scene.router_config)?;
            plan = plan.router("--config").router(file);
        }
        let mesh = plan.start().await?;
        Ok(Self {
            plan,
            mesh,
            model,
            ground,
        })
    }

    /// Opens a stream whose task waits for [`Model::release`] of `key`.
    async fn holding(&self, binding: Binding, key: &str) -> Result<Followed> {
        let caller = self.mesh.router().caller("assistant", binding);
        let mut events = caller.stream(question(&format!("hold {key}"))).await??;
        let first = events.event().await?.context("the stream begins")?;
        let Event::Task(task) = first else {
            anyhow::bail!("no task first: {first:?}")
        };
        self.model.is_asked(key).await?;
        Ok(Followed { task, events })
    }

    /// The worker that runs the only turn.
    async fn owner(&self) -> Result<usize> {
        let mut owners = Vec::new();
        for (number, worker) in self.mesh.workers.iter().enumerate() {
            let metrics = worker.metrics().await?;
            if metrics.sum("mesh_worker_tasks_in_flight", &[])? > 0.5 {
                owners.push(number);
            }
        }
        ensure!(owners.len() == 1, "the turn runs at {owners:?}");
        Ok(owners[0])
    }

    /// Waits until the model was asked `times` times for what holds `key`.
    async fn is_asked(&self, key: &str, times: usize) -> Result<()> {
        eventually(&format!("{times} questions of {key}"), || async {
            let asked = self.model.asked();
            let of_key = asked.iter().filter(|ask| ask.to_string().contains(key));
            Ok((of_key.count() >= times).then_some(()))
        })
        .await
    }

    /// The sum of a counter over all workers that live.
    async fn counted(&self, name: &str, but: Option<usize>) -> Result<f64> {
        let mut sum = 0.0;
        for (number, worker) in self.mesh.workers.iter().enumerate() {
            if Some(number) != but {
                sum += worker.metrics().await?.sum(name, &[])?;
            }
        }
        Ok(sum)
    }
}

/// A stream and its task.
struct Followed {
    task: a2a::Task,
    events: Events,
}

impl Followed {
    /// Reads to the end, which must be a good one: no second snapshot, one final state, and an answer.
    async fn completes(mut self) -> Result<()> {
        let rest = self.events.rest().await?;
        let words: Vec<_> = rest.iter().map(words::word).collect();
        ensure!(
            words.iter().all(|word| !word.starts_with("task:")),
            "a second snapshot: {words:?}"
        );
        let finals = words.iter().filter(|word| *word == "completed").count();
        ensure!(
            finals == 1 && words.last().is_some_and(|last| last == "completed"),
            "{words:?}"
        );
        ensure!(words.iter().any(|word| word == "artifact"), "{words:?}");
        Ok(())
    }
}

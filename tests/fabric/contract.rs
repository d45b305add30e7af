//! The contract as a table: clause by component.

use std::{fmt::Write as _, path::Path};

use anyhow::{Result, ensure};
use mesh_fabric::{
    bus::{
        Error, Topic, Transit,
        contract::{CLAUSES, Clause, Ground},
    },
    dapr::{Need, Settings},
    state::Place,
};
use mesh_tests::{process::say, remote::Remote};

use crate::ground::{self, Bench, GROUP};

/// Who keeps a clause, and what of a component it takes.
#[derive(Clone, Copy)]
enum Keeper {
    /// The form, where its component can.
    Form(&'static [Need]),
    /// `Transit`, above a form that can do this.
    Above(&'static [Need]),
}

fn keeper(clause: &Clause) -> Keeper {
    match clause.name {
        "one member of a group gets each message" => Keeper::Form(&[Need::Groups]),
        "each listener of a broadcast gets each message" => Keeper::Form(&[Need::Broadcast]),
        "messages of one key come in order, one at a time" => {
            Keeper::Form(&[Need::Groups, Need::Order])
        }
        "what a member had when it left goes to another" => Keeper::Form(&[Need::Redelivery]),
        "bytes, ids, keys and attributes arrive as they were"
        | "an id that comes twice, or on two topics, loses nothing"
        | "a publish given up harms nothing and can be made again" => Keeper::Form(&[]),
        // It is published before anybody listens there.
        "after its attempts a message is a dead letter that says why"
        | "what can never be done is a dead letter at once" => Keeper::Above(&[Need::Durable]),
        _ => Keeper::Above(&[]),
    }
}

fn topic(number: usize, kind: &str) -> Result<Topic> {
    Ok(format!("a2a.{kind}{number}.v1").parse()?)
}

/// What stands in a cell, or what went wrong.
async fn cell(bench: &Bench, number: usize, clause: &Clause) -> Result<&'static str> {
    let held = || async {
        let ground = Ground {
            a: bench.a.clone(),
            b: bench.b.clone(),
            topic: topic(number, "c")?,
            other: topic(number, "other")?,
            group: GROUP.to_owned(),
            is_serial: bench.is_serial,
        };
        let held = (clause.check)(ground).await;
        ensure!(held.is_ok(), "{}: {}: {held:?}", bench.name, clause.name);
        anyhow::Ok(())
    };
    let (needs, kept) = match keeper(clause) {
        Keeper::Above(needs) => (needs, "made up above"),
        Keeper::Form(needs) => (needs, "holds"),
    };
    let lacking = bench.settings.as_ref().and_then(|settings| {
        let lacks = needs.iter().find(|need| !settings.needs.contains(need));
        lacks.map(|need| (settings, *need))
    });
    match lacking {
        None => {
            held().await?;
            Ok(kept)
        }
        Some((settings, need)) => {
            refused(bench.name, settings, need).await?;
            Ok("refused at start")
        }
    }
}

/// That a mesh which needs it does not start on this component, and is told why.
async fn refused(name: &str, settings: &Settings, need: Need) -> Result<()> {
    let wanting = Settings {
        needs: [need].into(),
        ..settings.clone()
    };
    match Transit::dapr(wanting).await {
        Err(Error::Unable(why)) => ensure!(why.contains(need.lack()), "{name}: {why}"),
        other => anyhow::bail!("{name}: {need:?} was not refused: {other:?}"),
    }
    Ok(())
}

async fn column(bench: Bench) -> (&'static str, Vec<Result<&'static str>>) {
    let mut cells = Vec::new();
    for (number, clause) in CLAUSES.iter().enumerate() {
        cells.push(cell(&bench, number, clause).await);
    }
    (bench.name, cells)
}

async fn maybe(
    bench: Result<Option<Bench>>,
) -> Result<Option<(&'static str, Vec<Result<&'static str>>)>> {
    match bench? {
        None => Ok(None),
        Some(bench) => Ok(Some(column(bench).await)),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_clause_of_the_bus_holds_on_every_component_or_is_refused_at_the_start() -> Result<()>
{
    let dir = tempfile::tempdir()?;
    let place = Place::Sqlite(dir.path().to_owned());
    let memory = Transit::open(&Place::Memory).await?;
    let memory = Bench::embedded("memory", memory.clone(), memory);
    let one = Transit::open(&place).await?;
    let program = Path::new(env!("CARGO_BIN_EXE_bus-under-test"));
    let two = Remote::sqlite(program, dir.path(), one.promises())?;
    let sqlite = Bench::embedded("sqlite", one, Transit::of(two));
    let mut topics = Vec::new();
    for number in 0..CLAUSES.len() {
        let own = topic(number, "c")?;
        topics.extend([own.dead(), own, topic(number, "other")?]);
    }
    let columns = tokio::join!(
        async { maybe(Ok(Some(memory))).await },
        async { maybe(Ok(Some(sqlite))).await },
        async { maybe(ground::in_memory().await).await },
        async { maybe(ground::redis().await).await },
        async { maybe(ground::jetstream(&topics).await).await },
        async { maybe(ground::kafka(&topics).await).await },
    );
    let columns = [
        columns.0, columns.1, columns.2, columns.3, columns.4, columns.5,
    ];
    let columns = columns.into_iter().collect::<Result<Vec<_>>>()?;
    let columns: Vec<_> = columns.into_iter().flatten().collect();
    let mut table = format!("{:58}", "clause");
    for (name, _) in &columns {
        write!(table, " {name:17}")?;
    }
    let mut failed = Vec::new();
    for (number, clause) in CLAUSES.iter().enumerate() {
        write!(table, "\n{:58}", clause.name)?;
        for (_, cells) in &columns {
            let cell = match &cells[number] {
                Ok(cell) => cell,
                Err(error) => {
                    failed.push(error.to_string());
                    "DOES NOT HOLD"
                }
            };
            write!(table, " {cell:17}")?;
        }
    }
    say(&table);
    ensure!(failed.is_empty(), "{}", failed.join("\n"));
    Ok(())
}

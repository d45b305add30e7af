//! A thousand tasks of our own workers whose webhook fails half of the time and is restarted, while a
//! worker is killed: in a network that has the addresses where nobody may be called.

use std::{
    collections::HashMap,
    io::Write as _,
    net::SocketAddr,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use anyhow::{Context as _, Result, ensure};
use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use mesh_proto::{Binding, a2a};
use mesh_tests::{
    caller::words::question,
    eventually::{eventually, eventually_for},
    mesh::{Mesh, Node},
    network,
    process::{self, Signal, run, say},
};
use serde_json::Value;
use tokio::net::TcpListener;

use super::receiver::{GONE, Receiver};
use crate::{
    names,
    stage::{mesh, program},
};

const TASKS: usize = 1000;
const HOOK: &str = "203.0.113.10";
const FORBIDDEN: [&str; 3] = ["10.0.0.5", "169.254.169.254", "127.0.0.1"];
const PORT: u16 = 8443;
/// Later rounds are ten seconds apart at first.
const ROUNDS: Duration = Duration::from_secs(150);

const TEST: &str =
    "push::queue::a_thousand_tasks_are_told_to_a_webhook_that_fails_half_of_the_time_and_restarts";

#[tokio::test]
async fn a_thousand_tasks_are_told_to_a_webhook_that_fails_half_of_the_time_and_restarts()
-> Result<()> {
    if network::is_inside() {
        return inside().await;
    }
    let addresses = FORBIDDEN[..2].iter().chain([&HOOK]);
    let addresses = addresses
        .map(|text| network::ip(text))
        .collect::<Result<Vec<_>>>()?;
    network::again(TEST, &addresses).await.map(|_| ())
}

/// Where the webhook of a task is.
fn hook(number: usize) -> String {
    match number % 50 {
        7 => format!("https://private.test:{PORT}/hook"),
        8 => format!("https://home.test:{PORT}/hook"),
        9 => format!("http://hook.test:{PORT}{GONE}"),
        _ => format!("http://hook.test:{PORT}/hook"),
    }
}

fn is_private(number: usize) -> bool {
    matches!(number % 50, 7 | 8)
}

fn is_gone(number: usize) -> bool {
    number % 50 == 9
}

/// Counts who comes where nobody may.
async fn count() -> Result<Arc<AtomicUsize>> {
    let came = Arc::new(AtomicUsize::new(0));
    for text in FORBIDDEN {
        let listener = TcpListener::bind((network::ip(text)?, PORT)).await?;
        let counted = Arc::clone(&came);
        drop(tokio::task::spawn(async move {
            while listener.accept().await.is_ok() {
                counted.fetch_add(1, Ordering::SeqCst);
            }
        }));
    }
    Ok(came)
}

/// Asks with a webhook until there is an answer: the same message each time, so it is the same task.
async fn ask(routers: &[Node], number: usize) -> Result<(usize, String)> {
    let mut request = question(&format!("task {number}"));
    let configuration = request.configuration.get_or_insert_default();
    configuration.return_immediately = true;
    configuration.task_push_notification_config = Some(a2a::TaskPushNotificationConfig {
        url: hook(number),
        token: "t-1".to_owned(),
        ..Default::default()
    });
    let binding = [Binding::JsonRpc, Binding::Rest, Binding::Grpc][number % 3];
    let caller = routers[number % routers.len()].caller("echo", binding);
    let task = eventually("an answer", || async {
        Ok(caller.send(request.clone()).await?.ok())
    });
    Ok((number, task.await?.id))
}

async fn inside() -> Result<()> {
    let forbidden = count().await?;
    let lead = |text| Ok::<_, anyhow::Error>(vec![vec![network::ip(text)?]]);
    let names = HashMap::from([
        ("private.test", lead("10.0.0.5")?),
        ("home.test", lead("127.0.0.1")?),
        ("hook.test", lead(HOOK)?),
    ]);
    names::serve("127.0.0.1:53".parse()?, names).await?;
    let receiver = Receiver::start(SocketAddr::new(network::ip(HOOK)?, PORT)).await?;
    let store = tempfile::tempdir()?;
    let state = store.path().join("state");
    let mut agents = tempfile::Builder::new().suffix(".yaml").tempfile()?;
    agents.write_all(b"agents:\n  - {name: echo, description: Says it again., model: echo}\n")?;
    let mut mesh = mesh(3)
        .routers(2)
        .knowing_their_router()
        .agents(agents.path(), &["echo"])
        .worker("--state")
        .worker(format!("sqlite:{}", state.display()))
        .worker("--push-allow")
        .worker(format!("{HOOK}/32"))
        .start()
        .await?;
    let (tasks, mut receiver) = asked(&mut mesh, receiver).await?;
    let dead = tasks.keys().filter(|n| is_private(**n) || is_gone(**n));
    let dead = dead.count();
    told(&receiver, &tasks, |number| {
        !is_private(number) && !is_gone(number)
    })
    .await?;
    receiver.restart().await?;

    // Each event of a task with such a webhook is a letter; each says where it would have gone.
    let letters = eventually_for(ROUNDS, "the dead letters", || async {
        let letters = letters(&state).await?;
        let ended: std::collections::HashSet<_> =
            letters.iter().map(|l| l["task"].to_string()).collect();
        Ok((ended.len() == dead).then_some(letters))
    })
    .await?;
    for letter in &letters {
        let url = letter["url"].as_str().context("a letter's URL")?;
        ensure!(!url.ends_with("/hook") || url.starts_with("https"), "{url}");
        ensure!(!letter.to_string().contains("t-1"), "{letter}");
    }
    receiver.heard(|heard| heard.is_back = true);
    let names = letters.iter().filter_map(|letter| {
        let is_of_gone = letter["url"].as_str()?.ends_with(GONE);
        is_of_gone.then(|| letter["name"].as_str())?
    });
    let mut replay = vec!["push", "dead", "replay"];
    replay.extend(names);
    daca(&replay, &state).await?;
    told(&receiver, &tasks, |number| !is_private(number)).await?;

    let came = forbidden.load(Ordering::SeqCst);
    ensure!(came == 0, "{came} came where nobody may be called");
    let (failed, again, nameless) = receiver.heard(|heard| {
        let again = heard.taken.values().filter(|(_, times)| *times > 1).count();
        (heard.failed, again, heard.nameless)
    });
    ensure!(nameless == 0, "{nameless} could not be told apart");
    ensure!(
        failed > TASKS && again > 0,
        "{failed} failed, {again} again"
    );
    let letters = letters.len();
    say(&format!(
        "{TASKS} tasks: {failed} attempts failed, {again} events came more than once, {letters} letters"
    ));
    Ok(())
}

/// Asks for all tasks; meanwhile a worker is killed and the webhook restarted. Their ids, by number.
async fn asked(
    mesh: &mut Mesh,
    mut receiver: Receiver,
) -> Result<(HashMap<usize, String>, Receiver)> {
    let (routers, workers) = (&mesh.routers, &mut mesh.workers);
    let sent = AtomicUsize::new(0);
    let asking = stream::iter(0..TASKS)
        .map(|number| ask(routers, number))
        .buffer_unordered(16)
        .inspect_ok(|_| {
            sent.fetch_add(1, Ordering::SeqCst);
        })
        .try_collect::<HashMap<_, _>>();
    let breaking = async {
        for (at, is_death) in [
            (TASKS / 4, false),
            (TASKS / 2, true),
            (TASKS * 3 / 4, false),
        ] {
            eventually_for(ROUNDS, "some tasks", || async {
                Ok((sent.load(Ordering::SeqCst) >= at).then_some(()))
            })
            .await?;
            if is_death {
                workers[0].end_by(Signal::Kill).await?;
            } else {
                receiver.restart().await?;
            }
        }
        anyhow::Ok(receiver)
    };
    let (tasks, receiver) = tokio::join!(asking, breaking);
    Ok((tasks?, receiver?))
}

/// Waits until the webhook took the end of each of these tasks, which is one event however often it came.
async fn told(
    receiver: &Receiver,
    tasks: &HashMap<usize, String>,
    which: impl Fn(usize) -> bool,
) -> Result<()> {
    let wanted = || tasks.iter().filter(|(number, _)| which(**number));
    let missing = || {
        receiver.heard(|heard| {
            let ends = heard.ends();
            wanted().filter(|(_, id)| !ends.contains_key(*id)).count()
        })
    };
    let all = eventually_for(ROUNDS, "the end of each task to be told", || async {
        Ok((missing() == 0).then_some(()))
    });
    all.await
        .with_context(|| format!("{} of {} are missing", missing(), wanted().count()))?;
    receiver.heard(|heard| {
        for (task, keys) in heard.ends() {
            ensure!(keys.len() == 1, "{task} ended as {keys:?}");
        }
        Ok(())
    })
}

async fn daca(arguments: &[&str], state: &Path) -> Result<Vec<u8>> {
    let mut command = process::daca(program());
    command.args(arguments);
    command
        .arg("--state")
        .arg(format!("sqlite:{}", state.display()));
    let output = run(command).await?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{arguments:?}: {said}");
    Ok(output.stdout)
}

/// The dead letters, as they are listed.
async fn letters(state: &Path) -> Result<Vec<Value>> {
    let list = [
        "--output", "json", "push", "dead", "list", "--limit", "5000",
    ];
    let printed = daca(&list, state).await?;
    let letters = serde_json::Deserializer::from_slice(&printed).into_iter();
    Ok(letters.collect::<Result<_, _>>()?)
}

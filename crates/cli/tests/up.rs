//! `daca up` as a person meets it: it comes up, a worker dies, it goes down.

#![cfg(all(feature = "router", feature = "worker", feature = "mcp"))]
#![expect(
    clippy::unwrap_used,
    reason = "a test's own fault should fail the test at once"
)]

use std::{path::Path, process::Stdio, time::Duration};

use rustix::process::{Pid, Signal, kill_process, test_kill_process};
use tokio::{
    io::{AsyncBufReadExt as _, BufReader, Lines},
    process::{Child, ChildStdout, Command},
    time::timeout,
};

/// Far more than a loaded machine needs, and less than a test run is worth.
const PATIENCE: Duration = Duration::from_secs(90);

struct Up {
    child: Child,
    lines: Lines<BufReader<ChildStdout>>,
    seen: Vec<String>,
}

impl Up {
    fn start(arguments: &[&str]) -> Self {
        let mut child = Command::new(env!("CARGO_BIN_EXE_daca"))
            .arg("up")
            .args(arguments)
            .env_remove("OPENAI_API_KEY")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        Self {
            child,
            lines,
            seen: Vec::new(),
        }
    }

    /// The next line that holds all of these.
    async fn line(&mut self, parts: &[&str]) -> String {
        let found = timeout(PATIENCE, async {
            loop {
                let line = self.lines.next_line().await.unwrap()?;
                self.seen.push(line.clone());
                if parts.iter().all(|part| line.contains(part)) {
                    return Some(line);
                }
            }
        });
        let found = found.await.ok().flatten();
        found.unwrap_or_else(|| panic!("no line with {parts:?} in {:#?}", self.seen))
    }

    async fn ended(mut self) -> (Option<i32>, String) {
        let mut text = String::new();
        let mut stderr = BufReader::new(self.child.stderr.take().unwrap()).lines();
        let status = timeout(PATIENCE, async {
            while let Some(line) = stderr.next_line().await.unwrap() {
                text.push_str(&line);
                text.push('\n');
            }
            self.child.wait().await.unwrap()
        });
        (status.await.unwrap().code(), text)
    }
}

fn pid(line: &str) -> Pid {
    let mut words = line.split_whitespace().skip_while(|word| *word != "pid");
    let pid = words.nth(1).and_then(|pid| pid.parse().ok());
    pid.and_then(Pid::from_raw)
        .unwrap_or_else(|| panic!("no pid in {line}"))
}

/// Where a mesh that failed left its logs.
fn logs(stderr: &str) -> &Path {
    let found = stderr
        .lines()
        .find_map(|line| line.strip_prefix("The logs are in "));
    Path::new(found.unwrap_or_else(|| panic!("no logs are named in {stderr}")))
}

#[tokio::test]
async fn a_mesh_comes_up_shows_a_death_and_leaves_nobody_behind() {
    let mut up = Up::start(&["--listen", "127.0.0.1:0", "--workers", "2"]);
    let router = pid(&up.line(&["router", "pid"]).await);
    let ready = up.line(&["The mesh is up: http://127.0.0.1:"]).await;
    assert!(ready.contains("assistant, desk, planner"), "{ready}");
    let send = up.line(&[" send http://127.0.0.1:", "/assistant"]).await;
    let first = pid(&up.line(&["worker-1", "active"]).await);
    let second = pid(&up.line(&["worker-2", "active"]).await);

    // The printed line works as pasted.
    let pasted = Command::new("sh")
        .args(["-c", &send])
        .output()
        .await
        .unwrap();
    let answer = String::from_utf8_lossy(&pasted.stdout).into_owned();
    assert!(
        pasted.status.success() && answer.contains("Asia/Tokyo"),
        "{pasted:?}"
    );

    kill_process(first, Signal::KILL).unwrap();
    up.line(&["worker-1", "dead (signal 9 SIGKILL)"]).await;
    let pasted = Command::new("sh")
        .args(["-c", &send])
        .output()
        .await
        .unwrap();
    assert!(
        pasted.status.success(),
        "the other worker answers: {pasted:?}"
    );

    let whole = Pid::from_raw(up.child.id().unwrap().cast_signed()).unwrap();
    kill_process(whole, Signal::TERM).unwrap();
    let (code, stderr) = up.ended().await;
    assert_eq!(code, Some(0), "{stderr}");
    for process in [router, second] {
        assert!(
            test_kill_process(process).is_err(),
            "{process:?} is left behind"
        );
    }
}

#[tokio::test]
async fn a_mesh_that_cannot_start_says_why_and_stops_what_it_started() {
    let taken = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let (code, stderr) = Up::start(&["--listen", &address]).ended().await;
    assert_eq!(code, Some(1), "{stderr}");
    assert!(stderr.contains("router ended"), "{stderr}");
    assert!(
        stderr.contains(&address),
        "the router's own words are shown: {stderr}"
    );
    std::fs::remove_dir_all(logs(&stderr)).unwrap();

    let mut up = Up::start(&[
        "--listen",
        "127.0.0.1:0",
        "--agents",
        "/nowhere/agents.yaml",
    ]);
    let router = pid(&up.line(&["router", "pid"]).await);
    let (code, stderr) = up.ended().await;
    assert_eq!(code, Some(1), "{stderr}");
    assert!(stderr.contains("/nowhere/agents.yaml"), "{stderr}");
    assert!(
        test_kill_process(router).is_err(),
        "the router is left behind"
    );
    let logs = logs(&stderr);
    assert!(logs.join("worker-1.log").exists());
    std::fs::remove_dir_all(logs).unwrap();
}

//! Brokers of other people, each on a free loopback port with a folder of its own: Redis, NATS with
//! JetStream, Kafka.
//!
//! # Invariants
//! - A broker that is killed and started again is on its old port with its old folder.

mod wire;

use std::{
    fs,
    net::{Ipv4Addr, SocketAddr, TcpListener},
    path::Path,
};

use anyhow::{Context as _, Result};
use tempfile::TempDir;
use tokio::{
    io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader},
    net::TcpStream,
    process::Command,
};

use crate::{
    eventually::{eventually, within},
    parts::{Part, folder},
    process::{self, Process, Signal},
};

/// A running broker. Dropped, it ends, and its folder goes.
#[derive(Debug)]
pub struct Broker {
    kind: Kind,
    process: Process,
    port: u16,
    folder: TempDir,
}

#[derive(Clone, Copy, Debug)]
enum Kind {
    Redis,
    Nats,
    Kafka,
}

impl Broker {
    /// Redis that writes each change to its file; `None` after a `NOT RUN` line.
    ///
    /// # Errors
    /// When it does not get ready.
    pub async fn redis() -> Result<Option<Self>> {
        Self::start(Kind::Redis).await
    }

    /// NATS with JetStream; `None` after a `NOT RUN` line.
    ///
    /// # Errors
    /// When it does not get ready.
    pub async fn nats() -> Result<Option<Self>> {
        Self::start(Kind::Nats).await
    }

    /// Kafka on one node that makes topics as they are named, with four partitions each; `None` after a
    /// `NOT RUN` line.
    ///
    /// # Errors
    /// When it does not get ready.
    pub async fn kafka() -> Result<Option<Self>> {
        Self::start(Kind::Kafka).await
    }

    async fn start(kind: Kind) -> Result<Option<Self>> {
        if kind.part().find()?.is_none() {
            return Ok(None);
        }
        let folder = tempfile::tempdir()?;
        let port = free_port()?;
        if let Kind::Kafka = kind {
            format_kafka(folder.path(), port).await?;
        }
        let process = Process::start(kind.part().name(), kind.command(folder.path(), port)?)?;
        let broker = Self {
            kind,
            process,
            port,
            folder,
        };
        broker.is_ready().await?;
        Ok(Some(broker))
    }

    /// Where it listens, as `127.0.0.1:PORT`.
    #[must_use]
    pub fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// Its process.
    #[must_use]
    pub fn id(&self) -> Option<u32> {
        self.process.id()
    }

    /// Kills it where it stands.
    ///
    /// # Errors
    /// When it has ended by itself.
    pub async fn kill(&mut self) -> Result<()> {
        self.process.signal(Signal::Kill)?;
        self.process.end().await?;
        Ok(())
    }

    /// Stops it where it stands, and waits until it does.
    ///
    /// # Errors
    /// When it has ended by itself.
    pub async fn stop(&self) -> Result<()> {
        self.process.stop().await
    }

    /// Lets it go on after [`Self::stop`].
    ///
    /// # Errors
    /// When it has ended by itself.
    pub fn go_on(&self) -> Result<()> {
        self.process.signal(Signal::Cont)
    }

    /// Starts it again after [`Self::kill`], on what it has written.
    ///
    /// # Errors
    /// When it does not get ready.
    pub async fn start_again(&mut self) -> Result<()> {
        let command = self.kind.command(self.folder.path(), self.port)?;
        self.process = Process::start(self.kind.part().name(), command)?;
        self.is_ready().await
    }

    async fn is_ready(&self) -> Result<()> {
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, self.port));
        eventually("the broker listens", async || {
            Ok(TcpStream::connect(address).await.ok())
        })
        .await?;
        Ok(())
    }

    /// Has Redis carry out a command, whose words are given apart.
    ///
    /// # Errors
    /// When it does not, with what it says.
    pub async fn command(&self, words: &[&str]) -> Result<()> {
        let mut asked = format!("*{}\r\n", words.len());
        for word in words {
            asked += &format!("${}\r\n{word}\r\n", word.len());
        }
        let socket = TcpStream::connect((Ipv4Addr::LOCALHOST, self.port)).await?;
        let mut socket = BufReader::new(socket);
        socket.write_all(asked.as_bytes()).await?;
        let mut line = String::new();
        within("Redis answers", async {
            Ok(socket.read_line(&mut line).await?)
        })
        .await?;
        anyhow::ensure!(line.starts_with('+'), "{words:?}: {line}");
        Ok(())
    }

    /// Makes a JetStream stream of subjects. Those of two streams must not overlap.
    ///
    /// # Errors
    /// When the server does not take it.
    pub async fn stream(&self, name: &str, subjects: &[&str]) -> Result<()> {
        let stream = serde_json::json!({ "name": name, "subjects": subjects });
        let stream = stream.to_string();
        let asked = format!(
            "CONNECT {{\"verbose\":false}}\r\nSUB answers 1\r\nPUB $JS.API.STREAM.CREATE.{name} answers {}\r\n{stream}\r\n",
            stream.len()
        );
        let socket = TcpStream::connect((Ipv4Addr::LOCALHOST, self.port)).await?;
        let mut socket = BufReader::new(socket);
        socket.write_all(asked.as_bytes()).await?;
        within("the stream is made", async {
            let mut line = String::new();
            while !line.contains("stream_create_response") {
                line.clear();
                let read = socket.read_line(&mut line).await?;
                anyhow::ensure!(read > 0, "the server hung up");
            }
            anyhow::ensure!(!line.contains("\"error\""), "{line}");
            Ok(())
        })
        .await
    }
}

impl Broker {
    /// Makes Kafka's topics and waits until they can be used. A consumer that has subscribed to one that
    /// is not there yet may not hear of it for minutes.
    ///
    /// # Errors
    /// When the server does not make them.
    pub async fn topics(&self, topics: &[String]) -> Result<()> {
        let mut socket = TcpStream::connect((Ipv4Addr::LOCALHOST, self.port)).await?;
        let deadline = tokio::time::Instant::now() + crate::eventually::PATIENCE;
        while wire::ask_for(&mut socket, topics).await? < topics.len() {
            anyhow::ensure!(tokio::time::Instant::now() < deadline, "no topics in time");
            tokio::task::yield_now().await;
        }
        Ok(())
    }
}

impl Kind {
    const fn part(self) -> Part {
        match self {
            Self::Redis => Part::Redis,
            Self::Nats => Part::Nats,
            Self::Kafka => Part::Kafka,
        }
    }

    fn command(self, dir: &Path, port: u16) -> Result<Command> {
        let port = port.to_string();
        let program = self.part().find()?.context("it has been found before")?;
        let mut command;
        match self {
            Self::Redis => {
                command = Command::new(program);
                command.args(["--port", &port, "--bind", "127.0.0.1", "--save", ""]);
                command.args(["--appendonly", "yes", "--appendfsync", "always", "--dir"]);
                command.arg(dir);
            }
            Self::Nats => {
                command = Command::new(program);
                command.args(["-a", "127.0.0.1", "-p", &port, "-js", "-sd"]);
                command.arg(dir);
            }
            Self::Kafka => {
                command = java();
                command.arg("kafka.Kafka").arg(dir.join("s.properties"));
            }
        }
        Ok(command)
    }
}

fn java() -> Command {
    let mut command = Command::new("java");
    command
        .args(["-Xmx384m", "-Xms128m", "-cp"])
        .arg(folder().join("kafka/*"));
    command
}

async fn format_kafka(dir: &Path, port: u16) -> Result<()> {
    let controller = free_port()?;
    let properties = format!(
        "process.roles=broker,controller\nnode.id=1\n\
         controller.quorum.voters=1@127.0.0.1:{controller}\ncontroller.listener.names=CONTROLLER\n\
         listeners=PLAINTEXT://127.0.0.1:{port},CONTROLLER://127.0.0.1:{controller}\n\
         listener.security.protocol.map=PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT\n\
         log.dirs={}\nnum.partitions=4\noffsets.topic.num.partitions=1\n\
         offsets.topic.replication.factor=1\ntransaction.state.log.replication.factor=1\n\
         transaction.state.log.min.isr=1\ngroup.initial.rebalance.delay.ms=0\n\
         group.min.session.timeout.ms=1000\n",
        dir.join("log").display()
    );
    let file = dir.join("s.properties");
    fs::write(&file, properties)?;
    let mut command = java();
    command.args(["kafka.tools.StorageTool", "format", "-t"]);
    command.args(["MkU3OEVBNTcwNTJENDM2Qg", "-c"]).arg(&file);
    let done = process::run(command).await?;
    let said = String::from_utf8_lossy(&done.stderr);
    anyhow::ensure!(done.status.success(), "formatting kafka's folder: {said}");
    Ok(())
}

/// A port that nobody listens on at this moment.
///
/// # Errors
/// When there is none.
pub fn free_port() -> Result<u16> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    Ok(listener.local_addr()?.port())
}

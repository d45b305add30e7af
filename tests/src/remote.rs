//! A form of the bus that another process holds, so that a contract can be asked of two processes.
//!
//! The other process opens the form and does what is asked on its standard input, a line of JSON at a
//! time; what it says comes on its standard output.
//!
//! # Invariants
//! - Nothing is made up here: each call of the form is a call there, and its answer is the answer.

mod host;
mod words;

use std::{
    collections::HashMap,
    path::Path,
    process::Stdio,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use anyhow::{Context as _, Result};
use futures_util::future::BoxFuture;
use mesh_fabric::bus::{
    Arrival, Arrivals, Bus, Depth, Error, Message, Promises, Reach, Receipt, Topic,
};
use mesh_runtime::drain;
use parking_lot::Mutex;
use tokio::{
    io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader},
    process::{Child, ChildStdin, ChildStdout, Command},
    sync::{mpsc, oneshot},
};

pub use self::host::host;
use self::words::{Ask, Fault, Said, Text};

/// What is said and not read yet. More than a test ever has under way: one more is lost, and the test fails.
const QUEUE: usize = 4096;

/// An arrival: its number there, its attempt, its message.
type Told = (u64, u32, Text);

/// The form in the other process. Dropped with all that it gave out, the process ends.
#[derive(Clone, Debug)]
pub struct Remote(Arc<Line>);

#[derive(Debug)]
struct Line {
    promises: Promises,
    asks: mpsc::Sender<Ask>,
    numbers: AtomicU64,
    waiting: Mutex<HashMap<u64, oneshot::Sender<Said>>>,
    listeners: Mutex<HashMap<u64, mpsc::Sender<Told>>>,
    _process: Child,
}

impl Remote {
    /// Starts the process and has it open the SQLite bus of this folder.
    ///
    /// # Errors
    /// When it does not start.
    pub fn sqlite(program: &Path, folder: &Path, promises: Promises) -> Result<Self> {
        let mut process = Command::new(program)
            .arg(folder)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()?;
        let input = process.stdin.take().context("its input")?;
        let output = process.stdout.take().context("its output")?;
        let (asks, asked) = mpsc::channel(QUEUE);
        let line = Arc::new(Line {
            promises,
            asks,
            numbers: AtomicU64::new(1),
            waiting: Mutex::default(),
            listeners: Mutex::default(),
            _process: process,
        });
        let (_, spawner) = drain::channel();
        spawner.spawn("asks", write(asked, input));
        let reader = Arc::downgrade(&line);
        spawner.spawn("answers", async move {
            let mut lines = BufReader::new(output).lines();
            while let Ok(Some(text)) = Self::line(&mut lines).await {
                let Some(line) = reader.upgrade() else { return };
                line.take(&text);
            }
        });
        Ok(Self(line))
    }

    async fn line(lines: &mut tokio::io::Lines<BufReader<ChildStdout>>) -> Result<Option<String>> {
        Ok(lines.next_line().await?)
    }

    async fn ask(&self, ask: impl FnOnce(u64) -> Ask) -> Result<Said, Error> {
        self.0.ask(ask).await
    }
}

async fn write(mut asked: mpsc::Receiver<Ask>, mut input: ChildStdin) {
    while let Some(ask) = asked.recv().await {
        let Ok(mut text) = serde_json::to_vec(&ask) else {
            return;
        };
        text.push(b'\n');
        if input.write_all(&text).await.is_err() {
            return;
        }
    }
}

impl Line {
    fn number(&self) -> u64 {
        self.numbers.fetch_add(1, Ordering::Relaxed)
    }

    fn take(&self, text: &str) {
        let Ok(said) = serde_json::from_str::<Said>(text) else {
            return;
        };
        match said {
            Said::Arrived {
                listener,
                arrival,
                attempt,
                message,
            } => {
                let listeners = self.listeners.lock();
                if let Some(listener) = listeners.get(&listener) {
                    // One that has left is told of no more.
                    listener.try_send((arrival, attempt, message)).ok();
                }
            }
            Said::Ended { listener } => {
                self.listeners.lock().remove(&listener);
            }
            said => {
                if let Some(waiting) = self.waiting.lock().remove(&said.number()) {
                    // Who asked may have given up.
                    waiting.send(said).ok();
                }
            }
        }
    }

    async fn ask(&self, ask: impl FnOnce(u64) -> Ask) -> Result<Said, Error> {
        let number = self.number();
        let (answer, answered) = oneshot::channel();
        self.waiting.lock().insert(number, answer);
        self.asks.try_send(ask(number)).map_err(|_| Error::Closed)?;
        answered.await.map_err(|_| Error::Closed)
    }
}

impl Bus for Remote {
    fn promises(&self) -> Promises {
        self.0.promises
    }

    fn publish(&self, batch: Vec<Message>) -> BoxFuture<'_, Vec<Result<(), Error>>> {
        Box::pin(async move {
            let count = batch.len();
            let batch = batch.iter().map(Text::of).collect();
            match self.ask(|number| Ask::Publish { number, batch }).await {
                Ok(Said::Published { answers, .. }) => {
                    answers.into_iter().map(Fault::result).collect()
                }
                _ => vec![Err(Error::Closed); count],
            }
        })
    }

    fn subscribe(
        &self,
        topic: Topic,
        reach: Reach,
        in_flight: usize,
    ) -> BoxFuture<'_, Result<Box<dyn Arrivals>, Error>> {
        Box::pin(async move {
            let (tell, told) = mpsc::channel(QUEUE);
            let number = self.0.number();
            self.0.listeners.lock().insert(number, tell);
            let group = match reach {
                Reach::Group(group) => Some(group),
                Reach::Broadcast => None,
            };
            let listening = Listening {
                line: Arc::clone(&self.0),
                number,
                told,
            };
            let ask = |call| Ask::Subscribe {
                number: call,
                listener: number,
                topic: topic.to_string(),
                group,
                in_flight,
            };
            match self.ask(ask).await? {
                Said::Done { fault, .. } => {
                    Fault::result(fault)?;
                    Ok(Box::new(listening) as Box<dyn Arrivals>)
                }
                _ => Err(Error::Closed),
            }
        })
    }

    fn depth(&self, topic: Topic, group: String) -> BoxFuture<'_, Result<Option<Depth>, Error>> {
        Box::pin(async move {
            let topic = topic.to_string();
            let ask = |number| Ask::Depth {
                number,
                topic,
                group,
            };
            match self.ask(ask).await? {
                Said::Depth {
                    fault,
                    messages,
                    oldest,
                    ..
                } => {
                    Fault::result(fault)?;
                    Ok(messages.map(|messages| Depth { messages, oldest }))
                }
                _ => Err(Error::Closed),
            }
        })
    }
}

struct Listening {
    line: Arc<Line>,
    number: u64,
    told: mpsc::Receiver<Told>,
}

impl Arrivals for Listening {
    fn next(&mut self) -> BoxFuture<'_, Option<Arrival>> {
        Box::pin(async move {
            let (number, attempt, text) = self.told.recv().await?;
            let receipt = Slip {
                line: Arc::clone(&self.line),
                number,
                is_settled: false,
            };
            Some(Arrival {
                message: text.message()?,
                attempt,
                receipt: Box::new(receipt),
            })
        })
    }
}

impl Drop for Listening {
    fn drop(&mut self) {
        self.line.listeners.lock().remove(&self.number);
        let listener = self.number;
        // Where the process is gone, so is what it held.
        self.line.asks.try_send(Ask::Leave { listener }).ok();
    }
}

struct Slip {
    line: Arc<Line>,
    number: u64,
    is_settled: bool,
}

impl Receipt for Slip {
    fn done(mut self: Box<Self>) -> BoxFuture<'static, Result<(), Error>> {
        Box::pin(async move {
            self.is_settled = true;
            let arrival = self.number;
            match self
                .line
                .ask(|number| Ask::Done { number, arrival })
                .await?
            {
                Said::Done { fault, .. } => Fault::result(fault),
                _ => Err(Error::Closed),
            }
        })
    }
}

impl Drop for Slip {
    fn drop(&mut self) {
        if !self.is_settled {
            let arrival = self.number;
            // As above.
            self.line.asks.try_send(Ask::Drop { arrival }).ok();
        }
    }
}

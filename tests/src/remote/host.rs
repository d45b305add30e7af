//! The side of the process that holds the form.

use std::{
    collections::HashMap,
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use anyhow::Result;
use mesh_fabric::{
    bus::{Bus, Error, Reach, Receipt, Topic, Transit},
    state::Place,
};
use mesh_runtime::drain::{self, Drain};
use parking_lot::Mutex;
use tokio::{
    io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader, stdin, stdout},
    sync::mpsc,
    task::JoinHandle,
};

use super::{
    QUEUE,
    words::{Ask, Fault, Said, Text},
};

struct Host {
    form: Arc<dyn Bus>,
    says: mpsc::Sender<Said>,
    held: Mutex<HashMap<u64, Box<dyn Receipt>>>,
    listening: Mutex<HashMap<u64, JoinHandle<Option<()>>>>,
    arrivals: AtomicU64,
    drain: Drain,
}

/// Does what is asked on the standard input, until that ends.
///
/// # Errors
/// When the form can't be opened, or something is asked that is no ask.
pub async fn host(folder: PathBuf) -> Result<()> {
    let bus = Transit::open(&Place::Sqlite(folder)).await?;
    let (says, mut said) = mpsc::channel(QUEUE);
    let (_trigger, drain) = drain::channel();
    drain.spawn("answers", async move {
        let mut output = stdout();
        while let Some(said) = said.recv().await {
            let Ok(mut text) = serde_json::to_vec(&said) else {
                return;
            };
            text.push(b'\n');
            let written = output.write_all(&text).await.is_ok();
            if !written || output.flush().await.is_err() {
                return;
            }
        }
    });
    let host = Arc::new(Host {
        form: bus.form(),
        says,
        held: Mutex::default(),
        listening: Mutex::default(),
        arrivals: AtomicU64::new(1),
        drain: drain.clone(),
    });
    let mut lines = BufReader::new(stdin()).lines();
    while let Some(line) = lines.next_line().await? {
        let ask: Ask = serde_json::from_str(&line)?;
        match ask {
            // In their order.
            Ask::Leave { listener } => {
                let listening = host.listening.lock().remove(&listener);
                listening.inspect(JoinHandle::abort);
            }
            Ask::Drop { arrival } => drop(host.held.lock().remove(&arrival)),
            ask => {
                let host = Arc::clone(&host);
                drain.spawn("ask", async move { host.answer(ask).await });
            }
        }
    }
    Ok(())
}

impl Host {
    async fn answer(self: Arc<Self>, ask: Ask) {
        let said = match ask {
            Ask::Publish { number, batch } => {
                let batch = batch.into_iter().filter_map(Text::message).collect();
                let answers = self.form.publish(batch).await;
                let answers = answers.iter().map(Fault::of).collect();
                Said::Published { number, answers }
            }
            Ask::Subscribe {
                number,
                listener,
                topic,
                group,
                in_flight,
            } => {
                let begun = self.listen(listener, &topic, group, in_flight).await;
                let fault = Fault::of(&begun);
                Said::Done { number, fault }
            }
            Ask::Done { number, arrival } => {
                let receipt = self.held.lock().remove(&arrival);
                let done = match receipt {
                    Some(receipt) => receipt.done().await,
                    None => Err(Error::Closed),
                };
                let fault = Fault::of(&done);
                Said::Done { number, fault }
            }
            Ask::Depth {
                number,
                topic,
                group,
            } => {
                let depth = match topic.parse::<Topic>() {
                    Ok(topic) => self.form.depth(topic, group).await,
                    Err(_) => Err(Error::Size),
                };
                let fault = Fault::of(&depth);
                let depth = depth.unwrap_or_default();
                Said::Depth {
                    number,
                    fault,
                    messages: depth.map(|depth| depth.messages),
                    oldest: depth.unwrap_or_default().oldest,
                }
            }
            Ask::Drop { .. } | Ask::Leave { .. } => return,
        };
        // Nobody reads any more: it ends soon.
        self.says.send(said).await.ok();
    }

    async fn listen(
        self: &Arc<Self>,
        listener: u64,
        topic: &str,
        group: Option<String>,
        in_flight: usize,
    ) -> Result<(), Error> {
        let topic: Topic = topic.parse().map_err(|_| Error::Size)?;
        let reach = group.map_or(Reach::Broadcast, Reach::Group);
        let mut arrivals = self.form.subscribe(topic, reach, in_flight).await?;
        let host = Arc::clone(self);
        let listening = self.drain.spawn("arrivals", async move {
            while let Some(arrival) = arrivals.next().await {
                let number = host.arrivals.fetch_add(1, Ordering::Relaxed);
                host.held.lock().insert(number, arrival.receipt);
                let said = Said::Arrived {
                    listener,
                    arrival: number,
                    attempt: arrival.attempt,
                    message: Text::of(&arrival.message),
                };
                // As above.
                host.says.send(said).await.ok();
            }
            host.says.send(Said::Ended { listener }).await.ok();
        });
        self.listening.lock().insert(listener, listening);
        Ok(())
    }
}

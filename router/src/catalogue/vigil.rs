//! One watch per process of ours: its reports as they come, and at once the news that it is lost.
//!
//! ```text
//! reports come                    -> steady; each is taken over by every endpoint of the process
//! nothing for SILENCE             -> silent: ejected, and nobody waits there any longer. Never gone: what is
//!                                    frozen may go on, and its lease says when its tasks are another's
//! the connection breaks or ends   -> broken: ejected at once, and asked again at once
//!   the port refuses              -> the boot is gone: every other worker is told
//!   another boot answers          -> the same, and the new one serves
//!   the same boot answers         -> steady: only the connection was lost
//! ```
//!
//! # Invariants
//! - A boot is told to be gone only when its process provably is over.
//! - A worker that knows no watch is asked for its report every [`ASK_EVERY`], as ever.
//! - A process that has left the roster is watched a little longer: how it ends is others' affair.

use std::{
    io,
    sync::{Arc, Weak},
    time::Duration,
};

use bytes::{Bytes, BytesMut};
use http::{Method, Request, StatusCode, header};
use http_body_util::{BodyExt as _, Full};
use mesh_proto::mesh::{WORKER_PATH, WorkerReport};
use mesh_runtime::egress;
use tokio::time::Instant;
use tracing::{debug, info, warn};

use super::{
    Catalogue,
    notice::{self, How},
};
use crate::upstream::{
    self,
    health::Pulse,
    origin::{Carried, Origin, Reason, Unanswered, Wire},
};

/// How often at most a change of load alone is reported, in milliseconds. Answers carry it, too.
const REPORT_MILLIS: u32 = 250;
/// A worker gives a sign of life each second: three that do not come are no accident.
const SILENCE: Duration = Duration::from_secs(3);
/// After so much silence the connection is given up, and another one tried.
const GIVEN_UP: Duration = Duration::from_secs(15);
/// A watch that ended sooner is not tried again at once: its worker ends each.
const SHORT: Duration = Duration::from_secs(1);
/// How long the answer's head may take.
const HEAD: Duration = Duration::from_secs(3);
/// The pause before a lost process is asked again; doubles up to [`SLOWEST`].
const FIRST: Duration = Duration::from_millis(50);
const SLOWEST: Duration = Duration::from_secs(2);
/// How often a worker without a watch is asked.
pub(super) const ASK_EVERY: Duration = Duration::from_secs(2);
/// How often such a one is tried for a watch.
const TRY_AGAIN: Duration = Duration::from_mins(1);
/// How many more reports of a process that has left the roster are heard: two minutes' worth.
const FAREWELL: u32 = 120;
/// How often the lost watch of such a one is tried again.
const FAREWELL_TRIES: u32 = 8;
/// The longest report. A worker of a thousand agents stays below it.
const LINE_BYTES: usize = 256 << 10;

/// Watches a process that has reported this life, unless somebody does already.
pub(super) fn begin(catalogue: &Arc<Catalogue>, origin: &Arc<Origin>, boot: &str) {
    if !origin.health().take_watch() {
        return;
    }
    notice::tell(catalogue, origin);
    let watch = Watch {
        catalogue: Arc::downgrade(catalogue),
        origin: Arc::downgrade(origin),
        boot: Some(boot.to_owned()),
    };
    let drain = catalogue.drain.clone();
    catalogue.drain.spawn("watch", async move {
        tokio::select! {
            () = drain.signaled() => {}
            () = watch.run() => {}
        }
    });
}

struct Watch {
    catalogue: Weak<Catalogue>,
    origin: Weak<Origin>,
    /// The life that was heard last; unset again once it is told to be gone.
    boot: Option<String>,
}

/// How listening ended.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Ended {
    /// The port refuses connections: whoever listened there is over.
    Refused,
    /// It was heard, and its connection broke or ended.
    Broken,
    /// It can't be reached, or does not answer.
    Silent,
    /// It answered, and has no watch.
    Plain,
    /// It lives and is no member any more.
    Left,
}

impl Watch {
    async fn run(mut self) {
        let (mut pause, mut tries) = (FIRST, 0_u32);
        while let (Some(catalogue), Some(origin)) =
            (self.catalogue.upgrade(), self.origin.upgrade())
        {
            if origin.residents().is_empty() && (self.boot.is_none() || tries > FAREWELL_TRIES) {
                origin.health().leave_watch();
                return;
            }
            let begun = Instant::now();
            let ended = self.listen(&catalogue, &origin).await;
            let was_short = begun.elapsed() < SHORT;
            tries = tries.saturating_add(1);
            match ended {
                Ended::Plain | Ended::Left => origin.health().unheard(),
                Ended::Refused | Ended::Broken | Ended::Silent => {
                    self.lose(&catalogue, &origin, ended);
                }
            }
            drop((catalogue, origin));
            if ended == Ended::Plain {
                tokio::time::sleep(TRY_AGAIN).await;
                continue;
            }
            if ended == Ended::Broken && !was_short {
                // Whether it is over shows at once, and others wait for the answer.
                pause = FIRST;
                continue;
            }
            tokio::time::sleep(pause).await;
            pause = pause.saturating_mul(2).min(SLOWEST);
        }
    }

    /// Hears reports until there are none any more.
    async fn listen(&mut self, catalogue: &Catalogue, origin: &Arc<Origin>) -> Ended {
        let mut body = match open(origin).await {
            Ok(body) => body,
            Err(ended) => return ended,
        };
        let mut held = BytesMut::new();
        let (mut was_heard, mut alone) = (false, 0);
        loop {
            let patience = if origin.health().is_silent() {
                GIVEN_UP
            } else {
                SILENCE
            };
            let frame = match tokio::time::timeout(patience, body.frame()).await {
                Ok(Some(Ok(frame))) => frame,
                Ok(Some(Err(_)) | None) if was_heard => return Ended::Broken,
                Ok(Some(Err(_)) | None) => return Ended::Silent,
                Err(_) if patience == GIVEN_UP => return Ended::Silent,
                Err(_) => {
                    self.lose(catalogue, origin, Ended::Silent);
                    continue;
                }
            };
            if let Some(data) = frame.data_ref() {
                held.extend_from_slice(data);
            }
            let heard = self.take_lines(&mut held, catalogue, origin);
            was_heard |= heard > 0;
            alone += heard;
            if !origin.residents().is_empty() {
                alone = 0;
            }
            if alone > FAREWELL {
                self.boot = None;
                return Ended::Left;
            }
            if held.len() > LINE_BYTES {
                debug!(target = %origin.target(), "a report is too long to be one");
                return Ended::Silent;
            }
        }
    }

    /// Takes over whole reports, and says how many there were.
    fn take_lines(
        &mut self,
        held: &mut BytesMut,
        catalogue: &Catalogue,
        origin: &Arc<Origin>,
    ) -> u32 {
        let mut heard = 0;
        while let Some(end) = memchr::memchr(b'\n', held) {
            let line = held.split_to(end + 1);
            if let Some(report) = upstream::report(&line) {
                heard += 1;
                self.hear(catalogue, origin, &report);
            }
        }
        heard
    }

    fn hear(&mut self, catalogue: &Catalogue, origin: &Arc<Origin>, report: &WorkerReport) {
        if self.boot.as_deref() != Some(&report.boot) {
            let earlier = self.boot.replace(report.boot.clone());
            if let Some(earlier) = earlier {
                info!(target = %origin.target(), "a worker came back as another life");
                catalogue.bulletin.bury(&earlier, How::Replaced);
            }
            catalogue.bulletin.revive(&report.boot);
        }
        let health = origin.health();
        health.readmit();
        health.heard();
        let mut changed = false;
        for (_, endpoint) in origin.residents() {
            changed |= endpoint.learn_report(report);
        }
        if changed {
            debug!(target = %origin.target(), boot = %report.boot, "worker reported");
            catalogue.refresh();
        }
        catalogue.bulletin.compare(origin, &report.view);
    }

    fn lose(&mut self, catalogue: &Catalogue, origin: &Origin, ended: Ended) {
        let pulse = match ended {
            Ended::Silent => Pulse::Silent,
            Ended::Refused => Pulse::Over,
            _ => Pulse::Broken,
        };
        origin.health().feel(pulse);
        match (ended, &self.boot) {
            (Ended::Refused, Some(boot)) => {
                warn!(target = %origin.target(), boot, "worker is gone");
                catalogue.bulletin.bury(boot, How::Refused);
                self.boot = None;
            }
            (_, Some(boot)) => {
                warn!(target = %origin.target(), boot, how = ?ended, "worker lost; ejected");
            }
            (_, None) => {}
        }
    }
}

/// Asks for the reports of a process.
async fn open(origin: &Arc<Origin>) -> Result<Carried, Ended> {
    let request = Request::builder()
        .method(Method::GET)
        .uri(format!("{WORKER_PATH}?watch={REPORT_MILLIS}"))
        .header(header::HOST, origin.target().authority())
        .header(header::ACCEPT, "application/x-ndjson")
        .body(Full::<Bytes>::default())
        .map_err(|_| Ended::Plain)?;
    let sent = tokio::time::timeout(HEAD, origin.send(Wire::H1, request)).await;
    let response = match sent {
        Ok(Ok(response)) => response,
        Ok(Err(error)) if is_refusal(&error) => return Err(Ended::Refused),
        Ok(Err(_)) | Err(_) => return Err(Ended::Silent),
    };
    let kind = response.headers().get(header::CONTENT_TYPE);
    let is_watch = kind
        .and_then(|kind| kind.to_str().ok())
        .is_some_and(|kind| kind.starts_with("application/x-ndjson"));
    if response.status() == StatusCode::OK && is_watch {
        Ok(response.into_body())
    } else {
        Err(Ended::Plain)
    }
}

/// Whether the host is there and says that nobody listens.
fn is_refusal(error: &Unanswered) -> bool {
    match error {
        Unanswered::Unsent(Reason::Connect(egress::Error::Connect { source, .. })) => matches!(
            source.kind(),
            io::ErrorKind::ConnectionRefused | io::ErrorKind::ConnectionReset
        ),
        Unanswered::Unsent(_) | Unanswered::Sent(_) => false,
    }
}

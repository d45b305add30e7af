//! The live line per worker: renewed in place on a terminal, printed on change elsewhere.

use mesh_proto::mesh::{WorkerReport, WorkerState};

use crate::output::{Output, Tone};

/// One worker as it is shown.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Row {
    pub(super) name: String,
    pub(super) pid: u32,
    pub(super) url: String,
    pub(super) standing: Standing,
}

/// What is known of a worker.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) enum Standing {
    /// Its own words.
    Reports(WorkerReport),
    /// It runs and does not answer.
    Silent,
    /// Its process ended, and how.
    Dead(String),
}

/// The lines on the screen.
pub(super) struct Board<'a> {
    output: &'a Output,
    shown: Vec<Row>,
}

impl<'a> Board<'a> {
    pub(super) const fn new(output: &'a Output) -> Self {
        Self {
            output,
            shown: Vec::new(),
        }
    }

    pub(super) fn show(&mut self, rows: Vec<Row>) {
        if rows == self.shown {
            return;
        }
        let mut text = String::new();
        if self.output.live && !self.shown.is_empty() {
            // Back up over the lines of the last time; each is then cleared and written anew.
            text.push_str(&format!("\x1b[{}A", self.shown.len()));
        }
        for (number, row) in rows.iter().enumerate() {
            let clear = if self.output.live { "\x1b[2K" } else { "" };
            if self.output.live || self.shown.get(number) != Some(row) {
                text.push_str(&format!("{clear}{}\n", self.line(row)));
            }
        }
        self.output.raw(&text);
        self.shown = rows;
    }

    fn line(&self, row: &Row) -> String {
        let (tone, state) = match &row.standing {
            Standing::Reports(report) => {
                let work = format!("{} in flight of {}", report.in_flight, report.capacity);
                match report.state {
                    WorkerState::Active => (Tone::Good, format!("active    {work}")),
                    WorkerState::Draining => (Tone::Strong, format!("draining  {work}")),
                }
            }
            Standing::Silent => (Tone::Bad, "does not answer".to_owned()),
            Standing::Dead(how) => (Tone::Bad, format!("dead ({how})")),
        };
        let Row { name, pid, url, .. } = row;
        format!(
            "{name:<8} pid {pid:<7} {url:<24} {}",
            self.output.paint(tone, &state)
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::output::Format;

    #[test]
    fn a_dead_worker_says_how_it_died() {
        let output = Output::new(Format::Json);
        let row = Row {
            name: "worker-2".to_owned(),
            pid: 7,
            url: "http://127.0.0.1:9".to_owned(),
            standing: Standing::Dead("signal 9 SIGKILL".to_owned()),
        };
        let line = Board::new(&output).line(&row);
        assert!(line.contains("dead (signal 9 SIGKILL)"), "{line}");
        assert!(line.contains("pid 7"), "{line}");
    }
}

//! `daca card lint`: what is wrong with a card.

use mesh_card::lint::{self, Severity};
use serde_json::json;

use super::source::Source;
use crate::{
    exit::{Exit, Failure},
    output::{Format, Output, Tone},
};

/// Which card.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(flatten)]
    source: Source,
}

pub(super) async fn run(args: &Args, output: &Output) -> Result<Exit, Failure> {
    let findings = lint::lint(&args.source.card().await?);
    match output.format {
        Format::Json => {
            let list: Vec<_> = findings
                .iter()
                .map(|finding| {
                    json!({
                        "severity": finding.severity.label(),
                        "pointer": finding.pointer,
                        "message": finding.words,
                    })
                })
                .collect();
            output.json(&list)?;
        }
        Format::Text => {
            for finding in &findings {
                let tone = match finding.severity {
                    Severity::Error => Tone::Bad,
                    Severity::Warning => Tone::Strong,
                    Severity::Note => Tone::Faint,
                };
                let severity = format!("{:<8}", finding.severity.label());
                let place = match finding.pointer.as_str() {
                    "" => "the card",
                    pointer => pointer,
                };
                let severity = output.paint(tone, &severity);
                output.line(&format!("{severity} {place}: {}", finding.words));
            }
            if findings.is_empty() {
                output.line(&output.paint(Tone::Good, "nothing is wrong with it"));
            }
        }
    }
    let is_wrong = findings
        .iter()
        .any(|finding| finding.severity == Severity::Error);
    Ok(if is_wrong { Exit::Failed } else { Exit::Ok })
}

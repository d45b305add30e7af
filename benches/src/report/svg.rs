//! The report as one picture, written by hand: no library draws three plain plots in less.
//!
//! # Invariants
//! - The file needs nothing else: no script, no font, no link.
//! - Whatever the figures, every point lies within its frame.

use std::fmt::{Result, Write as _};

use super::{Report, Step};

const WIDTH: f64 = 860.0;
const PLOT_HEIGHT: f64 = 230.0;
const LEFT: f64 = 80.0;
const GAP: f64 = 80.0;
const COLOURS: [&str; 8] = [
    "#1f77b4", "#ff7f0e", "#2ca02c", "#d62728", "#9467bd", "#8c564b", "#e377c2", "#17becf",
];

/// Draws the report.
pub(super) fn draw(report: &Report) -> String {
    let mut plots = Vec::new();
    if report.steps.len() > 1 {
        plots.push(over_load(report));
    }
    plots.push(percentiles(report));
    plots.push(over_time(report));
    let mut out = String::new();
    // Writing to a string can't fail.
    page(&mut out, report, &plots).unwrap_or_default();
    out
}

/// One frame with its lines.
struct Plot {
    title: &'static str,
    across: &'static str,
    up: &'static str,
    /// What stands at the marks below the frame, from the left edge as 0 to the right as 1.
    marks: Vec<(f64, String)>,
    lines: Vec<Line>,
}

struct Line {
    name: String,
    dashed: bool,
    /// Across from 0 to 1, up in the plot's unit.
    points: Vec<(f64, f64)>,
}

fn over_load(report: &Report) -> Plot {
    let most = report
        .steps
        .iter()
        .map(|step| step.rate)
        .fold(0.0, f64::max);
    let line = |name: &str, dashed, value: fn(&Step) -> f64| Line {
        name: name.to_owned(),
        dashed,
        points: report
            .steps
            .iter()
            .map(|step| (share(step.rate, most), value(step)))
            .collect(),
    };
    Plot {
        title: "Goodput over offered load",
        across: "calls offered per second",
        up: "calls per second",
        marks: scale(most),
        lines: vec![
            line("done within the deadline", false, |step| step.goodput),
            line("refused", true, |step| {
                float(step.counts.refused) / step.seconds
            }),
            line("late or failed", true, |step| {
                float(step.counts.late + step.counts.failed) / step.seconds
            }),
        ],
    }
}

fn percentiles(report: &Report) -> Plot {
    // Equal room for each nine: 0, 90, 99, 99.9, 99.99 %.
    let nines =
        |percent: f64| (-((100.0 - percent.min(99.99)) / 100.0).log10() / 4.0).clamp(0.0, 1.0);
    let marks = [0.0, 50.0, 90.0, 99.0, 99.9, 99.99]
        .map(|percent| (nines(percent), format!("{percent} %")));
    let lines = report.steps.iter().map(|step| Line {
        name: format!("{:.0}/s", step.rate),
        dashed: false,
        points: step
            .curve
            .iter()
            .map(|(percent, ms)| (nines(*percent), *ms))
            .collect(),
    });
    Plot {
        title: "Time of calls done, by percentile",
        across: "percentile",
        up: "ms",
        marks: marks.to_vec(),
        lines: lines.collect(),
    }
}

fn over_time(report: &Report) -> Plot {
    let seconds = report
        .steps
        .iter()
        .map(|step| step.series.len())
        .max()
        .unwrap_or(0);
    let most = float(seconds as u64);
    let lines = report.steps.iter().map(|step| Line {
        name: format!("{:.0}/s", step.rate),
        dashed: false,
        points: (0_u64..)
            .zip(&step.series)
            .map(|(second, row)| (share(float(second) + 0.5, most), row.p99_ms))
            .collect(),
    });
    Plot {
        title: "99th percentile of calls done, second by second",
        across: "seconds",
        up: "ms",
        marks: scale(most),
        lines: lines.collect(),
    }
}

fn page(out: &mut String, report: &Report, plots: &[Plot]) -> Result {
    let height = 60.0 + float(plots.len() as u64) * (PLOT_HEIGHT + GAP);
    writeln!(
        out,
        r#"<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {} {height}" font-family="sans-serif" font-size="12">"#,
        WIDTH + LEFT + 200.0
    )?;
    writeln!(out, r#"<rect width="100%" height="100%" fill="white"/>"#)?;
    let machine = &report.machine;
    let words = format!(
        "{}; {}, {} cores, Linux {}; open loop, times from when a call was due",
        report.aims.join(", "),
        machine.processor,
        machine.cores,
        machine.kernel
    );
    writeln!(
        out,
        r##"<text x="{LEFT}" y="20" fill="#444">{}</text>"##,
        plain(&words)
    )?;
    let mut top = 60.0;
    for plot in plots {
        frame(out, plot, top)?;
        top += PLOT_HEIGHT + GAP;
    }
    writeln!(out, "</svg>")
}

fn frame(out: &mut String, plot: &Plot, top: f64) -> Result {
    let bottom = top + PLOT_HEIGHT;
    let points = plot.lines.iter().flat_map(|line| &line.points);
    let most = points.map(|(_, y)| *y).fold(0.0, f64::max);
    writeln!(
        out,
        r#"<text x="{LEFT}" y="{}" font-size="15">{}</text>"#,
        top - 10.0,
        plot.title
    )?;
    writeln!(
        out,
        r##"<rect x="{LEFT}" y="{top}" width="{WIDTH}" height="{PLOT_HEIGHT}" fill="none" stroke="#999"/>"##
    )?;
    for (at, words) in scale(most) {
        let y = bottom - at * PLOT_HEIGHT;
        writeln!(
            out,
            r##"<path d="M{LEFT} {y:.1}h{WIDTH}" stroke="#eee"/><text x="{}" y="{:.1}" text-anchor="end">{words}</text>"##,
            LEFT - 6.0,
            y + 4.0
        )?;
    }
    for (at, words) in &plot.marks {
        let x = LEFT + at * WIDTH;
        writeln!(
            out,
            r#"<text x="{x:.1}" y="{}" text-anchor="middle">{words}</text>"#,
            bottom + 16.0
        )?;
    }
    writeln!(
        out,
        r#"<text x="{}" y="{}" text-anchor="middle">{}</text><text x="{}" y="{}" text-anchor="end">{}</text>"#,
        LEFT + WIDTH / 2.0,
        bottom + 34.0,
        plot.across,
        LEFT - 6.0,
        top - 10.0,
        plot.up
    )?;
    for ((number, line), colour) in (0_u64..).zip(&plot.lines).zip(COLOURS.iter().cycle()) {
        let points = line.points.iter().map(|(x, y)| {
            let (x, y) = (LEFT + x * WIDTH, bottom - share(*y, most) * PLOT_HEIGHT);
            format!("{x:.1},{y:.1}")
        });
        let points: Vec<String> = points.collect();
        let dash = if line.dashed {
            r#" stroke-dasharray="5 4""#
        } else {
            ""
        };
        writeln!(
            out,
            r#"<polyline points="{}" fill="none" stroke="{colour}" stroke-width="1.6"{dash}/>"#,
            points.join(" ")
        )?;
        writeln!(
            out,
            r#"<text x="{}" y="{}" fill="{colour}">{}</text>"#,
            LEFT + WIDTH + 10.0,
            top + 14.0 + float(number) * 16.0,
            plain(&line.name)
        )?;
    }
    Ok(())
}

/// Round marks from 0 up to at most `most`, and where they are.
fn scale(most: f64) -> Vec<(f64, String)> {
    if most <= 0.0 {
        return vec![(0.0, "0".to_owned())];
    }
    let magnitude = 10_f64.powf((most / 5.0).log10().floor());
    let steps = [1.0, 2.0, 5.0, 10.0].map(|step| step * magnitude);
    let step = steps.into_iter().find(|step| most / step <= 6.0);
    let step = step.unwrap_or(most);
    (0_u64..=6)
        .map(|number| float(number) * step)
        .take_while(|mark| *mark <= most)
        .map(|mark| {
            let words = if step < 1.0 {
                format!("{mark:.2}")
            } else {
                format!("{mark:.0}")
            };
            (mark / most, words)
        })
        .collect()
}

fn share(part: f64, whole: f64) -> f64 {
    if whole > 0.0 {
        (part / whole).clamp(0.0, 1.0)
    } else {
        0.0
    }
}

fn plain(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;")
}

#[expect(clippy::cast_precision_loss, reason = "counts far below 2^52")]
const fn float(number: u64) -> f64 {
    number as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn marks_are_round_and_within_the_frame() {
        for most in [0.0, 0.3, 7.0, 99.0, 20_000.0] {
            let marks = scale(most);
            assert!(!marks.is_empty() && marks.len() <= 7, "{most}: {marks:?}");
            assert!(
                marks.iter().all(|(at, _)| (0.0..=1.0).contains(at)),
                "{most}: {marks:?}"
            );
        }
        let words: Vec<String> = scale(20_000.0)
            .into_iter()
            .map(|(_, words)| words)
            .collect();
        assert_eq!(words, ["0", "5000", "10000", "15000", "20000"]);
    }
}

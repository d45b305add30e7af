//! Times as they are kept and told.

use std::time::Duration;

use hdrhistogram::Histogram;

use crate::report::Latency;

/// In microseconds, to three digits, growing as needed.
pub(crate) fn histogram() -> Histogram<u64> {
    #[expect(
        clippy::unwrap_used,
        reason = "three is among the precisions that there are"
    )]
    Histogram::new(3).unwrap()
}

/// Takes a time in.
pub(crate) fn note(histogram: &mut Histogram<u64>, time: Duration) {
    let micros = u64::try_from(time.as_micros()).unwrap_or(u64::MAX);
    // It grows with what is recorded, so that nothing is out of its range.
    histogram.record(micros.max(1)).unwrap_or_default();
}

/// What a report says of it.
pub(crate) fn latency(histogram: &Histogram<u64>) -> Latency {
    let at = |percent| millis(histogram.value_at_percentile(percent));
    Latency {
        count: histogram.len(),
        p50_ms: at(50.0),
        p90_ms: at(90.0),
        p99_ms: at(99.0),
        p999_ms: at(99.9),
        most_ms: millis(histogram.max()),
    }
}

/// Milliseconds of microseconds.
pub(crate) fn millis(micros: u64) -> f64 {
    float(micros) / 1e3
}

/// A number as a float.
#[expect(
    clippy::cast_precision_loss,
    reason = "counts and times far below 2^52"
)]
pub(crate) const fn float(number: u64) -> f64 {
    number as f64
}

//! Logs, and the trace context that ties the calls of one cause together.
//!
//! # Invariants
//! - Logs go to stderr; stdout belongs to what a command prints as its result.
//! - A [`Traceparent`] from outside is taken as it is or not at all: a broken one starts a new trace.

use std::fmt;

use tracing_subscriber::EnvFilter;

/// How log lines look.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, serde::Deserialize, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// For people.
    #[default]
    Text,
    /// One JSON object per line, for collectors.
    Json,
}

/// Why logging could not be set up.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// `RUST_LOG` holds something that is no filter.
    #[error("RUST_LOG is not a log filter")]
    Filter(#[source] tracing_subscriber::filter::FromEnvError),
    /// The process has a subscriber already.
    #[error("logging is set up twice")]
    Twice,
}

/// Sets up logging for the process: `RUST_LOG`, else `info`, to stderr. Unasked, the MCP library speaks
/// from `warn` on: it greets each session with a line of its own.
///
/// # Errors
/// [`Error`], when `RUST_LOG` is wrong or a subscriber stands already.
pub fn init(format: LogFormat) -> Result<(), Error> {
    use std::io::IsTerminal as _;
    let mut filter = EnvFilter::builder()
        .with_default_directive(tracing::level_filters::LevelFilter::INFO.into())
        .from_env()
        .map_err(Error::Filter)?;
    if std::env::var_os(EnvFilter::DEFAULT_ENV).is_none()
        && let Ok(quiet) = "rmcp=warn".parse()
    {
        filter = filter.add_directive(quiet);
    }
    let lines = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal());
    match format {
        LogFormat::Text => lines.try_init(),
        LogFormat::Json => lines.json().flatten_event(true).try_init(),
    }
    .map_err(|_| Error::Twice)
}

/// W3C trace context, version 00: which trace a call belongs to and which call caused it.
#[derive(Clone, Copy, Eq, Hash, PartialEq)]
pub struct Traceparent {
    trace: u128,
    span: u64,
    flags: u8,
}

impl Traceparent {
    /// Begins a trace, sampled.
    #[must_use]
    pub fn root() -> Self {
        Self {
            trace: fastrand::u128(1..),
            span: fastrand::u64(1..),
            flags: 1,
        }
    }

    /// Reads a header. Later versions are read as version 00, as the W3C text says.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let mut parts = text.trim().split('-');
        let (version, trace, span, flags) =
            (parts.next()?, parts.next()?, parts.next()?, parts.next()?);
        let version = hex(version, 2)?;
        if version == 0xff || (version == 0 && parts.next().is_some()) {
            return None;
        }
        let parsed = Self {
            trace: hex(trace, 32)?,
            span: u64::try_from(hex(span, 16)?).ok()?,
            flags: u8::try_from(hex(flags, 2)?).ok()?,
        };
        (parsed.trace != 0 && parsed.span != 0).then_some(parsed)
    }

    /// The context for a call that this one causes: same trace, own span.
    #[must_use]
    pub fn child(self) -> Self {
        Self {
            span: fastrand::u64(1..),
            ..self
        }
    }

    /// The trace id as logs show it.
    #[must_use]
    pub const fn trace_id(self) -> TraceId {
        TraceId(self.trace)
    }
}

impl fmt::Debug for Traceparent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl fmt::Display for Traceparent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "00-{:032x}-{:016x}-{:02x}",
            self.trace, self.span, self.flags
        )
    }
}

/// The id that all calls of one trace share, 32 hex digits.
#[derive(Clone, Copy, Eq, Hash, PartialEq)]
pub struct TraceId(u128);

impl fmt::Debug for TraceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl fmt::Display for TraceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

/// Exactly `digits` lower-case hex digits: the W3C text allows no upper case, no sign, no space.
fn hex(text: &str, digits: usize) -> Option<u128> {
    let clean = text.len() == digits
        && text
            .bytes()
            .all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b));
    clean.then(|| u128::from_str_radix(text, 16).ok()).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    const GIVEN: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

    #[test]
    fn a_header_is_printed_as_it_was_read() {
        let read = Traceparent::parse(GIVEN).unwrap();
        assert_eq!(read.to_string(), GIVEN);
        assert_eq!(
            read.trace_id().to_string(),
            "4bf92f3577b34da6a3ce929d0e0e4736"
        );
        let later = GIVEN.replacen("00", "01", 1) + "-more";
        assert_eq!(Traceparent::parse(&later), Some(read));
    }

    #[test]
    fn a_child_keeps_the_trace_and_the_flags_and_has_a_span_of_its_own() {
        let parent = Traceparent::root();
        let child = parent.child();
        assert_eq!(child.trace_id(), parent.trace_id());
        assert_ne!(child, parent);
        assert_eq!(Traceparent::parse(&child.to_string()), Some(child));
    }

    #[test]
    fn a_broken_header_is_no_context() {
        for broken in [
            "",
            "00",
            "ff-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
            "00-00000000000000000000000000000000-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01",
            "00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-more",
            "00-4bf92f3577b34da6a3ce929d0e0e473-00f067aa0ba902b7-01",
            "00-+bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
        ] {
            assert_eq!(Traceparent::parse(broken), None, "{broken}");
        }
    }
}

//! Reads a request's body, within bounds, and inflates a copy where ids must be read in it.
//!
//! # Invariants
//! - No body grows past the bound, compressed or inflated; a compressed bomb costs the bound.
//! - A body that stops arriving is given up after the idle limit.
//! - What goes upstream is the body as it came; the inflated copy is only looked at.

use std::{borrow::Cow, io::Read as _, time::Duration};

use bytes::{Bytes, BytesMut};
use http::{HeaderMap, header};
use http_body::Body as _;
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use mesh_core::error::CallError;
use mesh_proto::{Fault, Problem};
use serde::Deserialize;

/// Bounds of one request's body.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Settings {
    /// The longest body in bytes, as it comes and inflated. A longer one is refused as too large.
    /// Default 16 MiB: official servers take 10 MB.
    pub body_bytes: usize,
    /// Seconds without a byte of the body after which the call is given up. Default 30.
    pub idle_seconds: u64,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            body_bytes: 16 << 20,
            idle_seconds: 30,
        }
    }
}

impl Settings {
    const fn idle(&self) -> Duration {
        Duration::from_secs(self.idle_seconds)
    }
}

/// Reads the whole body.
///
/// # Errors
/// [`CallError::TooLarge`] over the bound, a bad request when it breaks off or stalls.
pub async fn read(mut body: Incoming, settings: &Settings) -> Result<Bytes, CallError> {
    let most = settings.body_bytes;
    let hint = body.size_hint();
    if hint.lower() > most as u64 {
        return Err(too_large(body, most).await);
    }
    let mut first: Option<Bytes> = None;
    let mut rest = BytesMut::new();
    loop {
        let frame = match tokio::time::timeout(settings.idle(), body.frame()).await {
            Ok(Some(Ok(frame))) => frame,
            Ok(None) => break,
            Ok(Some(Err(_))) => return Err(broken("the request's body broke off")),
            Err(_) => return Err(broken("the request's body stopped arriving")),
        };
        let Ok(data) = frame.into_data() else {
            continue;
        };
        let held = first.as_ref().map_or(0, Bytes::len) + rest.len();
        if held + data.len() > most {
            return Err(too_large(body, most).await);
        }
        // Most bodies are one frame, and one frame needs no copy.
        if first.is_none() {
            first = Some(data);
        } else {
            if rest.is_empty() {
                let announced = usize::try_from(hint.lower()).unwrap_or(0).min(most);
                rest.reserve(announced.saturating_sub(first.as_ref().map_or(0, Bytes::len)));
            }
            rest.extend_from_slice(&data);
        }
    }
    Ok(match first {
        None => Bytes::new(),
        Some(whole) if rest.is_empty() => whole,
        Some(head) => {
            let mut all = BytesMut::with_capacity(head.len() + rest.len());
            all.extend_from_slice(&head);
            all.extend_from_slice(&rest);
            all.freeze()
        }
    })
}

/// The refusal of a body, once its sender has had a chance to finish: closing on a sender that is
/// still writing resets the connection, and the refusal is lost with it. What comes is thrown away;
/// twice the bound, and [`LINGER`], are the most that this may cost.
async fn too_large(mut body: Incoming, most: usize) -> CallError {
    let discard = async {
        let mut left = most.saturating_mul(2);
        while let Some(Ok(frame)) = body.frame().await {
            let length = frame.data_ref().map_or(0, Bytes::len);
            let Some(rest) = left.checked_sub(length) else {
                break;
            };
            left = rest;
        }
    };
    // Either way the answer is the same.
    tokio::time::timeout(LINGER, discard).await.ok();
    CallError::TooLarge { limit: most as u64 }
}

/// How long a body that is refused is still read.
const LINGER: Duration = Duration::from_secs(2);

/// The body as text to read ids in: itself, or inflated by its `Content-Encoding`.
///
/// # Errors
/// A bad request for an encoding that is unknown or does not fit, [`CallError::TooLarge`] for one
/// that inflates past the bound.
pub fn readable<'a>(
    headers: &HeaderMap,
    body: &'a [u8],
    settings: &Settings,
) -> Result<Cow<'a, [u8]>, CallError> {
    let mut plain = Cow::Borrowed(body);
    let encodings: Vec<&str> = headers
        .get_all(header::CONTENT_ENCODING)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .map(str::trim)
        .collect();
    // Two are more than anybody sends; each costs a pass over the body.
    if encodings.len() > 2 {
        return Err(broken("more than two content encodings"));
    }
    for encoding in encodings.iter().rev() {
        plain = Cow::Owned(match Encoding::parse(encoding) {
            Some(Encoding::Identity) => continue,
            Some(known) => known.inflate(&plain, settings.body_bytes)?,
            None => return Err(unknown(encoding)),
        });
    }
    Ok(plain)
}

/// What [`readable`] inflated; `None` where the body is readable as it came.
pub fn inflated(readable: Cow<'_, [u8]>) -> Option<Bytes> {
    match readable {
        Cow::Borrowed(_) => None,
        Cow::Owned(plain) => Some(Bytes::from(plain)),
    }
}

/// Inflates one gRPC message by its `grpc-encoding`.
///
/// # Errors
/// As [`readable`].
pub fn readable_message(
    headers: &HeaderMap,
    message: &[u8],
    settings: &Settings,
) -> Result<Vec<u8>, CallError> {
    let name = headers
        .get("grpc-encoding")
        .and_then(|value| value.to_str().ok())
        .unwrap_or("");
    match Encoding::parse(name) {
        Some(known) => known.inflate(message, settings.body_bytes),
        None => Err(unknown(name)),
    }
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Encoding {
    Identity,
    Gzip,
    Deflate,
    Brotli,
    Zstd,
}

impl Encoding {
    fn parse(name: &str) -> Option<Self> {
        Some(match name.to_ascii_lowercase().as_str() {
            "identity" => Self::Identity,
            "gzip" | "x-gzip" => Self::Gzip,
            "deflate" => Self::Deflate,
            "br" => Self::Brotli,
            "zstd" => Self::Zstd,
            _ => return None,
        })
    }

    fn inflate(self, packed: &[u8], most: usize) -> Result<Vec<u8>, CallError> {
        match self {
            Self::Identity => Ok(packed.to_vec()),
            Self::Gzip => bounded(flate2::read::MultiGzDecoder::new(packed), most),
            Self::Deflate => bounded(flate2::read::ZlibDecoder::new(packed), most),
            Self::Brotli => bounded(brotli_decompressor::Decompressor::new(packed, 4096), most),
            Self::Zstd => match ruzstd::decoding::StreamingDecoder::new(packed) {
                Ok(decoder) => bounded(decoder, most),
                Err(_) => Err(broken("the body is not what its content encoding says")),
            },
        }
    }
}

fn bounded(decoder: impl std::io::Read, most: usize) -> Result<Vec<u8>, CallError> {
    let mut plain = Vec::new();
    let read = decoder.take(most as u64 + 1).read_to_end(&mut plain);
    match read {
        Ok(length) if length > most => Err(CallError::TooLarge { limit: most as u64 }),
        Ok(_) => Ok(plain),
        Err(_) => Err(broken("the body is not what its content encoding says")),
    }
}

fn broken(why: &str) -> CallError {
    CallError::BadRequest(Problem::new(Fault::InvalidRequest, why))
}

fn unknown(encoding: &str) -> CallError {
    let known = "gzip, deflate, br and zstd are understood";
    let message = match encoding {
        "" => format!("the message is compressed, but nothing says how; {known}"),
        encoding => format!("content encoding `{encoding}` is not known; {known}"),
    };
    CallError::BadRequest(Problem::new(Fault::ContentTypeNotSupported, message))
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;

    fn gzip(plain: &[u8]) -> Vec<u8> {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
        encoder.write_all(plain).unwrap();
        encoder.finish().unwrap()
    }

    fn encoded(encoding: &'static str) -> HeaderMap {
        HeaderMap::from_iter([(
            header::CONTENT_ENCODING,
            http::HeaderValue::from_static(encoding),
        )])
    }

    #[test]
    fn a_compressed_body_is_read_and_a_bomb_is_refused_at_the_bound() {
        let settings = Settings {
            body_bytes: 1 << 16,
            ..Settings::default()
        };
        let small = gzip(b"{\"a\":1}");
        assert_eq!(
            &*readable(&encoded("gzip"), &small, &settings).unwrap(),
            b"{\"a\":1}"
        );
        let bomb = gzip(&vec![b' '; 1 << 20]);
        assert!(bomb.len() < 1 << 16);
        assert!(matches!(
            readable(&encoded("gzip"), &bomb, &settings),
            Err(CallError::TooLarge { .. })
        ));
    }

    #[test]
    fn an_encoding_that_does_not_fit_is_the_callers_fault() {
        let settings = Settings::default();
        for encoding in ["gzip", "deflate", "br", "zstd", "snappy"] {
            let error = readable(&encoded(encoding), b"{\"a\":1}", &settings).unwrap_err();
            assert!(
                matches!(error, CallError::BadRequest(_)),
                "{encoding}: {error:?}"
            );
        }
        assert_eq!(
            &*readable(&encoded("identity"), b"x", &settings).unwrap(),
            b"x"
        );
    }
}

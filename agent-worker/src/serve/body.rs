//! Bodies in and out: read whole within bounds, written whole or as server-sent events.

use std::{io::Read as _, time::Duration};

use bytes::Bytes;
use futures_util::{Stream, StreamExt as _, stream};
use http::{
    HeaderMap, HeaderValue, Response, StatusCode,
    header::{CACHE_CONTROL, CONTENT_ENCODING, CONTENT_TYPE},
};
use http_body::Frame;
use http_body_util::{BodyExt as _, Full, LengthLimitError, Limited, StreamBody};
use mesh_proto::{Fault, Problem, mesh, sse};

use super::moved;
use crate::task::EventId;

pub(super) type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// The body of an answer.
pub type Body = http_body_util::combinators::UnsyncBoxBody<Bytes, BoxError>;

/// How long a request's body may take. Too long for a slow link is better than for ever.
const READ_WITHIN: Duration = Duration::from_secs(60);

/// How often a silent stream says that it lives; proxies cut after 30 to 100 s.
const KEEP_ALIVE: Duration = Duration::from_secs(15);

/// Reads a body whole.
pub(super) async fn read<B>(headers: &HeaderMap, body: B, max: usize) -> Result<Bytes, Problem>
where
    B: http_body::Body<Data = Bytes> + Send,
    B::Error: Into<BoxError>,
{
    let whole = Limited::new(body, max).collect();
    let read = tokio::time::timeout(READ_WITHIN, whole)
        .await
        .map_err(|_| Problem::new(Fault::DeadlineExceeded, "the body took too long"))?;
    let bytes = read.map_err(|error| {
        if error.is::<LengthLimitError>() {
            too_large(max)
        } else {
            Problem::new(Fault::Parse, "the body broke off")
        }
    })?;
    let bytes = bytes.to_bytes();
    match headers.get(CONTENT_ENCODING).map(HeaderValue::as_bytes) {
        None | Some(b"" | b"identity") => Ok(bytes),
        Some(b"gzip" | b"x-gzip") => inflate(&bytes, max),
        Some(_) => Err(Problem::new(
            Fault::ContentTypeNotSupported,
            "the content encoding must be gzip or identity",
        )),
    }
}

/// A whole answer.
pub(super) fn full(status: StatusCode, kind: &'static str, bytes: Bytes) -> Response<Body> {
    let mut response = Response::new(wrap(Full::new(bytes)));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    response
}

/// What comes next in a stream.
#[derive(Debug)]
pub(super) enum Piece {
    /// An event of the task, in the binding's own words.
    Event(EventId, Bytes),
    /// What went wrong, which ends the stream.
    Problem(Bytes),
    /// The stream breaks here.
    Break,
}

/// An answer as server-sent events, piece by piece, with comments while there are none.
pub(super) fn events(pieces: impl Stream<Item = Piece> + Send + 'static) -> Response<Body> {
    let frames = stream::unfold(Box::pin(pieces), |mut pieces| async {
        let event = |id, data| {
            sse::write(&sse::Event {
                id,
                event: None,
                data,
            })
        };
        let bytes = match tokio::time::timeout(KEEP_ALIVE, pieces.next()).await {
            Err(_) => Ok(sse::comment("keep-alive")),
            Ok(Some(Piece::Event(id, data))) => Ok(event(Some(id.to_string()), data)),
            Ok(Some(Piece::Problem(data))) => Ok(event(None, data)),
            Ok(Some(Piece::Break)) => Err(moved::broken()),
            Ok(None) => return None,
        };
        Some((bytes.map(Frame::data), pieces))
    });
    let mut response = Response::new(wrap(StreamBody::new(frames)));
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/event-stream"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    // nginx and its kind hold events back otherwise.
    headers.insert("x-accel-buffering", HeaderValue::from_static("no"));
    response
}

/// Says in the head of a stream which task it is of.
pub(super) fn of_task(mut response: Response<Body>, task: &str) -> Response<Body> {
    // An id that no header can carry is no id of ours, and no router needs it.
    if let Ok(task) = HeaderValue::from_str(task) {
        response.headers_mut().insert(mesh::TASK, task);
    }
    response
}

/// Any body as ours.
pub(super) fn wrap<B>(body: B) -> Body
where
    B: http_body::Body<Data = Bytes> + Send + 'static,
    B::Error: Into<BoxError>,
{
    body.map_err(Into::into).boxed_unsync()
}

fn inflate(bytes: &[u8], max: usize) -> Result<Bytes, Problem> {
    let mut out = Vec::new();
    let bound = u64::try_from(max).unwrap_or(u64::MAX).saturating_add(1);
    let mut reader = flate2::read::MultiGzDecoder::new(bytes).take(bound);
    reader
        .read_to_end(&mut out)
        .map_err(|_| Problem::new(Fault::Parse, "the body is not gzip"))?;
    if out.len() > max {
        return Err(too_large(max));
    }
    Ok(Bytes::from(out))
}

fn too_large(max: usize) -> Problem {
    Problem::new(Fault::TooLarge, format!("the body is over {max} bytes"))
}

#[cfg(test)]
mod tests {
    use std::{convert::Infallible, io::Write as _};

    use super::*;

    async fn read_full(encoding: Option<&'static str>, bytes: Vec<u8>) -> Result<Bytes, Fault> {
        let mut headers = HeaderMap::new();
        if let Some(encoding) = encoding {
            headers.insert(CONTENT_ENCODING, HeaderValue::from_static(encoding));
        }
        let body = Full::new(Bytes::from(bytes));
        read(&headers, body, 1000)
            .await
            .map_err(|problem| problem.fault)
    }

    fn gzip(bytes: &[u8]) -> Vec<u8> {
        let mut writer = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
        writer.write_all(bytes).unwrap();
        writer.finish().unwrap()
    }

    #[tokio::test]
    async fn a_body_is_bounded_before_and_after_it_is_inflated() {
        let fine = Bytes::from(vec![b'x'; 1000]);
        assert_eq!(read_full(None, fine.to_vec()).await, Ok(fine.clone()));
        assert_eq!(read_full(Some("gzip"), gzip(&fine)).await, Ok(fine));
        assert_eq!(
            read_full(None, vec![b'x'; 1001]).await,
            Err(Fault::TooLarge)
        );
        let bomb = gzip(&vec![b'x'; 100_000]);
        assert_eq!(read_full(Some("gzip"), bomb).await, Err(Fault::TooLarge));
        assert_eq!(
            read_full(Some("gzip"), b"no".to_vec()).await,
            Err(Fault::Parse)
        );
        let other = read_full(Some("br"), b"no".to_vec()).await;
        assert_eq!(other, Err(Fault::ContentTypeNotSupported));
    }

    #[tokio::test(start_paused = true)]
    async fn a_silent_stream_says_that_it_lives() {
        let data = stream::once(async {
            tokio::time::sleep(Duration::from_secs(40)).await;
            Piece::Event(EventId::parse("2-7").unwrap(), Bytes::from_static(b"{}"))
        });
        let body = events(data).into_body().collect().await.unwrap().to_bytes();
        assert_eq!(
            body,
            ": keep-alive\n\n: keep-alive\n\nid: 2-7\ndata: {}\n\n"
        );
    }

    #[tokio::test(start_paused = true)]
    async fn a_body_that_never_ends_is_given_up() {
        let silent = StreamBody::new(stream::pending::<Result<Frame<Bytes>, Infallible>>());
        let read = read(&HeaderMap::new(), silent, 10).await;
        assert_eq!(read.unwrap_err().fault, Fault::DeadlineExceeded);
    }
}

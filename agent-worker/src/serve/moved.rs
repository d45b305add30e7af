//! Tasks that another worker holds: what the mesh is told of that, and nobody else.
//!
//! A [`Problem`] that carries [`mesh::OWNER`] among its metadata says that nothing was done and which
//! boot would do it.
//!
//! # Invariants
//! - The boot goes into the header that routers read and drop, never into the error that callers see.
//! - A stream whose task has moved breaks instead of ending, in every binding: whoever can resume
//!   streams does, and nobody takes the end for the task's.

use std::{
    pin::Pin,
    task::{Context, Poll},
};

use bytes::Bytes;
use http::{HeaderValue, Response, StatusCode};
use http_body::{Body as HttpBody, Frame, SizeHint};
use mesh_proto::{Problem, mesh};

use super::body::{Body, BoxError};

/// Takes the owner out of a problem.
pub(super) fn owner(problem: &mut Problem) -> Option<HeaderValue> {
    let boot = problem.metadata.remove(mesh::OWNER)?;
    HeaderValue::from_str(&boot).ok()
}

/// Whether a problem names an owner.
pub(super) fn is_moved(problem: &Problem) -> bool {
    problem.metadata.contains_key(mesh::OWNER)
}

/// Turns the refusal of a call into one that sends it to the owner.
pub(super) fn to(owner: Option<HeaderValue>, mut response: Response<Body>) -> Response<Body> {
    if let Some(owner) = owner {
        *response.status_mut() = StatusCode::MISDIRECTED_REQUEST;
        response.headers_mut().insert(mesh::OWNER, owner);
    }
    response
}

/// The error that a body breaks with.
pub(super) fn broken() -> BoxError {
    "the task has moved to another worker".into()
}

/// A gRPC body that breaks where its trailers would name an owner.
#[derive(Debug)]
pub(super) struct Breaking<B>(pub(super) B);

impl<B> HttpBody for Breaking<B>
where
    B: HttpBody<Data = Bytes> + Unpin,
    B::Error: Into<BoxError>,
{
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        Pin::new(&mut self.0).poll_frame(cx).map(|frame| {
            frame.map(|frame| {
                let frame = frame.map_err(Into::into)?;
                match frame.trailers_ref() {
                    Some(trailers) if trailers.contains_key(mesh::OWNER) => Err(broken()),
                    _ => Ok(frame),
                }
            })
        })
    }

    fn is_end_stream(&self) -> bool {
        self.0.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.0.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use futures_util::stream;
    use http_body_util::{BodyExt as _, StreamBody};
    use mesh_proto::Fault;

    use super::{
        super::{body, rest},
        *,
    };

    fn moved() -> Problem {
        Problem::new(Fault::Unavailable, "elsewhere").with(mesh::OWNER, "boot-2")
    }

    #[tokio::test]
    async fn routers_learn_the_owner_and_callers_do_not() {
        let mut problem = moved();
        let response = to(owner(&mut problem), rest::refuse(&problem));
        assert_eq!(response.status(), 421);
        assert_eq!(response.headers()[mesh::OWNER], "boot-2");
        let body = response.into_body().collect().await.unwrap().to_bytes();
        let body = String::from_utf8(body.to_vec()).unwrap();
        assert!(
            body.contains("UNAVAILABLE") && !body.contains("boot-2"),
            "{body}"
        );
    }

    #[tokio::test]
    async fn a_stream_whose_task_moved_breaks() {
        let broken = body::events(stream::iter([body::Piece::Break]));
        assert!(broken.into_body().collect().await.is_err());
        for (name, breaks) in [(mesh::OWNER, true), ("grpc-status", false)] {
            let mut trailers = http::HeaderMap::new();
            trailers.insert(name, HeaderValue::from_static("14"));
            let frames = [
                Ok::<_, BoxError>(Frame::data(Bytes::from_static(b"x"))),
                Ok(Frame::trailers(trailers)),
            ];
            let body = Breaking(StreamBody::new(stream::iter(frames)));
            assert_eq!(body.collect().await.is_err(), breaks, "{name}");
        }
    }
}

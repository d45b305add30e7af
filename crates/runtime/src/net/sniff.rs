//! Tells HTTP/2 from HTTP/1 by the first bytes, and puts those bytes back.
//!
//! hyper-util's `auto` builder does the same, but waits for ever for a client that sends nothing;
//! here the caller puts a deadline around [`first_bytes`].

use std::{
    io,
    pin::Pin,
    task::{Context, Poll},
};

use bytes::{Buf as _, Bytes, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, ReadBuf};

/// What every HTTP/2 client sends first (RFC 9113, 3.4).
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// How much is read at once while sniffing; enough for most heads, so that they cost one read.
const READ_AHEAD: usize = 2048;

/// The protocol of a connection.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Wire {
    /// HTTP/1.1 or 1.0; also anything that is neither, which hyper answers with 400.
    H1,
    /// HTTP/2 with prior knowledge.
    H2,
}

/// Reads until the protocol is clear. `None` when the peer closed without a byte.
pub(super) async fn first_bytes(
    io: &mut (impl AsyncRead + Unpin),
) -> io::Result<Option<(Wire, Bytes)>> {
    let mut seen = BytesMut::with_capacity(READ_AHEAD);
    loop {
        if io.read_buf(&mut seen).await? == 0 {
            let something = !seen.is_empty();
            return Ok(something.then(|| (Wire::H1, seen.freeze())));
        }
        let known = seen.len().min(PREFACE.len());
        if seen[..known] != PREFACE[..known] {
            return Ok(Some((Wire::H1, seen.freeze())));
        }
        if known == PREFACE.len() {
            return Ok(Some((Wire::H2, seen.freeze())));
        }
    }
}

/// An IO whose first bytes were read already and come again.
#[derive(Debug)]
pub(super) struct Rewind<T> {
    prefix: Bytes,
    inner: T,
}

impl<T> Rewind<T> {
    pub(super) fn new(prefix: Bytes, inner: T) -> Self {
        Self { prefix, inner }
    }
}

impl<T: AsyncRead + Unpin> AsyncRead for Rewind<T> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.prefix.is_empty() {
            return Pin::new(&mut self.inner).poll_read(cx, buf);
        }
        let now = self.prefix.len().min(buf.remaining());
        buf.put_slice(&self.prefix[..now]);
        self.prefix.advance(now);
        if self.prefix.is_empty() {
            // Lets go of the read-ahead buffer; a connection can live for days.
            self.prefix = Bytes::new();
        }
        Poll::Ready(Ok(()))
    }
}

impl<T: AsyncWrite + Unpin> AsyncWrite for Rewind<T> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.inner).poll_write(cx, buf)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.inner).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.inner.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::AsyncWriteExt as _;

    use super::*;

    /// Feeds `bytes` one at a time, then closes.
    async fn sniffed(bytes: &[u8]) -> Option<(Wire, Bytes)> {
        let (mut client, mut server) = tokio::io::duplex(1);
        let feed = async move {
            client.write_all(bytes).await.unwrap();
            drop(client);
            std::future::pending().await
        };
        // The reader stops once it knows, and the writer then waits for ever.
        tokio::select! {
            first = first_bytes(&mut server) => first.unwrap(),
            never = feed => never,
        }
    }

    #[tokio::test]
    async fn a_preface_in_single_bytes_is_http_2() {
        let (wire, prefix) = sniffed(PREFACE).await.unwrap();
        assert_eq!((wire, prefix.as_ref()), (Wire::H2, PREFACE));
    }

    #[tokio::test]
    async fn a_method_that_only_begins_like_the_preface_is_http_1() {
        assert_eq!(sniffed(b"PRX").await.unwrap().0, Wire::H1);
        assert_eq!(sniffed(b"POST / HTTP").await.unwrap().0, Wire::H1);
        assert_eq!(sniffed(b"PR").await.unwrap().0, Wire::H1);
        assert_eq!(sniffed(b"").await, None);
    }

    #[tokio::test]
    async fn what_was_read_ahead_comes_again_before_the_rest() {
        let (mut client, server) = tokio::io::duplex(64);
        client.write_all(b"world").await.unwrap();
        drop(client);
        let mut rewind = Rewind::new(Bytes::from_static(b"hello "), server);
        let mut all = String::new();
        rewind.read_to_string(&mut all).await.unwrap();
        assert_eq!(all, "hello world");
    }
}

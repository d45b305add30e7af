//! The frames in which gRPC messages travel: a flag, a length of four bytes, the message.

use bytes::{Buf, BufMut, Bytes, BytesMut};

use crate::error::{Fault, Problem};

const HEAD: usize = 5;

/// One message as it travelled.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Frame {
    /// Whether the message is compressed, by the encoding that `grpc-encoding` names.
    pub compressed: bool,
    /// The message.
    pub message: Bytes,
}

/// Writes a message into an uncompressed frame. A message beyond 4 GiB, which no memory of ours holds,
/// would be cut to nothing.
#[must_use]
pub fn frame(message: &impl prost::Message) -> Bytes {
    let length = message.encoded_len();
    let mut out = BytesMut::with_capacity(HEAD + length);
    out.put_u8(0);
    out.put_u32(u32::try_from(length).unwrap_or_default());
    let written = message.encode(&mut out);
    debug_assert!(written.is_ok(), "the buffer grows, so there is always room");
    out.freeze()
}

/// Takes frames out of a body that arrives in pieces.
///
/// It holds what has arrived and is not taken; a caller takes all frames before it feeds again, so this
/// is at most one frame and one piece. A frame beyond the bound is an error from its head on.
#[derive(Debug)]
pub struct Reader {
    buffer: BytesMut,
    max: usize,
}

impl Reader {
    /// A reader for messages of at most `max` bytes.
    #[must_use]
    pub fn new(max: usize) -> Self {
        Self {
            buffer: BytesMut::new(),
            max,
        }
    }

    /// Adds a piece of the body.
    pub fn feed(&mut self, piece: &[u8]) {
        self.buffer.extend_from_slice(piece);
    }

    /// Takes the next frame, when it is whole.
    ///
    /// # Errors
    /// [`Fault::TooLarge`] for a message beyond the bound, [`Fault::Parse`] for a flag that gRPC does not
    /// have. The reader stays where it is: what follows cannot be told apart.
    pub fn next_frame(&mut self) -> Result<Option<Frame>, Problem> {
        let Some((&[flag, a, b, c, d], _)) = self.buffer.split_first_chunk::<HEAD>() else {
            return Ok(None);
        };
        let length = usize::try_from(u32::from_be_bytes([a, b, c, d])).unwrap_or(usize::MAX);
        if length > self.max {
            return Err(Problem::new(
                Fault::TooLarge,
                format!("a message of {length} bytes is beyond {}", self.max),
            ));
        }
        if flag > 1 {
            return Err(Problem::new(Fault::Parse, "the body is no gRPC frame"));
        }
        if self.buffer.len() < HEAD + length {
            self.buffer.reserve(HEAD + length - self.buffer.len());
            return Ok(None);
        }
        self.buffer.advance(HEAD);
        Ok(Some(Frame {
            compressed: flag == 1,
            message: self.buffer.split_to(length).freeze(),
        }))
    }

    /// Whether the body may end here: nothing is left over.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.buffer.is_empty()
    }
}

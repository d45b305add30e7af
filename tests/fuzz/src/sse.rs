//! Server-sent events: read alike however they are cut, and passed on byte for byte.
//!
//! # Invariants
//! - Where the pieces of a stream are cut decides nothing.

use bytes::Bytes;
use mesh_proto::{Operation, rewrite, sse};

use crate::{
    ids::{Keep, Mark, Unmark},
    input::Input,
};

/// Small, so that inputs of a fuzzer's size reach it.
const LIMIT: usize = 512;

/// Reads a stream in pieces; whether it was over the bound is part of what was read.
fn read(pieces: &[&[u8]]) -> (Vec<sse::Event>, bool) {
    let mut reader = sse::Reader::new(LIMIT);
    let is_over = pieces.iter().any(|piece| reader.feed(piece).is_err());
    let events = std::iter::from_fn(|| reader.next_event()).collect();
    (events, is_over)
}

/// Any stream, cut by the first bytes.
pub(crate) fn events(data: &[u8]) {
    let mut input = Input::new(data);
    let dialect = input.json_dialect();
    let cuts = [input.byte(), input.byte()].map(usize::from);
    let stream = input.rest();
    let (head, tail) = stream.split_at(cuts[0].min(stream.len()));
    let (middle, tail) = tail.split_at(cuts[1].min(tail.len()));
    let pieces = [head, middle, tail];
    let whole = read(&[stream]);
    assert_eq!(whole, read(&pieces));
    let bytes: Vec<&[u8]> = stream.chunks(1).collect();
    assert_eq!(whole, read(&bytes));
    for event in &whole.0 {
        let again = read(&[&sse::write(event)]);
        // A reader takes CR for a line's end, and a NUL ends an id: the writer has no way to say them.
        let text = [&event.id, &event.event].map(|text| text.as_deref().unwrap_or_default());
        if !text.concat().contains('\0') && !again.1 {
            assert_eq!(again.0, std::slice::from_ref(event));
        }
    }
    pass(dialect, &pieces, stream);
}

/// What is cut is whole again when put together, changed and changed back.
fn pass(dialect: mesh_proto::Dialect, pieces: &[&[u8]], stream: &[u8]) {
    let operation = Operation::SendStreamingMessage;
    let mut cutter = rewrite::Events::new(1 << 20);
    let mut out = Vec::new();
    let mut take = |cutter: &mut rewrite::Events| {
        while let Some(piece) = cutter.next_piece().expect("the bound is far") {
            assert!(!piece.is_empty());
            out.extend_from_slice(&piece);
            let Ok(kept) = rewrite::event(dialect, operation, piece.clone(), &mut Keep) else {
                continue;
            };
            assert_eq!(kept.into_bytes(), piece);
            let there = rewrite::event(dialect, operation, piece.clone(), &mut Mark);
            let there: Bytes = there
                .expect("what was taken once is taken again")
                .into_bytes();
            let back = rewrite::event(dialect, operation, there, &mut Unmark);
            let back = back.expect("what was written is taken").into_bytes();
            if !piece.contains(&b'\\') {
                assert_eq!(back, piece);
            }
        }
    };
    for piece in pieces {
        cutter.feed(piece);
        take(&mut cutter);
    }
    out.extend_from_slice(&cutter.rest());
    assert_eq!(out, stream);
}

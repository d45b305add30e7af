//! Protobuf written by hand, so that unknown fields of every kind can stand anywhere.

use prost::encoding::encode_varint;

/// A field with a length in front.
pub(super) fn delimited(number: u32, inside: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    encode_varint(u64::from(number << 3 | 2), &mut out);
    encode_varint(inside.len() as u64, &mut out);
    out.extend_from_slice(inside);
    out
}

/// Fields that no message of the schema has; the first is metadata that looks like ids.
pub(super) fn unknown(which: usize) -> Vec<u8> {
    match which {
        0 => delimited(99, b"\x0a\x01x\x12\x01x\x1a\x01x"),
        1 => vec![0xf8, 0x07, 0x96, 0x01],
        2 => vec![0xf9, 0x07, 1, 2, 3, 4, 5, 6, 7, 8],
        3 => vec![0xfd, 0x07, 1, 2, 3, 4],
        // A group with a string inside.
        4 => vec![0xfb, 0x07, 0x0a, 0x01, b'x', 0xfc, 0x07],
        // A length that is spelled longer than need be.
        _ => vec![0xfa, 0x07, 0x82, 0x80, 0x00, b'h', b'i'],
    }
}

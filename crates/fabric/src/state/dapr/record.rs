//! How a commit ended, as it is written beside its keys.

use bytes::Bytes;

use super::{cell::number, fresh};

/// How a commit ended.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) enum Record {
    /// Done, with its keys.
    Done(Vec<String>),
    Aborted,
}

impl Record {
    /// It as bytes like no others.
    pub(super) fn encode(&self) -> Vec<u8> {
        let mut bytes = Vec::from(fresh().to_be_bytes());
        match self {
            Self::Aborted => bytes.push(0),
            Self::Done(keys) => {
                bytes.push(1);
                for key in keys {
                    bytes.extend((key.len() as u64).to_be_bytes());
                    bytes.extend(key.as_bytes());
                }
            }
        }
        bytes
    }

    /// The record that these bytes are.
    pub(super) fn decode(bytes: &Bytes) -> Option<Self> {
        let mut bytes = bytes.clone();
        number(&mut bytes).ok()?;
        match bytes.first()? {
            0 => return Some(Self::Aborted),
            1 => {}
            _ => return None,
        }
        let (mut rest, mut keys) = (bytes.split_off(1), Vec::new());
        while !rest.is_empty() {
            let length = usize::try_from(number(&mut rest).ok()?).ok()?;
            if length > rest.len() {
                return None;
            }
            keys.push(String::from_utf8(rest.split_to(length).into()).ok()?);
        }
        Some(Self::Done(keys))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_is_read_as_it_was_written_and_foreign_bytes_are_none() {
        for record in [
            Record::Aborted,
            Record::Done(Vec::new()),
            Record::Done(vec!["a".to_owned(), "\u{e9}/b".to_owned()]),
        ] {
            let bytes = Bytes::from(record.encode());
            assert_eq!(Record::decode(&bytes), Some(record));
            assert_eq!(Record::decode(&bytes.slice(..8)), None);
        }
        assert_eq!(Record::decode(&Bytes::from_static(b"12345678\x02")), None);
        assert_eq!(Record::decode(&Bytes::from_static(b"12345678\x01x")), None);
    }
}

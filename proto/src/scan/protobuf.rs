//! A walk over the fields of a protobuf message, without decoding what is not asked for.
//!
//! # Invariants
//! - A field is borrowed with the span that it takes, key included, so that a change can leave every
//!   other byte alone.
//! - Unknown fields of every wire type are stepped over, groups to a bound.

use std::ops::Range;

/// How deep groups may lie in each other. Nothing in A2A uses one.
const GROUPS: usize = 64;

/// The bytes are no protobuf message.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Malformed;

/// One field.
#[derive(Clone, Debug)]
pub(crate) struct Field<'a> {
    /// Its number.
    pub(crate) number: u32,
    /// The contents, if the field is of the kind that strings and messages are.
    pub(crate) bytes: Option<&'a [u8]>,
    /// What it takes of the message, key included.
    pub(crate) span: Range<usize>,
    /// How many bytes of that are the key.
    pub(crate) key: usize,
}

/// The fields of a message, in the order in which they stand.
#[derive(Clone, Debug)]
pub(crate) struct Fields<'a> {
    message: &'a [u8],
    at: usize,
}

impl<'a> Fields<'a> {
    /// Stands before the first field.
    pub(crate) const fn new(message: &'a [u8]) -> Self {
        Self { message, at: 0 }
    }

    fn field(&mut self) -> Result<Field<'a>, Malformed> {
        let start = self.at;
        let (number, wire) = self.key()?;
        let key = self.at - start;
        let bytes = match wire {
            2 => {
                let length = usize::try_from(self.varint()?).map_err(|_| Malformed)?;
                Some(self.take(length)?)
            }
            3 => {
                self.group(number)?;
                None
            }
            _ => {
                self.plain(wire)?;
                None
            }
        };
        Ok(Field {
            number,
            bytes,
            span: start..self.at,
            key,
        })
    }

    /// Steps over a number.
    fn plain(&mut self, wire: u8) -> Result<(), Malformed> {
        match wire {
            0 => self.varint().map(drop),
            1 => self.take(8).map(drop),
            5 => self.take(4).map(drop),
            _ => Err(Malformed),
        }
    }

    /// Steps over a group and the groups within.
    fn group(&mut self, number: u32) -> Result<(), Malformed> {
        let mut open = vec![number];
        while let Some(innermost) = open.last().copied() {
            match self.key()? {
                (number, 3) if open.len() < GROUPS => open.push(number),
                (number, 4) if number == innermost => drop(open.pop()),
                (_, 3 | 4) => return Err(Malformed),
                (_, 2) => {
                    let length = usize::try_from(self.varint()?).map_err(|_| Malformed)?;
                    self.take(length)?;
                }
                (_, wire) => self.plain(wire)?,
            }
        }
        Ok(())
    }

    fn key(&mut self) -> Result<(u32, u8), Malformed> {
        let key = u32::try_from(self.varint()?).map_err(|_| Malformed)?;
        match key >> 3 {
            0 => Err(Malformed),
            number => Ok((number, (key & 7) as u8)),
        }
    }

    fn varint(&mut self) -> Result<u64, Malformed> {
        let mut value = 0u64;
        for shift in (0..64).step_by(7) {
            let byte = *self.message.get(self.at).ok_or(Malformed)?;
            self.at += 1;
            // The tenth byte has room for one bit.
            if shift == 63 && byte > 1 {
                return Err(Malformed);
            }
            value |= u64::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                return Ok(value);
            }
        }
        Err(Malformed)
    }

    fn take(&mut self, length: usize) -> Result<&'a [u8], Malformed> {
        let end = self.at.checked_add(length).ok_or(Malformed)?;
        let bytes = self.message.get(self.at..end).ok_or(Malformed)?;
        self.at = end;
        Ok(bytes)
    }
}

impl<'a> Iterator for Fields<'a> {
    type Item = Result<Field<'a>, Malformed>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.at >= self.message.len() {
            return None;
        }
        let field = self.field();
        if field.is_err() {
            // What follows damage means nothing.
            self.at = self.message.len();
        }
        Some(field)
    }
}

//! The walk through protobuf: ids replaced, and the lengths of the messages around them.
//!
//! # Invariants
//! - Only an id, its length and the lengths of the messages around it change; a length that stays the
//!   same keeps its spelling, and every other field, known or not, its bytes.
//! - A field of another kind than the schema's is left to the reader to refuse.

use std::ops::Range;

use super::{
    IdMap,
    schema::{Node, Step},
    segments::Edits,
};
use crate::scan::protobuf::{Fields, Malformed};

/// Walks a message.
pub(super) fn message(body: &[u8], root: Step, map: &mut impl IdMap) -> Result<Edits, Malformed> {
    let mut walk = Walk {
        body,
        map,
        edits: Edits::default(),
    };
    if let Step::Into(node) = root {
        walk.fields(0..body.len(), node)?;
    }
    Ok(walk.edits)
}

struct Walk<'b, 'm, M> {
    body: &'b [u8],
    map: &'m mut M,
    edits: Edits,
}

impl<M: IdMap> Walk<'_, '_, M> {
    fn fields(&mut self, within: Range<usize>, node: Node) -> Result<(), Malformed> {
        let base = within.start;
        let body = self.body.get(within).unwrap_or_default();
        for field in Fields::new(body) {
            let field = field?;
            let step = node.by_number(field.number);
            let (Some(bytes), true) = (field.bytes, step != Step::Skip) else {
                continue;
            };
            let end = base + field.span.end;
            let inside = end - bytes.len()..end;
            let length = base + field.span.start + field.key..inside.start;
            match step {
                Step::Into(node) | Step::Each(node) => {
                    let place = self.edits.keep_place(length);
                    self.fields(inside.clone(), node)?;
                    self.edits.fill_place(&place, inside.len());
                }
                _ => self.id(step, length, inside)?,
            }
        }
        Ok(())
    }

    fn id(
        &mut self,
        step: Step,
        length: Range<usize>,
        inside: Range<usize>,
    ) -> Result<(), Malformed> {
        let bytes = self.body.get(inside.clone()).unwrap_or_default();
        let id = str::from_utf8(bytes).map_err(|_| Malformed)?;
        if id.is_empty() {
            return Ok(());
        }
        let new = match step {
            Step::Context => self.map.context(id),
            Step::Webhook => self.map.webhook(id),
            Step::Name => super::name(self.map, id),
            _ => self.map.task(id),
        };
        if let Some(new) = new.filter(|new| *new != id) {
            let place = self.edits.keep_place(length);
            self.edits.replace(inside.clone(), new.as_bytes());
            self.edits.fill_place(&place, inside.len());
        }
        Ok(())
    }
}

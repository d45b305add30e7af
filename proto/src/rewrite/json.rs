//! The walk through JSON: every value checked, ids handed to the map, the rest stepped over.
//!
//! # Invariants
//! - It reads with the scanner's cursor, so that the two can't disagree on what a text says.
//! - Of a name given twice each value is an id: whichever of them the reader takes, it is right.
//! - A value of another type than the schema's is left to the reader to refuse.

use super::{
    IdMap,
    schema::{Node, Step},
    segments::Edits,
};
use crate::scan::json::{Cursor, Found, Malformed};

/// Walks a body that is the message itself.
pub(super) fn message(body: &[u8], root: Step, map: &mut impl IdMap) -> Result<Edits, Malformed> {
    let mut walk = Walk::new(map);
    let mut cursor = Cursor::new(body)?;
    walk.step(&mut cursor, root)?;
    cursor.end()?;
    Ok(walk.edits)
}

/// Walks a JSON-RPC object, whose member `place` is the message.
pub(super) fn envelope(
    body: &[u8],
    place: &str,
    root: Step,
    map: &mut impl IdMap,
) -> Result<Edits, Malformed> {
    let mut walk = Walk::new(map);
    let mut cursor = Cursor::new(body)?;
    if cursor.peek() == Some(b'{') {
        cursor.members(|cursor, name| {
            if *name.decode() == *place {
                walk.step(cursor, root)
            } else {
                cursor.skip()
            }
        })?;
    } else {
        cursor.skip()?;
    }
    cursor.end()?;
    Ok(walk.edits)
}

struct Walk<'m, M> {
    map: &'m mut M,
    edits: Edits,
}

impl<'m, M: IdMap> Walk<'m, M> {
    fn new(map: &'m mut M) -> Self {
        let edits = Edits::default();
        Self { map, edits }
    }

    fn step(&mut self, cursor: &mut Cursor<'_>, step: Step) -> Result<(), Malformed> {
        let next = cursor.peek();
        match (step, next) {
            (Step::Task | Step::Context | Step::Webhook | Step::Name, Some(b'"')) => {
                self.id(cursor, step)
            }
            (Step::Tasks, Some(b'[')) => cursor.elements(|cursor| self.step(cursor, Step::Task)),
            (Step::Into(node), Some(b'{')) => self.members(cursor, node),
            (Step::Each(node), Some(b'[')) => {
                cursor.elements(|cursor| self.step(cursor, Step::Into(node)))
            }
            // The Go SDK writes this list without an object around it.
            (Step::Into(Node::NamedConfigList), Some(b'[')) => {
                cursor.elements(|cursor| self.step(cursor, Step::Into(Node::NamedConfig)))
            }
            _ => cursor.skip(),
        }
    }

    fn members(&mut self, cursor: &mut Cursor<'_>, node: Node) -> Result<(), Malformed> {
        cursor.members(|cursor, name| self.step(cursor, node.by_name(&name.decode())))
    }

    fn id(&mut self, cursor: &mut Cursor<'_>, step: Step) -> Result<(), Malformed> {
        let start = cursor.start() + 1;
        let Found::Text(text) = cursor.text()? else {
            return Ok(());
        };
        let cut = start..start + text.raw().len();
        let id = text.decode();
        let new = match step {
            Step::Context => self.map.context(&id),
            Step::Webhook => self.map.webhook(&id),
            Step::Name => super::name(self.map, &id),
            _ => self.map.task(&id),
        };
        if let Some(new) = new.filter(|new| *new != id) {
            self.edits.replace_json(cut, &new);
        }
        Ok(())
    }
}

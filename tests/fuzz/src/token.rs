//! Routes in ids: a route has one spelling, and nothing but that opens.
//!
//! # Invariants
//! - An id that was changed anywhere in its route, or is shown under another agent or tenant, opens to
//!   nothing.

use std::sync::LazyLock;

use mesh_core::token::{Keys, Kind, Route};
use mesh_proto::mesh::{Cell, Incarnation, Slot};

use crate::input::Input;

static KEYS: LazyLock<Keys> = LazyLock::new(Keys::development);

/// A route of the first bytes, and the rest as changes to its text and as an id of its own.
pub(crate) fn open(data: &[u8]) {
    if let Ok(text) = std::str::from_utf8(data)
        && let Some(opened) = KEYS.open(text, "agent", None)
    {
        let sealed = KEYS.seal(opened.route, "agent", None);
        assert_eq!(format!("{sealed}.{}", opened.native), text, "one spelling");
    }
    let mut input = Input::new(data);
    let mut two = || u16::from_be_bytes([input.byte(), input.byte()]);
    let route = Route {
        cell: Cell(two()),
        slot: Slot(two()),
        incarnation: Incarnation(u32::from(two()) << 16 | u32::from(two())),
        kind: Kind::Native,
        minted_hour: u32::from(two()),
    };
    let kind = input.pick(&[Kind::Native, Kind::Envelope, Kind::EnvelopeInContext]);
    let route = Route { kind, ..route };
    let sealed = KEYS.seal(route, "agent", Some("tenant"));
    let id = format!("{sealed}.native");
    let opened = KEYS
        .open(&id, "agent", Some("tenant"))
        .expect("a route of ours opens");
    assert_eq!((opened.route, opened.native), (route, "native"));
    assert!(KEYS.open(&id, "another", Some("tenant")).is_none());
    assert!(KEYS.open(&id, "agent", None).is_none());
    assert!(KEYS.open(&sealed, "agent", Some("tenant")).is_none());
    let mut changed = sealed.clone().into_bytes();
    for change in input.rest().chunks_exact(2) {
        let at = usize::from(change[0]) % changed.len();
        changed[at] = change[1];
    }
    let Ok(changed) = String::from_utf8(changed) else {
        return;
    };
    if changed != sealed {
        let id = format!("{changed}.native");
        assert!(KEYS.open(&id, "agent", Some("tenant")).is_none(), "{id}");
    }
}

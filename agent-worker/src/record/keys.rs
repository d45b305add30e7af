//! The names under which things are kept.
//!
//! # Invariants
//! - A key of a caller's begins with its kind and its [`Scope`]; foreign text in it never holds the
//!   character that separates its parts.

use std::borrow::Cow;

use mesh_fabric::state::Shelf;
use mesh_proto::AgentName;

use super::{Scope, TaskKey};

/// What is listed: the tasks of a scope, those that a boot moves on, and the three lists of all.
pub(super) const SHELVES: &[Shelf] = &[
    shelf("task", 4),
    shelf("owned", 2),
    shelf("outbox", 1),
    shelf("dead", 1),
    shelf("worker", 1),
];

const fn shelf(kind: &'static str, depth: usize) -> Shelf {
    Shelf { kind, depth }
}

pub(super) fn task(key: &TaskKey) -> String {
    scope("task", &key.scope) + &escape(&key.id)
}

pub(super) fn context(of: &Scope, context: &str) -> String {
    scope("context", of) + &escape(context)
}

pub(super) fn message(of: &Scope, message: &str) -> String {
    scope("msg", of) + &escape(message)
}

pub(super) fn hooks(key: &TaskKey) -> String {
    scope("push", &key.scope) + &escape(&key.id)
}

/// What is still to be put on the bus of a task, by the event's id.
pub(super) fn unsent(key: &TaskKey, event: &str) -> String {
    format!("{OUTBOX}{}/{}", task(key), escape(event))
}

pub(super) fn dead(name: &str) -> String {
    format!("{DEAD}{name}")
}

pub(super) const DEAD: &str = "dead/";

pub(super) const OUTBOX: &str = "outbox/";

/// A part of what the members of a group were asked in a task, and answered.
pub(super) fn fan_out(key: &TaskKey, part: &str) -> String {
    format!("{}{}/{part}", scope("fan", &key.scope), escape(&key.id))
}

/// A part of the members that a group was given.
pub(super) fn members(group: &AgentName, part: &str) -> String {
    format!("members/{group}/{part}")
}

/// A task in the index of those that a boot moves on.
pub(super) fn owned(boot: &str, key: &TaskKey) -> String {
    format!("{}{}", owned_by(boot), task(key))
}

pub(super) fn owned_by(boot: &str) -> String {
    format!("owned/{}/", escape(boot))
}

pub(super) fn lease(boot: &str) -> String {
    format!("lease/{}", escape(boot))
}

/// A life of a worker that may have left tasks behind: listed until somebody has looked after them.
pub(super) fn worker(boot: &str) -> String {
    format!("{WORKERS}{}", escape(boot))
}

pub(super) const WORKERS: &str = "worker/";

pub(super) fn scope(kind: &str, of: &Scope) -> String {
    let Scope {
        agent,
        tenant,
        principal,
    } = of;
    format!("{kind}/{agent}/{}/{principal}/", escape(tenant))
}

fn escape(text: &str) -> Cow<'_, str> {
    if text.contains(['/', '%']) {
        Cow::Owned(text.replace('%', "%25").replace('/', "%2F"))
    } else {
        Cow::Borrowed(text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_listed_is_a_shelf_and_its_keys_are_on_it() {
        let of = Scope {
            agent: "assistant".parse().unwrap(),
            tenant: "a/b".to_owned(),
            principal: String::new(),
        };
        let id = "1/2".to_owned();
        let key = TaskKey {
            scope: of.clone(),
            id,
        };
        for (prefix, key) in [
            (scope("task", &of), task(&key)),
            (owned_by("b/t"), owned("b/t", &key)),
            (OUTBOX.to_owned(), unsent(&key, "e/1")),
            (DEAD.to_owned(), dead("d")),
            (WORKERS.to_owned(), worker("b/t")),
        ] {
            assert_eq!(Shelf::of(SHELVES, &prefix), Some(&*prefix));
            assert_eq!(Shelf::of(SHELVES, &key), Some(&*prefix), "{key}");
        }
    }
}

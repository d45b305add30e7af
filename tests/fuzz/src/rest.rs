//! Paths of HTTP+JSON: what is read can be written and is read alike; ids in them are replaced in
//! place.
//!
//! # Invariants
//! - Only what the specification leaves open is left out: a tenant that is called like a literal path,
//!   an id that ends like a verb.

use http::Method;
use mesh_proto::{Operation, Version, rest, rewrite};

use crate::{
    ids::{Keep, Mark, Unmark},
    input::Input,
};

/// Names that a path reads as its own words.
const WORDS: [&str; 5] = [
    "tasks",
    "v1",
    "message:send",
    "message:stream",
    "extendedAgentCard",
];

/// Any request line.
pub(crate) fn path(data: &[u8]) {
    let mut input = Input::new(data);
    let method = input.method();
    let Ok(line) = std::str::from_utf8(input.rest()) else {
        return;
    };
    let (path, query) = match line.split_once('?') {
        Some((path, query)) => (path, Some(query)),
        None => (line, None),
    };
    let Ok(route) = rest::route(&method, path, query) else {
        return;
    };
    assert_eq!(
        rewrite::path(&method, route.operation, line, &mut Keep),
        None
    );
    written(&route);
    replaced(&method, line, &route);
}

/// Whether the task's id ends like a verb. Such an id has no path of its own: the last segment is read
/// as a verb as soon as there is anything before it.
fn is_verb(route: &rest::Route) -> bool {
    let ends = |id: &str| id.ends_with(":subscribe") || id.ends_with(":cancel");
    route.task_id.as_deref().is_some_and(ends)
}

/// What a route says is written as a path that says the same.
fn written(route: &rest::Route) {
    let ids = rest::Ids {
        tenant: route.tenant.as_deref(),
        task_id: route.task_id.as_deref(),
        config_id: route.config_id.as_deref(),
    };
    let is_word = ids.tenant.is_some_and(|tenant| WORDS.contains(&tenant));
    if route.version == Version::V0_3 || is_word || is_verb(route) {
        return;
    }
    let (method, path) = rest::path(route.operation, &ids);
    let again = rest::route(&method, &path, None).expect("a path of ours is read");
    assert_eq!(again.operation, route.operation, "{path}");
    let set = |id: &Option<String>| id.clone().filter(|id| !id.is_empty());
    assert_eq!(set(&again.tenant), set(&route.tenant), "{path}");
    assert_eq!(set(&again.task_id), set(&route.task_id), "{path}");
    assert_eq!(set(&again.config_id), set(&route.config_id), "{path}");
}

/// An id that is replaced is found where the old one was, and nothing else has moved.
fn replaced(method: &Method, line: &str, route: &rest::Route) {
    if is_verb(route) {
        return;
    }
    let Some(there) = rewrite::path(method, route.operation, line, &mut Mark) else {
        return;
    };
    let (path, query) = match there.split_once('?') {
        Some((path, query)) => (path, Some(query)),
        None => (there.as_str(), None),
    };
    let new = rest::route(method, path, query).expect("a path of ours is read");
    assert_eq!(new.operation, route.operation, "{there}");
    assert_eq!(new.tenant, route.tenant, "{there}");
    if route.operation != Operation::ListTasks {
        let marked = route.task_id.as_ref().map(|id| format!("z1t.{id}"));
        assert_eq!(new.task_id, marked, "{there}");
    }
    let back = rewrite::path(method, route.operation, &there, &mut Unmark);
    let back = back.expect("a mark comes off");
    let (path, query) = match back.split_once('?') {
        Some((path, query)) => (path, Some(query)),
        None => (back.as_str(), None),
    };
    let old = rest::route(method, path, query).expect("a path of ours is read");
    assert_eq!(
        (&old.task_id, &old.tenant),
        (&route.task_id, &route.tenant),
        "{back}"
    );
}

//! What an SDK can't do, whoever stands between: the reason beside each step that the tables leave out.
//!
//! # Invariants
//! - A limit is somebody else's: each was seen without our router, or is a difference between two SDKs
//!   that nobody between them can know of. What our router gets wrong is a red cell.

use std::collections::BTreeMap;

use mesh_proto::{Binding, Dialect, Version};
use mesh_tests::parts::{Part, agent::Maker, sdk::STEPS};

use crate::{
    agents::Whose,
    matrix::{Client, Target},
};

/// Steps to leave out, each with the reason.
pub(crate) type Without = BTreeMap<&'static str, &'static str>;

/// Its client of 0.3 posts to `/message:send` what 0.3 has at `/v1/message:send`, and writes the members
/// of JSON-RPC's objects in snake case where 0.3 has protobuf's.
const GO_REST: &str = "the Go SDK's REST of 0.3 is not that of the specification";

/// The Python and the Java SDK put base64 into the protobuf's bytes, these two the bytes themselves. Who
/// writes base64 is understood by most, so that is what the router writes.
const BYTES: &str = "the SDKs disagree on what file_with_bytes of 0.3 holds";

/// The agent forgets the last event of a subscription when it is in a hurry: about every second time.
const LAST_EVENT: &str = "the Python SDK 0.3.26 may end a gRPC subscription before its last event";

/// The Go SDK reads errors of `application/json` only, the Rust SDK sends `application/problem+json`,
/// and what needs no translation passes as it is.
const PROBLEM_JSON: &str = "the Go SDK does not read the media type of the Rust SDK's REST errors";

/// Its REST errors are `{"message": ...}`; the JS SDK wants a code beside it, the Python SDK 1.3.0 the
/// name of the error, and what needs no translation passes as it is.
const BARE_MESSAGE: &str =
    "the Python SDK 0.3.26 sends REST errors of which others can't read the kind";

/// 0.3 has no such operation, so its agents can't be asked.
const NO_LIST: &str = "0.3 has no ListTasks";

/// The Go SDK takes the prose's POST alone, the Rust SDK sends the proto's GET, and what needs no
/// translation passes as it is.
const GET_ALONE: &str = "the Go SDK's REST does not take the GET by which the Rust SDK subscribes";

/// The compatibility layer of 1.3.0 takes 0.3's paths, and answers with 1.0's errors.
const NEW_ERRORS: &str = "the Python SDK 1.3.0 answers wrong calls of REST 0.3 with errors of 1.0";

/// What a client can't do through the router to an agent.
pub(crate) fn routed(client: Client, dialect: Dialect, target: Target) -> Without {
    let mut without = of_client(client, dialect);
    let theirs = |maker| target.whose == Whose::Theirs(maker);
    if target.whose.version() == Version::V0_3 {
        without.insert("list", NO_LIST);
    }
    if theirs(Maker::Python03) && target.binding == Binding::Grpc {
        without.insert("subscribe", LAST_EVENT);
    }
    let rest = Dialect::new(Binding::Rest, target.whose.version());
    let same = dialect == rest && target.binding == Binding::Rest;
    match client {
        Client::Sdk(Part::Go) if same && theirs(Maker::Rust) => {
            without.insert("unknown-task", PROBLEM_JSON);
        }
        Client::Sdk(Part::RustClient) if same && theirs(Maker::Go) => {
            without.insert("subscribe", GET_ALONE);
        }
        Client::Sdk(Part::Js | Part::Python) if same && theirs(Maker::Python03) => {
            without.insert("unknown-task", BARE_MESSAGE);
        }
        _ => {}
    }
    without
}

/// What a client can't do directly to the agent of the Python SDK with its compatibility layer.
pub(crate) fn direct(sdk: Part, dialect: Dialect) -> Without {
    let mut without = of_client(Client::Sdk(sdk), dialect);
    let old_rest = dialect == Dialect::new(Binding::Rest, Version::V0_3);
    if old_rest && sdk != Part::Python03 {
        without.entry("unknown-task").or_insert(NEW_ERRORS);
    }
    without
}

/// What a client can't do to anybody.
fn of_client(client: Client, dialect: Dialect) -> Without {
    let mut without = Without::new();
    if dialect.version == Version::V1_0 {
        return without;
    }
    match (client, dialect.binding) {
        (Client::Sdk(Part::Go), Binding::Rest) => {
            without.extend(STEPS.iter().skip(1).map(|step| (*step, GO_REST)));
        }
        (Client::Sdk(Part::Go), Binding::Grpc)
        | (Client::Sdk(Part::Js), Binding::Grpc | Binding::Rest) => {
            without.insert("parts", BYTES);
        }
        _ => {}
    }
    without
}

//! Paths, frames and statuses, there and back.

use expect_test::expect;
use http::{HeaderMap, HeaderValue};
use proptest::prelude::*;

use super::*;
use crate::{
    a2a,
    error::{Fault, Problem},
};

#[test]
fn every_operation_has_its_path() {
    for operation in Operation::ALL {
        assert_eq!(path(operation), format!("/{SERVICE}/{}", operation.name()));
        assert_eq!(super::operation(path(operation)), Some(operation));
    }
    for other in [
        "",
        "/",
        "/lf.a2a.v1.A2AService",
        "/a2a.v1.A2AService/GetTask",
        "/lf.a2a.v1.A2AService/getTask",
    ] {
        assert_eq!(operation(other), None, "{other}");
    }
}

#[test]
fn every_fault_has_its_status_and_comes_back() {
    let mut table = String::new();
    for fault in Fault::ALL {
        let problem = Problem::new(fault, "50 % of \"é\" is\nmissing").with("taskId", "t");
        let map = trailers(&problem);
        let status = map["grpc-status"].to_str().unwrap();
        table.push_str(&format!("{status} {}\n", fault.row().reason));
        assert_eq!(super::problem(&map), Some(problem.clone()));
        let status = tonic::Status::from(problem.clone());
        assert_eq!(problem_of(&status), problem);
        // What tonic puts on the wire is what we put there.
        let theirs = status.into_http::<()>().into_parts().0.headers;
        assert_eq!(super::problem(&theirs), Some(problem));
    }
    expect![[r#"
        5 TASK_NOT_FOUND
        9 TASK_NOT_CANCELABLE
        9 PUSH_NOTIFICATION_NOT_SUPPORTED
        9 UNSUPPORTED_OPERATION
        3 CONTENT_TYPE_NOT_SUPPORTED
        13 INVALID_AGENT_RESPONSE
        9 EXTENDED_AGENT_CARD_NOT_CONFIGURED
        9 EXTENSION_SUPPORT_REQUIRED
        9 VERSION_NOT_SUPPORTED
        3 PARSE_ERROR
        3 INVALID_REQUEST
        12 METHOD_NOT_FOUND
        3 INVALID_PARAMS
        13 INTERNAL_ERROR
        16 UNAUTHENTICATED
        7 PERMISSION_DENIED
        14 UNAVAILABLE
        8 REQUEST_TOO_LARGE
        8 RESOURCE_EXHAUSTED
        4 DEADLINE_EXCEEDED
    "#]]
    .assert_eq(&table);
    let map = trailers(&Problem::new(Fault::TaskNotFound, "50 % of é"));
    expect![[r#"{"grpc-status": "5", "grpc-message": "50 %25 of %C3%A9", "grpc-status-details-bin": "CAUSCjUwICUgb2Ygw6kaTgoodHlwZS5nb29nbGVhcGlzLmNvbS9nb29nbGUucnBjLkVycm9ySW5mbxIiCg5UQVNLX05PVF9GT1VORBIQYTJhLXByb3RvY29sLm9yZw"}"#]].assert_eq(&format!("{map:?}"));
}

#[test]
fn a_status_without_details_is_guessed() {
    let check = |pairs: &[(&'static str, &str)], expected: Option<(Fault, &str)>| {
        let map: HeaderMap = pairs
            .iter()
            .map(|(key, value)| {
                (
                    (*key).parse().unwrap(),
                    HeaderValue::from_str(value).unwrap(),
                )
            })
            .collect();
        let found = problem(&map);
        let found = found.as_ref().map(|p| (p.fault, p.message.as_str()));
        assert_eq!(found, expected, "{pairs:?}");
    };
    check(&[], None);
    check(&[("grpc-status", "0")], None);
    check(
        &[("grpc-status", "5"), ("grpc-message", "no%20task")],
        Some((Fault::TaskNotFound, "no task")),
    );
    check(&[("grpc-status", "14")], Some((Fault::Unavailable, "")));
    check(&[("grpc-status", "many")], Some((Fault::Internal, "")));
    check(
        &[("grpc-status", "3"), ("grpc-status-details-bin", "!!")],
        Some((Fault::InvalidParams, "")),
    );
}

#[test]
fn a_frame_beyond_the_bound_is_refused_from_its_head_on() {
    let mut reader = Reader::new(10);
    reader.feed(&[0, 0, 0, 0, 11]);
    assert_eq!(reader.next_frame().unwrap_err().fault, Fault::TooLarge);
    let mut reader = Reader::new(10);
    reader.feed(&[2, 0, 0, 0, 0]);
    assert_eq!(reader.next_frame().unwrap_err().fault, Fault::Parse);
    let mut reader = Reader::new(10);
    reader.feed(&[1, 0, 0, 0, 10]);
    assert_eq!(reader.next_frame(), Ok(None));
    assert!(!reader.is_empty());
    reader.feed(&[7; 10]);
    let frame = reader.next_frame().unwrap().unwrap();
    assert!(frame.compressed && frame.message.len() == 10 && reader.is_empty());
}

proptest! {
    #[test]
    fn frames_come_back_wherever_the_body_is_cut(ids in proptest::collection::vec(".{0,20}", 0..5), cuts in proptest::collection::vec(1..9usize, 1..9)) {
        let messages: Vec<_> = ids
            .into_iter()
            .map(|id| a2a::GetTaskRequest { id, ..Default::default() })
            .collect();
        let body: Vec<u8> = messages.iter().flat_map(|message| frame(message).to_vec()).collect();
        let (mut reader, mut found) = (Reader::new(1 << 10), Vec::new());
        let (mut rest, mut cut) = (body.as_slice(), cuts.iter().cycle());
        while !rest.is_empty() {
            let (piece, tail) = rest.split_at((*cut.next().unwrap()).min(rest.len()));
            reader.feed(piece);
            rest = tail;
            while let Some(frame) = reader.next_frame().unwrap() {
                prop_assert!(!frame.compressed);
                found.push(<a2a::GetTaskRequest as prost::Message>::decode(frame.message).unwrap());
            }
        }
        prop_assert!(reader.is_empty());
        prop_assert_eq!(found, messages);
    }

    #[test]
    fn any_message_survives_the_trailers(message: String, key: String, value: String) {
        let problem = Problem::new(Fault::Internal, message).with(&key, value);
        prop_assert_eq!(super::problem(&trailers(&problem)), Some(problem));
    }
}

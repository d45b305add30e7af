//! Errors: how they look, and what is read of them.

use bytes::Bytes;
use mesh_proto::{Fault, Operation, Problem, Version, grpc, v03};

use super::{DIALECTS, GRPC, REST, RPC, id, read_event, read_response};

#[test]
fn an_error_looks_as_the_servers_of_0_3_write_it() {
    let mut looks = String::new();
    for fault in Fault::ALL {
        let problem = Problem::new(fault, "what is wrong");
        for dialect in DIALECTS {
            let wire = v03::encode_response(dialect, Some(&id()), Err(&problem));
            let header = |name| {
                let trailers = wire.trailers.as_ref()?;
                Some(trailers.get(name)?.to_str().unwrap().to_owned())
            };
            let line = match header("grpc-status") {
                Some(status) => format!("{status} {}", header("grpc-message").unwrap()),
                None => format!(
                    "{} {}",
                    wire.status.as_u16(),
                    String::from_utf8_lossy(&wire.body)
                ),
            };
            looks.push_str(&format!("{} {}\n", dialect.binding.label(), line));
            assert_eq!(header("grpc-status-details-bin"), None);
        }
    }
    expect_test::expect_file!["../fixtures/v03_errors.txt"].assert_eq(&looks);
}

#[test]
fn an_error_comes_back_as_far_as_0_3_has_a_word_for_it() {
    for fault in Fault::ALL {
        let problem = Problem::new(fault, "what is wrong");
        for dialect in DIALECTS {
            let back = read_response(dialect, Operation::GetTask, Err(&problem)).unwrap_err();
            assert_eq!(back.message, problem.message, "{dialect}");
            // What came with 1.0 has no code.
            let is_new = matches!(
                fault,
                Fault::ExtensionSupportRequired | Fault::VersionNotSupported
            );
            // gRPC has one status for both of these.
            let is_shared = fault == Fault::TooLarge && dialect == GRPC;
            let is_lost = is_shared || (is_new && dialect == RPC);
            if !is_lost {
                assert_eq!(back.fault, fault, "{dialect}");
            }
        }
    }
}

#[test]
fn an_error_within_a_stream_is_told_from_an_event() {
    let problem = Problem::new(Fault::TaskNotFound, "no task t");
    for dialect in [RPC, REST] {
        assert_eq!(
            read_event(dialect, Err(&problem)),
            Err(problem.clone()),
            "{dialect}"
        );
    }
    assert_eq!(v03::encode_event(GRPC, None, Err(&problem)), Bytes::new());
    let trailers = grpc::trailers_in(Version::V0_3, &problem);
    assert_eq!(grpc::problem_in(Version::V0_3, &trailers), Some(problem));
    let foreign = br#"{"error":{"code":404,"status":"NOT_FOUND","message":"gone"}}"#;
    let read = v03::decode_event(REST, Operation::SubscribeToTask, foreign);
    assert_eq!(read.unwrap_err().fault, Fault::TaskNotFound);
    for no_event in [&b"{}"[..], b"[]", b"null", b"{\"kind\":\"else\"}", b"x"] {
        for dialect in [RPC, REST] {
            let read = v03::decode_event(dialect, Operation::SubscribeToTask, no_event);
            assert_eq!(
                read.unwrap_err().fault,
                Fault::InvalidAgentResponse,
                "{no_event:?}"
            );
        }
    }
}

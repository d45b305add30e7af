//! No bytes do harm: neither random ones nor those of a body that is damaged.

use http::HeaderMap;
use proptest::prelude::*;

use super::{
    DIALECTS, bare,
    made::{Content, Maker},
};
use crate::pivot::*;

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..Default::default() })]

    #[test]
    fn no_bytes_make_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..64), status in 100..600u16) {
        for operation in Operation::ALL {
            swallow(operation, &bytes, status);
        }
    }

    #[test]
    fn no_damage_makes_it_panic(seed: u64, at: prop::sample::Index, byte: u8, cut: prop::sample::Index, status in 100..600u16) {
        let mut maker = Maker::new(seed, Content::Any);
        let operation = maker.rng().pick(&Operation::ALL);
        let (request, response, event) = (maker.request(operation), maker.response(operation), maker.event());
        for dialect in DIALECTS {
            let request = encode_request(dialect, &RawId::null(), &request).map(|wire| wire.body);
            let response = encode_response(dialect, None, Ok(&response)).body;
            let bodies = [request.unwrap_or_default(), response, encode_event(dialect, None, Ok(&event))];
            for body in bodies.map(|body| bare(dialect, &body).to_vec()).iter_mut().filter(|body| !body.is_empty()) {
                let at = at.index(body.len());
                body[at] = byte;
                swallow(operation, body, status);
                body.truncate(cut.index(body.len()));
                swallow(operation, body, status);
            }
        }
    }
}

/// Reads bytes as whatever they might be.
fn swallow(operation: Operation, bytes: &[u8], status: u16) {
    let status = StatusCode::from_u16(status).unwrap();
    let text = String::from_utf8_lossy(bytes);
    let headers = HeaderMap::new();
    for dialect in Binding::ALL
        .into_iter()
        .flat_map(|binding| Version::ALL.map(|version| Dialect::new(binding, version)))
    {
        for (method, path) in [
            (Method::GET, &*text),
            (Method::POST, "/tasks/x:cancel"),
            (Method::POST, "/message:send"),
        ] {
            drop(decode_request(dialect, operation, &method, path, bytes));
        }
        drop(decode_event(dialect, operation, bytes));
        for trailers in [None, Some(&crate::grpc::success())] {
            let read = decode_response(dialect, operation, status, &headers, trailers, bytes);
            drop(read);
        }
    }
}

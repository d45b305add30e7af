//! What reading and writing a body costs: the id scanner against a full parse, in JSON and in
//! protobuf, ids replaced in passing against parsing and writing anew, a body carried from one binding to
//! another, and the codecs themselves, which only transcoding and our own worker need.

use std::{borrow::Cow, hint::black_box};

use bytes::Bytes;
use criterion::{BenchmarkId, Criterion, Throughput};
use http::Method;
use mesh_bench::{Content, send_request};
use mesh_proto::{
    Binding, Dialect, Operation, Version, a2a, json,
    jsonrpc::{self, RawId},
    pivot,
    rewrite::{self, Direction, IdMap},
    scan, sse,
};
use prost::Message;

/// A chat turn, a page of text, a document or picture.
const INPUTS: [(&str, usize, Content); 4] = [
    ("1kB_text", 1_300, Content::Text),
    ("16kB_text", 16_000, Content::Text),
    ("262kB_text", 262_000, Content::Text),
    ("262kB_file", 262_000, Content::File),
];

const SEND: Operation = Operation::SendMessage;

fn main() {
    let mut criterion = Criterion::default().configure_from_args();
    ids_in_json(&mut criterion);
    ids_in_protobuf(&mut criterion);
    ids_replaced(&mut criterion);
    events_replaced(&mut criterion);
    transcoding(&mut criterion);
    codecs(&mut criterion);
    criterion.final_summary();
}

/// What the router does with a JSON-RPC body, beside what it would do without the scanner.
fn ids_in_json(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("ids_in_json");
    for (name, size, content) in INPUTS {
        let request = send_request(size, content);
        let body = jsonrpc::request(&RawId::number(1), SEND, &request).expect("good params");
        group.throughput(Throughput::Bytes(body.len() as u64));
        group.bench_function(BenchmarkId::new("scan", name), |bencher| {
            bencher.iter(|| scan::json_rpc(black_box(&body)).expect("a good request"));
        });
        group.bench_function(BenchmarkId::new("serde_json_value", name), |bencher| {
            bencher.iter(|| -> serde_json::Value {
                serde_json::from_slice(black_box(&body)).expect("a good request")
            });
        });
        group.bench_function(BenchmarkId::new("typed_message", name), |bencher| {
            bencher.iter(|| -> a2a::SendMessageRequest {
                jsonrpc::params(black_box(&body)).expect("a good request")
            });
        });
    }
    group.finish();
}

fn ids_in_protobuf(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("ids_in_protobuf");
    for (name, size, content) in INPUTS {
        let body = Bytes::from(send_request(size, content).encode_to_vec());
        group.throughput(Throughput::Bytes(body.len() as u64));
        group.bench_function(BenchmarkId::new("scan", name), |bencher| {
            bencher.iter(|| scan::protobuf(SEND, black_box(&body)).expect("a good request"));
        });
        group.bench_function(BenchmarkId::new("prost_decode", name), |bencher| {
            bencher.iter(|| {
                a2a::SendMessageRequest::decode(black_box(&body).clone()).expect("a good request")
            });
        });
        group.bench_function(BenchmarkId::new("replace_tenant", name), |bencher| {
            bencher.iter(|| scan::protobuf_tenant(SEND, black_box(&body), Some("acme")));
        });
    }
    group.finish();
}

/// Puts 27 characters in front of each id, as an envelope does; sealing them has its own bench.
struct Wrap;

impl IdMap for Wrap {
    fn task<'a>(&mut self, id: &'a str) -> Option<Cow<'a, str>> {
        Some(Cow::Owned(format!("z10.5yAZ4mvQuxh6cfWSqvjjCw.{id}")))
    }

    fn context<'a>(&mut self, id: &'a str) -> Option<Cow<'a, str>> {
        self.task(id)
    }
}

/// What the router does with the body of an enveloped call, beside reading and writing it anew.
fn ids_replaced(criterion: &mut Criterion) {
    let replace = |dialect: Dialect, body: &Bytes| {
        rewrite::rewrite(dialect, SEND, Direction::Request, body.clone(), &mut Wrap)
            .expect("a good request")
    };
    let rpc = Dialect::new(Binding::JsonRpc, Version::V1_0);
    let grpc = Dialect::new(Binding::Grpc, Version::V1_0);
    let mut group = criterion.benchmark_group("ids_replaced");
    for (name, size, content) in INPUTS {
        let request = send_request(size, content);
        let text = jsonrpc::request(&RawId::number(1), SEND, &request).expect("good params");
        let wire = Bytes::from(request.encode_to_vec());
        group.throughput(Throughput::Bytes(text.len() as u64));
        group.bench_function(BenchmarkId::new("json_segments", name), |bencher| {
            bencher.iter(|| replace(rpc, black_box(&text)));
        });
        group.bench_function(BenchmarkId::new("json_one_piece", name), |bencher| {
            bencher.iter(|| replace(rpc, black_box(&text)).into_bytes());
        });
        group.bench_function(BenchmarkId::new("serde_json_value", name), |bencher| {
            bencher.iter(|| {
                let mut value: serde_json::Value =
                    serde_json::from_slice(black_box(&text)).expect("a good request");
                value["params"]["message"]["taskId"] = "z10.5yAZ4mvQuxh6cfWSqvjjCw.t".into();
                serde_json::to_vec(&value).expect("a value is JSON")
            });
        });
        group.bench_function(BenchmarkId::new("protobuf_one_piece", name), |bencher| {
            bencher.iter(|| replace(grpc, black_box(&wire)).into_bytes());
        });
        group.bench_function(BenchmarkId::new("prost_message", name), |bencher| {
            bencher.iter(|| {
                let mut message = a2a::SendMessageRequest::decode(black_box(&wire).clone())
                    .expect("a good request");
                if let Some(message) = &mut message.message {
                    message.task_id.insert_str(0, "z10.5yAZ4mvQuxh6cfWSqvjjCw.");
                }
                message.encode_to_vec()
            });
        });
    }
    group.finish();
}

/// One event of a stream, cut out, replaced and joined.
fn events_replaced(criterion: &mut Criterion) {
    let [task_id, context_id] = mesh_bench::ids(2).try_into().unwrap_or_default();
    let update = a2a::TaskStatusUpdateEvent {
        task_id,
        context_id,
        status: Some(a2a::TaskStatus {
            state: a2a::TaskState::Working.into(),
            ..Default::default()
        }),
        ..Default::default()
    };
    let response = a2a::StreamResponse {
        payload: Some(a2a::stream_response::Payload::StatusUpdate(update)),
    };
    let data = jsonrpc::result(&RawId::number(1), &response);
    let frame = sse::write(&sse::Event::of_data(&data));
    let rpc = Dialect::new(Binding::JsonRpc, Version::V1_0);
    let mut group = criterion.benchmark_group("events_replaced");
    group.throughput(Throughput::Bytes(frame.len() as u64));
    group.bench_function("spans", |bencher| {
        let mut events = rewrite::Events::new(1 << 20);
        bencher.iter(|| {
            events.feed(black_box(&frame));
            let piece = events.next_piece().ok().flatten().expect("a whole event");
            rewrite::event(rpc, Operation::SubscribeToTask, piece, &mut Wrap)
                .expect("a good event")
                .into_bytes()
        });
    });
    group.bench_function("serde_json_value", |bencher| {
        let mut events = sse::Reader::new(1 << 20);
        bencher.iter(|| {
            events.feed(black_box(&frame)).expect("within the bound");
            let event = events.next_event().expect("a whole event");
            let mut value: serde_json::Value =
                serde_json::from_slice(&event.data).expect("a good event");
            value["result"]["statusUpdate"]["taskId"] = "z10.5yAZ4mvQuxh6cfWSqvjjCw.t".into();
            let data = serde_json::to_vec(&value).expect("a value is JSON");
            sse::write(&sse::Event::of_data(&data))
        });
    });
    group.finish();
}

/// What the router does with a body that has to change its binding, beside the scan that is all it takes
/// where both sides speak the same.
fn transcoding(criterion: &mut Criterion) {
    let rpc = Dialect::new(Binding::JsonRpc, Version::V1_0);
    let grpc = Dialect::new(Binding::Grpc, Version::V1_0);
    let id = RawId::number(1);
    let transcode = |from: Dialect, to: Dialect, body: &[u8]| {
        let request = pivot::decode_request(from, SEND, &Method::POST, "", body);
        pivot::encode_request(to, &id, &request.expect("a good request")).expect("it has a form")
    };
    let mut group = criterion.benchmark_group("transcoding");
    for (name, size, content) in INPUTS {
        let request = send_request(size, content);
        let text = jsonrpc::request(&id, SEND, &request).expect("good params");
        let wire = Bytes::from(request.encode_to_vec());
        group.throughput(Throughput::Bytes(text.len() as u64));
        group.bench_function(BenchmarkId::new("json_scan", name), |bencher| {
            bencher.iter(|| scan::json_rpc(black_box(&text)).expect("a good request"));
        });
        group.bench_function(BenchmarkId::new("json_rpc_to_grpc", name), |bencher| {
            bencher.iter(|| transcode(rpc, grpc, black_box(&text)));
        });
        group.bench_function(BenchmarkId::new("grpc_to_json_rpc", name), |bencher| {
            bencher.iter(|| transcode(grpc, rpc, black_box(&wire)));
        });
    }
    group.finish();
}

fn codecs(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("codec");
    for (name, size, content) in INPUTS {
        let request = send_request(size, content);
        let text = json::to_bytes(&request);
        group.throughput(Throughput::Bytes(text.len() as u64));
        group.bench_function(BenchmarkId::new("json_to_message", name), |bencher| {
            bencher.iter(|| -> a2a::SendMessageRequest {
                json::from_slice(black_box(&text)).expect("a good request")
            });
        });
        group.bench_function(BenchmarkId::new("message_to_json", name), |bencher| {
            bencher.iter(|| json::to_bytes(black_box(&request)));
        });
        group.bench_function(BenchmarkId::new("message_to_protobuf", name), |bencher| {
            bencher.iter(|| black_box(&request).encode_to_vec());
        });
    }
    group.finish();
}

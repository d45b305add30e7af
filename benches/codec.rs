//! What reading and writing a body costs: the id scanner against a full parse, in JSON and in
//! protobuf, and the codecs themselves, which only transcoding and our own worker need.

use std::hint::black_box;

use bytes::Bytes;
use criterion::{BenchmarkId, Criterion, Throughput};
use mesh_bench::{Content, send_request};
use mesh_proto::{
    Operation, a2a, json,
    jsonrpc::{self, RawId},
    scan,
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
    codecs(&mut criterion);
    criterion.final_summary();
}

/// What the router does with a JSON-RPC body, beside what it would do without the scanner.
fn ids_in_json(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("ids_in_json");
    for (name, size, content) in INPUTS {
        let request = send_request(size, content);
        let body = jsonrpc::request(&RawId::number(1), SEND, &request);
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

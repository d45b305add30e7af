//! Our description of A2A against those of others: crate `a2a-pb`, which ships its .proto, and the
//! Python SDK, where it is installed. Every message, field number, type, cardinality, oneof, required
//! mark, enum value and method must be the same.

use std::{collections::BTreeSet, path::PathBuf, process::Command};

use mesh_proto::FILE_DESCRIPTOR_SET;
use prost_reflect::{Cardinality, DescriptorPool, ExtensionDescriptor, FieldDescriptor, Value};

const PACKAGE: &str = "lf.a2a.v1";

/// Everything that the wire knows of, one line each.
fn facts(pool: &DescriptorPool) -> BTreeSet<String> {
    let behavior = pool.get_extension_by_name("google.api.field_behavior");
    let mut facts = BTreeSet::new();
    for message in pool.all_messages().filter(|m| m.package_name() == PACKAGE) {
        facts.insert(format!("message {}", message.full_name()));
        for field in message.fields() {
            facts.insert(fact(&field, behavior.as_ref()));
        }
    }
    for enumeration in pool.all_enums().filter(|e| e.package_name() == PACKAGE) {
        for value in enumeration.values() {
            facts.insert(format!("enum {} = {}", value.full_name(), value.number()));
        }
    }
    for service in pool.services().filter(|s| s.package_name() == PACKAGE) {
        for method in service.methods() {
            facts.insert(format!(
                "method {}: {}{} -> {}{}",
                method.full_name(),
                if method.is_client_streaming() {
                    "stream "
                } else {
                    ""
                },
                method.input().full_name(),
                if method.is_server_streaming() {
                    "stream "
                } else {
                    ""
                },
                method.output().full_name(),
            ));
        }
    }
    facts
}

fn fact(field: &FieldDescriptor, behavior: Option<&ExtensionDescriptor>) -> String {
    let oneof = field.containing_oneof();
    let required = behavior.is_some_and(|extension| {
        let options = field.options();
        let values = options.get_extension(extension);
        values
            .as_list()
            .is_some_and(|values| values.contains(&Value::EnumNumber(2)))
    });
    format!(
        "field {} = {} {}{:?} {} json={} oneof={} presence={} required={required}",
        field.full_name(),
        field.number(),
        if field.cardinality() == Cardinality::Repeated {
            "repeated "
        } else {
            ""
        },
        field.kind(),
        if field.is_map() { "map" } else { "" },
        field.json_name(),
        oneof.as_ref().map_or("", |oneof| oneof.name()),
        field.supports_presence(),
    )
}

fn ours() -> DescriptorPool {
    DescriptorPool::decode(FILE_DESCRIPTOR_SET).expect("the committed descriptors are whole")
}

/// Where cargo keeps the sources of crate `a2a-pb`.
fn official_proto_dir() -> PathBuf {
    let metadata = cargo_metadata::MetadataCommand::new()
        .manifest_path(concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml"))
        .other_options(vec!["--offline".to_owned()])
        .exec()
        .expect("cargo knows its packages");
    let package = metadata
        .packages
        .iter()
        .find(|p| p.name.as_str() == "a2a-pb");
    let manifest = &package.expect("a2a-pb is a dev-dependency").manifest_path;
    manifest
        .parent()
        .expect("a manifest lies in a folder")
        .join("proto")
        .into()
}

#[test]
fn the_official_rust_crate_describes_the_same_protocol() {
    let mut compiler = protox::Compiler::new([official_proto_dir()]).unwrap();
    compiler
        .include_imports(true)
        .open_file("a2a.proto")
        .unwrap();
    let theirs = facts(&compiler.descriptor_pool());
    let ours = facts(&ours());
    let only =
        |a: &BTreeSet<String>, b: &BTreeSet<String>| a.difference(b).cloned().collect::<Vec<_>>();
    let (more, fewer) = (only(&ours, &theirs), only(&theirs, &ours));
    assert!(
        more.is_empty() && fewer.is_empty(),
        "only ours: {more:#?}\nonly theirs: {fewer:#?}"
    );
    assert!(
        ours.len() > 200,
        "{} facts are too few to be A2A",
        ours.len()
    );
}

#[test]
fn the_python_sdk_describes_the_same_protocol_in_both_versions() {
    let root = concat!(env!("CARGO_MANIFEST_DIR"), "/..");
    let parts = std::env::var_os("DACA_PARTS")
        .map_or_else(|| PathBuf::from(root).join(".parts"), PathBuf::from);
    let python = parts.join("python/bin/python");
    if !python.exists() {
        let wanted = std::env::var_os("DACA_REQUIRE_PARTS").is_some_and(|value| value == "1");
        assert!(!wanted, "{} is missing: run .ci/parts", python.display());
        return;
    }
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/");
    for (descriptors, package) in [
        ("descriptor.bin", PACKAGE),
        ("descriptor_v03.bin", "a2a.v1"),
    ] {
        let output = Command::new(&python)
            .arg(format!("{folder}tests/python_descriptors.py"))
            .arg(format!("{folder}src/gen/{descriptors}"))
            .arg(package)
            .output()
            .unwrap();
        let text = [output.stdout, output.stderr].concat();
        assert!(
            output.status.success(),
            "{package}: {}",
            String::from_utf8_lossy(&text)
        );
    }
}

#[test]
fn the_descriptors_hold_all_that_reflection_must_serve() {
    let pool = ours();
    let files: Vec<_> = pool.files().map(|file| file.name().to_owned()).collect();
    for file in [
        "a2a.proto",
        "google/protobuf/struct.proto",
        "google/protobuf/empty.proto",
    ] {
        assert!(
            files.iter().any(|name| name == file),
            "{file} is not among {files:?}"
        );
    }
    let service = pool.get_service_by_name(mesh_proto::grpc::SERVICE).unwrap();
    let mut methods: Vec<_> = service
        .methods()
        .map(|method| method.name().to_owned())
        .collect();
    let mut operations: Vec<_> = mesh_proto::Operation::ALL
        .iter()
        .map(|o| o.name().to_owned())
        .collect();
    methods.sort();
    operations.sort();
    assert_eq!(methods, operations);
}

#[test]
fn the_generated_code_is_fresh() {
    let stale = mesh_codegen::stale(&mesh_codegen::proto_dir()).unwrap();
    assert!(
        stale.is_empty(),
        "run `cargo run -p mesh-codegen`: {stale:?}"
    );
}

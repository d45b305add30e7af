//! Writes the generated code of mesh-proto from its .proto files, without protoc.
//!
//! It owns `proto/src/gen/`: messages and gRPC stubs (prost, tonic), their ProtoJSON
//! and the descriptors. It never touches another file. `cargo run -p mesh-codegen` writes;
//! [`stale`] compares, so that a test can tell when somebody forgot to.
//!
//! # Invariants
//! - The same .proto gives the same bytes: nothing here reads a clock, an environment or an order of
//!   hashing.
//! - A bytes field is `bytes::Bytes`; a map is a `BTreeMap`, so that what we print does not jump about.

mod protojson;

use std::{
    fs, io,
    path::{Path, PathBuf},
};

/// One version of the protocol, and the names of what is generated from it.
struct Protocol {
    package: &'static str,
    file: &'static str,
    messages: &'static str,
    json: &'static str,
    descriptors: &'static str,
    /// Whether gRPC stubs are wanted: for what our own agents serve and our client calls.
    stubs: bool,
}

const PROTOCOLS: [Protocol; 2] = [
    Protocol {
        package: "lf.a2a.v1",
        file: "a2a.proto",
        messages: "a2a.rs",
        json: "a2a_json.rs",
        descriptors: "descriptor.bin",
        stubs: true,
    },
    Protocol {
        package: "a2a.v1",
        file: "a2a_v03.proto",
        messages: "a2a_v03.rs",
        json: "a2a_v03_json.rs",
        descriptors: "descriptor_v03.bin",
        stubs: false,
    },
];

/// Why nothing was generated.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The .proto files are wrong.
    #[error("the .proto files do not compile")]
    Compile(#[from] protox::Error),
    /// Their descriptors cannot be read back.
    #[error("the descriptors cannot be read")]
    Descriptor(#[from] prost_reflect::DescriptorError),
    /// A file cannot be read or written, or prost cannot generate.
    #[error("reading or writing generated code")]
    Io(#[from] io::Error),
    /// A file holds something that this generator does not know.
    #[error("{field}: a {what} is nothing that A2A has needed so far, teach it to protojson.rs")]
    Unknown {
        /// The full name of the field.
        field: String,
        /// What it is.
        what: &'static str,
    },
}

/// One generated file.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Output {
    /// Its path below the package's folder.
    pub path: PathBuf,
    /// What belongs into it.
    pub contents: Vec<u8>,
}

/// The folder of mesh-proto in the tree that this crate was built in.
#[must_use]
pub fn proto_dir() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .map_or_else(PathBuf::new, Path::to_path_buf)
}

/// Generates everything, in memory. `proto_dir` is the folder that holds `a2a/`.
///
/// # Errors
/// [`Error`], when the .proto files are wrong or hold what the generator does not know.
pub fn generate(proto_dir: &Path) -> Result<Vec<Output>, Error> {
    let mut outputs = Vec::new();
    for protocol in &PROTOCOLS {
        outputs.extend(protocol.generate(proto_dir)?);
    }
    Ok(outputs)
}

impl Protocol {
    fn generate(&self, proto_dir: &Path) -> Result<[Output; 3], Error> {
        let mut compiler = protox::Compiler::new([proto_dir.join("a2a")])?;
        compiler
            .include_imports(true)
            .include_source_info(true)
            .open_file(self.file)?;
        // Comments become documentation of the generated code; the descriptors that reflection serves
        // are written without.
        let files = compiler.file_descriptor_set().file;
        compiler.include_source_info(false);
        let descriptors = compiler.encode_file_descriptor_set();

        let pool = prost_reflect::DescriptorPool::decode(descriptors.as_slice())?;
        let output = |name: &str, contents| Output {
            path: Path::new("src/gen").join(name),
            contents,
        };
        Ok([
            output(self.messages, self.messages_of(files)?.into_bytes()),
            output(
                self.json,
                protojson::generate(&pool, self.package)?.into_bytes(),
            ),
            output(self.descriptors, descriptors),
        ])
    }

    fn messages_of(
        &self,
        files: Vec<prost_types::FileDescriptorProto>,
    ) -> Result<String, io::Error> {
        let module_of = prost_build::Module::from_protobuf_package_name;
        let mut config = prost_build::Config::new();
        config.bytes(["."]).btree_map(["."]);
        if self.stubs {
            let stubs = tonic_prost_build::configure().build_transport(false);
            config.service_generator(stubs.service_generator());
        }
        let files = files
            .into_iter()
            .map(|file| (module_of(file.package()), file))
            .collect();
        config
            .generate(files)?
            .remove(&module_of(self.package))
            .ok_or_else(|| io::Error::other("prost generated nothing"))
    }
}

/// Generates and writes what differs; the answer names the files that changed.
///
/// # Errors
/// [`Error`], as [`generate`], and when a file cannot be written.
pub fn write(proto_dir: &Path) -> Result<Vec<PathBuf>, Error> {
    let outputs = generate(proto_dir)?;
    let mut changed = Vec::new();
    for output in outputs {
        let path = proto_dir.join(&output.path);
        if is_fresh(&path, &output.contents) {
            continue;
        }
        if let Some(folder) = path.parent() {
            fs::create_dir_all(folder)?;
        }
        fs::write(&path, &output.contents)?;
        changed.push(output.path);
    }
    Ok(changed)
}

/// Names the committed files that differ from what would be generated now; empty when all is fresh.
///
/// # Errors
/// [`Error`], as [`generate`].
pub fn stale(proto_dir: &Path) -> Result<Vec<PathBuf>, Error> {
    Ok(generate(proto_dir)?
        .into_iter()
        .filter(|output| !is_fresh(&proto_dir.join(&output.path), &output.contents))
        .map(|output| output.path)
        .collect())
}

fn is_fresh(path: &Path, contents: &[u8]) -> bool {
    fs::read(path).is_ok_and(|old| old == contents)
}

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

/// The package that is generated.
pub const PACKAGE: &str = "lf.a2a.v1";
const ROOT_FILE: &str = "a2a.proto";

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
    let mut compiler = protox::Compiler::new([proto_dir.join("a2a")])?;
    compiler
        .include_imports(true)
        .include_source_info(true)
        .open_file(ROOT_FILE)?;
    // Comments become documentation of the generated code; the descriptors that reflection serves are
    // written without.
    let files = compiler.file_descriptor_set().file;
    compiler.include_source_info(false);
    let descriptors = compiler.encode_file_descriptor_set();

    let pool = prost_reflect::DescriptorPool::decode(descriptors.as_slice())?;

    let module = prost_build::Module::from_protobuf_package_name(PACKAGE);
    let messages = prost_build::Config::new()
        .bytes(["."])
        .btree_map(["."])
        .service_generator(
            tonic_prost_build::configure()
                .build_transport(false)
                .service_generator(),
        )
        .generate(
            files
                .into_iter()
                .map(|file| {
                    (
                        prost_build::Module::from_protobuf_package_name(file.package()),
                        file,
                    )
                })
                .collect(),
        )?
        .remove(&module)
        .ok_or_else(|| io::Error::other("prost generated nothing"))?;

    let folder = Path::new("src/gen");
    Ok(vec![
        Output {
            path: folder.join("a2a.rs"),
            contents: messages.into_bytes(),
        },
        Output {
            path: folder.join("a2a_json.rs"),
            contents: protojson::generate(&pool)?.into_bytes(),
        },
        Output {
            path: folder.join("descriptor.bin"),
            contents: descriptors,
        },
    ])
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

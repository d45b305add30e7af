//! The rules of the tree as tests. Each prints `file:line: what to do` for everything that breaks it.
//!
//! # Invariants
//! - Every check is a function on text, and a unit test beside it shows it failing; the tests here
//!   only feed the real tree to them.
//! - Nothing is fetched and nothing is written.

#![expect(
    clippy::string_slice,
    reason = "every place comes from a search in the same text; a panic would fail the check, no more"
)]

mod arrows;
mod crates;
mod text;
mod tree;

use std::{fs, path::PathBuf, process::Command, sync::LazyLock};

use cargo_metadata::{DependencyKind, Metadata, MetadataCommand};

use arrows::{Arrow, Need, crate_arrow};
use tree::{Finding, Source};

static SOURCES: LazyLock<Vec<Source>> = LazyLock::new(tree::sources);
static METADATA: LazyLock<Metadata> = LazyLock::new(metadata);

#[track_caller]
fn none(findings: impl IntoIterator<Item = Finding>) {
    let findings: Vec<String> = findings.into_iter().map(|f| f.to_string()).collect();
    assert!(findings.is_empty(), "\n{}\n", findings.join("\n"));
}

/// Files that people wrote.
fn written() -> impl Iterator<Item = &'static Source> {
    SOURCES.iter().filter(|source| !source.is_generated())
}

fn cargo() -> PathBuf {
    std::env::var_os("CARGO").map_or_else(|| "cargo".into(), PathBuf::from)
}

/// Only what this platform needs: cargo has fetched no more than that.
fn metadata() -> Metadata {
    let rustc = std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    let version = Command::new(rustc).arg("-vV").output().expect("rustc runs");
    let version = String::from_utf8(version.stdout).expect("rustc writes UTF-8");
    let host = version.lines().find_map(|line| line.strip_prefix("host: "));
    let host = host.expect("rustc tells its host").to_owned();
    let options = ["--locked", "--offline", "--filter-platform"].map(str::to_owned);
    MetadataCommand::new()
        .manifest_path(tree::root().join("Cargo.toml"))
        .other_options(options.into_iter().chain([host]).collect::<Vec<_>>())
        .exec()
        .expect("cargo reads the workspace")
}

#[test]
fn the_tree_was_found_at_all() {
    let has = |path: &str| SOURCES.iter().any(|source| source.path == path);
    for path in [
        "proto/src/lib.rs",
        "crates/core/src/slots.rs",
        "router/src/lib.rs",
        "agent-worker/src/lib.rs",
        "tests/tidy/main.rs",
    ] {
        assert!(has(path), "{path}");
    }
    assert_eq!(METADATA.workspace_packages().len(), arrows::ROOMS.len());
}

#[test]
fn rooms_import_only_what_the_table_allows() {
    let packages = METADATA.workspace_packages();
    let findings = packages.iter().flat_map(|package| {
        let manifest = fs::read_to_string(&package.manifest_path).expect("a manifest is readable");
        package.dependencies.iter().filter_map(move |dependency| {
            let arrow = Arrow {
                from: package.name.as_str(),
                to: &dependency.name,
                need: match dependency.kind {
                    DependencyKind::Development => Need::Tests,
                    _ => Need::Normal,
                },
                inner: dependency.path.is_some(),
            };
            crate_arrow(&arrow).map(|advice| Finding {
                path: package.manifest_path.to_string(),
                line: crates::line_of(&manifest, &dependency.name),
                advice,
            })
        })
    });
    none(findings);
}

#[test]
fn modules_use_only_modules_listed_below_them() {
    let folders = ["router/src/", "agent-worker/src/"];
    none(
        folders
            .iter()
            .flat_map(|folder| arrows::module_order(folder, &SOURCES)),
    );
}

#[test]
fn pure_rooms_do_no_io_and_hyper_stays_at_the_edges() {
    none(SOURCES.iter().flat_map(arrows::banned_words));
}

#[test]
fn every_file_says_what_it_is() {
    none(written().filter_map(text::opening));
}

#[test]
fn no_file_is_too_long_to_read() {
    none(written().filter_map(text::length));
}

#[test]
fn names_are_words_of_the_field() {
    none(written().flat_map(text::names));
}

#[test]
fn no_test_is_skipped_or_hopes() {
    none(written().flat_map(text::honest_tests));
}

#[test]
fn generated_code_is_what_the_generator_writes_now() {
    let stale = mesh_codegen::stale(&mesh_codegen::proto_dir()).expect("the generator runs");
    none(stale.into_iter().map(|path| Finding {
        path: format!("proto/{}", path.display()),
        line: 1,
        advice: "differs from proto/a2a/*.proto; run `cargo run -p mesh-codegen`".to_owned(),
    }));
}

#[test]
fn every_room_inherits_the_lint_tables() {
    none(METADATA.workspace_packages().iter().filter_map(|package| {
        let manifest = fs::read_to_string(&package.manifest_path).expect("a manifest is readable");
        crates::inherits_lints(package.manifest_path.as_str(), &manifest)
    }));
}

#[test]
fn every_dependency_has_a_licence_that_we_may_use() {
    let lock = fs::read_to_string(tree::root().join("Cargo.lock")).expect("the lock file is there");
    let foreign = METADATA
        .packages
        .iter()
        .filter(|package| package.source.is_some());
    none(foreign.filter_map(|package| {
        let licence = package.license.as_deref().unwrap_or_default();
        (!crates::may_use(licence)).then(|| Finding {
            path: "Cargo.lock".to_owned(),
            line: crates::line_of(&lock, &format!("name = \"{}\"", package.name)),
            advice: format!(
                "{} {} is under {licence:?}, which is not on the list in tests/tidy/crates.rs: \
                 find another crate, or have the licence allowed",
                package.name, package.version
            ),
        })
    }));
}

#[test]
fn crypto_and_stores_that_we_do_not_ship_stay_out() {
    // Of cargo's answers only the tree knows which optional dependencies are really switched on.
    let tree = Command::new(cargo())
        .args([
            "tree",
            "--workspace",
            "--locked",
            "--offline",
            "--edges",
            "normal",
        ])
        .args(["--prefix", "depth", "--format", " {p}"])
        .current_dir(tree::root())
        .output()
        .expect("cargo runs");
    let said = String::from_utf8_lossy(&tree.stderr);
    assert!(tree.status.success(), "cargo tree: {said}");
    let tree = String::from_utf8(tree.stdout).expect("cargo writes UTF-8");
    assert!(
        tree.contains(" rustls v"),
        "the tree has no rustls: is it the tree?"
    );
    none(
        crates::banned_crates(&tree)
            .into_iter()
            .map(|advice| Finding {
                path: "Cargo.lock".to_owned(),
                line: 1,
                advice,
            }),
    );
}

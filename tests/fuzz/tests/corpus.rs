//! Replays every committed input, so that what was found once is found again by `cargo test`.
//!
//! # Invariants
//! - Every target has a corpus, and every corpus a target.

use std::{collections::BTreeSet, fs, path::PathBuf};

use mesh_fuzz::TARGETS;

fn corpus() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("corpus")
}

#[test]
fn every_committed_input_keeps_its_property() {
    for target in TARGETS {
        let folder = corpus().join(target.name);
        let inputs =
            fs::read_dir(&folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
        let mut count = 0;
        for input in inputs {
            let path = input.unwrap().path();
            let data = fs::read(&path).unwrap();
            let outcome = std::panic::catch_unwind(|| (target.run)(&data));
            assert!(outcome.is_ok(), "{} breaks {}", path.display(), target.name);
            count += 1;
        }
        assert!(count > 2, "{} has {count} inputs", target.name);
    }
}

#[test]
fn every_target_takes_what_is_hardly_an_input() {
    for target in TARGETS {
        for data in [&b""[..], b"\0", b"\xff", &[b'[', 255, 0, b'{']] {
            (target.run)(data);
        }
        (target.run)(&vec![b'['; 5_000]);
        (target.run)("{\"a\":".repeat(1_000).as_bytes());
    }
}

#[test]
fn every_corpus_has_its_target() {
    let names: BTreeSet<&str> = TARGETS.iter().map(|target| target.name).collect();
    for folder in fs::read_dir(corpus()).unwrap() {
        let name = folder.unwrap().file_name().into_string().unwrap();
        assert!(names.contains(name.as_str()), "no target is named {name}");
    }
    assert_eq!(names.len(), TARGETS.len(), "two targets of one name");
}

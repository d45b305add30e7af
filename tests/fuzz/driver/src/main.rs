//! Runs the fuzz target that `DACA_FUZZ_TARGET` names under libFuzzer. One program for all of them:
//! linking is what takes long.
//!
//! # Invariants
//! - Nothing of a target is here; see the library beside this folder.

#![no_main]

use std::sync::OnceLock;

use libfuzzer_sys::fuzz_target;
use mesh_fuzz::Target;

static TARGET: OnceLock<&'static Target> = OnceLock::new();

fuzz_target!(|data: &[u8]| {
    let target = TARGET.get_or_init(|| {
        let name = std::env::var("DACA_FUZZ_TARGET").unwrap_or_default();
        mesh_fuzz::find(&name).unwrap_or_else(|| panic!("DACA_FUZZ_TARGET={name} is no target"))
    });
    (target.run)(data);
});

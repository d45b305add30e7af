//! `daca load` as a process of its own beside the mesh that it loads, and how much of a long run is
//! wanted.
//!
//! # Invariants
//! - The generator shares no process with what it measures, nor with the harness.

use std::{
    ffi::OsString,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result, ensure};
use mesh_bench::report::Report;

use crate::process;

/// Whether the whole run is wanted (`DACA_LONG=1`), not a tenth of it.
#[must_use]
pub fn is_long() -> bool {
    std::env::var_os("DACA_LONG").is_some_and(|value| value == "1")
}

/// The program that carries the load: the one that `DACA_PROGRAM` names, which should be optimised;
/// otherwise the one built with the tests.
#[must_use]
pub fn program(built: &str) -> PathBuf {
    std::env::var_os("DACA_PROGRAM").map_or_else(|| built.into(), resolved)
}

/// Whether `DACA_PROGRAM` names the program.
#[must_use]
pub fn is_given() -> bool {
    std::env::var_os("DACA_PROGRAM").is_some()
}

/// Tests run in their own package's folder; a path on the command line means the workspace's.
fn resolved(named: OsString) -> PathBuf {
    let path = PathBuf::from(named);
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent();
    match root {
        Some(root) if path.is_relative() => root.join(path),
        _ => path,
    }
}

/// Runs `daca load` with these arguments to its end.
///
/// # Errors
/// When it fails, or says something that is no report.
pub async fn load(program: &Path, arguments: &[String]) -> Result<Report> {
    let mut command = process::daca(program);
    command.args(["--output", "json", "load"]).args(arguments);
    let output = process::run(command).await?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{}: {said}", output.status);
    serde_json::from_slice(&output.stdout).with_context(|| said.into_owned())
}

/// Keeps a run's picture where the reports are wanted (`DACA_REPORTS`), or in `otherwise`, and says where.
///
/// # Errors
/// When it can't be written.
pub fn keep_picture(name: &str, report: &Report, otherwise: &str) -> Result<()> {
    let folder = std::env::var_os("DACA_REPORTS").map_or_else(|| otherwise.into(), resolved);
    std::fs::create_dir_all(&folder)?;
    let file = folder.join(name);
    std::fs::write(&file, report.svg())?;
    process::say(&format!("picture: {}", file.display()));
    Ok(())
}

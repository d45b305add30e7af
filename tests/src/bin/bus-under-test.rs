//! A process that holds the SQLite bus of a folder, for tests that want a second process.

use std::process::ExitCode;

#[tokio::main]
async fn main() -> ExitCode {
    let Some(folder) = std::env::args_os().nth(1) else {
        return ExitCode::FAILURE;
    };
    match mesh_tests::remote::host(folder.into()).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            mesh_tests::process::say(&format!("{error:?}"));
            ExitCode::FAILURE
        }
    }
}

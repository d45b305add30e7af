//! `cargo run -p mesh-codegen`: writes the generated code of mesh-proto and names what changed.

use std::{
    io::{self, Write},
    process::ExitCode,
};

fn main() -> ExitCode {
    match mesh_codegen::write(&mesh_codegen::proto_dir()) {
        Ok(changed) => {
            let mut out = io::stdout().lock();
            for path in changed {
                // A closed pipe is the reader's choice, not a failure to generate.
                drop(writeln!(out, "wrote {}", path.display()));
            }
            ExitCode::SUCCESS
        }
        Err(error) => {
            let mut source: Option<&dyn std::error::Error> = Some(&error);
            let mut line = String::new();
            while let Some(cause) = source {
                line.push_str(if line.is_empty() { "" } else { ": " });
                line.push_str(&cause.to_string());
                source = cause.source();
            }
            drop(writeln!(io::stderr(), "{line}"));
            ExitCode::FAILURE
        }
    }
}

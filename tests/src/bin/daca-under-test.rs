//! The product's own `main` under a name of the tests, so that `cargo test` builds it for them.

use std::process::ExitCode;

fn main() -> ExitCode {
    daca::main()
}

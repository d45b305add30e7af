//! The binary `daca`: see the library.
fn main() -> std::process::ExitCode {
    daca::main()
}

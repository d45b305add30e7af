//! What the tests here start from.

use std::path::Path;

use mesh_tests::mesh::Plan;

/// The program under test.
pub(crate) fn program() -> &'static Path {
    Path::new(env!("CARGO_BIN_EXE_daca-under-test"))
}

/// One router over so many workers with the example agents.
pub(crate) fn mesh(workers: usize) -> Plan {
    Plan::of(program(), workers)
}

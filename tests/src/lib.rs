//! Harness and tests of the whole mesh: e2e, interop, tidy.

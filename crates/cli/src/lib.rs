//! The one binary: every role and every tool of the mesh by subcommand.

//! The built-in MCP server as a program, for the tests of this crate: what `daca mcp` is elsewhere.

use std::path::PathBuf;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), mesh_mcp::Error> {
    let mut settings = mesh_mcp::Settings::default();
    let mut arguments = std::env::args_os().skip(1);
    while let (Some(flag), Some(value)) = (arguments.next(), arguments.next()) {
        match flag.to_str() {
            Some("--root") => settings.root = Some(PathBuf::from(value)),
            Some("--notes") => settings.notes = Some(PathBuf::from(value)),
            _ => {}
        }
    }
    mesh_mcp::serve_stdio(settings).await
}

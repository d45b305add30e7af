//! `mesh-mcp`: the server alone, over stdio, or over streamable HTTP with `--listen`.

use std::{io::Write, net::SocketAddr, path::PathBuf};

use clap::Parser;
use mesh_mcp::{Hosts, Settings, serve_http, serve_stdio};
use tokio::net::TcpListener;

/// A small MCP server: clock, calculator, text statistics, notes, files below one folder.
#[derive(Debug, Parser)]
struct Arguments {
    /// The folder whose files may be read; without it there are no file tools.
    #[arg(long, value_name = "DIR")]
    root: Option<PathBuf>,
    /// The file that keeps the notes; without it they are gone with the process.
    #[arg(long, value_name = "FILE")]
    notes: Option<PathBuf>,
    /// Serve streamable HTTP at /mcp here instead of stdio.
    #[arg(long, value_name = "HOST:PORT")]
    listen: Option<SocketAddr>,
    /// A host name that HTTP requests may carry beside those of the loopback interface; repeatable.
    #[arg(long, value_name = "NAME")]
    host: Vec<String>,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> anyhow::Result<()> {
    let arguments = Arguments::parse();
    let settings = Settings {
        root: arguments.root,
        notes: arguments.notes,
    };
    let Some(address) = arguments.listen else {
        return Ok(serve_stdio(settings).await?);
    };
    let listener = TcpListener::bind(address).await?;
    writeln!(
        std::io::stdout(),
        "mcp listening on http://{}/mcp",
        listener.local_addr()?
    )?;
    let stop = async {
        if tokio::signal::ctrl_c().await.is_err() {
            std::future::pending::<()>().await;
        }
    };
    Ok(serve_http(
        listener,
        settings,
        Hosts {
            also: arguments.host,
        },
        stop,
    )
    .await?)
}

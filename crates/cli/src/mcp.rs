//! `daca mcp`: the small MCP server as a role of its own.

use std::path::PathBuf;

use anyhow::Context as _;
use mesh_mcp::{Hosts, Settings, serve_http, serve_stdio};
use tokio::net::TcpListener;

use crate::{
    exit::{Exit, Failure},
    output::Output,
    role,
};

/// What the server may touch, and where it listens.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The folder whose files may be read; without it there are no file tools
    #[arg(long, value_name = "DIR")]
    root: Option<PathBuf>,
    /// The file that keeps the notes; without it they are gone with the process
    #[arg(long, value_name = "FILE")]
    notes: Option<PathBuf>,
    /// Serve streamable HTTP at /mcp here, instead of one peer on stdin and stdout
    #[arg(long, value_name = "HOST:PORT")]
    listen: Option<String>,
    /// With --listen: a host name that requests may carry beside those of loopback; repeatable
    #[arg(long, value_name = "NAME", requires = "listen")]
    host: Vec<String>,
}

pub(crate) fn run(args: Args, output: &Output) -> Result<Exit, Failure> {
    role::here(async {
        let settings = Settings {
            root: args.root,
            notes: args.notes,
        };
        match args.listen {
            // stdout belongs to the protocol here: no ready line.
            None => serve_stdio(settings).await.map_err(Failure::role)?,
            Some(address) => {
                let hosts = Hosts { also: args.host };
                listen(&address, settings, hosts, output)
                    .await
                    .map_err(Failure::role)?;
            }
        }
        Ok(Exit::Ok)
    })
}

async fn listen(
    address: &str,
    settings: Settings,
    hosts: Hosts,
    output: &Output,
) -> anyhow::Result<()> {
    let mut stop = role::Stop::listen()?;
    let listener = TcpListener::bind(address)
        .await
        .with_context(|| format!("can't listen on {address}"))?;
    let bound = listener.local_addr()?;
    output.line(&format!("mcp ready on http://{bound}/mcp"));
    serve_http(listener, settings, hosts, async move { stop.asked().await }).await?;
    Ok(())
}

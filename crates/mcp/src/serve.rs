//! The two ways to serve the tools: the standard streams of this process, and streamable HTTP.

use std::{future::Future, io, path::PathBuf, sync::Arc};

use rmcp::{
    ServiceExt,
    service::ServerInitializeError,
    transport::{
        io::stdio_pipes,
        streamable_http_server::{
            StreamableHttpServerConfig, StreamableHttpService, session::local::LocalSessionManager,
        },
    },
};
use tokio::{net::TcpListener, task::JoinError};
use tokio_util::sync::CancellationToken;

use crate::server::{Server, Settings};

/// Why the server did not start, or stopped.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The root is no folder that can be read.
    #[error("{path:?} can't be used as the root")]
    Root {
        /// The folder.
        path: PathBuf,
        /// The system's reason.
        source: io::Error,
    },
    /// The peer did not open a session as the protocol says.
    #[error("the peer opened no session")]
    Initialize(#[source] Box<ServerInitializeError>),
    /// The session's task was lost.
    #[error("the session broke off")]
    Session(#[from] JoinError),
    /// The listener failed.
    #[error("the listener failed")]
    Listen(#[from] io::Error),
}

/// Which `Host` headers are answered over HTTP. A page in a browser can make its own name resolve to
/// this machine, so only names that were given count.
#[derive(Clone, Debug, Default)]
pub struct Hosts {
    /// Names, or `name:port`, beside those of the loopback interface.
    pub also: Vec<String>,
}

/// Serves one peer on stdin and stdout until it closes stdin. Nothing else may write to stdout.
///
/// # Errors
/// [`Error`] when the root can't be opened or the peer opens no session; a peer that leaves before it
/// said anything is no error.
pub async fn serve_stdio(settings: Settings) -> Result<(), Error> {
    let server = Server::new(&settings)?;
    let running = match server.serve(stdio_pipes()).await {
        Ok(running) => running,
        Err(ServerInitializeError::ConnectionClosed(_)) => return Ok(()),
        Err(error) => return Err(Error::Initialize(Box::new(error))),
    };
    running.waiting().await?;
    Ok(())
}

/// Serves streamable HTTP at `/mcp` until `stop` resolves, then ends the open sessions.
///
/// # Errors
/// [`Error`] when the root can't be opened or the listener fails.
pub async fn serve_http(
    listener: TcpListener,
    settings: Settings,
    hosts: Hosts,
    stop: impl Future<Output = ()> + Send + 'static,
) -> Result<(), Error> {
    let server = Server::new(&settings)?;
    let ending = CancellationToken::new();
    let mut config = StreamableHttpServerConfig::default()
        .enforce_origin_validation()
        .with_max_request_body_bytes(BODY_BYTES)
        .with_cancellation_token(ending.child_token());
    config.allowed_hosts.extend(hosts.also);
    let service = StreamableHttpService::new(
        move || Ok(server.clone()),
        Arc::new(LocalSessionManager::default()),
        config,
    );
    let app = axum::Router::new().route_service("/mcp", service);
    axum::serve(listener, app)
        .with_graceful_shutdown(async move {
            stop.await;
            ending.cancel();
        })
        .await?;
    Ok(())
}

/// A text of the largest size that is counted, escaped twice over.
const BODY_BYTES: usize = 4 << 20;

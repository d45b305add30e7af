//! The admin listener: liveness, readiness, metrics. For operators and probes, never for clients.
//!
//! # Invariants
//! - It ends with the drain that it is given. Give it one of its own and signal that last: probes and
//!   scrapes are then answered, `/readyz` with 503, while the process finishes its calls.

use std::{sync::Arc, time::Duration};

use axum::{
    Router, body::Body, extract::State, http::StatusCode, response::IntoResponse, routing::get,
};
use prometheus_client::registry::Registry;
use tower::ServiceExt as _;

use crate::{
    drain::Drain,
    net::{self, Listener},
};

/// How long an admin listener's own drain should be given: a probe that has come is answered.
pub const GRACE: Duration = Duration::from_secs(1);

/// Whether the process wants new work: asked at each `/readyz`.
pub trait Ready: Fn() -> bool + Send + Sync + 'static {}
impl<F: Fn() -> bool + Send + Sync + 'static> Ready for F {}

/// Serves `/healthz`, `/readyz` and `/metrics` until the drain is signaled.
///
/// `ready` is false when the process starts up or drains; the answer is then 503.
pub async fn serve(listener: Listener, registry: Arc<Registry>, ready: impl Ready, drain: Drain) {
    let router = Router::new()
        .route("/healthz", get(async || "ok\n"))
        .route("/readyz", get(readiness))
        .route("/metrics", get(metrics))
        .with_state(Admin {
            registry,
            ready: Arc::new(ready),
        });
    let settings = net::Settings {
        max_connections: 64,
        // It goes last; nobody is to wait long for a scraper that keeps its connection.
        drain_linger: GRACE,
        ..net::Settings::default()
    };
    net::serve(listener, settings, drain, move |request, _peer| {
        let router = router.clone();
        async move {
            let answer = router.oneshot(request.map(Body::new)).await;
            answer.unwrap_or_else(|never| match never {})
        }
    })
    .await;
}

#[derive(Clone)]
struct Admin {
    registry: Arc<Registry>,
    ready: Arc<dyn Ready>,
}

async fn readiness(State(admin): State<Admin>) -> impl IntoResponse {
    if (admin.ready)() {
        (StatusCode::OK, "ready\n")
    } else {
        (StatusCode::SERVICE_UNAVAILABLE, "not ready\n")
    }
}

async fn metrics(State(admin): State<Admin>) -> impl IntoResponse {
    const TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    let mut text = String::new();
    match prometheus_client::encoding::text::encode(&mut text, &admin.registry) {
        Ok(()) => ([(http::header::CONTENT_TYPE, TYPE)], text).into_response(),
        Err(_) => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, Ordering};

    use tokio::{
        io::{AsyncReadExt as _, AsyncWriteExt as _},
        net::TcpStream,
    };

    use super::*;

    #[tokio::test]
    async fn probes_and_metrics_are_answered() {
        let mut registry = Registry::default();
        net::Metrics::register(&mut registry);
        let listener = Listener::bind("127.0.0.1:0").await.unwrap();
        let addr = listener.local_addr();
        let (_trigger, drain) = crate::drain::channel();
        let ready = Arc::new(AtomicBool::new(false));
        let asked = Arc::clone(&ready);
        drain.spawn(
            "admin",
            serve(
                listener,
                Arc::new(registry),
                move || asked.load(Ordering::Relaxed),
                drain.clone(),
            ),
        );
        let ask = async |path: &str| {
            let mut socket = TcpStream::connect(addr).await.unwrap();
            let head = format!("GET {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n");
            socket.write_all(head.as_bytes()).await.unwrap();
            let mut text = String::new();
            socket.read_to_string(&mut text).await.unwrap();
            text
        };
        assert!(ask("/healthz").await.starts_with("HTTP/1.1 200"));
        assert!(ask("/readyz").await.starts_with("HTTP/1.1 503"));
        ready.store(true, Ordering::Relaxed);
        assert!(ask("/readyz").await.starts_with("HTTP/1.1 200"));
        let metrics = ask("/metrics").await;
        assert!(
            metrics.contains("mesh_connections_accepted_total 0"),
            "{metrics}"
        );
        assert!(ask("/nothing").await.starts_with("HTTP/1.1 404"));
    }
}

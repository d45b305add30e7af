//! The Dapr sidecar beside this process, as far as calls go through it to apps that Dapr places.
//!
//! Such an app is written as a URL, `dapr://APP-ID[/PATH]`, or `dapr+grpc://APP-ID[/TENANT]` for one whose
//! own sidecar speaks gRPC to it: of HTTP and gRPC a sidecar speaks one with its app.
//!
//! # Invariants
//! - An app id has letters, digits, `-`, `_` and `.` only: none reaches beyond its step of a path.
//! - The token is never printed.

use std::{env, fmt, sync::Arc};

use url::Url;

use crate::egress::{Error, Target};

/// Where the sidecar listens, and what it wants to be shown.
#[derive(Clone)]
pub struct Sidecar {
    /// Its HTTP API.
    pub http: Target,
    /// Its gRPC API.
    pub grpc: Target,
    /// What it wants to be shown, if anything.
    pub token: Option<Arc<str>>,
}

/// An app that is reached through the sidecar.
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct App {
    /// What Dapr knows it by.
    pub id: Arc<str>,
    /// Whether its own sidecar speaks gRPC to it, and not HTTP.
    pub speaks_grpc: bool,
}

impl Sidecar {
    /// The one that the environment tells of: `DAPR_HTTP_ENDPOINT`, else port `DAPR_HTTP_PORT` on loopback,
    /// else 3500; `DAPR_GRPC_ENDPOINT`, else `DAPR_GRPC_PORT`, else 50001 (Dapr's own defaults);
    /// `DAPR_API_TOKEN`.
    ///
    /// # Errors
    /// [`Error::Url`], when there is no address in one of them.
    pub fn of_environment() -> Result<Self, Error> {
        Self::of(|name| env::var(name).ok().filter(|value| !value.is_empty()))
    }

    fn of(variable: impl Fn(&str) -> Option<String>) -> Result<Self, Error> {
        let target = |endpoint, port, usual| {
            let text = variable(endpoint).unwrap_or_else(|| {
                let port = variable(port).unwrap_or_else(|| String::from(usual));
                format!("http://127.0.0.1:{port}")
            });
            let url = Url::parse(&text).map_err(|_| Error::Url(text))?;
            Target::try_from(&url)
        };
        Ok(Self {
            http: target("DAPR_HTTP_ENDPOINT", "DAPR_HTTP_PORT", "3500")?,
            grpc: target("DAPR_GRPC_ENDPOINT", "DAPR_GRPC_PORT", "50001")?,
            token: variable("DAPR_API_TOKEN").map(Arc::from),
        })
    }
}

impl fmt::Debug for Sidecar {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sidecar")
            .field("http", &self.http)
            .field("grpc", &self.grpc)
            .finish_non_exhaustive()
    }
}

impl App {
    /// The app of a URL; `None` where it names none.
    #[must_use]
    pub fn of(url: &Url) -> Option<Self> {
        let speaks_grpc = match url.scheme() {
            "dapr" => false,
            "dapr+grpc" => true,
            _ => return None,
        };
        let id = url.host_str()?;
        let is_id = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
        let is_bare = url.username().is_empty()
            && url.password().is_none()
            && url.port().is_none()
            && url.query().is_none()
            && url.fragment().is_none();
        let is_one = !id.is_empty() && !id.starts_with('.') && id.chars().all(is_id);
        (is_bare && is_one).then(|| Self {
            id: Arc::from(id),
            speaks_grpc,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_app_is_written_as_a_url_and_nothing_else_is_one() {
        let app = |text: &str| App::of(&Url::parse(text).unwrap());
        let found = app("dapr://order-desk.sales/agents/x").unwrap();
        assert_eq!((&*found.id, found.speaks_grpc), ("order-desk.sales", false));
        assert!(app("dapr+grpc://desk").unwrap().speaks_grpc);
        for wrong in [
            "http://desk",
            "dapr:desk",
            "dapr://",
            "dapr://..",
            "dapr://desk:80",
            "dapr://me@desk",
            "dapr://desk?x=1",
            "dapr://de%2fsk",
        ] {
            assert_eq!(app(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn the_environment_tells_where_the_sidecar_is_and_without_it_daprs_defaults_hold() {
        let usual = Sidecar::of(|_| None).unwrap();
        assert_eq!(usual.http.authority(), "127.0.0.1:3500");
        assert_eq!(usual.grpc.authority(), "127.0.0.1:50001");
        let told = Sidecar::of(|name| match name {
            "DAPR_HTTP_PORT" => Some("3511".to_owned()),
            "DAPR_GRPC_ENDPOINT" => Some("https://sidecar.example".to_owned()),
            "DAPR_API_TOKEN" => Some("secret".to_owned()),
            _ => None,
        });
        let told = told.unwrap();
        assert_eq!(told.http.authority(), "127.0.0.1:3511");
        assert_eq!(told.grpc.to_string(), "https://sidecar.example");
        assert!(!format!("{told:?}").contains("secret"));
        let wrong = Sidecar::of(|name| (name == "DAPR_HTTP_PORT").then(|| "http".to_owned()));
        assert!(wrong.is_err());
    }
}

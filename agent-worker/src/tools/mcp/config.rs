//! How an MCP server is described in an agents file.

use std::{
    collections::{BTreeMap, HashMap},
    ffi::OsString,
    fmt,
    path::PathBuf,
    sync::Arc,
    time::Duration,
};

use http::{HeaderName, HeaderValue};
use serde::{Deserialize, Serialize};
use tokio::io::DuplexStream;
use url::Url;

/// An MCP server as the file has it: a program, a URL, or, with neither, the built-in server.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// The program and its arguments, spoken to over its standard streams.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub command: Vec<String>,
    /// Environment variables for the program, beside the few that every child gets. A value may name
    /// secrets: `${secret:STORE/NAME}`, `${env:NAME}`.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub env: BTreeMap<String, String>,
    /// The address of a server that speaks streamable HTTP.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub url: Option<String>,
    /// Headers for that server, such as its credentials. A value may name secrets, too.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub headers: BTreeMap<String, String>,
    /// For the built-in server: the folder whose files may be read. Without it there are no file
    /// tools.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub root: Option<PathBuf>,
    /// For the built-in server: the file that keeps the notes. Without it they are gone with the
    /// worker.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub notes: Option<PathBuf>,
    /// How long one call may take, in seconds. Default 60; a call over it fails.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub timeout_seconds: Option<u32>,
}

/// How a server is reached.
#[derive(Clone, Debug)]
pub enum Launch {
    /// As a child process, over its standard streams.
    Child {
        /// The program.
        program: OsString,
        /// Its arguments.
        arguments: Vec<OsString>,
        /// Its own environment variables.
        environment: BTreeMap<String, String>,
    },
    /// Over streamable HTTP.
    Http {
        /// The address.
        url: Url,
        /// Sent with each request.
        headers: HashMap<HeaderName, HeaderValue>,
    },
    /// In this very process.
    Inside(Inside),
}

/// A server in this process: opens one session with it, and gives this side's end.
#[derive(Clone)]
pub struct Inside(pub Arc<dyn Fn() -> DuplexStream + Send + Sync>);

impl fmt::Debug for Inside {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Inside")
    }
}

/// What is wrong with a description.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// Two kinds of server at once.
    #[error("a server is a command, a url, or the built-in one, and only one of them")]
    Kind,
    /// The kind of server has no use for a field that is set.
    #[error("{field} has no meaning for this kind of server")]
    Useless {
        /// The field.
        field: &'static str,
    },
    /// Not an address of HTTP.
    #[error("{0:?} is no http or https URL")]
    Url(String),
    /// No header that HTTP allows.
    #[error("{0:?} is no HTTP header")]
    Header(String),
}

impl Config {
    /// Checks the description. `builtin` is the command of the built-in server.
    ///
    /// # Errors
    /// [`ConfigError`], naming the field.
    pub fn launch(&self, builtin: &[OsString]) -> Result<Launch, ConfigError> {
        let useless = |field, set: bool| {
            if set {
                Err(ConfigError::Useless { field })
            } else {
                Ok(())
            }
        };
        let is_builtin = self.is_builtin();
        useless("root", !is_builtin && self.root.is_some())?;
        useless("notes", !is_builtin && self.notes.is_some())?;
        useless("headers", self.url.is_none() && !self.headers.is_empty())?;
        useless("env", self.url.is_some() && !self.env.is_empty())?;
        match (self.command.split_first(), &self.url) {
            (Some(_), Some(_)) => Err(ConfigError::Kind),
            (Some((program, arguments)), None) => Ok(Launch::Child {
                program: program.into(),
                arguments: arguments.iter().map(OsString::from).collect(),
                environment: self.env.clone(),
            }),
            (None, Some(url)) => self.http(url),
            (None, None) => {
                let (program, arguments) = builtin.split_first().ok_or(ConfigError::Kind)?;
                let mut arguments = arguments.to_vec();
                for (flag, path) in [("--root", &self.root), ("--notes", &self.notes)] {
                    let path = path
                        .iter()
                        .flat_map(|path| [flag.into(), path.clone().into()]);
                    arguments.extend(path);
                }
                let environment = self.env.clone();
                Ok(Launch::Child {
                    program: program.clone(),
                    arguments,
                    environment,
                })
            }
        }
    }

    /// Whether it is the server that comes with us.
    #[must_use]
    pub const fn is_builtin(&self) -> bool {
        self.command.is_empty() && self.url.is_none()
    }

    /// How long one call may take.
    #[must_use]
    pub fn timeout(&self) -> Duration {
        Duration::from_secs(self.timeout_seconds.unwrap_or(60).into())
    }

    fn http(&self, text: &str) -> Result<Launch, ConfigError> {
        let url = Url::parse(text)
            .ok()
            .filter(|url| matches!(url.scheme(), "http" | "https"));
        let url = url.ok_or_else(|| ConfigError::Url(text.to_owned()))?;
        let mut headers = HashMap::new();
        for (name, value) in &self.headers {
            let wrong = || ConfigError::Header(name.clone());
            let mut value = HeaderValue::from_str(value).map_err(|_| wrong())?;
            value.set_sensitive(true);
            headers.insert(HeaderName::try_from(name).map_err(|_| wrong())?, value);
        }
        Ok(Launch::Http { url, headers })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn launch(yaml: &str) -> Result<String, String> {
        let config: Config = serde_saphyr::from_str(yaml).map_err(|error| error.to_string())?;
        let builtin = ["daca".into(), "mcp".into()];
        let launch = config.launch(&builtin).map_err(|error| error.to_string())?;
        Ok(match launch {
            Launch::Child {
                program,
                arguments,
                environment,
            } => {
                format!("{program:?} {arguments:?} {environment:?}")
            }
            Launch::Http { url, headers } => format!("{url} {headers:?}"),
            Launch::Inside(_) => "in this process".to_owned(),
        })
    }

    #[test]
    fn a_server_is_a_program_a_url_or_the_built_in_one() {
        for (yaml, expected) in [
            ("{}", r#""daca" ["mcp"] {}"#),
            ("{root: /srv}", r#""daca" ["mcp", "--root", "/srv"] {}"#),
            (
                "{command: [a, -b], env: {K: v}}",
                r#""a" ["-b"] {"K": "v"}"#,
            ),
            (
                "{url: 'https://t.example/mcp', headers: {authorization: secret}}",
                r#"https://t.example/mcp {"authorization": Sensitive}"#,
            ),
        ] {
            assert_eq!(launch(yaml).as_deref(), Ok(expected), "{yaml}");
        }
    }

    #[test]
    fn a_contradiction_is_refused() {
        for (yaml, complaint) in [
            ("{command: [a], url: 'http://b'}", "only one"),
            ("{command: [a], root: /x}", "root has no meaning"),
            ("{url: 'http://b', env: {K: v}}", "env has no meaning"),
            ("{headers: {a: b}}", "headers has no meaning"),
            ("{url: 'ftp://b'}", "no http or https URL"),
            ("{url: 'http://b', headers: {'a b': c}}", "no HTTP header"),
            ("{colour: red}", "colour"),
        ] {
            let error = launch(yaml).unwrap_err();
            assert!(error.contains(complaint), "{yaml}: {error}");
        }
    }
}

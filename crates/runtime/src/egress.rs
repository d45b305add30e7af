//! Outbound connections: plain or TLS, one stream type, with a deadline on getting connected.
//!
//! # Invariants
//! - A name is resolved and connected under one deadline; what fails says how far it got, and every
//!   failure here means that no byte of a request has left.
//! - TLS is rustls on aws-lc-rs; the roots are the platform's, plus what the settings add.

use std::{
    fmt, io,
    net::SocketAddr,
    path::PathBuf,
    pin::Pin,
    sync::{Arc, OnceLock},
    task::{Context, Poll},
    time::Duration,
};

use rustls::{
    ClientConfig,
    pki_types::{CertificateDer, ServerName, pem::PemObject as _},
};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_rustls::{TlsConnector, client::TlsStream};
use url::Url;

use crate::{settings, socket::Socket};

/// After how long a silence the kernel asks whether a peer is there, and how often from then on.
const ALIVE: (Duration, Duration) = (Duration::from_secs(20), Duration::from_secs(5));

pub mod guard;

/// How connections are opened.
#[derive(Clone, Debug, serde::Deserialize, serde::Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Settings {
    /// How long resolving, connecting and the TLS handshake may take together. Default 1s. Too short
    /// ejects healthy members far away, too long holds calls on dead ones.
    #[serde(with = "settings::duration")]
    pub connect_timeout: Duration,
    /// A PEM file with certificates to trust beside the platform's. Default none. A file that cannot
    /// be read fails every `https` connection, loudly.
    pub ca_file: Option<PathBuf>,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            connect_timeout: Duration::from_secs(1),
            ca_file: None,
        }
    }
}

/// Why there is no connection. A retry elsewhere is always safe: nothing was sent.
#[derive(Clone, Debug, thiserror::Error)]
pub enum Error {
    /// The URL has a scheme other than `http` or `https`, or no host.
    #[error("not an http or https URL with a host: {0}")]
    Url(String),
    /// Refused, unreachable, or the name does not resolve.
    #[error("cannot connect to {target}")]
    Connect {
        /// Where to.
        target: Target,
        /// What the operating system says.
        #[source]
        source: Arc<io::Error>,
    },
    /// The deadline passed first.
    #[error("no connection to {target} within {within:?}")]
    Timeout {
        /// Where to.
        target: Target,
        /// The deadline.
        within: Duration,
    },
    /// The handshake failed: a certificate that is not trusted, most often.
    #[error("no TLS session with {target}")]
    Tls {
        /// Where to.
        target: Target,
        /// What rustls says.
        #[source]
        source: Arc<io::Error>,
    },
    /// The roots cannot be loaded.
    #[error("no trusted roots")]
    Roots(#[source] Arc<rustls::Error>),
    /// The file of added roots cannot be read.
    #[error("cannot read certificates from {path}")]
    CaFile {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        #[source]
        source: Arc<rustls::pki_types::pem::Error>,
    },
}

/// The two schemes that A2A uses.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub enum Scheme {
    /// Plain TCP.
    Http,
    /// TLS.
    Https,
}

impl Scheme {
    /// The word in a URL.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::Https => "https",
        }
    }
}

/// Where a connection leads.
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct Target {
    /// Plain or TLS.
    pub scheme: Scheme,
    /// A name or an address; an IPv6 address without brackets.
    pub host: Arc<str>,
    /// The port, the scheme's default filled in.
    pub port: u16,
}

impl Target {
    /// The host and port as a request's `Host` or `:authority` has them, the default port left out.
    #[must_use]
    pub fn authority(&self) -> String {
        let bracketed = self.host.contains(':');
        let (open, close) = if bracketed { ("[", "]") } else { ("", "") };
        let default = match self.scheme {
            Scheme::Http => 80,
            Scheme::Https => 443,
        };
        if self.port == default {
            format!("{open}{}{close}", self.host)
        } else {
            format!("{open}{}{close}:{}", self.host, self.port)
        }
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://{}", self.scheme.as_str(), self.authority())
    }
}

impl TryFrom<&Url> for Target {
    type Error = Error;

    fn try_from(url: &Url) -> Result<Self, Error> {
        let wrong = || Error::Url(url.to_string());
        let scheme = match url.scheme() {
            "http" => Scheme::Http,
            "https" => Scheme::Https,
            _ => return Err(wrong()),
        };
        let host = url.host_str().filter(|host| !host.is_empty());
        let host = host.ok_or_else(wrong)?;
        Ok(Self {
            scheme,
            host: Arc::from(host.trim_start_matches('[').trim_end_matches(']')),
            port: url.port_or_known_default().ok_or_else(wrong)?,
        })
    }
}

/// What to offer in a TLS handshake; a plain connection speaks it without asking.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Alpn {
    /// HTTP/1.1.
    H1,
    /// HTTP/2.
    H2,
    /// HTTP/2 if the server can, else HTTP/1.1: ask [`Stream::is_h2`]. Plain: HTTP/1.1.
    Either,
}

/// Opens connections. Cheap to clone; clones share the loaded roots.
#[derive(Clone, Debug)]
pub struct Egress {
    settings: Arc<Settings>,
    tls: Arc<OnceLock<Arc<ClientConfig>>>,
}

impl Egress {
    /// An opener with these settings. The roots are loaded at the first `https` connection.
    #[must_use]
    pub fn new(settings: Settings) -> Self {
        Self {
            settings: Arc::new(settings),
            tls: Arc::default(),
        }
    }

    /// Connects, `NODELAY` set, TLS done where the target wants it.
    ///
    /// # Errors
    /// [`Error`]; no byte of a request has left then.
    pub async fn connect(&self, target: &Target, alpn: Alpn) -> Result<Stream, Error> {
        let within = self.settings.connect_timeout;
        tokio::time::timeout(within, self.open(target, alpn))
            .await
            .unwrap_or_else(|_| {
                Err(Error::Timeout {
                    target: target.clone(),
                    within,
                })
            })
    }

    /// Connects to one of these addresses, tried in order, in the name of the target: its name is what
    /// TLS asks for, and it is not looked up.
    ///
    /// # Errors
    /// As [`Self::connect`].
    pub async fn connect_at(
        &self,
        target: &Target,
        addresses: &[SocketAddr],
        alpn: Alpn,
    ) -> Result<Stream, Error> {
        let within = self.settings.connect_timeout;
        let opened = async {
            let socket = Socket::connect_at(addresses).await;
            self.over(socket, target, alpn).await
        };
        tokio::time::timeout(within, opened)
            .await
            .unwrap_or_else(|_| {
                Err(Error::Timeout {
                    target: target.clone(),
                    within,
                })
            })
    }

    async fn open(&self, target: &Target, alpn: Alpn) -> Result<Stream, Error> {
        let socket = Socket::connect(&target.host, target.port).await;
        self.over(socket, target, alpn).await
    }

    /// Makes a stream of a socket, with TLS where the target wants it.
    async fn over(
        &self,
        socket: io::Result<Socket>,
        target: &Target,
        alpn: Alpn,
    ) -> Result<Stream, Error> {
        let refused = |source| Error::Connect {
            target: target.clone(),
            source: Arc::new(source),
        };
        let socket = socket.map_err(refused)?;
        socket.set_nodelay().map_err(refused)?;
        // A peer that vanished without a word is found by the kernel, whatever its application allows.
        let (idle, every) = ALIVE;
        socket.keep_alive(idle, every).map_err(refused)?;
        if target.scheme == Scheme::Http {
            return Ok(Stream::Plain(socket));
        }
        let failed = |source| Error::Tls {
            target: target.clone(),
            source: Arc::new(source),
        };
        let name = ServerName::try_from(target.host.as_ref().to_owned())
            .map_err(|error| failed(io::Error::other(error)))?;
        let session = TlsConnector::from(self.tls(alpn)?)
            .connect(name, socket)
            .await
            .map_err(failed)?;
        Ok(Stream::Tls(Box::new(session)))
    }

    fn tls(&self, alpn: Alpn) -> Result<Arc<ClientConfig>, Error> {
        let base = match self.tls.get() {
            Some(base) => base,
            None => {
                let loaded = Arc::new(self.load()?);
                self.tls.get_or_init(|| loaded)
            }
        };
        let mut config = ClientConfig::clone(base);
        config.alpn_protocols = match alpn {
            Alpn::H1 => vec![b"http/1.1".to_vec()],
            Alpn::H2 => vec![b"h2".to_vec()],
            Alpn::Either => vec![b"h2".to_vec(), b"http/1.1".to_vec()],
        };
        Ok(Arc::new(config))
    }

    fn load(&self) -> Result<ClientConfig, Error> {
        let roots = |error| Error::Roots(Arc::new(error));
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let verifier = rustls_platform_verifier::Verifier::new_with_extra_roots(
            self.added_roots()?,
            Arc::clone(&provider),
        )
        .map_err(roots)?;
        Ok(ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(roots)?
            // "Dangerous" is rustls' word for any verifier but its own; this one is the platform's.
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(verifier))
            .with_no_client_auth())
    }

    fn added_roots(&self) -> Result<Vec<CertificateDer<'static>>, Error> {
        let Some(path) = &self.settings.ca_file else {
            return Ok(Vec::new());
        };
        CertificateDer::pem_file_iter(path)
            .and_then(Iterator::collect)
            .map_err(|source| Error::CaFile {
                path: path.clone(),
                source: Arc::new(source),
            })
    }
}

impl Default for Egress {
    fn default() -> Self {
        Self::new(Settings::default())
    }
}

/// An open connection.
#[derive(Debug)]
pub enum Stream {
    /// Plain TCP.
    Plain(Socket),
    /// A TLS session. Boxed: it is ten times the size of the other.
    Tls(Box<TlsStream<Socket>>),
}

impl Stream {
    /// Whether the handshake settled on HTTP/2; never on a plain connection.
    #[must_use]
    pub fn is_h2(&self) -> bool {
        match self {
            Self::Plain(_) => false,
            Self::Tls(session) => session.get_ref().1.alpn_protocol() == Some(b"h2"),
        }
    }
}

impl AsyncRead for Stream {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(io) => Pin::new(io).poll_read(cx, buf),
            Self::Tls(io) => Pin::new(io).poll_read(cx, buf),
        }
    }
}

impl AsyncWrite for Stream {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Plain(io) => Pin::new(io).poll_write(cx, buf),
            Self::Tls(io) => Pin::new(io).poll_write(cx, buf),
        }
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Plain(io) => Pin::new(io).poll_write_vectored(cx, bufs),
            Self::Tls(io) => Pin::new(io).poll_write_vectored(cx, bufs),
        }
    }

    fn is_write_vectored(&self) -> bool {
        match self {
            Self::Plain(io) => io.is_write_vectored(),
            Self::Tls(io) => io.is_write_vectored(),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(io) => Pin::new(io).poll_flush(cx),
            Self::Tls(io) => Pin::new(io).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(io) => Pin::new(io).poll_shutdown(cx),
            Self::Tls(io) => Pin::new(io).poll_shutdown(cx),
        }
    }
}

#[cfg(test)]
mod tests;

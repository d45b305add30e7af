//! Calls to addresses that strangers give: webhooks, and whatever else a request may name.
//!
//! An address of somebody's choosing must not become a way into the network that this process stands
//! in. So the name is resolved here, every address that it has is judged, and the connection goes to an
//! address that was judged: there is no second look-up in which the answer could be another.
//!
//! # Invariants
//! - One blocked address among several refuses the whole name.
//! - `https` only, but to addresses that were allowed by hand; there, `http` too.
//! - No user name, no redirect, no answer's body: what comes back is a status and nothing else.
//! - One deadline over resolving, connecting, TLS and the answer's head.
//! - TLS and `Host` keep the name that was given, so a certificate has to fit it.

use std::{
    net::{IpAddr, SocketAddr},
    time::Duration,
};

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, Request, StatusCode, header};
use http_body_util::Full;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use ipnet::IpNet;
use url::{Host, Url};

use super::{Alpn, Egress, Target};

mod blocked;

/// The longest URL that is taken, in bytes.
pub const URL_BYTES: usize = 2048;

/// The most that an answer's head may take, in bytes.
const HEAD_BYTES: usize = 16 << 10;

/// Who may be called, and how long it may take.
#[derive(Clone, Debug, serde::Deserialize, serde::Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Settings {
    /// Networks that may be called although they are private or otherwise special, over `http` too.
    /// Default none. `127.0.0.0/8` opens this machine's own services to whoever may name a webhook.
    pub allow: Vec<IpNet>,
    /// What a URL may begin with to be called whatever its address: places of our own. Each ends with a
    /// `/` in its path, so that nothing of the host can follow. Default none.
    pub own: Vec<Url>,
    /// How long one call may take, from the look-up of the name to the answer's head. Default 10 s, which
    /// agents commonly wait for a webhook.
    #[serde(with = "crate::settings::duration")]
    pub within: Duration,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            allow: Vec::new(),
            own: Vec::new(),
            within: Duration::from_secs(10),
        }
    }
}

/// Why an address is not called. None names an address that the caller did not give.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum Refused {
    /// Not a URL, or too long for one.
    #[error("is no URL of at most {URL_BYTES} bytes")]
    Url,
    /// A scheme other than `https`; or `http` to where it is not allowed.
    #[error("must be an https URL")]
    Scheme,
    /// A user name or password.
    #[error("must not have a user name or password in it")]
    UserInfo,
    /// A port of another protocol.
    #[error("has a port that is not one of HTTP")]
    Port,
    /// A private, local or otherwise special address.
    #[error("leads to an address that is not public")]
    Address,
}

/// Why a call was not answered.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// It was not made, and never will be.
    #[error("refused: the URL {0}")]
    Refused(#[from] Refused),
    /// The name has no address now.
    #[error("the name does not resolve")]
    Unresolved(#[source] std::io::Error),
    /// No connection.
    #[error("no connection")]
    Connect(#[from] super::Error),
    /// The connection broke, or what came over it is no HTTP.
    #[error("no answer")]
    Broken(#[from] hyper::Error),
    /// The request can't be written.
    #[error("no request")]
    Request(#[from] http::Error),
    /// The deadline passed.
    #[error("no answer within {0:?}")]
    Timeout(Duration),
}

/// Judges addresses and calls those that pass.
#[derive(Clone, Debug)]
pub struct Guard {
    settings: Settings,
    egress: Egress,
}

impl Guard {
    /// A guard before this egress.
    #[must_use]
    pub const fn new(settings: Settings, egress: Egress) -> Self {
        Self { settings, egress }
    }

    /// Judges what can be judged without a look-up, so that a wrong URL is told to whoever gives it.
    ///
    /// # Errors
    /// [`Refused`].
    pub fn shape(&self, text: &str) -> Result<Url, Refused> {
        if text.len() > URL_BYTES {
            return Err(Refused::Url);
        }
        let url = Url::parse(text).map_err(|_| Refused::Url)?;
        if !matches!(url.scheme(), "http" | "https") {
            return Err(Refused::Scheme);
        }
        if !url.username().is_empty() || url.password().is_some() {
            return Err(Refused::UserInfo);
        }
        if self.is_own(&url) {
            return Ok(url);
        }
        let literal = match url.host().ok_or(Refused::Url)? {
            Host::Ipv4(ip) => Some(IpAddr::V4(ip)),
            Host::Ipv6(ip) => Some(IpAddr::V6(ip)),
            Host::Domain("") => return Err(Refused::Url),
            Host::Domain(_) => None,
        };
        match literal {
            Some(ip) => self.judge(&url, ip)?,
            // A name may turn out to be allowed; only where nothing is can it be told now.
            None if url.scheme() == "http" && self.settings.allow.is_empty() => {
                return Err(Refused::Scheme);
            }
            None => {}
        }
        Ok(url)
    }

    /// The addresses of a URL, all of which may be called.
    ///
    /// # Errors
    /// [`Error::Refused`] where one of them may not, [`Error::Unresolved`] where there is none.
    pub async fn resolve(&self, url: &Url) -> Result<Vec<SocketAddr>, Error> {
        let target = Target::try_from(url)?;
        let found = tokio::net::lookup_host((&*target.host, target.port)).await;
        let addresses: Vec<_> = found.map_err(Error::Unresolved)?.collect();
        if addresses.is_empty() {
            return Err(Error::Unresolved(std::io::ErrorKind::NotFound.into()));
        }
        for address in &addresses {
            self.judge(url, address.ip())?;
        }
        Ok(addresses)
    }

    /// Posts a body, and tells the status that came back. A redirect is a status as any other.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn post(
        &self,
        text: &str,
        headers: HeaderMap,
        body: Bytes,
    ) -> Result<StatusCode, Error> {
        let within = self.settings.within;
        let call = Box::pin(self.call(text, headers, body));
        let called = tokio::time::timeout(within, call).await;
        called.unwrap_or(Err(Error::Timeout(within)))
    }

    async fn call(&self, text: &str, headers: HeaderMap, body: Bytes) -> Result<StatusCode, Error> {
        let url = self.shape(text)?;
        let target = Target::try_from(&url)?;
        let addresses = self.resolve(&url).await?;
        let stream = self.egress.connect_at(&target, &addresses, Alpn::H1);
        let stream = TokioIo::new(stream.await?);
        let path = &url[url::Position::BeforePath..url::Position::AfterQuery];
        let mut request = Request::builder()
            .method(Method::POST)
            .uri(path)
            .body(Full::new(body))?;
        *request.headers_mut() = headers;
        let host = HeaderValue::from_str(&target.authority()).map_err(http::Error::from)?;
        request.headers_mut().insert(header::HOST, host);
        let close = HeaderValue::from_static("close");
        request.headers_mut().insert(header::CONNECTION, close);

        let (mut sender, connection) = http1::Builder::new()
            .max_buf_size(HEAD_BYTES)
            .handshake::<_, Full<Bytes>>(stream)
            .await?;
        let answer = sender.send_request(request);
        tokio::pin!(answer);
        // The connection has to be driven; it may well end once the answer is there.
        let answered = tokio::select! {
            biased;
            answered = &mut answer => answered,
            _ = connection => answer.await,
        };
        Ok(answered?.status())
    }

    /// Whether a URL leads to a place of our own.
    fn is_own(&self, url: &Url) -> bool {
        let mut own = self.settings.own.iter().map(Url::as_str);
        own.any(|own| own.ends_with('/') && url.as_str().starts_with(own))
    }

    /// Judges one address for a URL.
    fn judge(&self, url: &Url, ip: IpAddr) -> Result<(), Refused> {
        if self.is_own(url) {
            return Ok(());
        }
        let mut allowed = self.settings.allow.iter();
        if allowed.any(|net| net.contains(&ip) || net.contains(&ip.to_canonical())) {
            return Ok(());
        }
        if blocked::is_blocked(ip) {
            return Err(Refused::Address);
        }
        if url.scheme() != "https" {
            return Err(Refused::Scheme);
        }
        match url.port_or_known_default() {
            Some(443 | 1024..) => Ok(()),
            Some(_) | None => Err(Refused::Port),
        }
    }
}

#[cfg(test)]
mod tests;

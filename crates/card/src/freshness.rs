//! For how long a card may be kept: the caching rules of HTTP (RFC 9111, RFC 5861) for one document.
//!
//! Specification 8.6 wants servers to send `Cache-Control` and `ETag`, and clients to revalidate. Many
//! agents send neither, and some a day. So the answer has bounds of the reader's own: a card without
//! a word about time is fresh for a while, and none is fresh for so long that an agent's new address
//! would not be seen.
//!
//! # Invariants
//! - Bounds never make a card that must not be stored storable, and never lengthen what an agent
//!   says: [`Bounds::most`] only shortens. [`Bounds::least`] is the one exception, named there.
//! - What cannot be read counts as stale (RFC 9111 4.2.1), never as fresh.

use std::time::{Duration, UNIX_EPOCH};

use http::{
    HeaderMap, HeaderName, HeaderValue,
    header::{
        AGE, CACHE_CONTROL, DATE, ETAG, EXPIRES, IF_MODIFIED_SINCE, IF_NONE_MATCH, LAST_MODIFIED,
        PRAGMA, VARY,
    },
};

/// Which kind of cache asks (RFC 9111 1).
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Cache {
    /// One store for callers of all kinds: `s-maxage` counts, `private` forbids.
    Shared,
    /// One store per caller, or per set of callers that get the same answers.
    Private,
}

/// The reader's own bounds.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Bounds {
    /// A storable card is not asked for again within this time, whatever its age: it holds back the
    /// load that an agent with `max-age=0` would cause. It is not applied to `no-cache`.
    pub least: Duration,
    /// No card is fresh for longer.
    pub most: Duration,
    /// For how long a card is fresh that says nothing about time.
    pub unsaid: Duration,
    /// For how long a stale card may stand in when its agent does not answer, where the agent does
    /// not say. RFC 9111 4.2.4 lets a disconnected cache do so unless it is forbidden.
    pub stale_unsaid: Duration,
    /// A stale card stands in for no longer.
    pub stale_most: Duration,
}

impl Default for Bounds {
    /// One second, an hour, a minute; a day, a week.
    fn default() -> Self {
        Self {
            least: Duration::from_secs(1),
            most: Duration::from_hours(1),
            unsaid: Duration::from_mins(1),
            stale_unsaid: Duration::from_hours(24),
            stale_most: Duration::from_hours(24 * 7),
        }
    }
}

/// Who may be given a stored card.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Storage {
    /// Everybody.
    Shared,
    /// Only the caller who got it.
    Private,
    /// Nobody: it is not to be stored.
    Never,
}

/// What to ask with whether a stored card still holds.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Validators {
    etag: Option<HeaderValue>,
    last_modified: Option<HeaderValue>,
}

impl Validators {
    /// Those of an answer.
    #[must_use]
    pub fn of(headers: &HeaderMap) -> Self {
        Self {
            etag: headers.get(ETAG).cloned(),
            last_modified: headers.get(LAST_MODIFIED).cloned(),
        }
    }

    /// Whether there is nothing to ask with.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.etag.is_none() && self.last_modified.is_none()
    }

    /// These, and for what is missing in them the earlier ones: a 304 need not repeat all of them.
    #[must_use]
    pub fn or(self, earlier: &Self) -> Self {
        // A new tag means another representation, to which the earlier date does not belong.
        let last_modified = match (&self.etag, self.last_modified) {
            (_, Some(date)) => Some(date),
            (Some(tag), None) if Some(tag) != earlier.etag.as_ref() => None,
            (_, None) => earlier.last_modified.clone(),
        };
        Self {
            etag: self.etag.or_else(|| earlier.etag.clone()),
            last_modified,
        }
    }

    /// The headers of a conditional request.
    pub fn conditions(&self) -> impl Iterator<Item = (HeaderName, HeaderValue)> {
        let tag = self.etag.clone().map(|tag| (IF_NONE_MATCH, tag));
        let date = self.last_modified.clone();
        tag.into_iter()
            .chain(date.map(|date| (IF_MODIFIED_SINCE, date)))
    }
}

/// What a cache may do with a card from the moment at which it came.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Freshness {
    /// Who may be given it.
    pub storage: Storage,
    /// For how long it is given without asking the agent.
    pub fresh_for: Duration,
    /// After that, for how long it is still given while the agent is asked in the background.
    pub stale_while_revalidate_for: Duration,
    /// After `fresh_for`, for how long it stands in when the agent does not answer, or with 5xx.
    pub stale_if_error_for: Duration,
    /// What to ask with.
    pub revalidate_with: Validators,
}

impl Freshness {
    /// Reads the headers of a 200, or those of a 304 (then with [`Validators::or`] for the tags that
    /// it leaves out). `now_seconds` is the time at which they came, in seconds since 1970.
    #[must_use]
    pub fn of(headers: &HeaderMap, cache: Cache, now_seconds: u64, bounds: &Bounds) -> Self {
        let said = Directives::of(headers);
        let storage = said.storage(headers, cache);
        let lifetime = said.lifetime(headers, cache, now_seconds);
        let age = age(headers, now_seconds);
        let fresh_for = if storage == Storage::Never || said.no_cache {
            Duration::ZERO
        } else {
            let left = lifetime.unwrap_or(bounds.unsaid).saturating_sub(age);
            left.max(bounds.least).min(bounds.most)
        };
        let may_be_stale = storage != Storage::Never && !said.no_cache && !said.must_revalidate;
        let stale = |time: Option<Duration>| match time {
            Some(time) if may_be_stale => time.min(bounds.stale_most),
            Some(_) | None => Duration::ZERO,
        };
        Self {
            storage,
            fresh_for,
            stale_while_revalidate_for: stale(said.stale_while_revalidate),
            stale_if_error_for: stale(said.stale_if_error.or(Some(bounds.stale_unsaid))),
            revalidate_with: Validators::of(headers),
        }
    }
}

/// The directives of `Cache-Control` that mean something for an answer.
#[derive(Debug, Default)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is a directive of its own that is there or not"
)]
struct Directives {
    no_store: bool,
    no_cache: bool,
    private: bool,
    must_revalidate: bool,
    max_age: Option<Duration>,
    shared_max_age: Option<Duration>,
    stale_while_revalidate: Option<Duration>,
    stale_if_error: Option<Duration>,
}

impl Directives {
    fn of(headers: &HeaderMap) -> Self {
        let mut said = Self::default();
        for value in headers.get_all(CACHE_CONTROL) {
            let Ok(text) = value.to_str() else {
                // It may have said anything, `no-store` included.
                said.no_store = true;
                continue;
            };
            split(text, |directive| said.take(directive));
        }
        // RFC 9111 5.4: what HTTP/1.0 said before there was Cache-Control.
        if !headers.contains_key(CACHE_CONTROL)
            && let Some(pragma) = headers.get(PRAGMA)
        {
            said.no_cache = pragma
                .to_str()
                .is_ok_and(|text| text.to_ascii_lowercase().contains("no-cache"));
        }
        said
    }

    fn take(&mut self, directive: &str) {
        let (name, argument) = match directive.split_once('=') {
            Some((name, argument)) => (name.trim(), Some(argument.trim())),
            None => (directive.trim(), None),
        };
        match name.to_ascii_lowercase().as_str() {
            "no-store" => self.no_store = true,
            // With names of headers, only those must be asked for again; asking for all is the safe
            // reading (RFC 9111 5.2.2.4).
            "no-cache" => self.no_cache = true,
            "private" => self.private = true,
            "must-revalidate" | "proxy-revalidate" => self.must_revalidate = true,
            "max-age" => first(&mut self.max_age, argument),
            "s-maxage" => first(&mut self.shared_max_age, argument),
            "stale-while-revalidate" => first(&mut self.stale_while_revalidate, argument),
            "stale-if-error" => first(&mut self.stale_if_error, argument),
            _ => {}
        }
    }

    fn storage(&self, headers: &HeaderMap, cache: Cache) -> Storage {
        let varies_by_all = headers
            .get_all(VARY)
            .iter()
            .any(|value| value.to_str().is_ok_and(|text| text.trim() == "*"));
        if self.no_store || varies_by_all {
            return Storage::Never;
        }
        match (self.private, cache) {
            (true, Cache::Shared) => Storage::Never,
            (true, Cache::Private) => Storage::Private,
            (false, _) => Storage::Shared,
        }
    }

    /// RFC 9111 4.2.1; `None` where the agent says nothing.
    fn lifetime(&self, headers: &HeaderMap, cache: Cache, now_seconds: u64) -> Option<Duration> {
        if let (Cache::Shared, Some(time)) = (cache, self.shared_max_age) {
            return Some(time);
        }
        if self.max_age.is_some() {
            return self.max_age;
        }
        let expires = headers.get(EXPIRES)?;
        // A date that cannot be read, above all `0`, is one in the past (RFC 9111 5.3).
        let until = seconds(expires).unwrap_or_default();
        let from = headers.get(DATE).and_then(seconds).unwrap_or(now_seconds);
        Some(Duration::from_secs(until.saturating_sub(from)))
    }
}

/// The first of a directive that is there twice counts (RFC 9111 4.2.1 leaves the choice); one whose
/// argument cannot be read is zero.
fn first(place: &mut Option<Duration>, argument: Option<&str>) {
    if place.is_some() {
        return;
    }
    let digits = argument.unwrap_or_default().trim_matches('"');
    let is_number = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
    // RFC 9111 1.2.2: what does not fit is as large as 2^31.
    const LARGE: u64 = 1 << 31;
    let time = match digits.parse::<u64>() {
        Ok(time) => time.min(LARGE),
        Err(_) if is_number => LARGE,
        Err(_) => 0,
    };
    *place = Some(Duration::from_secs(time));
}

/// Splits at commas that stand outside of quotes.
fn split<'a>(text: &'a str, mut each: impl FnMut(&'a str)) {
    let mut quoted = false;
    let parts = text.split(|c: char| {
        quoted ^= c == '"';
        c == ',' && !quoted
    });
    for part in parts {
        each(part);
    }
}

/// How old an answer was when it came (RFC 9111 4.2.3, the time on the way left out: a card is small).
fn age(headers: &HeaderMap, now_seconds: u64) -> Duration {
    let said = headers
        .get(AGE)
        .and_then(|value| value.to_str().ok())
        .and_then(|text| text.trim().parse().ok())
        .unwrap_or_default();
    let apparent = headers
        .get(DATE)
        .and_then(seconds)
        .map_or(0, |date| now_seconds.saturating_sub(date));
    Duration::from_secs(apparent.max(said))
}

/// The seconds since 1970 of a date header.
fn seconds(value: &HeaderValue) -> Option<u64> {
    let time = httpdate::parse_http_date(value.to_str().ok()?).ok()?;
    Some(time.duration_since(UNIX_EPOCH).ok()?.as_secs())
}

#[cfg(test)]
mod tests;

//! Agent cards: what an agent is and where it is spoken to.
//!
//! # Invariants
//! - A card promises what the desk does, and nothing else: no extended card, no binding that
//!   the agents file leaves out.
//! - Its ETag changes with its content only, so that a cache holds it across restarts.

use bytes::Bytes;
use http::{
    HeaderMap, HeaderValue, Request, Response, StatusCode,
    header::{CACHE_CONTROL, ETAG, HOST, IF_NONE_MATCH, LAST_MODIFIED},
};
use mesh_proto::{
    Binding, Version,
    a2a::{AgentCapabilities, AgentCard, AgentInterface, AgentSkill},
    json,
};
use mesh_runtime::clock;
use url::Url;

use super::{
    JSON,
    body::{self, Body},
};
use crate::agent::CardFacts;

/// Where a card is, below an agent's base.
pub(super) const PATH: &str = "/.well-known/agent-card.json";
/// Where it was in A2A 0.2; old clients still look there.
pub(super) const OLD_PATH: &str = "/.well-known/agent.json";

/// Writes cards.
#[derive(Debug)]
pub(super) struct Cards {
    public_url: Option<Url>,
    since: Option<HeaderValue>,
}

impl Cards {
    pub(super) fn new(public_url: Option<Url>) -> Self {
        Self {
            public_url,
            since: http_date(clock::unix_millis() / 1000),
        }
    }

    /// Answers a request for a card, with 304 where the caller has it.
    pub(super) fn answer<B>(
        &self,
        facts: &CardFacts,
        alone: bool,
        request: &Request<B>,
    ) -> Response<Body> {
        let card = card(facts, &self.base(request), alone);
        let bytes = json::to_bytes(&card);
        let etag = etag(&bytes);
        let held = has(request.headers(), &etag);
        let mut response = if held {
            body::full(StatusCode::NOT_MODIFIED, JSON, Bytes::new())
        } else {
            body::full(StatusCode::OK, JSON, bytes)
        };
        let headers = response.headers_mut();
        headers.insert(
            CACHE_CONTROL,
            HeaderValue::from_static("public, max-age=60"),
        );
        if let Ok(etag) = HeaderValue::try_from(etag) {
            headers.insert(ETAG, etag);
        }
        if let Some(since) = &self.since {
            headers.insert(LAST_MODIFIED, since.clone());
        }
        response
    }

    /// The base without a slash at its end.
    fn base<B>(&self, request: &Request<B>) -> String {
        if let Some(url) = &self.public_url {
            return url.as_str().trim_end_matches('/').to_owned();
        }
        let authority = request.uri().authority().map(http::uri::Authority::as_str);
        let host = || request.headers().get(HOST)?.to_str().ok();
        format!("http://{}", authority.or_else(host).unwrap_or("localhost"))
    }
}

fn card(facts: &CardFacts, base: &str, alone: bool) -> AgentCard {
    let name = facts.name.as_str();
    let at = |binding: Binding, url: String, tenant: &str| AgentInterface {
        url,
        protocol_binding: binding.card_name().to_owned(),
        tenant: tenant.to_owned(),
        protocol_version: Version::V1_0.as_str().to_owned(),
    };
    // gRPC has no path: with several agents on the port, the tenant says which is meant.
    let grpc_url = base.strip_prefix("http://").unwrap_or(base);
    let grpc_url = match grpc_url.split_once('/') {
        Some((authority, _)) if !grpc_url.contains("://") => authority,
        _ => grpc_url,
    };
    let tenant = if alone { "" } else { name };
    let offered = facts.bindings.iter().map(|binding| match binding {
        Binding::JsonRpc | Binding::Rest => at(*binding, format!("{base}/{name}"), ""),
        Binding::Grpc => at(*binding, grpc_url.to_owned(), tenant),
    });
    AgentCard {
        name: name.to_owned(),
        description: describe(facts),
        supported_interfaces: offered.collect(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        capabilities: Some(AgentCapabilities {
            streaming: Some(true),
            push_notifications: Some(true),
            extended_agent_card: Some(false),
            extensions: Vec::new(),
        }),
        default_input_modes: vec!["text/plain".to_owned(), JSON.to_owned()],
        default_output_modes: vec!["text/plain".to_owned()],
        skills: skills(facts),
        ..AgentCard::default()
    }
}

fn describe(facts: &CardFacts) -> String {
    format!("{} (model: {})", facts.description, facts.model)
}

/// An agent that lists no skill has one all the same: clients and registries want at least one.
fn skills(facts: &CardFacts) -> Vec<AgentSkill> {
    if facts.skills.is_empty() {
        return vec![AgentSkill {
            id: facts.name.to_string(),
            name: facts.name.to_string(),
            description: facts.description.clone(),
            tags: vec!["general".to_owned()],
            ..AgentSkill::default()
        }];
    }
    let skill = |skill: &crate::agent::Skill| AgentSkill {
        id: skill.id.clone(),
        name: skill.name.clone(),
        description: skill.description.clone(),
        tags: skill.tags.clone(),
        examples: skill.examples.clone(),
        ..AgentSkill::default()
    };
    facts.skills.iter().map(skill).collect()
}

fn etag(bytes: &[u8]) -> String {
    let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, bytes);
    let mut tag = String::from("\"");
    for byte in digest.as_ref().iter().take(12) {
        tag.push_str(&format!("{byte:02x}"));
    }
    tag.push('"');
    tag
}

fn has(headers: &HeaderMap, etag: &str) -> bool {
    let held = headers.get_all(IF_NONE_MATCH).iter();
    held.filter_map(|value| value.to_str().ok()).any(|value| {
        value
            .split(',')
            .map(|tag| tag.trim().trim_start_matches("W/"))
            .any(|tag| tag == etag || tag == "*")
    })
}

/// A time in the form that HTTP wants (RFC 9110, 5.6.7).
fn http_date(unix_seconds: u64) -> Option<HeaderValue> {
    let seconds = i64::try_from(unix_seconds).ok()?;
    let time = jiff::Timestamp::from_second(seconds).ok()?;
    let text = time.strftime("%a, %d %b %Y %H:%M:%S GMT").to_string();
    HeaderValue::try_from(text).ok()
}

#[cfg(test)]
mod tests {
    use mesh_proto::AgentName;

    use super::*;

    fn facts() -> CardFacts {
        CardFacts {
            name: AgentName::parse("desk").unwrap(),
            description: "Asks".to_owned(),
            skills: Vec::new(),
            model: "rules".to_owned(),
            bindings: vec![Binding::JsonRpc, Binding::Rest, Binding::Grpc],
        }
    }

    fn interfaces(base: &str, alone: bool) -> Vec<(String, String)> {
        let card = card(&facts(), base, alone);
        let pair = |i: AgentInterface| (i.url, i.tenant);
        card.supported_interfaces.into_iter().map(pair).collect()
    }

    #[test]
    fn an_agent_is_where_its_card_says() {
        let at = |url: &str, tenant: &str| (url.to_owned(), tenant.to_owned());
        assert_eq!(
            interfaces("http://h:1", false),
            [
                at("http://h:1/desk", ""),
                at("http://h:1/desk", ""),
                at("h:1", "desk")
            ]
        );
        assert_eq!(interfaces("http://h:1/base", true)[2], at("h:1", ""));
        assert_eq!(interfaces("https://h", false)[2], at("https://h", "desk"));
    }

    #[test]
    fn who_has_the_card_gets_no_second_copy() {
        let cards = Cards::new(None);
        let ask = |etag: Option<&HeaderValue>| {
            let mut request = Request::get("/desk/.well-known/agent-card.json")
                .header(HOST, "h:1")
                .body(())
                .unwrap();
            if let Some(etag) = etag {
                request.headers_mut().insert(IF_NONE_MATCH, etag.clone());
            }
            cards.answer(&facts(), true, &request)
        };
        let first = ask(None);
        assert_eq!(first.status(), StatusCode::OK);
        let etag = first.headers().get(ETAG).unwrap();
        assert_eq!(ask(Some(etag)).status(), StatusCode::NOT_MODIFIED);
        let other = HeaderValue::from_static("\"other\"");
        assert_eq!(ask(Some(&other)).status(), StatusCode::OK);
        assert!(first.headers().contains_key(LAST_MODIFIED));
    }

    #[test]
    fn a_time_has_the_form_of_http() {
        let date = http_date(784_111_777).unwrap();
        assert_eq!(date, "Sun, 06 Nov 1994 08:49:37 GMT");
    }
}

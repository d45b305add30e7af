//! The catalogue: which agents there are, what each can do and where its card is.
//!
//! Two forms of one list: `/agents`, which can be searched and is read in pages, and
//! `/.well-known/api-catalog` (RFC 9727), which programs find without knowing us.
//!
//! # Invariants
//! - A page of `/agents` is bounded; whoever wants more asks for what comes after the last name.
//! - No address of an agent's own stands in either.

use http::{HeaderValue, Response, header};
use mesh_proto::{Fault, Problem, card::Card, json};
use serde::Serialize;

use super::{Base, Caller, Front, fresh::Document};
use crate::{
    binding::rest,
    call::Body,
    catalogue::{Agent, offer},
};

/// Agents on a page where the caller does not say how many.
const PAGE: usize = 100;
/// The most agents on a page.
const PAGE_MOST: usize = 1000;
/// RFC 9727, 4.2 and 7.3: the format, and the profile by which it says what it is.
const LINKSET: &str =
    "application/linkset+json; profile=\"https://www.rfc-editor.org/info/rfc9727\"";

impl Front {
    /// `/agents`, filtered by `skill` and `tag`.
    pub(super) fn agents(&self, caller: &Caller) -> Response<Body> {
        let query = match Query::parse(caller.uri.query().unwrap_or_default()) {
            Ok(query) => query,
            Err(problem) => return rest::failure(&problem),
        };
        let snapshot = self.catalogue.snapshot();
        let base = self.base(caller);
        let shown = snapshot
            .agents()
            .filter(|agent| self.catalogue.is_shown(agent));
        let mut found = shown.filter(|agent| query.takes(agent));
        let agents: Vec<Listed> = found
            .by_ref()
            .take(query.limit)
            .map(|agent| Listed::of(agent, &base))
            .collect();
        let has_more = found.next().is_some();
        let last = agents.last().filter(|_| has_more);
        let next = last.map(|last| query.after_this(&base, &last.name));
        let page = Catalogue { agents, next };
        // Who is reachable changes by the second: nothing here is worth keeping.
        let mut response =
            Document::of("application/json", json::to_bytes(&page), None).answer(caller);
        let headers = response.headers_mut();
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"));
        response
    }

    /// `/.well-known/api-catalog`.
    pub(super) fn api_catalog(&self, caller: &Caller) -> Response<Body> {
        let snapshot = self.catalogue.snapshot();
        let base = self.base(caller);
        let own = format!("{}/.well-known/api-catalog", base.http);
        let shown = snapshot
            .agents()
            .filter(|agent| self.catalogue.is_shown(agent));
        let all: Vec<String> = shown.map(|agent| url(agent, &base)).collect();
        let listed = Links {
            anchor: own.clone(),
            item: all.iter().cloned().map(Link::to).collect(),
            service_desc: Vec::new(),
        };
        let each = all.into_iter().map(|anchor| Links {
            service_desc: vec![Link {
                href: card_url(&anchor),
                kind: Some("application/json"),
            }],
            item: Vec::new(),
            anchor,
        });
        let linkset = Linkset {
            linkset: std::iter::once(listed).chain(each).collect(),
        };
        let bytes = json::to_bytes(&linkset);
        let mut response = Document::of(LINKSET, bytes, self.varies_by()).answer(caller);
        // RFC 9727, 2: also who asks by HEAD learns that this is the catalogue.
        if let Ok(link) = HeaderValue::try_from(format!("<{own}>; rel=\"api-catalog\"")) {
            response.headers_mut().insert(header::LINK, link);
        }
        response
    }
}

/// What is asked of `/agents`.
#[derive(Debug, Eq, PartialEq)]
struct Query {
    skills: Vec<String>,
    tags: Vec<String>,
    after: Option<String>,
    limit: usize,
}

impl Query {
    fn parse(query: &str) -> Result<Self, Problem> {
        let mut asked = Self {
            skills: Vec::new(),
            tags: Vec::new(),
            after: None,
            limit: PAGE,
        };
        for (key, value) in url::form_urlencoded::parse(query.as_bytes()) {
            match &*key {
                "skill" => asked.skills.push(value.into_owned()),
                "tag" => asked.tags.push(value.into_owned()),
                "after" => asked.after = Some(value.into_owned()),
                "limit" => {
                    let limit: Option<usize> = value.parse().ok();
                    let limit = limit.filter(|limit| *limit > 0).ok_or_else(|| {
                        let message = "`limit` is a number from 1";
                        Problem::new(Fault::InvalidParams, message)
                    })?;
                    asked.limit = limit.min(PAGE_MOST);
                }
                _ => {}
            }
        }
        Ok(asked)
    }

    /// Every filter must fit: a skill by its id, a tag by its word in any case.
    fn takes(&self, agent: &Agent) -> bool {
        if let Some(after) = &self.after
            && agent.name.as_str() <= after.as_str()
        {
            return false;
        }
        if self.skills.is_empty() && self.tags.is_empty() {
            return true;
        }
        let Some(card) = agent.card() else {
            return false;
        };
        let has_tag = |tag: &String| {
            let mut skills = card.skills().into_iter();
            skills.any(|skill| skill.tags.iter().any(|own| own.eq_ignore_ascii_case(tag)))
        };
        self.skills.iter().all(|skill| card.has_skill(skill)) && self.tags.iter().all(has_tag)
    }

    /// Where the list goes on.
    fn after_this(&self, base: &Base, last: &str) -> String {
        let mut query = url::form_urlencoded::Serializer::new(String::new());
        for skill in &self.skills {
            query.append_pair("skill", skill);
        }
        for tag in &self.tags {
            query.append_pair("tag", tag);
        }
        query.append_pair("limit", &self.limit.to_string());
        query.append_pair("after", last);
        format!("{}/agents?{}", base.http, query.finish())
    }
}

fn url(agent: &Agent, base: &Base) -> String {
    format!("{}/{}", base.http, agent.name)
}

fn card_url(agent_url: &str) -> String {
    format!("{agent_url}/.well-known/agent-card.json")
}

#[derive(Serialize)]
struct Catalogue {
    agents: Vec<Listed>,
    /// The next page, where there is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    next: Option<String>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Listed {
    name: String,
    url: String,
    card_url: String,
    /// `read`, or `unread`: then calls pass as JSON-RPC and the card is asked for again.
    card: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    description: Option<String>,
    skills: Vec<ListedSkill>,
    bindings: Vec<String>,
    members: usize,
    reachable: usize,
}

#[derive(Serialize)]
struct ListedSkill {
    id: String,
    name: String,
    tags: Vec<String>,
}

impl Listed {
    fn of(agent: &Agent, base: &Base) -> Self {
        let card = agent.card();
        let card = card.as_deref();
        let url = url(agent, base);
        Self {
            name: agent.name.to_string(),
            card_url: card_url(&url),
            url,
            card: if card.is_some() { "read" } else { "unread" },
            description: card.and_then(Card::description).map(str::to_owned),
            skills: card.map(skills).unwrap_or_default(),
            bindings: card.map_or_else(|| vec!["JSONRPC".to_owned()], bindings),
            members: agent.endpoints.len(),
            reachable: agent.reachable(),
        }
    }
}

fn skills(card: &Card) -> Vec<ListedSkill> {
    let skills = card.skills().into_iter().map(|skill| ListedSkill {
        id: skill.id.to_owned(),
        name: skill.name.to_owned(),
        tags: skill.tags.into_iter().map(str::to_owned).collect(),
    });
    skills.collect()
}

fn bindings(card: &Card) -> Vec<String> {
    let offers = offer::offers(card).into_iter();
    let mut names: Vec<String> = offers
        .map(|offer| offer.dialect.binding.to_string())
        .collect();
    names.sort();
    names.dedup();
    names
}

/// RFC 9264, 4.2: the links of each anchor, by relation.
#[derive(Serialize)]
struct Linkset {
    linkset: Vec<Links>,
}

#[derive(Serialize)]
struct Links {
    anchor: String,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    item: Vec<Link>,
    #[serde(rename = "service-desc", skip_serializing_if = "Vec::is_empty")]
    service_desc: Vec<Link>,
}

#[derive(Serialize)]
struct Link {
    href: String,
    #[serde(rename = "type", skip_serializing_if = "Option::is_none")]
    kind: Option<&'static str>,
}

impl Link {
    const fn to(href: String) -> Self {
        Self { href, kind: None }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_is_bounded_and_a_limit_is_a_number() {
        assert_eq!(Query::parse("").unwrap().limit, PAGE);
        assert_eq!(Query::parse("limit=999999").unwrap().limit, PAGE_MOST);
        for odd in ["limit=0", "limit=-1", "limit=x"] {
            assert!(Query::parse(odd).is_err(), "{odd}");
        }
    }

    #[test]
    fn the_next_page_asks_for_the_same() {
        let query = Query::parse("skill=a%20b&tag=c&limit=2&other=x").unwrap();
        let base = Base::of(&url::Url::parse("https://mesh.example/a2a/").unwrap());
        let next = query.after_this(&base, "last");
        assert_eq!(
            next,
            "https://mesh.example/a2a/agents?skill=a+b&tag=c&limit=2&after=last"
        );
        let asked = url::Url::parse(&next).unwrap();
        let again = Query::parse(asked.query().unwrap()).unwrap();
        let after = Some("last".to_owned());
        assert_eq!(again, Query { after, ..query });
    }
}

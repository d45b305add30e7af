//! Where an agent can be spoken to through this router: every dialect, its own bindings first.
//!
//! # Invariants
//! - Pure: one card, one answer.
//! - An agent none of whose lines is known has no offer: nothing could be carried to it.
//! - Each dialect is offered once, however many addresses the agent has for it.

use mesh_proto::{
    Binding, Dialect, Version,
    card::{Card, Interface},
};

/// A dialect in which callers may speak to an agent.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Offer {
    /// What the caller speaks.
    pub dialect: Dialect,
    /// The tenant that the agent asks for. What the router puts in front is not in it.
    pub tenant: Option<String>,
}

/// The order of bindings that an agent does not have itself: by how many clients speak them.
const BY_CUSTOM: [Binding; 3] = [Binding::JsonRpc, Binding::Rest, Binding::Grpc];

/// All offers for the agent of a card: 1.0 before 0.3, in each version the agent's own bindings first
/// and in its order.
#[must_use]
pub fn offers(card: &Card) -> Vec<Offer> {
    let own: Vec<Offer> = card.interfaces().into_iter().filter_map(own).collect();
    if own.is_empty() {
        return Vec::new();
    }
    let mut offers: Vec<Offer> = Vec::new();
    for version in [Version::V1_0, Version::V0_3] {
        let mut of_version: Vec<Offer> = own.clone();
        of_version.retain(|offer| offer.dialect.version == version);
        // A call in a binding that the agent does not have goes to a line that it has, and so with
        // that line's tenant.
        let tenant = of_version.first().and_then(|offer| offer.tenant.clone());
        let carried = BY_CUSTOM.map(|binding| Offer {
            dialect: Dialect::new(binding, version),
            tenant: tenant.clone(),
        });
        for offer in of_version.into_iter().chain(carried) {
            if offers.iter().all(|known| known.dialect != offer.dialect) {
                offers.push(offer);
            }
        }
    }
    offers
}

fn own(shown: Interface) -> Option<Offer> {
    // A minor version that we do not know is offered as the one that we do (spec 3.6).
    let version = shown.version.unwrap_or(Version::V1_0);
    Some(Offer {
        dialect: Dialect::new(shown.binding?, version),
        tenant: shown.tenant.filter(|tenant| !tenant.is_empty()),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn offered(card: &str) -> Vec<(String, Option<String>)> {
        let card = Card::parse(card.as_bytes()).unwrap();
        let offers = offers(&card).into_iter();
        offers
            .map(|offer| (offer.dialect.to_string(), offer.tenant))
            .collect()
    }

    fn dialects(card: &str) -> Vec<String> {
        offered(card).into_iter().map(|(name, _)| name).collect()
    }

    #[test]
    fn an_agent_with_one_binding_is_offered_in_all_and_in_its_own_first() {
        let card = r#"{"supportedInterfaces":[
            {"url":"a:1","protocolBinding":"GRPC","protocolVersion":"1.0","tenant":"own"}]}"#;
        assert_eq!(
            dialects(card),
            [
                "GRPC 1.0",
                "JSONRPC 1.0",
                "HTTP+JSON 1.0",
                "JSONRPC 0.3",
                "HTTP+JSON 0.3",
                "GRPC 0.3",
            ]
        );
        let tenants: Vec<_> = offered(card)
            .into_iter()
            .map(|(_, tenant)| tenant)
            .collect();
        let own = || Some("own".to_owned());
        assert_eq!(tenants, [own(), own(), own(), None, None, None]);
    }

    #[test]
    fn an_agent_of_0_3_is_offered_in_1_0_first() {
        let card = r#"{"url":"http://a","preferredTransport":"HTTP+JSON","additionalInterfaces":[
            {"url":"http://a","transport":"HTTP+JSON"},{"url":"http://b","transport":"JSONRPC"}]}"#;
        assert_eq!(
            dialects(card),
            [
                "JSONRPC 1.0",
                "HTTP+JSON 1.0",
                "GRPC 1.0",
                "HTTP+JSON 0.3",
                "JSONRPC 0.3",
                "GRPC 0.3",
            ]
        );
    }

    #[test]
    fn each_binding_keeps_the_tenant_that_the_agent_gave_it() {
        let card = r#"{"supportedInterfaces":[
            {"url":"http://a","protocolBinding":"JSONRPC","protocolVersion":"1.0"},
            {"url":"a:1","protocolBinding":"GRPC","protocolVersion":"1.0","tenant":"a"}]}"#;
        let offered = offered(card);
        assert_eq!(offered[0], ("JSONRPC 1.0".to_owned(), None));
        assert_eq!(offered[1], ("GRPC 1.0".to_owned(), Some("a".to_owned())));
        assert_eq!(offered[2], ("HTTP+JSON 1.0".to_owned(), None));
    }

    #[test]
    fn an_agent_of_whom_no_line_is_known_is_offered_nowhere() {
        let card = r#"{"supportedInterfaces":[
            {"url":"slim://x","protocolBinding":"https://example.com/slim","protocolVersion":"1.0"}]}"#;
        assert!(offered(card).is_empty());
        assert!(offered("{}").is_empty());
    }
}

//! Where a list over several members goes on: one place for each, sealed into one opaque text.
//!
//! # Invariants
//! - A cursor of another agent or tenant, or one that anybody changed, opens to nothing.
//! - Members are named by what they hold, not by where they are: whoever shares a store shares a place.
//! - A member's own token passes as it came, and is bounded here before it is kept.

use mesh_core::{
    seal::{self, Purpose},
    token::Keys,
};
use mesh_proto::AgentName;
use prost::Message;

/// The longest token of a member that is kept, in bytes. Those of the official SDKs are under 100.
pub(super) const TOKEN_BYTES: usize = 1 << 10;

/// What of a list has been shown already.
#[derive(Clone, Eq, Message, PartialEq)]
pub(super) struct Cursor {
    /// One for each member that the list was begun with.
    #[prost(message, repeated, tag = "1")]
    pub(super) places: Vec<Place>,
    /// Tasks that came more than once so far.
    #[prost(uint32, tag = "2")]
    pub(super) repeats: u32,
}

/// How far one member's part has been shown.
#[derive(Clone, Eq, Message, PartialEq)]
pub(super) struct Place {
    /// Whose part it is.
    #[prost(fixed64, tag = "1")]
    pub(super) source: u64,
    /// The member's own token of the page that is to be read next; empty for its first.
    #[prost(string, tag = "2")]
    pub(super) token: String,
    /// How many tasks of that page have been shown.
    #[prost(uint32, tag = "3")]
    pub(super) shown: u32,
    /// The hash of the last of them, by which the place is found again when the page has changed.
    #[prost(fixed32, tag = "4")]
    pub(super) last: u32,
    /// Whether the part has been shown to its end.
    #[prost(bool, tag = "5")]
    pub(super) ended: bool,
    /// How many tasks the part had, by the member's last word.
    #[prost(uint32, tag = "6")]
    pub(super) total: u32,
}

impl Cursor {
    /// The text that a client gets; `None` where the places take more room than a text has.
    pub(super) fn seal(
        &self,
        keys: &Keys,
        agent: &AgentName,
        tenant: Option<&str>,
    ) -> Option<String> {
        let owner = [agent.as_str(), tenant.unwrap_or_default()];
        seal::seal(keys, Purpose::Cursor, &owner, &self.encode_to_vec()).ok()
    }

    /// Opens such a text.
    pub(super) fn open(
        text: &str,
        keys: &Keys,
        agent: &AgentName,
        tenant: Option<&str>,
    ) -> Option<Self> {
        let owner = [agent.as_str(), tenant.unwrap_or_default()];
        let opened = seal::open(keys, Purpose::Cursor, &owner, text)?;
        Self::decode(opened.as_slice()).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(source: u64) -> Place {
        Place {
            source,
            token: "task-17".to_owned(),
            shown: 3,
            last: 9,
            ended: false,
            total: 20,
        }
    }

    #[test]
    fn a_cursor_opens_for_its_agent_and_tenant_only() {
        let keys = Keys::development();
        let [shop, other] = ["shop", "other"].map(|name| AgentName::parse(name).unwrap());
        let cursor = Cursor {
            places: vec![place(1), place(u64::MAX)],
            repeats: 2,
        };
        let text = cursor.seal(&keys, &shop, Some("acme")).unwrap();
        let open = |agent, tenant| Cursor::open(&text, &keys, agent, tenant);
        assert_eq!(open(&shop, Some("acme")), Some(cursor));
        assert_eq!(open(&shop, None), None);
        assert_eq!(open(&other, Some("acme")), None);
        assert_eq!(Cursor::open("task-17", &keys, &shop, None), None);
    }

    #[test]
    fn three_hundred_members_fit_and_more_than_fit_are_told() {
        let keys = Keys::development();
        let shop = AgentName::parse("shop").unwrap();
        let of = |count: u64| Cursor {
            places: (0..count).map(place).collect(),
            repeats: 0,
        };
        assert!(of(300).seal(&keys, &shop, None).is_some());
        assert!(of(3000).seal(&keys, &shop, None).is_none());
    }
}

//! Notifications of an agent, on their way to a client: ids sealed as the answers to that client's calls
//! have them.
//!
//! # Invariants
//! - Only ids change, whichever version the notification is of: 1.0 wraps what happened, 0.3 sends the
//!   task or event bare.

use std::sync::Arc;

use bytes::{BufMut as _, Bytes, BytesMut};
use mesh_core::token::Keys;
use mesh_proto::{
    AgentName, Binding, Dialect, Fault, Operation, Problem, Version, json,
    mesh::Incarnation,
    rewrite::{self, Direction},
};
use serde::{Deserialize, de::IgnoredAny};

use super::{Came, Ids, seal::Sealing};
use crate::webhook::Webhook;

/// What stands around a bare body for as long as its ids are looked for.
const AROUND: (&[u8], &[u8]) = (b"{\"result\":", b"}");

/// A notification, with ids as the client holds them.
///
/// # Errors
/// For a body that is no object of JSON.
pub fn notification(
    webhook: &Webhook,
    agent: &AgentName,
    keys: &Arc<Keys>,
    body: Bytes,
) -> Result<Bytes, Problem> {
    let shape = Shape::of(&body)?;
    if webhook.life == 0 {
        return Ok(body);
    }
    let dialect = if shape.is_wrapped() {
        Dialect::new(Binding::Rest, Version::V1_0)
    } else {
        Dialect::new(Binding::JsonRpc, Version::V0_3)
    };
    let operation = Operation::SendStreamingMessage;
    let tenant = Some(webhook.tenant.as_str()).filter(|tenant| !tenant.is_empty());
    let mut sealing = Sealing {
        ids: Arc::new(Ids {
            keys: Arc::clone(keys),
            agent: agent.clone(),
            tenant: tenant.map(Box::from),
            dialect,
            operation,
            in_context: webhook.in_context,
            came: Came::default(),
            webhooks: None,
        }),
        life: Some(Incarnation(webhook.life)),
    };
    if shape.is_wrapped() {
        let sealed = rewrite::rewrite(dialect, operation, Direction::Event, body, &mut sealing)?;
        return Ok(sealed.into_bytes());
    }
    let (before, after) = AROUND;
    let mut around = BytesMut::with_capacity(before.len() + body.len() + after.len());
    around.put_slice(before);
    around.put_slice(&body);
    around.put_slice(after);
    let around = around.freeze();
    let sealed = rewrite::rewrite(dialect, operation, Direction::Event, around, &mut sealing)?;
    let sealed = sealed.into_bytes();
    Ok(sealed.slice(before.len()..sealed.len() - after.len()))
}

/// What of a body tells its version.
#[derive(Deserialize)]
struct Shape {
    #[serde(alias = "message", alias = "statusUpdate", alias = "status_update")]
    #[serde(alias = "artifactUpdate", alias = "artifact_update")]
    task: Option<IgnoredAny>,
}

impl Shape {
    fn of(body: &[u8]) -> Result<Self, Problem> {
        let first = body.iter().find(|byte| !byte.is_ascii_whitespace());
        if first != Some(&b'{') {
            return Err(Problem::new(Fault::Parse, "a notification is an object"));
        }
        json::from_slice(body)
    }

    const fn is_wrapped(&self) -> bool {
        self.task.is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sealed(webhook: &Webhook, body: &str) -> String {
        let shop = AgentName::parse("shop").unwrap();
        let keys = Arc::new(Keys::development());
        let body = Bytes::from(body.to_owned());
        let sealed = notification(webhook, &shop, &keys, body).unwrap();
        String::from_utf8(sealed.to_vec()).unwrap()
    }

    #[test]
    fn ids_are_sealed_in_both_versions_and_every_other_byte_stays() {
        let webhook = Webhook {
            agent: "shop".to_owned(),
            life: 7,
            ..Webhook::default()
        };
        for body in [
            r#"{ "task":{"id":"T","contextId":"C", "metadata":{"id":"x"}}}"#,
            r#"{"statusUpdate":{"taskId":"T","contextId":"C","status":{"state":"TASK_STATE_WORKING"}}}"#,
            r#"{"artifactUpdate": {"taskId":"T","contextId":"C","artifact":{"parts":[{"text":"T"}]}}}"#,
            r#"{"message":{"messageId":"m","taskId":"T","contextId":"C"} }"#,
            r#"{"id":"T","contextId":"C","kind":"task","status":{"state":"working"}, "x":1.0}"#,
            r#"{"taskId":"T","contextId":"C","kind":"status-update","final":true}"#,
        ] {
            let sealed = sealed(&webhook, body);
            let texts = sealed.split('"').filter(|text| text.starts_with("z1"));
            let tokens: Vec<_> = texts.map(|text| text.split_at(27).0.to_owned()).collect();
            assert_eq!(tokens.len(), 2, "{sealed}");
            let mut bare = sealed.clone();
            for token in &tokens {
                bare = bare.replace(token, "");
            }
            assert_eq!(bare, body);
        }
    }

    #[test]
    fn a_conversation_that_the_client_named_stays_bare_and_so_does_all_where_nothing_is_sealed() {
        let body = r#"{"task":{"id":"t","contextId":"mine"}}"#;
        let named = Webhook {
            life: 7,
            in_context: true,
            ..Webhook::default()
        };
        let sealed_ids = sealed(&named, body);
        assert!(sealed_ids.contains(r#""contextId":"mine""#), "{sealed_ids}");
        assert!(sealed_ids.contains(r#""id":"z1"#), "{sealed_ids}");
        assert_eq!(sealed(&Webhook::default(), body), body);
    }
}

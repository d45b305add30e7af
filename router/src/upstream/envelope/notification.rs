//! Notifications of an agent, on their way to a client: ids sealed as the answers to that client's calls
//! have them.
//!
//! # Invariants
//! - Only ids change, whichever version the notification is of: 1.0 wraps what happened, 0.3 sends the
//!   task or event bare.
//! - A client of the other version gets it in its own. What can't be put so goes on as it came.

use std::sync::Arc;

use bytes::{BufMut as _, Bytes, BytesMut};
use mesh_core::token::Keys;
use mesh_proto::{
    AgentName, Binding, Dialect, Fault, Operation, Problem, Version, json,
    mesh::Incarnation,
    pivot,
    rewrite::{self, Direction},
    v03,
};
use serde::{Deserialize, de::IgnoredAny};

use super::{Came, Ids, seal::Sealing};
use crate::webhook::Webhook;

/// What stands around a bare body for as long as its ids are looked for.
const AROUND: (&[u8], &[u8]) = (b"{\"result\":", b"}");
/// The dialect whose events are what 0.3 sends to webhooks.
const BARE: Dialect = Dialect::new(Binding::JsonRpc, Version::V0_3);

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
    let sealed = match webhook.life {
        0 => body,
        _ => sealed(webhook, agent, keys, &shape, body)?,
    };
    let translated = match (shape.is_wrapped(), webhook.is_0_3) {
        (true, true) => bare(&sealed),
        (false, false) => wrapped(&sealed),
        (true, false) | (false, true) => return Ok(sealed),
    };
    Ok(translated.unwrap_or(sealed))
}

/// What happened, as 1.0 says it, of what 0.3 says.
fn wrapped(body: &[u8]) -> Option<Bytes> {
    let event = v03::push_to_1_0(body).ok()?;
    json::try_to_bytes(&event).ok()
}

/// The reverse: 0.3 tells of tasks only, as far as the event does.
fn bare(body: &[u8]) -> Option<Bytes> {
    let event: pivot::Event = json::from_slice(body).ok()?;
    v03::push_of_1_0(&event).ok()
}

fn sealed(
    webhook: &Webhook,
    agent: &AgentName,
    keys: &Arc<Keys>,
    shape: &Shape,
    body: Bytes,
) -> Result<Bytes, Problem> {
    let dialect = if shape.is_wrapped() {
        Dialect::new(Binding::Rest, Version::V1_0)
    } else {
        BARE
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

    fn told(webhook: &Webhook, body: &str) -> String {
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
            let webhook = Webhook {
                is_0_3: body.contains("kind"),
                ..webhook.clone()
            };
            let sealed = told(&webhook, body);
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
        let sealed_ids = told(&named, body);
        assert!(sealed_ids.contains(r#""contextId":"mine""#), "{sealed_ids}");
        assert!(sealed_ids.contains(r#""id":"z1"#), "{sealed_ids}");
        assert_eq!(told(&Webhook::default(), body), body);
    }

    #[test]
    fn a_client_of_the_other_version_is_told_in_its_own() {
        let old = r#"{"kind":"task","id":"t","contextId":"c","status":{"state":"working"}}"#;
        let new = r#"{"task":{"id":"t","contextId":"c","status":{"state":"TASK_STATE_WORKING"}}}"#;
        let in_0_3 = Webhook {
            is_0_3: true,
            ..Webhook::default()
        };
        let json = |text: String| serde_json::from_str::<serde_json::Value>(&text).unwrap();
        let up = json(told(&Webhook::default(), old));
        assert_eq!(up["task"]["status"]["state"], "TASK_STATE_WORKING", "{up}");
        assert_eq!(up["task"]["id"], "t", "{up}");
        let down = json(told(&in_0_3, new));
        assert_eq!(
            (&down["kind"], &down["id"], &down["status"]["state"]),
            (&"task".into(), &"t".into(), &"working".into()),
            "{down}"
        );
        assert_eq!(told(&in_0_3, old), old);
        // What is of neither version goes on as it came.
        let odd = r#"{"what":"is this?"}"#;
        assert_eq!(told(&Webhook::default(), odd), odd);
    }
}

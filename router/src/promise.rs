//! What an agent's card promises, and the calls that go beyond it: refused here as the specification
//! says, also for agents that do not check.
//!
//! | the card | the call | refused as |
//! |---|---|---|
//! | `capabilities.streaming` is not true | SendStreamingMessage, SubscribeToTask | UnsupportedOperation |
//! | `capabilities.pushNotifications` is not true | the four of push configurations, and a send that carries one | PushNotificationNotSupported |
//! | neither `capabilities.extendedAgentCard` nor, of 0.3, `supportsAuthenticatedExtendedCard` is true | GetExtendedAgentCard | UnsupportedOperation |
//! | `capabilities.extensions[]` has one that is `required` | any that does not declare it | ExtensionSupportRequired |
//!
//! (Specification 1.0, 3.3.4 and 4.6.) Of a card without `capabilities`, and where no card could be read,
//! nothing is known, and nothing is refused.
//!
//! # Invariants
//! - A card is read for this once, when it is learned. A call costs a look at flags; only a send to an
//!   agent that does not push has its body searched, and decoded where the search finds something.
//! - An extension that the agent does not know is none of our business: it passes.

pub mod extensions;

use bytes::Bytes;
use mesh_core::error::CallError;
use mesh_proto::{
    Binding, Fault, Operation, Problem, Version,
    card::Card,
    pivot::{self, Request},
};
use prost::Message as _;
use serde_json::Value;

use crate::call::Ask;

/// See the module.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Promise {
    /// Unset where the card says nothing of capabilities.
    capabilities: Option<Capabilities>,
    /// Extensions that every caller has to declare.
    required: Box<[Box<str>]>,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
struct Capabilities {
    streaming: Offer,
    push: Offer,
    extended_card: Offer,
}

/// Whether a card offers something.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Offer {
    Made,
    NotMade,
}

impl Promise {
    /// Reads a card. A field of the wrong type is as good as absent.
    #[must_use]
    pub fn of(card: &Card) -> Self {
        let card: Value = serde_json::from_slice(&card.to_bytes()).unwrap_or_default();
        let Some(said) = card.get("capabilities").and_then(Value::as_object) else {
            return Self::default();
        };
        let offer = |said: Option<&Value>| match said {
            Some(Value::Bool(true)) => Offer::Made,
            Some(_) | None => Offer::NotMade,
        };
        let of_0_3 = card.get("supportsAuthenticatedExtendedCard");
        let extensions = said.get("extensions").and_then(Value::as_array);
        let required = extensions.into_iter().flatten().filter_map(|extension| {
            let is_required = extension.get("required") == Some(&Value::Bool(true));
            let uri = extension.get("uri")?.as_str()?;
            (is_required && !uri.is_empty()).then(|| Box::from(uri))
        });
        Self {
            capabilities: Some(Capabilities {
                streaming: offer(said.get("streaming")),
                push: offer(said.get("pushNotifications")),
                extended_card: match offer(said.get("extendedAgentCard")) {
                    Offer::Made => Offer::Made,
                    Offer::NotMade => offer(of_0_3),
                },
            }),
            required: required.collect(),
        }
    }

    /// Refuses what goes beyond the promise.
    ///
    /// # Errors
    /// A bad request, with the fault of the table above.
    pub fn check(&self, ask: &Ask) -> Result<(), CallError> {
        let mut required = self.required.iter().map(|uri| &**uri);
        if let Some(uri) = required.find(|uri| !extensions::declares(&ask.headers, uri)) {
            let header = extensions::header(ask.dialect.version);
            let message = format!("the agent requires extension {uri}; declare it in {header}");
            let problem = Problem::new(Fault::ExtensionSupportRequired, message);
            return Err(problem.with("extension", uri).into());
        }
        let Some(capabilities) = self.capabilities else {
            return Ok(());
        };
        let refused = |fault, message: &str| Err(Problem::new(fault, message).into());
        match ask.operation {
            Operation::SendStreamingMessage | Operation::SubscribeToTask
                if capabilities.streaming == Offer::NotMade =>
            {
                refused(Fault::UnsupportedOperation, "the agent does not stream")
            }
            Operation::CreateTaskPushNotificationConfig
            | Operation::GetTaskPushNotificationConfig
            | Operation::ListTaskPushNotificationConfigs
            | Operation::DeleteTaskPushNotificationConfig
                if capabilities.push == Offer::NotMade =>
            {
                refused(
                    Fault::PushNotificationNotSupported,
                    "the agent does not push",
                )
            }
            Operation::SendMessage | Operation::SendStreamingMessage
                if capabilities.push == Offer::NotMade && carries_push_config(ask) =>
            {
                refused(
                    Fault::PushNotificationNotSupported,
                    "the agent does not push; send without a push configuration",
                )
            }
            Operation::GetExtendedAgentCard if capabilities.extended_card == Offer::NotMade => {
                refused(
                    Fault::UnsupportedOperation,
                    "the agent has no extended card",
                )
            }
            _ => Ok(()),
        }
    }
}

/// Whether a send asks for pushes of its own task.
fn carries_push_config(ask: &Ask) -> bool {
    if ask.dialect.binding == Binding::Grpc {
        let message = match &ask.plain {
            Some(plain) => plain.clone(),
            None => ask.body.slice(PREFIX.min(ask.body.len())..),
        };
        return match ask.dialect.version {
            Version::V1_0 => Sent::decode(message).is_ok_and(|sent| {
                sent.configuration
                    .is_some_and(|configuration| configuration.push.is_some())
            }),
            Version::V0_3 => Sent03::decode(message).is_ok_and(|sent| {
                sent.configuration
                    .is_some_and(|configuration| configuration.push.is_some())
            }),
        };
    }
    let body: &Bytes = ask.plain.as_ref().unwrap_or(&ask.body);
    // Both versions' names, in both spellings; most sends have none of them.
    let named = ["ushNotificationConfig", "push_notification_config"];
    let is_named = |name: &str| memchr::memmem::find(body, name.as_bytes()).is_some();
    if !named.into_iter().any(is_named) {
        return false;
    }
    let sent = pivot::decode_request(ask.dialect, ask.operation, &ask.method, &ask.path, body);
    match sent {
        Ok(Request::SendMessage(sent) | Request::SendStreamingMessage(sent)) => sent
            .configuration
            .is_some_and(|sent| sent.task_push_notification_config.is_some()),
        // What can't be read is the agent's to refuse.
        Ok(_) | Err(_) => false,
    }
}

/// Bytes before each message of gRPC: a flag and a length.
const PREFIX: usize = 5;

/// `lf.a2a.v1.SendMessageRequest`, as far as it is looked at.
#[derive(Clone, PartialEq, prost::Message)]
struct Sent {
    #[prost(message, optional, tag = "3")]
    configuration: Option<Configuration>,
}

/// `a2a.v1.SendMessageRequest`, as far as it is looked at.
#[derive(Clone, PartialEq, prost::Message)]
struct Sent03 {
    #[prost(message, optional, tag = "2")]
    configuration: Option<Configuration>,
}

/// `SendMessageConfiguration` of both versions, as far as it is looked at.
#[derive(Clone, PartialEq, prost::Message)]
struct Configuration {
    #[prost(bytes = "bytes", optional, tag = "2")]
    push: Option<Bytes>,
}

#[cfg(test)]
mod tests;

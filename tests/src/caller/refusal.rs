//! An agent's no: the error of the specification's table, as one binding writes it.

use anyhow::{Context as _, Result, ensure};
use base64::{
    Engine as _, engine::general_purpose::STANDARD, engine::general_purpose::STANDARD_NO_PAD,
};
use mesh_proto::{Binding, Fault};
use prost::Message as _;
use serde_json::Value;

use super::number;
use crate::wire::Reply;

/// An error as it came over the wire.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Refusal {
    /// The binding that wrote it.
    pub binding: Binding,
    /// JSON-RPC code, HTTP status or gRPC status.
    pub number: i32,
    /// `ErrorInfo.reason`; empty where the binding need not give one and did not.
    pub reason: String,
    /// The words for a person.
    pub message: String,
    /// The id of the JSON-RPC answer, as JSON; empty in the other bindings.
    pub id: String,
}

/// What `grpc-status-details-bin` holds: `google.rpc.Status`.
#[derive(Clone, PartialEq, prost::Message)]
struct Details {
    #[prost(int32, tag = "1")]
    code: i32,
    #[prost(string, tag = "2")]
    message: String,
    #[prost(message, repeated, tag = "3")]
    details: Vec<prost_types::Any>,
}

/// `google.rpc.ErrorInfo`.
#[derive(Clone, PartialEq, prost::Message)]
struct ErrorInfo {
    #[prost(string, tag = "1")]
    reason: String,
    #[prost(string, tag = "2")]
    domain: String,
}

impl Refusal {
    /// Reads the error out of a whole answer, if it is one.
    ///
    /// # Errors
    /// When it is an error, but not in the binding's shape.
    pub fn of(binding: Binding, reply: &Reply) -> Result<Option<Self>> {
        match binding {
            // Its HTTP status is free: 200, or one that proxies between must see (413, 503).
            Binding::JsonRpc => Self::of_json_rpc(&reply.json()?),
            Binding::Rest if reply.status.is_success() => Ok(None),
            Binding::Rest => {
                let refusal = Self::of_rest(&reply.json()?)?;
                ensure!(
                    refusal.number == i32::from(reply.status.as_u16()),
                    "{refusal:?}"
                );
                Ok(Some(refusal))
            }
            Binding::Grpc => Self::of_grpc(reply),
        }
    }

    /// Reads the `error` of a JSON-RPC answer or event.
    ///
    /// # Errors
    /// When it is no JSON-RPC answer at all.
    pub fn of_json_rpc(answer: &Value) -> Result<Option<Self>> {
        ensure!(answer["jsonrpc"] == "2.0", "not JSON-RPC: {answer}");
        let Some(error) = answer.get("error") else {
            return Ok(None);
        };
        ensure!(
            answer.get("result").is_none(),
            "both result and error: {answer}"
        );
        let code = error["code"].as_i64().context("an error without a code")?;
        Ok(Some(Self {
            binding: Binding::JsonRpc,
            number: i32::try_from(code)?,
            reason: reason(&error["data"]),
            message: error["message"].as_str().context("no message")?.to_owned(),
            id: answer.get("id").context("no id")?.to_string(),
        }))
    }

    /// Reads the body of a REST error.
    ///
    /// # Errors
    /// When it is not the specification's shape.
    pub fn of_rest(answer: &Value) -> Result<Self> {
        let error = &answer["error"];
        let code = error["code"]
            .as_i64()
            .with_context(|| format!("no code in {answer}"))?;
        ensure!(error["status"].is_string(), "no status in {answer}");
        Ok(Self {
            binding: Binding::Rest,
            number: i32::try_from(code)?,
            reason: reason(&error["details"]),
            message: error["message"].as_str().context("no message")?.to_owned(),
            id: String::new(),
        })
    }

    fn of_grpc(reply: &Reply) -> Result<Option<Self>> {
        ensure!(
            reply.status.is_success(),
            "{}: {}",
            reply.status,
            reply.text()
        );
        let trailer = |name: &str| {
            reply
                .trailers
                .get(name)
                .and_then(|value| value.to_str().ok())
        };
        let status = trailer("grpc-status")
            .context("no grpc-status")?
            .parse::<i32>()?;
        if status == 0 {
            return Ok(None);
        }
        let message = percent_decoded(trailer("grpc-message").unwrap_or_default());
        let mut refusal = Self {
            binding: Binding::Grpc,
            number: status,
            reason: String::new(),
            message,
            id: String::new(),
        };
        if let Some(details) = trailer("grpc-status-details-bin") {
            let bytes = STANDARD_NO_PAD
                .decode(details.trim_end_matches('='))
                .or_else(|_| STANDARD.decode(details))?;
            let details = Details::decode(bytes.as_slice())?;
            ensure!(
                details.code == status,
                "status {status} but details of {}",
                details.code
            );
            for any in &details.details {
                if any.type_url.ends_with("/google.rpc.ErrorInfo") {
                    refusal.reason = ErrorInfo::decode(any.value.as_slice())?.reason;
                }
            }
        }
        Ok(Some(refusal))
    }

    /// Checks that this is `fault` as the table has it: number and reason.
    ///
    /// # Errors
    /// When it is something else.
    pub fn expect(&self, fault: Fault) -> Result<()> {
        let expected = number(fault, self.binding);
        ensure!(
            self.number == expected,
            "expected {expected} for {fault:?}: {self:?}"
        );
        let reason = fault.row().reason;
        // JSON-RPC only SHOULD carry the reason, and its own five errors need none.
        let told = !self.reason.is_empty() || self.binding != Binding::JsonRpc;
        ensure!(
            !told || self.reason == reason,
            "expected {reason}: {self:?}"
        );
        Ok(())
    }
}

/// The reason among typed details: JSON-RPC `data`, REST `details`.
fn reason(details: &Value) -> String {
    details
        .as_array()
        .into_iter()
        .flatten()
        .find(|detail| {
            detail["@type"]
                .as_str()
                .is_some_and(|name| name.ends_with("google.rpc.ErrorInfo"))
        })
        .and_then(|detail| detail["reason"].as_str())
        .unwrap_or_default()
        .to_owned()
}

fn percent_decoded(text: &str) -> String {
    // `+` is itself in gRPC's percent encoding.
    let escaped = text.replace('+', "%2B");
    url::form_urlencoded::parse(format!("x={}", escaped.replace('&', "%26")).as_bytes())
        .next()
        .map(|(_, value)| value.into_owned())
        .unwrap_or_default()
}

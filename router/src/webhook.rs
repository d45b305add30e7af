//! The address that an agent is given in place of a client's webhook: our own, with the client's sealed
//! inside.
//!
//! An agent whose ids are sealed on their way would tell a webhook ids that its owner has never seen.
//! So it tells this router, or any other of the mesh: everything that is needed to tell the owner stands
//! in the address itself, and nothing is remembered. What the client said of credentials goes to the
//! agent as it is, and comes back with each notification.
//!
//! # Invariants
//! - Nobody but a router of this mesh can make or read such an address, or change where it leads.
//! - An address that is refused is refused when it is given, as far as it can be told then.
//! - An address of ours that comes back from its agent is shown as the one that the client gave.

use std::{fmt, sync::Arc, time::Duration};

use ipnet::IpNet;
use mesh_core::{
    error::CallError,
    seal::{self, Purpose},
    token::Keys,
};
use mesh_proto::{AgentName, Fault, Operation, Problem};
use mesh_runtime::{
    clock,
    egress::{
        self, Egress,
        guard::{self, Guard},
    },
};
use prost::Message;
use serde::Deserialize;
use url::Url;

/// Where notifications come in, below the relay's base.
pub const PATH: &str = "/-/push/";

/// Notifications of agents to webhooks.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Settings {
    /// The base of this mesh's routers as agents reach it, `http://mesh.internal:8080`. Default: the
    /// public URL, else the main port where it is bound to one address; with neither, webhooks pass as
    /// clients give them.
    pub relay_url: Option<Url>,
    /// Agents whose notifications go through the relay although their ids pass as they are. Default none.
    pub through_relay: Vec<AgentName>,
    /// Networks that webhooks may be in although they are private, over `http` too. Default none.
    pub allow: Vec<IpNet>,
    /// Seconds that a webhook may take to answer, from the look-up of its name on. Default 10: agents
    /// commonly wait for 10 to 30 for us.
    pub answer_seconds: u64,
    /// Notifications that are delivered at a time; one more is told to come again. Default 256.
    pub at_once: usize,
    /// The same to one host and port. Default 32.
    pub at_once_per_host: usize,
    /// Days for which an address of ours is good; its agent is told 410 then. Default 30.
    pub life_days: u32,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            relay_url: None,
            through_relay: Vec::new(),
            allow: Vec::new(),
            answer_seconds: 10,
            at_once: 256,
            at_once_per_host: 32,
            life_days: 30,
        }
    }
}

/// How many notifications are delivered at a time.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Bounds {
    /// In all.
    pub at_once: usize,
    /// To one host and port.
    pub at_once_per_host: usize,
}

impl Settings {
    /// How many notifications are delivered at a time.
    #[must_use]
    pub const fn bounds(&self) -> Bounds {
        Bounds {
            at_once: self.at_once,
            at_once_per_host: self.at_once_per_host,
        }
    }
}

/// See the module.
#[derive(Clone, Debug)]
pub struct Webhooks {
    keys: Arc<Keys>,
    /// Begins every address of ours.
    base: Option<Arc<str>>,
    through_relay: Arc<[AgentName]>,
    life_hours: u32,
    guard: Guard,
}

/// What stands in an address. The numbers of the fields are wire format.
#[derive(Clone, Eq, Message, PartialEq)]
pub struct Webhook {
    /// Where the client wants its notifications.
    #[prost(string, tag = "1")]
    pub url: String,
    /// The agent that they come from.
    #[prost(string, tag = "2")]
    pub agent: String,
    /// The tenant of the call that gave the address.
    #[prost(string, tag = "3")]
    pub tenant: String,
    /// The hash of the credentials of that call; 0 where it had none.
    #[prost(fixed64, tag = "4")]
    pub principal: u64,
    /// What tokens call the replica that got the address; 0 where ids pass as they are.
    #[prost(fixed32, tag = "5")]
    pub life: u32,
    /// Whether the client named the conversation, whose id then carries no token.
    #[prost(bool, tag = "6")]
    pub in_context: bool,
    /// When, in hours since 1970.
    #[prost(uint32, tag = "7")]
    pub minted_hour: u32,
    /// Whether the client speaks 0.3.
    #[prost(bool, tag = "8")]
    pub is_0_3: bool,
}

impl Webhooks {
    /// Webhooks of a mesh whose routers agents reach at `base`.
    #[must_use]
    pub fn new(
        settings: Settings,
        base: Option<&Url>,
        keys: Arc<Keys>,
        ca: egress::Settings,
    ) -> Self {
        let within = Duration::from_secs(settings.answer_seconds);
        let egress = Egress::new(egress::Settings {
            connect_timeout: within,
            ..ca
        });
        let allowed = guard::Settings {
            allow: settings.allow,
            within,
            ..guard::Settings::default()
        };
        let base = settings.relay_url.as_ref().or(base);
        let base = base.map(|url| format!("{}{PATH}", url.as_str().trim_end_matches('/')));
        Self {
            keys,
            base: base.map(Arc::from),
            through_relay: settings.through_relay.into(),
            life_hours: settings.life_days.saturating_mul(24),
            guard: Guard::new(allowed, egress),
        }
    }

    /// Whether a call may carry an address that has to be replaced; `is_needed` tells whether something
    /// has to happen to the agent's notifications.
    #[must_use]
    pub fn replaces(&self, agent: &AgentName, operation: Operation, is_needed: bool) -> bool {
        let is_wanted = is_needed || self.through_relay.contains(agent);
        self.base.is_some() && gives(operation) && is_wanted
    }

    /// Whether an answer may carry an address that was replaced, now or earlier.
    #[must_use]
    pub fn restores(&self, operation: Operation) -> bool {
        let shows = matches!(
            operation,
            Operation::CreateTaskPushNotificationConfig
                | Operation::GetTaskPushNotificationConfig
                | Operation::ListTaskPushNotificationConfigs
        );
        shows && self.base.is_some()
    }

    /// Judges a client's address as far as that can be done at once.
    ///
    /// # Errors
    /// [`Fault::InvalidParams`] with what is wrong with it.
    pub fn check(&self, url: &str) -> Result<(), CallError> {
        match self.guard.shape(url) {
            Ok(_) => Ok(()),
            Err(refused) => Err(wrong(&refused)),
        }
    }

    /// Our address for a webhook.
    ///
    /// # Errors
    /// [`Fault::InvalidParams`] for one that takes too much room.
    pub fn seal(&self, webhook: &Webhook) -> Result<String, CallError> {
        let content = webhook.encode_to_vec();
        let sealed = seal::seal(&self.keys, Purpose::Push, &[], &content);
        let sealed = sealed.map_err(|_| wrong(&"is too long"))?;
        Ok(format!(
            "{}{sealed}",
            self.base.as_deref().unwrap_or_default()
        ))
    }

    /// What stands in the last part of an address of ours.
    #[must_use]
    pub fn open(&self, sealed: &str) -> Option<Webhook> {
        let opened = seal::open(&self.keys, Purpose::Push, &[], sealed)?;
        Webhook::decode(opened.as_slice()).ok()
    }

    /// Whether an address is older than it may be.
    #[must_use]
    pub fn is_over(&self, webhook: &Webhook) -> bool {
        clock::hour() > webhook.minted_hour.saturating_add(self.life_hours)
    }

    /// The client's address behind one of ours, whichever router's, given to this agent for this tenant.
    #[must_use]
    pub fn restore(&self, url: &str, agent: &AgentName, tenant: Option<&str>) -> Option<String> {
        let (_, sealed) = url.rsplit_once(PATH)?;
        let webhook = self.open(sealed)?;
        let is_theirs =
            webhook.agent == agent.as_str() && webhook.tenant == tenant.unwrap_or_default();
        is_theirs.then_some(webhook.url)
    }

    /// What calls webhooks.
    #[must_use]
    pub const fn guard(&self) -> &Guard {
        &self.guard
    }

    /// The keys of addresses and ids.
    #[must_use]
    pub const fn keys(&self) -> &Arc<Keys> {
        &self.keys
    }
}

/// Whether a call of this operation can give an address.
#[must_use]
pub const fn gives(operation: Operation) -> bool {
    operation.sends() || matches!(operation, Operation::CreateTaskPushNotificationConfig)
}

fn wrong(why: &dyn fmt::Display) -> CallError {
    let message = format!("the webhook's URL {why}");
    CallError::BadRequest(Problem::new(Fault::InvalidParams, message).with("field", "url"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn webhooks(settings: Settings) -> Webhooks {
        let base = Url::parse("https://mesh.example/").unwrap();
        let keys = Arc::new(Keys::development());
        Webhooks::new(settings, Some(&base), keys, egress::Settings::default())
    }

    fn webhook() -> Webhook {
        Webhook {
            url: "https://client.example/hook?a=b".to_owned(),
            agent: "shop".to_owned(),
            tenant: "acme".to_owned(),
            principal: 7,
            life: 9,
            in_context: true,
            minted_hour: 498_000,
            is_0_3: false,
        }
    }

    #[test]
    fn an_address_is_good_for_as_long_as_it_was_made_for() {
        let webhooks = webhooks(Settings {
            life_days: 1,
            ..Settings::default()
        });
        let made = |hours_ago| Webhook {
            minted_hour: clock::hour() - hours_ago,
            ..webhook()
        };
        assert!(!webhooks.is_over(&made(0)) && !webhooks.is_over(&made(23)));
        assert!(webhooks.is_over(&made(26)));
    }

    #[test]
    fn an_address_opens_again_for_its_agent_and_tenant_only() {
        let webhooks = webhooks(Settings::default());
        let url = webhooks.seal(&webhook()).unwrap();
        let sealed = url.strip_prefix("https://mesh.example/-/push/1").unwrap();
        let safe = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
        assert!(sealed.bytes().all(safe), "{url}");
        let [shop, other] = ["shop", "other"].map(|name| AgentName::parse(name).unwrap());
        let restored = |url: &str, agent, tenant| webhooks.restore(url, agent, tenant);
        let given = Some(webhook().url);
        assert_eq!(restored(&url, &shop, Some("acme")), given);
        // Another router of the mesh gives another base.
        let elsewhere = url.replace("mesh.example", "other.example:81/deep");
        assert_eq!(restored(&elsewhere, &shop, Some("acme")), given);
        assert_eq!(restored(&url, &shop, None), None);
        assert_eq!(restored(&url, &other, Some("acme")), None);
        assert_eq!(
            restored("https://client.example/-/push/1", &shop, None),
            None
        );
        assert_eq!(webhooks.open(&format!("1{sealed}")), Some(webhook()));
    }

    #[test]
    fn only_calls_that_can_hold_an_address_are_looked_into() {
        let shop = AgentName::parse("shop").unwrap();
        let create = Operation::CreateTaskPushNotificationConfig;
        let plain = webhooks(Settings::default());
        assert!(plain.replaces(&shop, create, true));
        assert!(plain.replaces(&shop, Operation::SendMessage, true));
        assert!(!plain.replaces(&shop, create, false));
        assert!(!plain.replaces(&shop, Operation::GetTask, true));
        let by_policy = webhooks(Settings {
            through_relay: vec![shop.clone()],
            ..Settings::default()
        });
        assert!(by_policy.replaces(&shop, create, false));
        let keys = Arc::new(Keys::development());
        let nowhere = Webhooks::new(Settings::default(), None, keys, egress::Settings::default());
        assert!(!nowhere.replaces(&shop, create, true));
    }

    #[test]
    fn a_wrong_address_is_told_by_its_reason() {
        let webhooks = webhooks(Settings::default());
        for (url, reason) in [
            ("http://client.example/", "https"),
            ("https://me:pass@client.example/", "user name"),
            ("https://10.0.0.1/", "not public"),
        ] {
            let error = webhooks.check(url).unwrap_err().answer();
            assert_eq!(error.fault, Fault::InvalidParams);
            assert!(error.message.contains(reason), "{}", error.message);
        }
        assert!(webhooks.check("https://client.example/").is_ok());
        let long = Webhook {
            tenant: "x".repeat(5000),
            ..webhook()
        };
        assert!(webhooks.seal(&long).is_err());
    }
}

//! What the sources may be told beside where they are.

use std::{net::SocketAddr, path::PathBuf, time::Duration};

use serde::Deserialize;

/// The `[directory]` section.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Settings {
    /// How long changes are gathered before they are taken over together. Default `100ms`: a rollout
    /// changes many members within moments, and each change of view costs a table.
    #[serde(with = "crate::settings::duration")]
    pub debounce: Duration,
    /// How long after more than half of an agent's members have disappeared the source is asked to
    /// look again; only when it still says so are they gone. Default `2s`: longer than a hiccup,
    /// short beside a rollout.
    #[serde(with = "crate::settings::duration")]
    pub second_sight: Duration,
    /// How often a watched file is read. Default `250ms`.
    #[serde(with = "crate::settings::duration")]
    pub file_every: Duration,
    /// `dns:` and `srv:`.
    pub dns: Dns,
    /// `kube:`.
    pub kube: Kube,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            debounce: Duration::from_millis(100),
            second_sight: Duration::from_secs(2),
            file_every: Duration::from_millis(250),
            dns: Dns::default(),
            kube: Kube::default(),
        }
    }
}

/// The `[directory.dns]` section.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Dns {
    /// `ADDRESS:PORT` of the name server. Default: those of the system.
    pub server: Option<SocketAddr>,
    /// The soonest that a name is looked up again, whatever its time to live. Default `1s`.
    #[serde(with = "crate::settings::duration")]
    pub ttl_min: Duration,
    /// The latest. Default `30s`: DNS tells no drain and no death, so a stale answer costs attempts.
    #[serde(with = "crate::settings::duration")]
    pub ttl_max: Duration,
}

impl Default for Dns {
    fn default() -> Self {
        Self {
            server: None,
            ttl_min: Duration::from_secs(1),
            ttl_max: Duration::from_secs(30),
        }
    }
}

/// The `[directory.kube]` section.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Kube {
    /// How the API server is reached. Default: the pod's service account, else `$KUBECONFIG` or
    /// `~/.kube/config`.
    pub kubeconfig: Option<PathBuf>,
    /// How long one watch lasts before it is opened again, in whole seconds from `1s`. Default `30s`.
    /// A server that has gone silent is noticed three seconds later.
    #[serde(with = "crate::settings::duration")]
    pub watch: Duration,
}

impl Default for Kube {
    fn default() -> Self {
        Self {
            kubeconfig: None,
            watch: Duration::from_secs(30),
        }
    }
}

//! The agents of the tables: four makers' and our own, each with what it promises.
//!
//! # Invariants
//! - Each agent of the matrix is offered in one binding, by two replicas behind one router.

use std::{fmt, io::Write as _, path::Path};

use anyhow::{Context as _, Result};
use mesh_proto::{Binding, Dialect, Version};
use mesh_tests::{
    mesh::{self, Mesh, Plan},
    parts::{
        agent::{ForeignAgent, Maker},
        sdk::{Cell, Script},
    },
};

/// What `python/agent.py` promises at its top.
pub(crate) const STEWARD: Script = Script {
    question: ("what is 17*23+4", "395"),
    brief: "wait 1 second",
    slow: "wait 60 seconds",
    ask: ("book a table", "4 people", "4 people"),
    parts: "return these",
    fail: "fail now",
};

/// Our `assistant` with its tools, two agents of the synthetic model that just take their time, and
/// one whose language model is not there. None of them returns parts.
pub(crate) const OURS: Script = Script {
    question: ("what is 17*23+4", "395"),
    brief: "take your time",
    slow: "take your time",
    ask: ("what time is it", "Tokyo", "Tokyo"),
    parts: "",
    fail: "fail for want of a model",
};

/// The agents of [`OURS`] by name, each with its model and tools.
const ROLES: [(&str, &str); 4] = [
    ("assistant", "model: rules, tools: [builtin]"),
    ("brief", "model: 'work:wait_ms=250,pieces=8'"),
    ("slow", "model: 'work:wait_ms=1000,pieces=60'"),
    ("failing", "model: 'openai:none'"),
];

/// Whose agent.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Whose {
    /// Somebody else's.
    Theirs(Maker),
    /// Our worker's.
    Ours,
}

impl fmt::Display for Whose {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Theirs(Maker::Python) => "Python SDK 1.3.0",
            Self::Theirs(Maker::Go) => "Go SDK 2.3.1",
            Self::Theirs(Maker::Rust) => "a2a-server-lf 0.5.3",
            Self::Theirs(Maker::Python03) => "Python SDK 0.3.26",
            Self::Ours => "our worker",
        })
    }
}

impl Whose {
    /// The version that these agents speak.
    pub(crate) const fn version(self) -> Version {
        match self {
            Self::Theirs(maker) => maker.version(),
            Self::Ours => Version::V1_0,
        }
    }

    /// What they promise.
    pub(crate) const fn script(self) -> &'static Script {
        match self {
            Self::Theirs(_) => &STEWARD,
            Self::Ours => &OURS,
        }
    }
}

/// One maker's agents behind a router: three, of one binding each, with two replicas each.
pub(crate) struct Behind {
    whose: Whose,
    urls: Vec<(String, String)>,
    _mesh: Mesh,
    _agents: Vec<ForeignAgent>,
}

impl Behind {
    /// Starts all of them. `None` where the SDK is not here.
    pub(crate) async fn start(whose: Whose) -> Result<Option<Self>> {
        match whose {
            Whose::Theirs(maker) => Self::theirs(maker).await,
            Whose::Ours => Self::ours().await.map(Some),
        }
    }

    async fn theirs(maker: Maker) -> Result<Option<Self>> {
        let mut plan = plan(0);
        let mut agents = Vec::new();
        let mut names = Vec::new();
        for binding in Binding::ALL {
            // Both at once: an interpreter takes its time.
            let (one, other) = tokio::try_join!(maker.start(binding), maker.start(binding))?;
            let (Some(one), Some(other)) = (one, other) else {
                return Ok(None);
            };
            let name = format!("steward-{}", binding.label());
            plan = with_port(plan, &name).other(&name, &format!("{},{}", one.url(), other.url()));
            names.push(name);
            agents.extend([one, other]);
        }
        let mut mesh = plan.start().await?;
        Ok(Some(Self {
            whose: Whose::Theirs(maker),
            urls: ports(&mut mesh, &names).await?,
            _mesh: mesh,
            _agents: agents,
        }))
    }

    async fn ours() -> Result<Self> {
        let mut text = "agents:\n".to_owned();
        let mut names = Vec::new();
        for binding in Binding::ALL {
            for (role, rest) in ROLES {
                let name = format!("{role}-{}", binding.label());
                let offered = format!("bindings: [{}]", binding.label());
                text += &format!("  - {{name: {name}, description: Serves, {rest}, {offered}}}\n");
                names.push(name);
            }
        }
        let mut file = tempfile::Builder::new().suffix(".yaml").tempfile()?;
        file.write_all(text.as_bytes())?;
        let listed: Vec<&str> = names.iter().map(String::as_str).collect();
        // Nobody listens at the discard port: the model of `failing` is never there.
        let mut plan = plan(2)
            .agents(file.path(), &listed)
            .environment("OPENAI_BASE_URL", "http://127.0.0.1:9/v1")
            .environment("OPENAI_API_KEY", "none");
        for name in &names {
            plan = with_port(plan, name);
        }
        let mut mesh = plan.start().await?;
        Ok(Self {
            whose: Whose::Ours,
            urls: ports(&mut mesh, &names).await?,
            _mesh: mesh,
            _agents: Vec::new(),
        })
    }

    /// The cell of a client that speaks `dialect` to the agent of `binding`.
    pub(crate) fn cell(&self, dialect: Dialect, binding: Binding) -> Result<Cell> {
        let url = |role: &str| {
            let name = format!("{role}-{}", binding.label());
            let found = self.urls.iter().find(|(known, _)| *known == name);
            found.map(|(_, url)| url.clone()).context(name)
        };
        let main = if self.whose == Whose::Ours {
            "assistant"
        } else {
            "steward"
        };
        let mut cell = Cell::new(&url(main)?, dialect.binding, dialect.version);
        // What 0.3 does not promise can't be had of an agent of 0.3.
        cell.snapshot = self.whose.version() == Version::V1_0;
        if self.whose == Whose::Ours {
            cell.brief_url = Some(url("brief")?);
            cell.slow_url = Some(url("slow")?);
            cell.fail_url = Some(url("failing")?);
        }
        Ok(cell)
    }
}

/// A port of its own for an agent: a caller of gRPC 0.3 can say no name.
fn with_port(plan: Plan, name: &str) -> Plan {
    plan.router("--listen-agent")
        .router(format!("{name}=127.0.0.1:0"))
}

async fn ports(mesh: &mut Mesh, names: &[String]) -> Result<Vec<(String, String)>> {
    let router = mesh.routers.first_mut().context("a mesh has a router")?;
    let mut urls = Vec::new();
    for name in names {
        let what = format!("agent {name}");
        let address = router.process.line(|line| mesh::ready(&what, line)).await?;
        urls.push((name.clone(), format!("http://{address}")));
    }
    Ok(urls)
}

pub(crate) fn plan(workers: usize) -> Plan {
    Plan::of(Path::new(env!("CARGO_BIN_EXE_daca-under-test")), workers)
}

//! A real Dapr sidecar, built from `tests/daprd`, or the one that `DAPRD_BIN` names.
//!
//! It runs as it would beside a worker: no control plane, every port on loopback, its components from a
//! folder that the test writes.

use std::{
    fs,
    net::Ipv4Addr,
    path::{Path, PathBuf},
};

use anyhow::Result;
use http_body_util::{BodyExt as _, Empty};
use hyper_util::rt::TokioIo;
use tempfile::TempDir;
use tokio::{net::TcpStream, process::Command};

use crate::{
    eventually::eventually,
    parts::{Part, broker::free_port},
    process::{Process, Signal},
};

/// A component of a sidecar: its name, its type, and what its metadata says.
#[derive(Clone, Debug)]
pub struct Component {
    /// Its name, by which a sidecar is asked for it.
    pub name: String,
    /// Its type: `pubsub.kafka`.
    pub kind: String,
    /// Its settings.
    pub metadata: Vec<(String, String)>,
}

impl Component {
    /// A component with settings.
    #[must_use]
    pub fn new(name: &str, kind: &str, metadata: &[(&str, &str)]) -> Self {
        let own = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
        Self {
            name: name.to_owned(),
            kind: kind.to_owned(),
            metadata: metadata.iter().map(own).collect(),
        }
    }

    /// Writes it into a folder of components.
    ///
    /// # Errors
    /// When that can't be written.
    pub fn write(&self, folder: &Path) -> Result<()> {
        Ok(fs::write(
            folder.join(format!("{}.yaml", self.name)),
            self.document(),
        )?)
    }

    fn document(&self) -> String {
        let Self {
            name,
            kind,
            metadata,
        } = self;
        let mut document = format!(
            "apiVersion: dapr.io/v1alpha1\nkind: Component\nmetadata:\n  name: {name}\n\
             spec:\n  type: {kind}\n  version: v1\n  metadata:\n"
        );
        for (name, value) in metadata {
            let value = serde_json::json!(value);
            document += &format!("  - name: {name}\n    value: {value}\n");
        }
        document
    }
}

/// What a sidecar for service invocation wants to be shown by who calls its API.
pub const TOKEN: &str = "what-only-the-sidecar-is-shown";

/// A running sidecar. Dropped, it ends.
#[derive(Debug)]
pub struct Daprd {
    process: Process,
    setting: Setting,
}

#[derive(Debug)]
struct Setting {
    ports: Ports,
    folder: TempDir,
    app: &'static str,
    configuration: Option<PathBuf>,
    program: Option<Program>,
    /// What it wants to be shown.
    token: Option<&'static str>,
}

/// The program beside it.
#[derive(Debug)]
struct Program {
    port: u16,
    /// `http` or `grpc`.
    protocol: &'static str,
    /// What it is shown with what comes from the sidecar.
    token: Option<String>,
}

#[derive(Clone, Copy, Debug)]
struct Ports {
    http: u16,
    grpc: u16,
    internal: u16,
}

impl Daprd {
    /// Starts one with these components and waits until it can be used; `None` after a `NOT RUN` line.
    /// A delivery that failed because its stream closed is tried again for a second: until the sidecar
    /// has noticed that nobody subscribes any more and leaves it to the broker. At once it would be a
    /// failure, which `pubsub.redis` takes for done; without end it would keep the subscription open.
    ///
    /// # Errors
    /// When it does not get ready.
    pub async fn start(components: &[Component]) -> Result<Option<Self>> {
        let folder = tempfile::tempdir()?;
        for component in components {
            component.write(folder.path())?;
        }
        let buses = components
            .iter()
            .filter(|each| each.kind.starts_with("pubsub."));
        let mut targets = String::new();
        for bus in buses {
            let name = &bus.name;
            targets += &format!("      {name}:\n        inbound:\n          retry: closing\n");
        }
        if !targets.is_empty() {
            let resiliency = format!(
                "apiVersion: dapr.io/v1alpha1\nkind: Resiliency\nmetadata:\n  name: bus\nspec:\n  \
                 policies:\n    retries:\n      closing:\n        policy: constant\n        \
                 duration: 250ms\n        maxRetries: 4\n  targets:\n    components:\n{targets}"
            );
            fs::write(folder.path().join("resiliency.yaml"), resiliency)?;
        }
        Self::start_in(folder, "mesh", None).await
    }

    /// Starts one with these components and a program that it brings events to: the program's port, and
    /// the token that it is to be shown; `None` after a `NOT RUN` line.
    ///
    /// # Errors
    /// When it does not get ready.
    pub async fn start_for(
        components: &[Component],
        port: u16,
        token: &str,
    ) -> Result<Option<Self>> {
        let folder = tempfile::tempdir()?;
        for component in components {
            component.write(folder.path())?;
        }
        let program = Program {
            port,
            protocol: "http",
            token: Some(token.to_owned()),
        };
        Self::begin(folder, ("mesh", Some(program)), None, None).await
    }

    /// Starts one on a folder of its own resources, as the sidecar of an app, with a configuration from
    /// elsewhere; `None` after a `NOT RUN` line.
    ///
    /// # Errors
    /// When it does not get ready.
    pub async fn start_in(
        folder: TempDir,
        app: &'static str,
        configuration: Option<PathBuf>,
    ) -> Result<Option<Self>> {
        Self::begin(folder, (app, None), configuration, None).await
    }

    /// Starts one for service invocation: it finds others, and is found, by what is written in `names`.
    /// `served` is the port of its own program and the protocol spoken there; none where that only calls.
    /// It wants to be shown [`TOKEN`], and tries failed calls again as often as it may. `None` after a
    /// `NOT RUN` line.
    ///
    /// # Errors
    /// When it does not get ready.
    pub async fn named(
        app: &'static str,
        served: Option<(u16, &'static str)>,
        names: &Path,
    ) -> Result<Option<Self>> {
        let folder = tempfile::tempdir()?;
        let again = "apiVersion: dapr.io/v1alpha1\nkind: Resiliency\nmetadata:\n  name: again\nspec:\n  \
                     policies:\n    retries:\n      DefaultAppRetryPolicy:\n        policy: constant\n        \
                     duration: 10ms\n        maxRetries: 3\n";
        fs::write(folder.path().join("resiliency.yaml"), again)?;
        // Multicast, the default, is not to be had in every sandbox.
        let database = serde_json::json!(names);
        let resolver = format!(
            "apiVersion: dapr.io/v1alpha1\nkind: Configuration\nmetadata:\n  name: names\nspec:\n  \
             nameResolution:\n    component: sqlite\n    version: v1\n    configuration:\n      \
             connectionString: {database}\n"
        );
        let configuration = names.with_extension("yaml");
        fs::write(&configuration, resolver)?;
        let program = served.map(|(port, protocol)| Program {
            port,
            protocol,
            token: None,
        });
        Self::begin(folder, (app, program), Some(configuration), Some(TOKEN)).await
    }

    async fn begin(
        folder: TempDir,
        (app, program): (&'static str, Option<Program>),
        configuration: Option<PathBuf>,
        token: Option<&'static str>,
    ) -> Result<Option<Self>> {
        if Part::Daprd.find()?.is_none() {
            return Ok(None);
        }
        let ports = Ports {
            http: free_port()?,
            grpc: free_port()?,
            internal: free_port()?,
        };
        let setting = Setting {
            ports,
            folder,
            app,
            configuration,
            program,
            token,
        };
        let process = setting.run()?;
        let sidecar = Self { process, setting };
        sidecar.is_ready().await?;
        Ok(Some(sidecar))
    }

    /// Where its API listens.
    #[must_use]
    pub fn endpoint(&self) -> String {
        format!("http://127.0.0.1:{}", self.setting.ports.grpc)
    }

    /// Where its HTTP API listens.
    #[must_use]
    pub fn http_endpoint(&self) -> String {
        format!("http://127.0.0.1:{}", self.setting.ports.http)
    }

    /// Its process.
    #[must_use]
    pub fn id(&self) -> Option<u32> {
        self.process.id()
    }

    /// What it has said.
    #[must_use]
    pub fn log(&self) -> Vec<String> {
        self.process.log()
    }

    /// Kills it where it stands.
    ///
    /// # Errors
    /// When it has ended by itself.
    pub async fn kill(&mut self) -> Result<()> {
        self.process.signal(Signal::Kill)?;
        self.process.end().await?;
        Ok(())
    }

    /// Starts it again after [`Self::kill`], on the same ports.
    ///
    /// # Errors
    /// When it does not get ready.
    pub async fn start_again(&mut self) -> Result<()> {
        self.process = self.setting.run()?;
        self.is_ready().await
    }

    async fn is_ready(&self) -> Result<()> {
        let port = self.setting.ports.http;
        eventually("the sidecar can be used", async || {
            Ok(healthy(port).await.unwrap_or(false).then_some(()))
        })
        .await
    }
}

impl Setting {
    fn run(&self) -> Result<Process> {
        let program = Part::Daprd.find()?.unwrap_or_default();
        let ports = self.ports;
        let mut command = Command::new(program);
        command
            // Without it a machine with no network but loopback is refused.
            .env("DAPR_HOST_IP", "127.0.0.1")
            .args(["--app-id", self.app, "--enable-metrics=false"])
            .args(["--dapr-listen-addresses", "127.0.0.1"])
            .args(["--dapr-internal-grpc-listen-address", "127.0.0.1"])
            .args(["--dapr-http-port", &ports.http.to_string()])
            .args(["--dapr-grpc-port", &ports.grpc.to_string()])
            .args(["--dapr-internal-grpc-port", &ports.internal.to_string()])
            .arg("--resources-path")
            .arg(self.folder.path());
        if let Some(file) = &self.configuration {
            command.arg("--config").arg(file);
        }
        if let Some(program) = &self.program {
            command.args(["--app-port", &program.port.to_string()]);
            command.args(["--app-protocol", program.protocol]);
            command.envs(program.token.as_ref().map(|token| ("APP_API_TOKEN", token)));
        }
        command.envs(self.token.map(|token| ("DAPR_API_TOKEN", token)));
        Process::start("daprd", command)
    }
}

/// What a probe asks for: whether a program beside it may use it, whatever its own program does.
async fn healthy(port: u16) -> Result<bool> {
    let socket = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await?;
    let (mut sender, connection) =
        hyper::client::conn::http1::handshake(TokioIo::new(socket)).await?;
    let request = http::Request::get("/v1.0/healthz/outbound")
        .header("host", "127.0.0.1")
        .body(Empty::<bytes::Bytes>::new())?;
    let asked = async {
        let response = sender.send_request(request).await?;
        let ready = response.status().is_success();
        response.into_body().collect().await?;
        anyhow::Ok(ready)
    };
    tokio::select! {
        ready = asked => ready,
        ended = connection => {
            ended?;
            Ok(false)
        }
    }
}

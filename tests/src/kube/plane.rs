//! The control plane: etcd, kube-apiserver and kube-controller-manager as processes, with RBAC on.

use std::{
    net::{IpAddr, Ipv4Addr},
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result, ensure};
use kube::{
    Client, Config,
    config::{KubeConfigOptions, Kubeconfig},
};
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, ExtendedKeyUsagePurpose, IsCa, KeyPair,
    SanType,
};
use serde_json::json;
use tempfile::TempDir;
use tokio::process::Command;

use crate::{
    eventually::eventually,
    parts::{Part, folder},
    process::{self, Process, Signal},
};

/// Where the API server listens, in the test's own network.
pub const PORT: u16 = 6443;

const ETCD: &str = "http://127.0.0.1:2379";
const PEERS: &str = "http://127.0.0.1:2380";
/// The token of whoever may do everything.
const MASTER: &str = "master-of-this-test";

/// A running control plane. Dropped, it ends: the API server before etcd, for which it would wait.
#[derive(Debug)]
pub struct Plane {
    controllers: Process,
    server: Option<Process>,
    _etcd: Process,
    folder: TempDir,
    programs: PathBuf,
    ca: String,
}

impl Plane {
    /// Starts it and waits until it is ready; `None` after a `NOT RUN` line, where it is not installed.
    ///
    /// # Errors
    /// When it does not get ready.
    pub async fn start() -> Result<Option<Self>> {
        if Part::Kubernetes.find()?.is_none() {
            return Ok(None);
        }
        // A second one in this process changes nothing.
        drop(rustls::crypto::aws_lc_rs::default_provider().install_default());
        let programs = folder().join("kube");
        let folder = tempfile::tempdir()?;
        let ca = papers(folder.path())?;
        let etcd = start_etcd(&programs, folder.path())?;
        let mut server = start_server(&programs, folder.path())?;
        is_ready(&mut server, &ca).await?;
        let controllers = start_controllers(&programs, folder.path())?;
        Ok(Some(Self {
            controllers,
            server: Some(server),
            _etcd: etcd,
            folder,
            programs,
            ca,
        }))
    }

    /// A client that may do everything.
    ///
    /// # Errors
    /// When its configuration is refused.
    pub async fn client(&self) -> Result<Client> {
        client(&self.ca, MASTER).await
    }

    /// The certificate that the server's is signed by, as a service account gets it.
    #[must_use]
    pub fn ca(&self) -> &str {
        &self.ca
    }

    /// Kills the API server. What runs goes on, as far as it can.
    ///
    /// # Errors
    /// When it has ended already.
    pub async fn stop_server(&mut self) -> Result<()> {
        let mut server = self.server.take().context("the API server runs")?;
        server.signal(Signal::Kill)?;
        server.end().await?;
        Ok(())
    }

    /// Starts the API server again, and waits until it is ready.
    ///
    /// # Errors
    /// When it does not get ready.
    pub async fn start_server(&mut self) -> Result<()> {
        let mut server = start_server(&self.programs, self.folder.path())?;
        is_ready(&mut server, &self.ca).await?;
        self.server = Some(server);
        // Without a lease to lose, the controllers outlive the server; should they not, it shows here.
        if !self.controllers.is_alive()? {
            self.controllers = start_controllers(&self.programs, self.folder.path())?;
        }
        Ok(())
    }

    /// Runs kubectl, and gives what it says. `input` is its standard input's file.
    ///
    /// # Errors
    /// When it fails, with its words.
    pub async fn kubectl(&self, arguments: &[&str]) -> Result<String> {
        let mut command = Command::new(self.programs.join("kubectl"));
        command
            .arg("--kubeconfig")
            .arg(self.folder.path().join("kubeconfig"))
            .args(arguments)
            .env("HOME", self.folder.path());
        let output = process::run(command).await?;
        ensure!(
            output.status.success(),
            "kubectl {}: {}",
            arguments.join(" "),
            String::from_utf8_lossy(&output.stderr)
        );
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }
}

async fn client(ca: &str, token: &str) -> Result<Client> {
    let config = kubeconfig(ca, token);
    let config: Kubeconfig = serde_json::from_value(config)?;
    let config = Config::from_custom_kubeconfig(config, &KubeConfigOptions::default()).await?;
    Ok(Client::try_from(config)?)
}

fn kubeconfig(ca: &str, token: &str) -> serde_json::Value {
    use base64::{Engine as _, engine::general_purpose::STANDARD};
    json!({
        "apiVersion": "v1", "kind": "Config", "current-context": "test",
        "clusters": [{"name": "test", "cluster": {
            "server": format!("https://127.0.0.1:{PORT}"),
            "certificate-authority-data": STANDARD.encode(ca),
        }}],
        "users": [{"name": "test", "user": {"token": token}}],
        "contexts": [{"name": "test", "context": {"cluster": "test", "user": "test"}}],
    })
}

/// Writes the keys and files that the plane starts from; returns the certificate to trust.
fn papers(folder: &Path) -> Result<String> {
    let write = |name: &str, text: &str| std::fs::write(folder.join(name), text);
    let mut params = CertificateParams::new(Vec::new())?;
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate()?)?;
    let key = KeyPair::generate()?;
    let mut params = CertificateParams::new(vec!["kubernetes.default.svc".to_owned()])?;
    for address in [Ipv4Addr::LOCALHOST, Ipv4Addr::new(10, 96, 0, 1)] {
        let name = SanType::IpAddress(IpAddr::V4(address));
        params.subject_alt_names.push(name);
    }
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    let certificate = params.signed_by(&key, &issuer)?;
    let ca = issuer.pem();
    write("ca.crt", &ca)?;
    write("server.crt", &certificate.pem())?;
    write("server.key", &key.serialize_pem())?;
    let accounts = KeyPair::generate()?;
    write("accounts.key", &accounts.serialize_pem())?;
    write("accounts.pub", &accounts.public_key_pem())?;
    write(
        "tokens.csv",
        &format!("{MASTER},master,1,\"system:masters\"\n"),
    )?;
    write("kubeconfig", &kubeconfig(&ca, MASTER).to_string())?;
    Ok(ca)
}

fn start_etcd(programs: &Path, folder: &Path) -> Result<Process> {
    let mut command = Command::new(programs.join("etcd"));
    command.arg("--data-dir").arg(folder.join("etcd")).args([
        "--name=test",
        &format!("--listen-client-urls={ETCD}"),
        &format!("--advertise-client-urls={ETCD}"),
        &format!("--listen-peer-urls={PEERS}"),
        &format!("--initial-advertise-peer-urls={PEERS}"),
        &format!("--initial-cluster=test={PEERS}"),
        "--unsafe-no-fsync",
        "--log-level=warn",
    ]);
    Process::start("etcd", command)
}

fn start_server(programs: &Path, folder: &Path) -> Result<Process> {
    let mut command = Command::new(programs.join("kube-apiserver"));
    let file = |flag: &str, name: &str| format!("--{flag}={}", folder.join(name).display());
    command.args([
        format!("--etcd-servers={ETCD}"),
        "--bind-address=127.0.0.1".to_owned(),
        "--advertise-address=10.1.0.1".to_owned(),
        format!("--secure-port={PORT}"),
        file("tls-cert-file", "server.crt"),
        file("tls-private-key-file", "server.key"),
        file("cert-dir", "certificates"),
        "--service-account-issuer=https://kubernetes.default.svc".to_owned(),
        file("service-account-key-file", "accounts.pub"),
        file("service-account-signing-key-file", "accounts.key"),
        file("token-auth-file", "tokens.csv"),
        "--authorization-mode=RBAC".to_owned(),
        "--service-cluster-ip-range=10.96.0.0/16".to_owned(),
    ]);
    Process::start("kube-apiserver", command)
}

fn start_controllers(programs: &Path, folder: &Path) -> Result<Process> {
    let mut command = Command::new(programs.join("kube-controller-manager"));
    let file = |flag: &str, name: &str| format!("--{flag}={}", folder.join(name).display());
    command.args([
        file("kubeconfig", "kubeconfig"),
        file("service-account-private-key-file", "accounts.key"),
        file("root-ca-file", "ca.crt"),
        "--leader-elect=false".to_owned(),
        "--secure-port=0".to_owned(),
        // Endpoints follow pods as fast as they can: a test waits for them.
        "--concurrent-service-endpoint-syncs=10".to_owned(),
    ]);
    Process::start("kube-controller-manager", command)
}

async fn is_ready(server: &mut Process, ca: &str) -> Result<()> {
    let client = client(ca, MASTER).await?;
    eventually("the API server is ready", || {
        let client = client.clone();
        let alive = server.is_alive();
        async move {
            ensure!(alive?, "the API server has ended");
            let ask = http::Request::get("/readyz").body(Vec::new())?;
            Ok(client
                .request_text(ask)
                .await
                .ok()
                .filter(|said| said == "ok")
                .map(|_| ()))
        }
    })
    .await
}

//! Agents behind TLS: `https://` upstreams, told apart by their certificates.

use std::{net::SocketAddr, sync::Arc};

use anyhow::{Context as _, Result, ensure};
use mesh_proto::{Binding, Fault};
use mesh_tests::{
    caller::words::{question, said},
    mesh::Node,
};
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use tokio::{
    io::copy_bidirectional,
    net::{TcpListener, TcpStream},
    task::JoinHandle,
};
use tokio_rustls::TlsAcceptor;

use crate::stage::mesh;

/// TLS in front of a worker, as a load balancer would have it.
struct Front {
    address: SocketAddr,
    accepting: JoinHandle<()>,
    /// The authority's certificate, to be trusted or not.
    authority: tempfile::NamedTempFile,
}

impl Drop for Front {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

async fn front(worker: SocketAddr) -> Result<Front> {
    let mut params = CertificateParams::new(Vec::new())?;
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let key = KeyPair::generate()?;
    let root = params.self_signed(&key)?;
    let issuer = Issuer::new(params, key);
    let leaf_key = KeyPair::generate()?;
    let leaf =
        CertificateParams::new(vec!["localhost".to_owned()])?.signed_by(&leaf_key, &issuer)?;
    let authority = tempfile::NamedTempFile::new()?;
    std::fs::write(authority.path(), root.pem())?;

    let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(leaf_key.serialize_der()));
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_single_cert(vec![leaf.der().clone()], key)?;
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;
    let accepting = spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            drop(spawn(carry(acceptor.clone(), stream, worker)));
        }
    });
    Ok(Front {
        address,
        accepting,
        authority,
    })
}

async fn carry(acceptor: TlsAcceptor, stream: TcpStream, worker: SocketAddr) {
    // A client that does not trust us breaks the handshake: that is one of the tests.
    let Ok(mut outside) = acceptor.accept(stream).await else {
        return;
    };
    if let Ok(mut inside) = TcpStream::connect(worker).await {
        drop(copy_bidirectional(&mut outside, &mut inside).await);
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "a test has no drain; the task ends with its socket"
)]
fn spawn(future: impl Future<Output = ()> + Send + 'static) -> JoinHandle<()> {
    tokio::spawn(future)
}

#[tokio::test]
async fn an_agent_behind_tls_is_called_when_its_certificate_is_trusted() -> Result<()> {
    let workers = mesh(1).start().await?.workers;
    let worker: &Node = workers.first().context("a worker")?;
    let front = front(worker.address).await?;
    let url = format!("https://localhost:{}/assistant", front.address.port());
    let trusting = mesh(0)
        .other("assistant", &url)
        .environment("SSL_CERT_FILE", front.authority.path())
        .start()
        .await?;
    for binding in [Binding::JsonRpc, Binding::Rest] {
        let caller = trusting.router().caller("assistant", binding);
        let task = caller.send(question("what is 17*23+4")).await??;
        ensure!(said(&task).contains("395"), "{binding}: {}", said(&task));
    }
    Ok(())
}

#[tokio::test]
async fn an_agent_behind_tls_is_not_called_when_its_certificate_is_not_trusted() -> Result<()> {
    let workers = mesh(1).start().await?.workers;
    let worker: &Node = workers.first().context("a worker")?;
    let front = front(worker.address).await?;
    let url = format!("https://localhost:{}/assistant", front.address.port());
    let wary = mesh(0).other("assistant", &url).start().await?;
    let caller = wary.router().caller("assistant", Binding::JsonRpc);
    let refusal = caller
        .send(question("1+1"))
        .await?
        .err()
        .context("it must not be called")?;
    refusal.expect(Fault::Unavailable)
}

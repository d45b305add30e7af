//! The client over TLS: HTTP/1.1 and HTTP/2 agreed by ALPN, roots of one's own.

use std::sync::Arc;

use mesh_client::{Binding, Call, Client, Cut, Error, Options};
use tokio_rustls::{
    TlsAcceptor,
    rustls::{ServerConfig, crypto::aws_lc_rs, pki_types::PrivateKeyDer},
};

use crate::{agent::Agent, script::ask};

/// A server's side of TLS for `localhost`, and its certificate as PEM.
fn tls() -> (TlsAcceptor, String) {
    let issued = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
    let key = PrivateKeyDer::try_from(issued.signing_key.serialize_der()).unwrap();
    let mut server = ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![issued.cert.der().clone()], key)
        .unwrap();
    server.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    (TlsAcceptor::from(Arc::new(server)), issued.cert.pem())
}

fn url(agent: &Agent, binding: Binding) -> String {
    let path = match binding {
        Binding::JsonRpc => "/rpc",
        Binding::Rest => "/rest",
        Binding::Grpc => "",
    };
    format!("https://localhost:{}{path}", agent.address.port())
}

#[tokio::test]
async fn an_agent_behind_tls_is_trusted_by_its_root_alone() {
    let (acceptor, root) = tls();
    let agent = Agent::secure(acceptor).await;
    let dir = tempfile::tempdir().unwrap();
    let ca_file = dir.path().join("ca.pem");
    std::fs::write(&ca_file, root).unwrap();
    for binding in Binding::ALL {
        let options = Options {
            ca_file: Some(ca_file.clone()),
            ..Options::default()
        };
        let client = Client::direct(binding, &url(&agent, binding), options).unwrap();
        let answer = client.send(ask("hello"), &Call::default()).await;
        assert!(answer.is_ok(), "{binding}: {answer:?}");

        let stranger = Client::direct(binding, &url(&agent, binding), Options::default()).unwrap();
        let error = stranger
            .send(ask("hello"), &Call::default())
            .await
            .unwrap_err();
        assert!(
            matches!(error, Error::Transport(Cut::Connect { .. })),
            "{binding}: {error:?}"
        );
        assert!(error.is_unsent(), "{binding}");
    }
}

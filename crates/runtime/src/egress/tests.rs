//! Which addresses, certificates and answers an outbound connection accepts.

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpListener,
};
use tokio_rustls::TlsAcceptor;

use super::*;

fn target(url: &str) -> Result<Target, Error> {
    Target::try_from(&Url::parse(url).unwrap())
}

#[test]
fn a_target_is_printed_as_its_url_begins() {
    for (url, printed) in [
        ("http://localhost/a", "http://localhost"),
        ("https://example.org:443/", "https://example.org"),
        ("https://example.org:8443/x", "https://example.org:8443"),
        ("http://[::1]:80/", "http://[::1]"),
        ("http://[::1]:8080/", "http://[::1]:8080"),
    ] {
        assert_eq!(target(url).unwrap().to_string(), printed);
    }
    assert_eq!(&*target("http://[::1]:8080/").unwrap().host, "::1");
    assert!(target("ftp://example.org/").is_err());
    assert!(target("data:x").is_err());
}

#[tokio::test]
async fn a_refused_connection_says_where_to() {
    let closed = {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        listener.local_addr().unwrap()
    };
    let to = target(&format!("http://{closed}")).unwrap();
    let error = Egress::default().connect(&to, Alpn::H1).await.unwrap_err();
    assert!(matches!(error, Error::Connect { .. }), "{error:?}");
    assert_eq!(
        error.to_string(),
        format!("cannot connect to http://{closed}")
    );
}

#[tokio::test]
async fn a_silent_tls_peer_ends_at_the_deadline() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let to = target(&format!("https://{}", listener.local_addr().unwrap())).unwrap();
    let egress = Egress::new(Settings {
        connect_timeout: Duration::from_millis(50),
        ..Settings::default()
    });
    let (connected, accepted) = tokio::join!(egress.connect(&to, Alpn::H2), listener.accept());
    accepted.unwrap();
    let error = connected.unwrap_err();
    // Where the machine has no roots at all, the handshake is not even begun.
    assert!(
        matches!(error, Error::Timeout { .. } | Error::Roots(_)),
        "{error:?}"
    );
}

#[tokio::test]
async fn an_added_root_is_trusted_and_the_protocol_is_agreed() {
    let issued = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
    let dir = tempfile::tempdir().unwrap();
    let ca_file = dir.path().join("ca.pem");
    std::fs::write(&ca_file, issued.cert.pem()).unwrap();
    let key = rustls::pki_types::PrivateKeyDer::try_from(issued.signing_key.serialize_der());
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut server = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![issued.cert.der().clone()], key.unwrap())
        .unwrap();
    server.alpn_protocols = vec![b"h2".to_vec()];
    let acceptor = TlsAcceptor::from(Arc::new(server));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let to = target(&format!("https://localhost:{port}")).unwrap();

    let echo = async {
        let mut session = acceptor
            .accept(listener.accept().await.unwrap().0)
            .await
            .unwrap();
        let mut word = [0; 4];
        session.read_exact(&mut word).await.unwrap();
        session.write_all(&word).await.unwrap();
        session.shutdown().await.unwrap();
    };
    let egress = Egress::new(Settings {
        connect_timeout: Duration::from_secs(10),
        ca_file: Some(ca_file),
    });
    let ask = async {
        let mut stream = egress.connect(&to, Alpn::Either).await.unwrap();
        assert!(stream.is_h2());
        stream.write_all(b"ping").await.unwrap();
        stream.flush().await.unwrap();
        let mut back = [0; 4];
        stream.read_exact(&mut back).await.unwrap();
        assert_eq!(&back, b"ping");
    };
    tokio::join!(echo, ask);
}

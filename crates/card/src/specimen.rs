//! Fresh keys and a card for tests. Keys are made, not kept: a private key in a repository looks like
//! one that somebody uses.
//!
//! # Invariants
//! - Every call gives another key, but for RSA: making one takes long, so that there is one.

use std::sync::LazyLock;

use aws_lc_rs::{
    encoding::AsDer,
    rsa,
    signature::{
        ECDSA_P256_SHA256_FIXED_SIGNING, ECDSA_P384_SHA384_FIXED_SIGNING, EcdsaKeyPair,
        EcdsaSigningAlgorithm, Ed25519KeyPair, KeyPair,
    },
};
use base64::{Engine, engine::general_purpose::STANDARD};

use crate::keys::Algorithm;

/// A card that nothing is wrong with.
pub(crate) const CARD: &str = r#"{
    "name": "Clock", "description": "Tells the time — überall.", "version": "1.2.0",
    "supportedInterfaces": [
        {"url": "https://agents.example.com/clock", "protocolBinding": "JSONRPC", "protocolVersion": "1.0"},
        {"url": "agents.example.com:443", "protocolBinding": "GRPC", "protocolVersion": "1.0", "tenant": "clock"}],
    "capabilities": {"streaming": true, "pushNotifications": false,
        "extensions": [{"uri": "https://example.com/ext/rate", "params": {"limit": 12.50, "burst": 3}}]},
    "defaultInputModes": ["text/plain"], "defaultOutputModes": ["text/plain"],
    "skills": [{"id": "now", "name": "Now", "description": "The time.", "tags": ["time"]}]}"#;

/// A private key and its public part, both in PEM.
#[derive(Clone)]
pub(crate) struct Pair {
    pub(crate) private: String,
    pub(crate) public: String,
}

/// A key for an algorithm.
pub(crate) fn pair(algorithm: Algorithm) -> Pair {
    match algorithm {
        Algorithm::Es256 => ec(&ECDSA_P256_SHA256_FIXED_SIGNING),
        Algorithm::EdDsa => {
            let key = Ed25519KeyPair::generate().unwrap();
            let public = key.public_key().as_der().unwrap();
            // Version 1, as openssl writes it.
            Pair {
                private: pem("PRIVATE KEY", key.to_pkcs8v1().unwrap().as_ref()),
                public: pem("PUBLIC KEY", public.as_ref()),
            }
        }
        Algorithm::Rs256 | Algorithm::Ps256 => RSA.clone(),
    }
}

static RSA: LazyLock<Pair> = LazyLock::new(|| {
    let key = rsa::KeyPair::generate(rsa::KeySize::Rsa2048).unwrap();
    let public = key.public_key().as_der().unwrap();
    Pair {
        private: pem("PRIVATE KEY", key.as_der().unwrap().as_ref()),
        public: pem("PUBLIC KEY", public.as_ref()),
    }
});

/// A key on a curve that no algorithm here is for.
pub(crate) fn p384() -> Pair {
    ec(&ECDSA_P384_SHA384_FIXED_SIGNING)
}

fn ec(curve: &'static EcdsaSigningAlgorithm) -> Pair {
    let key = EcdsaKeyPair::generate(curve).unwrap();
    let public = key.public_key().as_der().unwrap();
    Pair {
        private: pem("PRIVATE KEY", key.to_pkcs8v1().unwrap().as_ref()),
        public: pem("PUBLIC KEY", public.as_ref()),
    }
}

fn pem(label: &str, der: &[u8]) -> String {
    let text = STANDARD.encode(der);
    let lines: Vec<_> = text
        .as_bytes()
        .chunks(64)
        .map(|line| std::str::from_utf8(line).unwrap())
        .collect();
    format!(
        "-----BEGIN {label}-----\n{}\n-----END {label}-----\n",
        lines.join("\n")
    )
}

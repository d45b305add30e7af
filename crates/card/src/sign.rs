//! Signing a card: a detached JWS (RFC 7515 appendix F) over its canonical form, as specification
//! 8.4.2 has it.
//!
//! # Invariants
//! - A signature is added; those that are there stay, and stay valid.
//! - Nothing else of the card changes but the order of its fields and how its numbers and strings are
//!   written.

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use jsonwebtoken::{
    DecodingKey, EncodingKey,
    crypto::{self, aws_lc::DEFAULT_PROVIDER},
    jwk::{AlgorithmParameters, EllipticCurve, Jwk, OctetKeyPairParameters, OctetKeyPairType},
};
use serde_json::{Map, Value, json};

use crate::{
    canonical::{self, CanonicalError, Form},
    keys::{Algorithm, Key, KeyError},
};

/// A private key with the name that verifiers know it by.
#[derive(Debug)]
pub struct Signer {
    key: EncodingKey,
    algorithm: Algorithm,
    id: String,
    key_set: Option<String>,
    public: Jwk,
    verifying: DecodingKey,
}

/// Why a card cannot be signed.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum SignError {
    /// It has no canonical form.
    #[error(transparent)]
    Canonical(#[from] CanonicalError),
    /// Its `signatures` are there and not a list.
    #[error("the card's signatures are not a list")]
    Signatures,
    /// The key did not sign.
    #[error("the key does not sign: {0}")]
    Key(String),
}

impl Signer {
    /// Reads a private key from PKCS #8 in PEM. Without an algorithm it is that of the key's kind:
    /// ES256, EdDSA, or RS256.
    ///
    /// # Errors
    /// [`KeyError`] when it is no such key, or does not fit the algorithm.
    pub fn from_pem(pem: &[u8], id: &str, algorithm: Option<Algorithm>) -> Result<Self, KeyError> {
        let (key, own) = read(pem)?;
        let algorithm = match (algorithm, own) {
            (None, own) => own,
            (Some(Algorithm::Ps256), Algorithm::Rs256) => Algorithm::Ps256,
            (Some(wanted), own) if wanted == own => own,
            (Some(wanted), _) => return Err(KeyError::Misfit(wanted)),
        };
        let public = public(&key, algorithm).ok_or(KeyError::Unsignable)?;
        let verifying = DecodingKey::from_jwk(&public).map_err(|_| KeyError::Unsignable)?;
        let signer = Self {
            key,
            algorithm,
            id: id.to_owned(),
            key_set: None,
            public,
            verifying,
        };
        // A key that is too short, or of another curve, is found out now and not with the first card.
        match crypto::sign(b"", &signer.key, algorithm.jwa()) {
            Ok(_) => Ok(signer),
            Err(_) => Err(KeyError::Unsignable),
        }
    }

    /// Names the URL at which the public part is published, as `jku`.
    #[must_use]
    pub fn published_at(mut self, key_set: &str) -> Self {
        self.key_set = Some(key_set.to_owned());
        self
    }

    /// The name of the key.
    #[must_use]
    pub fn id(&self) -> &str {
        &self.id
    }

    /// What it signs with.
    #[must_use]
    pub const fn algorithm(&self) -> Algorithm {
        self.algorithm
    }

    /// The public part.
    #[must_use]
    pub fn public_key(&self) -> Key {
        let (jwk, key) = (self.public.clone(), self.verifying.clone());
        Key::of_signer(&self.id, self.algorithm, jwk, key)
    }

    /// The card with one more signature, in the form of its version.
    ///
    /// # Errors
    /// [`SignError`] when the card cannot be signed.
    pub fn sign(&self, card: &[u8]) -> Result<Vec<u8>, SignError> {
        let signature = self.signature(&canonical::payload(card, Form::for_signing(card))?)?;
        let Ok(Value::Object(mut fields)) = serde_json::from_slice(card) else {
            return Err(CanonicalError::NotAnObject.into());
        };
        match fields.entry("signatures").or_insert(Value::Null) {
            Value::Array(list) => list.push(signature),
            missing @ Value::Null => *missing = Value::Array(vec![signature]),
            _ => return Err(SignError::Signatures),
        }
        serde_json::to_vec(&fields).map_err(|_| CanonicalError::NotAnObject.into())
    }

    /// An entry of `signatures` over a payload.
    fn signature(&self, payload: &[u8]) -> Result<Value, SignError> {
        let mut header = Map::new();
        header.insert("typ".to_owned(), json!("JOSE"));
        if let Some(key_set) = &self.key_set {
            header.insert("jku".to_owned(), json!(key_set));
        }
        let (protected, signature) = self.detached(header, payload)?;
        Ok(json!({"protected": protected, "signature": signature}))
    }

    /// A detached JWS over a payload: its protected header, which algorithm and key are added to, and its
    /// signature, both in base64url.
    pub(crate) fn detached(
        &self,
        mut header: Map<String, Value>,
        payload: &[u8],
    ) -> Result<(String, String), SignError> {
        header.insert("alg".to_owned(), json!(self.algorithm.name()));
        header.insert("kid".to_owned(), json!(self.id));
        let protected = URL_SAFE_NO_PAD.encode(Value::Object(header).to_string());
        let input = signing_input(&protected, payload);
        let signature = crypto::sign(input.as_bytes(), &self.key, self.algorithm.jwa())
            .map_err(|error| SignError::Key(error.to_string()))?;
        Ok((protected, signature))
    }
}

/// What the signature is computed over (RFC 7515 5.1).
pub(crate) fn signing_input(protected: &str, payload: &[u8]) -> String {
    format!("{protected}.{}", URL_SAFE_NO_PAD.encode(payload))
}

fn read(pem: &[u8]) -> Result<(EncodingKey, Algorithm), KeyError> {
    // The PEM of a public key is read by the same functions where it is RSA, and must not be.
    if !String::from_utf8_lossy(pem).contains("-----BEGIN PRIVATE KEY-----") {
        return Err(KeyError::Unsignable);
    }
    let ec = EncodingKey::from_ec_pem(pem).map(|key| (key, Algorithm::Es256));
    ec.or_else(|_| EncodingKey::from_ed_pem(pem).map(|key| (key, Algorithm::EdDsa)))
        .or_else(|_| EncodingKey::from_rsa_pem(pem).map(|key| (key, Algorithm::Rs256)))
        .map_err(|_| KeyError::Unsignable)
}

fn public(key: &EncodingKey, algorithm: Algorithm) -> Option<Jwk> {
    if algorithm != Algorithm::EdDsa {
        return Jwk::from_encoding_key(key, algorithm.jwa()).ok();
    }
    // jsonwebtoken knows an Ed25519 key by its length, and not the longer one of PKCS #8 version 2.
    let of_private = DEFAULT_PROVIDER
        .key_utils
        .ed_pub_components_from_private_key;
    let x = of_private(key.as_bytes(), &EllipticCurve::Ed25519).ok()?;
    Some(Jwk {
        common: jsonwebtoken::jwk::CommonParameters::default(),
        algorithm: AlgorithmParameters::OctetKeyPair(OctetKeyPairParameters {
            key_type: OctetKeyPairType::OctetKeyPair,
            curve: EllipticCurve::Ed25519,
            x: URL_SAFE_NO_PAD.encode(x),
        }),
    })
}

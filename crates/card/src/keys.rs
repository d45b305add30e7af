//! The keys that are trusted, and those that are published: JSON Web Key sets (RFC 7517) and PEM.
//!
//! # Invariants
//! - A key is for verifying with a public key and an algorithm of [`Algorithm`], or it is not taken:
//!   there is no symmetric key here, so a signature made with a public key as an HMAC secret has
//!   nothing to be checked against.
//! - A key fits the algorithms of its own kind only, and only its own one where it names one.
//! - A key that came from a key set's URL verifies only signatures that name that URL.
//! - Nothing private is ever written.

use std::fmt;

use jsonwebtoken::{
    Algorithm as Jwa, DecodingKey,
    jwk::{AlgorithmParameters, EllipticCurve, Jwk, KeyOperations, PublicKeyUse},
};
use serde_json::{Map, Value, json};

use crate::sign::Signer;

/// The algorithms (RFC 7518, RFC 8037) that a card may be signed with. Others are refused, `none` and
/// all symmetric ones above all.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Algorithm {
    /// ECDSA on P-256 with SHA-256.
    Es256,
    /// Ed25519.
    EdDsa,
    /// RSA, PKCS #1 v1.5, with SHA-256.
    Rs256,
    /// RSA, PSS, with SHA-256.
    Ps256,
}

impl Algorithm {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Es256, Self::EdDsa, Self::Rs256, Self::Ps256];

    /// The value of `alg`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Es256 => "ES256",
            Self::EdDsa => "EdDSA",
            Self::Rs256 => "RS256",
            Self::Ps256 => "PS256",
        }
    }

    /// Reads `alg`; names are compared by the letter (RFC 7515 4.1.1).
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|each| each.name() == name)
    }

    pub(crate) const fn jwa(self) -> Jwa {
        match self {
            Self::Es256 => Jwa::ES256,
            Self::EdDsa => Jwa::EdDSA,
            Self::Rs256 => Jwa::RS256,
            Self::Ps256 => Jwa::PS256,
        }
    }
}

impl fmt::Display for Algorithm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Why keys cannot be read.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum KeyError {
    /// Neither a key set, nor a key, nor PEM.
    #[error("neither a JSON Web Key set nor a PEM key")]
    Unreadable,
    /// There is no key in it that verifies a card.
    #[error("no public key for ES256, EdDSA, RS256 or PS256 in it")]
    NoneUsable,
    /// More than [`MOST_KEYS`].
    #[error("more than {MOST_KEYS} keys")]
    TooMany,
    /// A private key that is none of the kinds that sign a card, or is not PKCS #8.
    #[error("not a PKCS #8 private key on P-256, Ed25519 or RSA (2048 bits or more)")]
    Unsignable,
    /// The key is of another kind than the algorithm.
    #[error("the key does not fit the algorithm {0}")]
    Misfit(Algorithm),
}

/// The most keys in one set: each may be tried against each signature.
pub const MOST_KEYS: usize = 64;

/// A public key.
#[derive(Clone, Debug)]
pub struct Key {
    id: Option<String>,
    jwk: Jwk,
    key: DecodingKey,
    algorithm: Option<Algorithm>,
    valid: Validity,
    key_set: Option<String>,
}

/// When a key counts, in seconds since 1970. RFC 7517 has no members for that; `nbf`, `exp` and
/// `revoked` are those of OpenID Federation 1.0 (section 8.7.2).
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Validity {
    /// Not before.
    pub from: Option<u64>,
    /// Not at or after.
    pub until: Option<u64>,
}

impl Key {
    /// Its name; `None` for one that answers to every name, as a PEM key does.
    #[must_use]
    pub fn id(&self) -> Option<&str> {
        self.id.as_deref()
    }

    /// When it counts.
    #[must_use]
    pub const fn validity(&self) -> Validity {
        self.valid
    }

    pub(crate) const fn decoding(&self) -> &DecodingKey {
        &self.key
    }

    /// Whether the key is of the algorithm's kind, and for it.
    pub(crate) fn fits(&self, algorithm: Algorithm) -> bool {
        let of_its_kind = match &self.jwk.algorithm {
            AlgorithmParameters::EllipticCurve(_) => algorithm == Algorithm::Es256,
            AlgorithmParameters::OctetKeyPair(_) => algorithm == Algorithm::EdDsa,
            AlgorithmParameters::RSA(_) => {
                matches!(algorithm, Algorithm::Rs256 | Algorithm::Ps256)
            }
            _ => false,
        };
        of_its_kind && self.algorithm.is_none_or(|own| own == algorithm)
    }

    fn of_jwk(value: &Value) -> Option<Self> {
        let jwk: Jwk = serde_json::from_value(value.clone()).ok()?;
        let is_supported = match &jwk.algorithm {
            AlgorithmParameters::EllipticCurve(key) => key.curve == EllipticCurve::P256,
            AlgorithmParameters::OctetKeyPair(key) => key.curve == EllipticCurve::Ed25519,
            AlgorithmParameters::RSA(_) => true,
            _ => false,
        };
        let is_for_signatures = !matches!(
            jwk.common.public_key_use,
            Some(PublicKeyUse::Encryption | PublicKeyUse::Other(_))
        );
        let may_verify = jwk
            .common
            .key_operations
            .as_ref()
            .is_none_or(|operations| operations.contains(&KeyOperations::Verify));
        if !(is_supported && is_for_signatures && may_verify) {
            return None;
        }
        let algorithm = match value.get("alg") {
            None | Some(Value::Null) => None,
            Some(name) => Some(Algorithm::from_name(name.as_str()?)?),
        };
        let key = DecodingKey::from_jwk(&jwk).ok()?;
        Some(Self {
            id: jwk.common.key_id.clone(),
            algorithm,
            valid: Validity::of_jwk(value),
            jwk,
            key,
            key_set: None,
        })
    }

    fn to_jwk(&self) -> Value {
        let mut value = serde_json::to_value(&self.jwk).unwrap_or_default();
        if let Value::Object(fields) = &mut value {
            fields.insert("use".to_owned(), json!("sig"));
            let mut put = |name: &str, value: Option<Value>| {
                if let Some(value) = value {
                    fields.insert(name.to_owned(), value);
                }
            };
            put("kid", self.id.clone().map(Value::from));
            put("alg", self.algorithm.map(|own| own.name().into()));
            put("nbf", self.valid.from.map(Value::from));
            put("exp", self.valid.until.map(Value::from));
        }
        value
    }
}

impl Validity {
    fn of_jwk(value: &Value) -> Self {
        // A time that cannot be read, and a revocation of whatever form, close the key for ever.
        const NEVER: u64 = 0;
        let time = |name: &str| match value.get(name) {
            None | Some(Value::Null) => Ok(None),
            Some(time) => numeric_date(time).map(Some).ok_or(NEVER),
        };
        let is_revoked = value.get("revoked").is_some_and(|said| !said.is_null());
        match (time("nbf"), time("exp")) {
            (Ok(from), Ok(until)) if !is_revoked => Self { from, until },
            _ => Self {
                from: None,
                until: Some(NEVER),
            },
        }
    }
}

/// A NumericDate (RFC 7519 2), whole seconds of it.
pub(crate) fn numeric_date(value: &Value) -> Option<u64> {
    let whole = value.as_u64();
    // The float of a date is far from where a double loses seconds.
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "checked to be within what a date is; the fraction is dropped on purpose"
    )]
    let fraction = || {
        let seconds = value.as_f64()?;
        (0.0..1e15).contains(&seconds).then_some(seconds as u64)
    };
    whole.or_else(fraction)
}

/// Keys that are trusted, each pinned or from a key set's URL.
#[derive(Clone, Debug, Default)]
pub struct Keys(Vec<Key>);

impl Keys {
    /// Reads a key set, one key (JSON), or a PEM key, public or private; of a private one the public
    /// part is kept. Keys of a set that cannot verify a card are passed over (RFC 7517 5).
    ///
    /// # Errors
    /// [`KeyError`] when nothing usable is in it.
    pub fn read(bytes: &[u8]) -> Result<Self, KeyError> {
        let keys = match serde_json::from_slice::<Value>(bytes) {
            Ok(value) => Self::of_json(&value)?,
            Err(_) => Self::of_pem(bytes)?,
        };
        if keys.0.is_empty() {
            return Err(KeyError::NoneUsable);
        }
        Ok(keys)
    }

    fn of_json(value: &Value) -> Result<Self, KeyError> {
        let listed = match (value.get("keys"), value.get("kty")) {
            (Some(Value::Array(keys)), _) => keys.as_slice(),
            (None, Some(_)) => std::slice::from_ref(value),
            _ => return Err(KeyError::Unreadable),
        };
        if listed.len() > MOST_KEYS {
            return Err(KeyError::TooMany);
        }
        Ok(Self(listed.iter().filter_map(Key::of_jwk).collect()))
    }

    fn of_pem(bytes: &[u8]) -> Result<Self, KeyError> {
        let text = std::str::from_utf8(bytes).map_err(|_| KeyError::Unreadable)?;
        if text.contains("PRIVATE KEY-----") {
            let signer = Signer::from_pem(bytes, "", None)?;
            let mut key = signer.public_key();
            // A PEM key has no name, and an RSA key no algorithm of its own.
            (key.id, key.algorithm) = (None, None);
            return Ok(Self(vec![key]));
        }
        let key = DecodingKey::from_ec_pem(bytes)
            .or_else(|_| DecodingKey::from_ed_pem(bytes))
            .or_else(|_| DecodingKey::from_rsa_pem(bytes))
            .map_err(|_| KeyError::Unreadable)?;
        let jwk = Jwk::from_decoding_key(&key, None).map_err(|_| KeyError::NoneUsable)?;
        let value = serde_json::to_value(&jwk).map_err(|_| KeyError::NoneUsable)?;
        Ok(Self(Key::of_jwk(&value).into_iter().collect()))
    }

    /// The public parts of signers, for publication.
    #[must_use]
    pub fn of_signers<'a>(signers: impl IntoIterator<Item = &'a Signer>) -> Self {
        Self(signers.into_iter().map(Signer::public_key).collect())
    }

    /// Adds keys that are trusted in themselves, whatever key set a signature names.
    pub fn pin(&mut self, keys: Self) {
        self.0.extend(keys.0);
    }

    /// Adds keys that the caller fetched from a key set's URL which it allows.
    pub fn add_set(&mut self, url: &str, keys: Self) {
        self.0.extend(keys.0.into_iter().map(|key| Key {
            key_set: Some(url.to_owned()),
            ..key
        }));
    }

    /// The keys.
    #[must_use]
    pub fn as_slice(&self) -> &[Key] {
        &self.0
    }

    /// The keys that may have made a signature of this name and key set: those pinned, and those of
    /// that set.
    pub(crate) fn candidates<'a>(
        &'a self,
        id: &'a str,
        key_set: Option<&'a str>,
    ) -> impl Iterator<Item = &'a Key> {
        self.0
            .iter()
            .filter(move |key| key.key_set.is_none() || key.key_set.as_deref() == key_set)
            .filter(move |key| key.id.as_deref().is_none_or(|own| own == id))
    }

    /// Whether keys of this set are here.
    pub(crate) fn has_set(&self, url: &str) -> bool {
        self.0.iter().any(|key| key.key_set.as_deref() == Some(url))
    }

    /// The key set (RFC 7517 5) to publish.
    #[must_use]
    pub fn to_jwks(&self) -> Vec<u8> {
        let keys: Vec<_> = self.0.iter().map(Key::to_jwk).collect();
        let mut set = Map::new();
        set.insert("keys".to_owned(), Value::Array(keys));
        // A map of JSON values always has a JSON text.
        serde_json::to_vec(&set).unwrap_or_default()
    }
}

impl Key {
    /// The public part of a signer's key.
    pub(crate) fn of_signer(id: &str, algorithm: Algorithm, jwk: Jwk, key: DecodingKey) -> Self {
        Self {
            id: Some(id.to_owned()),
            jwk,
            key,
            algorithm: Some(algorithm),
            valid: Validity::default(),
            key_set: None,
        }
    }
}

#[cfg(test)]
mod tests;

//! The route that an id carries: 16 sealed bytes that tell any router which worker holds the task.
//!
//! ```text
//! z1<key id>.<22 characters of base64url>.<native id>
//!
//! the 16 bytes, one block of AES-128, integers big-endian:
//!   cell u16 | slot u16 | incarnation u32 | kind and flags u8 | hour minted u24 | check u32
//! check = keyed hash of (agent, tenant, the 12 bytes before it), cut to 32 bits
//! ```
//!
//! # Invariants
//! - It is routing, not authorization: who guesses one (2^-32 a try) reaches a worker that still
//!   checks whose task it is.
//! - A token of another agent, another tenant or an unknown key, and any id that is not a token, all
//!   read the same: foreign.
//! - A kind or flag that this version does not know reads as foreign, so that later versions may add
//!   some without being misread.
//! - Secrets never leave by `Debug`, `Display` or an error.
//! - The layout is wire format and lives as long as ids do: changing it orphans every task that a
//!   client still asks for. Golden vectors in the tests hold it still.

use std::fmt;

use aes::{
    Aes128,
    cipher::{BlockCipherDecrypt, BlockCipherEncrypt, KeyInit},
};
use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use mesh_proto::mesh::{Cell, Incarnation, Slot, WorkerId};
use xxhash_rust::xxh3;

use crate::{
    fields::Fields,
    slots::{SECRET_BYTES, SlotSecret},
};

mod file;

pub use file::Error;

/// The most token keys at once: as many as key ids of one character.
pub const KEYS_MAX: usize = 64;

/// Format and version of the envelope; the key id follows.
const PREFIX: &str = "z1";
const BLOCK: usize = 16;
const SEALED: usize = 22;
const CHECKED: usize = 12;
/// Stands for the boot id of whoever tells none. No boot id of ours has a space in it.
const THIRD_PARTY: &str = "third party";

/// What a token says.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Route {
    /// The cell whose routers know the worker.
    pub cell: Cell,
    /// Where the id belongs once the worker is gone.
    pub slot: Slot,
    /// The life of the worker that minted the id; 0 when it told none.
    pub incarnation: Incarnation,
    /// Who put the token in front of the id.
    pub kind: Kind,
    /// When, in hours since 1970, kept to 24 bits (that is until the year 3883); 0 in envelopes.
    pub minted_hour: u32,
}

/// Who put a token in front of an id.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Kind {
    /// The worker itself: the whole text is the id that it knows.
    Native,
    /// A router, for an agent of somebody else: that agent knows only the native id behind the token.
    /// Its hour is 0 and its slot follows from the native id, so that one id has one spelling: clients
    /// compare ids as texts.
    Envelope,
    /// As [`Self::Envelope`], for a task of a conversation whose id the client made: that conversation's
    /// id carries no token, now or later.
    EnvelopeInContext,
}

impl Kind {
    /// Whether the agent knows only what stands behind the token.
    #[must_use]
    pub const fn is_envelope(self) -> bool {
        matches!(self, Self::Envelope | Self::EnvelopeInContext)
    }

    const fn code(self) -> u8 {
        match self {
            Self::Native => 1,
            Self::Envelope => 2,
            Self::EnvelopeInContext => 3,
        }
    }

    const fn from_code(code: u8) -> Option<Self> {
        match code {
            1 => Some(Self::Native),
            2 => Some(Self::Envelope),
            3 => Some(Self::EnvelopeInContext),
            _ => None,
        }
    }
}

/// An id whose token opened.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Opened<'a> {
    /// What the token says.
    pub route: Route,
    /// The id behind the token.
    pub native: &'a str,
}

/// The life of a worker, from its name and its boot id. Never 0, which means "told none".
///
/// It goes into tokens, and routers compare it: wire format.
#[must_use]
pub fn incarnation(worker: &WorkerId, boot: &str) -> Incarnation {
    let mut fields = Fields::new();
    fields.text(worker.as_str()).text(boot);
    Incarnation(high32(xxh3::xxh3_64(fields.bytes())).max(1))
}

/// The life by which the envelopes of a member that tells no boot id name it: it lives as long as the
/// member is listed, however often it restarts. Wire format, as [`incarnation`] is.
#[must_use]
pub fn third_party(worker: &WorkerId) -> Incarnation {
    incarnation(worker, THIRD_PARTY)
}

/// The secrets that the routers of a mesh share.
///
/// They come from a file that every router of a cell reads:
///
/// ```toml
/// # 32 hexadecimal digits each; `openssl rand -hex 16` makes one.
/// # Changing the slot secret moves every context: treat it as a migration.
/// slot_secret = "000102030405060708090a0b0c0d0e0f"
/// # Optional: the key that seals new ids. Without it the last one listed does. To rotate without a
/// # gap: add a key while `mint` names the old one, wait until every router has the file, move `mint`.
/// mint = "b"
///
/// # An old key opens ids as long as it is listed: keep it for the longest life of a task.
/// [[token]]
/// id = "a" # one of 0-9 A-Z a-z _ -
/// key = "101112131415161718191a1b1c1d1e1f"
///
/// [[token]]
/// id = "b"
/// key = "202122232425262728292a2b2c2d2e2f"
/// ```
#[derive(Clone)]
pub struct Keys {
    slots: SlotSecret,
    /// At most [`KEYS_MAX`]; never empty.
    tokens: Vec<TokenKey>,
    /// Which of them mints.
    newest: usize,
    origin: Origin,
}

#[derive(Clone, Copy, Eq, PartialEq)]
enum Origin {
    Development,
    File,
}

impl Keys {
    /// The keys that are printed in this source: for a loopback listener and nothing else.
    #[must_use]
    pub fn development() -> Self {
        Self {
            slots: slot_secret(b"daca development"),
            tokens: vec![TokenKey::new(b'0', b"for loopback use")],
            newest: 0,
            origin: Origin::Development,
        }
    }

    /// Reads a keys file.
    ///
    /// # Errors
    /// [`Error`], which says what is wrong and never quotes a secret.
    pub fn parse(text: &str) -> Result<Self, Error> {
        file::parse(text)
    }

    /// Whether these are the keys that everybody knows.
    #[must_use]
    pub fn is_development(&self) -> bool {
        self.origin == Origin::Development
    }

    /// The key of the slot hash.
    #[must_use]
    pub const fn slots(&self) -> &SlotSecret {
        &self.slots
    }

    /// Seals a route: the text to put before `.` and a native id.
    #[must_use]
    pub fn seal(&self, route: Route, agent: &str, tenant: Option<&str>) -> String {
        let key = &self.tokens[self.newest];
        let block = key.seal(route, agent, tenant);
        let mut text = String::with_capacity(PREFIX.len() + 2 + SEALED);
        text.push_str(PREFIX);
        text.push(char::from(key.id));
        text.push('.');
        BASE64_URL_SAFE_NO_PAD.encode_string(block, &mut text);
        text
    }

    /// The id and the secret of the key that encloses what [`crate::seal`] seals now.
    pub(crate) fn enclosing(&self) -> (u8, &[u8; 32]) {
        let key = &self.tokens[self.newest];
        (key.id, &key.enclosing)
    }

    /// The secret of the key by which a text of [`crate::seal`] was sealed.
    pub(crate) fn enclosing_by(&self, id: u8) -> Option<&[u8; 32]> {
        let key = self.tokens.iter().find(|key| key.id == id)?;
        Some(&key.enclosing)
    }

    /// Opens an id that carries a route of this agent and tenant. Any other id is `None`.
    #[must_use]
    pub fn open<'a>(&self, id: &'a str, agent: &str, tenant: Option<&str>) -> Option<Opened<'a>> {
        let (key_id, sealed) = id.strip_prefix(PREFIX)?.split_at_checked(1)?;
        let (sealed, native) = sealed.strip_prefix('.')?.split_at_checked(SEALED)?;
        let native = native.strip_prefix('.').filter(|id| !id.is_empty())?;
        let key = self
            .tokens
            .iter()
            .find(|key| key_id.as_bytes() == [key.id])?;
        let mut block = [0; BLOCK];
        // The decoder refuses set bits after the last byte: a route has one spelling.
        let length = BASE64_URL_SAFE_NO_PAD.decode_slice(sealed, &mut block);
        (length == Ok(BLOCK)).then_some(())?;
        let route = key.open(block, agent, tenant)?;
        Some(Opened { route, native })
    }
}

impl fmt::Debug for Keys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ids: String = self.tokens.iter().map(|key| char::from(key.id)).collect();
        f.debug_struct("Keys")
            .field("key_ids", &ids)
            .field("mints", &char::from(self.tokens[self.newest].id))
            .field("is_development", &self.is_development())
            .finish_non_exhaustive()
    }
}

/// One key that seals and opens.
#[derive(Clone)]
struct TokenKey {
    id: u8,
    cipher: Aes128,
    check: Box<[u8; SECRET_BYTES]>,
    enclosing: Box<[u8; 32]>,
}

impl TokenKey {
    fn new(id: u8, secret: &[u8; BLOCK]) -> Self {
        let own: [u8; BLOCK] = expand(secret, "route");
        Self {
            id,
            cipher: Aes128::new(&own.into()),
            check: Box::new(expand(secret, "check")),
            enclosing: Box::new(expand(secret, "enclosing")),
        }
    }

    fn seal(&self, route: Route, agent: &str, tenant: Option<&str>) -> [u8; BLOCK] {
        let mut block = [0; BLOCK];
        block[0..2].copy_from_slice(&route.cell.0.to_be_bytes());
        block[2..4].copy_from_slice(&route.slot.0.to_be_bytes());
        block[4..8].copy_from_slice(&route.incarnation.0.to_be_bytes());
        block[8] = route.kind.code();
        block[9..12].copy_from_slice(&route.minted_hour.to_be_bytes()[1..]);
        let check = self.check(&block[..CHECKED], agent, tenant);
        block[CHECKED..].copy_from_slice(&check.to_be_bytes());
        let mut sealed = block.into();
        self.cipher.encrypt_block(&mut sealed);
        sealed.into()
    }

    fn open(&self, sealed: [u8; BLOCK], agent: &str, tenant: Option<&str>) -> Option<Route> {
        let mut block = sealed.into();
        self.cipher.decrypt_block(&mut block);
        let block: [u8; BLOCK] = block.into();
        let [
            c0,
            c1,
            s0,
            s1,
            i0,
            i1,
            i2,
            i3,
            kind,
            h0,
            h1,
            h2,
            k0,
            k1,
            k2,
            k3,
        ] = block;
        let check = u32::from_be_bytes([k0, k1, k2, k3]);
        if check != self.check(&block[..CHECKED], agent, tenant) {
            return None;
        }
        Some(Route {
            cell: Cell(u16::from_be_bytes([c0, c1])),
            slot: Slot(u16::from_be_bytes([s0, s1])),
            incarnation: Incarnation(u32::from_be_bytes([i0, i1, i2, i3])),
            kind: Kind::from_code(kind)?,
            minted_hour: u32::from_be_bytes([0, h0, h1, h2]),
        })
    }

    fn check(&self, route: &[u8], agent: &str, tenant: Option<&str>) -> u32 {
        let mut fields = Fields::new();
        fields.text(agent).optional(tenant).fixed(route);
        let hash = xxh3::xxh3_64_with_secret(fields.bytes(), self.check.as_slice());
        high32(hash)
    }
}

fn slot_secret(secret: &[u8; BLOCK]) -> SlotSecret {
    SlotSecret::new(expand(secret, "slots"))
}

/// Makes other keys of a secret: AES in counter mode, with a label so that no two uses share a block.
fn expand<const N: usize>(secret: &[u8; BLOCK], label: &str) -> [u8; N] {
    let cipher = Aes128::new(&(*secret).into());
    let mut bytes = [0; N];
    for (room, counter) in bytes.chunks_exact_mut(BLOCK).zip(0_u8..) {
        let mut block = [0; BLOCK];
        block[..label.len()].copy_from_slice(label.as_bytes());
        block[BLOCK - 1] = counter;
        let mut block = block.into();
        cipher.encrypt_block(&mut block);
        room.copy_from_slice(&block);
    }
    bytes
}

fn high32(hash: u64) -> u32 {
    u32::try_from(hash >> 32).unwrap_or_default()
}

#[cfg(test)]
mod tests;

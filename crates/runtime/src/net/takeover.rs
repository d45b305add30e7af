//! Listening sockets that go from one process to the next, so that no connection is refused between.
//!
//! The process that serves [offers](Offer) its sockets at a path. The next one, started with the same
//! path, [claims](Heritage) them, gets ready, begins to accept, and says so; then the first one drains.
//! In between both hold the same sockets, and the kernel's queue of new connections is one and the same.
//!
//! On the wire, over a Unix socket: the giver writes [`MAGIC`], the length (4 bytes, big-endian) of a list
//! of lines `ROLE ADDRESS`, and the list; then one byte for each line, with its socket beside it. When the
//! taker serves it answers [`READY`], and the giver [`GOING`].
//!
//! # Invariants
//! - Sockets are given to a process of the same user, and taken from one: the file has mode 0600, and
//!   both sides ask the kernel who the other is.
//! - Until the taker has said that it serves, the giver serves as if nobody had come: a taker that dies
//!   takes nothing with it.
//! - A file that nobody listens at is replaced. What is no socket is never touched.
//! - The list is at most [`LIST`] bytes long; who is slower than [`PATIENCE`] to send it is given up.

use std::{
    fs, io,
    io::{IoSlice, IoSliceMut},
    mem::MaybeUninit,
    os::{
        fd::{AsFd as _, OwnedFd},
        unix::fs::{FileTypeExt as _, MetadataExt as _, PermissionsExt as _},
    },
    path::{Path, PathBuf},
    time::Duration,
};

use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, recvmsg, sendmsg,
};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _, Interest},
    net::{UnixListener, UnixStream},
};
use tracing::{info, warn};

use super::Listener;

/// What the giver says first, with the version of what follows.
const MAGIC: [u8; 16] = *b"daca-takeover 1\n";
/// What the taker says when it serves.
const READY: u8 = b'R';
/// What the giver says when it has read that.
const GOING: u8 = b'G';
/// The longest list of sockets, in bytes.
const LIST: usize = 64 << 10;
/// How long one side waits for the other to say what it has to say anyway.
const PATIENCE: Duration = Duration::from_secs(5);

/// One process in the line of those that pass the same sockets on; of a line of its own, where it is
/// given no path.
#[derive(Debug)]
pub struct Generation {
    heritage: Option<Heritage>,
    offer: Option<Offer>,
}

impl Generation {
    /// Takes what the process before this one has to leave, and prepares to leave it in turn.
    ///
    /// # Errors
    /// Those of [`Heritage::claim`] and [`Offer::draft`].
    pub async fn begin(path: Option<&Path>) -> io::Result<Self> {
        let Some(path) = path else {
            return Ok(Self {
                heritage: None,
                offer: None,
            });
        };
        Ok(Self {
            heritage: Heritage::claim(path).await?,
            offer: Some(Offer::draft(path)?),
        })
    }

    /// A listener at an address: one that was left, else a new one. The next process finds it by its
    /// role and address.
    ///
    /// # Errors
    /// As [`Listener::bind`]; or what was left can't be used, or not be passed on.
    pub async fn bind(&mut self, role: &str, address: &str) -> io::Result<Listener> {
        let left = match &mut self.heritage {
            Some(heritage) => heritage.take(role, address)?,
            None => None,
        };
        let listener = match left {
            Some(listener) => listener,
            None => Listener::bind(address).await?,
        };
        if let Some(offer) = &mut self.offer {
            offer.add(role, address, &listener)?;
        }
        Ok(listener)
    }

    /// Whether there is a process before it, which serves until [`Self::serves`].
    #[must_use]
    pub const fn is_next(&self) -> bool {
        self.heritage.is_some()
    }

    /// Says that this process serves: the one before it may go, and the one after it may come.
    ///
    /// # Errors
    /// When the next one can't be offered anything.
    pub async fn serves(&mut self) -> io::Result<()> {
        if let Some(heritage) = self.heritage.take()
            && let Err(error) = heritage.serves().await
        {
            warn!(%error, "the process before this one did not say that it goes");
        }
        self.offer.as_mut().map_or(Ok(()), Offer::publish)
    }

    /// Waits until a next process has taken over; for ever, where nothing is offered.
    ///
    /// # Cancel safety
    /// As [`Offer::taken`].
    pub async fn ends(&mut self) {
        match &mut self.offer {
            Some(offer) => offer.taken().await,
            None => std::future::pending().await,
        }
    }

    /// Whether a next process has taken over.
    #[must_use]
    pub fn has_ended(&self) -> bool {
        self.offer.as_ref().is_some_and(Offer::is_taken)
    }
}

/// A listening socket with what the next process finds it by.
#[derive(Debug)]
struct Shared {
    /// What it is for. No space in it.
    role: String,
    /// The address as its process was told it, with port 0 where it was.
    address: String,
    socket: OwnedFd,
}

/// What the process before this one has left to it.
#[derive(Debug)]
pub struct Heritage {
    sockets: Vec<Shared>,
    giver: UnixStream,
}

impl Heritage {
    /// Asks the process that offers its sockets at `path`; `None` when there is none.
    ///
    /// # Errors
    /// When there is one and it is another user's, or does not give them; or the path is no socket.
    pub async fn claim(path: &Path) -> io::Result<Option<Self>> {
        let mut giver = match UnixStream::connect(path).await {
            Ok(giver) => giver,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {
                // A file whose process has ended; or something else, which is not ours to replace.
                is_socket(path)?;
                return Ok(None);
            }
            Err(error) => return Err(error),
        };
        same_user(&giver)?;
        let receiving = tokio::time::timeout(PATIENCE, receive(&mut giver));
        let Ok(sockets) = receiving.await else {
            let why = "it does not answer; is another process about to take over?";
            return Err(io::Error::new(io::ErrorKind::TimedOut, why));
        };
        let sockets = sockets?;
        Ok(Some(Self { sockets, giver }))
    }

    /// The socket of a role and an address, if it was left. Where the address names a port, the role
    /// does not matter.
    ///
    /// # Errors
    /// When what was left is no listening socket.
    pub fn take(&mut self, role: &str, address: &str) -> io::Result<Option<Listener>> {
        let any_port = address.ends_with(":0");
        let found = self
            .sockets
            .iter()
            .position(|each| each.address == address && (each.role == role || !any_port));
        found
            .map(|place| Listener::inherited(self.sockets.swap_remove(place).socket))
            .transpose()
    }

    /// Tells the other process that this one serves, and waits for its word that it has heard it.
    /// What was not taken is closed.
    ///
    /// # Errors
    /// When the other process has gone meanwhile.
    pub async fn serves(self) -> io::Result<()> {
        let Self { mut giver, sockets } = self;
        drop(sockets);
        let told = async {
            giver.write_all(&[READY]).await?;
            giver.read_u8().await
        };
        let answer = tokio::time::timeout(PATIENCE, told).await??;
        (answer == GOING).then_some(()).ok_or_else(unknown)
    }
}

/// The sockets of this process, for the next one.
#[derive(Debug)]
pub struct Offer {
    at: UnixListener,
    path: PathBuf,
    /// Where the file is until it is published.
    draft: Option<PathBuf>,
    /// Which file it is, as another process may put its own in its place.
    file: (u64, u64),
    sockets: Vec<Shared>,
    taken: bool,
}

impl Offer {
    /// An offer of nothing yet, that nobody sees yet.
    ///
    /// # Errors
    /// When there can be no socket beside `path`, or there is something else at `path`.
    pub fn draft(path: &Path) -> io::Result<Self> {
        match is_socket(path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            Ok(()) | Err(_) => {}
        }
        let mut draft = path.as_os_str().to_owned();
        draft.push(format!(".{}", std::process::id()));
        let draft = PathBuf::from(draft);
        // The rest of a process that died while it started, and had the same number.
        if is_socket(&draft).is_ok() {
            fs::remove_file(&draft)?;
        }
        let offer = Self {
            at: UnixListener::bind(&draft)?,
            path: path.to_owned(),
            file: identity(&draft)?,
            draft: Some(draft.clone()),
            sockets: Vec::new(),
            taken: false,
        };
        fs::set_permissions(&draft, fs::Permissions::from_mode(0o600))?;
        Ok(offer)
    }

    /// Adds a listener, as it was asked for.
    ///
    /// # Errors
    /// When the process is out of descriptors.
    pub fn add(&mut self, role: &str, address: &str, listener: &Listener) -> io::Result<()> {
        self.sockets.push(Shared {
            role: role.to_owned(),
            address: address.to_owned(),
            socket: listener.share()?,
        });
        Ok(())
    }

    /// Puts the offer where the next process looks for it, in place of an older one.
    ///
    /// # Errors
    /// When the file can't be renamed.
    pub fn publish(&mut self) -> io::Result<()> {
        if let Some(draft) = self.draft.take() {
            fs::rename(draft, &self.path)?;
        }
        Ok(())
    }

    /// Waits until a next process has taken the sockets over and serves.
    ///
    /// # Cancel safety
    /// A process that is just taking over is left alone: it finds this one gone.
    pub async fn taken(&mut self) {
        while !self.taken {
            match self.at.accept().await {
                Ok((taker, _)) => match self.give(taker).await {
                    Ok(()) => self.taken = true,
                    Err(error) => warn!(%error, "a process came to take over, and did not"),
                },
                Err(error) => {
                    warn!(%error, "accept failed");
                    tokio::time::sleep(super::ACCEPT_PAUSE).await;
                }
            }
        }
    }

    /// Whether [`Self::taken`] has seen that.
    #[must_use]
    pub const fn is_taken(&self) -> bool {
        self.taken
    }

    async fn give(&self, mut taker: UnixStream) -> io::Result<()> {
        same_user(&taker)?;
        tokio::time::timeout(PATIENCE, send(&mut taker, &self.sockets)).await??;
        // How long it takes to get ready is its own affair; its end is seen here, too.
        if taker.read_u8().await? != READY {
            return Err(unknown());
        }
        info!(pid = taker.peer_cred()?.pid(), "the next process serves");
        // It serves whether or not it hears this.
        taker.write_all(&[GOING]).await.or(Ok(()))
    }
}

impl Drop for Offer {
    fn drop(&mut self) {
        let file = self.draft.as_ref().unwrap_or(&self.path);
        // Once taken, there is the next process's.
        let is_ours = identity(file).is_ok_and(|there| there == self.file);
        if is_ours
            && !self.taken
            && let Err(error) = fs::remove_file(file)
        {
            warn!(%error, file = %file.display(), "can't remove the file of the offer");
        }
    }
}

async fn send(taker: &mut UnixStream, sockets: &[Shared]) -> io::Result<()> {
    let lines = sockets
        .iter()
        .map(|each| format!("{} {}\n", each.role, each.address));
    let list: String = lines.collect();
    let length = u32::try_from(list.len()).map_err(io::Error::other)?;
    taker.write_all(&MAGIC).await?;
    taker.write_u32(length).await?;
    taker.write_all(list.as_bytes()).await?;
    for each in sockets {
        let sending = || {
            let mut room = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
            let mut beside = SendAncillaryBuffer::new(&mut room);
            let rights = [each.socket.as_fd()];
            if !beside.push(SendAncillaryMessage::ScmRights(&rights)) {
                return Err(io::Error::other("no room for a socket"));
            }
            let flags = SendFlags::empty();
            Ok(sendmsg(&*taker, &[IoSlice::new(b"S")], &mut beside, flags)?)
        };
        taker.async_io(Interest::WRITABLE, sending).await?;
    }
    Ok(())
}

/// Reads no byte too many: a socket comes beside its own byte only.
async fn receive(giver: &mut UnixStream) -> io::Result<Vec<Shared>> {
    let mut magic = [0; MAGIC.len()];
    giver.read_exact(&mut magic).await?;
    let length = giver.read_u32().await?;
    let length = usize::try_from(length).map_err(io::Error::other)?;
    if magic != MAGIC || length > LIST {
        return Err(unknown());
    }
    let mut list = vec![0; length];
    giver.read_exact(&mut list).await?;
    let list = String::from_utf8(list).map_err(io::Error::other)?;
    let mut sockets = Vec::new();
    for line in list.lines() {
        let (role, address) = line.split_once(' ').ok_or_else(unknown)?;
        sockets.push(Shared {
            role: role.to_owned(),
            address: address.to_owned(),
            socket: socket(giver).await?,
        });
    }
    Ok(sockets)
}

async fn socket(giver: &UnixStream) -> io::Result<OwnedFd> {
    let receiving = || {
        let mut byte = [0];
        let mut room = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
        let mut beside = RecvAncillaryBuffer::new(&mut room);
        let mut bytes = [IoSliceMut::new(&mut byte)];
        recvmsg(giver, &mut bytes, &mut beside, RecvFlags::empty())?;
        let mut found = None;
        for message in beside.drain() {
            if let RecvAncillaryMessage::ScmRights(mut sockets) = message {
                found = sockets.next();
            }
        }
        found.ok_or_else(unknown)
    };
    let socket = giver.async_io(Interest::READABLE, receiving).await?;
    // The children of this process are not to have it.
    rustix::io::fcntl_setfd(&socket, rustix::io::FdFlags::CLOEXEC)?;
    Ok(socket)
}

fn same_user(other: &UnixStream) -> io::Result<()> {
    let theirs = other.peer_cred()?.uid();
    let ours = rustix::process::geteuid().as_raw();
    if theirs == ours {
        return Ok(());
    }
    let why = format!("the process at the other end is of user {theirs}, not {ours}");
    Err(io::Error::new(io::ErrorKind::PermissionDenied, why))
}

fn identity(file: &Path) -> io::Result<(u64, u64)> {
    let metadata = fs::symlink_metadata(file)?;
    Ok((metadata.dev(), metadata.ino()))
}

fn is_socket(path: &Path) -> io::Result<()> {
    if fs::symlink_metadata(path)?.file_type().is_socket() {
        return Ok(());
    }
    let why = format!("{} is there and is no socket", path.display());
    Err(io::Error::new(io::ErrorKind::AlreadyExists, why))
}

fn unknown() -> io::Error {
    let why = "the process at the other end speaks another language";
    io::Error::new(io::ErrorKind::InvalidData, why)
}

#[cfg(test)]
mod tests;

//! The thread by which a process lives on the bus: it says so, hears bells, gives back what was not done,
//! and releases what others held that are no more.
//!
//! Death is found by a lock on a file, which the operating system gives up with the process: within a
//! beat. A process that is frozen keeps its lock; what it holds is released when it has said nothing for
//! [`LEASE`].
//!
//! # Invariants
//! - One thread for each handle, which ends with it. It is no task of the runtime: it must beat while
//!   that is busy.
//! - A bell is a datagram of one byte to a socket in the bus's directory, sent without waiting. Where
//!   such a socket can't be (a path that is too long), bells are rung by the beat alone.

use std::{
    fs::{File, TryLockError},
    os::unix::net::UnixDatagram,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::Thread,
    time::Duration,
};

use parking_lot::Mutex;
use rusqlite::{Connection, TransactionBehavior};
use tokio::sync::Notify;
use tracing::{debug, warn};

use super::{super::Error, rows};
use crate::sqlite::Failed;

/// How often a process says that it lives, and looks whether the others do.
pub(super) const BEAT: Duration = Duration::from_secs(1);

/// How long it may say nothing before others take over what it holds.
const LEASE: Duration = Duration::from_secs(15);

/// See the module.
#[derive(Debug)]
pub(super) struct Pulse {
    shared: Arc<Shared>,
    thread: Thread,
}

#[derive(Debug)]
struct Shared {
    dir: PathBuf,
    holder: i64,
    socket: Option<UnixDatagram>,
    others: Mutex<Vec<PathBuf>>,
    returns: Mutex<Returns>,
    is_over: AtomicBool,
    bell: Arc<Notify>,
}

#[derive(Debug, Default)]
struct Returns {
    rows: Vec<(i64, i64)>,
    queues: Vec<i64>,
}

impl Pulse {
    pub(super) fn start(
        dir: &Path,
        mut connection: Connection,
        bell: Arc<Notify>,
    ) -> Result<Self, Failed> {
        let change = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        let holder = rows::enlist(&change)?;
        // Locked before anybody can see the name.
        let life = File::create(life(dir, holder))?;
        life.lock()?;
        change.commit()?;
        let path = door(dir, holder);
        let socket = match UnixDatagram::bind(&path) {
            Ok(socket) => Some(socket),
            Err(error) => {
                warn!(path = %path.display(), %error, "no socket for the bus; messages of other processes are found once a second");
                None
            }
        };
        if let Some(socket) = &socket {
            socket.set_read_timeout(Some(BEAT))?;
        }
        let shared = Arc::new(Shared {
            dir: dir.to_owned(),
            holder,
            socket,
            others: Mutex::default(),
            returns: Mutex::default(),
            is_over: AtomicBool::new(false),
            bell,
        });
        shared.beat(&mut connection)?;
        shared.ring_others();
        let beating = Arc::clone(&shared);
        let thread = std::thread::Builder::new().name("bus-pulse".to_owned());
        let thread = thread.spawn(move || beating.live(connection, life))?;
        Ok(Self {
            shared,
            thread: thread.thread().clone(),
        })
    }

    /// The process's name on the bus.
    pub(super) fn holder(&self) -> i64 {
        self.shared.holder
    }

    pub(super) fn ring_others(&self) {
        self.shared.ring_others();
    }

    /// A row that was taken and is not done.
    pub(super) fn give_back(&self, queue: i64, number: i64) {
        self.shared.returns.lock().rows.push((queue, number));
        self.wake();
    }

    /// A listener that listens no more.
    pub(super) fn give_up(&self, queue: i64) {
        self.shared.returns.lock().queues.push(queue);
        self.wake();
    }

    fn wake(&self) {
        match &self.shared.socket {
            Some(socket) => {
                let own = door(&self.shared.dir, self.shared.holder);
                // A full one is about to be read.
                drop(socket.send_to(&[0], own));
            }
            None => self.thread.unpark(),
        }
    }
}

impl Drop for Pulse {
    fn drop(&mut self) {
        self.shared.is_over.store(true, Ordering::Release);
        self.wake();
    }
}

impl Shared {
    fn live(&self, mut connection: Connection, life: File) {
        let mut beaten = rows::now();
        loop {
            self.wait();
            if self.is_over.load(Ordering::Acquire) {
                break;
            }
            if let Err(error) = self.take_returns(&mut connection) {
                warn!(%error, "what was not done could not be given back to the bus yet");
            }
            let since = rows::now().saturating_sub(beaten);
            // A clock that was set back must not stop it.
            if !(0..BEAT_MILLIS).contains(&since) {
                beaten = rows::now();
                if let Err(error) = self.beat(&mut connection) {
                    warn!(%error, "the bus did not take a sign of life");
                }
            }
            self.bell.notify_waiters();
        }
        if let Err(error) = self.leave(&mut connection) {
            debug!(%error, "left the bus without a word");
        }
        drop(life);
        self.ring_others();
    }

    fn wait(&self) {
        match &self.socket {
            // A bell, or the time of a beat.
            Some(socket) => drop(socket.recv(&mut [0; 8])),
            None => std::thread::park_timeout(BEAT),
        }
    }

    fn take_returns(&self, connection: &mut Connection) -> Result<(), Error> {
        let returns = std::mem::take(&mut *self.returns.lock());
        if returns.rows.is_empty() && returns.queues.is_empty() {
            return Ok(());
        }
        let given = self.give(connection, &returns);
        if given.is_err() {
            let mut again = self.returns.lock();
            again.rows.extend(returns.rows);
            again.queues.extend(returns.queues);
        } else {
            self.ring_others();
        }
        given
    }

    fn give(&self, connection: &mut Connection, returns: &Returns) -> Result<(), Error> {
        let change = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        for (queue, number) in &returns.rows {
            rows::give_back(&change, *queue, *number, self.holder)?;
        }
        for queue in &returns.queues {
            rows::give_up(&change, *queue)?;
        }
        change.commit()?;
        Ok(())
    }

    /// Says that this process lives, and releases what those held that do not.
    fn beat(&self, connection: &mut Connection) -> Result<(), Error> {
        let change = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        rows::beat(&change, self.holder)?;
        let mut others = Vec::new();
        let mut released = false;
        for (holder, seen) in rows::holders(&change)? {
            if holder == self.holder {
                continue;
            }
            if self.is_dead(holder) {
                rows::release(&change, holder)?;
                rows::strike(&change, holder)?;
                released = true;
                self.sweep_up(holder);
                continue;
            }
            let silent = rows::now().saturating_sub(seen);
            if silent > LEASE_MILLIS && rows::release(&change, holder)? {
                warn!(
                    holder,
                    silent, "a process on the bus says nothing; what it held goes to others"
                );
                released = true;
            }
            others.push(door(&self.dir, holder));
        }
        change.commit()?;
        *self.others.lock() = others;
        if released {
            self.ring_others();
        }
        Ok(())
    }

    fn is_dead(&self, holder: i64) -> bool {
        let life = match File::open(life(&self.dir, holder)) {
            Ok(life) => life,
            // A process that has no file left to open must take nobody else for dead.
            Err(error) => return error.kind() == std::io::ErrorKind::NotFound,
        };
        match life.try_lock() {
            Ok(()) => true,
            Err(TryLockError::WouldBlock | TryLockError::Error(_)) => false,
        }
    }

    fn leave(&self, connection: &mut Connection) -> Result<(), Error> {
        let change = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        rows::release(&change, self.holder)?;
        rows::strike(&change, self.holder)?;
        change.commit()?;
        self.sweep_up(self.holder);
        Ok(())
    }

    /// Removes the files of a process that is no more.
    fn sweep_up(&self, holder: i64) {
        for path in [life(&self.dir, holder), door(&self.dir, holder)] {
            if let Err(error) = std::fs::remove_file(&path) {
                debug!(path = %path.display(), %error, "a file of the bus is gone already");
            }
        }
    }

    fn ring_others(&self) {
        let Some(socket) = &self.socket else { return };
        for other in &*self.others.lock() {
            // Whoever does not hear it looks within a beat.
            drop(send(socket, other));
        }
    }
}

fn send(socket: &UnixDatagram, to: &Path) -> std::io::Result<usize> {
    use rustix::net::{SendFlags, SocketAddrUnix, sendto};
    let to = SocketAddrUnix::new(to)?;
    Ok(sendto(socket, &[1], SendFlags::DONTWAIT, &to)?)
}

const BEAT_MILLIS: i64 = 1000;
const LEASE_MILLIS: i64 = 1000 * LEASE.as_secs().cast_signed();

/// The file that is locked while a process lives.
fn life(dir: &Path, holder: i64) -> PathBuf {
    dir.join(format!("bus.{holder}.life"))
}

/// The socket at which a process hears bells.
fn door(dir: &Path, holder: i64) -> PathBuf {
    dir.join(format!("bus.{holder}.bell"))
}

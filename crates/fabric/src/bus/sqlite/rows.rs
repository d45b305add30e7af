//! What the bus writes and reads. Each function is a part of a transaction.

use std::time::Duration;

use bytes::Bytes;
use mesh_runtime::clock;
use rusqlite::{Connection, OptionalExtension as _, Row, params};
use tracing::warn;

use super::super::{Depth, Error, Message, Reach, Topic};

/// How large the file may grow.
pub(super) const FILE_BYTES: i64 = 1 << 30;

/// How many unclaimed messages go at a time, and at most for one batch, where the file is nearly full.
const EVICTED: (i64, u64) = (128, 1024);

/// How many messages of a topic are kept for its first group.
const UNCLAIMED: i64 = 10_000;

pub(super) const SCHEMA: &str = "
    CREATE TABLE IF NOT EXISTS holder (
        id   INTEGER PRIMARY KEY AUTOINCREMENT,
        seen INTEGER NOT NULL
    );
    CREATE TABLE IF NOT EXISTS queue (
        id     INTEGER PRIMARY KEY AUTOINCREMENT,
        topic  TEXT NOT NULL,
        name   TEXT NOT NULL,
        holder INTEGER,
        UNIQUE (topic, name)
    );
    CREATE TABLE IF NOT EXISTS message (
        number     INTEGER PRIMARY KEY AUTOINCREMENT,
        topic      TEXT NOT NULL,
        id         TEXT NOT NULL,
        key        TEXT NOT NULL,
        attributes TEXT NOT NULL,
        body       BLOB NOT NULL,
        since      INTEGER NOT NULL,
        expires    INTEGER
    );
    CREATE TABLE IF NOT EXISTS due (
        queue   INTEGER NOT NULL,
        number  INTEGER NOT NULL,
        key     TEXT NOT NULL,
        attempt INTEGER NOT NULL DEFAULT 1,
        holder  INTEGER,
        PRIMARY KEY (queue, number)
    ) WITHOUT ROWID;
    CREATE INDEX IF NOT EXISTS due_keys ON due (queue, key, number);
    CREATE INDEX IF NOT EXISTS due_numbers ON due (number);
    CREATE INDEX IF NOT EXISTS due_held ON due (holder) WHERE holder IS NOT NULL;
";

/// The queue that waits for a topic's first group.
const NOBODYS: &str = "nobody";

/// A group's or a listener's.
#[derive(Clone, Debug)]
pub(super) struct Queue {
    pub(super) id: i64,
    pub(super) is_listener: bool,
}

/// Whether to look again.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Taken {
    /// Something was taken, or something that had expired went, and what was behind it may be taken.
    Some,
    None,
    /// The queue is no more: its listener was taken for dead.
    Gone,
}

/// A row that was taken.
pub(super) struct TakenRow {
    pub(super) number: i64,
    pub(super) attempt: u32,
    pub(super) message: Message,
}

pub(super) fn now() -> i64 {
    i64::try_from(clock::unix_millis()).unwrap_or(i64::MAX)
}

/// Puts messages where they are due, and says how many that nobody had claimed had to go for them: from
/// three quarters of `most` bytes on, those of dead letters first, and the oldest of them.
pub(super) fn put(change: &Connection, batch: &[Message], most: i64) -> Result<u64, Error> {
    let mut evicted = 0;
    while evicted < EVICTED.1 && used(change)? > most / 4 * 3 {
        match evict(change)? {
            0 => break,
            gone => evicted += gone,
        }
    }
    if used(change)? > most {
        return Err(Error::Full);
    }
    for message in batch {
        put_one(change, message)?;
    }
    Ok(evicted)
}

/// How many bytes of the file are in use.
fn used(change: &Connection) -> Result<i64, Error> {
    let used = change
        .prepare_cached(
            "SELECT (page_count - freelist_count) * page_size
             FROM pragma_page_count(), pragma_freelist_count(), pragma_page_size()",
        )?
        .query_row([], |row| row.get(0))?;
    Ok(used)
}

/// Removes some of what no group has claimed; how many.
fn evict(change: &Connection) -> Result<u64, Error> {
    let mut oldest = change.prepare_cached(
        "SELECT due.queue, due.number FROM queue JOIN due ON due.queue = queue.id
         WHERE queue.name = ?1
         ORDER BY queue.topic LIKE 'a2a.dlq.%' OR queue.topic LIKE 'dlq.%' DESC, due.number
         LIMIT ?2",
    )?;
    let rows = oldest.query_map(params![NOBODYS, EVICTED.0], |row| {
        Ok((row.get(0)?, row.get(1)?))
    })?;
    let rows: Vec<(i64, i64)> = rows.collect::<Result<_, _>>()?;
    for (queue, number) in &rows {
        remove(change, *queue, *number)?;
    }
    Ok(rows.len() as u64)
}

fn put_one(change: &Connection, message: &Message) -> Result<(), Error> {
    let (since, topic) = (now(), message.topic.as_str());
    let ttl = message
        .ttl
        .map(|ttl| i64::try_from(ttl.as_millis()).unwrap_or(i64::MAX));
    let attributes = serde_json::to_string(&message.attributes).map_err(Error::unavailable)?;
    change
        .prepare_cached(
            "INSERT INTO message (topic, id, key, attributes, body, since, expires)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
        )?
        .execute(params![
            topic,
            message.id,
            message.key,
            attributes,
            &message.body[..],
            since,
            ttl.map(|ttl| since.saturating_add(ttl)),
        ])?;
    let number = change.last_insert_rowid();
    let due = change
        .prepare_cached(
            "INSERT INTO due (queue, number, key)
             SELECT id, ?2, ?3 FROM queue WHERE topic = ?1 AND name != ?4",
        )?
        .execute(params![topic, number, message.key, NOBODYS])?;
    if due == 0 {
        keep(change, topic, number, &message.key)?;
    }
    Ok(())
}

/// Keeps a message for the first group of its topic.
fn keep(change: &Connection, topic: &str, number: i64, key: &str) -> Result<(), Error> {
    change
        .prepare_cached("INSERT OR IGNORE INTO queue (topic, name) VALUES (?1, ?2)")?
        .execute(params![topic, NOBODYS])?;
    let queue: i64 = change
        .prepare_cached("SELECT id FROM queue WHERE topic = ?1 AND name = ?2")?
        .query_row(params![topic, NOBODYS], |row| row.get(0))?;
    change
        .prepare_cached("INSERT INTO due (queue, number, key) VALUES (?1, ?2, ?3)")?
        .execute(params![queue, number, key])?;
    let oldest: Option<i64> = change
        .prepare_cached("SELECT min(number) FROM due WHERE queue = ?1 HAVING count(*) > ?2")?
        .query_row(params![queue, UNCLAIMED], |row| row.get(0))
        .optional()?;
    if let Some(oldest) = oldest {
        remove(change, queue, oldest)?;
    }
    Ok(())
}

/// The queue of a group, made where there is none, or a new one for a listener.
pub(super) fn sit(
    change: &Connection,
    topic: &Topic,
    reach: &Reach,
    holder: i64,
) -> Result<Queue, Error> {
    let topic = topic.as_str();
    let Reach::Group(group) = reach else {
        change
            .prepare_cached("INSERT INTO queue (topic, name, holder) VALUES (?1, ?2, ?3)")?
            .execute(params![
                topic,
                format!("listener {}", mesh_runtime::dice::uuid()),
                holder
            ])?;
        return Ok(Queue {
            id: change.last_insert_rowid(),
            is_listener: true,
        });
    };
    let name = name(group);
    change
        .prepare_cached(
            "UPDATE OR IGNORE queue SET name = ?2 WHERE topic = ?1 AND name = ?3
             AND NOT EXISTS (SELECT 1 FROM queue WHERE topic = ?1 AND name = ?2)",
        )?
        .execute(params![topic, name, NOBODYS])?;
    change
        .prepare_cached("INSERT OR IGNORE INTO queue (topic, name) VALUES (?1, ?2)")?
        .execute(params![topic, name])?;
    let id = change
        .prepare_cached("SELECT id FROM queue WHERE topic = ?1 AND name = ?2")?
        .query_row(params![topic, name], |row| row.get(0))?;
    Ok(Queue {
        id,
        is_listener: false,
    })
}

fn name(group: &str) -> String {
    format!("group {group}")
}

pub(super) fn is_there(change: &Connection, queue: &Queue) -> Result<bool, Error> {
    if !queue.is_listener {
        return Ok(true);
    }
    let found = change
        .prepare_cached("SELECT 1 FROM queue WHERE id = ?1")?
        .exists([queue.id])?;
    Ok(found)
}

/// What of a queue may be taken: of each key the oldest, unless somebody holds it.
const FREE: &str = "
    FROM due WHERE due.queue = ?1 AND due.holder IS NULL AND NOT EXISTS (
        SELECT 1 FROM due AS older
        WHERE older.queue = ?1 AND older.key = due.key AND older.number < due.number)";

/// Whether something may be taken; read without keeping anybody from writing.
pub(super) fn is_any_free(connection: &Connection, queue: &Queue) -> Result<bool, Error> {
    let free = connection
        .prepare_cached(&format!("SELECT 1 {FREE} LIMIT 1"))?
        .exists([queue.id])?;
    Ok(free)
}

/// Takes at most so many rows, each the oldest of its key. What has expired goes meanwhile, and what can't
/// be read lies among the dead letters: how many of these is said beside.
pub(super) fn take(
    change: &Connection,
    queue: &Queue,
    holder: i64,
    most: usize,
) -> Result<(Vec<TakenRow>, Taken, u64), Error> {
    let most = i64::try_from(most).unwrap_or(i64::MAX);
    let mut oldest = change.prepare_cached(&format!(
        "SELECT due.number, due.attempt {FREE} ORDER BY due.number LIMIT ?2"
    ))?;
    let rows = oldest.query_map(params![queue.id, most], |row| {
        Ok((row.get(0)?, row.get(1)?))
    })?;
    let rows: Vec<(i64, u32)> = rows.collect::<Result<_, _>>()?;
    let result = if rows.is_empty() {
        Taken::None
    } else {
        Taken::Some
    };
    let mut unreadable = 0;
    let mut taken = Vec::with_capacity(rows.len());
    for (number, attempt) in rows {
        let read = change
            .prepare_cached(
                "SELECT topic, id, key, attributes, body, expires FROM message WHERE number = ?1",
            )?
            .query_row([number], |row| Ok(message(row)))
            .optional()?;
        let message = match read {
            Some(Ok(Some(message))) => message,
            Some(Ok(None)) => {
                remove(change, queue.id, number)?;
                continue;
            }
            Some(Err(error)) => {
                set_aside(change, queue, number, &error)?;
                unreadable += 1;
                continue;
            }
            None => {
                remove(change, queue.id, number)?;
                unreadable += 1;
                continue;
            }
        };
        change
            .prepare_cached("UPDATE due SET holder = ?3 WHERE queue = ?1 AND number = ?2")?
            .execute(params![queue.id, number, holder])?;
        taken.push(TakenRow {
            number,
            attempt,
            message,
        });
    }
    Ok((taken, result, unreadable))
}

/// A message as it is kept; none where its time is over.
fn message(row: &Row<'_>) -> Result<Option<Message>, Error> {
    let expires: Option<i64> = row.get(5)?;
    let left = expires.map(|at| at.saturating_sub(now()));
    if left.is_some_and(|left| left <= 0) {
        return Ok(None);
    }
    let (topic, attributes): (String, String) = (row.get(0)?, row.get(3)?);
    Ok(Some(Message {
        topic: topic.parse().map_err(Error::unavailable)?,
        id: row.get(1)?,
        key: row.get(2)?,
        attributes: serde_json::from_str(&attributes).map_err(Error::unavailable)?,
        body: Bytes::from(row.get::<_, Vec<u8>>(4)?),
        ttl: left.map(|left| Duration::from_millis(left.unsigned_abs())),
    }))
}

/// Lays what can't be read among the dead letters of its queue's topic, so that what is behind it goes on.
/// Its body goes with it, where it is one.
fn set_aside(change: &Connection, queue: &Queue, number: i64, why: &Error) -> Result<(), Error> {
    warn!(number, error = ?why, "a message on the bus can't be read; it is a dead letter now");
    let topic: String = change
        .prepare_cached("SELECT topic FROM queue WHERE id = ?1")?
        .query_row([queue.id], |row| row.get(0))?;
    let body = change
        .prepare_cached("SELECT CAST(body AS BLOB) FROM message WHERE number = ?1")?
        .query_row([number], |row| row.get::<_, Vec<u8>>(0))?;
    remove(change, queue.id, number)?;
    let Ok(origin) = topic.parse::<Topic>() else {
        return Ok(());
    };
    let dead = origin.dead();
    if dead == origin {
        return Ok(());
    }
    let id = format!("unreadable-{number}@{dead}");
    let mut letter = Message::new(dead, id.clone(), id, Bytes::from(body));
    let attributes = &mut letter.attributes;
    attributes.insert("origin".to_owned(), topic);
    attributes.insert("reason".to_owned(), "it could not be read".to_owned());
    put_one(change, &letter)
}

/// Removes what is done; whether another of its key waits now.
pub(super) fn done(
    change: &Connection,
    queue: i64,
    number: i64,
    holder: i64,
) -> Result<bool, Error> {
    let is_mine = change
        .prepare_cached("SELECT 1 FROM due WHERE queue = ?1 AND number = ?2 AND holder = ?3")?
        .exists(params![queue, number, holder])?;
    if !is_mine {
        return Ok(false);
    }
    let frees_another = change
        .prepare_cached(
            "SELECT 1 FROM due AS next, due AS this
             WHERE this.queue = ?1 AND this.number = ?2
               AND next.queue = ?1 AND next.key = this.key AND next.number > ?2 LIMIT 1",
        )?
        .exists(params![queue, number])?;
    remove(change, queue, number)?;
    Ok(frees_another)
}

fn remove(change: &Connection, queue: i64, number: i64) -> Result<(), Error> {
    change
        .prepare_cached("DELETE FROM due WHERE queue = ?1 AND number = ?2")?
        .execute(params![queue, number])?;
    change
        .prepare_cached(
            "DELETE FROM message WHERE number = ?1
             AND NOT EXISTS (SELECT 1 FROM due WHERE number = ?1)",
        )?
        .execute([number])?;
    Ok(())
}

/// A row that was not done.
pub(super) fn give_back(
    change: &Connection,
    queue: i64,
    number: i64,
    holder: i64,
) -> Result<(), Error> {
    change
        .prepare_cached(
            "UPDATE due SET holder = NULL, attempt = attempt + 1
             WHERE queue = ?1 AND number = ?2 AND holder = ?3",
        )?
        .execute(params![queue, number, holder])?;
    Ok(())
}

/// A listener's queue goes, and what was due there.
pub(super) fn give_up(change: &Connection, queue: i64) -> Result<(), Error> {
    change
        .prepare_cached(
            "DELETE FROM message WHERE number IN (SELECT number FROM due WHERE queue = ?1)
             AND NOT EXISTS (SELECT 1 FROM due WHERE number = message.number AND queue != ?1)",
        )?
        .execute([queue])?;
    change
        .prepare_cached("DELETE FROM due WHERE queue = ?1")?
        .execute([queue])?;
    change
        .prepare_cached("DELETE FROM queue WHERE id = ?1")?
        .execute([queue])?;
    Ok(())
}

/// A process: its name on the bus.
pub(super) fn enlist(change: &Connection) -> Result<i64, Error> {
    change
        .prepare_cached("INSERT INTO holder (seen) VALUES (?1)")?
        .execute([now()])?;
    Ok(change.last_insert_rowid())
}

/// All processes, and when each was last seen.
pub(super) fn holders(change: &Connection) -> Result<Vec<(i64, i64)>, Error> {
    let mut all = change.prepare_cached("SELECT id, seen FROM holder ORDER BY id")?;
    let rows = all.query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?;
    Ok(rows.collect::<Result<_, _>>()?)
}

/// A process says that it lives; again, where it was taken for dead meanwhile.
pub(super) fn beat(change: &Connection, holder: i64) -> Result<(), Error> {
    change
        .prepare_cached(
            "INSERT INTO holder (id, seen) VALUES (?1, ?2)
             ON CONFLICT (id) DO UPDATE SET seen = excluded.seen",
        )?
        .execute(params![holder, now()])?;
    Ok(())
}

/// Gives back all that a process held, and ends its listeners; whether there was anything.
pub(super) fn release(change: &Connection, holder: i64) -> Result<bool, Error> {
    let mut queues = change.prepare_cached("SELECT id FROM queue WHERE holder = ?1")?;
    let queues = queues.query_map([holder], |row| row.get(0))?;
    let queues: Vec<i64> = queues.collect::<Result<_, _>>()?;
    for queue in queues {
        give_up(change, queue)?;
    }
    let released = change
        .prepare_cached("UPDATE due SET holder = NULL, attempt = attempt + 1 WHERE holder = ?1")?
        .execute([holder])?;
    Ok(released > 0)
}

pub(super) fn strike(change: &Connection, holder: i64) -> Result<(), Error> {
    change
        .prepare_cached("DELETE FROM holder WHERE id = ?1")?
        .execute([holder])?;
    Ok(())
}

/// How much waits for a group.
pub(super) fn depth(connection: &Connection, topic: &Topic, group: &str) -> Result<Depth, Error> {
    let (messages, since): (i64, Option<i64>) = connection
        .prepare_cached(
            "SELECT count(*), min(message.since) FROM queue
             JOIN due ON due.queue = queue.id JOIN message ON message.number = due.number
             WHERE queue.topic = ?1 AND queue.name = ?2",
        )?
        .query_row(params![topic.as_str(), name(group)], |row| {
            Ok((row.get(0)?, row.get(1)?))
        })?;
    let age = since.map_or(0, |since| now().saturating_sub(since).max(0));
    Ok(Depth {
        messages: messages.unsigned_abs(),
        oldest: Duration::from_millis(age.unsigned_abs()),
    })
}

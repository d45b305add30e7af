//! Whether an attempt that failed is made again, and where: the table, and the tries of one call.
//!
//! | what happened | somebody else's agent | our worker |
//! |---|---|---|
//! | provably not sent: no connection, no TLS, a stream refused or beyond GOAWAY, a connection closed unused | the next | the next |
//! | the connection broke before the answer's head | reads, Subscribe, Cancel: the same once more, then the next | the same, but a Send without a message id (nothing tells it from another) |
//! | it refused, and nothing was done: 503 or 429 | never: an answer | new work: the next |
//! | 421, with the boot that has the task | never: an answer | that boot; where it is unknown here, or was no better, the same again after a moment |
//!
//! The same is asked once more after a break because its worker may live: then it knows the message by
//! its id, and nobody has to adopt. Where it is over, the connection is refused, and the next is asked.
//!
//! A worker may be a member of one router's roster sooner than of another's, and a task may be on its way
//! from one worker to the next: both are over after a moment, and the call that meets them waits for it
//! ([`Tries::pause`]) as long as its deadline allows.
//!
//! # Invariants
//! - A request that may have been seen is sent again only where doing it twice is the same as once.
//! - Only what broke at our own connection, or what our own worker refused, is tried again. An answer that
//!   came through another router is an answer, whatever it says: so retries do not multiply from router
//!   to router.
//! - Every try but the first is paid for out of the agent's budget; where it is spent, the caller gets
//!   the first failure as it was.

use std::time::Duration;

use mesh_core::placement::Reason;
use mesh_proto::Operation;

pub(super) use crate::catalogue::purse::Cause as Failed;
use crate::{call::Keys, passage::Candidate};

/// Tries of one call, the first included: the four of a preference list, one of them twice, and one
/// that a refusal names.
pub(super) const TRIES: usize = 6;

/// The shortest wait for a task that is said to be elsewhere; doubles with each time. Five of them are
/// six seconds: longer than rosters differ.
const FIRST_PAUSE: Duration = Duration::from_millis(200);

/// Whose the member is.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Whose {
    /// It tells no boot.
    Theirs,
    /// A worker of ours.
    Ours,
}

/// What is tried next.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Next {
    /// Nothing: the failure is the answer.
    Nobody,
    /// The next candidate.
    Another,
    /// The same again, and then the next.
    Same,
    /// The worker that the refusal names.
    Owner,
}

/// What the table asks of a call.
#[derive(Clone, Copy, Debug)]
pub(super) struct Nature {
    operation: Operation,
    has_message_id: bool,
    is_pinned: bool,
}

impl Nature {
    pub(super) const fn new(operation: Operation, keys: &Keys, reason: Reason) -> Self {
        Self {
            operation,
            has_message_id: keys.message.is_some(),
            // A conversation may go on anywhere; a task is somebody's.
            is_pinned: matches!(reason, Reason::Token { .. }) && keys.task.is_some(),
        }
    }

    /// Whether it may be sent again although it may have been seen.
    pub(super) const fn may_be_repeated(self, whose: Whose) -> bool {
        match whose {
            Whose::Ours if self.operation.sends() => self.has_message_id,
            Whose::Ours | Whose::Theirs => self.operation.is_idempotent(),
        }
    }

    /// The table.
    pub(super) const fn next(self, failed: Failed, whose: Whose) -> Next {
        match (failed, whose) {
            (Failed::Unsent, _) => Next::Another,
            (Failed::Broken, _) if self.may_be_repeated(whose) => Next::Same,
            (Failed::Misplaced, Whose::Ours) => Next::Owner,
            // Who holds a task knows best when it can go on; nobody else takes it from a worker that lives.
            (Failed::Refused, Whose::Ours) if !self.is_pinned => Next::Another,
            (Failed::Broken | Failed::Refused | Failed::Misplaced, _) => Next::Nobody,
        }
    }
}

/// Whom the tries of one call lead to.
#[derive(Debug)]
pub(super) struct Tries<'p> {
    rest: std::slice::Iter<'p, Candidate>,
    /// Whether somebody could not be reached, whose work the next one is then asked to adopt.
    is_orphaned: bool,
    was_repeated: bool,
    /// How often the task was said to be elsewhere.
    misplaced: u32,
    /// Who named an owner that may be over; asked again to adopt where that shows.
    referrer: Option<Candidate>,
}

impl<'p> Tries<'p> {
    pub(super) fn of(candidates: &'p [Candidate]) -> Self {
        Self {
            rest: candidates.iter(),
            is_orphaned: false,
            was_repeated: false,
            misplaced: 0,
            referrer: None,
        }
    }

    /// The first of all.
    pub(super) fn first(&mut self) -> Option<Candidate> {
        self.rest.next().cloned()
    }

    /// Whom to try after somebody failed. `owner` is whom a refusal named, where the view has it.
    pub(super) fn after(
        &mut self,
        tried: &Candidate,
        failed: Failed,
        next: Next,
        owner: Option<Candidate>,
    ) -> Option<Candidate> {
        if matches!(failed, Failed::Unsent | Failed::Broken) {
            self.is_orphaned = true;
        }
        match next {
            Next::Nobody => None,
            Next::Same if !self.was_repeated => {
                self.was_repeated = true;
                Some(tried.clone())
            }
            Next::Same | Next::Another => match self.referrer.take() {
                Some(referrer) => Some(Candidate {
                    orphan: true,
                    ..referrer
                }),
                None => self.rest.next().map(|candidate| Candidate {
                    endpoint: candidate.endpoint.clone(),
                    orphan: candidate.orphan || self.is_orphaned,
                }),
            },
            Next::Owner => {
                self.misplaced += 1;
                match owner {
                    Some(owner) => {
                        self.referrer = Some(tried.clone());
                        Some(owner)
                    }
                    // It may be it by now.
                    None => Some(tried.clone()),
                }
            }
        }
    }

    /// How long to wait after a refusal that names an owner, before it is believed or asked about again:
    /// not at all for the first that this router knows.
    pub(super) fn pause(&self, is_known: bool) -> Duration {
        match self.misplaced {
            0 if is_known => Duration::ZERO,
            times => FIRST_PAUSE.saturating_mul(1 << times.min(8)),
        }
    }
}

#[cfg(test)]
mod tests {
    use mesh_proto::mesh::Incarnation;

    use super::*;

    /// Operations, whether the message has an id, why it was placed, whose the member is, and what follows.
    type Row<'a> = (&'a [Operation], bool, Reason, Whose, [Next; 4]);

    #[test]
    fn every_retry_is_in_this_table() {
        use Failed::{Broken, Misplaced, Refused, Unsent};
        use Next::{Another, Nobody, Owner, Same};
        use Operation as Op;
        use Whose::{Ours, Theirs};
        let new = Reason::Message;
        let pinned = Reason::Token {
            incarnation: Incarnation(7),
        };
        const ALL: [Failed; 4] = [Unsent, Broken, Refused, Misplaced];
        let table: [Row<'_>; 12] = [
            // A Send to others is seen once or never.
            (&SENDS, true, new, Theirs, [Another, Nobody, Nobody, Nobody]),
            (
                &SENDS,
                true,
                pinned,
                Theirs,
                [Another, Nobody, Nobody, Nobody],
            ),
            (
                &SENDS,
                false,
                new,
                Theirs,
                [Another, Nobody, Nobody, Nobody],
            ),
            // Ours know a message by its id.
            (&SENDS, true, new, Ours, [Another, Same, Another, Owner]),
            (&SENDS, true, pinned, Ours, [Another, Same, Nobody, Owner]),
            (&SENDS, false, new, Ours, [Another, Nobody, Another, Owner]),
            (
                &SENDS,
                false,
                pinned,
                Ours,
                [Another, Nobody, Nobody, Owner],
            ),
            // What may be done twice.
            (
                &READS,
                false,
                pinned,
                Theirs,
                [Another, Same, Nobody, Nobody],
            ),
            (&READS, false, new, Theirs, [Another, Same, Nobody, Nobody]),
            (&READS, false, pinned, Ours, [Another, Same, Nobody, Owner]),
            (&READS, false, new, Ours, [Another, Same, Another, Owner]),
            // What creates something else than a task is nobody's to repeat.
            (
                &[Op::CreateTaskPushNotificationConfig],
                false,
                pinned,
                Ours,
                [Another, Nobody, Nobody, Owner],
            ),
        ];
        for (operations, has_message_id, reason, whose, expected) in table {
            let names_task = true;
            for operation in operations {
                let keys = Keys {
                    message: has_message_id.then(|| "m".into()),
                    task: names_task.then(|| "t".into()),
                    ..Keys::default()
                };
                let nature = Nature::new(*operation, &keys, reason);
                let next = ALL.map(|failed| nature.next(failed, whose));
                assert_eq!(next, expected, "{operation:?} {whose:?} {reason:?}");
            }
        }
    }

    #[test]
    fn a_conversation_goes_on_elsewhere_where_its_worker_takes_nothing_new() {
        let keys = Keys {
            message: Some("m".into()),
            context: Some("c".into()),
            ..Keys::default()
        };
        let incarnation = Incarnation(7);
        let nature = Nature::new(Operation::SendMessage, &keys, Reason::Token { incarnation });
        assert_eq!(nature.next(Failed::Refused, Whose::Ours), Next::Another);
    }

    const SENDS: [Operation; 2] = [Operation::SendMessage, Operation::SendStreamingMessage];
    const READS: [Operation; 8] = [
        Operation::GetTask,
        Operation::ListTasks,
        Operation::CancelTask,
        Operation::SubscribeToTask,
        Operation::GetTaskPushNotificationConfig,
        Operation::ListTaskPushNotificationConfigs,
        Operation::DeleteTaskPushNotificationConfig,
        Operation::GetExtendedAgentCard,
    ];
}

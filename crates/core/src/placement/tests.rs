//! Placement by the procedure, case by case, and what holds whatever the members' standing.

use mesh_proto::mesh::{Cell, WorkerId};
use proptest::prelude::*;

use super::*;
use crate::{
    slots::Member,
    token::{self, Route},
    view::{Listed, Tables, View},
};

use Standing::{Draining, Ejected, Usable};

fn name() -> AgentName {
    AgentName::parse("desk").unwrap()
}

fn pool(count: u16) -> std::sync::Arc<Pool> {
    let listed = (0..count).map(|n| {
        let id = WorkerId::new(&format!("worker-{n:04}"));
        Listed {
            incarnation: token::incarnation(&id, "boot"),
            ..Listed::new(Member::new(id))
        }
    });
    let listing = [(name(), listed.collect())];
    let view = View::build(listing, &mut Tables::default()).unwrap();
    view.pool("desk").unwrap().clone()
}

/// An id that a member minted, by the life it then had.
fn minted(incarnation: Incarnation, slot: Slot) -> String {
    let route = Route {
        cell: Cell(0),
        slot,
        incarnation,
        kind: token::Kind::Native,
        minted_hour: 1,
    };
    format!("{}.n", Keys::development().seal(route, "desk", None))
}

#[derive(Clone, Copy)]
struct Call<'a> {
    operation: Operation,
    task: Option<&'a str>,
    context: Option<&'a str>,
    message: Option<&'a str>,
}

const SEND: Call<'_> = Call {
    operation: Operation::SendMessage,
    task: None,
    context: None,
    message: Some("m-1"),
};

const GET: Call<'_> = Call {
    operation: Operation::GetTask,
    task: None,
    context: None,
    message: None,
};

fn placed(
    pool: &Pool,
    call: Call<'_>,
    standing: impl Fn(u16) -> Standing,
) -> Result<Placement, CallError> {
    let agent = name();
    let facts = Facts {
        operation: call.operation,
        agent: &agent,
        tenant: None,
        task_id: call.task,
        context_id: call.context,
        message_id: call.message,
    };
    place(pool, &Keys::development(), &facts, standing)
}

fn without(out: u16) -> impl Fn(u16) -> Standing {
    move |member| if member == out { Ejected } else { Usable }
}

#[test]
fn a_task_goes_to_the_worker_that_holds_it_even_while_it_drains() {
    let pool = pool(20);
    let incarnation = pool.incarnation(7);
    let task = minted(incarnation, Slot(4711));
    let call = Call {
        task: Some(&task),
        ..GET
    };
    for state in [Usable, Draining] {
        let standing = |member| if member == 7 { state } else { Usable };
        let placement = placed(&pool, call, standing).unwrap();
        assert_eq!(placement.candidates[0], 7);
        assert_eq!(placement.reason, Reason::Token { incarnation });
        assert_eq!(placement.slot, Some(Slot(4711)));
        assert!(!placement.is_orphan_at(0));
        assert!(placement.candidates.len() > 1);
        assert!(placement.is_orphan_at(1), "whoever stands in adopts");
        assert_eq!(placement.candidates.len(), PREFERENCES);
    }
}

#[test]
fn a_task_of_a_worker_that_is_gone_goes_to_the_owner_of_its_slot_as_an_orphan() {
    let pool = pool(20);
    let slot = Slot(4711);
    let incarnation = token::incarnation(&WorkerId::new("worker-0007"), "the boot before");
    let gone = minted(incarnation, slot);
    let call = Call {
        task: Some(&gone),
        ..GET
    };
    let placement = placed(&pool, call, |_| Usable).unwrap();
    assert_eq!(*placement.candidates, *pool.preference(slot));
    assert_eq!(placement.reason, Reason::Orphan { incarnation });
    assert!(placement.is_orphan_at(0));

    // A live one that cannot be reached is as good as gone.
    let held = minted(pool.incarnation(7), slot);
    let call = Call {
        task: Some(&held),
        ..GET
    };
    let placement = placed(&pool, call, without(7)).unwrap();
    assert!(placement.orphan);
    assert!(!placement.candidates.contains(&7));
}

#[test]
fn the_task_decides_before_the_context_and_a_context_that_was_minted_before_its_hash() {
    let pool = pool(20);
    let task = minted(pool.incarnation(3), Slot(1));
    let context = minted(pool.incarnation(9), Slot(2));
    let both = Call {
        task: Some(&task),
        context: Some(&context),
        ..SEND
    };
    assert_eq!(placed(&pool, both, |_| Usable).unwrap().candidates[0], 3);
    let foreign_task = Call {
        task: Some("t-1"),
        context: Some(&context),
        ..SEND
    };
    assert_eq!(
        placed(&pool, foreign_task, |_| Usable).unwrap().candidates[0],
        9
    );
}

#[test]
fn a_context_that_the_client_named_stays_on_its_slot_whatever_the_message() {
    let pool = pool(20);
    let place = |message| {
        let call = Call {
            context: Some("chat-1"),
            message: Some(message),
            ..SEND
        };
        placed(&pool, call, |_| Usable).unwrap()
    };
    let placement = place("m-1");
    assert_eq!(placement, place("m-2"));
    assert_eq!(placement.reason, Reason::Context);
    assert_eq!(
        *placement.candidates,
        *pool.preference(placement.slot.unwrap())
    );

    let owner = placement.candidates[0];
    let call = Call {
        context: Some("chat-1"),
        ..SEND
    };
    let moved = placed(&pool, call, without(owner)).unwrap();
    assert_eq!(moved.candidates[0], placement.candidates[1]);
    assert_eq!(moved.slot, placement.slot);
    assert!(!moved.orphan);
}

#[test]
fn a_repeated_send_of_a_message_lands_on_the_same_worker() {
    let pool = pool(20);
    let one = placed(&pool, SEND, |_| Usable).unwrap();
    let streamed = Call {
        operation: Operation::SendStreamingMessage,
        ..SEND
    };
    assert_eq!(one, placed(&pool, streamed, |_| Usable).unwrap());
    assert_eq!(one.reason, Reason::Message);
    let other = Call {
        message: Some("m-2"),
        ..SEND
    };
    assert_ne!(one.slot, placed(&pool, other, |_| Usable).unwrap().slot);
}

#[test]
fn a_foreign_task_is_asked_for_in_small_pools_only() {
    let call = Call {
        task: Some("t-1"),
        ..GET
    };
    let placement = placed(&pool(LOOKUP_MAX), call, without(2)).unwrap();
    assert_eq!(placement.reason, Reason::ForeignTask);
    assert_eq!(*placement.candidates, [0, 1, 3, 4, 5, 6, 7]);
    assert_eq!(placement.slot, None);
    let agent = name();
    let large = placed(&pool(LOOKUP_MAX + 1), call, |_| Usable);
    assert_eq!(large, Err(CallError::ForeignTask { agent }));
    // Who names the conversation too is led by it, and a new message with a task is no new work.
    let with_context = Call {
        context: Some("chat-1"),
        ..call
    };
    assert_eq!(
        placed(&pool(20), with_context, |_| Usable).unwrap().reason,
        Reason::Context
    );
    let follow_up = Call {
        task: Some("t-1"),
        ..SEND
    };
    assert_eq!(
        placed(&pool(3), follow_up, |_| Usable).unwrap().reason,
        Reason::ForeignTask
    );
}

#[test]
fn a_list_over_all_contexts_asks_everybody_who_can_answer() {
    let list = Call {
        operation: Operation::ListTasks,
        ..GET
    };
    let pool = pool(20);
    let standing = |member| match member {
        4 => Ejected,
        5 => Draining,
        _ => Usable,
    };
    let placement = placed(&pool, list, standing).unwrap();
    assert_eq!(placement.reason, Reason::Scatter);
    let everybody_else: Vec<u16> = (0..20).filter(|member| *member != 4).collect();
    assert_eq!(*placement.candidates, everybody_else);
    let of_one = Call {
        context: Some("chat-1"),
        ..list
    };
    assert_eq!(
        placed(&pool, of_one, |_| Usable).unwrap().reason,
        Reason::Context
    );
}

#[test]
fn a_call_without_ids_goes_to_any_member() {
    let pool = pool(3);
    for operation in [Operation::GetExtendedAgentCard, Operation::GetTask] {
        let call = Call { operation, ..GET };
        let placement = placed(&pool, call, |_| Usable).unwrap();
        assert_eq!(placement.reason, Reason::Any);
        assert_eq!(placement.slot, None);
        assert_eq!(placement.candidates.len(), 3);
    }
}

#[test]
fn an_only_member_gets_everything_and_is_told_what_it_lost() {
    let pool = pool(1);
    let list = Call {
        operation: Operation::ListTasks,
        ..GET
    };
    let foreign = Call {
        task: Some("t-1"),
        ..GET
    };
    for call in [SEND, GET, list, foreign] {
        let placement = placed(&pool, call, |_| Usable).unwrap();
        assert_eq!(*placement.candidates, [0]);
        assert_eq!(placement.reason, Reason::Only);
    }
    assert!(placed(&pool, SEND, |_| Usable).unwrap().slot.is_some());
    let task = minted(Incarnation(77), Slot(4711));
    let call = Call {
        task: Some(&task),
        ..GET
    };
    let placement = placed(&pool, call, |_| Usable).unwrap();
    assert!(placement.orphan);
    assert_eq!(*placement.candidates, [0]);
    assert_eq!(*placed(&pool, SEND, |_| Draining).unwrap().candidates, [0]);
}

#[test]
fn nobody_to_ask_is_an_error_that_says_which_kind() {
    let agent = name();
    assert_eq!(
        placed(&pool(0), SEND, |_| Usable),
        Err(CallError::NoMember { agent })
    );
    for count in [1, 3, 20] {
        let agent = name();
        let nobody = placed(&pool(count), SEND, |_| Ejected);
        assert_eq!(nobody, Err(CallError::AllEjected { agent }));
    }
}

#[test]
fn where_the_whole_preference_list_is_out_somebody_else_takes_the_work() {
    let pool = pool(40);
    let usual = placed(&pool, SEND, |_| Usable).unwrap();
    let out = |member: u16| {
        if usual.candidates.contains(&member) {
            Ejected
        } else {
            Usable
        }
    };
    let placement = placed(&pool, SEND, out).unwrap();
    assert_eq!(placement.candidates.len(), 1);
    assert_eq!(out(placement.candidates[0]), Usable);
    let rest_drains = |member| {
        if out(member) == Ejected {
            Ejected
        } else {
            Draining
        }
    };
    assert_eq!(
        placed(&pool, SEND, rest_drains).unwrap().candidates.len(),
        1
    );
}

fn a_standing() -> impl Strategy<Value = Standing> {
    prop_oneof![Just(Usable), Just(Draining), Just(Ejected)]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn nobody_ejected_is_asked_and_nobody_draining_gets_new_work_while_others_can(
        standings in prop::collection::vec(a_standing(), 1..24),
        message in "[a-z]{1,8}",
        holder in 0_u16..24,
    ) {
        let pool = pool(u16::try_from(standings.len()).unwrap());
        let standing = |member: u16| standings[usize::from(member)];
        let task = minted(pool.incarnation(holder), Slot(4711));
        let some_usable = standings.contains(&Usable);
        for call in [
            Call { message: Some(&message), ..SEND },
            Call { context: Some(&message), ..SEND },
            Call { task: Some(&task), ..GET },
            GET,
        ] {
            let Ok(placement) = placed(&pool, call, standing) else {
                prop_assert!(standings.iter().all(|standing| *standing == Ejected));
                continue;
            };
            let pinned = matches!(placement.reason, Reason::Token { .. });
            for (position, member) in placement.candidates.iter().enumerate() {
                let standing = standing(*member);
                prop_assert_ne!(standing, Ejected);
                let new_work = !(pinned && position == 0);
                prop_assert!(!(some_usable && new_work && standing == Draining));
            }
            prop_assert!(placement.candidates.len() <= PREFERENCES);
        }
    }

    #[test]
    fn two_routers_with_different_histories_place_alike(
        message in "[a-z]{1,8}", out in 0_u16..12,
    ) {
        let one = pool(12);
        let two = pool(12);
        let call = Call { message: Some(&message), ..SEND };
        prop_assert_eq!(placed(&one, call, without(out)), placed(&two, call, without(out)));
    }
}

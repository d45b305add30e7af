//! Views: what they share, what they hash, what they refuse.

use expect_test::expect;

use super::*;
use crate::token::incarnation;

fn name(agent: &str) -> AgentName {
    AgentName::parse(agent).unwrap()
}

fn listed(id: &str, boot: &str) -> Listed {
    let id = WorkerId::new(id);
    Listed {
        incarnation: incarnation(&id, boot),
        ..Listed::new(Member::new(id))
    }
}

fn three() -> Vec<Listed> {
    ["a", "b", "c"].map(|id| listed(id, "1")).to_vec()
}

fn view(listing: Vec<(&str, Vec<Listed>)>) -> View {
    let listing = listing.into_iter().map(|(agent, pool)| (name(agent), pool));
    View::build(listing, &mut Tables::default()).unwrap()
}

#[test]
fn agents_with_the_same_members_share_one_table_and_a_change_costs_one() {
    let mut tables = Tables::default();
    let listing = || {
        let agents = (0..100).map(|n| (name(&format!("agent-{n}")), three()));
        agents.collect::<Vec<_>>()
    };
    let first = View::build(listing(), &mut tables).unwrap();
    assert_eq!(tables.len(), 1);
    let table = |view: &View, agent: &str| view.pool(agent).unwrap().table().unwrap().clone();
    assert!(Arc::ptr_eq(
        &table(&first, "agent-0"),
        &table(&first, "agent-99")
    ));

    let mut changed = listing();
    changed[7].1.push(listed("d", "1"));
    let second = View::build(changed, &mut tables).unwrap();
    assert_eq!(tables.len(), 2);
    assert!(Arc::ptr_eq(
        &table(&first, "agent-0"),
        &table(&second, "agent-0")
    ));
    assert!(!Arc::ptr_eq(
        &table(&first, "agent-7"),
        &table(&second, "agent-7")
    ));

    drop((first, second));
    let third = View::build([(name("solo"), vec![listed("a", "1")])], &mut tables).unwrap();
    assert!(tables.is_empty(), "a table that no view uses is let go");
    assert!(third.pool("solo").unwrap().table().is_none());
    assert_eq!(*third.pool("solo").unwrap().preference(Slot(9)), [0]);
}

#[test]
fn the_hash_is_of_what_routers_must_agree_on_and_of_nothing_else() {
    let hash = |change: fn(&mut Vec<Listed>)| {
        let mut pool = three();
        change(&mut pool);
        view(vec![("desk", pool)]).hash()
    };
    let same = hash(|_| {});
    assert_eq!(same, hash(|pool| pool.reverse()), "order");
    assert_eq!(
        same,
        hash(|pool| pool.push(pool[0].clone())),
        "listed twice alike"
    );
    assert_eq!(
        same,
        hash(|pool| pool[0].incarnation = Incarnation(7)),
        "a restart"
    );
    let others = [
        hash(|pool| pool[0].member.weight = 2),
        hash(|pool| pool[0].member.zone = Some("z".into())),
        hash(|pool| pool[0].state = WorkerState::Draining),
        hash(|pool| drop(pool.remove(0))),
        hash(|pool| pool[2] = listed("d", "1")),
        view(vec![("other", three())]).hash(),
        view(vec![("desk", three()), ("other", three())]).hash(),
    ];
    for (n, other) in others.iter().enumerate() {
        assert_ne!(same, *other, "{n}");
    }
}

/// This number moves with every change of the layout or of [`ALGORITHM`]. Routers of two versions
/// then report two views, which is the alarm that it is meant to be.
#[test]
fn golden_vector_of_the_view_hash() {
    expect!["ed19eb7183a8418b"].assert_eq(&view(vec![("desk", three())]).hash().to_string());
}

#[test]
fn a_member_is_found_by_its_present_life_only() {
    let view = view(vec![("desk", three())]);
    let pool = view.pool("desk").unwrap();
    for member in 0..3 {
        assert_eq!(pool.living(pool.incarnation(member)), Some(member));
        let id = &pool.members()[usize::from(member)].id;
        assert_eq!(pool.position(id), Some(member));
    }
    let before = incarnation(&WorkerId::new("a"), "0");
    assert_eq!(pool.living(before), None);
    assert_eq!(pool.living(Incarnation(0)), None);
    assert_eq!(pool.incarnation(3), Incarnation(0));
    assert_eq!(pool.position(&WorkerId::new("z")), None);
}

#[test]
fn a_life_that_two_members_share_is_unknown() {
    let mut pool = three();
    pool[0].incarnation = Incarnation(7);
    pool[2].incarnation = Incarnation(7);
    let view = view(vec![("desk", pool)]);
    let pool = view.pool("desk").unwrap();
    assert_eq!(pool.living(Incarnation(7)), None);
    assert_eq!(pool.living(pool.incarnation(1)), Some(1));
}

#[test]
fn third_parties_tell_no_boot_and_are_not_mixed_up_for_it() {
    let pool = vec![
        Listed::new(Member::new(WorkerId::new("http://one"))),
        Listed::new(Member::new(WorkerId::new("http://two"))),
    ];
    let view = view(vec![("desk", pool)]);
    assert_eq!(view.pool("desk").unwrap().living(Incarnation(0)), None);
}

#[test]
fn a_listing_that_contradicts_itself_is_no_view() {
    let build = |listing: Vec<(AgentName, Vec<Listed>)>| {
        View::build(listing, &mut Tables::default()).unwrap_err()
    };
    let twice = vec![(name("desk"), three()), (name("desk"), three())];
    assert_eq!(
        build(twice),
        Error::AgentTwice {
            agent: name("desk")
        }
    );
    let mut pool = three();
    pool.push(listed("b", "other boot"));
    let agent = name("desk");
    let id = WorkerId::new("b");
    assert_eq!(
        build(vec![(name("desk"), pool)]),
        Error::MemberTwice { agent, id }
    );
}

#[test]
fn an_agent_without_members_is_known_and_has_nobody() {
    let view = view(vec![("desk", vec![])]);
    let pool = view.pool("desk").unwrap();
    assert_eq!(pool.count(), 0);
    assert!(pool.preference(Slot(1)).is_empty());
    assert!(view.pool("planner").is_none());
}

//! Properties of the slot table, and the golden vectors that hold its wire format still.

use expect_test::expect;
use proptest::prelude::*;

use super::{matching::capacities, *};
use crate::token::Keys;

fn members(count: usize) -> Vec<Member> {
    (0..count).map(|i| member(&format!("worker-{i}"))).collect()
}

fn member(id: &str) -> Member {
    Member::new(WorkerId::new(id))
}

fn sorted(mut members: Vec<Member>) -> Vec<Member> {
    members.sort();
    members
}

fn slots() -> impl Iterator<Item = Slot> {
    (0..=u16::MAX).map(Slot)
}

/// The name of every slot's owner. Names, since indices shift when somebody joins.
fn owners(members: &[Member]) -> Vec<WorkerId> {
    let members = sorted(members.to_vec());
    let table = Table::build(&members).unwrap();
    slots()
        .map(|slot| members[usize::from(table.preference(slot)[0])].id.clone())
        .collect()
}

fn moved(before: &[WorkerId], after: &[WorkerId]) -> f64 {
    let moved = before.iter().zip(after).filter(|(a, b)| a != b).count();
    moved as f64 / before.len() as f64
}

fn owned_by(table: &Table, member: u16) -> usize {
    slots()
        .filter(|slot| table.preference(*slot)[0] == member)
        .count()
}

fn weights(set: &[Member]) -> Vec<u8> {
    set.iter().map(|member| member.weight).collect()
}

fn a_member() -> impl Strategy<Value = Member> {
    let zone = prop::option::of(prop::sample::select(vec!["a", "b", "c"]));
    ("[a-z]{1,6}", 1..=WEIGHT_MAX, zone).prop_map(|(id, weight, zone)| Member {
        id: WorkerId::new(&id),
        weight,
        zone: zone.map(Arc::from),
    })
}

/// 2 to 40 members with different names, in any order.
fn a_set() -> impl Strategy<Value = Vec<Member>> {
    a_set_of(2..40)
}

fn a_set_of(sizes: std::ops::Range<usize>) -> impl Strategy<Value = Vec<Member>> {
    prop::collection::vec(a_member(), sizes)
        .prop_map(|mut members| {
            members.sort();
            members.dedup_by(|a, b| a.id == b.id);
            members
        })
        .prop_filter("two members or more", |members| members.len() > 1)
        .prop_shuffle()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(16))]

    #[test]
    fn the_order_in_which_members_were_seen_cannot_matter(
        (one, two) in a_set().prop_flat_map(|set| (Just(set.clone()), Just(set).prop_shuffle())),
    ) {
        let one = Table::build(&one).unwrap();
        let two = Table::build(&two).unwrap();
        for slot in slots().step_by(61) {
            prop_assert_eq!(one.preference(slot), two.preference(slot));
        }
    }

    #[test]
    fn a_preference_list_never_names_a_member_twice(set in a_set()) {
        let table = Table::build(&set).unwrap();
        for slot in slots().step_by(64) {
            let mut list = table.preference(slot).to_vec();
            prop_assert_eq!(list.len(), set.len().min(PREFERENCES));
            prop_assert!(list.iter().all(|index| usize::from(*index) < set.len()));
            list.sort_unstable();
            list.dedup();
            prop_assert_eq!(list.len(), set.len().min(PREFERENCES));
        }
    }

    #[test]
    fn the_second_stands_in_another_zone_where_there_is_one(set in a_set()) {
        let set = sorted(set);
        let table = Table::build(&set).unwrap();
        for slot in slots().step_by(64) {
            let list = table.preference(slot);
            let [owner, second, ..] = &*list else { unreachable!() };
            let zone = |index: &u16| set[usize::from(*index)].zone.as_ref();
            let own = zone(owner);
            let elsewhere = |other: Option<&Arc<str>>| other.is_some() && other != own;
            let possible = own.is_some() && set.iter().any(|m| elsewhere(m.zone.as_ref()));
            prop_assert!(!possible || elsewhere(zone(second)), "owner {:?}", own);
        }
    }

    #[test]
    fn no_split_of_an_id_over_agent_tenant_and_id_meets_another(
        agent in "[a-z]{2,8}", tenant in "[a-z]{2,8}", id in "[a-z]{2,8}",
    ) {
        let keys = Keys::development();
        let hash = |agent: &str, tenant: Option<&str>, id: &str| {
            let agent = AgentName::parse(agent).unwrap();
            slot(keys.slots(), Kind::Context, &agent, tenant, id)
        };
        // 16 bits collide by chance once in 65,536: take three ids together.
        let of = |agent: &str, tenant: Option<&str>| {
            [0, 1, 2].map(|n| hash(agent, tenant, &format!("{id}{n}")))
        };
        let joined = format!("{agent}{tenant}");
        let (head, tail) = joined.split_at(1);
        prop_assert_ne!(of(&agent, Some(&tenant)), of(&joined, None));
        prop_assert!(of(&agent, Some(&tenant)) != of(head, Some(tail)));
        prop_assert_eq!(of(&agent, None), of(&agent, Some("")));
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(3))]

    #[test]
    fn nobody_owns_more_than_the_capacity(set in a_set_of(20..40)) {
        let set = sorted(set);
        let table = Table::build(&set).unwrap();
        for (index, capacity) in (0..).zip(capacities(&weights(&set), SLOTS)) {
            prop_assert!(owned_by(&table, index) <= capacity);
        }
    }

    /// The definition of stability, checked against the scores themselves: no slot and member would
    /// both rather have each other. With one order for both sides the stable matching is unique, so
    /// this says that the result is *the* matching.
    #[test]
    fn no_slot_and_member_would_rather_have_each_other(set in a_set_of(20..40)) {
        let set = sorted(set);
        let table = Table::build(&set).unwrap();
        let capacities = capacities(&weights(&set), SLOTS);
        let mut held = vec![Vec::new(); set.len()];
        let scores = |slot| {
            let mut scores = Vec::new();
            table.draws.scores(slot_key(slot), |_, score| scores.push(score));
            scores
        };
        for slot in slots() {
            let owner = usize::from(table.preference(slot)[0]);
            held[owner].push(scores(slot)[owner]);
        }
        let worst: Vec<u64> = held
            .iter()
            .map(|held| held.iter().min().copied().unwrap_or_default())
            .collect();
        for slot in slots() {
            let scores = scores(slot);
            let owner = usize::from(table.preference(slot)[0]);
            for rival in 0..set.len() {
                let slot_would = scores[rival] > scores[owner];
                let has_room = held[rival].len() < capacities[rival];
                let rival_would = has_room || scores[rival] > worst[rival];
                prop_assert!(!(slot_would && rival_would), "{slot:?}, member {rival}");
            }
        }
    }
}

#[test]
fn a_leave_moves_little_more_than_what_the_leaver_owned() {
    for count in [3, 6, 16, 17, 60, 100] {
        let all = members(count);
        let before = owners(&all);
        let mut worst: f64 = 0.0;
        for leaver in [0, count / 3, count - 1] {
            let mut rest = all.clone();
            rest.remove(leaver);
            worst = worst.max(moved(&before, &owners(&rest)));
        }
        // A leaver may have owned 10 % over its share.
        assert!(worst <= 1.25 / count as f64, "{count} members: {worst}");
    }
}

#[test]
fn routers_that_saw_the_same_changes_in_another_order_agree() {
    let mut one = members(60);
    let mut two = members(60);
    for leaver in [3, 17, 40] {
        one.retain(|member| member.id.as_str() != format!("worker-{leaver}"));
    }
    one.push(member("late-a"));
    one.insert(0, member("late-b"));
    two.insert(30, member("late-b"));
    two.push(member("late-a"));
    for leaver in [40, 3, 17] {
        two.retain(|member| member.id.as_str() != format!("worker-{leaver}"));
    }
    assert_ne!(one, two);
    assert_eq!(owners(&one), owners(&two));
}

#[test]
fn shares_follow_weights() {
    let mut set = members(24);
    for (member, weight) in set.iter_mut().zip((1..=8).cycle()) {
        member.weight = weight;
    }
    let set = sorted(set);
    let table = Table::build(&set).unwrap();
    let total: f64 = set.iter().map(|member| f64::from(member.weight)).sum();
    for (index, member) in (0..).zip(&set) {
        let share = owned_by(&table, index) as f64 / SLOTS as f64;
        let wanted = f64::from(member.weight) / total;
        // The capacity bounds it above; below, three sigma of the draws at this number of slots.
        let sigma = (wanted * (1.0 - wanted) / SLOTS as f64).sqrt();
        assert!(share <= wanted * 1.1 + 1.0 / SLOTS as f64);
        assert!(
            share >= wanted - 3.5 * sigma,
            "{member:?}: {share} of {wanted}"
        );
    }
}

#[test]
fn one_step_of_one_weight_moves_about_that_step() {
    let mut set = members(48);
    for member in &mut set {
        member.weight = 4;
    }
    let before = owners(&set);
    set[5].weight = 3;
    let ideal = 1.0 / (48.0 * 4.0);
    let moved = moved(&before, &owners(&set));
    assert!(moved <= 1.8 * ideal, "{moved}, ideally {ideal}");
}

#[test]
fn a_set_that_grows_moves_with_each_joiner_little_more_than_what_it_takes() {
    let mut before = owners(&members(2));
    for count in 3..=36 {
        let after = owners(&members(count));
        let moved = moved(&before, &after);
        assert!(moved <= 1.25 / count as f64, "{count} members: {moved}");
        before = after;
    }
}

#[test]
fn small_sets_are_as_even_as_the_capacity_asks() {
    for count in [2, 5, 16] {
        let table = Table::build(&members(count)).unwrap();
        assert!(table.preferences.is_empty(), "nothing is kept for {count}");
        for (member, capacity) in (0..).zip(capacities(&vec![1; count], SLOTS)) {
            assert!(owned_by(&table, member) <= capacity);
        }
    }
}

#[test]
fn a_member_of_weight_0_owns_nothing_unless_all_are() {
    for count in [3, 20] {
        let mut set = sorted(members(count));
        set[1].weight = 0;
        let table = Table::build(&set).unwrap();
        let mut others = set.clone();
        others.remove(1);
        let without = Table::build(&others).unwrap();
        for slot in slots().step_by(17) {
            let list = table.preference(slot);
            assert!(!list.contains(&1), "{slot:?}");
            let shifted = without.preference(slot);
            let shifted = shifted
                .iter()
                .map(|member| if *member >= 1 { member + 1 } else { 0 });
            assert!(list.iter().copied().eq(shifted), "{slot:?}");
        }
        for member in &mut set {
            member.weight = 0;
        }
        let all_rest = Table::build(&set).unwrap();
        assert!(
            (0..)
                .take(count)
                .all(|member| owned_by(&all_rest, member) > 0)
        );
    }
    let mut two = members(2);
    two[0].weight = 0;
    assert_eq!(*Table::build(&two).unwrap().preference(Slot(7)), [1]);
}

#[test]
fn one_member_needs_no_table() {
    assert!(Table::build(&[]).is_none());
    assert!(Table::build(&members(1)).is_none());
    let twice = [member("a"), member("a")];
    assert!(Table::build(&twice).is_none());
}

#[test]
fn the_best_of_all_is_the_owner_unless_capacity_moved_the_row() {
    let set = sorted(members(20));
    let table = Table::build(&set).unwrap();
    let alike = slots()
        .step_by(32)
        .filter(|slot| table.best(*slot, |_| true) == table.preference(*slot).first().copied())
        .count();
    assert!(alike > 2048 * 9 / 10, "{alike} of 2048");
    let slot = Slot(4711);
    let list = table.preference(slot);
    let [first, second, ..] = &*list else {
        unreachable!()
    };
    let other = table.best(slot, |index| index != *first && index != *second);
    assert!(other.is_some_and(|index| index != *first && index != *second));
    assert_eq!(table.best(slot, |_| false), None);
}

#[test]
fn a_context_and_a_message_with_the_same_id_are_different_keys() {
    let keys = Keys::development();
    let agent = AgentName::parse("desk").unwrap();
    let of = |kind| (0..4).map(move |n| (kind, n.to_string()));
    let hash = |(kind, id): (Kind, String)| slot(keys.slots(), kind, &agent, None, &id);
    let contexts: Vec<Slot> = of(Kind::Context).map(hash).collect();
    let messages: Vec<Slot> = of(Kind::Message).map(hash).collect();
    assert_ne!(contexts, messages);
}

/// Changing any of these numbers changes where every running mesh keeps its contexts. Do so only
/// together with [`ALGORITHM`], and plan the roll-out as a migration: until all routers of a cell run
/// the same version, new contexts land on two different workers.
#[test]
fn golden_vectors_of_slot_hash_and_table() {
    assert_eq!(ALGORITHM, 2);
    let keys = Keys::development();
    let hashed: Vec<String> = [
        (Kind::Context, "desk", None, "ctx-1"),
        (Kind::Message, "desk", None, "ctx-1"),
        (Kind::Context, "desk", Some("acme"), "ctx-1"),
        (
            Kind::Context,
            "planner",
            None,
            "6f9619ff-8b86-d011-b42d-00c04fc964ff",
        ),
    ]
    .into_iter()
    .map(|(kind, agent, tenant, id)| {
        let agent = AgentName::parse(agent).unwrap();
        slot(keys.slots(), kind, &agent, tenant, id).0.to_string()
    })
    .collect();
    expect!["23302 32023 24683 63462"].assert_eq(&hashed.join(" "));

    let mut set = members(9);
    set[3].weight = 3;
    for (member, zone) in set.iter_mut().zip(["a", "b", "c"].into_iter().cycle()) {
        member.zone = Some(zone.into());
    }
    let table = Table::build(&set).unwrap();
    let lists: Vec<String> = [0_u16, 1, 4711, 30_000, 65_535]
        .into_iter()
        .map(|slot| format!("{slot}: {:?}", table.preference(Slot(slot))))
        .collect();
    expect![[r#"
        0: [3, 8, 6, 7]
        1: [4, 8, 0, 6]
        4711: [4, 0, 6, 8]
        30000: [3, 4, 5, 7]
        65535: [1, 2, 4, 3]"#]]
    .assert_eq(&lists.join("\n"));
    let all = |table: &Table| -> u64 {
        let lists = slots().flat_map(|slot| table.preference(slot).to_vec());
        let bytes: Vec<u8> = lists.flat_map(u16::to_le_bytes).collect();
        xxh3::xxh3_64(&bytes)
    };
    expect!["31134df9eb092185"].assert_eq(&format!("{:016x}", all(&table)));

    let many = Table::build(&members(100)).unwrap();
    expect!["90f9842a524a26ff"].assert_eq(&format!("{:016x}", all(&many)));
}

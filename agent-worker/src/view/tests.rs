//! What notices come to.

use proptest::prelude::*;

use super::*;

fn member(n: usize) -> MemberNotice {
    MemberNotice {
        id: format!("w{n}"),
        url: format!("http://w{n}.example:8080"),
        weight: 1,
        boot: format!("boot-{n}"),
        ..MemberNotice::default()
    }
}

fn notice(view: &str, you: usize, members: Vec<MemberNotice>) -> ViewNotice {
    ViewNotice {
        view: view.to_owned(),
        agents: vec![PoolNotice {
            agent: "a".to_owned(),
            you: format!("w{you}"),
            members,
        }],
        gone: Vec::new(),
    }
}

fn gone(boots: &[&str]) -> ViewNotice {
    ViewNotice {
        gone: boots.iter().map(ToString::to_string).collect(),
        ..ViewNotice::default()
    }
}

async fn told(notice: ViewNotice) -> Views {
    let views = Views::default();
    views.publish(notice).await.unwrap();
    views
}

#[tokio::test]
async fn before_a_notice_nothing_is_known_and_nothing_is_mine() {
    let seen = Views::default().now();
    assert!(seen.owner("a", Slot(0)).is_none());
    assert!(!seen.is_mine("a", Slot(0)) && !seen.knows("boot-0") && !seen.is_gone("boot-0"));
    assert_eq!(seen.view(), "");
}

#[tokio::test]
async fn members_are_found_by_their_boot() {
    let seen = told(notice("v1", 0, vec![member(1), member(0)]))
        .await
        .now();
    assert!(seen.knows("boot-1") && !seen.knows("boot-2"));
    assert_eq!(seen.url_of("boot-1"), Some("http://w1.example:8080"));
    assert_eq!(seen.view(), "v1");
    let other = seen.owner("b", Slot(0));
    assert!(other.is_none(), "of another agent nothing was told");
}

#[tokio::test]
async fn what_one_router_holds_to_be_gone_no_other_brings_back() {
    let both = || notice("v1", 0, vec![member(0), member(1)]);
    let views = told(both()).await;
    let theirs = (0..=u16::MAX)
        .map(Slot)
        .find(|slot| !views.now().is_mine("a", *slot))
        .unwrap();
    views
        .publish(ViewNotice {
            gone: vec!["boot-1".to_owned()],
            ..both()
        })
        .await
        .unwrap();
    assert!(views.now().is_mine("a", theirs), "its slots are mine");
    views.publish(both()).await.unwrap();
    assert!(views.now().is_gone("boot-1") && views.now().is_mine("a", theirs));
    let mut again = member(1);
    again.boot = "boot-1-again".to_owned();
    let back = notice("v1", 0, vec![member(0), again]);
    views.publish(back).await.unwrap();
    let seen = views.now();
    assert!(!seen.is_mine("a", theirs), "its next life has them again");
    assert_eq!(seen.owner("a", theirs).unwrap().boot, "boot-1-again");
}

#[tokio::test]
async fn a_notice_that_tells_nothing_new_wakes_nobody() {
    let views = told(notice("v1", 0, vec![member(0), member(1)])).await;
    views.publish(gone(&["boot-9"])).await.unwrap();
    let mut watching = views.subscribe();
    watching.mark_unchanged();
    views.publish(gone(&["boot-9"])).await.unwrap();
    assert!(!watching.has_changed().unwrap());
    views.publish(gone(&["boot-8"])).await.unwrap();
    assert!(watching.has_changed().unwrap());
    assert_eq!(views.now().gone().collect::<Vec<_>>(), ["boot-9", "boot-8"]);
}

#[tokio::test]
async fn the_gone_that_are_kept_have_a_bound() {
    let views = Views::default();
    for n in 0..GONE_KEPT + 3 {
        views.mourn(&[n.to_string()]);
    }
    let seen = views.now();
    assert_eq!(seen.gone().count(), GONE_KEPT);
    assert!(!seen.is_gone("2") && seen.is_gone("3"));
}

#[tokio::test]
async fn a_notice_that_contradicts_itself_changes_no_member() {
    let views = told(notice("v1", 0, vec![member(0), member(1)])).await;
    let mut other = member(1);
    other.weight = 5;
    let wrong = notice("v2", 0, vec![member(0), member(1), other]);
    assert!(views.publish(wrong).await.is_err());
    assert_eq!(views.now().view(), "v1");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    /// The router's view is built from the same members in any order, and a router turns to the first
    /// of a slot's preferences that stands.
    #[test]
    fn every_slot_is_whose_the_routers_table_says(
        count in 1_usize..24,
        you in 0_usize..24,
        out in proptest::collection::vec(0_usize..24, 0..6),
        draining in proptest::option::of(0_usize..24),
        rotated in 0_usize..24,
    ) {
        let you = you % count;
        let mut members: Vec<_> = (0..count).map(member).collect();
        for (n, each) in members.iter_mut().enumerate() {
            each.weight = u8::try_from(1 + n % 3).unwrap();
            each.zone = (n % 2 == 0).then(|| format!("z{}", n % 4));
            if draining == Some(n) {
                each.state = WorkerState::Draining;
            }
        }
        let listing = [(AgentName::parse("a").unwrap(), members.iter().map(listed).collect())];
        let view = View::build(listing, &mut Tables::default()).unwrap();
        let pool = view.pool("a").unwrap();
        let stands = |m: u16| {
            let id = pool.members()[usize::from(m)].id.as_str();
            let n: usize = id.trim_start_matches('w').parse().unwrap();
            draining != Some(n) && !out.contains(&n)
        };
        members.rotate_left(rotated % count);
        let mut told = notice("v", you, members);
        told.gone = out.iter().map(|n| format!("boot-{n}")).collect();
        let views = Views::default();
        views.mourn(&told.gone);
        views.build(told).unwrap();
        let seen = views.now();
        for slot in (0..=u16::MAX).step_by(61).map(Slot) {
            let first = pool.preference(slot).iter().copied().find(|m| stands(*m));
            let owner = first.or_else(|| pool.table()?.best(slot, stands));
            let owner = owner.map(|m| pool.members()[usize::from(m)].id.as_str());
            prop_assert_eq!(seen.owner("a", slot).map(|m| &*m.id), owner);
            prop_assert_eq!(seen.is_mine("a", slot), owner == Some(&*format!("w{you}")));
        }
    }
}

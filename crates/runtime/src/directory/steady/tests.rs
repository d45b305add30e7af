//! The judge alone, and with its timer on a paused clock.

use mesh_proto::mesh::WorkerState;
use parking_lot::Mutex;
use prometheus_client::registry::Registry;

use super::{
    super::{
        MemberEntry,
        sight::{self, Teller},
    },
    *,
};

const SECOND: Duration = Duration::from_secs(1);

fn agent(name: &str, members: &[&str]) -> AgentEntry {
    let member = |name: &&str| MemberEntry::from_url(&format!("http://{name}")).unwrap();
    AgentEntry {
        name: AgentName::parse(name).unwrap(),
        members: members.iter().map(member).collect(),
    }
}

fn roster(members: &[&str]) -> Arc<Roster> {
    let agents = vec![agent("a", members)];
    Arc::new(Roster { agents })
}

fn names(roster: &Roster) -> Vec<String> {
    let members = roster.agents.iter().flat_map(|each| &each.members);
    let hosts = members.map(|each| each.url.host_str().unwrap().to_owned());
    let mut names: Vec<_> = hosts.collect();
    names.sort_unstable();
    names
}

fn judge_of(members: &[&str]) -> Judge {
    let mut judge = Judge::new(2 * SECOND);
    let first = judge.weigh(&roster(members), 1, Duration::ZERO);
    assert_eq!(names(&first.roster.unwrap()), members);
    judge
}

#[test]
fn additions_changes_and_the_loss_of_half_are_taken_as_they_are() {
    let mut judge = judge_of(&["m1", "m2"]);
    let verdict = judge.weigh(&roster(&["m1", "m2", "m3", "m4"]), 1, SECOND);
    assert_eq!(names(&verdict.roster.unwrap()), ["m1", "m2", "m3", "m4"]);
    let verdict = judge.weigh(&roster(&["m1", "m2"]), 1, SECOND);
    assert_eq!(names(&verdict.roster.unwrap()), ["m1", "m2"]);
    assert_eq!(
        judge.weigh(&roster(&["m1", "m2"]), 2, SECOND),
        Verdict::default()
    );
    let mut drains = roster(&["m1", "m2"]).as_ref().clone();
    drains.agents[0].members[0].state = WorkerState::Draining;
    let verdict = judge.weigh(&Arc::new(drains.clone()), 2, SECOND);
    assert_eq!(*verdict.roster.unwrap(), drains);
    assert_eq!(judge.due(), None);
}

#[test]
fn a_loss_of_more_than_half_needs_a_second_look() {
    let mut judge = judge_of(&["m1", "m2", "m3"]);
    let verdict = judge.weigh(&roster(&["m1"]), 1, SECOND);
    assert_eq!((verdict.roster, verdict.held), (None, 1));
    assert_eq!(judge.due(), Some(3 * SECOND));
    // The same again is no second look before the source was asked, nor an event of the same look.
    assert_eq!(
        judge.weigh(&roster(&["m1"]), 2, 2 * SECOND),
        Verdict::default()
    );
    assert!(!judge.is_to_ask(2, 2 * SECOND));
    assert!(judge.is_to_ask(2, 3 * SECOND));
    assert!(!judge.is_to_ask(2, 3 * SECOND), "asked once");
    assert_eq!(
        judge.weigh(&roster(&["m1"]), 2, 3 * SECOND),
        Verdict::default()
    );
    let verdict = judge.weigh(&roster(&["m1"]), 3, 3 * SECOND);
    assert_eq!(names(&verdict.roster.unwrap()), ["m1"]);
    assert_eq!(judge.due(), None);
}

#[test]
fn a_loss_that_is_taken_back_leaves_no_trace() {
    let mut judge = judge_of(&["m1", "m2", "m3"]);
    assert_eq!(judge.weigh(&roster(&["m1"]), 1, SECOND).held, 1);
    let verdict = judge.weigh(&roster(&["m1", "m2"]), 1, SECOND);
    assert_eq!(names(&verdict.roster.unwrap()), ["m1", "m2"]);
    assert_eq!(judge.due(), None);
}

#[test]
fn what_is_new_is_added_beside_what_is_in_doubt() {
    let mut judge = judge_of(&["m1", "m2", "m3"]);
    let verdict = judge.weigh(&roster(&["n1"]), 1, SECOND);
    assert_eq!(verdict.held, 1);
    assert_eq!(names(&verdict.roster.unwrap()), ["m1", "m2", "m3", "n1"]);
    assert!(judge.is_to_ask(1, 3 * SECOND));
    let verdict = judge.weigh(&roster(&["n1"]), 2, 3 * SECOND);
    assert_eq!(names(&verdict.roster.unwrap()), ["n1"]);
}

#[test]
fn an_agent_never_loses_its_last_member_however_often_the_source_says_so() {
    let mut judge = judge_of(&["m1", "m2"]);
    let none = roster(&[]);
    let verdict = judge.weigh(&none, 1, SECOND);
    assert_eq!((verdict.roster, verdict.empty), (None, 1));
    for look in 2..9 {
        assert_eq!(judge.weigh(&none, look, 9 * SECOND), Verdict::default());
        assert!(!judge.is_to_ask(look, 9 * SECOND));
    }
    // The first one that is there again is a loss of half only.
    let verdict = judge.weigh(&roster(&["m2"]), 9, 9 * SECOND);
    assert_eq!(names(&verdict.roster.unwrap()), ["m2"]);
}

#[test]
fn an_agent_that_is_named_no_more_goes_at_second_sight() {
    let both = Roster {
        agents: vec![agent("a", &["m1"]), agent("b", &["m2"])],
    };
    let mut judge = Judge::new(2 * SECOND);
    judge.weigh(&Arc::new(both), 1, Duration::ZERO);
    let one = roster(&["m1"]);
    let verdict = judge.weigh(&one, 2, SECOND);
    assert_eq!((verdict.roster, verdict.held), (None, 1));
    assert!(judge.is_to_ask(2, 3 * SECOND));
    assert_eq!(judge.weigh(&one, 3, 3 * SECOND).roster, Some(one));
}

/// When rosters were taken over, and the members of each.
type Taken = Vec<(Duration, Vec<String>)>;

/// A source whose sights the test tells, and the rosters that come of them.
struct Followed {
    teller: Teller,
    taken: Arc<Mutex<Taken>>,
    _trigger: crate::drain::Trigger,
}

fn followed() -> Followed {
    let metrics = Metrics::register(&mut Registry::default());
    let (teller, sights) = sight::channel(metrics.touch("test".to_owned()));
    let (trigger, drain) = crate::drain::channel();
    let taken = Arc::<Mutex<Taken>>::default();
    let (into, started) = (Arc::clone(&taken), Instant::now());
    let take = move |roster: Arc<Roster>| into.lock().push((started.elapsed(), names(&roster)));
    let following = follow(sights, Settings::default(), metrics, take, drain.clone());
    drain.spawn("directory", following);
    Followed {
        teller,
        taken,
        _trigger: trigger,
    }
}

impl Followed {
    fn looked(&mut self, members: &[&str]) {
        self.teller.looked(Roster::clone(&roster(members)));
    }

    fn told(&self, members: &[&str]) {
        self.teller.tell(Roster::clone(&roster(members)));
    }

    async fn until(&self, count: usize) -> Taken {
        while self.taken.lock().len() < count {
            sleep(Duration::from_millis(1)).await;
        }
        self.taken.lock().clone()
    }
}

#[tokio::test(start_paused = true)]
async fn the_first_sight_counts_at_once_and_later_ones_are_gathered() {
    let mut source = followed();
    source.looked(&["m1"]);
    let taken = source.until(1).await;
    assert!(taken[0].0 <= Duration::from_millis(2), "{taken:?}");
    let members = ["m1", "m2", "m3", "m4", "m5"];
    for count in 2..=5 {
        source.told(&members[..count]);
        sleep(Duration::from_millis(20)).await;
    }
    let taken = source.until(2).await;
    assert_eq!(taken[1].1, members);
    assert_eq!(taken.len(), 2);
    assert!(taken[1].0 < Duration::from_millis(110), "{taken:?}");
}

#[tokio::test(start_paused = true)]
async fn a_source_is_asked_to_look_again_before_most_members_go() {
    let mut source = followed();
    source.looked(&["m1", "m2", "m3"]);
    source.until(1).await;
    source.told(&["m1"]);
    source.teller.asked().await;
    assert_eq!(source.taken.lock().len(), 1);
    source.looked(&["m1"]);
    let taken = source.until(2).await;
    assert_eq!(taken[1].1, ["m1"]);
    assert!(taken[1].0 >= Duration::from_secs(2), "{taken:?}");
}

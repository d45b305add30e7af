//! Whatever the split, the pages and their size: the pages laid end to end are the sorted whole.

use mesh_proto::a2a::TaskStatus;
use proptest::prelude::*;
use prost_types::Timestamp;

use super::*;

fn task(id: &str, seconds: i64) -> Task {
    Task {
        id: id.to_owned(),
        status: Some(TaskStatus {
            timestamp: Some(Timestamp { seconds, nanos: 0 }),
            ..TaskStatus::default()
        }),
        ..Task::default()
    }
}

/// A member that keeps its tasks sorted and gives at most so many at a time, whatever it is asked for.
#[derive(Clone, Debug)]
struct Member {
    tasks: Vec<Task>,
    most: usize,
}

impl Member {
    fn of(tasks: impl IntoIterator<Item = Task>, most: usize) -> Self {
        let mut tasks: Vec<_> = tasks.into_iter().collect();
        tasks.sort_by(|a, b| order(a).cmp(&order(b)));
        Self { tasks, most }
    }

    /// Its token is the number of tasks before the page. With `most` 0 every other page is empty.
    fn page(&self, wanted: &Wanted) -> ListTasksResponse {
        let (start, is_pause) = match wanted.token.strip_suffix('p') {
            Some(start) => (start.parse().unwrap(), true),
            None if wanted.token.is_empty() => (0, false),
            None => (wanted.token.parse::<usize>().unwrap(), false),
        };
        let room = if is_pause {
            0
        } else {
            wanted.size.min(self.most.max(1))
        };
        let end = (start + room).min(self.tasks.len());
        let next_page_token = match end {
            _ if end == self.tasks.len() && !is_pause => String::new(),
            end if is_pause || self.most > 0 => end.to_string(),
            end => format!("{end}p"),
        };
        ListTasksResponse {
            tasks: self.tasks[start..end].to_vec(),
            next_page_token,
            page_size: i32::try_from(wanted.size).unwrap(),
            total_size: i32::try_from(self.tasks.len()).unwrap(),
        }
    }
}

fn one_page(members: &[Member], cursor: Option<Cursor>, size: usize) -> Merged {
    let count = u64::try_from(members.len()).unwrap();
    let mut merge = match cursor {
        None => Merge::begin(0..count, size),
        Some(cursor) => Merge::resume(cursor, |source| source < count, size),
    };
    loop {
        merge.advance();
        let wanted = merge.wanted();
        if wanted.is_empty() {
            return merge.finish().unwrap();
        }
        for wanted in wanted {
            let member = &members[usize::try_from(wanted.source).unwrap()];
            merge.feed(wanted.source, member.page(&wanted)).unwrap();
        }
    }
}

fn walk(members: &[Member], sizes: &[usize]) -> Vec<Merged> {
    let (mut pages, mut cursor) = (Vec::new(), None);
    for size in sizes.iter().cycle() {
        let page = one_page(members, cursor.take(), *size);
        assert!(page.tasks.len() <= *size);
        cursor.clone_from(&page.next);
        pages.push(page);
        if cursor.is_none() {
            break;
        }
        assert!(pages.len() < 10_000, "the pages never end");
    }
    pages
}

fn ids(pages: &[Merged]) -> Vec<&str> {
    let tasks = pages.iter().flat_map(|page| &page.tasks);
    tasks.map(|task| task.id.as_str()).collect()
}

/// Tasks with few moments, so that many are of one, each with the members that hold it.
fn split() -> impl Strategy<Value = Vec<(i64, Vec<bool>)>> {
    let holders = prop::collection::vec(any::<bool>(), 4);
    prop::collection::vec((0_i64..12, holders), 0..60)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn pages_laid_end_to_end_are_the_sorted_union(
        split in split(),
        sizes in prop::collection::vec(1_usize..=100, 1..4),
        most in prop::collection::vec(0_usize..40, 4),
    ) {
        let all = split.iter().enumerate().filter(|(_, (_, holders))| holders.contains(&true));
        let all: Vec<_> = all.map(|(number, (moment, holders))| (task(&format!("t{number}"), *moment), holders)).collect();
        let members: Vec<_> = most.iter().enumerate().map(|(number, most)| {
            let held = all.iter().filter(|(_, holders)| holders[number]);
            Member::of(held.map(|(task, _)| task.clone()), *most)
        }).collect();
        let whole = Member::of(all.iter().map(|(task, _)| task.clone()), 100);
        let expected: Vec<_> = whole.tasks.iter().map(|task| task.id.as_str()).collect();
        let pages = walk(&members, &sizes);
        prop_assert_eq!(ids(&pages), expected);
        // At the end every copy has been met, and the sum is the truth.
        let total = usize::try_from(pages.last().unwrap().total).unwrap();
        prop_assert_eq!(total, whole.tasks.len());
    }
}

#[test]
fn the_total_is_the_sum_where_nothing_is_shared() {
    let members = [
        Member::of((0..30).map(|n| task(&format!("a{n}"), n)), 100),
        Member::of((0..12).map(|n| task(&format!("b{n}"), n)), 100),
    ];
    let pages = walk(&members, &[5]);
    assert!(pages.iter().all(|page| page.total == 42));
    assert_eq!(pages.len(), 9);
}

#[test]
fn of_copies_that_differ_the_latest_is_shown() {
    let members = [
        Member::of([task("x", 5), task("y", 3)], 10),
        Member::of([task("x", 2), task("z", 4)], 10),
    ];
    let page = one_page(&members, None, 10);
    assert_eq!(ids(std::slice::from_ref(&page)), ["x", "z", "y"]);
    assert_eq!(changed(&page.tasks[0]).0, 5);
    assert_eq!(page.total, 3);
}

#[test]
fn a_part_that_is_not_sorted_loses_nothing() {
    let unsorted = Member {
        tasks: [1, 9, 4, 7].map(|n| task(&format!("u{n}"), n)).to_vec(),
        most: 2,
    };
    let members = [unsorted, Member::of([task("s8", 8), task("s2", 2)], 10)];
    let pages = walk(&members, &[1]);
    let mut seen = ids(&pages);
    seen.sort_unstable();
    assert_eq!(seen, ["s2", "s8", "u1", "u4", "u7", "u9"]);
}

#[test]
fn a_task_that_moves_to_the_front_between_pages_hides_no_other() {
    let names = ["a", "b", "c", "d", "e", "f"];
    let of = |moved: &str| {
        let tasks = names.iter().zip((0..6).rev());
        let tasks = tasks.map(|(id, at)| task(id, if *id == moved { 100 } else { at }));
        [Member::of(tasks, 100)]
    };
    // The moved one was shown before the last shown one, was itself the last, or was not shown yet.
    for (moved, then) in [("b", "d"), ("c", "d"), ("e", "d")] {
        let first = one_page(&of(""), None, 3);
        assert_eq!(ids(std::slice::from_ref(&first)), ["a", "b", "c"]);
        let second = one_page(&of(moved), first.next, 3);
        let second = ids(std::slice::from_ref(&second)).join("");
        assert!(
            second.contains(then) && second.contains('f'),
            "{moved}: {second}"
        );
    }
}

#[test]
fn a_member_that_is_gone_takes_its_part_with_it_and_a_new_one_waits_for_the_next_list() {
    let members = [
        Member::of([task("a", 9), task("b", 5), task("c", 1)], 10),
        Member::of([task("d", 8), task("e", 4)], 10),
        Member::of([task("n", 3)], 10),
    ];
    let first = one_page(&members[..2], None, 2);
    assert_eq!(ids(std::slice::from_ref(&first)), ["a", "d"]);
    let joined = one_page(&members, first.next.clone(), 10);
    assert_eq!(ids(std::slice::from_ref(&joined)), ["b", "e", "c"]);
    let left = one_page(&members[..1], first.next, 10);
    assert_eq!(ids(std::slice::from_ref(&left)), ["b", "c"]);
    assert_eq!((left.total, left.next), (3, None));
}

#[test]
fn a_member_whose_pages_lead_nowhere_is_found_out() {
    let mut merge = Merge::begin([0], 5);
    let empty = ListTasksResponse {
        next_page_token: "again".to_owned(),
        ..ListTasksResponse::default()
    };
    for _ in 0..ROUNDS {
        assert_eq!(merge.wanted().len(), 1);
        merge.feed(0, empty.clone()).unwrap();
    }
    assert_eq!(merge.wanted(), []);
    assert!(matches!(merge.finish(), Err(Error::Endless)));
    let endless = ListTasksResponse {
        next_page_token: "x".repeat(2000),
        ..ListTasksResponse::default()
    };
    assert_eq!(Merge::begin([0], 5).feed(0, endless), Err(Error::Token));
}

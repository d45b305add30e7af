//! ListTasks: filters, order, pages.
//!
//! The store is walked once per page, in the order of its keys, and only what may be on the page is
//! kept: memory is bounded by the page, time by the caller's tasks.
//!
//! # Invariants
//! - The latest status comes first; tasks of one moment are in the order of their ids.
//! - A page token says where the last page ended, so a task that changes meanwhile may move to the
//!   front, and none that stays is skipped or shown twice.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, HashMap},
};

use base64::{Engine as _, prelude::BASE64_URL_SAFE_NO_PAD};
use mesh_proto::{
    Fault, Problem,
    a2a::{ListTasksRequest, ListTasksResponse, Task, TaskState},
};
use prost_types::Timestamp;

use super::check;
use crate::{
    record::Scope,
    task::{Ledger, shorten},
};

/// The page when the caller names no size, and the largest.
const PAGE: i32 = 50;
const LARGEST_PAGE: i32 = 100;

/// Where a task stands in the list.
type Place = (Reverse<(i64, i32)>, String);

/// One page.
pub(super) async fn page(
    ledger: &Ledger,
    scope: &Scope,
    request: &ListTasksRequest,
) -> Result<ListTasksResponse, Problem> {
    let filter = Filter::of(request)?;
    let size @ 1..=LARGEST_PAGE = request.page_size.unwrap_or(PAGE) else {
        return Err(check::wrong("pageSize", "must be from 1 to 100"));
    };
    let room = usize::try_from(size).unwrap_or_default();
    let mut page = Page::after(token(&request.page_token)?, room);
    let mut running: HashMap<_, _> = ledger
        .running(scope)
        .into_iter()
        .map(|task| (task.id.clone(), task))
        .collect();
    let mut next = None;
    loop {
        let read = ledger.records().tasks(scope, next.as_deref()).await;
        let (stored, more) = read.map_err(|error| {
            tracing::error!(%error, "the tasks cannot be listed");
            Problem::new(Fault::Unavailable, "the tasks cannot be read now")
        })?;
        for task in stored {
            page.offer(running.remove(&task.id).unwrap_or(task), &filter);
        }
        match more {
            Some(key) => next = Some(key),
            None => break,
        }
    }
    for task in running.into_values() {
        page.offer(task, &filter);
    }
    Ok(page.answer(size, &filter))
}

struct Filter {
    context: String,
    state: Option<TaskState>,
    since: Option<(i64, i32)>,
    history: Option<usize>,
    artifacts: bool,
}

impl Filter {
    fn of(request: &ListTasksRequest) -> Result<Self, Problem> {
        let state = TaskState::try_from(request.status)
            .map_err(|_| check::wrong("status", "is no task state"))?;
        Ok(Self {
            context: request.context_id.clone(),
            state: (state != TaskState::Unspecified).then_some(state),
            since: request.status_timestamp_after.as_ref().map(moment),
            history: check::history_length(request.history_length)?,
            artifacts: request.include_artifacts.unwrap_or_default(),
        })
    }

    fn takes(&self, task: &Task) -> bool {
        let status = task.status.as_ref();
        (self.context.is_empty() || self.context == task.context_id)
            && self
                .state
                .is_none_or(|state| status.is_some_and(|status| status.state() == state))
            && self.since.is_none_or(|since| changed(task) >= since)
    }
}

/// The tasks that may be on the page.
struct Page {
    after: Option<Place>,
    room: usize,
    tasks: BTreeMap<Place, Task>,
    more: bool,
    total: i32,
}

impl Page {
    const fn after(after: Option<Place>, room: usize) -> Self {
        Self {
            after,
            room,
            tasks: BTreeMap::new(),
            more: false,
            total: 0,
        }
    }

    fn offer(&mut self, task: Task, filter: &Filter) {
        if !filter.takes(&task) {
            return;
        }
        self.total = self.total.saturating_add(1);
        let place = (Reverse(changed(&task)), task.id.clone());
        if self.after.as_ref().is_some_and(|after| place <= *after) {
            return;
        }
        self.tasks.insert(place, task);
        if self.tasks.len() > self.room {
            self.tasks.pop_last();
            self.more = true;
        }
    }

    fn answer(self, size: i32, filter: &Filter) -> ListTasksResponse {
        let last = self.tasks.last_key_value().filter(|_| self.more);
        let next_page_token = last
            .map(|(place, _)| write_token(place))
            .unwrap_or_default();
        let tasks = self.tasks.into_values().map(|mut task| {
            if !filter.artifacts {
                task.artifacts.clear();
            }
            shorten(task, filter.history)
        });
        ListTasksResponse {
            tasks: tasks.collect(),
            next_page_token,
            page_size: size,
            total_size: self.total,
        }
    }
}

fn changed(task: &Task) -> (i64, i32) {
    let time = task.status.as_ref().and_then(|s| s.timestamp.as_ref());
    time.map(moment).unwrap_or_default()
}

const fn moment(time: &Timestamp) -> (i64, i32) {
    (time.seconds, time.nanos)
}

fn write_token((Reverse((seconds, nanos)), id): &Place) -> String {
    BASE64_URL_SAFE_NO_PAD.encode(format!("{seconds}.{nanos}.{id}"))
}

fn token(text: &str) -> Result<Option<Place>, Problem> {
    if text.is_empty() {
        return Ok(None);
    }
    let read = || {
        let bytes = BASE64_URL_SAFE_NO_PAD.decode(text).ok()?;
        let text = std::str::from_utf8(&bytes).ok()?;
        let mut parts = text.splitn(3, '.');
        let seconds = parts.next()?.parse().ok()?;
        let nanos = parts.next()?.parse().ok()?;
        Some((Reverse((seconds, nanos)), parts.next()?.to_owned()))
    };
    let place = read().ok_or_else(|| check::wrong("pageToken", "is none of ours"))?;
    Ok(Some(place))
}

#[cfg(test)]
mod tests {
    use mesh_proto::a2a::TaskStatus;

    use super::*;

    fn task(id: &str, seconds: i64) -> Task {
        Task {
            id: id.to_owned(),
            context_id: if seconds % 2 == 0 { "even" } else { "odd" }.to_owned(),
            status: Some(TaskStatus {
                state: TaskState::Completed.into(),
                timestamp: Some(Timestamp { seconds, nanos: 5 }),
                message: None,
            }),
            artifacts: vec![mesh_proto::a2a::Artifact::default()],
            ..Task::default()
        }
    }

    fn walk(tasks: &[Task], request: &ListTasksRequest, size: i32) -> Vec<Vec<String>> {
        let filter = Filter::of(request).unwrap();
        let (mut pages, mut after) = (Vec::new(), String::new());
        loop {
            let room = usize::try_from(size).unwrap();
            let mut page = Page::after(token(&after).unwrap(), room);
            for task in tasks {
                page.offer(task.clone(), &filter);
            }
            let answer = page.answer(size, &filter);
            pages.push(answer.tasks.into_iter().map(|task| task.id).collect());
            if answer.next_page_token.is_empty() {
                return pages;
            }
            after = answer.next_page_token;
        }
    }

    #[test]
    fn pages_join_to_the_whole_list_the_latest_first() {
        let tasks = [
            task("b", 7),
            task("a", 7),
            task("c", 9),
            task("d.x", 1),
            task("e", 8),
        ];
        let all = ListTasksRequest::default();
        assert_eq!(
            walk(&tasks, &all, 2),
            [vec!["c", "e"], vec!["a", "b"], vec!["d.x"]]
        );
        assert_eq!(walk(&tasks, &all, 5).len(), 1);
        let odd = ListTasksRequest {
            context_id: "odd".to_owned(),
            status_timestamp_after: Some(Timestamp {
                seconds: 7,
                nanos: 5,
            }),
            ..all
        };
        assert_eq!(walk(&tasks, &odd, 9), [["c", "a", "b"]]);
    }

    #[test]
    fn artifacts_come_only_when_they_are_asked_for_and_the_total_is_before_paging() {
        let mut request = ListTasksRequest::default();
        for wanted in [false, true] {
            request.include_artifacts = Some(wanted);
            let filter = Filter::of(&request).unwrap();
            let mut page = Page::after(None, 1);
            page.offer(task("a", 1), &filter);
            page.offer(task("b", 2), &filter);
            let answer = page.answer(1, &filter);
            assert_eq!(answer.total_size, 2);
            assert_eq!(answer.tasks[0].artifacts.is_empty(), !wanted);
        }
    }

    #[test]
    fn a_token_that_is_none_of_ours_is_refused() {
        for wrong in ["x", "%%%", "YQ", "MS4yMg"] {
            assert!(token(wrong).is_err(), "{wrong}");
        }
        let place = (Reverse((3, 4)), "a.b".to_owned());
        assert_eq!(token(&write_token(&place)), Ok(Some(place)));
        let unknown = ListTasksRequest {
            status: 77,
            ..ListTasksRequest::default()
        };
        assert!(Filter::of(&unknown).is_err());
    }
}

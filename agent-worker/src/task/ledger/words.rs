//! What was said in a conversation: what the store knows of it, and what it does not know yet.

use std::sync::Arc;

use futures_util::future::join_all;

use super::{super::live::Live, Ledger};
use crate::{
    record::{self, Scope},
    session::Item,
};

impl Ledger {
    /// What was said in a conversation, oldest first. What turns have said here that came to rest while the
    /// store did not answer follows what is stored.
    ///
    /// # Errors
    /// [`record::Error`] when the store does not say.
    pub(in crate::task) async fn conversation(
        &self,
        scope: &Scope,
        context: &str,
    ) -> Result<Vec<Item>, record::Error> {
        let unsaved = self.unsaved(scope, context);
        // Not written meanwhile, or they would be read twice or not at all. In one order for everybody.
        let held = unsaved.iter().map(|live| live.taking.lock());
        let held = join_all(held).await;
        let mut said = self.records().conversation(scope, context).await?;
        let mut words: Vec<_> = unsaved
            .iter()
            .filter(|live| live.is_unsaved())
            .map(|live| {
                let cell = live.lock();
                let since = cell.task.body().status.as_ref();
                let since = since.and_then(|status| status.timestamp);
                (since.map(|at| (at.seconds, at.nanos)), cell.said.clone())
            })
            .collect();
        drop(held);
        words.sort_by_key(|(since, _)| *since);
        said.extend(words.into_iter().flat_map(|(_, words)| words));
        Ok(said)
    }

    /// Tasks of a conversation whose rest no store knows, in the order of their ids.
    fn unsaved(&self, scope: &Scope, context: &str) -> Vec<Arc<Live>> {
        if !self.membership().is_waited_for() {
            return Vec::new();
        }
        let all: Vec<_> = self.0.live.lock().values().cloned().collect();
        let mut unsaved: Vec<_> = all
            .into_iter()
            .filter(|live| live.key.scope == *scope && live.is_unsaved())
            .filter(|live| live.lock().task.body().context_id == context)
            .collect();
        unsaved.sort_by(|one, other| one.key.id.cmp(&other.key.id));
        unsaved
    }
}

//! A sidecar's configuration: settings by their keys, and word of their changes.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use dapr::dapr::proto::runtime::v1::{
    GetConfigurationRequest, SubscribeConfigurationRequest, SubscribeConfigurationResponse,
};
use tonic::Streaming;

use super::{
    Stub,
    blocks::{Blocks, Failed, failed},
};

/// Word of changes, until the sidecar goes.
#[derive(Debug)]
pub struct Changes(Streaming<SubscribeConfigurationResponse>);

impl Changes {
    /// Waits until something has changed. What it is now is to be read: a change may be told of twice,
    /// and two as one. `None` once there will be no more word.
    pub async fn next(&mut self) -> Option<()> {
        loop {
            let told = self.0.message().await.ok().flatten()?;
            // The first message has none.
            if !told.items.is_empty() {
                return Some(());
            }
        }
    }
}

impl Blocks {
    /// Reads settings; those that the store does not have are left out. A sidecar that does not answer is
    /// waited for, as by [`Self::secret`].
    ///
    /// # Errors
    /// [`Failed`]: there is no such store, or no sidecar.
    pub async fn settings(
        &self,
        store: &str,
        keys: &BTreeSet<String>,
    ) -> Result<BTreeMap<String, String>, Failed> {
        let request = GetConfigurationRequest {
            store_name: store.to_owned(),
            keys: keys.iter().cloned().collect(),
            metadata: HashMap::new(),
        };
        let asked = self.patiently(|mut stub: Stub| {
            let request = request.clone();
            async move { stub.get_configuration(request).await }
        });
        let items = asked.await?.items.into_iter();
        Ok(items.map(|(key, item)| (key, item.value)).collect())
    }

    /// Asks to be told when settings change.
    ///
    /// # Errors
    /// [`Failed`]: there is no such store, or no sidecar.
    pub async fn changes(&self, store: &str, keys: &BTreeSet<String>) -> Result<Changes, Failed> {
        let request = SubscribeConfigurationRequest {
            store_name: store.to_owned(),
            keys: keys.iter().cloned().collect(),
            metadata: HashMap::new(),
        };
        let opened = self
            .sidecar
            .call(async move |mut stub: Stub| stub.subscribe_configuration(request).await);
        opened.await.map(Changes).map_err(|status| failed(&status))
    }
}

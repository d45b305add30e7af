//! What an agents file wants of the Dapr sidecar beside the worker.
//!
//! # Invariants
//! - A worker starts with all of it or not at all.
//! - Who wants nothing of a sidecar needs none, and is not kept waiting by one.

use std::collections::BTreeSet;

use mesh_fabric::dapr::Blocks;

use super::{Config, Error, Roster, Surroundings};
use crate::tools::outlet;

/// The output bindings that the file names.
pub(super) fn outputs(config: &Config) -> impl Iterator<Item = &str> {
    let outputs = config.agents.iter().flat_map(|agent| &agent.outputs);
    outputs.map(|output| output.binding.as_str())
}

/// Whether an output names no binding, or nothing to do with it.
pub(super) fn is_wrong(output: &outlet::Config) -> bool {
    let mut operations = output.operations.iter();
    output.binding.is_empty()
        || output.operations.is_empty()
        || operations.any(|operation| operation.is_empty())
}

/// The sidecar, where something is wanted of it.
pub(super) fn of(config: &Config, around: &Surroundings) -> Result<Option<Blocks>, Error> {
    let first = outputs(config).next();
    first
        .map(|binding| open(&format!("the output binding {binding:?}"), around))
        .transpose()
}

/// The sidecar, for something that is wanted of it.
pub(super) fn open(wanted: &str, around: &Surroundings) -> Result<Blocks, Error> {
    let refused = |reason| Error::Sidecar {
        wanted: wanted.to_owned(),
        reason,
    };
    let settings = around.sidecar.clone().ok_or_else(|| {
        refused("there is none: set DAPR_GRPC_PORT or DAPR_GRPC_ENDPOINT".to_owned())
    })?;
    Blocks::new(settings).map_err(|error| refused(error.to_string()))
}

impl Roster {
    /// Waits until the sidecar has what the agents want of it; not at all, where they want nothing.
    ///
    /// # Errors
    /// [`Error::Sidecar`], where it does not come up in time or has no such component; [`Error::Setting`].
    pub async fn is_served(&self) -> Result<(), Error> {
        self.is_told().await?;
        let Some(blocks) = &self.blocks else {
            return Ok(());
        };
        blocks.ready(&self.outputs).await.map_err(|error| {
            let names: BTreeSet<&str> = self.outputs.iter().map(String::as_str).collect();
            Error::Sidecar {
                wanted: format!("the output bindings {names:?}"),
                reason: error.to_string(),
            }
        })
    }
}

//! What a router thinks of the members at the moment of one call.

use mesh_core::{placement::Standing, view::Pool};
use mesh_proto::mesh::{Load, WorkerId, WorkerState};

use super::router::Router;

#[derive(Debug)]
pub(crate) struct Sight<'a> {
    pub(crate) router: &'a Router,
    pub(crate) pool: &'a Pool,
}

impl Sight<'_> {
    fn name(&self, member: u16) -> WorkerId {
        Router::name(self.pool, member)
    }

    pub(crate) fn standing(&self, member: u16) -> Standing {
        let drains = self.pool.state(member) == WorkerState::Draining
            || self
                .load(member)
                .is_some_and(|load| load.state == WorkerState::Draining);
        match self.router.ejected.contains(&self.name(member)) {
            true => Standing::Ejected,
            false if drains => Standing::Draining,
            false => Standing::Usable,
        }
    }

    pub(crate) fn load(&self, member: u16) -> Option<Load> {
        self.router.loads.get(&self.name(member)).copied()
    }
}

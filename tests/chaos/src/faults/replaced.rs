//! A process that is replaced by one of another release, as in an upgrade and in its rollback: no fault, but it must not show either.

use crate::world::{Release, Role, World};

/// One process, by the next one in its place.
#[derive(Clone, Debug)]
pub struct Replaced {
    pub role: Role,
    pub number: usize,
    pub by: Release,
}

/// Emails of the round that are sent before.
const SENT_BEFORE: u64 = 15;

impl Replaced {
    pub(super) fn group(&self) -> String {
        let by = match self.by {
            Release::New => "new",
            Release::Old(_) => "old",
        };
        format!("{}: replaced by the {by} one", self.role.binary())
    }

    pub(super) fn name(&self) -> String {
        format!("{}, number {}", self.group(), self.number)
    }

    pub(super) async fn strike(&self, world: &mut World) -> anyhow::Result<()> {
        let before = world.provider.stats().accepted;
        world.has_sent(before, SENT_BEFORE).await;
        let service = world.service_mut(self.role, self.number);
        service.replace(self.by.clone()).await
    }
}

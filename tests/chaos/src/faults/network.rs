//! Links that stop to carry: nothing is closed, nothing is answered.

use std::time::Duration;

use anyhow::Context as _;
use paceline_testkit::link::Flow;

use super::lasts;
use crate::site::Ground;
use crate::world::{Role, Service, World};

/// Longer than a lease of rate, and than a command may take.
const CUT: Duration = Duration::from_millis(2_500);

/// What lies on the other side.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    Redis,
    Provider,
    /// Whoever calls the service.
    Callers,
}

/// All processes of a role are cut off from one side.
#[derive(Clone, Copy, Debug)]
pub struct Partition {
    pub role: Role,
    pub side: Side,
    pub flow: Flow,
}

impl Partition {
    pub(super) fn group(self) -> String {
        let side = match self.side {
            Side::Redis => "Redis",
            Side::Provider => "the provider",
            Side::Callers => "its callers",
        };
        format!("partition: {} from {side}", self.role.binary())
    }

    pub(super) fn name(self) -> String {
        let flow = match self.flow {
            Flow::Both => "nothing lost",
            Flow::OnlyThere => "answers lost",
            Flow::OnlyBack => "calls lost",
            Flow::Nothing => "calls and answers lost",
        };
        format!("{}, {flow}", self.group())
    }

    pub(super) fn fits(self, ground: Ground) -> bool {
        self.side != Side::Redis || matches!(ground, Ground::Local | Ground::Fsync)
    }

    fn carry(self, world: &World, flow: Flow) -> anyhow::Result<()> {
        for service in world.of(self.role) {
            self.link(service)?.carry(flow);
        }
        Ok(())
    }

    fn link(self, service: &Service) -> anyhow::Result<&paceline_testkit::Link> {
        match self.side {
            Side::Redis => Ok(&service.redis.as_ref().context("a link to redis")?.0),
            Side::Provider => Ok(&service.provider),
            Side::Callers => Ok(&service.front),
        }
    }

    pub(super) async fn strike(self, world: &World) -> anyhow::Result<()> {
        self.carry(world, self.flow)?;
        lasts(CUT).await;
        Ok(())
    }

    pub(super) fn heal(self, world: &World) -> anyhow::Result<()> {
        self.carry(world, Flow::Both)
    }
}

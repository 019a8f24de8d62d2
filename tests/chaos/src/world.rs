//! Everything that runs: the services as processes, two of a kind where there may be two, a Redis, a ledger, the look-alike of SES.
//!
//! What may be cut lies between them: each service is reached by a link of its own, reaches the provider by another, and on a single
//! Redis each has a proxy that can stop it at any one command.

mod database;
mod observed;
mod service;
mod settings;

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::Context as _;
use paceline_kit::clock::{Clock as _, SystemClock};
use paceline_local::events::Webhooks;
use paceline_local::{Lookalike, LookalikeOptions};
use tempfile::TempDir;
use tonic::transport::Channel;

use crate::producers::Notebook;
use crate::site::{Ground, Site};
pub use database::Database;
pub use observed::{REST_MAX, Rest};
pub use service::{Release, Role, Service};

/// Mails that the look-alike keeps: more than any world sends.
const KEPT_MAX: usize = 200_000;

/// A running world; all of it ends with the value.
#[derive(Debug)]
pub struct World {
    pub ground: Ground,
    /// With which it began.
    release: Release,
    // Before what they lean on.
    services: Vec<Service>,
    pub provider: Lookalike,
    pub site: Site,
    pub database: Database,
    pub notebook: Notebook,
    directory: TempDir,
}

impl World {
    /// # Errors
    /// If something does not start.
    pub async fn start(ground: Ground) -> anyhow::Result<Self> {
        Self::start_with(ground, Release::New).await
    }

    /// The same with all processes of a release.
    ///
    /// # Errors
    /// If something does not start.
    pub async fn start_with(ground: Ground, release: Release) -> anyhow::Result<Self> {
        let any: SocketAddr = ([127, 0, 0, 1], 0).into();
        let options = LookalikeOptions {
            keep_max: KEPT_MAX,
            ..LookalikeOptions::default()
        };
        let directory = tempfile::tempdir()?;
        let (site, database) = tokio::join!(Site::start(ground), Database::start(ground, directory.path()));
        let mut world = Self {
            ground,
            release,
            services: Vec::new(),
            provider: Lookalike::start(any, options).await?,
            site,
            database,
            notebook: Notebook::default(),
            directory,
        };
        for role in Role::ALL {
            for number in 0..role.count() {
                let service = Service::new(role, number, &world).await;
                world.services.push(service);
            }
        }
        for index in 0..world.services.len() {
            world.services[index].config = settings::of(&world, &world.services[index])?;
            world.services[index].start().await?;
        }
        world.provider.set_webhooks(Webhooks {
            sns: Some(format!(
                "http://{}/ses/sns",
                world.service(Role::Feedback, 0).front.address()
            )),
            ..Webhooks::default()
        });
        Ok(world)
    }

    /// # Panics
    /// If there is none of that number.
    #[must_use]
    pub fn service(&self, role: Role, number: usize) -> &Service {
        self.of(role).nth(number).expect("there is one")
    }

    /// # Panics
    /// If there is none of that number.
    pub fn service_mut(&mut self, role: Role, number: usize) -> &mut Service {
        self.services
            .iter_mut()
            .filter(|service| service.role == role)
            .nth(number)
            .expect("there is one")
    }

    /// All of a role.
    pub fn of(&self, role: Role) -> impl Iterator<Item = &Service> {
        self.services.iter().filter(move |service| service.role == role)
    }

    /// To ingest, as producers reach it.
    ///
    /// # Errors
    /// If the address is none.
    pub fn channel(&self) -> anyhow::Result<Channel> {
        let address = self.service(Role::Ingest, 0).front.address();
        paceline_kit::grpc::channel(&format!("http://{address}")).context("ingest's address")
    }

    /// Starts that had to be made anew, of all services.
    #[must_use]
    pub fn starts_again(&self) -> usize {
        self.services.iter().map(Service::starts_again).sum()
    }

    /// The ends of all logs.
    #[must_use]
    pub fn logs(&self) -> String {
        let logs = self.services.iter().map(Service::log);
        logs.collect::<Vec<_>>().join("\n")
    }
}

/// Time that passes for processes, too: since the machine started.
#[must_use]
pub fn now() -> Duration {
    SystemClock.boot()
}

/// The wall clock in ms of the epoch.
#[must_use]
pub fn wall_ms() -> i64 {
    i64::try_from(SystemClock.wall().0).unwrap_or(i64::MAX)
}

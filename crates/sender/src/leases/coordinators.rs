//! The coordinators over gRPC: any of them names the leader, which alone grants.

use std::time::Duration;

use paceline_kit::client::{ChannelError, Client, Connection};
use paceline_kit::trace;
use paceline_wire::v1;
use paceline_wire::v1::throttle_service_client::ThrottleServiceClient;
use tonic::{Code, Request, Response, Status};
use tonic_types::StatusExt as _;

use super::LeaseSource;

/// `ErrorInfo.reason` of a coordinator that does not lead; its metadata may name the one that does.
const NOT_LEADER: &str = "not_leader";
const LEADER: &str = "leader";

/// A lost call, and its repetition at the leader, must leave time for another one before the leases lapse.
const CALL_MAX: Duration = Duration::from_millis(700);

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum LeaseError {
    #[error("{address} can't be called")]
    Address { address: String, source: ChannelError },
    #[error("{address} answers: {status}")]
    Refused { address: String, status: Box<Status> },
    #[error("{address} does not lead and knows no leader")]
    NoLeader { address: String },
}

/// The configured coordinators, and the one that is thought to lead.
#[derive(Debug)]
pub struct Coordinators {
    addresses: Vec<String>,
    client: Client,
    /// The one of `addresses` to try when the leader is unknown.
    next: usize,
    leader: Option<(String, ThrottleServiceClient<Connection>)>,
}

impl Coordinators {
    /// Connects to none of them yet.
    #[must_use]
    pub const fn new(addresses: Vec<String>, client: Client) -> Self {
        Self {
            addresses,
            client,
            next: 0,
            leader: None,
        }
    }

    fn client(&mut self) -> Result<(String, ThrottleServiceClient<Connection>), LeaseError> {
        if let Some(leader) = &self.leader {
            return Ok(leader.clone());
        }
        let address = self.addresses[self.next % self.addresses.len()].clone();
        self.turn_to(address)
    }

    fn turn_to(
        &mut self,
        address: String,
    ) -> Result<(String, ThrottleServiceClient<Connection>), LeaseError> {
        let channel = match self.client.channel(&address) {
            Ok(channel) => channel,
            Err(source) => return Err(LeaseError::Address { address, source }),
        };
        let leader = (address, ThrottleServiceClient::new(channel));
        self.leader = Some(leader.clone());
        Ok(leader)
    }

    /// Learns from an error: whom to ask next. The leader that a coordinator named, if it did.
    fn learn(&mut self, address: String, status: Status) -> Result<String, LeaseError> {
        self.leader = None;
        let details = status.get_error_details();
        let named = details
            .error_info()
            .filter(|info| status.code() == Code::FailedPrecondition && info.reason == NOT_LEADER);
        let Some(named) = named else {
            return Err(self.give_up(address, status));
        };
        match named.metadata.get(LEADER) {
            Some(leader) if !leader.is_empty() && *leader != address => Ok(with_scheme(leader)),
            _ => {
                self.next = self.next.wrapping_add(1);
                Err(LeaseError::NoLeader { address })
            }
        }
    }

    /// Asks another one next time.
    fn give_up(&mut self, address: String, status: Status) -> LeaseError {
        self.leader = None;
        self.next = self.next.wrapping_add(1);
        LeaseError::Refused {
            address,
            status: Box::new(status),
        }
    }
}

impl LeaseSource for Coordinators {
    async fn refresh(&mut self, request: v1::RefreshRequest) -> Result<v1::RefreshResponse, LeaseError> {
        let (address, mut client) = self.client()?;
        let status = match within(client.refresh(traced(request.clone()))).await {
            Ok(answer) => return Ok(answer),
            Err(status) => status,
        };
        let leader = self.learn(address, status)?;
        let (address, mut client) = self.turn_to(leader)?;
        match within(client.refresh(traced(request))).await {
            Ok(answer) => Ok(answer),
            Err(status) => Err(self.give_up(address, status)),
        }
    }

    async fn release(&mut self, request: v1::ReleaseRequest) -> Result<(), LeaseError> {
        let (address, mut client) = self.client()?;
        match within(client.release(traced(request))).await {
            Ok(_) => Ok(()),
            Err(status) => Err(self.give_up(address, status)),
        }
    }
}

/// The answer, or a status if none comes in time: a coordinator that hangs must not be asked for ever.
async fn within<T>(call: impl Future<Output = Result<Response<T>, Status>>) -> Result<T, Status> {
    match tokio::time::timeout(CALL_MAX, call).await {
        Ok(answer) => answer.map(Response::into_inner),
        Err(_) => Err(Status::deadline_exceeded("no answer in time")),
    }
}

fn traced<T>(message: T) -> Request<T> {
    let mut request = Request::new(message);
    trace::inject(&tracing::Span::current(), request.metadata_mut());
    request
}

/// A leader says where it listens as an address or as a URI.
fn with_scheme(address: &str) -> String {
    if address.contains("://") {
        address.to_owned()
    } else {
        format!("http://{address}")
    }
}

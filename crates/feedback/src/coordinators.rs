//! The coordinators over gRPC: any of them names the leader, which alone takes counts.

use std::time::Duration;

use paceline_kit::client::{ChannelError, Client};
use paceline_wire::v1;
use paceline_wire::v1::throttle_service_client::ThrottleServiceClient;
use tonic::Status;
use tonic_types::StatusExt as _;

/// `ErrorInfo.reason` of a coordinator that does not lead; its metadata may name the one that does.
const NOT_LEADER: &str = "not_leader";
const CALL_MAX: Duration = Duration::from_secs(2);

/// Why a batch was not taken, or may not have been.
#[derive(Debug, thiserror::Error)]
pub(crate) enum FeedbackError {
    #[error("{address} can't be called")]
    Address { address: String, source: ChannelError },
    #[error("{address} answers: {status}")]
    Refused { address: String, status: Box<Status> },
}

/// The configured coordinators, and which of them is asked next.
#[derive(Debug)]
pub(crate) struct Coordinators {
    addresses: Vec<String>,
    client: Client,
    next: usize,
    leader: Option<String>,
}

impl Coordinators {
    /// Connects to none of them yet.
    #[must_use]
    pub(crate) const fn new(addresses: Vec<String>, client: Client) -> Self {
        Self {
            addresses,
            client,
            next: 0,
            leader: None,
        }
    }

    /// Tells the leader, by way of another one if need be. An error leaves the batch to be told again.
    pub(crate) async fn feedback(&mut self, request: &v1::FeedbackRequest) -> Result<(), FeedbackError> {
        let address = match (&self.leader, self.addresses.is_empty()) {
            (Some(leader), _) => leader.clone(),
            (None, true) => return Ok(()),
            (None, false) => self.addresses[self.next % self.addresses.len()].clone(),
        };
        let error = match self.call(&address, request).await {
            Ok(()) => {
                self.leader = Some(address);
                return Ok(());
            }
            Err(error) => error,
        };
        self.leader = None;
        match named_leader(&error) {
            Some(leader) if leader != address => {
                self.call(&leader, request).await?;
                self.leader = Some(leader);
                Ok(())
            }
            _ => {
                self.next = self.next.wrapping_add(1);
                Err(error)
            }
        }
    }

    async fn call(&self, address: &str, request: &v1::FeedbackRequest) -> Result<(), FeedbackError> {
        let channel = self
            .client
            .channel(address)
            .map_err(|source| FeedbackError::Address {
                address: address.to_owned(),
                source,
            })?;
        let mut client = ThrottleServiceClient::new(channel);
        let call = tokio::time::timeout(CALL_MAX, client.feedback(request.clone())).await;
        let answer = call.unwrap_or_else(|_| Err(Status::deadline_exceeded("no answer in time")));
        answer.map(|_| ()).map_err(|status| FeedbackError::Refused {
            address: address.to_owned(),
            status: Box::new(status),
        })
    }
}

fn named_leader(error: &FeedbackError) -> Option<String> {
    let FeedbackError::Refused { status, .. } = error else {
        return None;
    };
    let details = status.get_error_details();
    let info = details.error_info().filter(|info| info.reason == NOT_LEADER)?;
    let leader = info.metadata.get("leader").filter(|leader| !leader.is_empty())?;
    Some(if leader.contains("://") {
        leader.clone()
    } else {
        format!("http://{leader}")
    })
}

//! Calls to the coordinator that leads, wherever one asks first.

use paceline_kit::client::Connection;
use paceline_wire::status::RpcError;
use paceline_wire::v1::throttle_service_client::ThrottleServiceClient;
use paceline_wire::v1::{DescribeRequest, DescribeResponse};
use tonic::{Request, Response, Status};

use crate::args::{Asked, Target};
use crate::client;

pub(crate) type Client = ThrottleServiceClient<Connection>;

/// `ErrorInfo.reason` of a coordinator that does not lead; metadata `leader` is the address of the one that does.
const NOT_LEADER: &str = "not_leader";
/// How often one call follows such an answer: the leader may have changed since.
const MOVES_MAX: usize = 2;

/// Asks the coordinator that leads, as far as is known.
pub(crate) struct Coordinator<'a> {
    target: &'a Target,
    client: Client,
}

impl<'a> Coordinator<'a> {
    pub(crate) fn connect(target: &'a Target, asked: &Asked) -> anyhow::Result<Self> {
        let connection = client::connect_to(target, &asked.coordinator, "--coordinator")?;
        let client = Client::new(connection);
        Ok(Self { target, client })
    }

    /// The client of the coordinator that was asked last.
    pub(crate) fn client(&self) -> Client {
        self.client.clone()
    }

    /// Calls, and again where a coordinator says that another one leads.
    ///
    /// # Errors
    /// What the last one answered, explained.
    pub(crate) async fn call<Q: Clone, A>(
        &mut self,
        request: Q,
        call: impl AsyncFn(Client, Request<Q>) -> Result<Response<A>, Status>,
    ) -> anyhow::Result<A> {
        let mut moves = 0;
        loop {
            let status = match call(self.client(), client::within(request.clone())).await {
                Ok(answer) => return Ok(answer.into_inner()),
                Err(status) => status,
            };
            match leader(&status) {
                Some(leader) if moves < MOVES_MAX => self.move_to(&leader)?,
                _ => return Err(client::explain(&status)),
            }
            moves += 1;
        }
    }

    /// What the leader knows. If none is known, what the one that was asked knows.
    ///
    /// # Errors
    /// What the last one answered, explained.
    pub(crate) async fn describe(&mut self, request: &DescribeRequest) -> anyhow::Result<DescribeResponse> {
        let mut moves = 0;
        loop {
            let answer = self
                .call(request.clone(), async |mut client, request| {
                    client.describe(request).await
                })
                .await?;
            if answer.leader || answer.leader_address.is_empty() || moves == MOVES_MAX {
                return Ok(answer);
            }
            self.move_to(&answer.leader_address)?;
            moves += 1;
        }
    }

    fn move_to(&mut self, leader: &str) -> anyhow::Result<()> {
        self.client = Client::new(client::connect_to(self.target, leader, "the leader")?);
        Ok(())
    }
}

/// Who leads, if the answer says so.
fn leader(status: &Status) -> Option<String> {
    let error = RpcError::from(status);
    if error.reason != NOT_LEADER {
        return None;
    }
    let mut metadata = error.metadata.into_iter();
    let (_, address) = metadata.find(|(name, _)| name == "leader")?;
    (!address.is_empty()).then_some(address)
}

#[cfg(test)]
mod tests {
    use paceline_wire::status::RpcError;
    use tonic::{Code, Status};

    use super::leader;

    #[test]
    fn only_who_does_not_lead_names_another() {
        let said = |reason, address: &str| {
            let error = RpcError::new(Code::FailedPrecondition, reason, "no").with("leader", address);
            leader(&Status::from(error))
        };
        assert_eq!(
            said("not_leader", "http://10.0.0.2:7071"),
            Some("http://10.0.0.2:7071".to_owned())
        );
        assert_eq!(said("not_leader", ""), None, "an election is under way");
        assert_eq!(said("warming_up", "http://10.0.0.2:7071"), None);
        assert_eq!(leader(&Status::unavailable("nobody")), None);
    }
}

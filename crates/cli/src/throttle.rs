//! `paceline throttle`: how the rates stand.

use paceline_wire::v1::throttle_service_client::ThrottleServiceClient;

use crate::args::{Target, ThrottleCommand};
use crate::client;

mod replay;

pub(crate) async fn run(target: &Target, command: &ThrottleCommand) -> anyhow::Result<()> {
    match command {
        ThrottleCommand::Replay(options) => {
            let connection = client::connect_to(target, &options.coordinator, "--coordinator")?;
            let client = ThrottleServiceClient::new(connection);
            replay::run(target, client, options.key.as_deref()).await
        }
    }
}

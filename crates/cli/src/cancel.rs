//! `paceline cancel ID`.

use paceline_wire::v1::CancelRequest;

use crate::args::{MessageOptions, Target};
use crate::{client, status};

pub(crate) async fn run(target: &Target, options: &MessageOptions) -> anyhow::Result<()> {
    let request = CancelRequest {
        tenant: target.tenant.clone(),
        message_id: options.id.clone(),
    };
    let answer = client::messages(target)?.cancel(client::within(request)).await;
    let answer = answer.map_err(|status| client::explain(&status))?.into_inner();
    println!(
        "{}",
        if answer.cancelled_now {
            "cancelled"
        } else {
            "it was cancelled before"
        }
    );
    status::print(&answer.message.unwrap_or_default());
    Ok(())
}

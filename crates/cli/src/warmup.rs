//! `paceline warmup start|stop|status IDENTITY`.

use anyhow::Context as _;
use paceline_wire::v1::{DescribeRequest, StartWarmUpRequest, StopWarmUpRequest, ThrottleKey};

use crate::args::{Target, WarmupCommand, WarmupOptions};
use crate::coordinator::Coordinator;
use crate::key;

pub(crate) async fn run(target: &Target, options: &WarmupOptions) -> anyhow::Result<()> {
    let mut coordinator = Coordinator::connect(target, &options.asked)?;
    match &options.command {
        WarmupCommand::Start(begun) => {
            let identity = &begun.warmed.identity;
            let request = StartWarmUpRequest {
                key: Some(identity.clone()),
                overflow_to: begun.overflow_to.clone(),
            };
            coordinator
                .call(request, async |mut client, request| {
                    client.start_warm_up(request).await
                })
                .await?;
            status(&mut coordinator, identity).await
        }
        WarmupCommand::Stop(warmed) => {
            let key = Some(warmed.identity.clone());
            let answer = coordinator
                .call(StopWarmUpRequest { key }, async |mut client, request| {
                    client.stop_warm_up(request).await
                })
                .await?;
            let name = key::name(&warmed.identity);
            if answer.stopped {
                println!("{name}: warm");
            } else {
                println!("{name}: was not being warmed up");
            }
            Ok(())
        }
        WarmupCommand::Status(warmed) => status(&mut coordinator, &warmed.identity).await,
    }
}

async fn status(coordinator: &mut Coordinator<'_>, identity: &ThrottleKey) -> anyhow::Result<()> {
    let request = DescribeRequest {
        keys: vec![identity.clone()],
        ..DescribeRequest::default()
    };
    let answer = coordinator.describe(&request).await?;
    anyhow::ensure!(answer.leader, "no coordinator leads now");
    let name = key::name(identity);
    let described = answer.keys.into_iter().next();
    let described = described.with_context(|| format!("{name} is not paced: no sender has asked for it"))?;
    match described.warm_up {
        Some(it) => {
            let over = match it.overflow_to.as_str() {
                "" => "what is above waits".to_owned(),
                to => format!("what is above goes as {to}"),
            };
            println!(
                "{name}: day {}, {} of at most {} recipients spent, {over}",
                it.day, it.spent, it.cap
            );
        }
        None => println!("{name}: not being warmed up"),
    }
    Ok(())
}

//! `paceline stop`: holding back, or ending, what is on its way.

use paceline_kit::client::Connection;
use paceline_wire::v1::stops_service_client::StopsServiceClient;
use paceline_wire::v1::{Lane, ListStopsRequest, ReleaseStopRequest, Stop, StopRequest, StopSelector};

use crate::args::{SetOptions, StopCommand, StopOptions, Target};
use crate::{client, status};

type Client = StopsServiceClient<Connection>;

pub(crate) async fn run(target: &Target, options: StopOptions) -> anyhow::Result<()> {
    let client = StopsServiceClient::new(client::connect(target)?);
    match options.command {
        None => set(client, target, options.set).await,
        Some(StopCommand::List) => list(client, target).await,
        Some(StopCommand::Release {
            id,
            cancel,
            dry_run,
            why,
            who,
        }) => {
            let request = ReleaseStopRequest {
                stop_id: id,
                cancel,
                who,
                why: why.unwrap_or_default(),
                dry_run,
            };
            release(client, request).await
        }
    }
}

async fn set(mut client: Client, target: &Target, options: SetOptions) -> anyhow::Result<()> {
    let (tag_name, tag_value) = options.tag.unwrap_or_default();
    let request = StopRequest {
        selector: Some(StopSelector {
            template: options.template,
            tenant: target.named_tenant().to_owned(),
            tag_name,
            tag_value,
            lane: options.lane.map_or(Lane::Unspecified, Lane::from).into(),
        }),
        cancel: options.cancel,
        who: options.who,
        why: options.why.unwrap_or_default(),
    };
    let answer = client.stop(client::within(request)).await;
    let answer = answer.map_err(|status| client::explain(&status))?.into_inner();
    println!("stopped: within 2 s nothing of it is claimed any more");
    print(&answer.stop.unwrap_or_default());
    Ok(())
}

async fn list(mut client: Client, target: &Target) -> anyhow::Result<()> {
    let request = ListStopsRequest {
        tenant: target.named_tenant().to_owned(),
    };
    let answer = client.list_stops(client::within(request)).await;
    let stops = answer
        .map_err(|status| client::explain(&status))?
        .into_inner()
        .stops;
    if stops.is_empty() {
        println!("nothing is stopped");
    }
    for stop in stops {
        print(&stop);
    }
    Ok(())
}

async fn release(mut client: Client, request: ReleaseStopRequest) -> anyhow::Result<()> {
    let dry_run = request.dry_run;
    let answer = client.release_stop(client::within(request)).await;
    let answer = answer.map_err(|status| client::explain(&status))?.into_inner();
    let stop = answer.stop.unwrap_or_default();
    let cancel = stop.release.as_ref().is_some_and(|release| release.cancel);
    let end = match (dry_run, cancel) {
        (true, false) => "held messages would be sent",
        (true, true) => "held, scheduled and deferred messages would end as cancelled",
        (false, false) => "held messages go their way",
        (false, true) => "held, scheduled and deferred messages end as cancelled",
    };
    println!("{} {end}", count(answer.messages, answer.more));
    Ok(())
}

fn count(counted: u64, more: bool) -> String {
    if more {
        format!("at least {counted}")
    } else {
        counted.to_string()
    }
}

/// A stop in one line.
fn print(stop: &Stop) {
    let selector = stop.selector.clone().unwrap_or_default();
    let tag = match selector.tag_value.as_str() {
        "" => selector.tag_name.clone(),
        value => format!("{}={value}", selector.tag_name),
    };
    let lane = match selector.lane() {
        Lane::Unspecified => String::new(),
        _ => status::lane(selector.lane),
    };
    let given: Vec<String> = [
        ("template", selector.template),
        ("tenant", selector.tenant),
        ("tag", tag),
        ("lane", lane),
    ]
    .into_iter()
    .filter(|(_, value)| !value.is_empty())
    .map(|(name, value)| format!("{name} {value}"))
    .collect();
    let state = match &stop.release {
        Some(release) if release.cancel => "released, ending what it kept back",
        Some(_) => "released, sending what it held",
        None if stop.cancel => "cancels",
        None => "holds",
    };
    println!(
        "{}  {state}  {}  {} held  by {} at {}: {}",
        stop.stop_id,
        given.join(", "),
        count(stop.held, stop.more_held),
        stop.who,
        client::show_time(stop.at),
        stop.why
    );
}

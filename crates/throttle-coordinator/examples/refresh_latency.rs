//! How long a refresh takes, `refresh_latency [SENDERS [KEYS [SECONDS]]]`: so many senders with so many keys each ask twice a second, spread evenly, as real ones do.
//!
//! A coordinator as a process of its own with a Redis of its own; `make refresh-latency` builds both optimised. Prints one line of JSON.

use std::time::Duration;

use paceline_kit::grpc;
use paceline_testkit::{ServiceProcess, TestRedis};
use paceline_wire::v1;
use paceline_wire::v1::throttle_service_client::ThrottleServiceClient;
use tokio::task::JoinSet;
use tokio::time::Instant;

const REFRESH: Duration = Duration::from_millis(500);
/// For the election, and the learning after it.
const WARM_UP: Duration = Duration::from_secs(8);

/// The argument at a place, or what is usual.
fn argument(place: usize, default: u32) -> u32 {
    let given = std::env::args().nth(place);
    given.and_then(|text| text.parse().ok()).unwrap_or(default)
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let (senders, keys) = (argument(1, 200), argument(2, 20));
    let time = Duration::from_secs(argument(3, 20).into());
    let redis = TestRedis::start().await;
    let config = format!(
        "listen = \"127.0.0.1:0\"\nadmin_listen = \"127.0.0.1:0\"\n[rates]\nstart = 5000.0\n[redis]\nurl = \"{}\"\ndurability = \"local\"\n",
        redis.url()
    );
    let coordinator = ServiceProcess::start("throttle-coordinator", &config).await?;
    let address = format!("http://{}", coordinator.grpc());
    let begin = Instant::now();
    let mut asking = JoinSet::new();
    for number in 0..senders {
        let channel = grpc::channel(&address)?;
        let first = begin + REFRESH * number / senders;
        asking.spawn(ask(
            ThrottleServiceClient::new(channel),
            number,
            keys,
            first,
            begin + WARM_UP + time,
        ));
    }
    let (mut took, mut failed) = (Vec::new(), 0);
    while let Some(asked) = asking.join_next().await {
        for (at, answer) in asked? {
            match answer {
                _ if at < begin + WARM_UP => {}
                Some(time) => took.push(time),
                None => failed += 1,
            }
        }
    }
    took.sort_unstable();
    let at = |percent: usize| {
        took.get(took.len() * percent / 1_000)
            .map_or(0.0, |it| it.as_secs_f64() * 1e3)
    };
    println!(
        "{{\"senders\":{senders},\"keys\":{keys},\"refreshes\":{},\"failed\":{failed},\"p50_ms\":{:.2},\"p99_ms\":{:.2},\"p999_ms\":{:.2},\"max_ms\":{:.2}}}",
        took.len(),
        at(500),
        at(990),
        at(999),
        took.last().map_or(0.0, |it| it.as_secs_f64() * 1e3),
    );
    Ok(())
}

/// Asks until `end`: when, and how long it took; nothing if it failed. Latency counts from when a call was due, so that a slow one does not
/// hide those behind it.
async fn ask(
    mut client: ThrottleServiceClient<tonic::transport::Channel>,
    number: u32,
    keys: u32,
    first: Instant,
    end: Instant,
) -> Vec<(Instant, Option<Duration>)> {
    let mut incarnation = [7; 16];
    incarnation[..4].copy_from_slice(&number.to_be_bytes());
    let (mut due, mut asked, mut has, mut version, mut epoch) = (first, Vec::new(), 0.0, 0, 0);
    for sequence in 1.. {
        tokio::time::sleep_until(due).await;
        if due >= end {
            break;
        }
        let sent_total = sequence * 100;
        let item = |key| v1::RefreshItem {
            key: Some(v1::ThrottleKey {
                provider: "ses".to_owned(),
                identity: format!("identity-{key}"),
            }),
            wants: 1_000.0,
            has_rate: has,
            has_epoch: epoch,
            has_version: version,
            sent_total,
            accepted_total: sent_total,
            spent_total: sent_total,
            ..v1::RefreshItem::default()
        };
        let request = v1::RefreshRequest {
            sender_id: format!("sender-{number}"),
            incarnation: incarnation.to_vec().into(),
            sequence,
            items: (0..keys).map(item).collect(),
            epoch_seen: epoch,
            backups: Vec::new(),
        };
        let answer = client.refresh(request).await;
        asked.push((due, answer.is_ok().then(|| due.elapsed())));
        if let Ok(answer) = answer {
            let answer = answer.into_inner();
            epoch = answer.epoch;
            if let Some(lease) = answer.leases.first() {
                (has, version) = (lease.rate, lease.version);
            }
        }
        due += REFRESH;
    }
    asked
}

//! What a release left in Redis is taken up by the functions of this one: each message goes on from where it stood.

use std::time::Duration;

use crate::written::dump::{self, Dump};
use crate::written::fixtures::{self, Frozen};
use crate::written::redis::{self, Bench, SHARD};
use anyhow::{Context as _, bail, ensure};
use paceline_domain::machine::Outcome;
use paceline_domain::record::State;
use paceline_domain::suppression::{Suppressed, SuppressionReason};
use paceline_store::throttle::{Known, Leadership, PartBody};
use paceline_store::{Addressee, Announced, BucketState, Change, Claimed, Redrive, Report};
use paceline_testkit::TestRedis;
use paceline_wire::{requests, v1};
use prost::Message as _;

/// The first fixture with templates that are announced.
const ANNOUNCED_SINCE: u32 = 7;

async fn restored(frozen: &Frozen) -> anyhow::Result<Bench> {
    let dump: Dump = serde_json::from_slice(&frozen.bytes)?;
    let server = TestRedis::start().await;
    dump::put(&server, &dump).await?;
    Bench::on(server).await
}

/// Runs a look at what each release left.
async fn each(look: impl AsyncFn(&Bench) -> anyhow::Result<()>) -> anyhow::Result<()> {
    each_with_number(async |bench, _| look(bench).await).await
}

/// The same with the number of the fixture.
async fn each_with_number(look: impl AsyncFn(&Bench, u32) -> anyhow::Result<()>) -> anyhow::Result<()> {
    let all = fixtures::all(redis::NAME)?;
    ensure!(!all.is_empty(), "nothing is frozen");
    for frozen in all {
        let bench = restored(&frozen).await?;
        look(&bench, frozen.number)
            .await
            .with_context(|| frozen.path.display().to_string())?;
    }
    Ok(())
}

#[tokio::test]
async fn what_is_put_back_is_what_was_there() -> anyhow::Result<()> {
    for frozen in fixtures::all(redis::NAME)? {
        let dump: Dump = serde_json::from_slice(&frozen.bytes)?;
        let server = TestRedis::start().await;
        dump::put(&server, &dump).await?;
        ensure!(
            dump::take(&server).await? == dump,
            "{} comes back otherwise",
            frozen.path.display()
        );
    }
    Ok(())
}

#[tokio::test]
async fn every_kind_of_key_is_frozen() -> anyhow::Result<()> {
    let newest = fixtures::all(redis::NAME)?.pop().context("nothing is frozen")?;
    let dump: Dump = serde_json::from_slice(&newest.bytes)?;
    for kind in [
        "{pl1:0}:m:",
        "{pl1:0}:q:",
        "{pl1:0}:queued:",
        "{pl1:0}:ready:",
        "{pl1:0}:active",
        "{pl1:0}:open",
        "{pl1:0}:later",
        "{pl1:0}:doubt",
        "{pl1:0}:dead",
        "{pl1:0}:held",
        "{pl1:0}:log",
        "{pl1:0}:run",
        "{pl1:stop}",
        "{pl1:sup:",
        "{pl1:meta}",
        "{pl1:tpl}:",
        "{pl1:thr",
    ] {
        ensure!(
            dump.keys().any(|key| key.starts_with(kind)),
            "no key begins with {kind}"
        );
    }
    Ok(())
}

#[tokio::test]
async fn every_message_is_known_and_its_request_is_read() -> anyhow::Result<()> {
    each(async |bench| {
        for (id, state) in redis::STATES {
            let record = bench
                .store
                .get(id)
                .await?
                .with_context(|| format!("{id} is gone"))?;
            ensure!(record.state == state, "{record:?}");
            ensure!(record.tenant == "acme" && record.identity == "main", "{record:?}");
        }
        let ids = [redis::QUEUED, redis::DEAD, redis::SCHEDULED];
        for request in bench.store.requests(SHARD, &ids).await? {
            let request = requests::read(request.context("a request is gone")?)?;
            ensure!(request.user_id == "42", "{request:?}");
            ensure!(request.bundle_hash == redis::BUNDLE[..], "{request:?}");
            ensure!(request.data.starts_with(b"{\"name\""), "{request:?}");
        }
        Ok(())
    })
    .await
}

#[tokio::test]
async fn what_waits_goes_on_to_its_end() -> anyhow::Result<()> {
    each(async |bench| {
        let store = &bench.store;
        bench.advance(Duration::from_secs(3 * 3_600));
        let due = [redis::DEFERRED, redis::SCHEDULED].map(|id| (id, redis::queued()));
        let promoted = store.promote(SHARD, &due).await?;
        ensure!(matches!(promoted[..], [Change::Moved(_), _]), "{promoted:?}");
        let released = store.release(SHARD, &[redis::HELD], bytes::Bytes::new()).await?;
        ensure!(matches!(released[..], [Change::Moved(_)]), "{released:?}");
        let redrive = Redrive {
            id: redis::DEAD,
            request: None,
        };
        let redriven = store
            .redrive_all(SHARD, vec![redrive], bytes::Bytes::new())
            .await?;
        ensure!(matches!(redriven[..], [Change::Moved(_)]), "{redriven:?}");
        // Queued, redriven, deferred, held and dead.
        ensure!(bench.render().await? >= 5, "not all was queued");
        let mut sent = Vec::new();
        for claimed in bench.claim(9).await? {
            match claimed {
                Claimed::Sending(record) => sent.push(record),
                Claimed::Expired => {}
                other => bail!("{other:?}"),
            }
        }
        // The one that was ready then, too.
        ensure!(sent.len() >= 6, "{} were claimed", sent.len());
        Ok(())
    })
    .await
}

#[tokio::test]
async fn a_claim_ends_by_its_fence_and_a_doubt_by_its_window() -> anyhow::Result<()> {
    each(async |bench| {
        let store = &bench.store;
        let claim = store.get(redis::SENDING).await?.context("the claim is gone")?;
        let report = Report {
            id: redis::SENDING,
            fence: claim.fence(),
            outcome: Outcome::Accepted {
                provider_id: "0100019def".to_owned(),
            },
        };
        let changes = store.finish(SHARD, vec![report]).await?;
        ensure!(
            matches!(&changes[..], [Change::Moved(record)] if record.state == State::Accepted),
            "{changes:?}"
        );
        bench.advance(Duration::from_secs(3_600));
        let doubt = store.get(redis::IN_DOUBT).await?.context("the doubt is gone")?;
        let changes = store.resolve(SHARD, &[(redis::IN_DOUBT, doubt.fence())]).await?;
        ensure!(
            matches!(&changes[..], [Change::Moved(record)] if record.resent),
            "{changes:?}"
        );
        Ok(())
    })
    .await
}

#[tokio::test]
async fn the_log_tells_of_every_message() -> anyhow::Result<()> {
    each(async |bench| {
        let entries = bench.store.log_since(SHARD, "0", 1_000).await?;
        let moves: Vec<_> = entries.into_iter().flat_map(|(_, moves)| moves).collect();
        for (id, state) in redis::STATES {
            let newest = moves.iter().filter(|it| it.id == id).max_by_key(|it| it.revision);
            let newest = newest.with_context(|| format!("the log does not know {id}"))?;
            ensure!(newest.state == state, "{newest:?}");
        }
        Ok(())
    })
    .await
}

#[tokio::test]
async fn stops_suppressions_bundles_and_rates_are_read() -> anyhow::Result<()> {
    each_with_number(async |bench, number| {
        let store = &bench.store;
        let stops = store.stops().await?;
        let (id, stop) = stops.first().context("the stop is gone")?;
        ensure!(id == redis::STOP && stop[0] == 1, "{stops:?}");
        ensure!(v1::StoredStop::decode(stop.slice(1..))?.who == "ops", "{stops:?}");

        let addressee = |category: &str| Addressee {
            address: redis::ADDRESS,
            category: category.to_owned(),
            despite_complaint: false,
        };
        let (news, none) = (addressee("news"), addressee(""));
        let found = store
            .suppressed(&[("acme", &news), ("acme", &none), ("other", &none)])
            .await?;
        let tenant = Some(SuppressionReason::HardBounce);
        let category = Some(SuppressionReason::Unsubscribe);
        let expected = [
            Suppressed { tenant, category },
            Suppressed {
                tenant,
                category: None,
            },
            Suppressed::default(),
        ];
        let found: Vec<Suppressed> = found.iter().map(|found| found.suppressed).collect();
        ensure!(found == expected, "{found:?}");
        let (_, bucket) = store.suppression_bucket(redis::ADDRESS.0[0]).await?;
        ensure!(bucket == BucketState::Complete, "{bucket:?}");
        store.check_address_key("fingerprint").await?;
        ensure!(
            store.get_bundle(&redis::BUNDLE).await?.as_deref() == Some(b"a bundle"),
            "no bundle"
        );
        let announcements = store.announcements().await?;
        ensure!(announcements.unreadable.is_empty(), "{announcements:?}");
        let expected: &[Announced] = match number {
            ..ANNOUNCED_SINCE => &[],
            _ => &[redis::announced()],
        };
        ensure!(announcements.announced == expected, "{announcements:?}");
        rates(bench).await
    })
    .await
}

async fn rates(bench: &Bench) -> anyhow::Result<()> {
    let store = &bench.store;
    let Leadership::Other { epoch, address } = store
        .lead("http://b", "another", Duration::from_secs(3), 0)
        .await?
    else {
        bail!("the lead is free");
    };
    ensure!(address == "http://a", "{address}");
    bench.redis.command(&["DEL", "{pl1:thr}:leader"]).await;
    let Leadership::Mine { term, .. } = store
        .lead("http://b", "another", Duration::from_secs(3), epoch)
        .await?
    else {
        bail!("nobody may lead");
    };
    let format = paceline_domain::controller::journal::FORMAT;
    let adopted = store
        .adopt_rate(&redis::rate_key(), &term, format, Known::default())
        .await?;
    let Ok(adopted) = adopted else {
        bail!("{adopted:?}");
    };
    ensure!(adopted.whole && adopted.saved == Some((80.5, 9)), "{adopted:?}");
    let kept = store.load_rate(&redis::rate_key(), &adopted).await?;
    let bodies: Vec<_> = kept.journal.iter().map(|part| part.body.clone()).collect();
    let expected = [
        PartBody::Opened("a state".to_owned()),
        PartBody::Events("[events]".to_owned()),
    ];
    ensure!(bodies == expected, "{bodies:?}");
    ensure!(
        kept.leases == [("aa".repeat(16), "80|90|2000|9|41|12220".to_owned())],
        "{:?}",
        kept.leases
    );
    Ok(())
}

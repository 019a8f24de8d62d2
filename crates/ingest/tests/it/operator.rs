//! What people do: dead letters, doubts and stops, by their RPCs, and what the log says of it.

use std::time::Duration;

use bytes::Bytes;
use paceline_domain::id::MessageId;
use paceline_domain::machine::Outcome;
use paceline_domain::reason::Reason;
use paceline_domain::record::{Record, State};
use paceline_store::{Entry, EntryBody, Report, Stage, Unrendered};
use paceline_wire::status::{RpcError, reason};
use paceline_wire::v1;
use paceline_wire::v1::dead_letters_service_client::DeadLettersServiceClient;
use paceline_wire::v1::doubt_service_client::DoubtServiceClient;
use paceline_wire::v1::stops_service_client::StopsServiceClient;
use prost::Message as _;
use tonic::transport::Channel;
use tonic::{Code, Status};

use crate::messages::{claim, read};
use crate::running::{Running, order};

fn dead_letters(service: &Running) -> DeadLettersServiceClient<Channel> {
    DeadLettersServiceClient::new(service.channel.clone())
}

fn doubts(service: &Running) -> DoubtServiceClient<Channel> {
    DoubtServiceClient::new(service.channel.clone())
}

fn filter(template: &str, reason: &str) -> Option<v1::MessageFilter> {
    Some(v1::MessageFilter {
        tenant: "shop".to_owned(),
        template: template.to_owned(),
        reason: reason.to_owned(),
        ..v1::MessageFilter::default()
    })
}

fn act(filter: Option<v1::MessageFilter>) -> v1::MessageAct {
    v1::MessageAct {
        filter,
        who: "ops".to_owned(),
        why: "mended".to_owned(),
        ..v1::MessageAct::default()
    }
}

async fn accepted(service: &Running, number: u32) -> MessageId {
    let answer = service.enqueue(order(number)).await.expect("accepted");
    answer.message_id.parse().expect("an id")
}

async fn record(service: &Running, id: MessageId) -> Record {
    let record = service.store.get(id).await.expect("redis is there");
    record.expect("a record")
}

/// Accepts an order and buries it.
async fn dead(service: &Running, number: u32) -> MessageId {
    let id = accepted(service, number).await;
    let Entry {
        stream,
        entry_id,
        body,
        ..
    } = read(&service.store, Stage::Queued).await;
    let EntryBody::Message { ticket, .. } = body else {
        panic!("{body:?}")
    };
    let reason = Reason::RenderFailed;
    let unrendered = Unrendered {
        stream,
        entry_id,
        id,
        ticket,
        reason,
    };
    let buried = service.store.bury(0, vec![unrendered]).await;
    buried.expect("redis is there");
    id
}

/// Accepts an order, claims it, and reports that nobody knows what became of it.
async fn doubtful(service: &Running, number: u32) -> MessageId {
    let id = accepted(service, number).await;
    let fence = claim(&service.store, id).await;
    let outcome = Outcome::Unknown {
        reason: Reason::Timeout,
    };
    let reported = service.store.finish(0, vec![Report { id, fence, outcome }]).await;
    reported.expect("redis is there");
    id
}

async fn stored_request(service: &Running, id: MessageId) -> v1::StoredRequest {
    let requests = service.store.requests(0, &[id]).await.expect("redis is there");
    let request = requests[0].clone().expect("a request");
    v1::StoredRequest::decode(request).expect("readable")
}

/// Pins a template that is not there.
async fn pin_another(service: &Running, id: MessageId) -> Bytes {
    let mut request = stored_request(service, id).await;
    let before = std::mem::replace(&mut request.bundle_hash, Bytes::from(vec![0; 32]));
    let (key, request) = (format!("{{pl1:0}}:q:{id}"), request.encode_to_vec());
    let set: [&[u8]; 3] = [b"SET", key.as_bytes(), &request];
    service.redis.command(&set).await;
    before
}

async fn listed(service: &Running, filter: Option<v1::MessageFilter>) -> Result<Vec<String>, Status> {
    let request = v1::ListDeadLettersRequest {
        filter,
        ..v1::ListDeadLettersRequest::default()
    };
    let answer = dead_letters(service)
        .list_dead_letters(request)
        .await?
        .into_inner();
    assert_eq!(answer.next_page_token, "");
    Ok(answer
        .messages
        .into_iter()
        .map(|message| message.message_id)
        .collect())
}

async fn redrive(service: &Running, act: v1::MessageAct, latest_template: bool) -> v1::MessageActDone {
    let request = v1::RedriveDeadLettersRequest {
        act: Some(act),
        latest_template,
    };
    let answer = dead_letters(service).redrive_dead_letters(request).await;
    answer.expect("done").into_inner().done.expect("a count")
}

async fn settle(service: &Running, act: v1::MessageAct, verdict: v1::DoubtVerdict) -> v1::MessageActDone {
    let request = v1::SettleDoubtsRequest {
        act: Some(act),
        verdict: verdict.into(),
    };
    let answer = doubts(service).settle_doubts(request).await;
    answer.expect("done").into_inner().done.expect("a count")
}

/// What the log says that people did, the newest first.
async fn acts(service: &Running) -> Vec<v1::LoggedAct> {
    let log = service
        .redis
        .command(&["XREVRANGE", "{pl1:0}:log", "+", "-"])
        .await;
    let mut acts = Vec::new();
    for entry in log.array() {
        let fields = entry.array()[1].array();
        if fields.len() >= 4 && fields[2].bytes()[..] == b"a"[..] {
            let act = Bytes::copy_from_slice(&fields[3].bytes());
            acts.push(v1::LoggedAct::decode(act).expect("an act"));
        }
    }
    acts
}

#[tokio::test]
async fn dead_letters_are_listed_by_what_fits_and_shown_with_what_was_to_be_sent() {
    let service = Running::start().await;
    let (one, two) = (dead(&service, 1).await, dead(&service, 2).await);
    let all = listed(&service, None).await.expect("listed");
    assert_eq!(all, [one.to_string(), two.to_string()]);
    for (filter, count) in [
        (filter("receipt", "render_failed"), 2),
        (filter("note", ""), 0),
        (filter("", "timeout"), 0),
    ] {
        let found = listed(&service, filter.clone()).await.expect("listed");
        assert_eq!(found.len(), count, "{filter:?}");
    }
    let show = |tenant: &str, id: MessageId| v1::ShowDeadLetterRequest {
        tenant: tenant.to_owned(),
        message_id: id.to_string(),
    };
    let letter = dead_letters(&service).show_dead_letter(show("shop", one)).await;
    let letter = letter.expect("shown").into_inner();
    assert_eq!(letter.data, order(1).data);
    assert_eq!(letter.recipient.expect("one").address, "ada@example.org");
    let alive = accepted(&service, 3).await;
    for request in [show("other", one), show("shop", alive)] {
        let refused = dead_letters(&service).show_dead_letter(request).await;
        assert_eq!(refused.expect_err("not there").code(), Code::NotFound);
    }
}

#[tokio::test]
async fn a_long_list_is_told_page_by_page() {
    let service = Running::start().await;
    let mut expected = Vec::new();
    for number in 0..5 {
        expected.push(dead(&service, number).await.to_string());
    }
    let (mut page_token, mut found) = (String::new(), Vec::new());
    loop {
        let request = v1::ListDeadLettersRequest {
            filter: None,
            page_size: 2,
            page_token,
        };
        let answer = dead_letters(&service).list_dead_letters(request).await;
        let answer = answer.expect("listed").into_inner();
        assert!(answer.messages.len() <= 2);
        found.extend(answer.messages.into_iter().map(|message| message.message_id));
        page_token = answer.next_page_token;
        if page_token.is_empty() {
            break;
        }
    }
    found.sort_unstable();
    expected.sort_unstable();
    assert_eq!(found, expected);
}

#[tokio::test]
async fn a_redrive_counts_first_then_sends_again_by_the_version_that_is_wished_for() {
    let service = Running::start().await;
    let (one, two) = (dead(&service, 1).await, dead(&service, 2).await);
    let newest = pin_another(&service, one).await;
    pin_another(&service, two).await;
    let before = record(&service, one).await;
    let dry = v1::MessageAct {
        dry_run: true,
        ..act(filter("receipt", ""))
    };
    let counted = redrive(&service, dry, false).await;
    assert_eq!((counted.matched, counted.changed), (2, 0));
    assert_eq!(record(&service, one).await, before);

    let only_one = v1::MessageAct {
        message_id: one.to_string(),
        ..act(filter("", ""))
    };
    let done = redrive(&service, only_one, true).await;
    assert_eq!((done.matched, done.changed), (1, 1));
    let redriven = record(&service, one).await;
    assert_eq!(
        (redriven.state, redriven.reason, redriven.generation),
        (State::Queued, Reason::Redriven, before.generation + 1)
    );
    assert_eq!(stored_request(&service, one).await.bundle_hash, newest);

    let done = redrive(&service, act(filter("receipt", "")), false).await;
    assert_eq!(
        (done.matched, done.changed),
        (1, 1),
        "the first one is none any more"
    );
    assert_eq!(stored_request(&service, two).await.bundle_hash, vec![0; 32]);
    let acts = acts(&service).await;
    let told = |act: &v1::LoggedAct| {
        (
            act.act.clone(),
            act.who.clone(),
            act.why.clone(),
            act.tenant.clone(),
        )
    };
    let redrive = ("redrive", "ops", "mended", "shop");
    let redrive = (
        redrive.0.to_owned(),
        redrive.1.to_owned(),
        redrive.2.to_owned(),
        redrive.3.to_owned(),
    );
    assert_eq!(
        acts.iter().map(told).collect::<Vec<_>>(),
        [redrive.clone(), redrive]
    );
    assert_eq!(acts[1].message_ids, [Bytes::copy_from_slice(&one.0)]);
}

#[tokio::test]
async fn what_evidence_shows_to_be_sent_is_not_redriven() {
    let service = Running::start().await;
    let id = dead(&service, 1).await;
    let evidence = paceline_store::Evidence {
        id,
        finding: paceline_store::Finding::Sent {
            provider: paceline_domain::record::Provider::Ses,
            provider_id: "0100018f".to_owned(),
        },
    };
    service
        .store
        .evidence(0, vec![evidence])
        .await
        .expect("redis is there");
    let one = v1::MessageAct {
        message_id: id.to_string(),
        ..act(None)
    };
    let done = redrive(&service, one, false).await;
    assert_eq!((done.matched, done.changed), (0, 0));
    assert_eq!(record(&service, id).await.state, State::Accepted);
}

#[tokio::test]
async fn what_is_discarded_is_gone_with_its_request() {
    let service = Running::start().await;
    let id = dead(&service, 1).await;
    let request = v1::DiscardDeadLettersRequest {
        act: Some(act(filter("receipt", ""))),
    };
    let done = dead_letters(&service).discard_dead_letters(request).await;
    let done = done.expect("done").into_inner().done.expect("a count");
    assert_eq!((done.matched, done.changed), (1, 1));
    assert_eq!(record(&service, id).await.state, State::Discarded);
    assert_eq!(service.store.requests(0, &[id]).await.expect("there"), [None]);
    assert_eq!(acts(&service).await[0].act, "discard");
}

#[tokio::test]
async fn doubts_say_what_is_awaited_and_are_settled_by_hand() {
    let service = Running::start().await;
    let (sent, unsent) = (doubtful(&service, 1).await, doubtful(&service, 2).await);
    let listed = doubts(&service)
        .list_doubts(v1::ListDoubtsRequest::default())
        .await;
    let listed = listed.expect("listed").into_inner().doubts;
    assert_eq!(listed.len(), 2);
    let message = listed[0].message.clone().expect("a message");
    assert_eq!(
        (message.reason.as_str(), message.provider.as_str()),
        ("timeout", "ses")
    );
    assert_eq!(listed[0].then, "hold");
    assert!(listed[0].awaited_until.is_some());

    let one = |id: MessageId| v1::MessageAct {
        message_id: id.to_string(),
        ..act(filter("", ""))
    };
    let dry = v1::MessageAct {
        dry_run: true,
        ..one(sent)
    };
    assert_eq!(settle(&service, dry, v1::DoubtVerdict::Sent).await.changed, 0);
    assert_eq!(record(&service, sent).await.state, State::InDoubt);
    assert_eq!(
        settle(&service, one(sent), v1::DoubtVerdict::Sent).await.changed,
        1
    );
    assert_eq!(record(&service, sent).await.state, State::Accepted);

    let rest = act(filter("receipt", "timeout"));
    assert_eq!(
        settle(&service, rest.clone(), v1::DoubtVerdict::NotSent)
            .await
            .changed,
        1
    );
    let settled = record(&service, unsent).await;
    assert_eq!(
        (settled.state, settled.reason),
        (State::Deferred, Reason::SettledByOperator)
    );
    assert!(settled.due_at.since(settled.changed_at) < Duration::from_secs(1));
    let nothing = settle(&service, rest, v1::DoubtVerdict::NotSent).await;
    assert_eq!((nothing.matched, nothing.changed), (0, 0));
    let acts: Vec<String> = acts(&service).await.into_iter().map(|act| act.act).collect();
    assert_eq!(acts, ["settle_not_sent", "settle_sent"]);
}

#[tokio::test]
async fn acts_without_who_or_why_or_with_a_wrong_filter_change_nothing() {
    let service = Running::start().await;
    let id = dead(&service, 1).await;
    let before = record(&service, id).await;
    let good = act(filter("receipt", ""));
    for (wrong, field) in [
        (
            v1::MessageAct {
                who: String::new(),
                ..good.clone()
            },
            "who",
        ),
        (
            v1::MessageAct {
                who: "o".repeat(65),
                ..good.clone()
            },
            "who",
        ),
        (
            v1::MessageAct {
                why: String::new(),
                ..good.clone()
            },
            "why",
        ),
        (
            v1::MessageAct {
                why: "w".repeat(501),
                ..good.clone()
            },
            "why",
        ),
        (
            v1::MessageAct {
                why: "a\nline".to_owned(),
                ..good.clone()
            },
            "why",
        ),
        (
            v1::MessageAct {
                message_id: "short".to_owned(),
                ..good.clone()
            },
            "message_id",
        ),
        (
            v1::MessageAct {
                page_token: "x".to_owned(),
                ..good.clone()
            },
            "page_token",
        ),
        (act(filter(&"t".repeat(257), "")), "filter.template"),
        (act(filter("a\u{0}b", "")), "filter.template"),
    ] {
        let request = v1::DiscardDeadLettersRequest { act: Some(wrong) };
        let refused = dead_letters(&service).discard_dead_letters(request).await;
        let refused = RpcError::from(&refused.expect_err("refused"));
        assert_eq!(refused.reason, reason::FIELD_INVALID);
        assert_eq!(refused.violations[0].field, field, "{refused:?}");
    }
    assert_eq!(record(&service, id).await, before);
}

fn stop_of_receipts() -> v1::StopRequest {
    v1::StopRequest {
        selector: Some(v1::StopSelector {
            template: "receipt".to_owned(),
            ..v1::StopSelector::default()
        }),
        cancel: false,
        who: "ops".to_owned(),
        why: "test".to_owned(),
    }
}

#[tokio::test]
async fn a_stop_must_select_something_and_say_who_and_why() {
    let service = Running::start().await;
    let mut stops = StopsServiceClient::new(service.channel.clone());
    let good = stop_of_receipts();
    let selecting = |selector: Option<v1::StopSelector>| v1::StopRequest {
        selector,
        ..good.clone()
    };
    let valued = v1::StopSelector {
        tag_value: "spring".to_owned(),
        lane: 1,
        ..v1::StopSelector::default()
    };
    let strange = v1::StopSelector {
        lane: 77,
        ..v1::StopSelector::default()
    };
    for (wrong, field) in [
        (selecting(None), "selector"),
        (selecting(Some(v1::StopSelector::default())), "selector"),
        (selecting(Some(valued)), "selector.tag_value"),
        (selecting(Some(strange)), "selector.lane"),
        (
            v1::StopRequest {
                who: String::new(),
                ..good.clone()
            },
            "who",
        ),
        (
            v1::StopRequest {
                why: "a\u{7}".to_owned(),
                ..good.clone()
            },
            "why",
        ),
    ] {
        let refused = stops.stop(wrong).await.expect_err("refused");
        let refused = RpcError::from(&refused);
        assert_eq!(refused.violations[0].field, field, "{refused:?}");
    }
}

#[tokio::test]
async fn a_stop_is_listed_until_it_is_released_and_done() {
    let service = Running::start().await;
    let mut stops = StopsServiceClient::new(service.channel.clone());
    let stop = stops
        .stop(stop_of_receipts())
        .await
        .expect("set")
        .into_inner()
        .stop
        .expect("one");
    let listed = stops.list_stops(v1::ListStopsRequest::default()).await;
    assert_eq!(
        listed.expect("listed").into_inner().stops,
        std::slice::from_ref(&stop)
    );
    let release = |id: &str| v1::ReleaseStopRequest {
        stop_id: id.to_owned(),
        who: "ops".to_owned(),
        why: "test".to_owned(),
        ..v1::ReleaseStopRequest::default()
    };
    let refused = stops.release_stop(release("nobody's")).await;
    assert_eq!(refused.expect_err("none").code(), Code::NotFound);
    let released = stops.release_stop(release(&stop.stop_id)).await;
    let released = released.expect("released").into_inner().stop.expect("one");
    assert_eq!(released.release.expect("it is").who, "ops");
}

//! Calls without an answer that can be read: each leaves doubt, but for those that never got a connection.

use std::net::Ipv4Addr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use paceline_domain::reason::Reason;
use paceline_local::fault::{Action, Failure, Fault};
use paceline_providers::SendOutcome::{Accepted, Transient, Unknown};
use paceline_providers::WriteGate;
use tokio::net::TcpListener;

use super::{client, client_of, send_once, start};
use crate::{HASTY, HASTY_TO_CONNECT, PATIENT, Patience, full_listener, message};

/// The mail is taken, but the answer does not come as it should.
async fn check_taken(fault: Fault, reason: Reason) {
    let lookalike = start().await;
    lookalike.add_fault(fault.clone());
    let patience = if reason == Reason::Timeout { HASTY } else { PATIENT };
    let outcome = client_of(patience, lookalike.url()).send(&message()).await;
    assert_eq!(outcome, Unknown { reason }, "{fault:?}");
    let stats = lookalike.stats();
    assert_eq!(
        (stats.requests, stats.accepted),
        (1, 1),
        "never sent again: {fault:?}"
    );
}

#[tokio::test]
async fn a_lost_answer_leaves_the_message_in_doubt() {
    check_taken(Fault::always(Action::AcceptThenHang), Reason::Timeout).await;
    let mut late = Fault::always(Action::Accept);
    late.delay_ms = 60_000;
    check_taken(late, Reason::Timeout).await;
    check_taken(Fault::always(Action::AcceptThenReset), Reason::ConnectionLost).await;
    check_taken(Fault::always(Action::AcceptThenClose), Reason::ConnectionLost).await;
    check_taken(Fault::always(Action::AcceptThenTruncate), Reason::AnswerUnclear).await;
    check_taken(Fault::always(Action::AcceptThenGarble), Reason::AnswerUnclear).await;
    for (status, reason) in [
        (302, Reason::AnswerUnclear),
        (400, Reason::RefusalUnclear),
        (404, Reason::RefusalUnclear),
        (500, Reason::AnswerUnclear),
        (502, Reason::AnswerUnclear),
        (503, Reason::AnswerUnclear),
        (504, Reason::AnswerUnclear),
    ] {
        let failure = Failure::new(status, None, "");
        check_taken(Fault::always(Action::AcceptThenFail(failure)), reason).await;
    }
}

/// Whether the reset is seen before the request is begun is the system's affair. If it is, nothing was written for sure.
#[tokio::test]
async fn a_reset_before_anything_was_read_is_doubt_unless_nothing_was_begun() {
    let lookalike = start().await;
    lookalike.add_fault(Fault::always(Action::ResetBeforeReading));
    let in_doubt = Unknown {
        reason: Reason::ConnectionLost,
    };
    let not_begun = Transient {
        reason: Reason::NotWritten,
    };
    let outcome = send_once(&lookalike).await;
    assert!([in_doubt, not_begun].contains(&outcome), "{outcome:?}");
    let stats = lookalike.stats();
    assert_eq!(
        (stats.connections_reset, stats.requests),
        (1, 0),
        "no second connection"
    );
}

#[tokio::test]
async fn a_refused_connection_is_provably_unsent() {
    let closed = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("binds");
    let address = closed.local_addr().expect("an address");
    drop(closed);
    let outcome = client(format!("http://{address}")).send(&message()).await;
    let reason = Reason::NotConnected;
    assert_eq!(outcome, Transient { reason });
}

#[tokio::test]
async fn a_connection_that_takes_too_long_is_provably_unsent() {
    let (address, _listener, _waiting) = full_listener().await;
    let outcome = client_of(HASTY_TO_CONNECT, format!("http://{address}"))
        .send(&message())
        .await;
    let reason = Reason::NotConnected;
    assert_eq!(outcome, Transient { reason });
}

#[tokio::test]
async fn a_handshake_of_tls_that_is_not_answered_is_provably_unsent() {
    // The system makes the connection; nobody reads from it.
    let silent = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("binds");
    let address = silent.local_addr().expect("an address");
    let outcome = client_of(HASTY_TO_CONNECT, format!("https://{address}"))
        .send(&message())
        .await;
    let reason = Reason::NotConnected;
    assert_eq!(outcome, Transient { reason });
}

#[tokio::test]
async fn a_closed_gate_keeps_the_request_from_being_written() {
    let lookalike = start().await;
    let asked = Arc::new(AtomicU32::new(0));
    let mut message = message();
    let count = Arc::clone(&asked);
    // Open for the first request only.
    message.gate = WriteGate::new(move || count.fetch_add(1, Ordering::SeqCst) == 0);
    let mailgun = client(lookalike.url());
    assert!(matches!(mailgun.send(&message).await, Accepted { .. }));
    let reason = Reason::NotWritten;
    assert_eq!(mailgun.send(&message).await, Transient { reason });
    assert_eq!((asked.load(Ordering::SeqCst), lookalike.stats().requests), (2, 1));
}

#[tokio::test]
async fn a_broken_call_does_not_spoil_the_next() {
    let lookalike = start().await;
    // One of the calls is not answered, and the next must be.
    let patience = Patience {
        connect: Duration::from_secs(2),
        attempt: Duration::from_secs(3),
    };
    let mailgun = client_of(patience, lookalike.url());
    for action in [
        Action::AcceptThenReset,
        Action::AcceptThenClose,
        Action::AcceptThenTruncate,
        Action::AcceptThenHang,
    ] {
        lookalike.add_fault(Fault::once(action.clone()));
        assert!(
            matches!(mailgun.send(&message()).await, Unknown { .. }),
            "{action:?}"
        );
        assert!(
            matches!(mailgun.send(&message()).await, Accepted { .. }),
            "after {action:?}"
        );
    }
    assert_eq!(lookalike.stats().requests, 8);
}

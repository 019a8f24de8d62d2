//! Sends against servers that behave like SES or Mailgun, or like a network, on a good day and on bad ones.

mod account;
mod broken;
mod mailgun;
mod refused;
mod request;

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use paceline_domain::id::MessageId;
use paceline_domain::time::Millis;
use paceline_local::{Lookalike, LookalikeOptions};
use paceline_providers::{Credentials, Mailbox, OutgoingMessage, SendOutcome, Ses, SesSettings, WriteGate};
use paceline_testkit::eventually;
use tokio::net::{TcpListener, TcpSocket, TcpStream};

const RECIPIENT: &str = "ada@customer.example";
const FROM: &str = "shop@x.example";

async fn start() -> Lookalike {
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    Lookalike::start(address, LookalikeOptions::default())
        .await
        .expect("it starts")
}

/// How long a client waits for a connection and for the whole call.
#[derive(Clone, Copy)]
struct Patience {
    connect: Duration,
    attempt: Duration,
}

/// Longer than anything takes that comes at all.
const PATIENT: Patience = Patience {
    connect: Duration::from_secs(9),
    attempt: Duration::from_secs(10),
};
/// For an answer that does not come.
const HASTY: Patience = Patience {
    connect: Duration::from_millis(300),
    attempt: Duration::from_millis(500),
};
/// For a connection that does not come.
const HASTY_TO_CONNECT: Patience = Patience {
    connect: Duration::from_millis(300),
    attempt: PATIENT.attempt,
};

async fn client(endpoint_url: String) -> Ses {
    client_of(PATIENT, endpoint_url).await
}

async fn client_of(patience: Patience, endpoint_url: String) -> Ses {
    let settings = SesSettings {
        endpoint_url: Some(endpoint_url),
        credentials: Credentials::LookAlike,
        connect_timeout: patience.connect,
        attempt_timeout: patience.attempt,
        ..SesSettings::default()
    };
    Ses::connect("eu-west-1", &settings).await.expect("good settings")
}

/// A listener whose queue is full: the system leaves further attempts without an answer. It ends with what is returned.
async fn full_listener() -> (SocketAddr, TcpListener, Vec<TcpStream>) {
    let socket = TcpSocket::new_v4().expect("a socket");
    socket
        .bind(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)))
        .expect("binds");
    let listener = socket.listen(1).expect("listens");
    let address = listener.local_addr().expect("an address");
    // The queue takes one more than it was asked for.
    let mut waiting = Vec::new();
    for _ in 0..2 {
        waiting.push(TcpStream::connect(address).await.expect("queued"));
    }
    let of_the_listener = format!(" 0100007F:{:04X} 00000000:0000 0A ", address.port());
    eventually("the queue is full", PATIENT.attempt, || async {
        let sockets = std::fs::read_to_string("/proc/net/tcp").expect("linux");
        let line = sockets.lines().find(|line| line.contains(&of_the_listener));
        let line = line.unwrap_or("no line").to_owned();
        if line.contains(":00000002 ") {
            Ok(())
        } else {
            Err(line)
        }
    })
    .await;
    (address, listener, waiting)
}

fn message() -> OutgoingMessage<'static> {
    OutgoingMessage {
        message_id: MessageId([7; 16]),
        accepted_at: Millis(1_790_000_000_123),
        attempt: 3,
        tenant: "shop.example/eu",
        template: "welcome",
        from: Mailbox {
            address: FROM,
            display_name: "Shop, the best",
        },
        reply_to: None,
        to: Mailbox {
            address: RECIPIENT,
            display_name: "Zoë",
        },
        subject: "Grüße, Zoë",
        html: "<p>Hallo Zoë</p>",
        text: "Hallo Zoë",
        headers: Vec::new(),
        tags: Vec::new(),
        attachments: Vec::new(),
        tracking: None,
        configuration_set: "events",
        tenant_name: None,
        via: "",
        traceparent: "",
        gate: WriteGate::default(),
    }
}

async fn send_once(lookalike: &Lookalike) -> SendOutcome {
    client(lookalike.url()).await.send(&message()).await
}

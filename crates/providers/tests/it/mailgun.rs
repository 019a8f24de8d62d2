//! The same against Mailgun.

mod broken;
mod redaction;
mod refused;
mod request;

use std::io::Write as _;
use std::net::{Ipv4Addr, SocketAddr};

use paceline_local::{Lookalike, LookalikeOptions, MailgunAccount};
use paceline_providers::{Mailgun, MailgunDomain, MailgunSettings, SendOutcome};

use super::{PATIENT, Patience, message};

const KEY: &str = "key-swordfish-0123456789";
const DOMAIN: &str = "mg.x.example";

async fn start() -> Lookalike {
    let options = LookalikeOptions {
        mailgun: MailgunAccount {
            key: Some(KEY.to_owned()),
            domains: Some(vec![DOMAIN.to_owned()]),
            ..MailgunAccount::default()
        },
        ..LookalikeOptions::default()
    };
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    Lookalike::start(address, options).await.expect("it starts")
}

fn client_with(endpoint_url: String, key: &str) -> Mailgun {
    connect(patient(PATIENT), endpoint_url, key)
}

fn patient(patience: Patience) -> MailgunSettings {
    MailgunSettings {
        connect_timeout: patience.connect,
        attempt_timeout: patience.attempt,
        ..MailgunSettings::default()
    }
}

fn connect(settings: MailgunSettings, endpoint_url: String, key: &str) -> Mailgun {
    let mut file = tempfile::NamedTempFile::new().expect("a temporary file");
    writeln!(file, "{key}").expect("writable");
    let settings = MailgunSettings {
        endpoint_url: Some(endpoint_url),
        key_file: Some(file.path().to_owned()),
        ..settings
    };
    Mailgun::connect(&settings).expect("good settings")
}

fn client(endpoint_url: String) -> MailgunDomain {
    client_with(endpoint_url, KEY)
        .domain(DOMAIN, None)
        .expect("a domain")
}

fn client_of(patience: Patience, endpoint_url: String) -> MailgunDomain {
    connect(patient(patience), endpoint_url, KEY)
        .domain(DOMAIN, None)
        .expect("a domain")
}

async fn send_once(lookalike: &Lookalike) -> SendOutcome {
    client(lookalike.url()).send(&message()).await
}

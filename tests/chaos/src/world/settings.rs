//! The settings of each service in a world.

use std::fmt::Write as _;

use paceline_local::sns::TOPIC;

use super::{Role, Service, World};

/// At least 32 bytes.
const KEY: &str = "0123456789abcdef0123456789abcdef";

/// Where nobody goes: the links in bulk mail are not followed here.
const LINKS: &str = "unsubscribe.base_url = \"https://mail.example.com\"\n";

const LINK_KEYS: &str =
    "unsubscribe.keys = [{ id = \"a\", secret = \"fedcba9876543210fedcba9876543210\" }]\n";

const IDENTITY: &str = r#"
[[identity]]
name = "main"
from_domains = ["example.com"]
tenants = ["*"]

[identity.ses]
region = "eu-west-1"
configuration_set = "paceline"
"#;

/// The settings as TOML.
pub(super) fn of(world: &World, service: &Service) -> anyhow::Result<String> {
    let mut text = String::from("listen = \"127.0.0.1:0\"\nadmin_listen = \"127.0.0.1:0\"\n");
    match service.role {
        Role::Coordinator => writeln!(text, "advertise = \"http://{}\"", service.front.address())?,
        Role::Ingest => write!(
            text,
            "digest_key = \"{KEY}\"\naddress_key = \"{KEY}\"\n{LINKS}templates.directory = {:?}\n",
            templates()
        )?,
        Role::Renderer => write!(
            text,
            "name = \"renderer-{}\"\naddress_key = \"{KEY}\"\n{LINKS}{LINK_KEYS}templates.directory = {:?}\nwork.reclaim_idle = \"1s\"\n",
            service.number,
            templates()
        )?,
        Role::Sender => write!(
            text,
            "name = \"sender-{}\"\naddress_key = \"{KEY}\"\ndeliver = \"live\"\ncoordinators = {:?}\nread_ahead.reclaim_idle = \"1s\"\n\
             ses.endpoint_url = \"http://{}\"\nses.credentials = \"look_alike\"\nses.connect_timeout = \"500ms\"\n\
             ses.attempt_timeout = \"1s\"\n",
            service.number,
            coordinators(world),
            service.provider.address(),
        )?,
        Role::Feedback => feedback(world, &mut text)?,
    }
    let redis = match &service.redis {
        Some((link, _)) => format!("redis://{}", link.address()),
        None => world.site.url(),
    };
    write!(
        text,
        "[redis]\nurl = {redis:?}\n{}",
        world.site.settings(world.ground)
    )?;
    if matches!(service.role, Role::Ingest | Role::Sender) {
        text.push_str(IDENTITY);
    }
    Ok(text)
}

fn feedback(world: &World, text: &mut String) -> anyhow::Result<()> {
    let ca = world.directory.path().join("sns.pem");
    std::fs::write(&ca, world.provider.topic().1)?;
    write!(
        text,
        "address_key = \"{KEY}\"\n{LINK_KEYS}web.listen = \"127.0.0.1:0\"\ncoordinators = {:?}\nledger.url = {:?}\n\
         ledger.timeout = \"2s\"\ncopy.reclaim_after = \"1s\"\nsns.topics = [{TOPIC:?}]\nsns.ca = {:?}\nsns.loopback = \"{}\"\n",
        coordinators(world),
        world.database.url(),
        ca.display().to_string(),
        world.provider.address(),
    )?;
    Ok(())
}

fn coordinators(world: &World) -> Vec<String> {
    let all = world.of(Role::Coordinator);
    all.map(|service| format!("http://{}", service.front.address()))
        .collect()
}

fn templates() -> &'static str {
    concat!(env!("CARGO_MANIFEST_DIR"), "/templates")
}

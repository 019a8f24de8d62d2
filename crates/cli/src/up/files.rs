//! The settings files of the services, written to the data folder: what a person would write for this machine.

use std::fs;
use std::io::ErrorKind;
use std::net::SocketAddr;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use data_encoding::HEXLOWER;

use crate::args::UpOptions;

/// The identity that the example templates send from.
const IDENTITY: &str = r#"
[[identity]]
name = "main"
from_domains = ["example.com"]
tenants = ["*"]

[identity.ses]
region = "eu-west-1"
configuration_set = "paceline"

[identity.mailgun]
domain = "mg.example.com"
"#;

/// The look-alike takes any key of Mailgun's.
const MAILGUN_KEY: &str = "look-alike";

/// As is the key of its events.
pub(super) const MAILGUN_SIGNING_KEY: &str = "look-alike of mailgun";

const KEY_CHARACTERS: usize = 64;

pub(super) struct Files {
    folder: PathBuf,
    templates: PathBuf,
    listen: SocketAddr,
    coordinator: SocketAddr,
    renderer: SocketAddr,
    feedback: SocketAddr,
    web: SocketAddr,
    ledger: PathBuf,
    redis_url: String,
    lookalike: SocketAddr,
    digest_key: String,
    address_key: String,
    unsubscribe_key: String,
}

impl Files {
    pub(super) fn new(options: &UpOptions, redis_url: &str, lookalike: SocketAddr) -> anyhow::Result<Self> {
        let folder = options.data.join("config");
        fs::create_dir_all(&folder).with_context(|| format!("can't make {}", folder.display()))?;
        let templates = options.templates.canonicalize();
        let templates = templates
            .with_context(|| format!("no templates at --templates {}", options.templates.display()))?;
        let digest_key = kept_key(&options.data.join("digest_key"))?;
        let address_key = kept_key(&options.data.join("address_key"))?;
        let unsubscribe_key = kept_key(&options.data.join("unsubscribe_key"))?;
        Ok(Self {
            folder,
            templates,
            listen: options.listen,
            coordinator: options.coordinator,
            renderer: options.renderer,
            feedback: options.feedback,
            web: options.web,
            ledger: options.data.join("ledger.db"),
            redis_url: redis_url.to_owned(),
            lookalike,
            digest_key,
            address_key,
            unsubscribe_key,
        })
    }

    pub(super) fn folder(&self) -> &Path {
        &self.folder
    }

    pub(super) const fn lookalike(&self) -> SocketAddr {
        self.lookalike
    }

    /// It asks the look-alike for the account's quotas, as it would ask SES.
    pub(super) fn coordinator(&self) -> anyhow::Result<PathBuf> {
        let text = format!(
            "{}\n[ses]\nendpoint_url = \"http://{}\"\ncredentials = \"look_alike\"\n[[account]]\nregion = \"eu-west-1\"\n{IDENTITY}",
            self.common(self.coordinator),
            self.lookalike,
        );
        self.write("throttle-coordinator", &text)
    }

    /// Links to unsubscribe lead to feedback's listener at `web`.
    pub(super) fn renderer(&self, web: SocketAddr) -> anyhow::Result<PathBuf> {
        let text = format!(
            "address_key = \"{}\"\n{}\n[unsubscribe]\nbase_url = \"http://{web}\"\n{}[templates]\npublished = true\ndirectory = {}\n",
            self.address_key,
            self.common(self.renderer),
            self.link_keys(),
            quoted(&self.templates.display().to_string())
        );
        self.write("renderer", &text)
    }

    /// Live: its mail goes to the look-alike, which sends none on.
    pub(super) fn sender(&self, number: u8, coordinator: SocketAddr) -> anyhow::Result<PathBuf> {
        let key = self.folder.join("mailgun_key");
        write_private(&key, MAILGUN_KEY)?;
        let text = format!(
            "address_key = \"{}\"\nname = \"sender-{number}\"\ndeliver = \"live\"\ncoordinators = [\"http://{coordinator}\"]\n{}\n[ses]\nendpoint_url = \"http://{}\"\n\
             credentials = \"look_alike\"\n[mailgun]\nendpoint_url = \"http://{}\"\nkey_file = {}\n{IDENTITY}",
            self.address_key,
            self.common("127.0.0.1:0".parse()?),
            self.lookalike,
            self.lookalike,
            quoted(&key.display().to_string()),
        );
        self.write(&format!("sender-{number}"), &text)
    }

    /// Its webhooks are called by the look-alike, whose topic has a CA of its own.
    pub(super) fn feedback(
        &self,
        coordinator: SocketAddr,
        (topic, ca): (&str, &str),
    ) -> anyhow::Result<PathBuf> {
        let ca_file = self.folder.join("sns_ca.pem");
        write_private(&ca_file, ca)?;
        let text = format!(
            "coordinators = [\"http://{coordinator}\"]\naddress_key = \"{}\"\n{}\n[ledger]\nurl = {}\n[web]\nlisten = \"{}\"\n\
             [unsubscribe]\n{}[sns]\ntopics = [{}]\nca = {}\nloopback = \"{}\"\n[mailgun]\nsigning_keys = [\"{MAILGUN_SIGNING_KEY}\"]\n",
            self.address_key,
            self.common(self.feedback),
            quoted(&format!("sqlite:{}", in_url(&self.ledger))),
            self.web,
            self.link_keys(),
            quoted(topic),
            quoted(&ca_file.display().to_string()),
            self.lookalike,
        );
        self.write("feedback", &text)
    }

    pub(super) fn ingest(&self, web: SocketAddr) -> anyhow::Result<PathBuf> {
        let text = format!(
            "digest_key = \"{}\"\naddress_key = \"{}\"\n{}\n[unsubscribe]\nbase_url = \"http://{web}\"\n[templates]\npublished = true\ndirectory = {}\n{IDENTITY}",
            self.digest_key,
            self.address_key,
            self.common(self.listen),
            quoted(&self.templates.display().to_string())
        );
        self.write("ingest", &text)
    }

    /// The line of the section [unsubscribe] that renderer and feedback share.
    fn link_keys(&self) -> String {
        format!(
            "keys = [{{ id = \"up\", secret = \"{}\" }}]\n",
            self.unsubscribe_key
        )
    }

    fn common(&self, listen: SocketAddr) -> String {
        // The line "ready" is read from the log, so its form is fixed.
        format!(
            "listen = \"{listen}\"\nadmin_listen = \"127.0.0.1:0\"\n\n[telemetry]\nlog = \"info\"\nlog_format = \"json\"\n\n\
             [redis]\nurl = {}\nlog = \"ledger\"\n",
            quoted(&self.redis_url)
        )
    }

    fn write(&self, name: &str, text: &str) -> anyhow::Result<PathBuf> {
        let path = self.folder.join(format!("{name}.toml"));
        write_private(&path, text)?;
        Ok(path)
    }
}

/// A string as TOML writes it.
fn quoted(text: &str) -> toml::Value {
    toml::Value::String(text.to_owned())
}

/// The characters of a path that mean something else in a URL.
fn in_url(path: &Path) -> String {
    let path = path.display().to_string();
    path.replace('%', "%25").replace('?', "%3F").replace('#', "%23")
}

/// A key that must stay the same for as long as the data does: made once, kept with it.
fn kept_key(path: &Path) -> anyhow::Result<String> {
    match fs::read_to_string(path) {
        Ok(key) if key.len() >= KEY_CHARACTERS => return Ok(key),
        // Cut off by a crash while it was written: nothing was accepted with it.
        Ok(_) => {}
        Err(error) if error.kind() == ErrorKind::NotFound => {}
        Err(error) => return Err(error).with_context(|| format!("can't read {}", path.display())),
    }
    let key = HEXLOWER.encode(&rand::random::<[u8; KEY_CHARACTERS / 2]>());
    write_private(path, &key)?;
    Ok(key)
}

/// Readable by its owner alone.
fn write_private(path: &Path, text: &str) -> anyhow::Result<()> {
    let file = fs::OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(path);
    file.and_then(|mut file| std::io::Write::write_all(&mut file, text.as_bytes()))
        .with_context(|| format!("can't write {}", path.display()))
}

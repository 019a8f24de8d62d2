//! What is refused when the settings are read, and by which name.

use std::path::{Path, PathBuf};

use paceline_kit::SettingsError;
use paceline_kit::access::AccessSettings;
use paceline_kit::client::ClientSettings;
use paceline_kit::entrance::{Callers, Entrance};
use paceline_kit::listen::ListenAddress;
use paceline_kit::tls::ServerTlsSettings;
use paceline_testkit::Authority;

use crate::listener::{served, trusting};

const KEYS: &str = "[[key]]\nname = \"shop\"\nsha256 = \"b9f195c5cc7ef6afadbfbc42892ad47d3b24c6bc94bb510c4564a90a14e8b799\"\n\
                    tenant = \"shop\"\nscopes = [\"enqueue\"]\n";

fn key_of(refused: &SettingsError) -> &'static str {
    match refused {
        SettingsError::Invalid { key, .. } => key,
        other => panic!("{other}"),
    }
}

fn written(folder: &Path, name: &str, content: &str) -> PathBuf {
    let path = folder.join(name);
    std::fs::write(&path, content).expect("writable");
    path
}

#[test]
fn off_loopback_a_listener_needs_tls_and_what_tells_callers_apart() {
    let ours = Authority::new();
    let folder = tempfile::tempdir().expect("a temporary directory");
    let none = ServerTlsSettings::default();
    let tls = served(&ours.issue("ingest"), None);
    let mutual = served(&ours.issue("ingest"), Some(ours.ca()));
    let open = AccessSettings::default();
    let keys = AccessSettings {
        keys: written(folder.path(), "keys.toml", KEYS),
    };
    for (listen, tls, access, tenants, services) in [
        (
            "0.0.0.0:0",
            &none,
            &open,
            Some("tls.certificate"),
            Some("tls.certificate"),
        ),
        (
            "0.0.0.0:0",
            &none,
            &keys,
            Some("tls.certificate"),
            Some("tls.certificate"),
        ),
        ("[::]:0", &tls, &open, Some("access.keys"), Some("access.keys")),
        // A certificate says who connects, not for which tenant.
        ("10.0.0.1:0", &mutual, &open, Some("access.keys"), None),
        ("0.0.0.0:0", &tls, &keys, None, None),
        ("127.0.0.1:0", &none, &open, None, None),
        ("[::1]:0", &none, &keys, None, None),
    ] {
        let address: ListenAddress = serde_json::from_str(&format!("\"{listen}\"")).expect("an address");
        for (callers, named) in [(Callers::Tenants, tenants), (Callers::Services, services)] {
            let refused = Entrance::new(address, tls, access, callers).err();
            assert_eq!(
                refused.as_ref().map(key_of),
                named,
                "{listen} {callers:?}: {refused:?}"
            );
        }
    }
}

#[test]
fn a_file_that_does_not_fit_is_refused_by_its_setting_and_never_shown() {
    let (ours, theirs) = (Authority::new(), Authority::new());
    let folder = tempfile::tempdir().expect("a temporary directory");
    let junk = written(folder.path(), "junk.pem", "swordfish");
    let false_pem = "-----BEGIN CERTIFICATE-----\nc3dvcmRmaXNo\n-----END CERTIFICATE-----\n";
    let false_pem = written(folder.path(), "false.pem", false_pem);
    let large = written(folder.path(), "large.pem", &"#".repeat((1 << 20) + 1));
    let pair = ours.issue("ingest");
    let unset = PathBuf::new();
    let nowhere = PathBuf::from("/nowhere.pem");
    for (named, certificate, key, client_ca) in [
        ("tls.certificate", &nowhere, &pair.key, &unset),
        ("tls.certificate", &junk, &pair.key, &unset),
        ("tls.certificate", &large, &pair.key, &unset),
        ("tls.certificate", &pair.key, &pair.key, &unset),
        ("tls.certificate", &unset, &pair.key, &unset),
        ("tls.certificate", &unset, &unset, &ours.ca().to_owned()),
        ("tls.key", &pair.certificate, &unset, &unset),
        ("tls.key", &pair.certificate, &nowhere, &unset),
        ("tls.key", &pair.certificate, &junk, &unset),
        ("tls.key", &pair.certificate, &pair.certificate, &unset),
        ("tls.key", &pair.certificate, &theirs.issue("ingest").key, &unset),
        ("tls.client_ca", &pair.certificate, &pair.key, &nowhere),
        ("tls.client_ca", &pair.certificate, &pair.key, &junk),
        ("tls.client_ca", &pair.certificate, &pair.key, &false_pem),
    ] {
        let settings = ServerTlsSettings {
            certificate: certificate.clone(),
            key: key.clone(),
            client_ca: client_ca.clone(),
        };
        let refused = settings.read().expect_err(named);
        assert_eq!(key_of(&refused), named, "{refused}");
        assert!(!refused.to_string().contains("swordfish"), "{refused}");
    }
    for (named, settings) in [
        ("client.ca", trusting(&nowhere)),
        ("client.ca", trusting(&junk)),
        ("client.ca", trusting(&false_pem)),
        (
            "client.certificate",
            ClientSettings {
                key: pair.key.clone(),
                ..ClientSettings::default()
            },
        ),
        (
            "client.key",
            ClientSettings {
                certificate: pair.certificate,
                key: theirs.issue("sender").key,
                ..ClientSettings::default()
            },
        ),
    ] {
        let refused = settings.read().expect_err(named);
        assert_eq!(key_of(&refused), named, "{refused}");
    }
    let access = AccessSettings { keys: junk };
    let refused = access.read().expect_err("no keys");
    assert_eq!(key_of(&refused), "access.keys");
    assert!(!refused.to_string().contains("swordfish"), "{refused}");
}

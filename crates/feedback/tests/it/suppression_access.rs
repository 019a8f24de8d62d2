//! Who may ask after suppressions and change them: each call needs its scope, addresses in clear one more, and the keys of a tenant
//! learn nothing of another's.

use paceline_kit::client::{ClientSettings, Connection};
use paceline_kit::secret::Secret;
use paceline_testkit::ApiKeys;
use paceline_wire::status::{RpcError, reason};
use paceline_wire::v1;
use paceline_wire::v1::suppression_service_client::SuppressionServiceClient;
use tonic::{Code, Status};

use crate::support::Feedback;

const KEYS: &[(&str, &str, &[&str])] = &[
    ("shop", "shop", &["read", "operate", "addresses"]),
    ("other", "other", &["read", "operate", "addresses"]),
    ("reader", "shop", &["read"]),
    ("operator", "shop", &["operate"]),
    ("addresses", "shop", &["enqueue", "addresses"]),
];

const ADA: &str = "ada@example.com";
const EVE: &str = "eve@example.com";

/// An RPC of the service.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Call {
    Add,
    Remove,
    List,
    Check,
    Import,
    Export,
}

impl Call {
    const ALL: [Self; 6] = [
        Self::Add,
        Self::Remove,
        Self::List,
        Self::Check,
        Self::Import,
        Self::Export,
    ];

    const fn changes(self) -> bool {
        matches!(self, Self::Add | Self::Remove | Self::Import)
    }
}

/// What a call is made with.
#[derive(Clone, Copy)]
struct With<'a> {
    key: &'a str,
    tenant: &'a str,
    address: &'a str,
    /// For addresses in clear, where the call can ask for them.
    in_clear: bool,
}

/// A service that asks for keys; its file of them goes with the value.
struct Guarded {
    feedback: Feedback,
    _keys: ApiKeys,
}

impl Guarded {
    async fn start() -> Self {
        let keys = ApiKeys::of(KEYS);
        Self {
            feedback: Feedback::start(&keys.setting()).await,
            _keys: keys,
        }
    }

    fn client(&self, key: &str) -> SuppressionServiceClient<Connection> {
        let settings = ClientSettings {
            api_key: Secret::new(if key.is_empty() {
                String::new()
            } else {
                format!("{key}-key")
            }),
            ..ClientSettings::default()
        };
        let client = settings.read().expect("good settings");
        let address = format!("http://{}", self.feedback.process.grpc());
        SuppressionServiceClient::new(client.channel(&address).expect("an address"))
    }

    /// Makes the call, and returns the suppressions that it answers with; none where it counts only.
    async fn call(&self, call: Call, with: With<'_>) -> Result<Vec<v1::Suppression>, Status> {
        let mut client = self.client(with.key);
        let (tenant, address) = (with.tenant.to_owned(), with.address.to_owned());
        Ok(match call {
            Call::Add => {
                client.add_suppressions(add(with)).await?;
                Vec::new()
            }
            Call::Import => {
                let requests = tokio_stream::iter([import(with)]);
                client.import_suppressions(requests).await?;
                Vec::new()
            }
            Call::Remove => {
                let request = v1::RemoveSuppressionRequest {
                    tenant,
                    address,
                    who: "ann".to_owned(),
                    why: "they asked".to_owned(),
                    ..v1::RemoveSuppressionRequest::default()
                };
                client.remove_suppression(request).await?.into_inner().removed
            }
            Call::List => {
                let request = v1::ListSuppressionsRequest {
                    tenant,
                    addresses: with.in_clear,
                    with_removed: true,
                    ..v1::ListSuppressionsRequest::default()
                };
                client.list_suppressions(request).await?.into_inner().suppressions
            }
            Call::Check => {
                let request = v1::CheckSuppressionRequest {
                    tenant,
                    address,
                    ..v1::CheckSuppressionRequest::default()
                };
                let answer = client.check_suppression(request).await?.into_inner();
                assert_eq!(
                    answer.suppressions.iter().any(|row| row.removed_at.is_none()),
                    !answer.transactional.is_empty(),
                    "{answer:?}"
                );
                answer.suppressions
            }
            Call::Export => {
                let request = v1::ExportSuppressionsRequest {
                    tenant,
                    addresses: with.in_clear,
                };
                let mut pages = client.export_suppressions(request).await?.into_inner();
                let mut rows = Vec::new();
                while let Some(page) = pages.message().await? {
                    rows.extend(page.suppressions);
                }
                rows
            }
        })
    }
}

fn suppression(address: &str) -> v1::NewSuppression {
    v1::NewSuppression {
        address: address.to_owned(),
        reason: v1::SuppressionReason::Manual.into(),
        ..v1::NewSuppression::default()
    }
}

fn add(with: With<'_>) -> v1::AddSuppressionsRequest {
    v1::AddSuppressionsRequest {
        tenant: with.tenant.to_owned(),
        suppressions: vec![suppression(with.address)],
        who: "ann".to_owned(),
        why: "they asked".to_owned(),
    }
}

fn import(with: With<'_>) -> v1::ImportSuppressionsRequest {
    v1::ImportSuppressionsRequest {
        tenant: with.tenant.to_owned(),
        suppressions: vec![suppression(with.address)],
        who: "ann".to_owned(),
        why: "we move".to_owned(),
    }
}

fn of_shop(key: &str) -> With<'_> {
    With {
        key,
        tenant: "shop",
        address: ADA,
        in_clear: false,
    }
}

/// All that a refusal says.
fn refusal<T>(answer: Result<T, Status>, what: &str) -> (Code, String, String) {
    let Err(status) = answer else {
        panic!("{what}: it was answered")
    };
    let error = RpcError::from(&status);
    assert!(
        error.violations.is_empty() && error.metadata.is_empty(),
        "{what}: {error:?}"
    );
    (error.code, error.reason.into_owned(), error.message)
}

#[tokio::test]
async fn each_call_needs_its_scope_and_none_goes_without_a_key() {
    let guarded = Guarded::start().await;
    for call in Call::ALL {
        for key in ["", "addresses", "reader", "operator"] {
            let answer = guarded.call(call, of_shop(key)).await;
            let what = format!("{call:?} with {key:?}");
            match (key, call.changes()) {
                ("reader", false) | ("operator", true) => {
                    answer.unwrap_or_else(|status| panic!("{what}: {status:?}"));
                }
                ("", _) => {
                    let (code, why, _) = refusal(answer, &what);
                    assert_eq!((code, why.as_str()), (Code::Unauthenticated, reason::KEY_MISSING));
                }
                _ => {
                    let (code, why, _) = refusal(answer, &what);
                    assert_eq!(
                        (code, why.as_str()),
                        (Code::PermissionDenied, reason::SCOPE_MISSING),
                        "{what}"
                    );
                }
            }
        }
    }
}

#[tokio::test]
async fn addresses_in_clear_need_a_scope_of_their_own() {
    let guarded = Guarded::start().await;
    let added = guarded.call(Call::Add, of_shop("shop")).await;
    added.expect("its own");
    for call in [Call::List, Call::Export] {
        let asked = |key| With {
            in_clear: true,
            ..of_shop(key)
        };
        let what = format!("{call:?}");
        let (code, why, _) = refusal(guarded.call(call, asked("reader")).await, &what);
        assert_eq!(
            (code, why.as_str()),
            (Code::PermissionDenied, reason::SCOPE_MISSING),
            "{what}"
        );
        for (with, shown) in [
            (of_shop("reader"), ""),
            (of_shop("shop"), ""),
            (asked("shop"), ADA),
        ] {
            let rows = guarded.call(call, with).await.expect("it may");
            let addresses: Vec<&str> = rows.iter().map(|row| row.address.as_str()).collect();
            assert_eq!(addresses, [shown], "{what} with {}", with.key);
        }
    }
    // What asks with an address has no other answer than its hash.
    for call in [Call::Check, Call::Remove] {
        let rows = guarded.call(call, of_shop("shop")).await.expect("it may");
        assert!(
            rows.len() == 1 && rows[0].address.is_empty(),
            "{call:?}: {rows:?}"
        );
    }
}

#[tokio::test]
async fn another_tenants_key_changes_nothing_and_learns_not_even_whether_an_address_is_there() {
    let guarded = Guarded::start().await;
    let added = guarded.call(Call::Add, of_shop("shop")).await;
    added.expect("its own");
    let before = guarded.call(Call::List, of_shop("shop")).await.expect("its own");
    assert_eq!(before.len(), 1);

    // Refused in the same words, whether the address is suppressed or not.
    for call in Call::ALL {
        let [there, absent] = [ADA, EVE].map(|address| With {
            address,
            in_clear: true,
            ..of_shop("other")
        });
        let what = format!("{call:?}");
        let told = refusal(guarded.call(call, there).await, &what);
        assert_eq!(
            (told.0, told.1.as_str()),
            (Code::PermissionDenied, reason::TENANT_REFUSED),
            "{what}"
        );
        assert_eq!(told, refusal(guarded.call(call, absent).await, &what), "{what}");
    }
    // What the keys of two tenants share is the service alone: the same address is not there for the other one.
    let own = |tenant| With {
        tenant,
        ..of_shop("other")
    };
    for call in [Call::Check, Call::List, Call::Export, Call::Remove] {
        let rows = guarded.call(call, own("other")).await.expect("its own");
        assert_eq!(rows, [], "{call:?}");
    }
    let after = guarded.call(Call::List, of_shop("shop")).await.expect("its own");
    assert_eq!(before, after);
}

#[tokio::test]
async fn a_later_request_of_an_import_does_not_change_its_tenant() {
    let guarded = Guarded::start().await;
    let first = With {
        tenant: "other",
        ..of_shop("other")
    };
    let second = With {
        address: EVE,
        ..of_shop("other")
    };
    let requests = tokio_stream::iter([import(first), import(second)]);
    let imported = guarded.client("other").import_suppressions(requests).await;
    let counts = imported.expect("its own").into_inner().counts.expect("counts");
    assert_eq!(counts.added, 2);
    let rows = guarded.call(Call::List, of_shop("shop")).await.expect("its own");
    assert_eq!(rows, []);
    let rows = guarded.call(Call::List, first).await.expect("its own");
    assert_eq!(rows.len(), 2);
}

#[tokio::test]
async fn a_place_in_another_tenants_list_is_none_in_ones_own() {
    let guarded = Guarded::start().await;
    for address in [ADA, EVE] {
        let with = With {
            address,
            ..of_shop("shop")
        };
        guarded.call(Call::Add, with).await.expect("its own");
    }
    let page = |tenant: &str, page_token: String| v1::ListSuppressionsRequest {
        tenant: tenant.to_owned(),
        page_size: 1,
        page_token,
        ..v1::ListSuppressionsRequest::default()
    };
    let first = guarded
        .client("shop")
        .list_suppressions(page("shop", String::new()))
        .await;
    let token = first.expect("its own").into_inner().next_page_token;
    assert!(!token.is_empty());
    let next = guarded
        .client("other")
        .list_suppressions(page("other", token.clone()))
        .await;
    assert_eq!(next.expect("its own").into_inner().suppressions, []);
    let next = guarded
        .client("shop")
        .list_suppressions(page("shop", token))
        .await;
    assert_eq!(next.expect("its own").into_inner().suppressions.len(), 1);
}

//! One-click unsubscribe (RFC 8058): `/unsubscribe/<token>`, the link in the header and the body of mail.
//!
//! A POST does what its body says, at once: no redirect, no cookie, and 200 only when the wish is durable, in the ledger and in Redis;
//! else 503, which mailbox providers repeat. A GET shows a page and changes nothing, for scanners follow every link of a mail. All
//! steps may be repeated: each is idempotent, and the event's id is made of the suppression's revision.
//!
//! Who has the link may unsubscribe whom it was sent to, and undo that, but nothing else: bounces, complaints and what operators set
//! stay as they are.

mod page;
mod settings;
mod wish;

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, State};
use axum::http::Request;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use paceline_domain::lane::Lane;
use paceline_domain::suppression::SuppressionReason;
use paceline_domain::time::Millis;
use paceline_domain::unsubscribe::{UnsubscribeKeys, UnsubscribeLink};
use paceline_ledger::{LedgerError, NewEvent, NewSuppression, SuppressionKey, SuppressionRemoval};
use serde_json::json;

use crate::event_metrics::Metrics;
use crate::suppressions::{Deed, Suppressions, SuppressionsError};
use page::{Names, Page};
use wish::Wish;

pub use settings::UnsubscribeSettings;

const BODY_MAX: Duration = Duration::from_secs(10);
/// Mailbox providers wait longer.
const EFFECT_MAX: Duration = Duration::from_secs(12);

/// What the handlers share.
pub(crate) struct Unsubscribing {
    pub(crate) keys: UnsubscribeKeys,
    pub(crate) settings: UnsubscribeSettings,
    pub(crate) suppressions: Suppressions,
    pub(crate) metrics: Metrics,
}

impl Unsubscribing {
    /// The address.
    pub(crate) fn routes(self) -> Router {
        Router::new()
            .route("/unsubscribe/{token}", get(ask).post(act))
            .with_state(Arc::new(self))
    }

    fn link(&self, token: Result<Path<String>, PathRejection>) -> Option<UnsubscribeLink> {
        let link = token.ok().and_then(|Path(token)| self.keys.verify(&token).ok());
        if link.is_none() {
            self.metrics.unsubscribe("no_link");
        }
        link
    }

    /// Does it durably, or says that it may not have been done.
    async fn fulfil(&self, link: &UnsubscribeLink, wish: Wish) -> Result<(), SuppressionsError> {
        let now = self.suppressions.now();
        let deed = Deed {
            source: "unsubscribe",
            who: format!("link of {}", link.message_id),
            why: String::new(),
            act: None,
        };
        let changed = match wish {
            Wish::OneClick | Wish::Unsubscribe => {
                self.suppressions
                    .suppress(&[suppression(link, now)], deed)
                    .await?
            }
            Wish::Resubscribe => self.suppressions.unsuppress(&[removal(link)], deed).await?,
        };
        if let Some(standing) = changed.standing.first() {
            let event = self.event(link, wish, standing.revision, now).await?;
            self.suppressions.ledger.record_events(vec![event]).await?;
        }
        Ok(())
    }

    async fn event(
        &self,
        link: &UnsubscribeLink,
        wish: Wish,
        revision: u64,
        now: Millis,
    ) -> Result<NewEvent, LedgerError> {
        let message = self
            .suppressions
            .ledger
            .timeline(&link.tenant, link.message_id)
            .await?;
        let (template, lane) = message.map_or((String::new(), Lane::Bulk), |timeline| {
            (timeline.row.message.template, timeline.row.message.lane)
        });
        let (kind, by) = match wish {
            Wish::OneClick => ("unsubscribed", "one_click"),
            Wish::Unsubscribe => ("unsubscribed", "page"),
            Wish::Resubscribe => ("resubscribed", "page"),
        };
        let id = &link.message_id;
        Ok(NewEvent {
            id: format!("link:{id}:{}:{}:{revision}", link.accepted_at.0, link.category),
            message_id: link.message_id,
            accepted_at: link.accepted_at,
            attempt: 0,
            tenant: link.tenant.clone(),
            template,
            lane,
            kind: kind.to_owned(),
            at: now,
            received_at: now,
            detail: json!({ "category": link.category, "by": by }).to_string(),
        })
    }
}

fn suppression(link: &UnsubscribeLink, now: Millis) -> NewSuppression {
    NewSuppression {
        key: SuppressionKey {
            tenant: link.tenant.clone(),
            category: link.category.clone(),
            address: link.address,
        },
        reason: SuppressionReason::Unsubscribe,
        at: now,
        // Nobody here knows the address.
        sealed: Vec::new(),
    }
}

fn removal(link: &UnsubscribeLink) -> SuppressionRemoval {
    SuppressionRemoval {
        tenant: link.tenant.clone(),
        address: link.address,
        category: Some(link.category.clone()),
        reason: Some(SuppressionReason::Unsubscribe),
    }
}

async fn ask(
    State(unsubscribing): State<Arc<Unsubscribing>>,
    token: Result<Path<String>, PathRejection>,
) -> Response {
    match unsubscribing.link(token) {
        Some(link) => Page::Asks(Names::of(&link, &unsubscribing.settings)).into_response(),
        None => Page::NoLink.into_response(),
    }
}

async fn act(
    State(unsubscribing): State<Arc<Unsubscribing>>,
    token: Result<Path<String>, PathRejection>,
    request: Request<Body>,
) -> Response {
    let Some(link) = unsubscribing.link(token) else {
        return Page::NoLink.into_response();
    };
    let wish = tokio::time::timeout(BODY_MAX, Wish::read(request)).await;
    let Some(wish) = wish.ok().flatten() else {
        unsubscribing.metrics.unsubscribe("no_wish");
        return Page::NoWish.into_response();
    };
    match tokio::time::timeout(EFFECT_MAX, unsubscribing.fulfil(&link, wish)).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => {
            tracing::warn!(%error, "a wish to unsubscribe is not stored");
            return unsubscribing.later();
        }
        Err(_) => return unsubscribing.later(),
    }
    unsubscribing.metrics.unsubscribe(wish.as_str());
    let names = Names::of(&link, &unsubscribing.settings);
    match wish {
        Wish::OneClick | Wish::Unsubscribe => Page::Unsubscribed(names).into_response(),
        Wish::Resubscribe => Page::Resubscribed(names).into_response(),
    }
}

impl Unsubscribing {
    fn later(&self) -> Response {
        self.metrics.unsubscribe("not_stored");
        Page::Later.into_response()
    }
}

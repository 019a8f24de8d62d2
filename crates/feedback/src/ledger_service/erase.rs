//! Erasing what is known of a person, a bounded part in each call: first what Redis has that is to be sent to them, shard by shard, then the
//! ledger, then the proof is closed.
//!
//! Every open message and dead letter has its request, which names the recipient, so the walk is over the requests: what has not been
//! copied into the ledger yet is met, too. What is erased is durable before a call answers. A call that is repeated, or an erasure that is
//! begun anew after a crash, finds what is left and nothing else.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use paceline_domain::keyed::AddressHash;
use paceline_domain::stop::Said;
use paceline_kit::access::Caller;
use paceline_kit::said::said;
use paceline_ledger::{Erased, Erasure};
use paceline_wire::status::{InvalidFields, RpcError};
use paceline_wire::{convert, v1};
use tokio::time::Instant;

use super::LedgerOf;
use super::redis_part::RedisPart;
use crate::asked::{check_tenant, of_ledger};

/// How long one call goes on before it answers with a token.
const PART_MAX: Duration = Duration::from_secs(3);
/// Messages of the ledger in one transaction.
const ROWS_MAX: u32 = 500;
/// What a dry run's token has in place of an erasure's id.
const DRY: &str = "dry";

/// An erasure as it was asked for.
pub(super) struct Wish {
    tenant: String,
    address: AddressHash,
    said: Said,
    dry_run: bool,
    token: Option<Token>,
}

/// Where an erasure goes on.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Token {
    /// Of the erasure, or [`DRY`].
    id: String,
    place: Place,
}

/// In Redis, or past it in the ledger.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Place {
    Redis { shard: u16, cursor: String },
    Ledger,
}

impl Place {
    /// The first one.
    fn start() -> Self {
        Self::Redis {
            shard: 0,
            cursor: "0".to_owned(),
        }
    }
}

impl fmt::Display for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.place {
            Place::Redis { shard, cursor } => write!(f, "{}.{shard}.{cursor}", self.id),
            Place::Ledger => write!(f, "{}.ledger", self.id),
        }
    }
}

/// A text that is no token.
struct NoToken;

impl FromStr for Token {
    type Err = NoToken;

    fn from_str(text: &str) -> Result<Self, NoToken> {
        let (id, place) = text.split_once('.').ok_or(NoToken)?;
        let place = match place.split_once('.') {
            None if place == "ledger" => Place::Ledger,
            Some((shard, cursor)) if cursor.parse::<u64>().is_ok() => Place::Redis {
                shard: shard.parse().map_err(|_| NoToken)?,
                cursor: cursor.to_owned(),
            },
            _ => return Err(NoToken),
        };
        let id = id.to_owned();
        Ok(Self { id, place })
    }
}

impl Wish {
    /// # Errors
    /// What is wrong with the request, by field.
    pub(super) fn read(
        request: &v1::EraseRequest,
        caller: &Caller,
        service: &LedgerOf,
    ) -> Result<Self, RpcError> {
        let mut wrong = InvalidFields::new();
        check_tenant(&mut wrong, &request.tenant);
        let address = service
            .people
            .address(&mut wrong, "recipient", &request.recipient);
        let now = service.clock.wall();
        let said = said(&mut wrong, caller, &request.who, &request.why, now);
        let token = read_token(&mut wrong, request, service.store.shards());
        wrong.into_result()?;
        Ok(Self {
            tenant: request.tenant.clone(),
            address: address.unwrap_or(AddressHash([0; 16])),
            said,
            dry_run: request.dry_run,
            token,
        })
    }

    /// Does a part of it, or all that is left.
    ///
    /// # Errors
    /// If Redis or the ledger does not answer: then some of the part may be done, and the same call again does the rest.
    pub(super) async fn perform(self, service: &LedgerOf) -> Result<v1::EraseResponse, RpcError> {
        let erasure = self.erasure(service).await?;
        let mut place = self.token.map_or_else(Place::start, |token| token.place);
        let part = Part {
            service,
            erasure: &erasure,
            address: self.address,
            dry_run: self.dry_run,
        };
        let until = Instant::now() + PART_MAX;
        let mut counted = Erased::default();
        let mut next = Some(place.clone());
        while next.is_some() && Instant::now() < until {
            next = part.step(place.clone(), &mut counted).await?;
            if let Some(next) = &next {
                place = next.clone();
            }
        }
        let token = next.map(|place| Token {
            id: erasure.id.clone(),
            place,
        });
        Ok(v1::EraseResponse {
            erasure: Some(part.proof(counted).await?),
            next_page_token: token.map_or_else(String::new, |token| token.to_string()),
        })
    }

    /// The erasure that the token names, or a new one, which begins here. A dry run's is none.
    async fn erasure(&self, service: &LedgerOf) -> Result<Erasure, RpcError> {
        let new = Erasure {
            id: if self.dry_run {
                DRY.to_owned()
            } else {
                hex::encode(rand::random::<[u8; 16]>())
            },
            tenant: self.tenant.clone(),
            address: self.address.0.to_vec(),
            at: self.said.at,
            who: self.said.who.clone(),
            why: self.said.why.clone(),
        };
        let unknown = || InvalidFields::one("page_token", "is none that an answer to this request had");
        match &self.token {
            _ if self.dry_run => Ok(new),
            None => {
                let begun = service.ledger.begin_erasure(&new).await;
                begun.map_err(|error| of_ledger(&error))?;
                tracing::warn!(erasure = new.id, tenant = new.tenant, "a person is erased");
                Ok(new)
            }
            Some(token) => {
                let known = service.ledger.erasure(&self.tenant, &token.id).await;
                let known = known.map_err(|error| of_ledger(&error))?;
                let (erasure, _) = known.ok_or_else(unknown)?;
                if erasure.address == self.address.0 {
                    Ok(erasure)
                } else {
                    Err(unknown().into())
                }
            }
        }
    }
}

fn read_token(wrong: &mut InvalidFields, request: &v1::EraseRequest, shards: u16) -> Option<Token> {
    if request.page_token.is_empty() {
        return None;
    }
    let token: Option<Token> = request.page_token.parse().ok();
    let token = token.filter(|token| {
        let in_bounds = !matches!(token.place, Place::Redis { shard, .. } if shard >= shards);
        in_bounds && (token.id == DRY) == request.dry_run
    });
    if token.is_none() {
        wrong.add("page_token", "is none that an answer to this request had");
    }
    token
}

/// What one call does.
struct Part<'a> {
    service: &'a LedgerOf,
    erasure: &'a Erasure,
    address: AddressHash,
    dry_run: bool,
}

impl Part<'_> {
    /// One step at `place`; where to go on, `None` at the end.
    async fn step(&self, place: Place, counted: &mut Erased) -> Result<Option<Place>, RpcError> {
        match place {
            Place::Redis { shard, cursor } => {
                let cursor = self.in_redis(shard, &cursor, counted).await?;
                let last = shard + 1 >= self.service.store.shards();
                Ok(Some(match cursor.as_str() {
                    "0" if last => Place::Ledger,
                    "0" => Place::Redis {
                        shard: shard + 1,
                        cursor,
                    },
                    _ => Place::Redis { shard, cursor },
                }))
            }
            Place::Ledger => self.in_ledger(counted).await,
        }
    }

    async fn in_redis(&self, shard: u16, cursor: &str, counted: &mut Erased) -> Result<String, RpcError> {
        let part = RedisPart {
            store: &self.service.store,
            people: &self.service.people,
            tenant: &self.erasure.tenant,
            address: self.address,
        };
        let (next, found) = part.look(shard, cursor).await?;
        if self.dry_run {
            part.count(shard, &found, counted).await?;
            return Ok(next);
        }
        let (erased, taken) = part.erase(shard, &found, self.erasure).await?;
        if !taken.is_empty() || erased != Erased::default() {
            let noted = self
                .service
                .ledger
                .note_erased(self.erasure, &erased, ("redis", &taken));
            noted.await.map_err(|error| of_ledger(&error))?;
        }
        Ok(next)
    }

    async fn in_ledger(&self, counted: &mut Erased) -> Result<Option<Place>, RpcError> {
        let ledger = &self.service.ledger;
        let (tenant, address) = (&self.erasure.tenant, &self.erasure.address);
        if self.dry_run {
            let count = ledger.count_of_address(tenant, address).await;
            counted.messages += count.map_err(|error| of_ledger(&error))?;
            return Ok(None);
        }
        let erased = ledger.erase(self.erasure, ROWS_MAX).await;
        if erased.map_err(|error| of_ledger(&error))? >= u64::from(ROWS_MAX) {
            return Ok(Some(Place::Ledger));
        }
        let finished = ledger.finish_erasure(&self.erasure.id, self.service.clock.wall());
        finished.await.map_err(|error| of_ledger(&error))?;
        Ok(None)
    }

    async fn proof(&self, counted: Erased) -> Result<v1::Erasure, RpcError> {
        if self.dry_run {
            return Ok(shown("", self.erasure, counted));
        }
        let known = self
            .service
            .ledger
            .erasure(&self.erasure.tenant, &self.erasure.id)
            .await;
        let known = known.map_err(|error| of_ledger(&error))?;
        let erased = known.map(|(_, erased)| erased).unwrap_or_default();
        Ok(shown(&self.erasure.id, self.erasure, erased))
    }
}

fn shown(id: &str, erasure: &Erasure, erased: Erased) -> v1::Erasure {
    v1::Erasure {
        erasure_id: id.to_owned(),
        at: Some(convert::timestamp(erasure.at)),
        who: erasure.who.clone(),
        why: erasure.why.clone(),
        finished_at: convert::timestamp_if_set(erased.finished_at),
        cancelled: erased.cancelled,
        discarded: erased.discarded,
        rendered: erased.ready,
        sending: erased.sending,
        messages: erased.messages,
        events: erased.events,
        digest: erased.digest.into(),
    }
}

#[cfg(test)]
mod tests {
    use super::{Place, Token};

    #[test]
    fn a_token_reads_back_and_nothing_else_does() {
        let redis = Place::Redis {
            shard: 3,
            cursor: "18446744073709551615".to_owned(),
        };
        for place in [Place::start(), redis, Place::Ledger] {
            let token = Token {
                id: "dry".to_owned(),
                place,
            };
            assert_eq!(token.to_string().parse::<Token>().ok(), Some(token));
        }
        for text in [
            "",
            "dry",
            "dry.",
            "dry.3",
            "dry.3.",
            "dry.x.0",
            "dry.3.-1",
            "dry.70000.0",
            "dry.3.0.0",
        ] {
            assert!(text.parse::<Token>().is_err(), "{text}");
        }
    }
}

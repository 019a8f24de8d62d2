//! The search for messages: a page of an answer is a place in the ledger, and nothing is kept between two calls.

use paceline_domain::record::State;
use paceline_domain::time::Millis;
use paceline_ledger::{Filter, Ledger, MessageRow, Page};
use paceline_wire::status::{InvalidFields, RpcError};
use paceline_wire::text::line_problem;
use paceline_wire::{convert, v1};

use super::shown;
use crate::asked::{PeopleKey, check_tenant, of_ledger, time};

/// Messages of a page, where the caller does not say, and at most.
const PAGE_SIZE: u32 = 100;
const PAGE_SIZE_MAX: u32 = 1_000;
/// The longest text of a request, in characters: a user id has no more.
const TEXT_MAX: usize = 256;

/// A search as it was asked for.
pub(super) struct Search {
    filter: Filter,
    page: Option<Page>,
    count: u32,
}

impl Search {
    /// # Errors
    /// What is wrong with the request, by field.
    pub(super) fn read(request: &v1::SearchRequest, people: &PeopleKey) -> Result<Self, RpcError> {
        let mut wrong = InvalidFields::new();
        check_tenant(&mut wrong, &request.tenant);
        for (field, text) in [("template", &request.template), ("user_id", &request.user_id)] {
            if let Some(problem) = line_problem(text, 0, TEXT_MAX) {
                wrong.add(field, problem);
            }
        }
        let given = |text: &str| !text.is_empty();
        let recipient = given(&request.recipient)
            .then(|| people.address(&mut wrong, "recipient", &request.recipient))
            .flatten();
        let user = given(&request.user_id).then(|| people.user(&request.tenant, &request.user_id));
        let filter = Filter {
            tenant: request.tenant.clone(),
            template: request.template.clone(),
            recipient: recipient.map_or_else(Vec::new, |hash| hash.0.to_vec()),
            user_hash: user.map_or_else(Vec::new, |hash| hash.0.to_vec()),
            state: state(&mut wrong, request.state),
            from: time(&mut wrong, "since", request.since.as_ref()),
            until: time(&mut wrong, "until", request.until.as_ref()),
        };
        if request.page_size > PAGE_SIZE_MAX {
            wrong.add(
                "page_size",
                format!("is {}, at most {PAGE_SIZE_MAX}", request.page_size),
            );
        }
        let page = page(&mut wrong, &request.page_token);
        wrong.into_result()?;
        Ok(Self {
            filter,
            page,
            count: match request.page_size {
                0 => PAGE_SIZE,
                size => size,
            },
        })
    }

    /// # Errors
    /// If the ledger does not answer.
    pub(super) async fn answer(self, ledger: &Ledger) -> Result<v1::SearchResponse, RpcError> {
        let rows = ledger.search(&self.filter, self.page, self.count).await;
        let rows = rows.map_err(|error| of_ledger(&error))?;
        let full = rows.len() >= self.count as usize;
        let last = rows.last().filter(|_| full);
        Ok(v1::SearchResponse {
            next_page_token: last.map(token).unwrap_or_default(),
            messages: rows.into_iter().map(shown::message).collect(),
        })
    }
}

fn state(wrong: &mut InvalidFields, number: i32) -> Option<State> {
    if number == 0 {
        return None;
    }
    let state = convert::state(number);
    if let Err(problem) = &state {
        wrong.add("state", problem.to_string());
    }
    state.ok()
}

fn token(last: &MessageRow) -> String {
    format!("{}.{}", last.message.accepted_at.0, last.message.id)
}

fn page(wrong: &mut InvalidFields, token: &str) -> Option<Page> {
    if token.is_empty() {
        return None;
    }
    let read = token.split_once('.').and_then(|(accepted_at, id)| {
        Some(Page {
            accepted_at: accepted_at
                .parse()
                .ok()
                .map(Millis)
                .filter(|at| *at <= Millis::MAX)?,
            id: id.parse().ok()?,
        })
    });
    if read.is_none() {
        wrong.add("page_token", "is none that an answer had");
    }
    read
}

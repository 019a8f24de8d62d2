//! One mail: its html in a sandbox, its text, headers, source and attachments.

use std::fmt::Write as _;
use std::sync::Arc;

use axum::extract::{Path, Query, State};
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Deserialize;

use super::html::{Escaped, Policy, page as html_page};
use super::mailbox::{Readable, readable_list};
use crate::lookalike::Shared;
use crate::lookalike::mime::source;
use crate::lookalike::store::Mail;

/// The frame's own policy, on top of the page's: nothing is loaded, nothing runs, nothing is submitted.
const FRAME_HEAD: &str = "<!doctype html><meta charset=\"utf-8\"><meta http-equiv=\"Content-Security-Policy\" \
                          content=\"default-src 'none'; style-src 'unsafe-inline'; img-src data:\">\
                          <base target=\"_blank\">";

#[derive(Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Tab {
    #[default]
    Html,
    Text,
    Headers,
    Source,
    Attachments,
}

impl Tab {
    const ALL: [(Self, &'static str); 5] = [
        (Self::Html, "html"),
        (Self::Text, "text"),
        (Self::Headers, "headers"),
        (Self::Source, "source"),
        (Self::Attachments, "attachments"),
    ];
}

#[derive(Deserialize)]
pub(super) struct View {
    tab: Option<Tab>,
}

pub(super) async fn page(
    State(shared): State<Arc<Shared>>,
    Path(id): Path<String>,
    Query(view): Query<View>,
) -> Response {
    let Some(mail) = find(&shared, &id) else {
        return gone();
    };
    let first = if mail.email.html.is_empty() {
        Tab::Text
    } else {
        Tab::Html
    };
    let tab = view.tab.unwrap_or(first);
    let content = match tab {
        Tab::Html => html_part(&mail),
        Tab::Text => text_part(&mail),
        Tab::Headers => headers(&mail),
        Tab::Source => match source(&mail) {
            Ok(source) => format!(
                "<p class=\"actions\"><a class=\"button\" href=\"/mail/{}/source.eml\" download>Download .eml</a></p>\
                 <pre class=\"source\">{}</pre>",
                Escaped(&mail.id),
                Escaped(&String::from_utf8_lossy(&source))
            ),
            Err(error) => note(&format!("The source can't be built: {error}")),
        },
        Tab::Attachments => attachments(&mail),
    };
    let policy = if tab == Tab::Html {
        Policy::MailFrame
    } else {
        Policy::Mail
    };
    let body = format!(
        "<header class=\"bar\"><a class=\"brand\" href=\"/\"><img src=\"/assets/icon.svg\" alt=\"\" width=\"28\" \
         height=\"28\"><span>Paceline inbox</span></a><a class=\"back\" href=\"/\">All mail</a></header>\n\
         <main class=\"mail\">{}{}<section class=\"content\">{content}</section></main>\n",
        envelope(&mail),
        tabs(&mail, tab)
    );
    html_page(&mail.email.subject, policy, "", &body)
}

fn find(shared: &Shared, id: &str) -> Option<Arc<Mail>> {
    shared.state().store.mail(id)
}

fn gone() -> Response {
    let body = "<main><div class=\"empty\"><h2>No such mail</h2><p>Only the newest are kept.</p>\
                <p><a class=\"button\" href=\"/\">All mail</a></p></div></main>";
    let mut response = html_page("No such mail", Policy::Mail, "", body);
    *response.status_mut() = StatusCode::NOT_FOUND;
    response
}

fn envelope(mail: &Mail) -> String {
    let email = &mail.email;
    let subject = match email.subject.as_str() {
        "" => "(no subject)",
        subject => subject,
    };
    let mut html = format!(
        "<h1>{}</h1><dl class=\"envelope\"><dt>From</dt><dd>{}</dd><dt>To</dt><dd>{}</dd>",
        Escaped(subject),
        Escaped(&Readable::of(&email.from).line()),
        Escaped(&readable_list(email.recipients()))
    );
    if !email.reply_to.is_empty() {
        let reply_to = readable_list(email.reply_to.iter().map(String::as_str));
        let _ = write!(html, "<dt>Reply-To</dt><dd>{}</dd>", Escaped(&reply_to));
    }
    let _ = write!(
        html,
        "<dt>Taken</dt><dd><time>{}</time> by {}</dd>",
        mail.received_at.strftime("%Y-%m-%d %H:%M:%S UTC"),
        mail.provider.label()
    );
    html.push_str("<dt>Tags</dt><dd class=\"tags\">");
    for (name, value) in &email.tags {
        let _ = write!(
            html,
            "<span class=\"tag\"><i>{}</i> {}</span>",
            Escaped(name),
            Escaped(value)
        );
    }
    html.push_str("</dd></dl>");
    html
}

fn tabs(mail: &Mail, current: Tab) -> String {
    let mut html = "<nav class=\"tabs\">".to_owned();
    let attachments = mail.email.attachments.len();
    for (tab, name) in Tab::ALL {
        let count = match tab {
            Tab::Attachments => format!(" <i>{attachments}</i>"),
            _ => String::new(),
        };
        let mark = if tab == current {
            " aria-current=\"page\""
        } else {
            ""
        };
        let _ = write!(
            html,
            "<a href=\"/mail/{}?tab={name}\"{mark}>{name}{count}</a>",
            Escaped(&mail.id)
        );
    }
    html.push_str("</nav>");
    html
}

/// The sandbox has no permissions at all: no scripts, no forms, no navigation of this page, an origin of its own.
fn html_part(mail: &Mail) -> String {
    match mail.email.html.as_str() {
        "" => note("This mail has no html part."),
        html => format!(
            "<iframe title=\"The mail's html part\" sandbox referrerpolicy=\"no-referrer\" srcdoc=\"{}{}\"></iframe>\
             <p class=\"hint\">Shown in a sandbox: scripts, remote images and links are switched off.</p>",
            Escaped(FRAME_HEAD),
            Escaped(html)
        ),
    }
}

fn text_part(mail: &Mail) -> String {
    match mail.email.text.as_str() {
        "" => note("This mail has no text part."),
        text => format!("<pre class=\"text\">{}</pre>", Escaped(text)),
    }
}

fn headers(mail: &Mail) -> String {
    let email = &mail.email;
    let mut rows: Vec<(&str, &str)> = email
        .headers
        .iter()
        .map(|(name, value)| (name.as_str(), value.as_str()))
        .collect();
    let call = [
        ("Provider", Some(mail.provider.label())),
        ("Provider's id", Some(mail.id.as_str())),
        ("traceparent of the call", mail.traceparent.as_deref()),
    ];
    let options = email
        .options
        .iter()
        .map(|(name, value)| (option_label(name), value.as_str()));
    let mut html = "<h2>Custom headers</h2>".to_owned();
    rows.sort_by_key(|(name, _)| name.to_ascii_lowercase());
    table(&mut html, rows.into_iter());
    html.push_str("<h2>Call</h2>");
    table(
        &mut html,
        options.chain(
            call.into_iter()
                .filter_map(|(name, value)| value.map(|value| (name, value))),
        ),
    );
    html
}

fn option_label(name: &str) -> &str {
    match name {
        "configuration_set" => "Configuration set",
        "tenant_name" => "SES tenant",
        "domain" => "Sending domain",
        "open_tracking" => "Open tracking",
        "click_tracking" => "Click tracking",
        name => name,
    }
}

fn table<'a>(html: &mut String, rows: impl Iterator<Item = (&'a str, &'a str)>) {
    html.push_str("<table>");
    for (name, value) in rows {
        let _ = write!(
            html,
            "<tr><th scope=\"row\">{}</th><td>{}</td></tr>",
            Escaped(name),
            Escaped(value)
        );
    }
    html.push_str("</table>");
}

fn attachments(mail: &Mail) -> String {
    let parts = &mail.email.attachments;
    if parts.is_empty() {
        return note("This mail has no attachments.");
    }
    let mut html = "<ul class=\"files\">".to_owned();
    for (index, part) in parts.iter().enumerate() {
        let size = part.content.len();
        let kind = if part.inline { "inline" } else { "attached" };
        let _ = write!(
            html,
            "<li><a href=\"/mail/{}/attachments/{index}\" download>{}</a><span>{} · {size} bytes · {kind}</span></li>",
            Escaped(&mail.id),
            Escaped(&part.file_name),
            Escaped(&part.media_type)
        );
    }
    html.push_str("</ul>");
    html
}

fn note(text: &str) -> String {
    format!("<p class=\"note\">{}</p>", Escaped(text))
}

pub(super) async fn download(State(shared): State<Arc<Shared>>, Path(id): Path<String>) -> Response {
    match find(&shared, &id).map(|mail| source(&mail)) {
        Some(Ok(source)) => file(&format!("{id}.eml"), "message/rfc822", source),
        Some(Err(error)) => (StatusCode::INTERNAL_SERVER_ERROR, error.to_string()).into_response(),
        None => gone(),
    }
}

pub(super) async fn attachment(
    State(shared): State<Arc<Shared>>,
    Path((id, index)): Path<(String, usize)>,
) -> Response {
    let Some(mail) = find(&shared, &id) else {
        return gone();
    };
    match mail.email.attachments.get(index) {
        // Never in its own type: a browser must save it, not show it.
        Some(part) => file(&part.file_name, "application/octet-stream", part.content.to_vec()),
        None => gone(),
    }
}

/// A download. Its name keeps only what no header and no file system minds.
fn file(name: &str, content_type: &'static str, content: Vec<u8>) -> Response {
    let name: String = name
        .chars()
        .map(|c| {
            if c.is_ascii_alphanumeric() || ".-_ ".contains(c) {
                c
            } else {
                '_'
            }
        })
        .collect();
    let disposition = HeaderValue::from_str(&format!("attachment; filename=\"{name}\""));
    (
        [
            (header::CONTENT_TYPE, HeaderValue::from_static(content_type)),
            (
                header::CONTENT_DISPOSITION,
                disposition.unwrap_or_else(|_| HeaderValue::from_static("attachment")),
            ),
            (
                header::CONTENT_SECURITY_POLICY,
                HeaderValue::from_static("sandbox; default-src 'none'"),
            ),
        ],
        content,
    )
        .into_response()
}

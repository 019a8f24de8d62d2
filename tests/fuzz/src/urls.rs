//! URLs, as a browser's parser reads what was rendered.

use std::cell::Cell;

use html5ever::tokenizer::{BufferQueue, Token, TokenSink, TokenSinkResult, Tokenizer, TokenizerOpts};

use super::{files, rendered};

/// Places of which each holds URLs, with the value as it is and in pieces.
const SOURCE: &[u8] = br#"<a href="{{u}}"><img src='{{u}}' srcset="{{u}} 2x"><td background="{{#each p}}{{this}}{{/each}}">
<form action="{{{u}}}"><a {{#if u}}href="{{u}}"{{/if}}><!--[if mso]><a href="{{u}}"><![endif]--><p>{{{u}}}</p>{{{u}}}"#;

const URL_ATTRIBUTES: [&str; 5] = ["href", "src", "srcset", "background", "action"];

/// Whatever a value is, no attribute has a URL that runs.
pub fn url(input: &[u8]) {
    let value: String = String::from_utf8_lossy(input).chars().take(1_000).collect();
    let pieces: Vec<String> = value
        .chars()
        .map(quoted_char)
        .map(|char| format!("\"{char}\""))
        .collect();
    let quoted: String = value.chars().map(quoted_char).collect();
    let data = format!("{{\"u\":\"{quoted}\",\"p\":[{}]}}", pieces.join(","));
    for source in SOURCE
        .split(|byte| *byte == b'>')
        .map(|part| [part, b">"].concat())
    {
        if let Some(rendered) = rendered(&files(&source, b"x"), &data) {
            assert!(!has_running_url(&rendered.html), "a URL that runs");
        }
    }
}

/// As JSON has it within quotes.
fn quoted_char(char: char) -> String {
    match char {
        '"' | '\\' => format!("\\{char}"),
        char if char < ' ' => format!("\\u{:04x}", u32::from(char)),
        char => char.to_string(),
    }
}

#[derive(Default)]
struct Urls {
    run: Cell<bool>,
}

impl TokenSink for &Urls {
    type Handle = ();

    fn process_token(&self, token: Token, _: u64) -> TokenSinkResult<()> {
        if let Token::TagToken(tag) = token {
            for attribute in &tag.attrs {
                let is_url = URL_ATTRIBUTES.contains(&&*attribute.name.local);
                // What browsers take out of a URL before they read its scheme (WHATWG URL, 4.4).
                let url: String = attribute.value.chars().filter(|char| *char > ' ').collect();
                let url = url.to_ascii_lowercase();
                let runs = ["javascript:", "vbscript:", "data:"]
                    .iter()
                    .any(|scheme| url.starts_with(scheme));
                self.run.set(self.run.get() || is_url && runs);
            }
        }
        TokenSinkResult::Continue
    }
}

fn has_running_url(html: &str) -> bool {
    let urls = Urls::default();
    let queue = BufferQueue::default();
    queue.push_back(html.into());
    let tokenizer = Tokenizer::new(&urls, TokenizerOpts::default());
    let _ = tokenizer.feed(&queue);
    tokenizer.end();
    urls.run.get()
}

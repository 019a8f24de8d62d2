//! URLs that run a program or carry a document of their own.

/// Schemes that data may not bring into an attribute.
const REFUSED: &[&str] = &["javascript", "vbscript", "data"];

/// How often entities are taken for what they stand for. A browser does it once, what writes html anew on the way may do it again, and
/// escaping has added one layer.
const DECODINGS: usize = 3;

/// True if a template's own text at the beginning of a URL settles what scheme it has.
pub(super) fn is_settled(beginning: &str) -> bool {
    decoded(beginning).contains([':', '/', '?', '#'])
}

/// The refused scheme that an attribute's value has, if it has one. `several` values are a list of URLs (`srcset`).
pub(super) fn refused_scheme(value: &str, several: bool) -> Option<&'static str> {
    if several {
        value.split([',', ' ']).find_map(refused)
    } else {
        refused(value)
    }
}

fn refused(url: &str) -> Option<&'static str> {
    let plain = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'-' | b'.');
    let scheme = url.bytes().take_while(plain).count();
    match url.as_bytes().get(scheme) {
        None | Some(b'/' | b'?' | b'#') => None,
        Some(b':') => refused_name(&url[..scheme]),
        Some(_) => refused_in_disguise(url),
    }
}

fn refused_name(scheme: &str) -> Option<&'static str> {
    REFUSED
        .iter()
        .find(|refused| scheme.eq_ignore_ascii_case(refused))
        .copied()
}

/// The same with entities, and with characters that don't show.
fn refused_in_disguise(url: &str) -> Option<&'static str> {
    let decoded = decoded(url);
    let (scheme, _) = decoded.split_once(':')?;
    refused_name(scheme)
}

/// Entities resolved, and everything left out that a browser passes over or a person can't see.
fn decoded(text: &str) -> String {
    let mut text = text.to_owned();
    for _ in 0..DECODINGS {
        if !text.contains('&') {
            break;
        }
        text = without_entities(&text);
    }
    text.retain(|char| !is_ignored(char));
    text
}

fn is_ignored(char: char) -> bool {
    char.is_whitespace()
        || char.is_control()
        || matches!(char, '\u{ad}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}')
}

fn without_entities(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('&') {
        out.push_str(before);
        match entity(after) {
            Some((char, length)) => {
                out.push(char);
                rest = &after[length..];
            }
            None => {
                out.push('&');
                rest = after;
            }
        }
    }
    out.push_str(rest);
    out
}

/// The character of the entity whose text after `&` this begins with, and its length. Of the named ones those that can be part of
/// a scheme, or that a scheme hides behind.
fn entity(text: &str) -> Option<(char, usize)> {
    const NAMED: &[(&str, char)] = &[
        ("colon;", ':'),
        ("Tab;", '\t'),
        ("NewLine;", '\n'),
        ("amp;", '&'),
        ("num;", '#'),
        ("semi;", ';'),
        ("sol;", '/'),
        ("nbsp;", ' '),
        ("shy;", '\u{ad}'),
        ("ZeroWidthSpace;", '\u{200b}'),
    ];
    let Some(number) = text.strip_prefix('#') else {
        let named = NAMED.iter().find(|(name, _)| text.starts_with(name));
        return named.map(|(name, char)| (*char, name.len()));
    };
    let (radix, digits) = match number.strip_prefix(['x', 'X']) {
        Some(digits) => (16, digits),
        None => (10, number),
    };
    let length = digits
        .find(|char: char| !char.is_digit(radix))
        .unwrap_or(digits.len());
    let significant = digits[..length].trim_start_matches('0');
    let code = u32::from_str_radix(significant, radix).ok()?;
    let end = text.len() - digits.len() + length;
    let end = end + usize::from(text[end..].starts_with(';'));
    Some((char::from_u32(code)?, end))
}

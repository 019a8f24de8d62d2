//! Escaping, as Handlebars.js does it.

/// The entity of each byte that has one.
const ENTITIES: [&str; 256] = {
    let mut entities = [""; 256];
    entities[b'&' as usize] = "&amp;";
    entities[b'<' as usize] = "&lt;";
    entities[b'>' as usize] = "&gt;";
    entities[b'"' as usize] = "&quot;";
    entities[b'\'' as usize] = "&#x27;";
    entities[b'`' as usize] = "&#x60;";
    entities[b'=' as usize] = "&#x3D;";
    entities
};

/// Adds `text` to `out` with entities in place of what means something in html.
pub(super) fn html(text: &str, out: &mut String) {
    let mut copied = 0;
    for (at, byte) in text.bytes().enumerate() {
        let entity = ENTITIES[usize::from(byte)];
        if !entity.is_empty() {
            out.push_str(&text[copied..at]);
            out.push_str(entity);
            copied = at + 1;
        }
    }
    out.push_str(&text[copied..]);
}

//! Rows as JSON, one object per line, read with a bound on the line: what is longer is skipped, not loaded.

use std::io::{self, BufRead};
use std::ops::ControlFlow;

use serde_json::error::Category;
use serde_json::value::RawValue;

use super::ROW_BYTES_MAX;
use super::members::Members;
use super::row::{Row, Wrong, kind};

/// Calls `each` with the number of each line that is not empty, and its row or what is wrong with it.
///
/// # Errors
/// If reading fails.
pub(super) fn read(
    mut input: impl BufRead,
    mut each: impl FnMut(u64, Result<Row, Wrong>) -> ControlFlow<()>,
) -> io::Result<()> {
    let mut bytes = Vec::new();
    for number in 1.. {
        let row = match line(&mut input, &mut bytes)? {
            Line::End => return Ok(()),
            Line::TooLong(length) => Err(Wrong::row(format!(
                "is {length} bytes long, at most {ROW_BYTES_MAX}"
            ))),
            Line::Whole => {
                let text = match bytes.strip_prefix("\u{feff}".as_bytes()) {
                    Some(rest) if number == 1 => rest,
                    _ => &bytes,
                };
                if text.trim_ascii().is_empty() {
                    continue;
                }
                row(text)
            }
        };
        if each(number, row).is_break() {
            break;
        }
    }
    Ok(())
}

enum Line {
    End,
    Whole,
    /// So many bytes, none of them kept beyond the bound.
    TooLong(u64),
}

/// Reads one line without its end into `bytes`.
fn line(input: &mut impl BufRead, bytes: &mut Vec<u8>) -> io::Result<Line> {
    bytes.clear();
    let mut length = 0;
    loop {
        let buffer = input.fill_buf()?;
        if buffer.is_empty() && length == 0 {
            return Ok(Line::End);
        }
        let end = buffer.iter().position(|byte| *byte == b'\n');
        let part = &buffer[..end.unwrap_or(buffer.len())];
        length += part.len() as u64;
        if length <= ROW_BYTES_MAX as u64 {
            bytes.extend_from_slice(part);
        }
        let is_last = end.is_some() || buffer.is_empty();
        let used = part.len() + usize::from(end.is_some());
        input.consume(used);
        if !is_last {
            continue;
        }
        return Ok(if length > ROW_BYTES_MAX as u64 {
            Line::TooLong(length)
        } else {
            Line::Whole
        });
    }
}

fn row(text: &[u8]) -> Result<Row, Wrong> {
    let text = std::str::from_utf8(text).map_err(|error| {
        let at = error.valid_up_to() + 1;
        Wrong::row(format!("is not UTF-8: byte {at} of the line"))
    })?;
    let members: Members = serde_json::from_str(text).map_err(|error| match error.classify() {
        Category::Data => Wrong::row("is not a JSON object"),
        _ => Wrong::row(format!("is not JSON: character {} of the line", error.column())),
    })?;
    let mut row = Row::default();
    let mut seen = Vec::with_capacity(members.0.len());
    for (name, value) in members.0 {
        if seen.contains(&name) {
            return Err(Wrong::new(name, "is there twice"));
        }
        if value.get() != "null" {
            set(&mut row, &name, &value)?;
        }
        seen.push(name);
    }
    Ok(row)
}

fn set(row: &mut Row, name: &str, value: &RawValue) -> Result<(), Wrong> {
    match name {
        "data" => row.data = object(name, value)?,
        "tags" => {
            for (tag, value) in object(name, value)?.0 {
                let text = string(&format!("tags.{tag}"), &value)?;
                row.tags.push((tag, text));
            }
        }
        _ => {
            let text = string(name, value)?;
            *row.text(name).ok_or_else(|| {
                Wrong::new(
                    name,
                    "is no field of a row; the template's own fields go into data",
                )
            })? = text;
        }
    }
    Ok(())
}

fn object(name: &str, value: &RawValue) -> Result<Members, Wrong> {
    serde_json::from_str(value.get())
        .map_err(|_| Wrong::new(name, format!("is {}, not an object", kind(value))))
}

fn string(name: &str, value: &RawValue) -> Result<String, Wrong> {
    serde_json::from_str(value.get())
        .map_err(|_| Wrong::new(name, format!("is {}, not a string", kind(value))))
}

#[cfg(test)]
mod tests;

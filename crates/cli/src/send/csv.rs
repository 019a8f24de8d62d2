//! Rows as CSV (RFC 4180) under a header, read with a bound on the row: what is longer is skipped, not loaded.
//!
//! Above `csv-core`, since the reader of the crate `csv` grows with a row: one quote that is never closed would load the file.

use std::io::{self, BufRead};
use std::ops::ControlFlow;

use anyhow::{Context as _, bail, ensure};
use csv_core::{ReadRecordResult, Reader};
use serde_json::{Map, Value, value::to_raw_value};

use super::ROW_BYTES_MAX;
use super::row::{Row, Wrong};

const COLUMNS_MAX: usize = 1_024;

/// What a column gives.
enum Column {
    /// A field of the row, by its name.
    Text(String),
    /// The template's data as a JSON object.
    Data,
    Tag(String),
    /// One field of the template's data, by its path. Its value is a string.
    DataField(Vec<String>),
}

/// Calls `each` with the number of the line on which each row begins, and the row or what is wrong with it.
///
/// # Errors
/// If reading fails, or the header can't be used: then nothing is read after it.
pub(super) fn read(
    input: impl BufRead,
    mut each: impl FnMut(u64, Result<Row, Wrong>) -> ControlFlow<()>,
) -> anyhow::Result<()> {
    let mut records = Records::new(input);
    let columns = match records.next()? {
        Next::End => bail!("the file is empty; its first line names the columns"),
        Next::Record(_, Ok(())) => header(&records.fields().map_err(sentence).context("the header")?)?,
        Next::Record(_, Err(wrong)) => return Err(sentence(wrong)).context("the header"),
    };
    while let Next::Record(line, read) = records.next()? {
        let row = read.and_then(|()| row(&columns, &records.fields()?));
        if each(line, row).is_break() {
            break;
        }
    }
    Ok(())
}

fn sentence(wrong: Wrong) -> anyhow::Error {
    anyhow::anyhow!(wrong.reason)
}

fn header(names: &[&str]) -> anyhow::Result<Vec<Column>> {
    let names: Vec<_> = names.iter().map(|name| name.trim()).collect();
    for (index, name) in names.iter().enumerate() {
        ensure!(!name.is_empty(), "column {} of the header has no name", index + 1);
        ensure!(!names[..index].contains(name), "the header names {name} twice");
    }
    for name in ["recipient", "user_id"] {
        ensure!(names.contains(&name), "the header names no column {name}");
    }
    let columns: Vec<_> = names.iter().map(|name| column(name)).collect();
    let mut paths = Vec::new();
    for (name, column) in names.iter().zip(&columns) {
        let Column::DataField(path) = column else { continue };
        ensure!(
            path.iter().all(|part| !part.is_empty()),
            "the column {name} names an empty field"
        );
        let overlaps = |other: &&Vec<String>| path.starts_with(other) || other.starts_with(path);
        ensure!(
            !paths.iter().any(overlaps),
            "the column {name} names a field that another column gives, or a part of it"
        );
        paths.push(path);
    }
    Ok(columns)
}

fn column(name: &str) -> Column {
    if name == "data" {
        Column::Data
    } else if Row::default().text(name).is_some() {
        Column::Text(name.to_owned())
    } else if let Some(tag) = name.strip_prefix("tags.") {
        Column::Tag(tag.to_owned())
    } else {
        let path = name.strip_prefix("data.").unwrap_or(name);
        Column::DataField(path.split('.').map(str::to_owned).collect())
    }
}

fn row(columns: &[Column], fields: &[&str]) -> Result<Row, Wrong> {
    if fields.len() != columns.len() {
        return Err(Wrong::row(format!(
            "has {} columns, not the header's {}",
            fields.len(),
            columns.len()
        )));
    }
    let mut row = Row::default();
    let mut data = Map::new();
    for (column, field) in columns.iter().zip(fields) {
        match column {
            Column::Text(name) => {
                if let Some(text) = row.text(name) {
                    (*field).clone_into(text);
                }
            }
            Column::Data if field.is_empty() => {}
            Column::Data => {
                row.data =
                    serde_json::from_str(field).map_err(|_| Wrong::new("data", "is not a JSON object"))?;
            }
            Column::Tag(_) if field.is_empty() => {}
            Column::Tag(name) => row.tags.push((name.clone(), (*field).to_owned())),
            Column::DataField(path) => insert(&mut data, path, field),
        }
    }
    for (name, value) in data {
        if row.data.has(&name) {
            return Err(Wrong::new(
                format!("data.{name}"),
                "is in the column data and in a column of its own",
            ));
        }
        let value = to_raw_value(&value).map_err(|_| Wrong::new("data", "is no JSON"))?;
        row.data.0.push((name, value));
    }
    Ok(row)
}

fn insert(data: &mut Map<String, Value>, path: &[String], field: &str) {
    match path {
        [] => {}
        [name] => {
            data.insert(name.clone(), field.into());
        }
        [name, rest @ ..] => {
            let within = data.entry(name).or_insert_with(|| Map::new().into());
            // The header was checked: no column is both a field and an object of fields.
            if let Value::Object(within) = within {
                insert(within, rest, field);
            }
        }
    }
}

/// The records of a file, one at a time, in buffers that are used again.
struct Records<I> {
    input: I,
    reader: Reader,
    /// The fields of the record, one after another, and where each ends.
    text: Vec<u8>,
    ends: Vec<usize>,
    used: usize,
    newlines: u64,
}

enum Next {
    End,
    /// The line on which it begins; whether it could be read.
    Record(u64, Result<(), Wrong>),
}

impl<I: BufRead> Records<I> {
    fn new(input: I) -> Self {
        Self {
            input,
            reader: Reader::new(),
            text: vec![0; 8 << 10],
            ends: vec![0; COLUMNS_MAX],
            used: 0,
            newlines: 0,
        }
    }

    fn next(&mut self) -> io::Result<Next> {
        self.skip_empty_lines()?;
        let line = self.newlines + 1;
        let (mut out, mut columns) = (0, 0);
        let mut wrong = None;
        loop {
            let input = self.input.fill_buf()?;
            let (result, read, written, ended) =
                self.reader
                    .read_record(input, &mut self.text[out..], &mut self.ends[columns..]);
            self.newlines += newlines(&input[..read]);
            self.input.consume(read);
            out += written;
            columns += ended;
            match result {
                ReadRecordResult::InputEmpty => {}
                ReadRecordResult::OutputFull if self.text.len() < ROW_BYTES_MAX => {
                    self.text.resize((2 * self.text.len()).min(ROW_BYTES_MAX), 0);
                }
                // What follows is read over what is there: the row is refused.
                ReadRecordResult::OutputFull => {
                    out = 0;
                    wrong = Some(Wrong::row(format!(
                        "is more than {ROW_BYTES_MAX} bytes long; is a quote not closed?"
                    )));
                }
                ReadRecordResult::OutputEndsFull => {
                    columns = 0;
                    wrong = Some(Wrong::row(format!("has more than {COLUMNS_MAX} columns")));
                }
                ReadRecordResult::Record => {
                    self.used = columns;
                    return Ok(Next::Record(line, wrong.map_or(Ok(()), Err)));
                }
                ReadRecordResult::End => return Ok(Next::End),
            }
        }
    }

    /// The reader would skip them too, but not say on which line a record begins.
    fn skip_empty_lines(&mut self) -> io::Result<()> {
        loop {
            let input = self.input.fill_buf()?;
            let empty = input
                .iter()
                .take_while(|byte| matches!(byte, b'\r' | b'\n'))
                .count();
            let is_over = empty < input.len() || input.is_empty();
            self.newlines += newlines(&input[..empty]);
            self.input.consume(empty);
            if is_over {
                return Ok(());
            }
        }
    }

    /// The fields of the record that was read last.
    fn fields(&self) -> Result<Vec<&str>, Wrong> {
        let mut start = 0;
        let mut fields = Vec::with_capacity(self.used);
        for (index, end) in self.ends[..self.used].iter().enumerate() {
            let field = std::str::from_utf8(&self.text[start..*end])
                .map_err(|_| Wrong::row(format!("is not UTF-8: column {}", index + 1)))?;
            fields.push(field);
            start = *end;
        }
        Ok(fields)
    }
}

fn newlines(bytes: &[u8]) -> u64 {
    bytes.iter().filter(|byte| **byte == b'\n').count() as u64
}

#[cfg(test)]
mod tests;

//! Rows as CSV under a header that names their fields.

use std::io::BufRead;
use std::ops::ControlFlow;

use anyhow::{Context as _, bail, ensure};
use serde_json::{Map, Value, value::to_raw_value};

use super::ROW_BYTES_MAX;
use super::row::{Row, Wrong};
use crate::records::{Next, Records};

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
    let mut records = Records::new(input, ROW_BYTES_MAX);
    let columns = match records.next()? {
        Next::End => bail!("the file is empty; its first line names the columns"),
        Next::Record(_, Ok(())) => header(&records.fields().map_err(sentence).context("the header")?)?,
        Next::Record(_, Err(wrong)) => return Err(sentence(wrong)).context("the header"),
    };
    while let Next::Record(line, read) = records.next()? {
        let fields = read.and_then(|()| records.fields());
        let row = fields
            .map_err(Wrong::row)
            .and_then(|fields| row(&columns, &fields));
        if each(line, row).is_break() {
            break;
        }
    }
    Ok(())
}

fn sentence(wrong: String) -> anyhow::Error {
    anyhow::anyhow!(wrong)
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

#[cfg(test)]
mod tests;

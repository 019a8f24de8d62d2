//! The records of CSV (RFC 4180), read with a bound on each: what is longer is skipped, not loaded.
//!
//! Above `csv-core`, since the reader of the crate `csv` grows with a row: one quote that is never closed would load the file.

use std::io::{self, BufRead};

use csv_core::{ReadRecordResult, Reader};

const COLUMNS_MAX: usize = 1_024;

/// The records of a file, one at a time, in buffers that are used again.
pub(crate) struct Records<I> {
    input: I,
    bytes_max: usize,
    reader: Reader,
    /// The fields of the record, one after another, and where each ends.
    text: Vec<u8>,
    ends: Vec<usize>,
    used: usize,
    newlines: u64,
}

pub(crate) enum Next {
    End,
    /// The line on which it begins; whether it could be read.
    Record(u64, Result<(), String>),
}

impl<I: BufRead> Records<I> {
    /// Of `input`, with records of at most `bytes_max`.
    pub(crate) fn new(input: I, bytes_max: usize) -> Self {
        Self {
            input,
            bytes_max,
            reader: Reader::new(),
            text: vec![0; 8 << 10],
            ends: vec![0; COLUMNS_MAX],
            used: 0,
            newlines: 0,
        }
    }

    /// The next record, or what is wrong with it.
    ///
    /// # Errors
    /// If reading fails.
    pub(crate) fn next(&mut self) -> io::Result<Next> {
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
                ReadRecordResult::OutputFull if self.text.len() < self.bytes_max => {
                    self.text.resize((2 * self.text.len()).min(self.bytes_max), 0);
                }
                // What follows is read over what is there: the row is refused.
                ReadRecordResult::OutputFull => {
                    out = 0;
                    wrong = Some(format!(
                        "is more than {} bytes long; is a quote not closed?",
                        self.bytes_max
                    ));
                }
                ReadRecordResult::OutputEndsFull => {
                    columns = 0;
                    wrong = Some(format!("has more than {COLUMNS_MAX} columns"));
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
    ///
    /// # Errors
    /// The first that is no UTF-8.
    pub(crate) fn fields(&self) -> Result<Vec<&str>, String> {
        let mut start = 0;
        let mut fields = Vec::with_capacity(self.used);
        for (index, end) in self.ends[..self.used].iter().enumerate() {
            let field = std::str::from_utf8(&self.text[start..*end])
                .map_err(|_| format!("is not UTF-8: column {}", index + 1))?;
            fields.push(field);
            start = *end;
        }
        Ok(fields)
    }
}

fn newlines(bytes: &[u8]) -> u64 {
    bytes.iter().filter(|byte| **byte == b'\n').count() as u64
}

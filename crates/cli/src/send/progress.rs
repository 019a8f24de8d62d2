//! What a person sees of a long run: a line about how far it is, a line for each refused row, a summary.

use std::fs::File;
use std::io::{self, IsTerminal, LineWriter, Write};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use anyhow::Context as _;
use tokio::time::Instant;

use super::batch::Attempted;
use super::reader::Refusal;

/// Between two looks on a terminal, where one line is written over and over.
const ON_TERMINAL: Duration = Duration::from_millis(200);
/// Between two lines in a log.
const IN_LOG: Duration = Duration::from_secs(5);
/// Goes to the line's begin and clears it.
const CLEAR: &str = "\r\x1b[2K";

pub(super) struct Progress {
    started: Instant,
    accepted: u64,
    duplicates: u64,
    pub(super) refused: u64,
    /// Why the last attempt is being repeated.
    trouble: Option<String>,
    read: Arc<AtomicU64>,
    size: Option<u64>,
    is_terminal: bool,
    /// None: standard error.
    report: Option<LineWriter<File>>,
}

impl Progress {
    /// # Errors
    /// If the report's file can't be made.
    pub(super) fn new(
        report: Option<&Path>,
        read: Arc<AtomicU64>,
        size: Option<u64>,
    ) -> anyhow::Result<Self> {
        let create =
            |path: &Path| File::create(path).with_context(|| format!("can't write {}", path.display()));
        Ok(Self {
            started: Instant::now(),
            accepted: 0,
            duplicates: 0,
            refused: 0,
            trouble: None,
            read,
            size,
            is_terminal: io::stderr().is_terminal(),
            report: report.map(create).transpose()?.map(LineWriter::new),
        })
    }

    /// How often [`Progress::show`] is worth calling.
    pub(super) const fn period(&self) -> Duration {
        if self.is_terminal { ON_TERMINAL } else { IN_LOG }
    }

    /// # Errors
    /// If the report can't be written: a refusal that nobody hears of is worse than a run that ends.
    pub(super) fn refuse(&mut self, refusal: &Refusal) -> anyhow::Result<()> {
        self.refused += 1;
        let line = report_line(refusal);
        match &mut self.report {
            Some(file) => writeln!(file, "{line}").context("can't write the report"),
            None => {
                let clear = if self.is_terminal { CLEAR } else { "" };
                writeln!(io::stderr(), "{clear}{line}").context("can't write to standard error")
            }
        }
    }

    /// # Errors
    /// See [`Progress::refuse`].
    pub(super) fn add(&mut self, attempted: &Attempted) -> anyhow::Result<()> {
        self.accepted += attempted.accepted;
        self.duplicates += attempted.duplicates;
        let why = attempted.again.as_ref().map(|(_, error)| &error.message);
        self.trouble = why.map(|message| format!("trying again: {message}"));
        attempted
            .refused
            .iter()
            .try_for_each(|refusal| self.refuse(refusal))
    }

    pub(super) fn show(&self) {
        let done = match self.size {
            Some(size) if size > 0 => {
                let read = self.read.load(Ordering::Relaxed).min(size);
                format!("{} % read, ", read * 100 / size)
            }
            _ => String::new(),
        };
        let trouble = match &self.trouble {
            Some(trouble) => format!(" ({trouble})"),
            None => String::new(),
        };
        let line = format!("{done}{}{trouble}", self.counts());
        // What can't be shown is not worth an end.
        let _ = if self.is_terminal {
            write!(io::stderr(), "{CLEAR}{line}")
        } else {
            writeln!(io::stderr(), "{line}")
        };
    }

    /// Takes the line of the progress away, so that what follows has one of its own.
    pub(super) fn clear(&self) {
        if self.is_terminal {
            let _ = write!(io::stderr(), "{CLEAR}");
        }
    }

    pub(super) fn counts(&self) -> String {
        let Self {
            accepted,
            duplicates,
            refused,
            ..
        } = self;
        let seconds = self.started.elapsed().as_secs_f64();
        let rate = (accepted + duplicates + refused) as f64 / seconds.max(0.001);
        format!(
            "accepted {accepted}, duplicates {duplicates}, refused {refused} in {seconds:.1} s ({rate:.0}/s)"
        )
    }
}

fn report_line(refusal: &Refusal) -> String {
    let wrong: Vec<_> = refusal
        .wrong
        .iter()
        .map(|wrong| match wrong.field.as_str() {
            "" => wrong.reason.clone(),
            field => format!("{}: {}", field.escape_debug(), wrong.reason),
        })
        .collect();
    format!("line {}: {}", refusal.line, wrong.join("; "))
}

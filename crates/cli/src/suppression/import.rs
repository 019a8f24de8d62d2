//! `paceline suppression import`: some thousand lines at a time from the file to feedback.
//!
//! Nothing is noted on the side: what is there already stays as it is, so a run that was cut is started again.

use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, bail, ensure};
use futures_util::stream;
use paceline_wire::v1;
use tokio::time::Instant;
use tonic::{Code, Status};

use super::Client;
use super::columns::Columns;
use super::lines;
use crate::args::ImportOptions;
use crate::client;
use crate::records::{Next, Records};

const LINE_BYTES_MAX: usize = 64 << 10;
/// Lines of one call, and of one of its requests.
const PART: usize = 5_000;
const REQUEST: usize = 500;
/// How long feedback may be out of reach.
const SILENCE_MAX: Duration = Duration::from_secs(300);
const PAUSE: Duration = Duration::from_secs(1);
const SHOW_EVERY: Duration = Duration::from_secs(1);

/// # Errors
/// If the file can't be read, feedback refuses the calls or is out of reach, or a line was refused.
pub(super) async fn run(client: Client, tenant: String, options: ImportOptions) -> anyhow::Result<()> {
    let input: Box<dyn Read + Send> = if options.file.as_os_str() == "-" {
        Box::new(std::io::stdin())
    } else {
        open(&options.file)?
    };
    let mut list = List::begin(BufReader::new(input), &options)?;
    let mut import = Import {
        client,
        tenant,
        who: options.said.who.clone(),
        why: options.said.why.clone(),
        counts: v1::SuppressionCounts::default(),
        refused: 0,
        started: Instant::now(),
        shown: Instant::now(),
    };
    loop {
        let part = list.part(&mut import)?;
        let Some((first, _)) = part.first() else { break };
        let first = *first;
        let sent = import.send(&part).await;
        sent.with_context(|| {
            format!("the lines from {first} on are not known to be in: go on with --from-line {first}")
        })?;
        import.show(list.line);
    }
    println!("{}", import.summary());
    ensure!(import.refused == 0, "{} lines were refused", import.refused);
    Ok(())
}

fn open(path: &Path) -> anyhow::Result<Box<dyn Read + Send>> {
    let shown = path.display();
    let file = File::open(path).with_context(|| format!("can't open {shown}"))?;
    Ok(Box::new(file))
}

/// A line's number, and what is to be suppressed by it.
type Line = (u64, v1::NewSuppression);

/// The file.
struct List<I> {
    records: Records<I>,
    columns: Columns,
    /// The first line, where it is none of a header.
    first: Option<Vec<String>>,
    from_line: u64,
    /// That was read last.
    line: u64,
}

impl<I: BufRead> List<I> {
    fn begin(input: I, options: &ImportOptions) -> anyhow::Result<Self> {
        let mut records = Records::new(input, LINE_BYTES_MAX);
        let first: Vec<String> = match records.next()? {
            Next::End => bail!("the file is empty"),
            Next::Record(_, Ok(())) => {
                let fields = records
                    .fields()
                    .map_err(|wrong| anyhow::anyhow!("the first line {wrong}"))?;
                fields.into_iter().map(str::to_owned).collect()
            }
            Next::Record(_, Err(wrong)) => bail!("the first line {wrong}"),
        };
        let names: Vec<&str> = first
            .iter()
            .map(|name| name.trim_start_matches('\u{feff}'))
            .collect();
        let has_header = !names.iter().any(|name| name.contains('@'));
        let columns = if has_header {
            Columns::read(&names, options.reason)?
        } else {
            Columns {
                of_all: options.reason,
                ..Columns::of_ses(names.len())
            }
        };
        Ok(Self {
            records,
            columns,
            first: (!has_header).then_some(first),
            from_line: options.from_line,
            line: 1,
        })
    }

    /// The next lines that can be read; those that can't are reported.
    fn part(&mut self, import: &mut Import) -> anyhow::Result<Vec<Line>> {
        let mut part = Vec::with_capacity(PART);
        if let Some(first) = self.first.take() {
            let fields: Vec<&str> = first.iter().map(String::as_str).collect();
            self.keep(&mut part, import, lines::read(&self.columns, &fields));
        }
        while part.len() < PART {
            let Next::Record(line, read) = self.records.next()? else {
                break;
            };
            self.line = line;
            let fields = read.and_then(|()| self.records.fields());
            let suppression = fields.and_then(|fields| lines::read(&self.columns, &fields));
            self.keep(&mut part, import, suppression);
        }
        Ok(part)
    }

    fn keep(&self, part: &mut Vec<Line>, import: &mut Import, read: Result<v1::NewSuppression, String>) {
        if self.line < self.from_line {
            return;
        }
        match read {
            Ok(suppression) => part.push((self.line, suppression)),
            Err(problem) => import.refuse(self.line, &problem),
        }
    }
}

/// One run.
struct Import {
    client: Client,
    tenant: String,
    who: String,
    why: String,
    counts: v1::SuppressionCounts,
    refused: u64,
    started: Instant,
    shown: Instant,
}

impl Import {
    /// Sends lines until they are answered.
    async fn send(&mut self, part: &[Line]) -> anyhow::Result<()> {
        let began = Instant::now();
        let mut done = 0;
        while done < part.len() {
            match self.call(&part[done..]).await {
                Ok(answer) => {
                    for refused in &answer.refused {
                        let index = usize::try_from(refused.index).unwrap_or(usize::MAX);
                        let line = part[done..].get(index).map_or(0, |(line, _)| *line);
                        self.refuse(line, &format!("{}: {}", refused.field, refused.problem));
                    }
                    let counts = answer.counts.unwrap_or_default();
                    self.counts.added += counts.added;
                    self.counts.already += counts.already;
                    self.counts.removed_since += counts.removed_since;
                    ensure!(answer.read > 0, "feedback has read nothing");
                    done += usize::try_from(answer.read).unwrap_or(usize::MAX);
                }
                Err(status) if is_passing(&status) && began.elapsed() < SILENCE_MAX => {
                    eprintln!("trying again: {}", status.message());
                    tokio::time::sleep(PAUSE).await;
                }
                Err(status) => return Err(client::explain(&status)),
            }
        }
        Ok(())
    }

    async fn call(&mut self, lines: &[Line]) -> Result<v1::ImportSuppressionsResponse, Status> {
        let requests: Vec<v1::ImportSuppressionsRequest> = lines
            .chunks(REQUEST)
            .map(|lines| v1::ImportSuppressionsRequest {
                tenant: self.tenant.clone(),
                suppressions: lines.iter().map(|(_, suppression)| suppression.clone()).collect(),
                who: self.who.clone(),
                why: self.why.clone(),
            })
            .collect();
        let request = client::within(stream::iter(requests));
        Ok(self.client.import_suppressions(request).await?.into_inner())
    }

    fn refuse(&mut self, line: u64, problem: &str) {
        self.refused += 1;
        eprintln!("line {line}: {problem}");
    }

    fn show(&mut self, line: u64) {
        if self.shown.elapsed() >= SHOW_EVERY {
            self.shown = Instant::now();
            eprintln!("line {line}: {}", self.summary());
        }
    }

    fn summary(&self) -> String {
        let v1::SuppressionCounts {
            added,
            already,
            removed_since,
        } = self.counts;
        let seconds = self.started.elapsed().as_secs_f64();
        let rate = (added + already + removed_since + self.refused) as f64 / seconds.max(0.001);
        format!(
            "added {added}, there already {already}, removed since {removed_since}, refused {} in {seconds:.1} s ({rate:.0}/s)",
            self.refused
        )
    }
}

/// Whether the same call may succeed later. It may also have been done.
fn is_passing(status: &Status) -> bool {
    matches!(
        status.code(),
        Code::Unavailable | Code::DeadlineExceeded | Code::ResourceExhausted | Code::Aborted
    )
}

//! The reading side: a thread of its own that turns rows into requests and stands still while too much is unanswered.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::ops::ControlFlow;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use anyhow::Context as _;
use paceline_wire::v1::EnqueueRequest;
use prost::Message as _;
use tokio::runtime::Handle;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot};

use super::row::{Defaults, Row, Wrong};
use super::{Format, csv, jsonl};

/// Rows that are read and not yet in a request.
const ROWS_WAITING_MAX: usize = 256;
/// What is read and not yet answered, in KiB: this, and not the file's size, is what the command needs of memory.
const UNANSWERED_KIB_MAX: u32 = 16 << 10;

/// A row that may be sent.
pub(super) struct Item {
    pub(super) line: u64,
    pub(super) bytes: usize,
    pub(super) request: EnqueueRequest,
    _memory: OwnedSemaphorePermit,
}

impl Item {
    pub(super) const fn new(
        line: u64,
        bytes: usize,
        request: EnqueueRequest,
        memory: OwnedSemaphorePermit,
    ) -> Self {
        Self {
            line,
            bytes,
            request,
            _memory: memory,
        }
    }
}

/// A row that is not taken.
pub(super) struct Refusal {
    pub(super) line: u64,
    pub(super) wrong: Vec<Wrong>,
}

pub(super) struct Rows {
    pub(super) rows: mpsc::Receiver<Result<Item, Refusal>>,
    /// How the reading ended; to be asked when there are no more rows.
    pub(super) end: oneshot::Receiver<anyhow::Result<()>>,
    /// How many bytes are read.
    pub(super) read: Arc<AtomicU64>,
    /// The file's size; none where it is a pipe.
    pub(super) size: Option<u64>,
}

/// Begins to read `path`, where `-` is standard input. The thread is not waited for: it may stand in a read that never ends.
///
/// # Errors
/// If the file can't be opened.
pub(super) fn start(path: &Path, format: Format, defaults: Defaults) -> anyhow::Result<Rows> {
    let (input, size): (Box<dyn Read + Send>, _) = if path.as_os_str() == "-" {
        (Box::new(io::stdin()), None)
    } else {
        let shown = path.display();
        let file = File::open(path).with_context(|| format!("can't open {shown}"))?;
        let about = file
            .metadata()
            .with_context(|| format!("can't look at {shown}"))?;
        anyhow::ensure!(!about.is_dir(), "{shown} is a folder");
        let size = about.is_file().then_some(about.len());
        (Box::new(file), size)
    };
    let read = Arc::new(AtomicU64::new(0));
    let input = BufReader::new(Counted {
        input,
        read: Arc::clone(&read),
    });
    let (to_rows, rows) = mpsc::channel(ROWS_WAITING_MAX);
    let (to_end, end) = oneshot::channel();
    let feed = Feed {
        defaults,
        rows: to_rows,
        memory: Arc::new(Semaphore::new(UNANSWERED_KIB_MAX as usize)),
        runtime: Handle::current(),
    };
    std::thread::Builder::new()
        .name("rows".to_owned())
        .spawn(move || {
            // Who does not ask any more has ended.
            let _ = to_end.send(feed.all(input, format));
        })
        .context("no thread for reading")?;
    Ok(Rows {
        rows,
        end,
        read,
        size,
    })
}

struct Feed {
    defaults: Defaults,
    rows: mpsc::Sender<Result<Item, Refusal>>,
    memory: Arc<Semaphore>,
    runtime: Handle,
}

impl Feed {
    fn all(self, input: impl BufRead, format: Format) -> anyhow::Result<()> {
        let each = |line, row| self.one(line, row);
        match format {
            Format::Jsonl => jsonl::read(input, each).context("can't read on"),
            Format::Csv => csv::read(input, each),
        }
    }

    fn one(&self, line: u64, row: Result<Row, Wrong>) -> ControlFlow<()> {
        let read = match row.and_then(|row| self.defaults.request(row)) {
            Ok(request) => {
                let bytes = request.encoded_len();
                let kib = u32::try_from(bytes.div_ceil(1 << 10)).unwrap_or(u32::MAX);
                let memory = Arc::clone(&self.memory).acquire_many_owned(kib.clamp(1, UNANSWERED_KIB_MAX));
                let Ok(memory) = self.runtime.block_on(memory) else {
                    return ControlFlow::Break(());
                };
                Ok(Item::new(line, bytes, request, memory))
            }
            Err(wrong) => Err(Refusal {
                line,
                wrong: vec![wrong],
            }),
        };
        match self.rows.blocking_send(read) {
            Ok(()) => ControlFlow::Continue(()),
            Err(_) => ControlFlow::Break(()),
        }
    }
}

struct Counted<R> {
    input: R,
    read: Arc<AtomicU64>,
}

impl<R: Read> Read for Counted<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.input.read(buffer)?;
        self.read.fetch_add(count as u64, Ordering::Relaxed);
        Ok(count)
    }
}

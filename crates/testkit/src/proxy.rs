//! A proxy before Redis that breaks the connection, or stops all traffic, at a chosen command.
//!
//! It forwards command by command and reads each answer before the next command goes out, so that "after the second XADD"
//! is one exact point whatever the client pipelines. A subscribed connection is copied through as it is.

use std::io;
use std::net::Ipv4Addr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use paceline_local::private_redis::Address;
use tokio::io::{
    AsyncBufRead, AsyncBufReadExt, AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, BufReader,
};
use tokio::net::{TcpListener, TcpStream, UnixStream};
use tokio::sync::Notify;
use tokio::task::JoinHandle;
use tokio::time::Instant;

/// Above the number of every connection.
const FROZEN: u64 = u64::MAX;

/// When the fault happens, seen from the command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Moment {
    /// Redis never sees the command.
    Before,
    /// Redis has done it, the client never hears so.
    After,
}

#[derive(Clone, Copy, Debug)]
enum Fault {
    /// The connection of the command ends.
    Cut,
    /// Every connection, of now and of later, is silent.
    Freeze,
}

/// A fault that is to happen once.
#[derive(Debug)]
struct Order {
    /// What the command begins with.
    words: Vec<String>,
    /// So many of these commands pass first.
    skip: usize,
    moment: Moment,
    fault: Fault,
}

#[derive(Debug, Default)]
struct Faults {
    order: Mutex<Option<Order>>,
    connections: AtomicU64,
    /// Connections with a smaller number are silent.
    silent_below: AtomicU64,
    /// Milliseconds that each answer is kept back.
    slow_by: AtomicU64,
    /// The connections of now end.
    ended: Notify,
}

/// The proxy; it ends with the value.
#[derive(Debug)]
pub struct Proxy {
    port: u16,
    upstream: Arc<Mutex<Address>>,
    faults: Arc<Faults>,
    task: JoinHandle<()>,
}

impl Proxy {
    /// Listens on a free loopback port and forwards to `upstream`.
    ///
    /// # Panics
    /// If no port can be bound.
    pub async fn start(upstream: Address) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))
            .await
            .expect("a free port");
        let port = listener.local_addr().expect("it is bound").port();
        let faults = Arc::new(Faults::default());
        let upstream = Arc::new(Mutex::new(upstream));
        let (shared, target) = (Arc::clone(&faults), Arc::clone(&upstream));
        let task = tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let upstream = target.lock().expect("nobody panics under it").clone();
                let faults = Arc::clone(&shared);
                let number = faults.connections.fetch_add(1, Ordering::SeqCst);
                // An end of either side ends the connection; that is what a proxy is for.
                tokio::spawn(async move {
                    tokio::select! {
                        _ = serve(client, &upstream, &faults, number) => {}
                        () = faults.ended.notified() => {}
                    }
                });
            }
        });
        Self {
            port,
            upstream,
            faults,
            task,
        }
    }

    /// Sends the connections that come from now on elsewhere, as after a failover.
    ///
    /// # Panics
    /// If another use of the lock panicked.
    pub fn redirect(&self, upstream: Address) {
        *self.upstream.lock().expect("nobody panics under it") = upstream;
    }

    /// Ends the connections of now, and each that comes later at once, as when a server is gone; until [`Proxy::redirect`].
    ///
    /// # Panics
    /// If another use of the lock panicked.
    pub fn lead_nowhere(&self) {
        self.refuse();
        self.faults.ended.notify_waiters();
    }

    /// Ends each connection that comes later at once, and leaves those of now; until [`Proxy::redirect`].
    ///
    /// # Panics
    /// If another use of the lock panicked.
    pub fn refuse(&self) {
        self.redirect(Address::Socket("/nowhere".into()));
    }

    #[must_use]
    pub const fn port(&self) -> u16 {
        self.port
    }

    #[must_use]
    pub fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    /// Breaks the connection once, at the command of that name that comes after `skip` others of the name.
    ///
    /// # Panics
    /// If another use of the lock panicked.
    pub fn cut(&self, command: &str, skip: usize, moment: Moment) {
        self.order(&[command], skip, moment, Fault::Cut);
    }

    /// True once the cut that was ordered has been made.
    ///
    /// # Panics
    /// If another use of the lock panicked.
    #[must_use]
    pub fn has_cut(&self) -> bool {
        self.faults
            .order
            .lock()
            .expect("nobody panics under it")
            .is_none()
    }

    /// Stops all traffic for ever at the command that begins with `words` and comes after `skip` others of that beginning, so
    /// that a client can be killed at that very point. A subscribed connection goes on.
    ///
    /// # Panics
    /// If another use of the lock panicked.
    pub fn freeze(&self, words: &[&str], skip: usize, moment: Moment) {
        self.order(words, skip, moment, Fault::Freeze);
    }

    /// True once the point of the freeze is reached: with [`Moment::After`], when Redis has done the command.
    #[must_use]
    pub fn is_frozen(&self) -> bool {
        self.faults.is_silent(FROZEN - 1)
    }

    /// Lets traffic go on after a freeze: the connections of then stay silent, new ones work. What was ordered and has not happened yet
    /// does not happen any more.
    ///
    /// # Panics
    /// If another use of the lock panicked.
    pub fn thaw(&self) {
        *self.faults.order.lock().expect("nobody panics under it") = None;
        if self.is_frozen() {
            self.silence();
        }
    }

    fn order(&self, words: &[&str], skip: usize, moment: Moment, fault: Fault) {
        let words = words.iter().map(|&word| word.to_owned()).collect();
        *self.faults.order.lock().expect("nobody panics under it") = Some(Order {
            words,
            skip,
            moment,
            fault,
        });
    }

    /// Makes the connections of now silent: they stay open and nothing comes back, as when a peer is gone without a word.
    /// New ones work.
    pub fn silence(&self) {
        let now = self.faults.connections.load(Ordering::SeqCst);
        self.faults.silent_below.store(now, Ordering::SeqCst);
    }

    /// From now on each answer comes so much later, and the next command of its connection after it.
    ///
    /// # Panics
    /// For more than half an eternity.
    pub fn slow_down(&self, by: Duration) {
        let millis = u64::try_from(by.as_millis()).expect("a time that somebody waits for");
        self.faults.slow_by.store(millis, Ordering::SeqCst);
    }

    /// How many connections were made.
    #[must_use]
    pub fn connections(&self) -> u64 {
        self.faults.connections.load(Ordering::SeqCst)
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Faults {
    fn is_silent(&self, number: u64) -> bool {
        number < self.silent_below.load(Ordering::SeqCst)
    }

    /// Counts the command and says what happens at it.
    fn at(&self, command: &[u8]) -> Option<(Moment, Fault)> {
        let mut order = self.order.lock().expect("nobody panics under it");
        let found = order.as_mut().filter(|order| order.begins(command))?;
        if found.skip > 0 {
            found.skip -= 1;
            return None;
        }
        order.take().map(|order| (order.moment, order.fault))
    }

    /// Lets the fault happen; true if the connection it met ends.
    fn strike(&self, fault: Fault) -> bool {
        match fault {
            Fault::Cut => true,
            Fault::Freeze => {
                self.silent_below.store(FROZEN, Ordering::SeqCst);
                false
            }
        }
    }
}

impl Order {
    fn begins(&self, command: &[u8]) -> bool {
        let mut words = words(command);
        self.words.iter().all(|expected| {
            words
                .next()
                .is_some_and(|word| word.eq_ignore_ascii_case(expected.as_bytes()))
        })
    }
}

async fn serve(client: TcpStream, upstream: &Address, faults: &Faults, number: u64) -> io::Result<()> {
    client.set_nodelay(true)?;
    match upstream {
        Address::Socket(path) => forward(client, UnixStream::connect(path).await?, faults, number).await,
        Address::Loopback(port) => {
            let server = TcpStream::connect((Ipv4Addr::LOCALHOST, *port)).await?;
            server.set_nodelay(true)?;
            forward(client, server, faults, number).await
        }
    }
}

async fn forward<S>(client: TcpStream, server: S, faults: &Faults, number: u64) -> io::Result<()>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let (mut client, mut server) = (BufReader::new(client), BufReader::new(server));
    loop {
        let command = read_value(&mut client).await?;
        if faults.is_silent(number) {
            continue;
        }
        let due = faults.at(&command);
        if let Some((Moment::Before, fault)) = due {
            if faults.strike(fault) {
                return Ok(());
            }
            continue;
        }
        server.write_all(&command).await?;
        server.flush().await?;
        if words(&command).next().is_some_and(subscribes) {
            tokio::io::copy_bidirectional(&mut client, &mut server).await?;
            return Ok(());
        }
        let answer = read_value(&mut server).await?;
        if let Some((Moment::After, fault)) = due {
            if faults.strike(fault) {
                return Ok(());
            }
            continue;
        }
        let slow_by = Duration::from_millis(faults.slow_by.load(Ordering::SeqCst));
        tokio::time::sleep_until(Instant::now() + slow_by).await;
        client.write_all(&answer).await?;
        client.flush().await?;
    }
}

fn subscribes(name: &[u8]) -> bool {
    name.to_ascii_uppercase().ends_with(b"SUBSCRIBE")
}

/// The words of a command, which clients send as an array of strings.
fn words(command: &[u8]) -> impl Iterator<Item = &[u8]> {
    let (_, mut rest) = line(command).unwrap_or_default();
    std::iter::from_fn(move || {
        let (head, body) = line(rest)?;
        let length = std::str::from_utf8(head.strip_prefix(b"$")?).ok()?.parse().ok()?;
        let (word, after) = body.split_at_checked(length)?;
        rest = after.strip_prefix(b"\r\n")?;
        Some(word)
    })
}

/// A line without its end, and what follows.
fn line(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let end = bytes.windows(2).position(|pair| pair == b"\r\n")?;
    Some((&bytes[..end], &bytes[end + 2..]))
}

/// Reads one whole value of the protocol, as its bytes.
async fn read_value<S>(stream: &mut S) -> io::Result<Vec<u8>>
where
    S: AsyncBufRead + Unpin,
{
    let mut raw = Vec::new();
    let mut open = 1_usize;
    while open > 0 {
        open -= 1;
        let start = raw.len();
        if stream.read_until(b'\n', &mut raw).await? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let line = String::from_utf8_lossy(&raw[start..]).trim_end().to_owned();
        let length = line.get(1..).and_then(|text| text.parse::<usize>().ok());
        match (line.as_bytes().first(), length) {
            (Some(b'*'), Some(parts)) => open += parts,
            (Some(b'$'), Some(bytes)) => {
                let body = raw.len();
                raw.resize(body + bytes + 2, 0);
                stream.read_exact(&mut raw[body..]).await?;
            }
            _ => {}
        }
    }
    Ok(raw)
}

#[cfg(test)]
mod tests {
    use super::words;

    #[test]
    fn words_are_told_apart_by_their_lengths() {
        let command = b"*4\r\n$4\r\nXADD\r\n$6\r\na\r\n$1b\r\n$0\r\n\r\n$1\r\n*\r\n";
        let expected: [&[u8]; 4] = [b"XADD", b"a\r\n$1b", b"", b"*"];
        assert!(words(command).eq(expected));
        assert_eq!(words(b"PING\r\n").count(), 0);
    }
}

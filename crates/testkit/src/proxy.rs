//! A proxy before Redis that breaks the connection at a chosen command.
//!
//! It forwards command by command and reads each answer before the next command goes out, so that "after the second XADD"
//! is one exact point whatever the client pipelines. A subscribed connection is copied through as it is.

use std::io;
use std::net::Ipv4Addr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use paceline_local::private_redis::Address;
use tokio::io::{
    AsyncBufRead, AsyncBufReadExt, AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, BufReader,
};
use tokio::net::{TcpListener, TcpStream, UnixStream};
use tokio::task::JoinHandle;

/// Where the connection breaks, seen from the command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Moment {
    /// Redis never sees the command.
    Before,
    /// Redis has done it, the client never hears so.
    After,
}

#[derive(Debug)]
struct Cut {
    command: String,
    skip: usize,
    moment: Moment,
}

#[derive(Debug, Default)]
struct Faults {
    cut: Mutex<Option<Cut>>,
    connections: AtomicU64,
    /// Connections with a smaller number are silent.
    silent_below: AtomicU64,
}

/// The proxy; it ends with the value.
#[derive(Debug)]
pub struct Proxy {
    port: u16,
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
        let shared = Arc::clone(&faults);
        let task = tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let (upstream, faults) = (upstream.clone(), Arc::clone(&shared));
                let number = faults.connections.fetch_add(1, Ordering::SeqCst);
                // An end of either side ends the connection; that is what a proxy is for.
                tokio::spawn(async move {
                    let _ = serve(client, &upstream, &faults, number).await;
                });
            }
        });
        Self { port, faults, task }
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
        *self.faults.cut.lock().expect("nobody panics under it") = Some(Cut {
            command: command.to_ascii_uppercase(),
            skip,
            moment,
        });
    }

    /// True once the cut that was ordered has been made.
    ///
    /// # Panics
    /// If another use of the lock panicked.
    #[must_use]
    pub fn has_cut(&self) -> bool {
        self.faults.cut.lock().expect("nobody panics under it").is_none()
    }

    /// Makes the connections of now silent: they stay open and nothing comes back, as when a peer is gone without a word.
    /// New ones work.
    pub fn silence(&self) {
        let now = self.faults.connections.load(Ordering::SeqCst);
        self.faults.silent_below.store(now, Ordering::SeqCst);
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

    /// Counts the command and says whether the connection breaks at it.
    fn moment(&self, name: &str) -> Option<Moment> {
        let mut cut = self.cut.lock().expect("nobody panics under it");
        let order = cut.as_mut().filter(|order| order.command == name)?;
        if order.skip > 0 {
            order.skip -= 1;
            return None;
        }
        cut.take().map(|order| order.moment)
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
        let name = name_of(&command);
        let moment = faults.moment(&name);
        if moment == Some(Moment::Before) {
            return Ok(());
        }
        server.write_all(&command).await?;
        server.flush().await?;
        if name.ends_with("SUBSCRIBE") {
            tokio::io::copy_bidirectional(&mut client, &mut server).await?;
            return Ok(());
        }
        let answer = read_value(&mut server).await?;
        if moment == Some(Moment::After) {
            return Ok(());
        }
        client.write_all(&answer).await?;
        client.flush().await?;
    }
}

/// The first word of a command, upper case.
fn name_of(command: &[u8]) -> String {
    let word = command.split(|&byte| byte == b'\n').nth(2).unwrap_or_default();
    String::from_utf8_lossy(word).trim_end().to_ascii_uppercase()
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

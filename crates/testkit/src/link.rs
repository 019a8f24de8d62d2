//! A network link between two processes that can be cut in either direction, or both: nothing is closed and nothing is lost, as
//! when a switch stops to forward. What was held goes on once the link is whole again.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream, UnixStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;

const BUFFER_BYTES: usize = 64 << 10;

/// Which way a link carries bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flow {
    Both,
    /// What the client says arrives, and no answer comes back.
    OnlyThere,
    /// Answers to what was said before come back, and nothing more arrives.
    OnlyBack,
    Nothing,
}

impl Flow {
    const fn there(self) -> bool {
        matches!(self, Self::Both | Self::OnlyThere)
    }

    const fn back(self) -> bool {
        matches!(self, Self::Both | Self::OnlyBack)
    }
}

/// What is on a link's other end.
#[derive(Clone, Debug)]
enum Target {
    Port(SocketAddr),
    Socket(PathBuf),
}

/// The link; it ends with the value.
#[derive(Debug)]
pub struct Link {
    address: SocketAddr,
    target: watch::Sender<Option<Target>>,
    flow: watch::Sender<Flow>,
    task: JoinHandle<()>,
}

impl Link {
    /// Listens on a free loopback port. What connects waits until [`Link::lead_to`] says where to.
    ///
    /// # Panics
    /// If no port can be bound.
    pub async fn start() -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))
            .await
            .expect("a free port");
        let address = listener.local_addr().expect("it is bound");
        let (target, led_to) = watch::channel(None);
        let (flow, flows) = watch::channel(Flow::Both);
        let task = tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                // Either side's end ends the connection.
                tokio::spawn(carry(client, led_to.clone(), flows.clone()));
            }
        });
        Self {
            address,
            target,
            flow,
            task,
        }
    }

    /// The same, with its other end.
    ///
    /// # Panics
    /// If no port can be bound.
    pub async fn to(target: SocketAddr) -> Self {
        let link = Self::start().await;
        link.lead_to(target);
        link
    }

    pub fn lead_to(&self, target: SocketAddr) {
        self.target.send_replace(Some(Target::Port(target)));
    }

    /// Leads to a Unix socket.
    pub fn lead_to_socket(&self, target: PathBuf) {
        self.target.send_replace(Some(Target::Socket(target)));
    }

    #[must_use]
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// Carries only so much from here on, on connections of now and of later.
    pub fn carry(&self, flow: Flow) {
        self.flow.send_replace(flow);
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn carry(
    client: TcpStream,
    mut target: watch::Receiver<Option<Target>>,
    flow: watch::Receiver<Flow>,
) -> io::Result<()> {
    let gone = |_| io::Error::from(io::ErrorKind::BrokenPipe);
    let target = target.wait_for(Option::is_some).await.map_err(gone)?.clone();
    flow.clone().wait_for(|flow| flow.there()).await.map_err(gone)?;
    client.set_nodelay(true)?;
    match target.ok_or(io::ErrorKind::NotFound)? {
        Target::Port(address) => {
            let server = TcpStream::connect(address).await?;
            server.set_nodelay(true)?;
            between(client, server.into_split(), flow).await
        }
        Target::Socket(path) => between(client, UnixStream::connect(path).await?.into_split(), flow).await,
    }
}

async fn between(
    client: TcpStream,
    (server_reads, server_writes): (impl AsyncRead + Unpin, impl AsyncWrite + Unpin),
    flow: watch::Receiver<Flow>,
) -> io::Result<()> {
    let (client_reads, client_writes) = client.into_split();
    tokio::select! {
        ended = copy(client_reads, server_writes, flow.clone(), Flow::there) => ended,
        ended = copy(server_reads, client_writes, flow, Flow::back) => ended,
    }
}

/// Copies as long as the flow lets it; what was read before a cut waits with the rest.
async fn copy(
    mut from: impl AsyncRead + Unpin,
    mut to: impl AsyncWrite + Unpin,
    mut flow: watch::Receiver<Flow>,
    passes: fn(Flow) -> bool,
) -> io::Result<()> {
    let mut buffer = vec![0; BUFFER_BYTES];
    loop {
        let read = from.read(&mut buffer).await?;
        if read == 0 {
            return Ok(());
        }
        let open = flow.wait_for(|flow| passes(*flow)).await;
        open.map_err(|_| io::ErrorKind::BrokenPipe)?;
        to.write_all(&buffer[..read]).await?;
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::{TcpListener, TcpStream};

    use super::{Flow, Link};

    /// Whether a byte comes: at all if it should, and soon if it should not.
    async fn hears(stream: &mut TcpStream, should: bool) -> bool {
        let patience = Duration::from_millis(if should { 10_000 } else { 200 });
        let mut byte = [0];
        let heard = tokio::time::timeout(patience, stream.read_exact(&mut byte)).await;
        heard.is_ok_and(|read| read.is_ok())
    }

    #[tokio::test]
    async fn each_direction_is_cut_alone_and_what_was_held_comes_later() {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let link = Link::to(listener.local_addr().expect("bound")).await;
        let mut client = TcpStream::connect(link.address()).await.expect("a link");
        let (mut server, _) = listener.accept().await.expect("a connection");
        for flow in [Flow::Both, Flow::OnlyThere, Flow::OnlyBack, Flow::Nothing] {
            link.carry(flow);
            client.write_all(b"a").await.expect("room");
            server.write_all(b"b").await.expect("room");
            let (there, back) = (flow.there(), flow.back());
            assert_eq!(hears(&mut server, there).await, there, "{flow:?}");
            assert_eq!(hears(&mut client, back).await, back, "{flow:?}");
            link.carry(Flow::Both);
            assert!(there || hears(&mut server, true).await, "{flow:?}");
            assert!(back || hears(&mut client, true).await, "{flow:?}");
        }
    }
}

//! A listener's connections, which know when their server stops: a stream that its client never ends can end itself. A peer that
//! makes no call that is let in does not keep its place.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::Sleep;
use tonic::transport::server::Connected;

use crate::shutdown::Shutdown;

/// By what a request came; an extension of every request of a [`Connection`].
#[derive(Clone)]
pub(crate) struct Served {
    /// When its server stops.
    pub(crate) until: Shutdown,
    is_known: Arc<AtomicBool>,
}

impl Served {
    /// The peer has shown who it is: its connection stays for as long as it likes.
    pub(crate) fn know(&self) {
        self.is_known.store(true, Ordering::Relaxed);
    }
}

/// From the connection to the first call that is let in, health's not counted. Who comes in vain, or says nothing or half of
/// something, must not keep a place from others; a client that only waits connects again.
const UNKNOWN_MAX: Duration = Duration::from_secs(10);

/// An accepted connection.
pub(crate) struct Connection {
    stream: TcpStream,
    served: Served,
    /// Runs until the peer is known.
    patience: Option<Pin<Box<Sleep>>>,
    _room: OwnedSemaphorePermit,
}

impl Connection {
    /// `room` is its place among the listener's connections.
    pub(crate) fn new(stream: TcpStream, stop: Shutdown, room: OwnedSemaphorePermit) -> Self {
        Self {
            stream,
            served: Served {
                until: stop,
                is_known: Arc::default(),
            },
            patience: Some(Box::pin(tokio::time::sleep(UNKNOWN_MAX))),
            _room: room,
        }
    }

    fn stream(self: Pin<&mut Self>) -> Pin<&mut TcpStream> {
        Pin::new(&mut self.get_mut().stream)
    }
}

impl Connected for Connection {
    type ConnectInfo = Served;

    fn connect_info(&self) -> Served {
        self.served.clone()
    }
}

impl AsyncRead for Connection {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let read = Pin::new(&mut this.stream).poll_read(cx, buf);
        if let Some(patience) = &mut this.patience {
            if this.served.is_known.load(Ordering::Relaxed) {
                this.patience = None;
            } else if read.is_pending() && patience.as_mut().poll(cx).is_ready() {
                return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
            }
        }
        read
    }
}

impl AsyncWrite for Connection {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        self.stream().poll_write(cx, buf)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.stream().poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.stream().poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.stream().poll_shutdown(cx)
    }
}

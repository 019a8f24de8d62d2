//! A minimal client of Redis, for what a test must do beside the code under test: set a limit, corrupt a record, look.

use std::io;
use std::net::Ipv4Addr;

use bytes::Bytes;
use paceline_local::private_redis::Address;
use tokio::io::{AsyncBufRead, AsyncBufReadExt, AsyncReadExt, AsyncWrite, AsyncWriteExt, BufReader};
use tokio::net::{TcpStream, UnixStream};

/// An answer of Redis.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reply {
    Nil,
    Integer(i64),
    Bytes(Bytes),
    Error(String),
    Array(Vec<Self>),
}

impl Reply {
    /// The number, where one is expected.
    ///
    /// # Panics
    /// For any other answer.
    #[must_use]
    pub fn integer(&self) -> i64 {
        match self {
            Self::Integer(number) => *number,
            other => panic!("a number expected, not {other:?}"),
        }
    }

    /// The bytes, where some are expected.
    ///
    /// # Panics
    /// For any other answer.
    #[must_use]
    pub fn bytes(&self) -> Bytes {
        match self {
            Self::Bytes(bytes) => bytes.clone(),
            other => panic!("bytes expected, not {other:?}"),
        }
    }

    /// The parts, where several are expected.
    ///
    /// # Panics
    /// For any other answer.
    #[must_use]
    pub fn array(&self) -> &[Self] {
        match self {
            Self::Array(parts) => parts,
            other => panic!("an array expected, not {other:?}"),
        }
    }
}

/// Sends one command over a connection of its own and reads the answer.
///
/// # Errors
/// If the connection can't be made or breaks. An error that Redis answers is a [`Reply::Error`].
pub async fn command(address: &Address, arguments: &[&[u8]]) -> io::Result<Reply> {
    match address {
        Address::Socket(path) => exchange(BufReader::new(UnixStream::connect(path).await?), arguments).await,
        Address::Loopback(port) => {
            let stream = TcpStream::connect((Ipv4Addr::LOCALHOST, *port)).await?;
            exchange(BufReader::new(stream), arguments).await
        }
    }
}

async fn exchange<S>(mut stream: S, arguments: &[&[u8]]) -> io::Result<Reply>
where
    S: AsyncBufRead + AsyncWrite + Unpin + Send,
{
    let mut request = format!("*{}\r\n", arguments.len()).into_bytes();
    for argument in arguments {
        request.extend_from_slice(format!("${}\r\n", argument.len()).as_bytes());
        request.extend_from_slice(argument);
        request.extend_from_slice(b"\r\n");
    }
    stream.write_all(&request).await?;
    stream.flush().await?;
    read_reply(&mut stream).await
}

async fn read_reply<S>(stream: &mut S) -> io::Result<Reply>
where
    S: AsyncBufRead + Unpin + Send,
{
    let mut line = String::new();
    stream.read_line(&mut line).await?;
    let line = line.trim_end();
    let (kind, rest) = line
        .split_at_checked(1)
        .ok_or_else(|| io::Error::from(io::ErrorKind::UnexpectedEof))?;
    let number = || rest.parse::<i64>().map_err(io::Error::other);
    match kind {
        "+" => Ok(Reply::Bytes(Bytes::copy_from_slice(rest.as_bytes()))),
        "-" => Ok(Reply::Error(rest.to_owned())),
        ":" => Ok(Reply::Integer(number()?)),
        "$" | "*" if rest == "-1" => Ok(Reply::Nil),
        "$" => {
            let length = usize::try_from(number()?).map_err(io::Error::other)?;
            let mut bytes = vec![0; length + 2];
            stream.read_exact(&mut bytes).await?;
            bytes.truncate(length);
            Ok(Reply::Bytes(bytes.into()))
        }
        "*" => {
            let mut parts = Vec::new();
            for _ in 0..number()? {
                parts.push(Box::pin(read_reply(stream)).await?);
            }
            Ok(Reply::Array(parts))
        }
        _ => Err(io::Error::other(format!("not an answer of redis: {line}"))),
    }
}

//! A stand-in for an object store, whose answers are written down.

use std::collections::HashMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use paceline_testkit::eventually;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::task::JoinHandle;

use crate::support::PATIENCE;

/// Of every url: whoever reads it may read the file.
pub(crate) const SECRET: &str = "s3cret";

/// What a path is answered with.
#[derive(Clone, Debug)]
pub(crate) enum Answer {
    /// A status, headers, and all of a body.
    Whole(u16, &'static str, Vec<u8>),
    /// Of a body the first half, and then the end of the connection.
    Half(Vec<u8>),
    /// The same without a word of its length.
    HalfWithoutLength(Vec<u8>),
    /// In chunks, without an end.
    Endless,
    Never,
    /// A whole one, once the test opens the gate.
    Gated(Arc<Semaphore>, Vec<u8>),
}

#[derive(Default)]
struct State {
    answers: HashMap<String, Vec<Answer>>,
    seen: HashMap<String, usize>,
    open: usize,
    open_max: usize,
}

impl State {
    fn opened(&mut self) {
        self.open += 1;
        self.open_max = self.open_max.max(self.open);
    }
}

/// Serves until it is dropped.
pub(crate) struct Files {
    address: SocketAddr,
    state: Arc<Mutex<State>>,
    serving: JoinHandle<()>,
}

impl Drop for Files {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

impl Files {
    pub(crate) async fn start() -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("binds");
        let address = listener.local_addr().expect("an address");
        let state: Arc<Mutex<State>> = Arc::default();
        let shared = Arc::clone(&state);
        let serving = tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.expect("a connection");
                let shared = Arc::clone(&shared);
                tokio::spawn(async move {
                    lock(&shared).opened();
                    answer(stream, Arc::clone(&shared)).await;
                    lock(&shared).open -= 1;
                });
            }
        });
        Self {
            address,
            state,
            serving,
        }
    }

    /// The prefix that the settings have.
    pub(crate) fn prefix(&self) -> String {
        format!("http://{}/mail/", self.address)
    }

    pub(crate) fn url(&self, name: &str) -> String {
        format!("{}{name}?X-Amz-Signature={SECRET}", self.prefix())
    }

    /// What is answered, one after the other; the last again and again.
    pub(crate) fn put(&self, name: &str, answers: &[Answer]) {
        let path = format!("/mail/{name}");
        lock(&self.state).answers.insert(path, answers.to_vec());
    }

    /// A file that is there.
    pub(crate) fn put_file(&self, name: &str, content: &[u8]) {
        self.put(name, &[Answer::Whole(200, "", content.to_vec())]);
    }

    /// How often something was asked for; of a path as a whole.
    pub(crate) fn seen(&self, name: &str) -> usize {
        let path = format!("/mail/{name}");
        lock(&self.state).seen.get(&path).copied().unwrap_or_default()
    }

    /// How many connections there were at one time at most.
    pub(crate) fn at_once(&self) -> usize {
        lock(&self.state).open_max
    }

    pub(crate) async fn is_asked(&self, name: &str, times: usize) {
        eventually("the store is asked", PATIENCE, async || {
            let seen = self.seen(name);
            if seen >= times { Ok(()) } else { Err(seen) }
        })
        .await;
    }
}

fn lock(state: &Mutex<State>) -> MutexGuard<'_, State> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

/// One request, and what it is answered. Whoever asks may be gone at any time.
async fn answer(mut stream: TcpStream, state: Arc<Mutex<State>>) {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        match stream.read_u8().await {
            Ok(byte) => head.push(byte),
            Err(_) => return,
        }
    }
    let head = String::from_utf8(head).expect("a head is ASCII");
    let target = head.split(' ').nth(1).expect("a target");
    let path = target.split('?').next().expect("a path").to_owned();
    let answer = {
        let mut state = lock(&state);
        *state.seen.entry(path.clone()).or_default() += 1;
        let answers = state.answers.get_mut(&path);
        match answers {
            Some(answers) if answers.len() > 1 => answers.remove(0),
            Some(answers) => answers[0].clone(),
            None => Answer::Whole(404, "", b"none".to_vec()),
        }
    };
    let head = |status: u16, more: &str| format!("HTTP/1.1 {status} x\r\nconnection: close\r\n{more}\r\n");
    let with_length = |length: usize| format!("content-length: {length}\r\n");
    let (head, body) = match answer {
        Answer::Whole(status, headers, body) => {
            let more = format!("{}{headers}", with_length(body.len()));
            (head(status, &more), body)
        }
        Answer::Half(body) => (
            head(200, &with_length(body.len())),
            body[..body.len() / 2].to_vec(),
        ),
        Answer::HalfWithoutLength(body) => (head(200, ""), body[..body.len() / 2].to_vec()),
        Answer::Endless => {
            let head = head(200, "transfer-encoding: chunked\r\n");
            let chunk = [b"10000\r\n".as_slice(), &[b'x'; 0x1_0000], b"\r\n"].concat();
            let _ = stream.write_all(head.as_bytes()).await;
            while stream.write_all(&chunk).await.is_ok() {}
            return;
        }
        Answer::Never => {
            // Until whoever asked has gone.
            let _ = stream.read_u8().await;
            return;
        }
        Answer::Gated(gate, body) => {
            gate.acquire().await.expect("never closed").forget();
            (head(200, &with_length(body.len())), body)
        }
    };
    let _ = stream.write_all(head.as_bytes()).await;
    let _ = stream.write_all(&body).await;
}

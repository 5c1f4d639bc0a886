//! A registry that does as it is told, however wrong: threads over a listener of this machine. A test gives it a
//! function from requests to answers, and finds in it what was asked.

use std::{
    io::{BufRead, BufReader, Read, Write},
    net::{Shutdown, TcpListener, TcpStream},
    sync::{Arc, Mutex},
    thread,
};

/// What was asked.
#[derive(Debug, Clone)]
pub(super) struct Asked {
    pub(super) method: String,
    /// With the query.
    pub(super) path: String,
    /// Names in lower case.
    pub(super) headers: Vec<(String, String)>,
    pub(super) body: Vec<u8>,
}

impl Asked {
    pub(super) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    pub(super) fn is(&self, method: &str, path: &str) -> bool {
        self.method == method && self.path == path
    }
}

/// How a body is sent.
#[derive(Debug, Clone)]
pub(super) enum Body {
    /// With its length.
    Whole(Vec<u8>),
    /// So many bytes of it, though its length is said to be that of the whole; then the connection is cut.
    Cut(Vec<u8>, usize),
    /// Without a length, until the connection ends.
    Unsized(Vec<u8>),
    /// Zeros until nobody listens.
    Endless,
    /// With a length, and then nothing.
    Stalled(usize),
}

#[derive(Debug, Clone)]
pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) headers: Vec<(String, String)>,
    pub(super) body: Body,
}

impl Answer {
    pub(super) fn new(status: u16) -> Self {
        Self { status, headers: Vec::new(), body: Body::Whole(Vec::new()) }
    }

    pub(super) fn ok(bytes: impl Into<Vec<u8>>) -> Self {
        Self::new(200).body(Body::Whole(bytes.into()))
    }

    pub(super) fn header(mut self, name: &str, value: impl Into<String>) -> Self {
        self.headers.push((name.to_owned(), value.into()));
        self
    }

    pub(super) fn body(mut self, body: Body) -> Self {
        self.body = body;
        self
    }
}

type Behaviour = dyn Fn(&Asked) -> Answer + Send + Sync;

pub(super) struct Server {
    /// `127.0.0.1:PORT`.
    pub(super) host: String,
    asked: Arc<Mutex<Vec<Asked>>>,
}

impl Server {
    pub(super) fn start(behaviour: impl Fn(&Asked) -> Answer + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let host = listener.local_addr().unwrap().to_string();
        let asked = Arc::new(Mutex::new(Vec::new()));
        let behaviour: Arc<Behaviour> = Arc::new(behaviour);
        let log = Arc::clone(&asked);
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (behaviour, log) = (Arc::clone(&behaviour), Arc::clone(&log));
                thread::spawn(move || while serve(&stream, &*behaviour, &log).is_some() {});
            }
        });
        Self { host, asked }
    }

    /// No server: a name for one.
    pub(super) fn of(host: String) -> Self {
        Self { host, asked: Arc::default() }
    }

    pub(super) fn asked(&self) -> Vec<Asked> {
        self.asked.lock().unwrap().clone()
    }

    pub(super) fn count(&self, method: &str, part: &str) -> usize {
        self.asked().iter().filter(|asked| asked.method == method && asked.path.contains(part)).count()
    }
}

/// One request; `None` once the connection is over.
fn serve(stream: &TcpStream, behaviour: &Behaviour, log: &Mutex<Vec<Asked>>) -> Option<()> {
    let asked = read(stream)?;
    log.lock().unwrap().push(asked.clone());
    let answer = behaviour(&asked);
    let mut out = stream;
    let mut head = format!("HTTP/1.1 {} x\r\n", answer.status);
    for (name, value) in &answer.headers {
        head += &format!("{name}: {value}\r\n");
    }
    let length = match &answer.body {
        Body::Whole(bytes) | Body::Cut(bytes, _) => Some(bytes.len()),
        Body::Stalled(length) => Some(*length),
        Body::Unsized(_) | Body::Endless => None,
    };
    let said = answer.headers.iter().any(|(name, _)| name.eq_ignore_ascii_case("content-length"));
    match length {
        Some(length) if !said => head += &format!("content-length: {length}\r\n"),
        Some(_) => {}
        None => head += "connection: close\r\n",
    }
    out.write_all(format!("{head}\r\n").as_bytes()).ok()?;
    if asked.method == "HEAD" {
        return Some(());
    }
    match answer.body {
        Body::Whole(bytes) => return out.write_all(&bytes).ok(),
        Body::Cut(bytes, sent) => out.write_all(&bytes[..sent]).ok()?,
        Body::Unsized(bytes) => out.write_all(&bytes).ok()?,
        Body::Endless => while out.write_all(&[0; 1 << 16]).is_ok() {},
        Body::Stalled(_) => {
            // Until the other side has had enough.
            let _ = out.read(&mut [0; 1]);
        }
    }
    let _ = stream.shutdown(Shutdown::Both);
    None
}

fn read(stream: &TcpStream) -> Option<Asked> {
    let mut reader = BufReader::new(stream);
    let mut line = Vec::new();
    reader.read_until(b'\n', &mut line).ok()?;
    let Ok(line) = String::from_utf8(line) else {
        // A greeting in TLS, most likely: answered as servers do.
        let mut out = stream;
        let _ = out.write_all(b"HTTP/1.0 400 Bad Request\r\n\r\n");
        return None;
    };
    let mut words = line.split(' ');
    let (method, path) = (words.next()?.to_owned(), words.next()?.to_owned());
    let mut headers = Vec::new();
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).ok()?;
        let Some((name, value)) = line.split_once(':') else { break };
        headers.push((name.to_ascii_lowercase(), value.trim().to_owned()));
    }
    let length = headers.iter().find(|(name, _)| name == "content-length").and_then(|(_, l)| l.parse().ok());
    let mut body = vec![0; length.unwrap_or(0)];
    reader.read_exact(&mut body).ok()?;
    Some(Asked { method, path, headers, body })
}

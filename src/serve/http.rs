//! HTTP/1.1 as far as it is needed: one request a connection, every read and write with a limit in time and size.

use super::fault::Fault;
use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::time::{Duration, Instant};

/// Bytes of request line and headers.
const HEAD: usize = 16 << 10;
const HEADERS: usize = 64;
/// Time for the head, for the body, and for one write to be taken.
const HEAD_TIME: Duration = Duration::from_secs(10);
const BODY_TIME: Duration = Duration::from_secs(60);
const WRITE_TIME: Duration = Duration::from_secs(20);
/// After a refusal what the client still sends is read for this long, or it would not see the answer.
const LINGER: Duration = Duration::from_secs(5);

/// A request up to its body.
#[derive(Debug, PartialEq, Eq)]
pub struct Head {
    pub method: String,
    /// Without what follows a question mark.
    pub path: String,
    pub token: Option<String>,
    length: Length,
    wants_continue: bool,
}

/// How the end of the body is told.
#[derive(Debug, PartialEq, Eq)]
enum Length {
    Bytes(usize),
    Chunked,
}

/// A connection, and what was read beyond the head.
pub struct Connection {
    stream: TcpStream,
    rest: Vec<u8>,
}

impl Connection {
    pub fn new(stream: TcpStream) -> std::io::Result<Self> {
        // The listener does not block; its connections do.
        stream.set_nonblocking(false)?;
        stream.set_nodelay(true)?;
        stream.set_write_timeout(Some(WRITE_TIME))?;
        Ok(Self { stream, rest: Vec::new() })
    }

    /// Reads request line and headers. `None`: the client went away without a word.
    pub fn head(&mut self) -> Result<Option<Head>, Fault> {
        let until = Instant::now() + HEAD_TIME;
        loop {
            if let Some((head, used)) = parse(&self.rest)? {
                self.rest.drain(..used);
                return Ok(Some(head));
            }
            if self.rest.len() > HEAD {
                return Err(Fault::bad("the headers are too long"));
            }
            if self.more(until, "the request")? == 0 {
                return match self.rest.is_empty() {
                    true => Ok(None),
                    false => Err(Fault::bad("the request ends within its headers")),
                };
            }
        }
    }

    /// Reads the body, of at most `limit` bytes.
    pub fn body(&mut self, head: &Head, limit: usize) -> Result<Vec<u8>, Fault> {
        let until = Instant::now() + BODY_TIME;
        if matches!(head.length, Length::Bytes(n) if n > limit) {
            return Err(Fault::large(limit));
        }
        if head.wants_continue {
            let go_on = self.stream.write_all(b"HTTP/1.1 100 Continue\r\n\r\n");
            go_on.map_err(|_| Fault::bad("the connection broke"))?;
        }
        match head.length {
            Length::Bytes(n) => self.exactly(n, until),
            Length::Chunked => self.chunks(limit, until),
        }
    }

    fn exactly(&mut self, n: usize, until: Instant) -> Result<Vec<u8>, Fault> {
        while self.rest.len() < n {
            if self.more(until, "the body")? == 0 {
                return Err(Fault::bad("the body is shorter than its Content-Length"));
            }
        }
        let after = self.rest.split_off(n);
        Ok(std::mem::replace(&mut self.rest, after))
    }

    fn chunks(&mut self, limit: usize, until: Instant) -> Result<Vec<u8>, Fault> {
        let mut body = Vec::new();
        loop {
            let (used, size) = loop {
                let broken = |_| Fault::bad("the chunks of the body are broken");
                match httparse::parse_chunk_size(&self.rest).map_err(broken)? {
                    httparse::Status::Complete(found) => break found,
                    httparse::Status::Partial if self.more(until, "the body")? == 0 => {
                        return Err(Fault::bad("the body ends early"));
                    }
                    httparse::Status::Partial => {}
                }
            };
            let size = usize::try_from(size).unwrap_or(usize::MAX);
            if size > limit - body.len() {
                return Err(Fault::large(limit));
            }
            self.rest.drain(..used);
            let chunk = self.exactly(size + 2, until)?;
            if size == 0 {
                return Ok(body);
            }
            body.extend_from_slice(&chunk[..size]);
        }
    }

    /// Reads what is there; gives how much.
    fn more(&mut self, until: Instant, what: &str) -> Result<usize, Fault> {
        let left = until.saturating_duration_since(Instant::now()).max(Duration::from_millis(1));
        let timed = self.stream.set_read_timeout(Some(left));
        timed.map_err(|_| Fault::bad("the connection broke"))?;
        let mut buffer = [0; 64 << 10];
        match self.stream.read(&mut buffer) {
            Ok(n) => {
                self.rest.extend_from_slice(&buffer[..n]);
                // A byte now and then must not keep a connection.
                if Instant::now() >= until { Err(Fault::slow(what)) } else { Ok(n) }
            }
            Err(e) if matches!(e.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                Err(Fault::slow(what))
            }
            Err(e) if e.kind() == ErrorKind::Interrupted => self.more(until, what),
            Err(_) => Ok(0),
        }
    }

    /// Whether the client has gone, while it waits for its answer.
    pub fn gone(&self) -> bool {
        let mut byte = [0];
        let looked = self.stream.set_nonblocking(true).and_then(|()| self.stream.peek(&mut byte));
        let back = self.stream.set_nonblocking(false);
        let broken = |e: &std::io::Error| e.kind() != ErrorKind::WouldBlock;
        back.is_err() || matches!(&looked, Ok(0)) || looked.as_ref().is_err_and(broken)
    }

    /// Sends a whole answer.
    pub fn send(mut self, status: u16, body: &serde_json::Value, retry_after: Option<u32>) {
        let body = body.to_string();
        let retry = retry_after.map(|s| format!("Retry-After: {s}\r\n")).unwrap_or_default();
        let head = format!(
            "HTTP/1.1 {status} {}\r\nContent-Type: application/json\r\nContent-Length: {}\r\n{retry}\
             Cache-Control: no-store\r\nConnection: close\r\n\r\n",
            reason(status),
            body.len()
        );
        // A client that has gone, or does not read, has no answer.
        if self
            .stream
            .write_all(head.as_bytes())
            .and_then(|()| self.stream.write_all(body.as_bytes()))
            .is_ok()
        {
            self.linger();
        }
    }

    /// Begins an answer of events that come one by one.
    pub fn events(mut self) -> std::io::Result<Events> {
        self.stream.write_all(
            b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nCache-Control: no-store\r\n\
              Connection: close\r\nTransfer-Encoding: chunked\r\n\r\n",
        )?;
        Ok(Events { connection: self })
    }

    fn linger(mut self) {
        let until = Instant::now() + LINGER;
        if self.stream.shutdown(Shutdown::Write).is_err() {
            return;
        }
        while Instant::now() < until {
            self.rest.clear();
            if self.more(until, "").unwrap_or(0) == 0 {
                return;
            }
        }
    }
}

/// Server-sent events.
pub struct Events {
    connection: Connection,
}

impl Events {
    /// Sends one event.
    ///
    /// # Errors
    /// The client has gone, or does not read.
    pub fn send(&mut self, data: &str) -> std::io::Result<()> {
        let event = format!("data: {data}\n\n");
        write!(self.connection.stream, "{:x}\r\n{event}\r\n", event.len())
    }

    /// Whether the client has gone.
    pub fn gone(&self) -> bool {
        self.connection.gone()
    }

    /// Ends the answer.
    pub fn end(mut self) {
        if self.connection.stream.write_all(b"0\r\n\r\n").is_ok() {
            self.connection.linger();
        }
    }
}

/// Answers a connection that nobody listens to.
pub fn refuse(stream: TcpStream, fault: &Fault) {
    if let Ok(connection) = Connection::new(stream) {
        connection.send(fault.status, &fault.body(), fault.retry_after());
    }
}

/// The head in `bytes` and its length, once it is whole.
fn parse(bytes: &[u8]) -> Result<Option<(Head, usize)>, Fault> {
    let mut headers = [httparse::EMPTY_HEADER; HEADERS];
    let mut request = httparse::Request::new(&mut headers);
    let parsed = request.parse(bytes).map_err(|e| Fault::bad(format!("this is not HTTP: {e}")))?;
    let httparse::Status::Complete(used) = parsed else { return Ok(None) };
    let header = |name: &str| {
        let found = request.headers.iter().find(|h| h.name.eq_ignore_ascii_case(name));
        found.and_then(|h| std::str::from_utf8(h.value).ok()).map(str::trim)
    };
    let chunked = header("transfer-encoding").is_some_and(|v| !v.eq_ignore_ascii_case("identity"));
    let length = match header("content-length").map(str::parse) {
        _ if chunked => Length::Chunked,
        Some(Ok(n)) => Length::Bytes(n),
        Some(Err(_)) => return Err(Fault::bad("Content-Length is no number")),
        None => Length::Bytes(0),
    };
    let target = request.path.unwrap_or_default();
    let head = Head {
        method: request.method.unwrap_or_default().into(),
        path: target.split('?').next().unwrap_or_default().into(),
        token: header("authorization")
            .and_then(|v| v.split_once(' '))
            .filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer"))
            .map(|(_, token)| token.trim().into()),
        length,
        wants_continue: header("expect").is_some_and(|v| v.eq_ignore_ascii_case("100-continue")),
    };
    Ok(Some((head, used)))
}

fn reason(status: u16) -> &'static str {
    match status {
        200 => "OK",
        400 => "Bad Request",
        401 => "Unauthorized",
        404 => "Not Found",
        405 => "Method Not Allowed",
        408 => "Request Timeout",
        413 => "Content Too Large",
        429 => "Too Many Requests",
        503 => "Service Unavailable",
        504 => "Gateway Timeout",
        _ => "Internal Server Error",
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_head_in_parts() {
        let text = b"POST /v1/x?y=1 HTTP/1.1\r\nhost: a\r\nAUTHORIZATION: bearer  t0k \r\nContent-Length: 7\r\n\r\nbody";
        for n in 0..text.len() - 4 {
            assert_eq!(parse(&text[..n]).unwrap(), None, "{n}");
        }
        let (head, used) = parse(text).unwrap().unwrap();
        assert_eq!((head.method.as_str(), head.path.as_str(), used), ("POST", "/v1/x", text.len() - 4));
        assert_eq!((head.token.as_deref(), head.length), (Some("t0k"), Length::Bytes(7)));
    }

    #[test]
    fn nonsense_is_refused() {
        assert_eq!(parse(b"\x16\x03\x01\x02\x00\x01").unwrap_err().status, 400);
        assert_eq!(parse(b"GET / HTTP/1.1\r\nContent-Length: -1\r\n\r\n").unwrap_err().status, 400);
    }
}

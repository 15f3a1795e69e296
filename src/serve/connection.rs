//! One connection from its request to the end of its answer.

use super::Options;
use super::desk::{Desk, Heard, Ticket};
use super::fault::Fault;
use super::http::{Connection, Events, Head};
use super::openai::{self, Asked};
use super::reply::{self, Reply};
use crate::job::Odds;
use serde_json::{Value, json};
use std::net::TcpStream;
use std::path::{Component, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::RecvTimeoutError;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

const CHAT: &str = "/v1/chat/completions";
const MODELS: &str = "/v1/models";
/// How often a silent client is looked after.
const LOOK: Duration = Duration::from_millis(500);

/// Answers a request, whatever it is.
pub fn answer(stream: TcpStream, desk: &Arc<Desk>, options: &Options) {
    let Ok(mut connection) = Connection::new(stream) else { return };
    let head = match connection.head() {
        Ok(Some(head)) => head,
        Ok(None) => return,
        Err(fault) => return send(connection, Err(fault)),
    };
    if let Err(fault) = allowed(&head, options) {
        return send(connection, Err(fault));
    }
    match (head.method.as_str(), head.path.as_str()) {
        ("POST", CHAT) => chat(connection, &head, desk, options),
        (_, CHAT) => send(connection, Err(Fault::method("POST"))),
        ("GET", "/health") => send(connection, Ok(json!({ "status": "ok" }))),
        ("GET", path) => send(connection, models(path, options)),
        (_, MODELS | "/health") => send(connection, Err(Fault::method("GET"))),
        (_, path) => send(connection, Err(Fault::no_such_path(path))),
    }
}

/// Everything but `/health` needs the token.
fn allowed(head: &Head, options: &Options) -> Result<(), Fault> {
    let hash = |text: &str| blake3::hash(text.as_bytes());
    // Comparing hashes takes the same time for every wrong token.
    let right = head.token.as_deref().is_some_and(|t| hash(t) == hash(&options.token));
    if right || head.path == "/health" { Ok(()) } else { Err(Fault::token()) }
}

fn send(connection: Connection, answer: Result<Value, Fault>) {
    match answer {
        Ok(body) => connection.send(200, &body, None),
        Err(fault) => connection.send(fault.status, &fault.body(), fault.retry_after()),
    }
}

fn models(path: &str, options: &Options) -> Result<Value, Fault> {
    let names = options.names();
    match path.strip_prefix(MODELS) {
        Some("") => Ok(reply::models(&names, now())),
        Some(rest) if rest.starts_with('/') => match names.iter().find(|n| rest[1..] == **n) {
            Some(name) => Ok(reply::model(name, now())),
            None => Err(Fault::no_such_model(&rest[1..], &names)),
        },
        _ => Err(Fault::no_such_path(path)),
    }
}

/// The names of folders, with as much of their paths before them as tells them apart.
fn names<'a>(folders: impl Iterator<Item = &'a PathBuf>) -> Vec<String> {
    let whole = |path: &PathBuf| match std::path::absolute(path) {
        Ok(whole) if whole.file_name().is_some() => whole,
        _ => path.canonicalize().unwrap_or_else(|_| path.clone()),
    };
    let parts = |path: PathBuf| -> Vec<String> {
        let named = path.components().filter(|c| matches!(c, Component::Normal(_)));
        named.map(|c| c.as_os_str().to_string_lossy().into_owned()).collect()
    };
    let all: Vec<Vec<String>> = folders.map(|folder| parts(whole(folder))).collect();
    let last = |parts: &[String], n: usize| parts[parts.len().saturating_sub(n)..].join("/");
    let alone = |at: usize, n: usize| {
        let name = last(&all[at], n);
        all.iter().enumerate().all(|(other, parts)| other == at || last(parts, n) != name)
    };
    let name = |at: usize| {
        let n = (1..=all[at].len()).find(|n| alone(at, *n)).unwrap_or(1);
        last(&all[at], n)
    };
    (0..all.len()).map(name).collect()
}

impl Options {
    /// Names of the models: the adapters, then the base.
    fn names(&self) -> Vec<String> {
        names(self.adapters.iter().chain([&self.job.model]))
    }

    /// Who answers as `name`: puts it into the turn and gives its full name.
    fn choose(&self, asked: &mut Asked) -> Result<String, Fault> {
        let names = self.names();
        let at = match &asked.model {
            Some(name) => names.iter().position(|n| n == name),
            None => Some(0),
        };
        let missing = || Fault::no_such_model(asked.model.as_deref().unwrap_or_default(), &names);
        let at = at.ok_or_else(missing)?;
        (asked.turn.adapter, asked.turn.use_base) = match self.adapters.get(at) {
            Some(adapter) => (Some(adapter.clone()), false),
            None => (None, true),
        };
        Ok(names[at].clone())
    }
}

fn chat(mut connection: Connection, head: &Head, desk: &Arc<Desk>, options: &Options) {
    let began = Instant::now();
    // A place first: where there is none the pictures need not be read.
    let asked = desk.seat().and_then(|seat| {
        let body = connection.body(head, options.body)?;
        let mut default = options.job.config.sampling();
        // Without a seed of its own a request gets another answer each time it is sent, if it draws.
        default.seed = default.seed.wrapping_add(desk.count());
        let mut asked = openai::read(&body, &default, options.max_tokens)?;
        let model = options.choose(&mut asked)?;
        let reply = Reply { id: id(), created: now(), model };
        let Asked { turn, stream, usage, .. } = asked;
        let odds = turn.odds.is_some();
        Ok((
            Listener { ticket: seat.ask(turn), until: began + options.time, limit: options.time, odds },
            reply,
            stream,
            usage,
        ))
    });
    match asked {
        Err(fault) => send(connection, Err(fault)),
        Ok((listener, reply, true, usage)) => stream(connection, &listener, &reply, usage),
        Ok((listener, reply, false, _)) => whole(connection, &listener, &reply),
    }
}

/// Listens to an answer while it looks after its client.
struct Listener {
    ticket: Ticket,
    until: Instant,
    limit: Duration,
    /// Odds were asked for.
    odds: bool,
}

impl Listener {
    /// What is heard next; `None` when the client has gone.
    fn next(&self, gone: &dyn Fn() -> bool) -> Option<Result<Heard, Fault>> {
        loop {
            if Instant::now() >= self.until {
                return Some(Err(Fault::too_long(self.limit.as_secs())));
            }
            match self.ticket.heard.recv_timeout(LOOK) {
                Ok(heard) => return Some(Ok(heard)),
                Err(RecvTimeoutError::Disconnected) => return Some(Err(Fault::ending())),
                Err(RecvTimeoutError::Timeout) if gone() => return None,
                Err(RecvTimeoutError::Timeout) => {}
            }
        }
    }
}

fn whole(connection: Connection, listener: &Listener, reply: &Reply) {
    let mut all: Vec<Odds> = Vec::new();
    loop {
        let Some(heard) = listener.next(&|| connection.gone()) else { return };
        match heard {
            Ok(Heard::Text(_)) => {}
            Ok(Heard::Odds(odds)) => all.push(odds),
            Ok(Heard::End(Ok(answer))) => {
                let odds = listener.odds.then_some(&all[..]);
                return send(connection, Ok(reply.whole(&answer, odds)));
            }
            Ok(Heard::End(Err(error))) => return send(connection, Err(error.into())),
            Err(fault) => return send(connection, Err(fault)),
        }
    }
}

/// The first thing heard decides whether it is a stream or an error.
fn stream(connection: Connection, listener: &Listener, reply: &Reply, usage: bool) {
    let first = match listener.next(&|| connection.gone()) {
        None => return,
        Some(Err(fault)) => return send(connection, Err(fault)),
        Some(Ok(Heard::End(Err(error)))) => return send(connection, Err(error.into())),
        Some(Ok(heard)) => heard,
    };
    let Ok(mut events) = connection.events() else { return };
    // A client that has gone ends the loop, and the ticket's end the answer.
    if write(&mut events, listener, (reply, usage), first).is_ok() {
        events.end();
    }
}

fn write(
    events: &mut Events,
    listener: &Listener,
    (reply, usage): (&Reply, bool),
    first: Heard,
) -> std::io::Result<()> {
    events.send(&reply.begin().to_string())?;
    let mut odds: Vec<Odds> = Vec::new();
    let mut heard: Option<Result<Heard, Fault>> = Some(Ok(first));
    while let Some(now) = heard {
        match now {
            Ok(Heard::Odds(one)) => odds.push(one),
            Ok(Heard::Text(text)) => {
                let so_far = std::mem::take(&mut odds);
                let so_far = listener.odds.then_some(&so_far[..]);
                events.send(&reply.piece(&text, so_far).to_string())?;
            }
            Ok(Heard::End(Ok(answer))) => {
                if !odds.is_empty() {
                    events.send(&reply.piece("", Some(&odds)).to_string())?;
                }
                events.send(&reply.end(&answer).to_string())?;
                if usage {
                    events.send(&reply.usage(&answer).to_string())?;
                }
                return events.send("[DONE]");
            }
            Ok(Heard::End(Err(error))) => return events.send(&Fault::from(error).body().to_string()),
            Err(fault) => return events.send(&fault.body().to_string()),
        }
        heard = listener.next(&|| events.gone());
    }
    Err(std::io::ErrorKind::BrokenPipe.into())
}

fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.as_secs())
}

/// A number that no other answer has.
fn id() -> String {
    let mut bytes = [0; 12];
    // Without random numbers the time has to do.
    if getrandom::fill(&mut bytes).is_err() {
        let nanos = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.as_nanos());
        bytes.copy_from_slice(&nanos.to_le_bytes()[..12]);
    }
    let hex: String = bytes.iter().map(|b| format!("{b:02x}")).collect();
    format!("chatcmpl-{hex}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn models_of_one_folder_name_are_told_apart() {
        let of = |paths: &[&str]| names(paths.iter().map(PathBuf::from).collect::<Vec<_>>().iter());
        assert_eq!(of(&["/saves/one", "/models/Qwen"]), ["one", "Qwen"]);
        let same = ["/saves/one/checkpoint-9", "/saves/two/checkpoint-9", "/saves/two", "/models/Qwen"];
        assert_eq!(of(&same), ["one/checkpoint-9", "two/checkpoint-9", "two", "Qwen"]);
        // One given twice has one name, and is found by it.
        assert_eq!(of(&["/saves/one", "/saves/one"]), ["one", "one"]);
        assert!(of(&["."]).iter().all(|name| !name.is_empty()));
    }
}

//! `serve` as clients meet it: answers, streams, and everything that goes wrong on a network.
#![allow(clippy::unwrap_used)]

use crate::golden;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

const TOKEN: &str = "a-token-of-32-characters-for-test";

/// The running program; it ends with the test.
struct Server {
    child: Child,
    address: String,
}

impl Server {
    fn start(more: &[&str]) -> Self {
        let model = golden::path("models/tiny-dense");
        let mut child = Command::new(env!("CARGO_BIN_EXE_lorascope"))
            .args(["serve", "--model", model.to_str().unwrap(), "--port", "0", "--json"])
            .args(more)
            .args(["image_max_pixels=65536", "image_min_pixels=1024", "max_new_tokens=8"])
            .env("LORASCOPE_TOKEN", TOKEN)
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let ready: Value = serde_json::from_str(&line).unwrap();
        assert_eq!(ready["token"], Value::Null, "a given token is not shown");
        let url = ready["url"].as_str().unwrap();
        let address = url.trim_start_matches("http://").trim_end_matches("/v1").to_string();
        assert!(address.starts_with("127.0.0.1:"));
        Self { child, address }
    }

    fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect(&self.address).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(120))).unwrap();
        stream
    }

    /// Sends a request as it is; gives status and body.
    fn raw(&self, request: &[u8]) -> (u16, String) {
        let mut stream = self.connect();
        stream.write_all(request).unwrap();
        answer(stream)
    }

    fn send(&self, method: &str, path: &str, token: &str, body: &str) -> (u16, Value) {
        let head = format!(
            "{method} {path} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {token}\r\nContent-Length: {}\r\n\r\n",
            body.len()
        );
        let (status, text) = self.raw(&[head.as_bytes(), body.as_bytes()].concat());
        (status, serde_json::from_str(&text).unwrap_or(Value::String(text)))
    }

    fn chat(&self, body: &Value) -> (u16, Value) {
        self.send("POST", "/v1/chat/completions", TOKEN, &body.to_string())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Status and body of an answer, chunks put together.
fn answer(mut stream: TcpStream) -> (u16, String) {
    let mut all = Vec::new();
    stream.read_to_end(&mut all).unwrap();
    let text = String::from_utf8(all).unwrap();
    let (head, body) = text.split_once("\r\n\r\n").unwrap();
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    (status, if head.contains("chunked") { unchunked(body) } else { body.to_string() })
}

fn unchunked(mut body: &str) -> String {
    let mut all = String::new();
    while let Some((size, rest)) = body.split_once("\r\n") {
        let size = usize::from_str_radix(size, 16).unwrap();
        all += &rest[..size];
        body = &rest[size + 2..];
        if size == 0 {
            break;
        }
    }
    all
}

fn picture() -> Value {
    let bytes = std::fs::read(golden::path("data/img/0.png")).unwrap();
    let url = format!("data:image/png;base64,{}", STANDARD.encode(bytes));
    json!({ "type": "image_url", "image_url": { "url": url } })
}

fn question(text: &str) -> Value {
    json!({ "messages": [{ "role": "user", "content": [picture(), { "type": "text", "text": text }] }] })
}

fn with(mut body: Value, more: Value) -> Value {
    body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    body
}

#[test]
fn an_answer_and_its_stream_are_the_same() {
    let server = Server::start(&[]);
    let (status, models) = server.send("GET", "/v1/models", TOKEN, "");
    assert_eq!((status, &models["data"][0]["id"]), (200, &json!("tiny-dense")));
    let asked = question("What is shown?");
    let (status, whole) = server.chat(&asked);
    assert_eq!((status, &whole["object"]), (200, &json!("chat.completion")), "{whole}");
    let usage = &whole["usage"];
    assert!(
        usage["completion_tokens"].as_u64().unwrap() <= 8 && usage["prompt_tokens"].as_u64().unwrap() > 40
    );
    let text = whole["choices"][0]["message"]["content"].as_str().unwrap();

    let streamed =
        with(asked, json!({ "stream": true, "stream_options": { "include_usage": true }, "logprobs": true }));
    let (status, events) = server.chat(&streamed);
    assert_eq!(status, 200);
    let events: Vec<&str> = events.as_str().unwrap().split_terminator("\n\n").collect();
    assert_eq!(events.last(), Some(&"data: [DONE]"));
    let json = |e: &&str| serde_json::from_str::<Value>(e.trim_start_matches("data: ")).unwrap();
    let events: Vec<Value> = events[..events.len() - 1].iter().map(json).collect();
    let piece = |e: &Value| e["choices"][0]["delta"]["content"].as_str().unwrap_or_default().to_string();
    assert_eq!(events.iter().map(piece).collect::<String>(), text);
    let last = &events[events.len() - 1];
    assert!(last["usage"]["prompt_tokens_details"]["cached_tokens"].as_u64().unwrap() > 40, "{last}");
    let sure: usize =
        events.iter().filter_map(|e| e["choices"][0]["logprobs"]["content"].as_array().map(Vec::len)).sum();
    assert_eq!(Some(sure as u64), last["usage"]["completion_tokens"].as_u64());
}

#[test]
fn what_is_wrong_is_told_as_openai_tells_it() {
    let server = Server::start(&["--max-body", "1"]);
    let chat = "/v1/chat/completions";
    let good = question("x").to_string();
    let code = |(status, body): (u16, Value)| {
        (status, body["error"]["code"].as_str().unwrap_or_default().to_string())
    };
    assert_eq!(code(server.send("POST", chat, "wrong", &good)), (401, "invalid_api_key".into()));
    assert_eq!(code(server.send("GET", "/v1/nothing", TOKEN, "")), (404, "unknown_url".into()));
    assert_eq!(server.send("GET", chat, TOKEN, "").0, 405);
    assert_eq!(server.send("GET", "/health", "", "").0, 200);
    let other = with(question("x"), json!({ "model": "gpt-4" }));
    assert_eq!(code(server.chat(&other)), (404, "model_not_found".into()));
    let large = "x".repeat(1_500_000);
    assert_eq!(code(server.send("POST", chat, TOKEN, &large)), (413, "request_too_large".into()));

    for (body, word) in [
        ("{".to_string(), "no JSON"),
        ("[]".into(), "no JSON object"),
        (json!({ "messages": [] }).to_string(), "begin and end"),
        (good.replace("data:image/png;base64,", "https://example.org/"), "data: URL"),
        (good.replace("data:image/png;base64,", "data:image/png;base64,AAAA"), "picture"),
        (good.replace("data:image/png;base64,", "data:image/png;base64,*"), "base64"),
    ] {
        let (status, answer) = server.send("POST", chat, TOKEN, &body);
        let message = answer["error"]["message"].as_str().unwrap();
        assert!(status == 400 && message.contains(word), "{word}: {status} {message}");
        assert_eq!(answer["error"]["type"], "invalid_request_error");
    }
    assert_eq!(server.raw(b"\x16\x03\x01nonsense\r\n\r\n").0, 400);
    assert_eq!(server.raw(&[b"GET / HTTP/1.1\r\nX: ".as_slice(), &[b'a'; 20_000]].concat()).0, 400);
    assert_eq!(server.chat(&question("still there?")).0, 200);
}

/// A body in chunks, as some clients send it.
#[test]
fn a_chunked_body_and_one_that_waits_to_be_wanted() {
    let server = Server::start(&[]);
    let body = question("x").to_string();
    let head = format!("POST /v1/chat/completions HTTP/1.1\r\nAuthorization: Bearer {TOKEN}\r\n");
    let (a, b) = body.split_at(1000);
    let chunk = |part: &str| format!("{:x}\r\n{part}\r\n", part.len());
    let chunked = format!("{head}Transfer-Encoding: chunked\r\n\r\n{}{}0\r\n\r\n", chunk(a), chunk(b));
    assert_eq!(server.raw(chunked.as_bytes()).0, 200);

    let mut stream = server.connect();
    let waits = format!("{head}Content-Length: {}\r\nExpect: 100-continue\r\n\r\n", body.len());
    stream.write_all(waits.as_bytes()).unwrap();
    let mut said = [0; 25];
    stream.read_exact(&mut said).unwrap();
    assert_eq!(&said, b"HTTP/1.1 100 Continue\r\n\r\n");
    stream.write_all(body.as_bytes()).unwrap();
    assert_eq!(answer(stream).0, 200);
}

/// A client that sends half a request keeps nobody waiting, and one that leaves gives its place back.
#[test]
fn slow_clients_and_those_who_leave_keep_no_place() {
    let server = Server::start(&["--slots", "1", "--queue", "1"]);
    let mut slow: Vec<TcpStream> = (0..20).map(|_| server.connect()).collect();
    slow.iter_mut().for_each(|s| s.write_all(b"POST /v1/chat/comp").unwrap());
    assert_eq!(server.chat(&question("x")).0, 200);
    let body = with(question("long"), json!({ "stream": true, "max_tokens": 4000 })).to_string();
    for _ in 0..4 {
        let mut stream = server.connect();
        let head = format!(
            "POST /v1/chat/completions HTTP/1.1\r\nAuthorization: Bearer {TOKEN}\r\nContent-Length: {}\r\n\r\n",
            body.len()
        );
        stream.write_all(&[head.as_bytes(), body.as_bytes()].concat()).unwrap();
        let mut first = [0; 15];
        stream.read_exact(&mut first).unwrap();
        assert_eq!(&first, b"HTTP/1.1 200 OK");
        drop(stream);
        // The next event that is sent finds nobody; until then the place is taken.
        let freed = (0..600).any(|_| server.chat(&question("x")).0 == 200);
        assert!(freed);
    }
}

#[test]
fn two_hundred_at_a_time_are_all_answered() {
    let server = Server::start(&["--slots", "8", "--queue", "16"]);
    let statuses: Vec<(u16, Value)> = std::thread::scope(|scope| {
        let ask =
            |i: usize| server.chat(&with(question(&format!("Question {i}?")), json!({ "max_tokens": 2 })));
        let threads: Vec<_> = (0..200).map(|i| scope.spawn(move || ask(i))).collect();
        threads.into_iter().map(|t| t.join().unwrap()).collect()
    });
    let count = |wanted: u16| statuses.iter().filter(|(status, _)| *status == wanted).count();
    assert_eq!(count(200) + count(429), 200, "{:?}", statuses.iter().map(|s| s.0).collect::<Vec<_>>());
    assert!(count(200) >= 24, "{} answered", count(200));
    let full = statuses.iter().find(|(status, _)| *status == 429);
    assert!(full.is_none_or(|(_, body)| body["error"]["code"] == "rate_limit_exceeded"));
    assert_eq!(server.chat(&question("and after that?")).0, 200);
}

/// Several answers to one question differ, as harnesses that ask for several want them; a seed makes them the same.
#[test]
fn drawn_answers_differ_unless_a_seed_is_given() {
    let server = Server::start(&[]);
    // All tokens are about as likely.
    let drawn = with(question("x"), json!({ "temperature": 2, "top_p": 1, "top_k": 0, "max_tokens": 8 }));
    let said = |body: &Value| {
        let (status, answer) = server.chat(body);
        assert_eq!(status, 200, "{answer}");
        answer["choices"][0]["message"]["content"].as_str().unwrap().to_string()
    };
    assert_ne!(said(&drawn), said(&drawn));
    let seeded = with(drawn, json!({ "seed": 3 }));
    assert_eq!(said(&seeded), said(&seeded));
}

/// Who waits for an answer when the server ends is told so, and gets no half answer for a whole one.
#[cfg(unix)]
#[test]
fn those_who_wait_hear_of_the_end() {
    let mut server = Server::start(&["--slots", "1"]);
    let long = json!({ "temperature": 2, "top_p": 1, "top_k": 0, "max_tokens": 4000 });
    let ask = |stream: bool| {
        let body = with(question("x"), with(long.clone(), json!({ "stream": stream }))).to_string();
        let mut connection = server.connect();
        let head = format!(
            "POST /v1/chat/completions HTTP/1.1\r\nAuthorization: Bearer {TOKEN}\r\nContent-Length: {}\r\n\r\n",
            body.len()
        );
        connection.write_all(&[head.as_bytes(), body.as_bytes()].concat()).unwrap();
        connection
    };
    // One answer is being written, the others wait for their turn.
    let mut asked = vec![ask(true)];
    assert!(asked[0].peek(&mut [0]).unwrap() > 0);
    asked.extend([true, false, true, false].map(ask));
    assert_eq!(server.send("GET", "/health", "", "").0, 200, "and all are connected");
    assert!(Command::new("kill").args(["-TERM", &server.child.id().to_string()]).status().unwrap().success());
    let told: Vec<(u16, String)> = asked.into_iter().map(answer).collect();
    assert_eq!(server.child.wait().unwrap().code(), Some(0));
    for (status, text) in &told {
        let whole = text.contains("[DONE]") || text.contains("\"chat.completion\"");
        assert!(whole || text.contains("the server is ending"), "{status} {text}");
    }
    let ended = told.iter().filter(|(_, text)| text.contains("the server is ending")).count();
    assert!(ended >= 4, "{ended}: those that waited cannot have been answered");
}

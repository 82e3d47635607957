//! The example before a model server, as the official client of its API uses
//! it: the tokens of answers and of streams are charged.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test may panic")]

#[path = "../support/mod.rs"]
mod support;

use std::{fs, process::Command};

use serde_json::{Value, json};
use support::{Message, Upstream, gateway::Start};

/// The tokens of an answer, and those of a stream: together 8,000 more than the
/// burst of the example.
const TOKENS: [u64; 2] = [4_000, 24_000];

/// Answers as a server of models does: at once, or as a stream of events, whose
/// last one but the end has the usage if the client asks for it.
fn model(request: &Message) -> String {
    assert_eq!(request.target(), "/v1/chat/completions");
    let question: Value = serde_json::from_slice(&request.body).unwrap();
    if question["stream"] != true {
        let answer = json!({
            "id": "chatcmpl-1", "object": "chat.completion", "created": 1, "model": "m",
            "choices": [{
                "index": 0, "finish_reason": "stop",
                "message": { "role": "assistant", "content": "\"usage\": {\"total_tokens\": 7}" },
            }],
            "usage": usage(TOKENS[0]),
        });
        return typed("application/json", &answer.to_string());
    }
    assert_eq!(question["stream_options"]["include_usage"], true);
    let mut events = String::new();
    for word in ["to", " you", " too"] {
        let choice = json!({ "index": 0, "delta": { "content": word }, "finish_reason": null });
        push(&mut events, json!([choice]), Value::Null);
    }
    push(&mut events, json!([]), usage(TOKENS[1]));
    events.push_str("data: [DONE]\n\n");
    typed("text/event-stream", &events)
}

fn usage(total: u64) -> Value {
    json!({ "prompt_tokens": 10, "completion_tokens": total - 10, "total_tokens": total })
}

fn push(events: &mut String, choices: Value, usage: Value) {
    let chunk = json!({
        "id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1, "model": "m",
        "choices": choices, "usage": usage,
    });
    events.push_str(&format!("data: {chunk}\n\n"));
}

fn typed(kind: &str, body: &str) -> String {
    let length = body.len();
    format!("HTTP/1.1 200 OK\r\ncontent-type: {kind}\r\ncontent-length: {length}\r\n\r\n{body}")
}

#[test]
fn the_official_client_pays_for_the_tokens_of_answers_and_streams() {
    let model = Upstream::answering(model);
    let example = concat!(env!("CARGO_MANIFEST_DIR"), "/config/llm.toml");
    let text = fs::read_to_string(example).unwrap();
    let gateway = Start::new(&text).env("MODEL", &model.url()).go();
    let python = std::env::var("TIDEGATE_TEST_PYTHON")
        .expect("TIDEGATE_TEST_PYTHON is not set: run tests/all");
    let output = Command::new(python)
        .arg(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/llm/client.py"))
        .arg(format!("http://{}/v1", gateway.address()))
        .output()
        .unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{errors}");
    let told = String::from_utf8(output.stdout).unwrap();
    let told: Vec<Value> = told
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let [answer, stream, refused] = &*told else {
        panic!("{told:?}")
    };
    assert_eq!(answer["tokens"], TOKENS[0]);
    assert_eq!(
        (&stream["text"], &stream["tokens"]),
        (&"to you too".into(), &TOKENS[1].into())
    );
    // 8,000 tokens are owed, and a request reserves 500: at 600 us each. Some
    // have come back by then.
    assert_eq!(refused["status"], 429);
    let wait: u64 = refused["retry_after"].as_str().unwrap().parse().unwrap();
    assert!((2..=6).contains(&wait), "{wait}");
    // Lines of several workers come in any order.
    let mut costs: Vec<_> = (0..3)
        .filter_map(|_| gateway.access_line()["cost"].as_u64())
        .collect();
    costs.sort_unstable();
    assert_eq!(costs, TOKENS);
}

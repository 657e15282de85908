//! Any request becomes an event or a refusal, and any answer of a function a response. Bounded and seeded.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};

use bytes::Bytes;
use emulator::invoke::InvokeOutcome;
use proptest::prelude::*;
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};
use serde_json::json;
use tokio::runtime::Runtime;

use crate::http::api;
use crate::stand::{DEADLINE, Stand};

const CASES: u32 = 300;
const SEED: [u8; 32] = *b"the same cases in every fuzz run";

/// A request as bytes: what a client library would never send included.
fn request() -> impl Strategy<Value = (String, Vec<u8>)> {
    let method = prop::sample::select(vec!["GET", "POST", "PUT", "OPTIONS", "HEAD", "DELETE", "BREW"]);
    let text = "[!-~]{0,20}";
    let value = prop::collection::vec(prop_oneof![0x20_u8..0x7f, 0x80_u8..=0xff], 0..30);
    let name = prop::sample::select(vec![
        "cookie",
        "x-forwarded-for",
        "content-type",
        "accept-encoding",
        "origin",
        "x-a",
        "authorization",
        "user-agent",
        "access-control-request-method",
        "x-amzn-trace-id",
        "content-encoding",
    ]);
    let headers = prop::collection::vec((name, value), 0..6);
    let answer = prop_oneof![
        Just(json!({"statusCode": 200, "headers": {"a": "b"}, "cookies": ["c=d"], "body": "e"}).to_string()),
        any::<i64>().prop_map(|status| json!({ "statusCode": status }).to_string()),
        any::<String>()
            .prop_map(|body| json!({"statusCode": 200, "isBase64Encoded": true, "body": body}).to_string()),
        (any::<String>(), any::<String>())
            .prop_map(|(name, value)| json!({"statusCode": 200, "headers": {name: value}}).to_string()),
        Just(r#"{"statusCode":"200","headers":[],"cookies":{},"multiValueHeaders":1,"body":{}}"#.to_owned()),
        any::<String>(),
        Just("[1,2]".to_owned()),
        Just("null".to_owned()),
    ];
    (method, text, text, headers, answer).prop_map(|(method, path, query, headers, answer)| {
        let mut head = format!("/{path}?{query} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n").into_bytes();
        for (name, value) in headers {
            head.extend(name.as_bytes());
            head.extend(b": ");
            head.extend(value);
            head.extend(b"\r\n");
        }
        head.extend(format!("content-length: {}\r\n\r\n", answer.len()).as_bytes());
        head.extend(answer.as_bytes());
        (method.to_owned(), head)
    })
}

/// The status of the answer.
fn send(address: SocketAddr, base: &str, method: &str, rest: &[u8]) -> Result<u16, String> {
    let failed = |error: std::io::Error| format!("no answer: {error}");
    let mut stream = TcpStream::connect(address).map_err(failed)?;
    stream.set_read_timeout(Some(DEADLINE)).map_err(failed)?;
    stream.write_all(format!("{method} {base}").as_bytes()).map_err(failed)?;
    stream.write_all(rest).map_err(failed)?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).map_err(failed)?;
    let status = answer.get(9..12).and_then(|status| std::str::from_utf8(status).ok()?.parse().ok());
    status.ok_or_else(|| format!("not an answer: {:?}", String::from_utf8_lossy(&answer)))
}

#[test]
fn any_request_and_any_answer_of_a_function_have_a_response() {
    let runtime = Runtime::new().unwrap();
    for format in ["1.0", "2.0"] {
        // The function answers with the body that it was sent.
        let echo = |_: &str, event: &serde_json::Value| {
            let body = event["body"].as_str().unwrap_or_default().to_owned();
            Some(InvokeOutcome::Success(Bytes::from(body)))
        };
        let (stand, url) = runtime.block_on(async {
            let stand = Stand::start(echo).await;
            let (_, url) = api(&stand, "$default", json!({}), json!({"payloadFormatVersion": format})).await;
            (stand, url)
        });
        let base = url.split_once(&stand.address.to_string()).unwrap().1.to_owned();
        let config =
            Config { cases: CASES, failure_persistence: None, max_shrink_iters: 200, ..Config::default() };
        let random = TestRng::from_seed(RngAlgorithm::ChaCha, &SEED);
        let outcome = TestRunner::new_with_rng(config, random).run(&request(), |(method, rest)| {
            let status = send(stand.address, &base, &method, &rest).map_err(TestCaseError::fail)?;
            prop_assert!((100..600).contains(&status), "{status}");
            Ok(())
        });
        if let Err(failure) = outcome {
            panic!("format {format}: {failure}");
        }
        for event in stand.calls("work") {
            assert_eq!(event["version"], format);
            assert!(event["requestContext"]["requestId"].is_string());
        }
    }
}

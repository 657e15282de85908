//! Bodies that SDKs send to S3 in chunks of their own (`aws-chunked`), without what frames them. The signatures of the chunks and
//! the checksum behind them are not verified.

use bytes::Bytes;
use http::StatusCode;
use http::header::{CONTENT_ENCODING, CONTENT_LENGTH, HeaderMap, HeaderValue};

use crate::wire::AwsResponse;

const ENCODING: &str = "aws-chunked";
/// Instead of a hash it says how the body is sent: `STREAMING-UNSIGNED-PAYLOAD-TRAILER`, …
const HASH: &str = "x-amz-content-sha256";
const STREAMING: &str = "STREAMING-";
const DECODED_LENGTH: &str = "x-amz-decoded-content-length";
const TRAILER: &str = "x-amz-trailer";

/// Chunks that cannot be read, or that are not as long together as was said.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Malformed;

impl Malformed {
    pub(super) fn response(self) -> AwsResponse {
        let body = "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<Error><Code>IncompleteBody</Code>\
                    <Message>The request body terminated unexpectedly</Message></Error>";
        AwsResponse::new(StatusCode::BAD_REQUEST, "application/xml", body)
    }
}

/// The body as it is meant, with headers that say so.
pub(super) fn unframe(headers: &mut HeaderMap, body: Bytes) -> Result<Bytes, Malformed> {
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    let is_streaming = text(HASH).is_some_and(|hash| hash.starts_with(STREAMING));
    let encodings = encodings(headers);
    let (chunked, others): (Vec<&str>, Vec<&str>) =
        encodings.into_iter().partition(|encoding| encoding.eq_ignore_ascii_case(ENCODING));
    if !is_streaming && chunked.is_empty() {
        return Ok(body);
    }
    let content = content(&body).ok_or(Malformed)?;
    if text(DECODED_LENGTH).is_some_and(|said| said.parse::<usize>() != Ok(content.len())) {
        return Err(Malformed);
    }
    let others = HeaderValue::from_str(&others.join(",")).ok().filter(|others| !others.is_empty());
    for name in [HASH, DECODED_LENGTH, TRAILER] {
        headers.remove(name);
    }
    headers.remove(CONTENT_ENCODING);
    headers.extend(others.map(|others| (CONTENT_ENCODING, others)));
    headers.insert(CONTENT_LENGTH, HeaderValue::from(content.len()));
    Ok(content)
}

fn encodings(headers: &HeaderMap) -> Vec<&str> {
    let values = headers.get_all(CONTENT_ENCODING).iter().filter_map(|value| value.to_str().ok());
    let all = values.flat_map(|value| value.split(',')).map(str::trim);
    all.filter(|encoding| !encoding.is_empty()).collect()
}

/// `{size in hex}[;chunk-signature=…]`, so many bytes, and again, until a chunk of none and what trails it.
fn content(mut framed: &[u8]) -> Option<Bytes> {
    let mut content = Vec::with_capacity(framed.len());
    loop {
        let (line, rest) = split_line(framed)?;
        let size = line.split(|byte| *byte == b';').next()?;
        let size = usize::from_str_radix(std::str::from_utf8(size).ok()?, 16).ok()?;
        if size == 0 {
            return are_trailers(rest).then(|| content.into());
        }
        let (chunk, rest) = rest.split_at_checked(size)?;
        content.extend_from_slice(chunk);
        framed = rest.strip_prefix(b"\r\n")?;
    }
}

/// `name:value`, each on a line, and an empty line, which may be missing.
fn are_trailers(mut rest: &[u8]) -> bool {
    while let Some((line, behind)) = split_line(rest) {
        if line.is_empty() {
            return behind.is_empty();
        }
        if !line.contains(&b':') {
            return false;
        }
        rest = behind;
    }
    rest.is_empty()
}

fn split_line(text: &[u8]) -> Option<(&[u8], &[u8])> {
    let end = text.windows(2).position(|pair| pair == b"\r\n")?;
    Some((&text[..end], &text[end + 2..]))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
        pairs.iter().map(|&(name, value)| (name.parse().unwrap(), HeaderValue::from_static(value))).collect()
    }

    #[test]
    fn a_body_in_chunks_is_what_is_in_them() {
        let signed = "5;chunk-signature=ab\r\nhello\r\n6;chunk-signature=cd\r\n\r\nbye\n\r\n0;chunk-signature=ef\r\n\r\n";
        let trailing = "b\r\nhello\r\nbye\n\r\n0\r\nx-amz-checksum-crc32:AAAAAA==\r\n\r\n";
        for (body, hash) in
            [(signed, "STREAMING-AWS4-HMAC-SHA256-PAYLOAD"), (trailing, "STREAMING-UNSIGNED-PAYLOAD-TRAILER")]
        {
            let mut found = headers(&[
                (HASH, hash),
                (DECODED_LENGTH, "11"),
                (TRAILER, "x-amz-checksum-crc32"),
                ("content-encoding", "aws-chunked,gzip"),
                ("content-length", "99"),
                ("content-type", "text/plain"),
            ]);
            assert_eq!(unframe(&mut found, Bytes::from_static(body.as_bytes())).unwrap(), "hello\r\nbye\n");
            let left =
                [("content-encoding", "gzip"), ("content-length", "11"), ("content-type", "text/plain")];
            assert_eq!(found, headers(&left));
        }
        let mut alone = headers(&[("content-encoding", "aws-chunked")]);
        assert_eq!(unframe(&mut alone, Bytes::from_static(b"0\r\n\r\n")).unwrap(), "");
        assert!(!alone.contains_key(CONTENT_ENCODING));
    }

    #[test]
    fn a_body_without_chunks_is_left_alone() {
        let mut found = headers(&[(HASH, "UNSIGNED-PAYLOAD"), ("content-encoding", "gzip")]);
        let before = found.clone();
        assert_eq!(unframe(&mut found, Bytes::from_static(b"5\r\nhello")).unwrap(), "5\r\nhello");
        assert_eq!(found, before);
    }

    #[test]
    fn chunks_that_cannot_be_read_are_refused() {
        for (body, said) in [
            ("", "0"),
            ("hello", "5"),
            ("5\r\nhello", "5"),
            ("5\r\nhello\r\n", "5"),
            ("5\r\nhello!\r\n0\r\n\r\n", "5"),
            ("6\r\nhello\r\n0\r\n\r\n", "5"),
            ("x\r\nhello\r\n0\r\n\r\n", "5"),
            ("ffffffffffffffffff\r\nhello\r\n0\r\n\r\n", "5"),
            ("5\r\nhello\r\n0\r\nno trailer\r\n\r\n", "5"),
            ("5\r\nhello\r\n0\r\n\r\nmore", "5"),
            ("5\r\nhello\r\n0\r\n\r\n", "6"),
            ("5\r\nhello\r\n0\r\n\r\n", "five"),
        ] {
            let mut found = headers(&[(HASH, "STREAMING-UNSIGNED-PAYLOAD-TRAILER"), (DECODED_LENGTH, said)]);
            assert_eq!(unframe(&mut found, Bytes::from_static(body.as_bytes())), Err(Malformed), "{body:?}");
        }
        let refused = Malformed.response();
        assert_eq!(refused.status, 400);
        assert!(String::from_utf8_lossy(&refused.body).contains("<Code>IncompleteBody</Code>"));
    }
}

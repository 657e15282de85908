//! What a function writes to stdout and stderr, read as lines in the order written.

use std::io::{ErrorKind, PipeWriter};
use std::sync::{Mutex, PoisonError};

use tokio::net::unix::pipe::Receiver;

/// AWS cuts a log event at 256 KB; so does CloudWatch Logs.
const LINE_MAX_BYTES: usize = 262_144;
/// What a pipe holds on Linux, unless its user asks for more.
const PIPE_BYTES: usize = 65_536;

/// One pipe for both streams, so that their order is kept. It is read in the background and, to have everything before
/// the END line, once more when the function has answered: what it wrote before answering is in the pipe by then.
#[derive(Debug)]
pub(crate) struct Output {
    pipe: Receiver,
    partial: Mutex<Vec<u8>>,
}

impl Output {
    /// The reading end, and the end for the process.
    pub(crate) fn new() -> std::io::Result<(Self, PipeWriter)> {
        let (reader, writer) = std::io::pipe()?;
        let pipe = Receiver::from_owned_fd(reader.into())?;
        Ok((Self { pipe, partial: Mutex::new(Vec::new()) }, writer))
    }

    /// Waits until there may be something to read.
    pub(crate) async fn readable(&self) -> std::io::Result<()> {
        self.pipe.readable().await
    }

    /// Hands over all whole lines that are there, newline included. What is written meanwhile may have to wait for the
    /// next call: a function that never stops writing must not keep its reader. False once every writer has closed.
    pub(crate) fn drain(&self, mut each: impl FnMut(&str)) -> bool {
        let mut partial = self.partial.lock().unwrap_or_else(PoisonError::into_inner);
        let mut chunk = [0_u8; 8_192];
        let mut taken = 0;
        let open = loop {
            if taken > PIPE_BYTES {
                break true;
            }
            match self.pipe.try_read(&mut chunk) {
                Ok(0) => break false,
                Ok(count) => {
                    taken += count;
                    partial.extend_from_slice(&chunk[..count]);
                    take_lines(&mut partial, &mut each);
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => break true,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(_) => break false,
            }
        };
        if !open && !partial.is_empty() {
            each(&String::from_utf8_lossy(&std::mem::take(&mut *partial)));
        }
        open
    }
}

fn take_lines(partial: &mut Vec<u8>, each: &mut impl FnMut(&str)) {
    let mut start = 0;
    while let Some(end) = partial[start..].iter().position(|&byte| byte == b'\n') {
        each(&String::from_utf8_lossy(&partial[start..=start + end]));
        start += end + 1;
    }
    partial.drain(..start);
    if partial.is_empty() {
        // Each environment has one of these, and most are idle: what a long line needed is not kept for them.
        *partial = Vec::new();
    }
    if partial.len() >= LINE_MAX_BYTES {
        each(&String::from_utf8_lossy(&std::mem::take(partial)));
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    #[tokio::test]
    async fn what_is_written_while_it_is_read_waits_for_the_next_time() {
        let (output, mut writer) = Output::new().unwrap();
        writer.write_all(b"line\n").unwrap();
        output.readable().await.unwrap();
        let mut bytes = 0;
        let open = output.drain(|line| {
            bytes += line.len();
            writer.write_all(b"line\n").unwrap();
        });
        assert!(open && bytes > PIPE_BYTES, "{bytes}");
    }

    #[test]
    fn only_whole_lines_are_taken_until_a_line_is_too_long() {
        let mut partial = b"one\ntwo\nthr".to_vec();
        let mut lines = Vec::new();
        take_lines(&mut partial, &mut |line| lines.push(line.to_owned()));
        assert_eq!(lines, ["one\n", "two\n"]);
        assert_eq!(partial, b"thr");
        partial = vec![b'x'; LINE_MAX_BYTES];
        take_lines(&mut partial, &mut |line| lines.push(line.to_owned()));
        assert_eq!(lines.len(), 3);
        assert!(partial.is_empty());
    }
}

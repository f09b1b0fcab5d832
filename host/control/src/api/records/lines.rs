//! The lines of a body as they arrive, one at a time.
//!
//! Must never: hold more of the body than one line, and one chunk of what came after it.

use axum::body::{Body, BodyDataStream};
use futures::StreamExt;
use std::time::Duration;

/// What comes next.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Next {
    /// A line without its end, and its number, counted from 1.
    Line(u64, Vec<u8>),
    /// Nothing came for a while.
    Quiet,
    /// The body is over.
    End,
    /// The line of this number is longer than allowed.
    TooLong(u64),
    /// The connection broke.
    Broken,
}

/// See the module's documentation.
pub(super) struct Lines {
    body: BodyDataStream,
    line_max: usize,
    buffer: Vec<u8>,
    /// Where the next line begins in `buffer`.
    start: usize,
    /// Up to where there is no further end of a line.
    searched: usize,
    number: u64,
    ended: bool,
}

impl Lines {
    /// Lines of at most `line_max` bytes.
    pub(super) fn new(body: Body, line_max: usize) -> Self {
        let body = body.into_data_stream();
        Self { body, line_max, buffer: Vec::new(), start: 0, searched: 0, number: 0, ended: false }
    }

    /// The next line that is not empty; waits at most `patience` for more of the body.
    pub(super) async fn next(&mut self, patience: Duration) -> Next {
        loop {
            if let Some(line) = self.take() {
                if !line.trim_ascii().is_empty() {
                    return if line.len() > self.line_max {
                        Next::TooLong(self.number)
                    } else {
                        Next::Line(self.number, line)
                    };
                }
                continue;
            }
            if self.ended {
                return Next::End;
            }
            self.buffer.drain(..std::mem::take(&mut self.start));
            self.searched = self.buffer.len();
            if self.buffer.len() > self.line_max {
                return Next::TooLong(self.number + 1);
            }
            match tokio::time::timeout(patience, self.body.next()).await {
                Err(_) => return Next::Quiet,
                Ok(None) => self.ended = true,
                Ok(Some(Ok(chunk))) => self.buffer.extend_from_slice(&chunk),
                Ok(Some(Err(_))) => return Next::Broken,
            }
        }
    }

    /// A line that is there whole.
    fn take(&mut self) -> Option<Vec<u8>> {
        let found = self.buffer[self.searched..].iter().position(|byte| *byte == b'\n').map(|at| self.searched + at);
        let (end, after) = match found {
            Some(at) => (at, at + 1),
            None if self.ended && self.start < self.buffer.len() => (self.buffer.len(), self.buffer.len()),
            None => return None,
        };
        let line = self.buffer[self.start..end].to_vec();
        (self.start, self.searched) = (after, after);
        self.number += 1;
        Some(line)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures::stream;

    async fn all(chunks: &[&str], line_max: usize) -> Vec<Next> {
        let chunks: Vec<_> = chunks.iter().map(|chunk| Ok::<_, std::io::Error>((*chunk).to_owned())).collect();
        let mut lines = Lines::new(Body::from_stream(stream::iter(chunks)), line_max);
        let mut found = Vec::new();
        loop {
            let next = lines.next(Duration::from_secs(60)).await;
            let last = matches!(next, Next::End | Next::TooLong(_) | Next::Broken);
            found.push(next);
            if last {
                return found;
            }
        }
    }

    fn line(number: u64, text: &str) -> Next {
        Next::Line(number, text.into())
    }

    #[tokio::test]
    async fn lines_are_whole_however_they_arrive() {
        let expected = [line(1, "ab"), line(3, "c"), line(4, "de"), Next::End];
        assert_eq!(all(&["ab\n\nc\nde"], 10).await, expected);
        assert_eq!(all(&["a", "b", "\n", "\nc", "\nd", "e"], 10).await, expected);
        assert_eq!(all(&["ab\n\nc\nde\n"], 10).await, expected);
        assert_eq!(all(&[], 10).await, [Next::End]);
    }

    #[tokio::test]
    async fn a_line_that_is_too_long_is_named_before_it_is_all_there() {
        assert_eq!(all(&["a\n", "bcd", "efg", "hij"], 5).await, [line(1, "a"), Next::TooLong(2)]);
        assert_eq!(all(&["a\nbcdefg\n"], 5).await, [line(1, "a"), Next::TooLong(2)]);
        assert_eq!(all(&["abcde\n"], 5).await, [line(1, "abcde"), Next::End]);
    }
}

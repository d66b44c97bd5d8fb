use std::marker::PhantomData;

use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use serde::de::DeserializeOwned;

use crate::ClientError;

/// Answers that come one a line.
#[derive(Debug)]
pub struct Lines<T> {
    body: Incoming,
    buffer: Vec<u8>,
    searched: usize,
    shape: PhantomData<fn() -> T>,
}

/// The longest line that is taken: an event of the greatest size, with room for its escapes.
const LONGEST_LINE: usize = 16 << 20;

impl<T: DeserializeOwned> Lines<T> {
    pub(crate) const fn new(body: Incoming) -> Self {
        Self { body, buffer: Vec::new(), searched: 0, shape: PhantomData }
    }

    /// The next answer; none when the node has said everything. May be dropped while it waits and
    /// called again: nothing is lost.
    ///
    /// # Errors
    /// The answer was cut off, or a line is not what was asked for.
    pub async fn next(&mut self) -> Result<Option<T>, ClientError> {
        loop {
            if let Some(end) = self.buffer[self.searched..].iter().position(|byte| *byte == b'\n') {
                let line: Vec<u8> = self.buffer.drain(..=self.searched + end).collect();
                self.searched = 0;
                return serde_json::from_slice(&line).map(Some).map_err(ClientError::Shape);
            }
            self.searched = self.buffer.len();
            if self.searched > LONGEST_LINE {
                return Err(ClientError::LongLine);
            }
            match self.body.frame().await {
                Some(frame) => {
                    if let Ok(data) = frame?.into_data() {
                        self.buffer.extend_from_slice(&data);
                    }
                }
                None if self.buffer.is_empty() => return Ok(None),
                None => return Err(ClientError::CutOff),
            }
        }
    }
}

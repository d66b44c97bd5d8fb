use std::io;
use std::path::{Path, PathBuf};

use axum::body::Body;
use http_body_util::{BodyExt as _, Limited};
use hyper::body::Incoming;
use hyper::header::{CONTENT_TYPE, HOST};
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use serde::Serialize;
use tokio::net::UnixStream;

use crate::{Endpoint, LOCAL_FILE, Lines, Problem, Single, Streaming};

/// Calls a node over its socket. Each call has a connection of its own; there is no other state.
#[derive(Clone, Debug)]
pub struct Client {
    socket: PathBuf,
}

/// Why a call brought no answer.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// Nobody listens.
    #[error("no node answers at {}; start one with `wachter run`", socket.display())]
    NotRunning {
        /// Where.
        socket: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The socket may not be opened.
    #[error("you may not use {}; who may stands under `settings.api.roles` in that node's local file, which is {LOCAL_FILE} where nobody chose another", socket.display())]
    Denied {
        /// Where.
        socket: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The node said no.
    #[error(transparent)]
    Problem(#[from] Problem),
    /// The node went away.
    #[error("the node went away in the middle")]
    Connection(#[from] hyper::Error),
    /// The answer ended before its end.
    #[error("the node's answer was cut off")]
    CutOff,
    /// A line without an end.
    #[error("the node's answer has a line over 16 MiB")]
    LongLine,
    /// An answer over 64 MiB, or one that was cut off.
    #[error("the node's answer cannot be read")]
    Answer(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// The answer is not what was asked for.
    #[error("the node's answer is of another shape; are node and command of one version?")]
    Shape(#[source] serde_json::Error),
    /// The question cannot be written.
    #[error("the request cannot be written as JSON")]
    Request(#[source] serde_json::Error),
    /// The question cannot be written.
    #[error("the request cannot be written as a query")]
    Query(#[from] serde_urlencoded::ser::Error),
}

/// The most that an answer may come to.
const LARGEST_ANSWER: usize = 64 << 20;

impl Client {
    /// Of the node behind this socket. Nothing is opened yet.
    #[must_use]
    pub fn new(socket: &Path) -> Self {
        Self { socket: socket.to_owned() }
    }

    /// Calls an endpoint whose path has no parameter.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn call<E: Single>(
        &self,
        query: &E::Query,
        body: &E::Body,
    ) -> Result<E::Answer, ClientError> {
        self.call_at::<E>("", query, body).await
    }

    /// Calls an endpoint whose path has a parameter.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn call_at<E: Single>(
        &self,
        parameter: &str,
        query: &E::Query,
        body: &E::Body,
    ) -> Result<E::Answer, ClientError> {
        let response = self.send::<E>(parameter, query, body).await?;
        let collected = Limited::new(response.into_body(), LARGEST_ANSWER).collect().await;
        let bytes = collected.map_err(ClientError::Answer)?.to_bytes();
        serde_json::from_slice(&bytes).map_err(ClientError::Shape)
    }

    /// Calls an endpoint that streams.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn stream<E: Streaming>(
        &self,
        query: &E::Query,
    ) -> Result<Lines<E::Answer>, ClientError>
    where
        E::Body: Default,
    {
        Ok(Lines::new(self.send::<E>("", query, &E::Body::default()).await?.into_body()))
    }

    async fn send<E: Endpoint>(
        &self,
        parameter: &str,
        query: &E::Query,
        body: &E::Body,
    ) -> Result<Response<Incoming>, ClientError> {
        let stream = UnixStream::connect(&self.socket).await.map_err(|source| {
            let socket = self.socket.clone();
            match source.kind() {
                io::ErrorKind::PermissionDenied => ClientError::Denied { socket, source },
                _ => ClientError::NotRunning { socket, source },
            }
        })?;
        let (mut sender, connection) =
            hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
        // Ends with the sender and the response's body; what goes wrong is told to those.
        drop(tokio::spawn(connection));
        let response = sender.send_request(request::<E>(parameter, query, body)?).await?;
        if response.status().is_success() {
            return Ok(response);
        }
        let status = response.status().as_u16();
        let collected = Limited::new(response.into_body(), LARGEST_ANSWER).collect().await;
        let bytes = collected.map_err(ClientError::Answer)?.to_bytes();
        Err(serde_json::from_slice::<Problem>(&bytes)
            .unwrap_or_else(|_| {
                Problem::internal(format!("the node answered with status {status}"))
            })
            .into())
    }
}

fn request<E: Endpoint>(
    parameter: &str,
    query: &E::Query,
    body: &E::Body,
) -> Result<Request<Body>, ClientError> {
    let mut path = with_parameter(E::ROUTE.path, parameter);
    let query = serde_urlencoded::to_string(query)?;
    if !query.is_empty() {
        path.push('?');
        path.push_str(&query);
    }
    Ok(Request::builder()
        .method(E::ROUTE.method.to_string().as_str())
        .uri(path)
        .header(HOST, "wachter")
        .header(CONTENT_TYPE, "application/json")
        .body(Body::from(json(body)?))
        .expect("method, path and headers are made of visible ASCII"))
}

fn json(body: &impl Serialize) -> Result<Vec<u8>, ClientError> {
    serde_json::to_vec(body).map_err(ClientError::Request)
}

/// Puts the parameter, percent-encoded (RFC 3986), in the place of `{…}`.
pub(crate) fn with_parameter(path: &str, parameter: &str) -> String {
    let Some((before, (_, after))) =
        path.split_once('{').and_then(|(before, rest)| Some((before, rest.split_once('}')?)))
    else {
        return path.to_owned();
    };
    let mut written = before.to_owned();
    for byte in parameter.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => {
                written.push(char::from(byte));
            }
            _ => written.push_str(&format!("%{byte:02X}")),
        }
    }
    written + after
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn puts_parameters_into_paths() {
        let check = |path: &str, parameter: &str, expected: &str| {
            assert_eq!(with_parameter(path, parameter), expected);
        };
        check("/v1/status", "", "/v1/status");
        check("/v1/runs/{run}", "a-b", "/v1/runs/a-b");
        check("/v1/agents/{agent}/run", "a/../b ü", "/v1/agents/a%2F..%2Fb%20%C3%BC/run");
    }
}

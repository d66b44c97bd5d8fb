use std::collections::BTreeSet;
use std::io;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use serde::Serialize;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use wachter_protocol::{Egress, Endpoint, Grant, IpRange};

use super::address;
use super::proxy::{self, Asked};

/// How long resolving and connecting may take together.
const CONNECT: Duration = Duration::from_secs(30);
/// How long a client of the proxy may take to say what it wants.
const HEAD: Duration = Duration::from_secs(10);
/// Connections and refusals that are recorded one by one for each run; the rest is counted.
const RECORDED: usize = 1_000;

/// One connection of a run, or an attempt at one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Connection {
    /// What the module asked for.
    pub endpoint: String,
    /// The address that it was connected to.
    pub address: Option<SocketAddr>,
    /// How it ended.
    pub end: ConnectionEnd,
    /// Bytes from the module.
    pub sent: u64,
    /// Bytes to the module.
    pub received: u64,
}

/// How a connection ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum ConnectionEnd {
    /// Both sides were done.
    Closed,
    /// It was not let out: why.
    Refused(String),
    /// It could not be made, or broke: why.
    Failed(String),
    /// The run's quota was used up.
    Quota,
}

/// The broker of one run.
#[derive(Debug)]
pub struct Broker {
    granted: BTreeSet<Endpoint>,
    ranges: BTreeSet<IpRange>,
    most_connections: u32,
    open: AtomicU32,
    bytes_left: AtomicU64,
    recorded: Mutex<Vec<Connection>>,
}

/// The broker at work; ends all connections when dropped.
#[derive(Debug)]
pub struct Serving {
    _tasks: JoinSet<()>,
}

impl Broker {
    /// For a run with this grant, within these quotas.
    #[must_use]
    pub fn new(grant: &Grant, quotas: &Egress) -> Self {
        Self {
            granted: grant.permissions().network.clone(),
            ranges: grant.network_ranges().clone(),
            most_connections: quotas.connections,
            open: AtomicU32::new(0),
            bytes_left: AtomicU64::new(quotas.bytes.as_bytes()),
            recorded: Mutex::default(),
        }
    }

    /// What was connected so far.
    #[must_use]
    pub fn connections(&self) -> Vec<Connection> {
        self.recorded.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Accepts from the sockets that listen inside the run: each for one endpoint, or for the proxy.
    pub fn serve(
        self: &Arc<Self>,
        listeners: impl IntoIterator<Item = (Option<Endpoint>, OwnedFd)>,
    ) -> Serving {
        let mut tasks = JoinSet::new();
        for (endpoint, socket) in listeners {
            let listener = std::net::TcpListener::from(socket);
            if listener.set_nonblocking(true).is_err() {
                continue;
            }
            let Ok(listener) = TcpListener::from_std(listener) else { continue };
            let broker = Arc::clone(self);
            tasks.spawn(async move { broker.accept(&listener, endpoint.as_ref()).await });
        }
        Serving { _tasks: tasks }
    }

    async fn accept(self: Arc<Self>, listener: &TcpListener, endpoint: Option<&Endpoint>) {
        let mut connections = JoinSet::new();
        loop {
            let accepted = tokio::select! {
                accepted = listener.accept() => accepted,
                Some(_) = connections.join_next() => continue,
            };
            // Out of descriptors: wait for connections to end rather than spin.
            let Ok((client, _)) = accepted else {
                tokio::time::sleep(Duration::from_millis(50)).await;
                continue;
            };
            let (broker, endpoint) = (Arc::clone(&self), endpoint.cloned());
            connections.spawn(async move { broker.handle(client, endpoint).await });
        }
    }

    async fn handle(&self, mut client: TcpStream, endpoint: Option<Endpoint>) {
        let (asked, rest) = match endpoint {
            Some(endpoint) => (Asked { endpoint, head: Vec::new(), tunnel: false }, Vec::new()),
            None => match read_head(&mut client).await {
                Ok(asked) => asked,
                Err(reason) => {
                    answer(&mut client, "400 Bad Request", &reason).await;
                    return self.record(refusal("proxy", ConnectionEnd::Refused(reason)));
                }
            },
        };
        let name = asked.endpoint.to_string();
        let _place = Place(&self.open);
        if self.open.fetch_add(1, Ordering::Relaxed) >= self.most_connections {
            answer(&mut client, "429 Too Many Requests", "too many connections at one time").await;
            return self.record(refusal(&name, ConnectionEnd::Quota));
        }
        let (server, address) = match tokio::time::timeout(CONNECT, self.connect(&asked.endpoint)).await {
            Ok(Ok(connected)) => connected,
            Ok(Err(end)) => {
                let (status, reason) = match &end {
                    ConnectionEnd::Refused(reason) => ("403 Forbidden", reason.clone()),
                    ConnectionEnd::Failed(reason) => ("502 Bad Gateway", reason.clone()),
                    _ => ("502 Bad Gateway", String::new()),
                };
                if asked.tunnel || !asked.head.is_empty() {
                    answer(&mut client, status, &reason).await;
                }
                return self.record(refusal(&name, end));
            }
            Err(_) => {
                let end = ConnectionEnd::Failed("it took too long".to_owned());
                return self.record(refusal(&name, end));
            }
        };
        let (sent, received, end) = self.relay(client, server, &asked, &rest).await;
        self.record(Connection { endpoint: name, address: Some(address), end, sent, received });
    }

    /// Resolves once, and connects to an address that was checked.
    async fn connect(&self, endpoint: &Endpoint) -> Result<(TcpStream, SocketAddr), ConnectionEnd> {
        if !self.granted.contains(endpoint) {
            return Err(ConnectionEnd::Refused(format!("{endpoint} was not granted")));
        }
        let failed = |error: io::Error| ConnectionEnd::Failed(error.to_string());
        let addresses = tokio::net::lookup_host((endpoint.host(), endpoint.port())).await.map_err(failed)?;
        let own = address::own();
        let mut last = ConnectionEnd::Failed("the name has no address".to_owned());
        for candidate in addresses {
            if let Err(refused) = address::check(candidate.ip(), &self.ranges, &own) {
                last = ConnectionEnd::Refused(refused.to_string());
                continue;
            }
            match TcpStream::connect(candidate).await {
                Ok(stream) => return Ok((stream, candidate)),
                Err(error) => last = failed(error),
            }
        }
        Err(last)
    }

    async fn relay(
        &self,
        mut client: TcpStream,
        mut server: TcpStream,
        asked: &Asked,
        rest: &[u8],
    ) -> (u64, u64, ConnectionEnd) {
        // Small writes of interactive protocols must not wait for each other.
        let _ = (client.set_nodelay(true), server.set_nodelay(true));
        let begin = async {
            if asked.tunnel {
                client.write_all(b"HTTP/1.1 200 Connection established\r\n\r\n").await?;
            }
            server.write_all(&asked.head).await?;
            server.write_all(rest).await
        };
        if let Err(error) = begin.await {
            return (0, 0, ConnectionEnd::Failed(error.to_string()));
        }
        let (mut client_read, mut client_write) = client.into_split();
        let (mut server_read, mut server_write) = server.into_split();
        let first = u64::try_from(asked.head.len() + rest.len()).unwrap_or(u64::MAX);
        let (mut sent, mut received) = (first, 0);
        let (up, down) = tokio::join!(
            self.copy(&mut client_read, &mut server_write, &mut sent),
            self.copy(&mut server_read, &mut client_write, &mut received),
        );
        let end = match (up, down) {
            (Ok(true), Ok(true)) => ConnectionEnd::Closed,
            (Err(error), _) | (_, Err(error)) => ConnectionEnd::Failed(error.to_string()),
            _ => ConnectionEnd::Quota,
        };
        (sent, received, end)
    }

    /// Copies until the end, or until the quota is used up (false).
    async fn copy(
        &self,
        from: &mut (impl AsyncRead + Unpin),
        to: &mut (impl AsyncWrite + Unpin),
        copied: &mut u64,
    ) -> io::Result<bool> {
        let mut buffer = vec![0; 16 << 10];
        loop {
            let read = from.read(&mut buffer).await?;
            let bytes = u64::try_from(read).unwrap_or(u64::MAX);
            let spent = self.bytes_left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(bytes));
            if read == 0 || spent.is_err() {
                let _ = to.shutdown().await;
                return Ok(spent.is_ok());
            }
            to.write_all(&buffer[..read]).await?;
            *copied += bytes;
        }
    }

    fn record(&self, connection: Connection) {
        let mut recorded = self.recorded.lock().unwrap_or_else(PoisonError::into_inner);
        if recorded.len() < RECORDED {
            recorded.push(connection);
        } else if let Some(last) = recorded.last_mut() {
            last.endpoint = "more than are recorded one by one".to_owned();
            last.sent += connection.sent;
            last.received += connection.received;
        }
    }
}

/// A place among the open connections, given back at the end.
struct Place<'a>(&'a AtomicU32);

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

fn refusal(endpoint: &str, end: ConnectionEnd) -> Connection {
    Connection { endpoint: endpoint.to_owned(), address: None, end, sent: 0, received: 0 }
}

async fn read_head(client: &mut TcpStream) -> Result<(Asked, Vec<u8>), String> {
    let mut bytes = Vec::new();
    let read = async {
        loop {
            match proxy::parse(&bytes) {
                Ok(Some((asked, length))) => return Ok((asked, bytes.split_off(length))),
                Ok(None) => {}
                Err(error) => return Err(error.to_string()),
            }
            let mut piece = [0; 4 << 10];
            match client.read(&mut piece).await {
                Ok(read @ 1..) => bytes.extend_from_slice(&piece[..read]),
                _ => return Err("the request ended early".to_owned()),
            }
        }
    };
    tokio::time::timeout(HEAD, read).await.unwrap_or_else(|_| Err("the request took too long".to_owned()))
}

async fn answer(client: &mut TcpStream, status: &str, reason: &str) {
    let text = format!(
        "HTTP/1.1 {status}\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{reason}\n",
        reason.len() + 1
    );
    let _ = client.write_all(text.as_bytes()).await;
    let _ = client.shutdown().await;
}

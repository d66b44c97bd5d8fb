use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
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

/// Bytes of a connection so far, kept where they are seen when it is cut off.
#[derive(Debug, Default)]
struct Counters {
    sent: AtomicU64,
    received: AtomicU64,
}

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
    /// The run ended before it did.
    Open,
}

/// The broker of one run.
#[derive(Debug)]
pub struct Broker {
    granted: BTreeSet<Endpoint>,
    ranges: BTreeSet<IpRange>,
    most_connections: u32,
    open: AtomicU32,
    bytes_left: AtomicU64,
    recorded: Mutex<Record>,
}

/// What is kept of a run's connections.
#[derive(Debug, Default)]
struct Record {
    ended: Vec<Connection>,
    open: BTreeMap<u64, (String, Option<SocketAddr>, Arc<Counters>)>,
    next: u64,
}

/// The broker at work; ends all connections when dropped.
#[derive(Debug)]
pub struct Serving {
    tasks: JoinSet<()>,
    broker: Arc<Broker>,
}

impl Serving {
    /// Lets connections pass on what was handed to them before the run ended, for at most `most`;
    /// then ends them.
    pub async fn finish(mut self, most: Duration) {
        let idle = async {
            while self.broker.open.load(Ordering::Relaxed) > 0 {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        let _ = tokio::time::timeout(most, idle).await;
        self.tasks.shutdown().await;
    }
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
        let record = self.record();
        let open = record.open.values().map(|(endpoint, address, counters)| Connection {
            endpoint: endpoint.clone(),
            address: *address,
            end: ConnectionEnd::Open,
            sent: counters.sent.load(Ordering::Relaxed),
            received: counters.received.load(Ordering::Relaxed),
        });
        record.ended.iter().cloned().chain(open).take(RECORDED).collect()
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
        Serving { tasks, broker: Arc::clone(self) }
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
        let place = Place(&self.open);
        let name = endpoint.as_ref().map_or_else(|| "proxy".to_owned(), ToString::to_string);
        let entry = Entry::begin(self, name);
        // Before the first byte is read: a client that says nothing has a place too.
        if self.open.fetch_add(1, Ordering::Relaxed) >= self.most_connections {
            answer(&mut client, "429 Too Many Requests", "too many connections at one time").await;
            return entry.end(ConnectionEnd::Quota);
        }
        let (asked, rest) = match endpoint {
            Some(endpoint) => (Asked { endpoint, head: Vec::new(), tunnel: false }, Vec::new()),
            None => match read_head(&mut client).await {
                Ok(asked) => asked,
                Err(reason) => {
                    answer(&mut client, "400 Bad Request", &reason).await;
                    return entry.end(ConnectionEnd::Refused(reason));
                }
            },
        };
        entry.name(asked.endpoint.to_string());
        let (server, address) =
            match tokio::time::timeout(CONNECT, self.connect(&asked.endpoint)).await {
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
                    return entry.end(end);
                }
                Err(_) => return entry.end(ConnectionEnd::Failed("it took too long".to_owned())),
            };
        entry.address(address);
        let end = self.relay(client, server, &asked, &rest, &entry.counters).await;
        drop(place);
        entry.end(end);
    }

    /// Resolves once, and connects to an address that was checked.
    async fn connect(&self, endpoint: &Endpoint) -> Result<(TcpStream, SocketAddr), ConnectionEnd> {
        if !self.granted.contains(endpoint) {
            return Err(ConnectionEnd::Refused(format!("{endpoint} was not granted")));
        }
        let failed = |error: io::Error| ConnectionEnd::Failed(error.to_string());
        let addresses =
            tokio::net::lookup_host((endpoint.host(), endpoint.port())).await.map_err(failed)?;
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
        counters: &Counters,
    ) -> ConnectionEnd {
        // Small writes of interactive protocols must not wait for each other.
        let _ = (client.set_nodelay(true), server.set_nodelay(true));
        let first = u64::try_from(asked.head.len() + rest.len()).unwrap_or(u64::MAX);
        if !self.spend(first) {
            return ConnectionEnd::Quota;
        }
        let begin = async {
            if asked.tunnel {
                client.write_all(b"HTTP/1.1 200 Connection established\r\n\r\n").await?;
            }
            server.write_all(&asked.head).await?;
            server.write_all(rest).await
        };
        if let Err(error) = begin.await {
            return ConnectionEnd::Failed(error.to_string());
        }
        counters.sent.fetch_add(first, Ordering::Relaxed);
        let (mut client_read, mut client_write) = client.into_split();
        let (mut server_read, mut server_write) = server.into_split();
        // One direction may end long before the other; a quota or a fault ends both.
        let both = tokio::try_join!(
            self.copy(&mut client_read, &mut server_write, &counters.sent),
            self.copy(&mut server_read, &mut client_write, &counters.received),
        );
        both.err().unwrap_or(ConnectionEnd::Closed)
    }

    /// Copies until the end.
    async fn copy(
        &self,
        from: &mut (impl AsyncRead + Unpin),
        to: &mut (impl AsyncWrite + Unpin),
        copied: &AtomicU64,
    ) -> Result<(), ConnectionEnd> {
        let failed = |error: io::Error| ConnectionEnd::Failed(error.to_string());
        let mut buffer = vec![0; 16 << 10];
        loop {
            let read = from.read(&mut buffer).await.map_err(failed)?;
            if read == 0 {
                // The other side may have gone first.
                let _ = to.shutdown().await;
                return Ok(());
            }
            let bytes = u64::try_from(read).unwrap_or(u64::MAX);
            if !self.spend(bytes) {
                return Err(ConnectionEnd::Quota);
            }
            to.write_all(&buffer[..read]).await.map_err(failed)?;
            copied.fetch_add(bytes, Ordering::Relaxed);
        }
    }

    /// Takes from the run's quota of bytes; false if there is not as much.
    fn spend(&self, bytes: u64) -> bool {
        self.bytes_left
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(bytes))
            .is_ok()
    }

    fn record(&self) -> MutexGuard<'_, Record> {
        self.recorded.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A connection in the record from its first moment to its last.
struct Entry<'a> {
    broker: &'a Broker,
    number: u64,
    counters: Arc<Counters>,
}

impl<'a> Entry<'a> {
    fn begin(broker: &'a Broker, endpoint: String) -> Self {
        let counters = Arc::<Counters>::default();
        let mut record = broker.record();
        let number = record.next;
        record.next += 1;
        record.open.insert(number, (endpoint, None, Arc::clone(&counters)));
        drop(record);
        Self { broker, number, counters }
    }

    fn name(&self, endpoint: String) {
        if let Some(open) = self.broker.record().open.get_mut(&self.number) {
            open.0 = endpoint;
        }
    }

    fn address(&self, address: SocketAddr) {
        if let Some(open) = self.broker.record().open.get_mut(&self.number) {
            open.1 = Some(address);
        }
    }

    fn end(self, end: ConnectionEnd) {
        let mut record = self.broker.record();
        let Some((endpoint, address, counters)) = record.open.remove(&self.number) else { return };
        let sent = counters.sent.load(Ordering::Relaxed);
        let received = counters.received.load(Ordering::Relaxed);
        if record.ended.len() < RECORDED {
            record.ended.push(Connection { endpoint, address, end, sent, received });
        } else if let Some(last) = record.ended.last_mut() {
            last.endpoint = "more than are recorded one by one".to_owned();
            last.sent += sent;
            last.received += received;
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
    tokio::time::timeout(HEAD, read)
        .await
        .unwrap_or_else(|_| Err("the request took too long".to_owned()))
}

async fn answer(client: &mut TcpStream, status: &str, reason: &str) {
    let text = format!(
        "HTTP/1.1 {status}\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{reason}\n",
        reason.len() + 1
    );
    let _ = client.write_all(text.as_bytes()).await;
    let _ = client.shutdown().await;
}

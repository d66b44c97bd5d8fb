use std::io::{self, BufRead as _, BufReader, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

use base64ct::{Base64, Encoding as _};
use rustls::pki_types::PrivateKeyDer;

use crate::git_fault::{Fault, Phase, send_endless_pack, wait_for_close};
use crate::http_request::HttpRequest;
use crate::tokens::Tokens;

/// A Git smart-HTTP server on the loopback interface, on a port of the kernel's choice.
///
/// It serves every repository below one folder by `git http-backend`, so what it speaks is Git's own
/// protocol. It stops when it is dropped.
///
/// ```no_run
/// let server = wachter_testkit::GitServer::serve("/srv/git")?;
/// println!("git clone {}", server.url("site.git"));
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Debug)]
pub struct GitServer {
    address: SocketAddr,
    shared: Arc<Shared>,
    certificate: Option<String>,
    accept: Option<JoinHandle<()>>,
}

/// How a [`GitServer`] serves.
#[derive(Clone, Debug, Default)]
pub struct GitServerOptions {
    /// Username and token that every request must carry as Basic authentication (RFC 7617).
    pub credential: Option<(String, String)>,
    /// Whether to speak TLS, with a new self-signed certificate for `localhost` and `127.0.0.1`.
    pub tls: bool,
}

/// One request that was answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    /// `GET` or `POST`.
    pub method: String,
    /// The path, without the query.
    pub path: String,
    /// What was asked for, when it was one of Git's own requests.
    pub phase: Option<Phase>,
    /// Whether it carried an `Authorization` header.
    pub authorized: bool,
    /// How many bytes of body were sent back.
    pub bytes: u64,
}

#[derive(Debug)]
struct Shared {
    root: PathBuf,
    backend: PathBuf,
    credential: Option<(String, String)>,
    tokens: Mutex<Option<Tokens>>,
    tls: Option<Arc<rustls::ServerConfig>>,
    requests: Mutex<Vec<(u64, Request)>>,
    next_request: AtomicU64,
    fault: Mutex<Option<(Phase, Fault)>>,
    stopping: AtomicBool,
}

impl GitServer {
    /// Serves the repositories below `root`, to everyone, without TLS.
    ///
    /// # Errors
    /// When no port can be bound, or `git` is not installed.
    pub fn serve(root: impl Into<PathBuf>) -> io::Result<Self> {
        Self::serve_with(root, GitServerOptions::default())
    }

    /// Serves the repositories below `root`.
    ///
    /// # Errors
    /// As [`GitServer::serve`], and when no certificate can be made.
    pub fn serve_with(root: impl Into<PathBuf>, options: GitServerOptions) -> io::Result<Self> {
        let (tls, certificate) = match options.tls {
            true => tls_config().map(|(config, certificate)| (Some(config), Some(certificate)))?,
            false => (None, None),
        };
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        let address = listener.local_addr()?;
        let shared = Arc::new(Shared {
            root: root.into(),
            backend: http_backend()?,
            credential: options.credential,
            tokens: Mutex::default(),
            tls,
            requests: Mutex::default(),
            next_request: AtomicU64::new(0),
            fault: Mutex::default(),
            stopping: AtomicBool::new(false),
        });
        let accept = std::thread::Builder::new().name("git-server".into()).spawn({
            let shared = Arc::clone(&shared);
            move || accept(&listener, &shared)
        })?;
        Ok(Self { address, shared, certificate, accept: Some(accept) })
    }

    /// The URL of a repository, named by its path below the root.
    #[must_use]
    pub fn url(&self, repository: &str) -> String {
        let scheme = if self.certificate.is_some() { "https" } else { "http" };
        format!("{scheme}://{}/{repository}", self.address)
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The certificate to trust, in PEM, when it speaks TLS.
    #[must_use]
    pub fn certificate(&self) -> Option<&str> {
        self.certificate.as_deref()
    }

    /// What was asked since the last call, oldest first.
    #[must_use]
    pub fn take_requests(&self) -> Vec<Request> {
        let mut requests = self.shared.requests.lock().unwrap_or_else(PoisonError::into_inner);
        requests.drain(..).map(|(_, request)| request).collect()
    }

    /// Asks everyone for one of `tokens` from now on, as the password of `x-access-token`.
    pub fn require(&self, tokens: Tokens) {
        *self.shared.tokens.lock().unwrap_or_else(PoisonError::into_inner) = Some(tokens);
    }

    /// Does every request of this kind wrong from now on, until told otherwise.
    pub fn inject(&self, phase: Phase, fault: Fault) {
        *self.shared.fault.lock().unwrap_or_else(PoisonError::into_inner) = Some((phase, fault));
    }

    /// Does everything right again.
    pub fn repair(&self) {
        *self.shared.fault.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }
}

impl Drop for GitServer {
    fn drop(&mut self) {
        self.shared.stopping.store(true, Ordering::SeqCst);
        // Wakes the thread that waits for a connection.
        drop(TcpStream::connect(self.address));
        if let Some(accept) = self.accept.take() {
            drop(accept.join());
        }
    }
}

fn accept(listener: &TcpListener, shared: &Arc<Shared>) {
    for stream in listener.incoming() {
        if shared.stopping.load(Ordering::SeqCst) {
            return;
        }
        let Ok(stream) = stream else { continue };
        let shared = Arc::clone(shared);
        // A connection that fails is the client's to notice; so is a thread that cannot be had.
        drop(
            std::thread::Builder::new()
                .name("git-server-connection".into())
                .spawn(move || shared.serve_connection(stream)),
        );
    }
}

trait Stream: Read + Write {
    /// Says that no more will come.
    fn close(&mut self) -> io::Result<()>;
}

impl Stream for TcpStream {
    fn close(&mut self) -> io::Result<()> {
        self.shutdown(std::net::Shutdown::Write)
    }
}

impl Stream for rustls::StreamOwned<rustls::ServerConnection, TcpStream> {
    fn close(&mut self) -> io::Result<()> {
        // Without it a client cannot tell the end from an attack (RFC 8446, section 6.1).
        self.conn.send_close_notify();
        self.flush()
    }
}

/// Reads through a buffer, writes straight through.
pub(crate) struct Buffered(BufReader<Box<dyn Stream>>);

impl Buffered {
    /// Takes a connection, with TLS if there is a configuration for it.
    pub(crate) fn new(
        stream: TcpStream,
        tls: Option<&Arc<rustls::ServerConfig>>,
    ) -> io::Result<Self> {
        stream.set_nodelay(true)?;
        let stream: Box<dyn Stream> = match tls {
            None => Box::new(stream),
            Some(config) => {
                let session =
                    rustls::ServerConnection::new(Arc::clone(config)).map_err(io::Error::other)?;
                Box::new(rustls::StreamOwned::new(session, stream))
            }
        };
        Ok(Self(BufReader::new(stream)))
    }

    /// Says that no more will come.
    pub(crate) fn close(&mut self) -> io::Result<()> {
        self.0.get_mut().close()
    }
}

impl Read for Buffered {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.0.read(buffer)
    }
}

impl io::BufRead for Buffered {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        self.0.fill_buf()
    }
    fn consume(&mut self, amount: usize) {
        self.0.consume(amount);
    }
}

impl Write for Buffered {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.get_mut().write(bytes)
    }
    fn flush(&mut self) -> io::Result<()> {
        self.0.get_mut().flush()
    }
}

impl Shared {
    fn serve_connection(&self, stream: TcpStream) -> io::Result<()> {
        let mut stream = Buffered::new(stream, self.tls.as_ref())?;
        let Some(request) = HttpRequest::read(&mut stream)? else { return Ok(()) };
        let phase = phase(&request);
        let number = self.record(&request, phase);
        let mut counted = Counted { stream: &mut stream, bytes: 0 };
        let answered = self.answer(&request, phase, &mut counted);
        let bytes = counted.bytes;
        if answered.is_ok() {
            stream.close()?;
        }
        let mut requests = self.requests.lock().unwrap_or_else(PoisonError::into_inner);
        // It may have been taken meanwhile.
        if let Some((_, entry)) = requests.iter_mut().find(|(other, _)| *other == number) {
            entry.bytes = bytes;
        }
        answered
    }

    fn record(&self, request: &HttpRequest, phase: Option<Phase>) -> u64 {
        let number = self.next_request.fetch_add(1, Ordering::Relaxed);
        let mut requests = self.requests.lock().unwrap_or_else(PoisonError::into_inner);
        let request = Request {
            method: request.method.clone(),
            path: request.path.clone(),
            phase,
            authorized: request.header("authorization").is_some(),
            bytes: 0,
        };
        requests.push((number, request));
        number
    }

    fn answer(
        &self,
        request: &HttpRequest,
        phase: Option<Phase>,
        stream: &mut Counted<'_>,
    ) -> io::Result<()> {
        let fault = self.fault.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let fault = fault.filter(|(at, _)| Some(*at) == phase).map(|(_, fault)| fault);
        let smart = "Content-Type: application/x-git-upload-pack-result\r\n";
        match fault {
            Some(Fault::Status(status)) => return stream.head(status, "Content-Length: 0\r\n"),
            Some(Fault::Redirect(to)) if !to.contains(&request.path) => {
                return stream.head(302, &format!("Location: {to}\r\nContent-Length: 0\r\n"));
            }
            Some(Fault::Stall) => {
                stream.head(200, smart)?;
                wait_for_close(stream.stream);
                return Ok(());
            }
            Some(Fault::Endless) => {
                stream.head(200, smart)?;
                return send_endless_pack(stream);
            }
            Some(Fault::Redirect(_) | Fault::CutAfter(_)) | None => {}
        }
        if !self.allows(request) {
            return stream
                .head(401, "WWW-Authenticate: Basic realm=\"git\"\r\nContent-Length: 0\r\n");
        }
        let limit = match fault {
            Some(Fault::CutAfter(bytes)) => bytes,
            _ => usize::MAX,
        };
        self.run_backend(request, stream, limit)
    }

    fn allows(&self, request: &HttpRequest) -> bool {
        if let Some(tokens) = &*self.tokens.lock().unwrap_or_else(PoisonError::into_inner) {
            return tokens.admit(request.header("authorization"));
        }
        let Some((username, token)) = &self.credential else { return true };
        let expected = Base64::encode_string(format!("{username}:{token}").as_bytes());
        request.header("authorization") == Some(&format!("Basic {expected}"))
    }

    /// Runs `git http-backend` as a CGI program (RFC 3875) and passes on what it says.
    fn run_backend(
        &self,
        request: &HttpRequest,
        stream: &mut Counted<'_>,
        limit: usize,
    ) -> io::Result<()> {
        let mut child = self.start_backend(request)?;
        let mut stdin = child.stdin.take().expect("stdin was asked to be a pipe");
        let body = request.body.clone();
        let writer = std::thread::spawn(move || stdin.write_all(&body));
        let output = child.stdout.take().expect("stdout was asked to be a pipe");
        let sent = pass_on(&mut BufReader::new(output), stream, limit);
        // Kills what still runs when the client went away.
        drop(child.kill());
        child.wait()?;
        drop(writer.join());
        sent
    }

    fn start_backend(&self, request: &HttpRequest) -> io::Result<Child> {
        let mut command = Command::new(&self.backend);
        command.env_clear();
        command.envs(std::env::var_os("PATH").map(|path| ("PATH", path)));
        command
            .env("GIT_PROJECT_ROOT", &self.root)
            .env("GIT_HTTP_EXPORT_ALL", "1")
            .env("GIT_CONFIG_NOSYSTEM", "1")
            .env("GIT_CONFIG_GLOBAL", "/dev/null")
            // The repositories may belong to another user than the one who serves them.
            .env("GIT_CONFIG_COUNT", "1")
            .env("GIT_CONFIG_KEY_0", "safe.directory")
            .env("GIT_CONFIG_VALUE_0", "*")
            .env("REQUEST_METHOD", &request.method)
            .env("PATH_INFO", &request.path)
            .env("QUERY_STRING", &request.query)
            .env("CONTENT_LENGTH", request.body.len().to_string())
            .env("REMOTE_ADDR", "127.0.0.1");
        if let Some((username, _)) = &self.credential {
            command.env("REMOTE_USER", username);
        }
        for (header, variable) in [
            ("content-type", "CONTENT_TYPE"),
            ("content-encoding", "HTTP_CONTENT_ENCODING"),
            ("git-protocol", "GIT_PROTOCOL"),
        ] {
            if let Some(value) = request.header(header) {
                command.env(variable, value);
            }
        }
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn()
    }
}

/// Turns the head of a CGI answer into one of HTTP, and copies at most `limit` bytes of the body.
fn pass_on(
    output: &mut BufReader<impl Read>,
    stream: &mut Counted<'_>,
    limit: usize,
) -> io::Result<()> {
    let mut status = 200;
    let mut headers = String::new();
    loop {
        let mut line = String::new();
        output.read_line(&mut line)?;
        match line.trim_end().split_once(':') {
            Some((name, value)) if name.eq_ignore_ascii_case("status") => {
                let code = value.split_ascii_whitespace().next().unwrap_or_default();
                status = code.parse().map_err(io::Error::other)?;
            }
            Some(_) => {
                headers.push_str(line.trim_end());
                headers.push_str("\r\n");
            }
            None => break,
        }
    }
    stream.head(status, &headers)?;
    io::copy(&mut output.take(limit as u64), stream)?;
    stream.flush()
}

/// Counts the bytes of the body.
struct Counted<'a> {
    stream: &'a mut Buffered,
    bytes: u64,
}

impl Counted<'_> {
    fn head(&mut self, status: u16, headers: &str) -> io::Result<()> {
        write!(self.stream, "HTTP/1.1 {status} Answer\r\n{headers}Connection: close\r\n\r\n")?;
        self.stream.flush()
    }
}

impl Write for Counted<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.stream.write(bytes)?;
        self.bytes += written as u64;
        Ok(written)
    }
    fn flush(&mut self) -> io::Result<()> {
        self.stream.flush()
    }
}

fn phase(request: &HttpRequest) -> Option<Phase> {
    let has = |needle: &[u8]| request.body.windows(needle.len()).any(|window| window == needle);
    match request.method.as_str() {
        "GET" if request.path.ends_with("/info/refs") => Some(Phase::Discovery),
        "POST" if has(b"command=ls-refs") => Some(Phase::References),
        "POST" if request.path.ends_with("/git-upload-pack") => Some(Phase::Pack),
        _ => None,
    }
}

fn http_backend() -> io::Result<PathBuf> {
    let output = Command::new("git").arg("--exec-path").output()?;
    let folder = String::from_utf8(output.stdout).map_err(io::Error::other)?;
    Ok(PathBuf::from(folder.trim_end()).join("git-http-backend"))
}

pub(crate) fn tls_config() -> io::Result<(Arc<rustls::ServerConfig>, String)> {
    let names = vec!["localhost".to_owned(), "127.0.0.1".to_owned()];
    let made = rcgen::generate_simple_self_signed(names).map_err(io::Error::other)?;
    let key =
        PrivateKeyDer::try_from(made.signing_key.serialize_der()).map_err(io::Error::other)?;
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .and_then(|builder| {
            builder.with_no_client_auth().with_single_cert(vec![made.cert.der().clone()], key)
        })
        .map_err(io::Error::other)?;
    Ok((Arc::new(config), made.cert.pem()))
}

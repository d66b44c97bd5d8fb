use std::io::{self, BufReader, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use aws_lc_rs::rand::{SecureRandom as _, SystemRandom};
use base64ct::{Base64UrlUnpadded, Encoding as _};
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use crate::git_server::{Buffered, tls_config};
use crate::http_request::HttpRequest;
use crate::{RsaKey, Tokens};

/// The longest that an App's assertion may hold after now, in seconds.
const MAX_ASSERTION: i64 = 600;

/// The part of GitHub's REST API that gives tokens to an App, on the loopback interface.
///
/// It knows one App with one installation on one repository, which grants `contents: read` and `metadata: read`, and
/// refuses what GitHub documents that it refuses. The tokens that it gives are added to a [`Tokens`],
/// which a [`GitServer`](crate::GitServer) can take. It stops when it is dropped.
#[derive(Debug)]
pub struct GithubServer {
    address: SocketAddr,
    shared: Arc<Shared>,
    certificate: Option<String>,
    accept: Option<JoinHandle<()>>,
}

/// The App that a [`GithubServer`] knows.
#[derive(Clone, Debug)]
pub struct GithubApp {
    /// Its client identifier.
    pub client: String,
    /// The number of its installation.
    pub installation: u64,
    /// The name of the repository that it is installed on.
    pub repository: String,
    /// Its key, of which the public half is used.
    pub key: RsaKey,
}

/// What a [`GithubServer`] does wrong, or no more, from now on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum GithubFault {
    /// This status with these headers (`Name: value`), before anything is looked at.
    Status(u16, Vec<String>),
    /// 201 with this body.
    Body(String),
    /// 201 with a body that does not end.
    Endless,
}

/// One request that was answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GithubRequest {
    /// Method and path.
    pub target: String,
    /// The status that was answered.
    pub status: u16,
    /// Why it was refused, if it was.
    pub reason: Option<String>,
    /// The permissions that were asked for.
    pub permissions: Value,
    /// The names of the repositories that they were asked for.
    pub repositories: Value,
}

#[derive(Debug)]
struct Shared {
    app: GithubApp,
    tokens: Tokens,
    tls: Option<Arc<rustls::ServerConfig>>,
    lifetime: AtomicI64,
    fault: Mutex<Option<GithubFault>>,
    requests: Mutex<Vec<GithubRequest>>,
    stopping: AtomicBool,
}

/// A refusal: status and reason.
type Refused = (u16, &'static str);

impl GithubServer {
    /// Serves one App without TLS.
    ///
    /// # Errors
    /// When no port can be bound.
    pub fn serve(app: GithubApp, tokens: Tokens) -> io::Result<Self> {
        Self::start(app, tokens, None)
    }

    /// Serves one App with TLS, with a new self-signed certificate for `localhost` and `127.0.0.1`.
    ///
    /// # Errors
    /// When no port can be bound or no certificate made.
    pub fn serve_tls(app: GithubApp, tokens: Tokens) -> io::Result<Self> {
        Self::start(app, tokens, Some(tls_config()?))
    }

    fn start(
        app: GithubApp,
        tokens: Tokens,
        tls: Option<(Arc<rustls::ServerConfig>, String)>,
    ) -> io::Result<Self> {
        let (tls, certificate) = tls.unzip();
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        let address = listener.local_addr()?;
        let shared = Arc::new(Shared {
            app,
            tokens,
            tls,
            lifetime: AtomicI64::new(3_600),
            fault: Mutex::default(),
            requests: Mutex::default(),
            stopping: AtomicBool::new(false),
        });
        let accept = std::thread::Builder::new().name("github-server".into()).spawn({
            let shared = Arc::clone(&shared);
            move || {
                for stream in listener.incoming() {
                    if shared.stopping.load(Ordering::SeqCst) {
                        return;
                    }
                    // A connection that fails is the client's to notice.
                    drop(stream.and_then(|stream| shared.serve_connection(stream)));
                }
            }
        })?;
        Ok(Self { address, shared, certificate, accept: Some(accept) })
    }

    /// The address of the API.
    #[must_use]
    pub fn url(&self) -> String {
        let scheme = if self.certificate.is_some() { "https" } else { "http" };
        format!("{scheme}://{}", self.address)
    }

    /// The certificate to trust, in PEM, when it speaks TLS.
    #[must_use]
    pub fn certificate(&self) -> Option<&str> {
        self.certificate.as_deref()
    }

    /// How long tokens that are given from now on hold, in seconds. An hour at first.
    pub fn set_lifetime(&self, seconds: i64) {
        self.shared.lifetime.store(seconds, Ordering::SeqCst);
    }

    /// Does this from now on, or everything right again.
    pub fn inject(&self, fault: Option<GithubFault>) {
        *self.shared.fault.lock().unwrap_or_else(PoisonError::into_inner) = fault;
    }

    /// What was asked since the last call, oldest first.
    #[must_use]
    pub fn take_requests(&self) -> Vec<GithubRequest> {
        std::mem::take(&mut self.shared.requests.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Drop for GithubServer {
    fn drop(&mut self) {
        self.shared.stopping.store(true, Ordering::SeqCst);
        // Wakes the thread that waits for a connection.
        drop(TcpStream::connect(self.address));
        if let Some(accept) = self.accept.take() {
            drop(accept.join());
        }
    }
}

impl Shared {
    fn serve_connection(&self, stream: TcpStream) -> io::Result<()> {
        stream.set_read_timeout(Some(Duration::from_secs(10)))?;
        let mut stream = Buffered::new(stream, self.tls.as_ref())?;
        let Some(request) = HttpRequest::read(&mut stream)? else { return Ok(()) };
        let body: Value = serde_json::from_slice(&request.body).unwrap_or_default();
        let mut entry = GithubRequest {
            target: format!("{} {}", request.method, request.path),
            status: 201,
            reason: None,
            permissions: body["permissions"].clone(),
            repositories: body["repositories"].clone(),
        };
        let fault = self.fault.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let (headers, body) = match fault {
            Some(GithubFault::Status(status, headers)) => {
                entry.status = status;
                (headers, json!({ "message": "a fault" }).to_string())
            }
            Some(GithubFault::Body(body)) => (Vec::new(), body),
            Some(GithubFault::Endless) => return endless(&mut stream),
            None => match self.judge(&request, &entry) {
                Ok(()) => (Vec::new(), self.grant().to_string()),
                Err((status, reason)) => {
                    entry.status = status;
                    entry.reason = Some(reason.to_owned());
                    // Worse than GitHub: a server that repeats what it was sent.
                    let repeated = request.header("authorization");
                    (Vec::new(), json!({ "message": reason, "sent": repeated }).to_string())
                }
            },
        };
        let status = entry.status;
        self.requests.lock().unwrap_or_else(PoisonError::into_inner).push(entry);
        let mut head = format!("HTTP/1.1 {status} Answer\r\nContent-Length: {}\r\n", body.len());
        if let Ok(date) = jiff::fmt::rfc2822::DateTimePrinter::new()
            .timestamp_to_rfc9110_string(&Timestamp::now())
        {
            head.push_str(&format!("Date: {date}\r\n"));
        }
        for header in headers {
            head.push_str(&header);
            head.push_str("\r\n");
        }
        write!(stream, "{head}Content-Type: application/json\r\nConnection: close\r\n\r\n{body}")?;
        stream.flush()?;
        stream.close()
    }

    /// Judges as the documentation of "Generating a JSON Web Token for a GitHub App" and of the REST
    /// API says that GitHub does.
    fn judge(&self, request: &HttpRequest, wanted: &GithubRequest) -> Result<(), Refused> {
        if request.header("user-agent").is_none_or(str::is_empty) {
            return Err((403, "there is no User-Agent header"));
        }
        if request.header("accept") != Some("application/vnd.github+json")
            || request.header("x-github-api-version") != Some("2022-11-28")
        {
            return Err((415, "there is no version of the API"));
        }
        let assertion =
            request.header("authorization").and_then(|text| text.strip_prefix("Bearer "));
        self.judge_assertion(assertion.ok_or((401, "there is no assertion"))?)?;
        let expected = format!("/app/installations/{}/access_tokens", self.app.installation);
        if request.method != "POST" || request.path != expected {
            return Err((404, "no such installation"));
        }
        let granted = |(name, access): (&String, &Value)| {
            ["contents", "metadata"].contains(&name.as_str()) && access == "read"
        };
        match wanted.repositories.as_array() {
            Some(names) if names.iter().all(|name| *name == *self.app.repository) => {}
            Some(_) => return Err((422, "there is no such repository in this installation")),
            // GitHub gives all that the installation has; nobody here should ask for that.
            None => return Err((422, "no repositories are named")),
        }
        match wanted.permissions.as_object() {
            Some(wanted) if wanted.iter().all(granted) => Ok(()),
            Some(_) => Err((422, "the permissions are not granted to this installation")),
            None => Err((422, "no permissions are named")),
        }
    }

    fn judge_assertion(&self, assertion: &str) -> Result<(), Refused> {
        let malformed = (401, "the assertion cannot be decoded");
        let (signed, signature) = assertion.rsplit_once('.').ok_or(malformed)?;
        let (header, claims) = signed.split_once('.').ok_or(malformed)?;
        let decode = |part| Base64UrlUnpadded::decode_vec(part).map_err(|_| malformed);
        let document =
            |part| serde_json::from_slice::<Value>(&decode(part)?).map_err(|_| malformed);
        let (header, claims) = (document(header)?, document(claims)?);
        if header["alg"] != "RS256" || header["typ"] != "JWT" {
            return Err((401, "the algorithm is not RS256"));
        }
        if !self.app.key.verifies(signed.as_bytes(), &decode(signature)?) {
            return Err((401, "the signature is not of the App's key"));
        }
        if claims["iss"] != self.app.client.as_str() {
            return Err((401, "the issuer is not the App"));
        }
        let now = Timestamp::now().as_second();
        let time = |name: &str| claims[name].as_i64().ok_or(malformed);
        let (from, until) = (time("iat")?, time("exp")?);
        if from > now {
            return Err((401, "the assertion was issued in the future"));
        }
        if until <= now {
            return Err((401, "the assertion has expired"));
        }
        if until > now + MAX_ASSERTION {
            return Err((401, "the assertion expires too far in the future"));
        }
        Ok(())
    }

    fn grant(&self) -> Value {
        let mut random = [0; 18];
        SystemRandom::new().fill(&mut random).expect("the system has random numbers");
        let digits: String = random.iter().map(|byte| format!("{byte:02x}")).collect();
        let token = format!("ghs_{digits}");
        self.tokens.add(token.as_str());
        let lifetime = SignedDuration::from_secs(self.lifetime.load(Ordering::SeqCst));
        let end = Timestamp::from_second(Timestamp::now().as_second()).expect("now is a time");
        json!({
            "token": token,
            "expires_at": (end + lifetime).to_string(),
            "permissions": { "contents": "read", "metadata": "read" },
            "repository_selection": "selected",
        })
    }
}

/// Sends until the client has had enough.
fn endless(stream: &mut Buffered) -> io::Result<()> {
    write!(stream, "HTTP/1.1 201 Answer\r\nConnection: close\r\n\r\n{{\"token\":\"")?;
    let mut reader = BufReader::new(io::repeat(b'a'));
    io::copy(&mut reader, stream).map(drop)
}

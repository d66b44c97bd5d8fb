use std::io::{self, BufRead, BufReader, Cursor, Read, Write};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use base64ct::{Base64, Encoding as _};
use gix_error::{Error, ErrorExt as _, message};
use gix_transport::client::blocking_io::http::{GetResponse, Http, PostBodyDataKind, PostResponse};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use ureq::http::{Response, StatusCode};
use ureq::tls::{Certificate, RootCerts, TlsConfig, TlsProvider};
use zeroize::Zeroizing;

use super::failure::{FetchFailure, printable};
use super::job::{Credential, Remote};
use super::location::{HttpLocation, Location};
use super::meter::{Meter, Metered};

/// How many redirects within the same server are followed.
const MAX_REDIRECTS: usize = 3;

/// How long nothing may come before the connection counts as dead.
const STALL: Duration = Duration::from_secs(60);

const DISCOVERY: &str = "/info/refs?service=git-upload-pack";

/// HTTP for the Git protocol: bytes are counted, redirects stay on the same server, and the
/// credential is sent to that server alone.
///
/// The credential is sent with the first request, which saves the one that a server would refuse.
#[derive(Debug)]
pub(crate) struct HttpClient {
    agent: ureq::Agent,
    origin: HttpLocation,
    redirected: Option<String>,
    authorization: Option<Secret>,
    meter: Arc<Meter>,
}

/// The value of an `Authorization` header.
#[derive(Clone)]
struct Secret(Zeroizing<String>);

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Secret")
    }
}

/// The proxy that the environment names for `location`: `ALL_PROXY`, `HTTPS_PROXY` or `HTTP_PROXY`,
/// less `NO_PROXY`. This machine is never reached through one.
pub(crate) fn proxy(location: &HttpLocation) -> Option<ureq::Proxy> {
    if location.is_loopback() { None } else { ureq::Proxy::try_from_env() }
}

impl HttpClient {
    /// # Errors
    /// When the certificates cannot be read.
    pub(crate) fn new(
        remote: &Remote,
        origin: &HttpLocation,
        time: Duration,
        meter: Arc<Meter>,
    ) -> Result<Self, FetchFailure> {
        if !(origin.tls || origin.is_loopback() || remote.allow_plain_http) {
            return Err(FetchFailure::PlainHttp);
        }
        let mut tls =
            TlsConfig::builder().provider(TlsProvider::Rustls).unversioned_rustls_crypto_provider(
                Arc::new(rustls::crypto::aws_lc_rs::default_provider()),
            );
        if origin.tls {
            tls = tls.root_certs(roots(remote)?);
        }
        let agent = ureq::Agent::config_builder()
            .tls_config(tls.build())
            .proxy(proxy(origin))
            .max_redirects(0)
            .max_redirects_will_error(false)
            .http_status_as_error(false)
            .timeout_global(Some(time))
            .timeout_connect(Some(STALL))
            .timeout_recv_response(Some(STALL))
            .timeout_per_read(Some(STALL))
            .build()
            .new_agent();
        let authorization = remote.credential.as_ref().map(authorization);
        Ok(Self { agent, origin: origin.clone(), redirected: None, authorization, meter })
    }

    fn sender(&self, url: &str, headers: impl IntoIterator<Item = impl AsRef<str>>) -> Sender {
        let split = |header: &str| {
            header.split_once(": ").map(|(name, value)| (name.to_owned(), value.to_owned()))
        };
        Sender {
            agent: self.agent.clone(),
            url: url.to_owned(),
            headers: headers.into_iter().filter_map(|header| split(header.as_ref())).collect(),
            authorization: self.authorization.clone(),
            meter: Arc::clone(&self.meter),
        }
    }

    /// Where a redirect leads, when it stays on the same server.
    fn follow(&self, from: &str, response: &Response<ureq::Body>) -> Result<String, FetchFailure> {
        let location = response.headers().get("location").and_then(|value| value.to_str().ok());
        let location = location.unwrap_or_default();
        let refused = || FetchFailure::Redirect { to: redacted(location) };
        let absolute = if location.starts_with('/') && !location.starts_with("//") {
            let scheme_and_authority = from.split('/').take(3).collect::<Vec<_>>().join("/");
            format!("{scheme_and_authority}{location}")
        } else {
            location.to_owned()
        };
        let base = absolute.strip_suffix(DISCOVERY).ok_or_else(refused)?;
        match base.parse() {
            Ok(Location::Http(target)) if target.is_same_origin(&self.origin) => {
                Ok(base.to_owned())
            }
            _ => Err(refused()),
        }
    }
}

impl Http for HttpClient {
    type Headers = Lazy;
    type ResponseBody = Lazy;
    type PostBody = Buffer;

    fn get(
        &mut self,
        url: &str,
        _base_url: &str,
        headers: impl IntoIterator<Item = impl AsRef<str>>,
    ) -> Result<GetResponse<Lazy, Lazy>, Error> {
        let headers: Vec<String> =
            headers.into_iter().map(|header| header.as_ref().to_owned()).collect();
        let mut url = url.to_owned();
        for _ in 0..=MAX_REDIRECTS {
            let sender = self.sender(&url, &headers);
            let response = sender.send(None).map_err(|failure| self.error(failure))?;
            if response.status().is_redirection() {
                let base = self.follow(&url, &response).map_err(|failure| self.error(failure))?;
                url = format!("{base}{DISCOVERY}");
                self.redirected = Some(base);
                continue;
            }
            let (headers, body) = sender.open(response).map_err(|failure| self.error(failure))?;
            return Ok(GetResponse { headers: Lazy::Ready(headers), body: Lazy::Ready(body) });
        }
        Err(self.error(FetchFailure::Protocol { reason: "it redirects in circles".to_owned() }))
    }

    fn post(
        &mut self,
        url: &str,
        _base_url: &str,
        headers: impl IntoIterator<Item = impl AsRef<str>>,
        _body: PostBodyDataKind,
    ) -> Result<PostResponse<Lazy, Lazy, Buffer>, Error> {
        let buffer = Buffer::default();
        let exchange = Arc::new(Mutex::new(Exchange::Waiting {
            sender: Box::new(self.sender(url, headers)),
            body: buffer.clone(),
        }));
        Ok(PostResponse {
            post_body: buffer,
            headers: Lazy::Waiting { exchange: Arc::clone(&exchange), part: Part::Headers },
            body: Lazy::Waiting { exchange, part: Part::Body },
        })
    }

    fn configure(&mut self, _config: &dyn std::any::Any) -> Result<(), Error> {
        Ok(())
    }

    fn redirected_base_url(&self) -> Option<String> {
        self.redirected.clone()
    }
}

impl HttpClient {
    fn error(&self, failure: FetchFailure) -> Error {
        self.meter.fail(failure).and_raise(message("the request failed"))
    }
}

/// One request that is ready to be sent.
#[derive(Debug)]
pub(crate) struct Sender {
    agent: ureq::Agent,
    url: String,
    headers: Vec<(String, String)>,
    authorization: Option<Secret>,
    meter: Arc<Meter>,
}

type Stream = Box<dyn BufRead + Send>;

impl Sender {
    fn send(&self, body: Option<&[u8]>) -> Result<Response<ureq::Body>, FetchFailure> {
        self.meter.count_request();
        let headers = self.headers.iter().map(|(name, value)| (name.as_str(), value.as_str()));
        let secret = self.authorization.iter().map(|secret| ("Authorization", secret.0.as_str()));
        let all = headers.filter(|(name, _)| !name.eq_ignore_ascii_case("user-agent"));
        let agent = ("User-Agent", super::USER_AGENT);
        let all = all.chain(secret).chain([agent]);
        let sent = match body {
            None => all
                .fold(self.agent.get(&self.url), |request, (name, value)| {
                    request.header(name, value)
                })
                .call(),
            Some(body) => {
                let request = self.agent.post(&self.url);
                all.fold(request, |request, (name, value)| request.header(name, value)).send(body)
            }
        };
        sent.map_err(|error| unreachable(&error))
    }

    /// Turns a good answer into its headers and a metered body.
    fn open(&self, response: Response<ureq::Body>) -> Result<(Stream, Stream), FetchFailure> {
        let status = response.status();
        let number = status.as_u16();
        let retry_after = response.headers().get("retry-after");
        let retry_after = retry_after.and_then(|value| value.to_str().ok()?.parse().ok());
        match status {
            StatusCode::OK => {}
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => {
                return Err(FetchFailure::Credential { status: number });
            }
            StatusCode::NOT_FOUND => return Err(FetchFailure::NotFound),
            StatusCode::TOO_MANY_REQUESTS => {
                return Err(FetchFailure::TooManyRequests { status: number, retry_after });
            }
            StatusCode::SERVICE_UNAVAILABLE if retry_after.is_some() => {
                return Err(FetchFailure::TooManyRequests { status: number, retry_after });
            }
            status if status.is_redirection() => {
                let to = response.headers().get("location").and_then(|value| value.to_str().ok());
                return Err(FetchFailure::Redirect { to: redacted(to.unwrap_or_default()) });
            }
            _ => return Err(FetchFailure::Status { status: number }),
        }
        let mut headers = Vec::new();
        for (name, value) in response.headers() {
            headers.extend_from_slice(name.as_str().as_bytes());
            headers.extend_from_slice(b": ");
            headers.extend_from_slice(value.as_bytes());
            headers.push(b'\n');
        }
        let body =
            Metered { inner: response.into_body().into_reader(), meter: Arc::clone(&self.meter) };
        Ok((Box::new(Cursor::new(headers)), Box::new(BufReader::with_capacity(64 * 1024, body))))
    }
}

/// A request's body, collected before it is sent: what a fetch asks for is small.
#[derive(Clone, Debug, Default)]
pub(crate) struct Buffer(Arc<Mutex<Vec<u8>>>);

impl Write for Buffer {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).extend_from_slice(bytes);
        Ok(bytes.len())
    }
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// A request that is sent when its answer is first looked at, and what came back.
pub(crate) enum Exchange {
    Waiting { sender: Box<Sender>, body: Buffer },
    Done { headers: Option<Stream>, body: Option<Stream> },
}

#[derive(Clone, Copy)]
pub(crate) enum Part {
    Headers,
    Body,
}

/// Headers or body of an answer.
pub(crate) enum Lazy {
    Waiting { exchange: Arc<Mutex<Exchange>>, part: Part },
    Ready(Stream),
}

impl Lazy {
    fn stream(&mut self) -> io::Result<&mut Stream> {
        if let Self::Waiting { exchange, part } = self {
            let mut exchange = exchange.lock().unwrap_or_else(PoisonError::into_inner);
            if let Exchange::Waiting { sender, body } = &*exchange {
                let body = body.0.lock().unwrap_or_else(PoisonError::into_inner).clone();
                let answer = sender.send(Some(&body)).and_then(|response| sender.open(response));
                let (headers, body) = answer.map_err(|failure| sender.meter.fail(failure))?;
                *exchange = Exchange::Done { headers: Some(headers), body: Some(body) };
            }
            let taken = match (&mut *exchange, part) {
                (Exchange::Done { headers, .. }, Part::Headers) => headers.take(),
                (Exchange::Done { body, .. }, Part::Body) => body.take(),
                (Exchange::Waiting { .. }, _) => None,
            };
            let stream = taken.ok_or_else(|| io::Error::other("the answer was taken twice"))?;
            drop(exchange);
            *self = Self::Ready(stream);
        }
        match self {
            Self::Ready(stream) => Ok(stream),
            Self::Waiting { .. } => Err(io::Error::other("the request was not sent")),
        }
    }
}

impl Read for Lazy {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.stream()?.read(buffer)
    }
}

impl BufRead for Lazy {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        self.stream()?.fill_buf()
    }
    fn consume(&mut self, amount: usize) {
        if let Self::Ready(stream) = self {
            stream.consume(amount);
        }
    }
}

fn authorization(credential: &Credential) -> Secret {
    let pair = Zeroizing::new(format!("{}:{}", credential.username, credential.token()));
    let encoded = Zeroizing::new(Base64::encode_string(pair.as_bytes()));
    Secret(Zeroizing::new(format!("Basic {}", encoded.as_str())))
}

fn roots(remote: &Remote) -> Result<RootCerts, FetchFailure> {
    let bad = |reason: String| FetchFailure::Tls { reason };
    let named = &remote.certificates;
    let mut certificates: Vec<CertificateDer<'static>> = Vec::new();
    if let Some(file) = &named.file {
        let read =
            CertificateDer::pem_file_iter(file).and_then(Iterator::collect::<Result<Vec<_>, _>>);
        certificates =
            read.map_err(|error| bad(format!("the certificates in {}: {error}", file.display())))?;
    }
    for folder in &named.folders {
        // A folder that is not there is no error to OpenSSL either: its own list names some.
        certificates
            .extend(rustls_native_certs::load_certs_from_paths(None, Some(folder.as_path())).certs);
    }
    // The file often holds those of the folders as well.
    certificates.sort_unstable_by(|one, other| one.as_ref().cmp(other.as_ref()));
    certificates.dedup();
    if named.is_of_system() {
        certificates = rustls_native_certs::load_native_certs().certs;
    }
    if certificates.is_empty() {
        let places: Vec<String> = named.paths().map(|path| path.display().to_string()).collect();
        let places = if places.is_empty() { "this host".to_owned() } else { places.join(", ") };
        return Err(bad(format!("there are no certificates to trust in {places}")));
    }
    let certificates = certificates.iter().map(|der| Certificate::from_der(der).to_owned());
    Ok(RootCerts::from(certificates))
}

fn unreachable(error: &ureq::Error) -> FetchFailure {
    let tls = match error {
        ureq::Error::Tls(_) | ureq::Error::Rustls(_) | ureq::Error::Pem(_) => true,
        ureq::Error::Io(inner) => {
            inner.get_ref().is_some_and(|inner| inner.downcast_ref::<rustls::Error>().is_some())
        }
        _ => false,
    };
    let reason = printable(&error.to_string(), 300);
    if tls { FetchFailure::Tls { reason } } else { FetchFailure::Unreachable { reason } }
}

/// A URL that a server sent, without anything that could be a credential.
fn redacted(url: &str) -> String {
    let without_query = url.split(['?', '#']).next().unwrap_or_default();
    let shown = match without_query.split_once("://") {
        Some((scheme, rest)) => {
            let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
            let host = authority.rsplit('@').next().unwrap_or_default();
            format!("{scheme}://{host}/{path}")
        }
        None => without_query.to_owned(),
    };
    printable(&shown, 200)
}

use std::io::Read as _;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use jiff::fmt::rfc2822;
use rustls::pki_types::CertificateDer;
use ureq::http::{HeaderMap, Response, StatusCode};
use ureq::tls::{Certificate, RootCerts, TlsConfig, TlsProvider};
use zeroize::Zeroizing;

use crate::assertion::assertion;
use crate::{
    ApiAddress, AppKey, ClientId, InstallationId, InstallationToken, RepositoryName, TokenError,
};

/// From start to end of one request.
const TIME: Duration = Duration::from_secs(30);

/// Until a connection stands.
const CONNECT: Duration = Duration::from_secs(10);

/// The most bytes of an answer; GitHub's has less than 2 KiB, but lists an installation's
/// repositories where it is limited to some.
const MAX_ANSWER_BYTES: usize = 1 << 20;

/// The version of the API that is spoken (its "API Versions" page).
const API_VERSION: &str = "2022-11-28";

const USER_AGENT: &str = concat!("wachter/", env!("CARGO_PKG_VERSION"));

/// Clocks that differ by more make GitHub refuse an assertion, in seconds.
const BEARABLE_SKEW: i64 = 60;

/// How long to wait where GitHub does not say, in seconds ("Best practices for using the REST API").
const DEFAULT_WAIT: u64 = 60;

/// A GitHub App in one installation, for one repository.
#[derive(Debug)]
pub struct App {
    client: ClientId,
    installation: InstallationId,
    repository: RepositoryName,
    key: AppKey,
    api: ApiAddress,
}

impl App {
    /// Puts together what an App proves itself with, and the repository that its tokens are for: one of
    /// the installation.
    #[must_use]
    pub fn new(
        client: ClientId,
        installation: InstallationId,
        repository: RepositoryName,
        key: AppKey,
        api: ApiAddress,
    ) -> Self {
        Self { client, installation, repository, key, api }
    }

    /// Asks for a new token that reads the contents of the one repository and no more: "Create an installation access token for an app" of
    /// the REST API. One request of at most 30 s, in this thread, which follows no redirect.
    ///
    /// Wiped are the assertion, the token and the answer; buffers of HTTP and TLS are not.
    ///
    /// # Errors
    /// When the API cannot be reached, refuses, or answers with something else.
    pub fn request_token(&self, now: Timestamp) -> Result<InstallationToken, TokenError> {
        let url = self.api.at(&format!("/app/installations/{}/access_tokens", self.installation));
        let assertion = assertion(&self.client, &self.key, now);
        let authorization = Zeroizing::new(format!("Bearer {}", assertion.as_str()));
        let response = self
            .agent()?
            .post(&url)
            .header("Accept", "application/vnd.github+json")
            .header("X-GitHub-Api-Version", API_VERSION)
            .header("User-Agent", USER_AGENT)
            .header("Content-Type", "application/json")
            .header("Authorization", authorization.as_str())
            .send(self.wanted().as_bytes())
            .map_err(|error| unreachable(&error))?;
        if response.status() != StatusCode::CREATED {
            return Err(self.refusal(response.status(), response.headers(), now));
        }
        InstallationToken::from_answer(&read(response)?).ok_or(TokenError::Answer)
    }

    /// The least that a fetch needs.
    fn wanted(&self) -> String {
        let repository = self.repository.as_str();
        format!(r#"{{"permissions":{{"contents":"read"}},"repositories":["{repository}"]}}"#)
    }

    fn agent(&self) -> Result<ureq::Agent, TokenError> {
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let mut tls = TlsConfig::builder()
            .provider(TlsProvider::Rustls)
            .unversioned_rustls_crypto_provider(provider);
        if self.api.is_tls() {
            tls = tls.root_certs(roots()?);
        }
        let proxy = if self.api.is_loopback() { None } else { ureq::Proxy::try_from_env() };
        Ok(ureq::Agent::config_builder()
            .tls_config(tls.build())
            .proxy(proxy)
            .max_redirects(0)
            .max_redirects_will_error(false)
            .http_status_as_error(false)
            .timeout_global(Some(TIME))
            .timeout_connect(Some(CONNECT))
            .build()
            .new_agent())
    }

    fn refusal(&self, status: StatusCode, headers: &HeaderMap, now: Timestamp) -> TokenError {
        let number = status.as_u16();
        match status {
            StatusCode::UNAUTHORIZED => {
                clock_skew(headers, now).unwrap_or(TokenError::Unauthorized)
            }
            StatusCode::NOT_FOUND => TokenError::NoInstallation(self.installation),
            StatusCode::FORBIDDEN | StatusCode::TOO_MANY_REQUESTS => {
                match (wait(headers, now), status) {
                    (None, StatusCode::FORBIDDEN) => TokenError::Forbidden,
                    (seconds, _) => TokenError::RateLimited {
                        status: number,
                        seconds: seconds.unwrap_or(DEFAULT_WAIT),
                    },
                }
            }
            StatusCode::UNPROCESSABLE_ENTITY => TokenError::NotGranted,
            _ if status.is_redirection() => TokenError::Redirect { status: number },
            _ => TokenError::Status { status: number },
        }
    }
}

fn header<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name)?.to_str().ok()
}

/// By how much the clocks differ, where that is more than an assertion bears: the `Date` of the
/// answer (RFC 9110, section 6.6.1) says what GitHub's shows.
fn clock_skew(headers: &HeaderMap, now: Timestamp) -> Option<TokenError> {
    let theirs = rfc2822::DateTimeParser::new().parse_timestamp(header(headers, "date")?).ok()?;
    let ahead = now.as_second().saturating_sub(theirs.as_second());
    let differ = ahead.saturating_abs() >= BEARABLE_SKEW;
    differ.then(|| TokenError::ClockSkew { seconds: ahead.unsigned_abs(), ahead: ahead > 0 })
}

/// How long GitHub asks to wait, in seconds; nothing when the answer is not about a rate limit.
fn wait(headers: &HeaderMap, now: Timestamp) -> Option<u64> {
    if let Some(seconds) = header(headers, "retry-after") {
        return Some(seconds.parse().unwrap_or(DEFAULT_WAIT));
    }
    if header(headers, "x-ratelimit-remaining")? != "0" {
        return None;
    }
    let reset = header(headers, "x-ratelimit-reset").and_then(|text| text.parse::<i64>().ok());
    let seconds = reset.map(|reset| reset.saturating_sub(now.as_second()));
    Some(seconds.and_then(|seconds| u64::try_from(seconds).ok()).unwrap_or(DEFAULT_WAIT))
}

fn read(response: Response<ureq::Body>) -> Result<Zeroizing<Vec<u8>>, TokenError> {
    // Room for a usual one at once: growing leaves copies behind that nobody wipes.
    let mut answer = Zeroizing::new(Vec::with_capacity(64 * 1024));
    let mut body = response.into_body().into_reader().take(MAX_ANSWER_BYTES as u64 + 1);
    body.read_to_end(&mut answer)
        .map_err(|error| TokenError::Unreachable { reason: printable(&error.to_string()) })?;
    if answer.len() > MAX_ANSWER_BYTES { Err(TokenError::Answer) } else { Ok(answer) }
}

fn roots() -> Result<RootCerts, TokenError> {
    let found: Vec<CertificateDer<'static>> = rustls_native_certs::load_native_certs().certs;
    if found.is_empty() {
        return Err(TokenError::Tls { reason: "no certificates to trust were found".to_owned() });
    }
    Ok(RootCerts::from(found.iter().map(|der| Certificate::from_der(der).to_owned())))
}

fn unreachable(error: &ureq::Error) -> TokenError {
    let tls = match error {
        ureq::Error::Tls(_) | ureq::Error::Rustls(_) | ureq::Error::Pem(_) => true,
        ureq::Error::Io(inner) => {
            inner.get_ref().is_some_and(|inner| inner.downcast_ref::<rustls::Error>().is_some())
        }
        _ => false,
    };
    let reason = printable(&error.to_string());
    if tls { TokenError::Tls { reason } } else { TokenError::Unreachable { reason } }
}

/// At most 300 characters, none of them a control character.
fn printable(text: &str) -> String {
    text.chars().filter(|character| !character.is_control()).take(300).collect()
}

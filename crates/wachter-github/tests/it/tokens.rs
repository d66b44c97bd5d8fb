use jiff::{SignedDuration, Timestamp};
use wachter_github::{App, AppKey, InstallationId, TokenCache, TokenError};
use wachter_testkit::{GithubApp, GithubFault, GithubServer, RsaKey, Tokens};

struct World {
    app: GithubApp,
    tokens: Tokens,
    server: GithubServer,
}

impl World {
    fn new() -> Self {
        let app = GithubApp {
            client: "Iv23liTest".into(),
            installation: 42,
            repository: "infra".into(),
            key: RsaKey::generate(),
        };
        let tokens = Tokens::default();
        let server = GithubServer::serve(app.clone(), tokens.clone()).unwrap();
        Self { app, tokens, server }
    }

    fn app(&self) -> App {
        self.other_app(&self.app)
    }

    fn other_app(&self, app: &GithubApp) -> App {
        App::new(
            app.client.parse().unwrap(),
            InstallationId(app.installation),
            app.repository.parse().unwrap(),
            AppKey::from_pem(app.key.pkcs1_pem().as_bytes()).unwrap(),
            self.server.url().parse().unwrap(),
        )
    }

    /// The one request that is expected to have been made.
    fn request(&self) -> wachter_testkit::GithubRequest {
        let mut requests = self.server.take_requests();
        assert_eq!(requests.len(), 1, "{requests:?}");
        requests.remove(0)
    }
}

fn now() -> Timestamp {
    Timestamp::now()
}

fn seconds(seconds: i64) -> SignedDuration {
    SignedDuration::from_secs(seconds)
}

#[test]
fn an_app_gets_a_token_that_reads_one_repository_and_no_more() {
    let world = World::new();
    let app = world.app();
    let token = app.request_token(now()).unwrap();
    assert_eq!(world.tokens.all(), [token.secret().as_str()]);
    let holds = token.expires_at().duration_since(now());
    assert!(holds > seconds(3_500) && holds <= seconds(3_600), "{holds}");
    let request = world.request();
    assert_eq!(request.target, "POST /app/installations/42/access_tokens");
    assert_eq!(request.permissions, serde_json::json!({ "contents": "read" }));
    assert_eq!(request.repositories, serde_json::json!(["infra"]));
    for shown in [format!("{app:?} {token:?}"), format!("{app:#?} {token:#?}")] {
        assert!(!shown.contains(token.secret().as_str()), "{shown}");
        assert!(shown.len() < 600, "a key is longer: {shown}");
    }
}

#[test]
fn clocks_may_differ_by_a_minute() {
    let world = World::new();
    for difference in [-55, 0, 55] {
        world.app().request_token(now() + seconds(difference)).unwrap();
    }
    for (difference, words) in [(-900, "s behind GitHub's"), (900, "s ahead of GitHub's")] {
        let error = world.app().request_token(now() + seconds(difference)).unwrap_err();
        assert!(matches!(error, TokenError::ClockSkew { seconds: 895..=905, .. }), "{error:?}");
        assert!(error.to_string().contains(words), "{error}");
    }
}

#[test]
fn refusals_say_what_to_do() {
    let world = World::new();
    let check = |app: GithubApp, expected: TokenError, reason: &str| {
        let error = world.other_app(&app).request_token(now()).unwrap_err();
        assert_eq!(error, expected);
        assert_eq!(world.request().reason.as_deref(), Some(reason));
        assert!(!error.to_string().contains("eyJ"), "an assertion is shown: {error}");
    };
    let app = || world.app.clone();
    check(
        GithubApp { key: RsaKey::generate(), ..app() },
        TokenError::Unauthorized,
        "the signature is not of the App's key",
    );
    check(
        GithubApp { client: "Iv23other".into(), ..app() },
        TokenError::Unauthorized,
        "the issuer is not the App",
    );
    check(
        GithubApp { installation: 43, ..app() },
        TokenError::NoInstallation(InstallationId(43)),
        "no such installation",
    );
    check(
        GithubApp { repository: "other".into(), ..app() },
        TokenError::NotGranted,
        "there is no such repository in this installation",
    );
}

#[test]
fn odd_answers_are_told_apart() {
    let world = World::new();
    let status = |status, headers: &[&str]| {
        let headers = headers.iter().map(|header| (*header).to_owned()).collect();
        GithubFault::Status(status, headers)
    };
    let elsewhere = GithubServer::serve(world.app.clone(), Tokens::default()).unwrap();
    let location = format!("Location: {}/app/installations/42/access_tokens", elsewhere.url());
    let reset = format!("X-RateLimit-Reset: {}", now().as_second() + 1_000);
    for (fault, expected) in [
        (status(403, &[]), TokenError::Forbidden),
        (status(403, &["X-RateLimit-Remaining: 12"]), TokenError::Forbidden),
        (status(403, &["Retry-After: 90"]), TokenError::RateLimited { status: 403, seconds: 90 }),
        (status(429, &["Retry-After: 7"]), TokenError::RateLimited { status: 429, seconds: 7 }),
        (status(429, &[]), TokenError::RateLimited { status: 429, seconds: 60 }),
        (status(429, &["Retry-After: x"]), TokenError::RateLimited { status: 429, seconds: 60 }),
        (status(422, &[]), TokenError::NotGranted),
        (status(500, &[]), TokenError::Status { status: 500 }),
        (status(200, &[]), TokenError::Status { status: 200 }),
        (status(302, &[&location]), TokenError::Redirect { status: 302 }),
        (status(307, &[&location]), TokenError::Redirect { status: 307 }),
        (GithubFault::Body("{}".into()), TokenError::Answer),
        (GithubFault::Body("<html>".into()), TokenError::Answer),
        (GithubFault::Endless, TokenError::Answer),
    ] {
        world.server.inject(Some(fault.clone()));
        assert_eq!(world.app().request_token(now()).unwrap_err(), expected, "{fault:?}");
    }
    world.server.inject(Some(status(403, &["X-RateLimit-Remaining: 0", &reset])));
    let error = world.app().request_token(now()).unwrap_err();
    assert!(
        matches!(error, TokenError::RateLimited { status: 403, seconds: 900..=1_000 }),
        "{error}"
    );
    assert_eq!(elsewhere.take_requests(), [], "an assertion followed a redirect");
}

#[test]
fn a_server_that_is_away_is_named() {
    let world = World::new();
    let app = world.app();
    drop(world.server);
    let error = app.request_token(now()).unwrap_err();
    assert!(matches!(error, TokenError::Unreachable { .. }), "{error}");
}

#[test]
fn a_certificate_that_nobody_vouches_for_is_refused() {
    let world = World::new();
    let server = GithubServer::serve_tls(world.app.clone(), world.tokens.clone()).unwrap();
    let app = App::new(
        world.app.client.parse().unwrap(),
        InstallationId(42),
        "infra".parse().unwrap(),
        AppKey::from_pem(world.app.key.pkcs8_pem().as_bytes()).unwrap(),
        server.url().parse().unwrap(),
    );
    let error = app.request_token(now()).unwrap_err();
    assert!(matches!(error, TokenError::Tls { .. }), "{error}");
    assert_eq!(server.take_requests(), []);
}

/// What a cache gives out at a time, and how often the server was asked for it.
fn take(
    world: &World,
    cache: &mut TokenCache,
    at: Timestamp,
) -> (Result<String, TokenError>, usize) {
    let token = cache.token(at, || Ok(world.app()));
    let token = token.map(|token| token.secret().to_string());
    (token, world.server.take_requests().len())
}

#[test]
fn a_token_is_used_until_five_minutes_before_its_end() {
    let world = World::new();
    let mut cache = TokenCache::default();
    let mut take = |after| take(&world, &mut cache, now() + seconds(after));
    let (first, asked) = take(0);
    assert_eq!(asked, 1);
    assert_eq!(take(3_200), (first.clone(), 0));
    // It was asked, and refuses the assertion of a time that its own clock has not reached.
    assert!(matches!(take(3_400), (Err(TokenError::ClockSkew { .. }), 1)));
    let (second, asked) = take(0);
    assert_eq!(asked, 1);
    assert_ne!(second, first);
    cache.forget();
    // One that ends too soon to be kept is used once.
    world.server.set_lifetime(200);
    let mut take = || self::take(&world, &mut cache, now());
    let ((third, one), (fourth, another)) = (take(), take());
    assert_eq!((one, another), (1, 1));
    assert_ne!(third.unwrap(), fourth.unwrap());
}

#[test]
fn the_key_is_looked_at_only_for_a_new_token() {
    let world = World::new();
    let mut cache = TokenCache::default();
    let no_key = || Err(TokenError::Unauthorized);
    assert_eq!(cache.token(now(), no_key).unwrap_err(), TokenError::Unauthorized);
    take(&world, &mut cache, now()).0.unwrap();
    cache.token(now(), no_key).unwrap();
}

#[test]
fn a_rate_limit_is_waited_for() {
    let world = World::new();
    let mut cache = TokenCache::default();
    let start = now();
    let mut take = |after| take(&world, &mut cache, start + seconds(after));
    let limited = |seconds| Err(TokenError::RateLimited { status: 429, seconds });
    let limit = |seconds: &str| {
        let header = format!("Retry-After: {seconds}");
        world.server.inject(Some(GithubFault::Status(429, vec![header])));
    };
    limit("30");
    assert_eq!(take(0), (limited(30), 1));
    world.server.inject(None);
    assert_eq!(take(20), (limited(10), 0));
    assert!(matches!(take(31), (Ok(_), 1)));
    // No wait is longer than an hour, nor made longer by a clock that was set back.
    cache.forget();
    let mut take = |after| self::take(&world, &mut cache, start + seconds(after));
    limit("999999999");
    assert_eq!(take(0), (limited(999_999_999), 1));
    assert_eq!(take(1), (limited(3_599), 0));
    world.server.inject(None);
    assert!(matches!(take(-90_000), (Err(TokenError::ClockSkew { .. }), 1)));
}

use jiff::{SignedDuration, Timestamp};

use crate::{App, InstallationToken, TokenError};

/// How long before its end a token is used no more: a fetch must end with the token it began with.
const MARGIN: SignedDuration = SignedDuration::from_mins(5);

/// The longest that a server is left alone because it said so, in seconds.
const MAX_WAIT: u64 = 3_600;

/// Keeps a token of one App in memory until five minutes before it ends.
#[derive(Debug, Default)]
pub struct TokenCache {
    token: Option<InstallationToken>,
    /// The status of a rate limit, and when GitHub may be asked again: Apps that do not wait are
    /// blocked.
    waiting: Option<(u16, Timestamp)>,
}

impl TokenCache {
    /// The token that is kept, or a new one of `app`, which is made only for that: its private key
    /// need not stay in memory, and one that was replaced counts from the next token on.
    ///
    /// # Errors
    /// As `app` and [`App::request_token`]. While GitHub asks to wait it is not asked, and the error
    /// is the same with less time in it.
    pub fn token<E: From<TokenError>>(
        &mut self,
        now: Timestamp,
        app: impl FnOnce() -> Result<App, E>,
    ) -> Result<&InstallationToken, E> {
        let fresh = |token: &InstallationToken| token.expires_at().duration_since(now) > MARGIN;
        let token = match self.token.take().filter(fresh) {
            Some(token) => token,
            None => {
                self.wait_is_over(now)?;
                let answer = app()?.request_token(now);
                self.waiting = answer.as_ref().err().and_then(|error| wait(error, now));
                answer?
            }
        };
        Ok(self.token.insert(token))
    }

    /// Forgets the token, since a server refused it. The next one is asked for anew.
    pub fn forget(&mut self) {
        self.token = None;
    }

    fn wait_is_over(&self, now: Timestamp) -> Result<(), TokenError> {
        let Some((status, until)) = self.waiting else { return Ok(()) };
        match u64::try_from(until.as_second().saturating_sub(now.as_second())) {
            Ok(seconds @ 1..=MAX_WAIT) => Err(TokenError::RateLimited { status, seconds }),
            // Over, or the clock was set back meanwhile.
            _ => Ok(()),
        }
    }
}

/// Until when a rate limit holds.
fn wait(error: &TokenError, now: Timestamp) -> Option<(u16, Timestamp)> {
    let TokenError::RateLimited { status, seconds } = error else { return None };
    let wait = i64::try_from(*seconds.min(&MAX_WAIT)).ok()?;
    Some((*status, now.checked_add(SignedDuration::from_secs(wait)).ok()?))
}

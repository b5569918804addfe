//! Which failures may pass, and how long to wait for that.

use std::hash::{BuildHasher, RandomState};
use std::time::{Duration, Instant};

use crate::error::{Error, ErrorKind, Result};
use crate::report::Report;

const FIRST_PAUSE: Duration = Duration::from_millis(250);
const LONGEST_PAUSE: Duration = Duration::from_secs(10);

/// Whether a request may be repeated if it is not known whether the server has executed it: after a broken connection,
/// or by a redirect.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Repeat {
    /// The request changes nothing, or has the same effect however often it is sent (RFC 9110, 9.2.2).
    Idempotent,
    /// The server may have executed it without an answer. It is repeated only if it certainly was not executed: nothing
    /// was sent, or the server refused it.
    Once,
}

impl Repeat {
    /// The error for a request of which it is not known whether the server has executed it.
    pub fn broken(self, error: Error) -> Error {
        Error { may_be_done: self == Self::Once, ..error }
    }
}

/// The attempts since the last progress. A request that may be executed already is not repeated.
#[derive(Debug)]
pub(crate) struct Retry {
    /// For how long attempts may fail in a row.
    budget: Duration,
    since: Option<Instant>,
    attempts: u32,
    /// The user has been told.
    told: bool,
}

impl Retry {
    pub fn new(budget: Duration) -> Self {
        Self { budget, since: None, attempts: 0, told: false }
    }

    /// Records progress: the next failure begins a new series.
    pub fn progress(&mut self) {
        *self = Self::new(self.budget);
    }

    /// Waits before the next attempt: as long as the server says, else longer each time, by a random part so that
    /// clients do not come back together.
    ///
    /// # Errors
    /// `error` itself, if another attempt would fail in the same way or execute the request twice, or if the time is
    /// used up.
    pub async fn pause(&mut self, error: Error, report: &Report) -> Result<()> {
        let most = match error.kind {
            _ if error.may_be_done => 0,
            // The site restarts, the requests of a minute are used up, or a seat is taken: all of this passes with
            // time.
            ErrorKind::Unavailable | ErrorKind::Throttled | ErrorKind::NoSeat => u32::MAX,
            ErrorKind::ConnectionLost => 4,
            // Probably the address is wrong; less likely, the site is starting.
            ErrorKind::Unreachable => 2,
            // Acumatica sends 500 for every failure: one more attempt, before the request is blamed.
            _ if error.may_pass => 1,
            _ => 0,
        };
        let since = *self.since.get_or_insert_with(Instant::now);
        // A server that asks for no pause still gets one.
        let pause = error.retry_after.unwrap_or_default().max(backoff(self.attempts));
        if self.attempts >= most || since.elapsed().saturating_add(pause) > self.budget {
            return Err(self.give_up(error, since));
        }
        self.attempts += 1;
        if since.elapsed() + pause >= Report::PATIENCE && !self.told {
            self.told = true;
            let seconds = self.budget.as_secs();
            report.notice(
                format!("still trying: {}", error.message),
                format!(
                    "It is tried again for up to {seconds} seconds (server option \"operation_timeout\")."
                ),
            );
        }
        tokio::time::sleep(pause).await;
        Ok(())
    }

    fn give_up(&self, error: Error, since: Instant) -> Error {
        if self.attempts == 0 || error.may_pass {
            return error;
        }
        let tried =
            format!("Tried {} times in {:.1} seconds.", self.attempts + 1, since.elapsed().as_secs_f32());
        let detail =
            error.detail.as_ref().map_or_else(|| tried.clone(), |detail| format!("{detail}\n{tried}"));
        error.detail(detail)
    }
}

/// Twice as long each time.
fn backoff(attempts: u32) -> Duration {
    jitter(FIRST_PAUSE.saturating_mul(1 << attempts.min(16)).min(LONGEST_PAUSE))
}

/// A random duration between half of `longest` and all of it.
pub(crate) fn jitter(longest: Duration) -> Duration {
    // The standard library's only source of randomness is that of its hash maps.
    let chance = RandomState::new().hash_one(0) as f64 / u64::MAX as f64;
    longest.mul_f64(0.5 + chance / 2.0)
}

/// The header `Retry-After`: seconds, or a date.
pub(crate) fn retry_after(header: &str, now: chrono::DateTime<chrono::Utc>) -> Option<Duration> {
    if let Ok(seconds) = header.trim().parse() {
        return Some(Duration::from_secs(seconds));
    }
    let at = chrono::DateTime::parse_from_rfc2822(header.trim()).ok()?;
    Some(at.signed_duration_since(now).to_std().unwrap_or(Duration::ZERO))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn silent() -> Report {
        Report::default()
    }

    #[test]
    fn pauses_grow_and_differ() {
        for attempts in 0..20 {
            let longest = FIRST_PAUSE.saturating_mul(1 << attempts.min(16)).min(LONGEST_PAUSE);
            let pause = backoff(attempts);
            assert!(pause >= longest / 2 && pause <= longest, "{attempts}: {pause:?}");
        }
        let pauses: std::collections::HashSet<_> = (0..20).map(|_| backoff(3)).collect();
        assert!(pauses.len() > 1);
    }

    #[test]
    fn retry_after_in_both_forms() {
        let now = "2026-11-22T12:00:00Z".parse().unwrap();
        assert_eq!(retry_after(" 7 ", now), Some(Duration::from_secs(7)));
        assert_eq!(retry_after("Sun, 22 Nov 2026 12:00:30 GMT", now), Some(Duration::from_secs(30)));
        assert_eq!(retry_after("Sun, 22 Nov 2026 11:00:00 GMT", now), Some(Duration::ZERO));
        assert_eq!(retry_after("soon", now), None);
    }

    #[test]
    fn what_will_not_pass_is_not_tried_again() {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        let mut retry = Retry::new(Duration::from_secs(60));
        for kind in [ErrorKind::Credentials, ErrorKind::Protocol, ErrorKind::Timeout, ErrorKind::Connect] {
            let error = runtime.block_on(retry.pause(Error::new(kind, "x"), &silent())).unwrap_err();
            assert_eq!(error.detail, None, "{kind:?}");
        }
    }

    #[test]
    fn giving_up_says_how_often_and_what_came_last() {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        let mut retry = Retry::new(Duration::from_millis(700));
        let busy = || Error::new(ErrorKind::Unavailable, "503").detail("restarting");
        let error = runtime.block_on(async {
            loop {
                if let Err(error) = retry.pause(busy(), &silent()).await {
                    return error;
                }
            }
        });
        let detail = error.detail.unwrap();
        assert!(detail.starts_with("restarting\nTried ") && detail.ends_with(" seconds."), "{detail}");
    }
}

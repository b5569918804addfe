//! Which failures of a read pass by themselves, and how long to wait for that.

use std::hash::{BuildHasher, RandomState};
use std::time::{Duration, Instant};

use crate::error::{Error, ErrorKind, Result};
use crate::report::Report;

const FIRST_PAUSE: Duration = Duration::from_millis(250);
const LONGEST_PAUSE: Duration = Duration::from_secs(10);

/// Whether a request may be sent again where nobody knows what became of it: after a broken connection, or by a redirect.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Repeat {
    /// It changes nothing, or the same however often it is sent (RFC 9110, 9.2.2).
    Idempotent,
    /// The server may have done it though no answer says so. It is sent again only if it was surely not done: nothing was
    /// sent, or the server refused.
    Once,
}

impl Repeat {
    /// A failure after which nobody knows what became of the request.
    pub fn broken(self, error: Error) -> Error {
        Error { may_be_done: self == Self::Once, ..error }
    }
}

/// What has been tried since the last progress. What may be done already is not repeated.
#[derive(Debug)]
pub(crate) struct Retry {
    /// How long one trouble may last.
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

    /// There was progress: what comes next is a trouble of its own.
    pub fn progress(&mut self) {
        *self = Self::new(self.budget);
    }

    /// Waits before the next attempt: as long as the server says, else longer each time and never all
    /// clients at once.
    ///
    /// # Errors
    /// `error` itself, if another attempt would meet the same or do the same again, or the budget is used up.
    pub async fn pause(&mut self, error: Error, report: &Report) -> Result<()> {
        let most = match error.kind {
            _ if error.may_be_done => 0,
            // The site restarts, a minute's requests are used up, a seat is taken: all pass with time.
            ErrorKind::Unavailable | ErrorKind::Throttled | ErrorKind::NoSeat => u32::MAX,
            ErrorKind::ConnectionLost => 4,
            // More likely a wrong address than a site that is just being started.
            ErrorKind::Unreachable => 2,
            // Acumatica says 500 for all: once more, before anything is put down to what was asked.
            _ if error.may_pass => 1,
            _ => 0,
        };
        let since = *self.since.get_or_insert_with(Instant::now);
        // A server that asks for no pause at all is not taken at its word.
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

/// Between half of a pause and all of it, by chance.
pub(crate) fn jitter(longest: Duration) -> Duration {
    // The standard library's source of randomness is that of its hash maps.
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

//! What the scans of a query may request and receive together.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::error::{Error, ErrorKind, Result};

/// The most requests for rows and the most rows of all scans that share it.
#[derive(Debug)]
pub struct Allowance {
    requests: Share,
    rows: Share,
}

#[derive(Debug)]
struct Share {
    most: Option<u64>,
    taken: AtomicU64,
}

impl Allowance {
    /// Allows so many of each; `None` is no limit.
    pub fn new(requests: Option<u64>, rows: Option<u64>) -> Self {
        let share = |most| Share { most, taken: AtomicU64::new(0) };
        Self { requests: share(requests), rows: share(rows) }
    }

    /// Takes a request before it is sent.
    ///
    /// # Errors
    /// [`ErrorKind::RequestsUsedUp`]: it would be one too many.
    pub(crate) fn take_request(&self) -> Result<()> {
        self.requests.take(1).map_err(|most| used_up(ErrorKind::RequestsUsedUp, most, "request"))
    }

    /// Takes rows that were received.
    ///
    /// # Errors
    /// [`ErrorKind::RowsUsedUp`]: they are too many.
    pub(crate) fn take_rows(&self, rows: u64) -> Result<()> {
        self.rows.take(rows).map_err(|most| used_up(ErrorKind::RowsUsedUp, most, "row"))
    }
}

impl Share {
    /// Takes so many; the limit if there are not as many left.
    fn take(&self, wanted: u64) -> Result<(), u64> {
        let Some(most) = self.most else { return Ok(()) };
        let more = |taken: u64| taken.checked_add(wanted).filter(|taken| *taken <= most);
        self.taken.fetch_update(Ordering::Relaxed, Ordering::Relaxed, more).map(|_| ()).map_err(|_| most)
    }
}

fn used_up(kind: ErrorKind, most: u64, what: &str) -> Error {
    let plural = if most == 1 { "" } else { "s" };
    Error::new(kind, format!("query takes more than {most} {what}{plural} of the server"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_would_be_too_much_is_refused_and_not_taken() {
        let allowance = Allowance::new(Some(1), Some(5));
        allowance.take_request().unwrap();
        let refused = allowance.take_request().unwrap_err();
        assert_eq!(
            (refused.kind, refused.message.as_str()),
            (ErrorKind::RequestsUsedUp, "query takes more than 1 request of the server")
        );
        allowance.take_rows(3).unwrap();
        let refused = allowance.take_rows(3).unwrap_err();
        assert_eq!(
            (refused.kind, refused.message.as_str()),
            (ErrorKind::RowsUsedUp, "query takes more than 5 rows of the server")
        );
        allowance.take_rows(2).unwrap();
    }

    #[test]
    fn without_a_limit_nothing_is_refused() {
        let allowance = Allowance::new(None, None);
        allowance.take_request().unwrap();
        allowance.take_rows(u64::MAX).unwrap();
        allowance.take_rows(u64::MAX).unwrap();
    }
}

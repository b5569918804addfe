//! Retries: sessions are opened and given up, and failures that may pass are waited for, before a failure is reported.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::error::{Error, ErrorKind, Result};
use crate::report::Report;
use crate::request::Surface;
use crate::session::connection::Connection;
use crate::session::lease::Lease;
use crate::transport::retry::Retry;

/// How many sessions may be lost in a row, although other queries opened them, before the loss is reported.
const LOST_WITHOUT_ROWS: u32 = 16;

/// Access to the server for one operation.
pub(crate) struct Access<'a> {
    pub connection: &'a Arc<Connection>,
    surface: Surface,
    pub what: &'a str,
    report: &'a Report,
    retries: &'a AtomicU64,
    /// The sessions lost since the last row.
    lost: u32,
    retry: Retry,
}

impl<'a> Access<'a> {
    /// `what` names the thing that is asked for in messages; `retries` counts the repetitions.
    pub fn new(
        connection: &'a Arc<Connection>,
        surface: Surface,
        what: &'a str,
        report: &'a Report,
        retries: &'a AtomicU64,
    ) -> Self {
        let retry = Retry::new(connection.config.operation_timeout);
        Self { connection, surface, what, report, retries, lost: 0, retry }
    }

    /// Calls `act` with a session until it succeeds. Returns its value and the session, which `act` gives back.
    ///
    /// # Errors
    /// `act` fails, and the failure does not pass.
    pub async fn ask<T, F>(&mut self, act: impl Fn(Lease) -> F) -> Result<(Lease, T)>
    where
        F: Future<Output = (Lease, Result<T>)>,
    {
        loop {
            match act(self.open().await?).await {
                (lease, Ok(outcome)) => {
                    self.connection.tell_unproven(self.report);
                    return Ok((lease, outcome));
                }
                (lease, Err(error)) => self.recover(lease, error).await?,
            }
        }
    }

    /// A session, once the server and the other queries leave one free.
    pub async fn open(&mut self) -> Result<Lease> {
        loop {
            match self.connection.lease(self.surface, self.report).await {
                Ok(lease) => return Ok(lease),
                Err(error) => self.pause(error).await?,
            }
            self.retries.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Waits after a failure that may pass.
    ///
    /// # Errors
    /// `error`, if it does not pass.
    pub async fn pause(&mut self, error: Error) -> Result<()> {
        self.retry.pause(error, self.report).await
    }

    /// Handles a failed request so that it can be sent again: gives up a lost session, waits if the failure may pass.
    ///
    /// # Errors
    /// The failure does not pass. If the server refuses a session that was opened just now, the user lacks a right;
    /// then the session is closed again.
    pub async fn recover(&mut self, lease: Lease, error: Error) -> Result<()> {
        let connection = self.connection;
        self.retries.fetch_add(1, Ordering::Relaxed);
        match error.kind {
            ErrorKind::SessionLost => {}
            ErrorKind::NoSeat => {
                drop(lease);
                if connection.make_room().await {
                    return Ok(());
                }
                return self.pause(error).await;
            }
            _ => {
                // Other queries can use the session during the pause.
                drop(lease);
                return self.pause(error).await;
            }
        }
        let opened_just_now = lease.fresh;
        connection.lost(lease, self.surface).await;
        self.lost += 1;
        if !opened_just_now && self.lost <= LOST_WITHOUT_ROWS {
            return Ok(());
        }
        let message = format!("the server does not let this user read {}", self.what);
        let refusal = Error::new(ErrorKind::Forbidden, message).hint(
            "It signs the user in, but then refuses the session. Check the user's roles, and that the inquiry is \
             exposed via OData.",
        );
        Err(connection.unless_clock(Error { detail: error.detail, ..refusal }))
    }

    /// A new row came.
    pub fn progress(&mut self) {
        self.connection.tell_unproven(self.report);
        self.lost = 0;
        self.retry.progress();
    }
}

impl Connection {
    /// The error for a session or token that the server refuses although it is new: that of the clocks if they differ,
    /// otherwise `error`.
    fn unless_clock(&self, error: Error) -> Error {
        let Some(offset) = self.http.clock_offset() else { return error };
        let (minutes, direction) = ((offset.abs() + 30) / 60, if offset > 0 { "behind" } else { "ahead of" });
        let told = error.detail.iter().fold(error.message, |told, detail| format!("{told}\n{detail}"));
        Error::new(
            ErrorKind::Credentials,
            format!("the clock of this machine is {minutes} minutes {direction} the server's, which refuses the session"),
        )
        .detail(told)
        .hint("Set the clock by a time service: sessions and access tokens are accepted only at the right time.")
    }
}

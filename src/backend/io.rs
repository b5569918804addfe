//! The I/O thread of this backend, and how the backend waits for it.
//!
//! Waiting in the backend itself could not be cancelled. So the network is left to one thread, and the
//! backend sleeps on its latch and on a socket that the thread writes to: a signal ends the sleep at
//! once, and the scan is dropped with the frames that the error unwinds.

use std::io::{Read, Write};
use std::mem::MaybeUninit;
use std::os::fd::AsRawFd;
use std::os::unix::net::UnixStream;
use std::rc::Rc;

use acumatica_client::decode::Batch;
use acumatica_client::{Client, Engine, Job, Notice, Rows, ScanRequest};
use pgrx::prelude::*;

use crate::backend::error::{self, Refusal, or_raise};

/// The engine and the socket it knocks on.
#[derive(Debug)]
pub struct Io {
    engine: Engine,
    knocks: Rc<UnixStream>,
}

/// A running scan. Dropping it drops the request under way.
#[derive(Debug)]
pub struct Running {
    rows: Rows,
    knocks: Rc<UnixStream>,
}

/// Anything else under way. Dropping it ends it.
#[derive(Debug)]
pub struct Waiting<T> {
    job: Job<T>,
    knocks: Rc<UnixStream>,
}

impl Io {
    /// Starts the thread.
    pub fn start() -> Result<Self, Refusal> {
        let failed = |reason: std::io::Error| {
            Refusal::new(
                PgSqlErrorCode::ERRCODE_INSUFFICIENT_RESOURCES,
                "could not start the thread that talks to the server",
            )
            .detail(reason.to_string())
        };
        let (knocks, knocker) = UnixStream::pair().map_err(failed)?;
        for socket in [&knocks, &knocker] {
            socket.set_nonblocking(true).map_err(failed)?;
        }
        // A full socket has knocks enough.
        let wake = move || drop((&knocker).write(&[1]));
        let engine = with_signals_blocked(|| Engine::start(wake)).map_err(failed)?;
        Ok(Self { engine, knocks: Rc::new(knocks) })
    }

    pub fn scan(&self, client: &Client, request: ScanRequest) -> Running {
        Running { rows: self.engine.scan(client, request), knocks: Rc::clone(&self.knocks) }
    }

    pub fn job<T>(&self, job: Job<T>) -> Waiting<T> {
        Waiting { job, knocks: Rc::clone(&self.knocks) }
    }

    pub fn engine(&self) -> &Engine {
        &self.engine
    }

    /// Leaves all and ends the thread; waits some seconds at most.
    pub fn shut_down(self, clients: Vec<Client>) {
        self.engine.shut_down(clients);
    }
}

impl Running {
    /// The next batch, or `None` at the end of the rows. Sleeps until it is there; a cancel or a
    /// termination ends the sleep as a PostgreSQL error.
    ///
    /// # Errors
    /// Why the scan failed.
    pub fn next_batch(&self) -> acumatica_client::Result<Option<Batch>> {
        sleep_until(&self.knocks, || self.rows.poll(), || self.rows.take_notices())
    }

    pub fn stats(&self) -> acumatica_client::ScanStats {
        self.rows.stats()
    }
}

impl<T> Waiting<T> {
    /// The outcome. Sleeps until it is there; a cancel or a termination ends the sleep as a PostgreSQL
    /// error, and so does a failure of the job itself.
    pub fn wait(&self) -> T {
        or_raise(sleep_until(&self.knocks, || self.job.poll(), || self.job.take_notices()))
    }
}

/// Sleeps until there is something, telling the user what there is to tell meanwhile.
fn sleep_until<T>(knocks: &UnixStream, poll: impl Fn() -> Option<T>, notices: impl Fn() -> Vec<Notice>) -> T {
    const EVENTS: u32 = pg_sys::WL_LATCH_SET | pg_sys::WL_SOCKET_READABLE | pg_sys::WL_EXIT_ON_PM_DEATH;
    let tell = || {
        for notice in notices() {
            let tell = if notice.is_warning { error::warning } else { error::notice };
            tell(notice.message, notice.hint);
        }
    };
    loop {
        tell();
        if let Some(next) = poll() {
            // What came with it: there may be no look for more.
            tell();
            return next;
        }
        // SAFETY: on the backend's thread, whose latch `MyLatch` is; the caller holds the socket open.
        let events = unsafe {
            pg_sys::WaitLatchOrSocket(
                pg_sys::MyLatch,
                EVENTS as i32,
                knocks.as_raw_fd(),
                -1,
                pg_sys::PG_WAIT_EXTENSION,
            )
        } as u32;
        if events & pg_sys::WL_SOCKET_READABLE != 0 {
            hush(knocks);
        }
        if events & pg_sys::WL_LATCH_SET != 0 {
            // SAFETY: as above.
            unsafe { pg_sys::ResetLatch(pg_sys::MyLatch) };
        }
        check_for_interrupts!();
    }
}

/// Takes the knocks off the socket. They may have been meant for another scan, which looks for its rows
/// before it sleeps.
fn hush(mut knocks: &UnixStream) {
    let mut sink = [0; 64];
    while matches!(knocks.read(&mut sink), Ok(read) if read == sink.len()) {}
}

/// Runs `start` so that threads it starts, and theirs, never handle one of PostgreSQL's signals.
fn with_signals_blocked<T>(start: impl FnOnce() -> T) -> T {
    let mut all = MaybeUninit::uninit();
    let mut before = MaybeUninit::uninit();
    // SAFETY: both sets are valid for writing, `all` is initialised by sigfillset before it is read.
    unsafe {
        libc::sigfillset(all.as_mut_ptr());
        libc::pthread_sigmask(libc::SIG_SETMASK, all.as_ptr(), before.as_mut_ptr());
    }
    let started = start();
    // SAFETY: `before` was written by the call above.
    unsafe { libc::pthread_sigmask(libc::SIG_SETMASK, before.as_ptr(), std::ptr::null_mut()) };
    started
}

//! The I/O thread of this backend, and how the backend waits for it.
//!
//! A blocking network call in the backend could not be cancelled. So one thread does all network I/O, and the backend
//! sleeps on its latch and on a socket that the thread writes to. A signal ends the sleep at once; the error then unwinds
//! the frames that own the scan, which drops it. Each scan and each job gets a socket of its own on its first wait, so
//! that the backend can wait for several at the same time.

use std::cell::OnceCell;
use std::io::{Read, Write};
use std::marker::PhantomData;
use std::mem::MaybeUninit;
use std::os::fd::AsRawFd;
use std::os::unix::net::UnixStream;
use std::task::Poll;

use acumatica_client::decode::Batch;
use acumatica_client::{Client, Engine, Job, Notice, Rows, ScanRequest};
use pgrx::prelude::*;

use crate::backend::error::{self, Refusal, or_raise};

/// Owns the engine, which runs the I/O thread.
#[derive(Debug)]
pub struct Io {
    engine: Engine,
}

/// A running scan. Dropping it drops the request under way.
#[derive(Debug)]
pub struct RunningScan {
    rows: Rows,
    alarm: OnceCell<Alarm>,
}

/// A running job other than a scan. Dropping it aborts the job.
#[derive(Debug)]
pub struct RunningJob<T> {
    job: Job<T>,
    alarm: OnceCell<Alarm>,
}

/// Makes the socket of an [`Alarm`] readable. Called on the I/O thread.
type Waker = Box<dyn Fn() + Send + Sync>;

/// The backend's end of a socket pair. It becomes readable when the scan or job has something new.
#[derive(Debug)]
struct Alarm(UnixStream, Reserved);

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
        Ok(Self { engine: with_signals_blocked(Engine::start).map_err(failed)? })
    }

    pub fn scan(&self, client: &Client, request: ScanRequest) -> RunningScan {
        RunningScan { rows: self.engine.scan(client, request), alarm: OnceCell::new() }
    }

    pub fn job<T>(&self, job: Job<T>) -> RunningJob<T> {
        RunningJob { job, alarm: OnceCell::new() }
    }

    pub fn engine(&self) -> &Engine {
        &self.engine
    }

    /// Closes the sessions of the clients and ends the thread; waits some seconds at most.
    pub fn shut_down(self, clients: Vec<Client>) {
        self.engine.shut_down(clients);
    }
}

impl RunningScan {
    /// The next batch if it has arrived, or `None` at the end of the rows. Reports the scan's notices to the client.
    ///
    /// # Errors
    /// The scan failed.
    pub fn poll(&self) -> Poll<acumatica_client::Result<Option<Batch>>> {
        poll(|| self.rows.poll(), || self.rows.take_notices())
    }

    /// Sleeps after a pending poll until another one may succeed. A cancel or a termination ends the sleep with a
    /// PostgreSQL error.
    pub fn wait(&self) {
        sleep(&self.alarm, |waker| self.rows.wake_with(waker));
    }

    /// [`Rows::uncut`].
    pub fn uncut(&self) -> u64 {
        self.rows.uncut()
    }

    pub fn stats(&self) -> acumatica_client::ScanStats {
        self.rows.stats()
    }
}

impl<T> RunningJob<T> {
    /// Sleeps until the job ends, and returns its outcome. A cancel, a termination or a failure of the job raises a
    /// PostgreSQL error.
    pub fn wait(&self) -> T {
        loop {
            match poll(|| self.job.poll(), || self.job.take_notices()) {
                Poll::Ready(outcome) => return or_raise(outcome),
                Poll::Pending => sleep(&self.alarm, |waker| self.job.wake_with(waker)),
            }
        }
    }
}

/// Polls, and reports the notices that came before the result or with it.
fn poll<T>(next: impl Fn() -> Option<T>, notices: impl Fn() -> Vec<Notice>) -> Poll<T> {
    let report_notices = || {
        for notice in notices() {
            let report = if notice.is_warning { error::warning } else { error::notice };
            report(notice.message, notice.hint);
        }
    };
    report_notices();
    let next = next();
    if next.is_some() {
        report_notices();
    }
    next.map_or(Poll::Pending, Poll::Ready)
}

/// Sleeps until the alarm's socket is readable or the latch is set. The first call only creates the alarm and returns:
/// another poll must find what arrived before.
fn sleep(alarm: &OnceCell<Alarm>, set_waker: impl FnOnce(Waker)) {
    const EVENTS: u32 = pg_sys::WL_LATCH_SET | pg_sys::WL_SOCKET_READABLE | pg_sys::WL_EXIT_ON_PM_DEATH;
    let Some(Alarm(socket, _)) = alarm.get() else {
        let (new, waker) = or_raise(Alarm::new());
        set_waker(waker);
        let _ = alarm.set(new);
        return;
    };
    // SAFETY: this runs on the backend's thread, which owns `MyLatch`: an `Alarm` is in a `OnceCell`, which is not Sync.
    // The borrowed alarm keeps the socket open.
    let events = unsafe {
        pg_sys::WaitLatchOrSocket(
            pg_sys::MyLatch,
            EVENTS as i32,
            socket.as_raw_fd(),
            -1,
            pg_sys::PG_WAIT_EXTENSION,
        )
    } as u32;
    if events & pg_sys::WL_SOCKET_READABLE != 0 {
        let mut sink = [0; 64];
        while matches!((&mut &*socket).read(&mut sink), Ok(read) if read == sink.len()) {}
    }
    if events & pg_sys::WL_LATCH_SET != 0 {
        // SAFETY: only the owner of a latch may reset it, and this is the backend's thread, as above.
        unsafe { pg_sys::ResetLatch(pg_sys::MyLatch) };
    }
    check_for_interrupts!();
}

impl Alarm {
    /// An alarm and its waker.
    fn new() -> Result<(Self, Waker), Refusal> {
        let failed = |reason: std::io::Error| {
            Refusal::new(
                PgSqlErrorCode::ERRCODE_INSUFFICIENT_RESOURCES,
                "could not make a socket to wait for the server with",
            )
            .detail(reason.to_string())
            .hint("Raise the limit of open files, or lower max_files_per_process.")
        };
        let reserved = Reserved::new().map_err(failed)?;
        let (socket, other) = UnixStream::pair().map_err(failed)?;
        for end in [&socket, &other] {
            end.set_nonblocking(true).map_err(failed)?;
        }
        // The result of the write is ignored: if the socket is full, it is readable already.
        Ok((Self(socket, reserved), Box::new(move || drop((&other).write(&[1])))))
    }
}

/// The two file descriptors of a socket pair, out of those that PostgreSQL leaves to extensions. It stays on the backend's
/// thread, which the raw pointer marks.
#[derive(Debug)]
struct Reserved(PhantomData<*const ()>);

impl Reserved {
    fn new() -> std::io::Result<Self> {
        // SAFETY: both calls only count, on the backend's thread, and do not raise. `drop` subtracts what they add.
        unsafe {
            if !pg_sys::AcquireExternalFD() {
                return Err(std::io::Error::last_os_error());
            }
            if !pg_sys::AcquireExternalFD() {
                let error = std::io::Error::last_os_error();
                pg_sys::ReleaseExternalFD();
                return Err(error);
            }
        }
        Ok(Self(PhantomData))
    }
}

impl Drop for Reserved {
    fn drop(&mut self) {
        // SAFETY: both calls only subtract from the counter to which `new` has added. A `Reserved` is not Send, so this is
        // the backend's thread.
        unsafe {
            pg_sys::ReleaseExternalFD();
            pg_sys::ReleaseExternalFD();
        }
    }
}

/// Runs `start` with all signals blocked. The threads it starts inherit the mask, so PostgreSQL's signal handlers only run
/// on the backend's thread.
fn with_signals_blocked<T>(start: impl FnOnce() -> T) -> T {
    let mut all = MaybeUninit::uninit();
    let mut before = MaybeUninit::uninit();
    // SAFETY: both sets are locals, valid for writes. sigfillset initialises `all` before pthread_sigmask reads it.
    unsafe {
        libc::sigfillset(all.as_mut_ptr());
        libc::pthread_sigmask(libc::SIG_SETMASK, all.as_ptr(), before.as_mut_ptr());
    }
    let started = start();
    // SAFETY: the first pthread_sigmask has written `before`; it fails only for an invalid `how`.
    unsafe { libc::pthread_sigmask(libc::SIG_SETMASK, before.as_ptr(), std::ptr::null_mut()) };
    started
}

//! The I/O thread of this backend, and how the backend waits for it.
//!
//! Waiting in the backend itself could not be cancelled. So the network is left to one thread, and the
//! backend sleeps on its latch and on a socket that the thread writes to: a signal ends the sleep at
//! once, and the scan is dropped with the frames that the error unwinds. Each scan and each job has a
//! socket of its own once it is waited for, so that several can be waited for at the same time.

use std::cell::OnceCell;
use std::io::{Read, Write};
use std::mem::MaybeUninit;
use std::os::fd::AsRawFd;
use std::os::unix::net::UnixStream;
use std::task::Poll;

use acumatica_client::decode::Batch;
use acumatica_client::{Client, Engine, Job, Notice, Rows, ScanRequest};
use pgrx::prelude::*;

use crate::backend::error::{self, Refusal, or_raise};

/// The engine, which runs the thread.
#[derive(Debug)]
pub struct Io {
    engine: Engine,
}

/// A running scan. Dropping it drops the request under way.
#[derive(Debug)]
pub struct Running {
    rows: Rows,
    alarm: OnceCell<Alarm>,
}

/// Anything else under way. Dropping it ends it.
#[derive(Debug)]
pub struct Waiting<T> {
    job: Job<T>,
    alarm: OnceCell<Alarm>,
}

/// Sets an alarm off. Called on the I/O thread.
type Waker = Box<dyn Fn() + Send + Sync>;

/// The end of a socket that becomes readable when there is something new.
#[derive(Debug)]
struct Alarm(UnixStream);

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

    pub fn scan(&self, client: &Client, request: ScanRequest) -> Running {
        Running { rows: self.engine.scan(client, request), alarm: OnceCell::new() }
    }

    pub fn job<T>(&self, job: Job<T>) -> Waiting<T> {
        Waiting { job, alarm: OnceCell::new() }
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
    /// The next batch, or `None` at the end of the rows, if it is there. Tells the user what there is to tell.
    ///
    /// # Errors
    /// Why the scan failed.
    pub fn poll(&self) -> Poll<acumatica_client::Result<Option<Batch>>> {
        poll(|| self.rows.poll(), || self.rows.take_notices())
    }

    /// Sleeps until a poll, which has found nothing, is to be repeated. A cancel or a termination ends the sleep as a
    /// PostgreSQL error.
    pub fn wait(&self) {
        sleep(&self.alarm, |waker| self.rows.wake_with(waker));
    }

    pub fn stats(&self) -> acumatica_client::ScanStats {
        self.rows.stats()
    }
}

impl<T> Waiting<T> {
    /// The outcome. Sleeps until it is there; a cancel or a termination ends the sleep as a PostgreSQL
    /// error, and so does a failure of the job itself.
    pub fn wait(&self) -> T {
        loop {
            match poll(|| self.job.poll(), || self.job.take_notices()) {
                Poll::Ready(outcome) => return or_raise(outcome),
                Poll::Pending => sleep(&self.alarm, |waker| self.job.wake_with(waker)),
            }
        }
    }
}

/// What there is, and what there is to tell the user before it and with it.
fn poll<T>(next: impl Fn() -> Option<T>, notices: impl Fn() -> Vec<Notice>) -> Poll<T> {
    let tell = || {
        for notice in notices() {
            let tell = if notice.is_warning { error::warning } else { error::notice };
            tell(notice.message, notice.hint);
        }
    };
    tell();
    let next = next();
    if next.is_some() {
        tell();
    }
    next.map_or(Poll::Pending, Poll::Ready)
}

/// Sleeps until the alarm is set off or the latch is set. The first time, it only sets the alarm up with `set_waker`:
/// what came before is found by another poll.
fn sleep(alarm: &OnceCell<Alarm>, set_waker: impl FnOnce(Waker)) {
    const EVENTS: u32 = pg_sys::WL_LATCH_SET | pg_sys::WL_SOCKET_READABLE | pg_sys::WL_EXIT_ON_PM_DEATH;
    let Some(Alarm(socket)) = alarm.get() else {
        let (new, waker) = or_raise(Alarm::new());
        set_waker(waker);
        let _ = alarm.set(new);
        return;
    };
    // SAFETY: on the backend's thread, whose latch `MyLatch` is; the alarm holds the socket open.
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
        // SAFETY: as above.
        unsafe { pg_sys::ResetLatch(pg_sys::MyLatch) };
    }
    check_for_interrupts!();
}

impl Alarm {
    /// With what sets it off.
    fn new() -> Result<(Self, Waker), Refusal> {
        let failed = |reason: std::io::Error| {
            Refusal::new(
                PgSqlErrorCode::ERRCODE_INSUFFICIENT_RESOURCES,
                "could not make a socket to wait for the server with",
            )
            .detail(reason.to_string())
            .hint("Raise the limit of open files, or lower max_files_per_process.")
        };
        let (socket, other) = UnixStream::pair().map_err(failed)?;
        for end in [&socket, &other] {
            end.set_nonblocking(true).map_err(failed)?;
        }
        // SAFETY: counts the two files, so that PostgreSQL keeps fewer of its own open; it cannot fail. They are
        // given back in `drop`.
        unsafe {
            pg_sys::ReserveExternalFD();
            pg_sys::ReserveExternalFD();
        }
        // A socket that is full has set it off.
        Ok((Self(socket), Box::new(move || drop((&other).write(&[1])))))
    }
}

impl Drop for Alarm {
    fn drop(&mut self) {
        // SAFETY: only counts. `new` reserved them; alarms are made and dropped on the backend's thread.
        unsafe {
            pg_sys::ReleaseExternalFD();
            pg_sys::ReleaseExternalFD();
        }
    }
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

//! A scan from its consumer's side: batches of rows as they arrive.

use std::collections::VecDeque;
use std::fmt;
use std::ops::AddAssign;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use tokio::sync::Notify;
use tokio::task::AbortHandle;

use crate::decode::Batch;
use crate::error::{Error, ErrorKind, Result};
use crate::lock;
use crate::report::{Notice, Report};

/// How many bytes of rows may wait for the consumer before reading stops. Pages are sized to stay below it; for answers
/// that cannot be paged, TCP makes the server wait.
const MAX_BACKLOG: usize = 32 * 1024 * 1024;

/// What a scan has cost so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ScanStats {
    /// HTTP requests sent, without those that sign in.
    pub requests: u64,
    /// Answers with a page of the list that were read to their end.
    pub pages: u64,
    /// Rows decoded, before the executor rechecks them.
    pub rows: u64,
    /// Bytes of answers, after decompression.
    pub bytes: u64,
    /// Requests and sign-ins repeated, because they failed, a session was lost or rows had moved.
    pub retries: u64,
    /// How long the scan has waited for a session.
    pub session_wait: Duration,
    /// How long it has waited for answers, and for parts of them.
    pub server_wait: Duration,
    /// How long it has taken rows out of answers.
    pub decoding: Duration,
}

impl AddAssign for ScanStats {
    fn add_assign(&mut self, other: Self) {
        self.requests += other.requests;
        self.pages += other.pages;
        self.rows += other.rows;
        self.bytes += other.bytes;
        self.retries += other.retries;
        self.session_wait += other.session_wait;
        self.server_wait += other.server_wait;
        self.decoding += other.decoding;
    }
}

/// The consumer's end of a running scan. Dropping it drops the request under way.
#[derive(Debug)]
pub struct Rows {
    shared: Arc<Shared>,
    task: AbortHandle,
}

impl Rows {
    pub(crate) fn new(shared: Arc<Shared>, task: AbortHandle) -> Self {
        Self { shared, task }
    }

    /// The next batch, if there is one; `Ok(None)` is the end of the rows. After `None`, the waker is called once there
    /// is something new.
    ///
    /// # Errors
    /// Why the scan failed. The rows before it are right, but not complete.
    pub fn poll(&self) -> Option<Result<Option<Batch>>> {
        let mut queue = self.shared.queue();
        if let Some(batch) = queue.batches.pop_front() {
            queue.bytes -= batch.bytes();
            queue.waiting = false;
            drop(queue);
            self.shared.taken.notify_one();
            return Some(Ok(Some(batch)));
        }
        if let Some(end) = &queue.end {
            return Some(end.clone().map(|()| None));
        }
        queue.waiting = true;
        drop(queue);
        self.shared.taken.notify_one();
        None
    }

    /// Sets the waker, which is called on the engine's thread when there is something new after a poll that returned
    /// `None`. It must not block. It is not called for earlier events: poll once more after setting it.
    pub fn wake_with(&self, waker: impl Fn() + Send + Sync + 'static) {
        self.shared.report.wake_with(waker);
    }

    /// The statistics of the scan so far. They can be read at any time.
    pub fn stats(&self) -> ScanStats {
        self.shared.stats()
    }

    /// The number of rows of an answer without `$top` that was seen to be complete; 0 if none was looked at.
    pub fn uncut(&self) -> u64 {
        self.shared.uncut.load(Ordering::Relaxed)
    }

    /// The notices since the last call. The waker is called when there is one.
    pub fn take_notices(&self) -> Vec<Notice> {
        self.shared.report.take_notices()
    }
}

impl Drop for Rows {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// The state that both ends of a scan share.
pub(crate) struct Shared {
    queue: Mutex<Queue>,
    /// Signalled when the consumer takes a batch or begins to wait for one.
    taken: Notify,
    pub report: Arc<Report>,
    pub stats: Counters,
    pub idle: Idle,
    /// The number of rows that the consumer was given.
    delivered: AtomicU64,
    /// The number of rows of an answer without `$top` that was seen to be complete; 0 if none was looked at.
    pub uncut: AtomicU64,
    /// Notices to issue once the server has accepted the request.
    notes: Mutex<Vec<Notice>>,
}

/// Limits the requests of a scan that bring no new rows: pages that begin elsewhere than asked, and repeated requests.
/// All of them are counted together.
#[derive(Debug, Default)]
pub(crate) struct Idle {
    spent: AtomicU64,
    /// The number of pages with new rows.
    pages: AtomicU64,
}

impl Idle {
    /// The most such requests. With the first request of a list and the one that shows its end, these are twelve.
    const MOST: u64 = 10;
    /// How many pages with new rows make up for one request without.
    const PAGES: u64 = 4;

    /// Records a page with new rows behind known ones. On long scans of a busy table, pages begin elsewhere now and
    /// then.
    pub fn refill(&self) {
        if self.pages.fetch_add(1, Ordering::Relaxed) % Self::PAGES == Self::PAGES - 1 {
            let _ =
                self.spent.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |spent| spent.checked_sub(1));
        }
    }

    /// Records a request without new rows.
    ///
    /// # Errors
    /// `why`, if it is one too many.
    pub fn spend(&self, why: impl FnOnce() -> Error) -> Result<()> {
        match self.spent.fetch_add(1, Ordering::Relaxed) < Self::MOST {
            true => Ok(()),
            false => Err(why()),
        }
    }
}

#[derive(Debug, Default)]
struct Queue {
    batches: VecDeque<Batch>,
    bytes: usize,
    end: Option<Result<()>>,
    /// The consumer has found no batch and sleeps.
    waiting: bool,
    /// A batch was delivered.
    begun: bool,
}

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shared").field("stats", &self.stats()).finish_non_exhaustive()
    }
}

impl Shared {
    pub fn new() -> Arc<Self> {
        Arc::new(Self {
            queue: Mutex::default(),
            taken: Notify::new(),
            report: Arc::default(),
            stats: Counters::default(),
            idle: Idle::default(),
            delivered: AtomicU64::new(0),
            uncut: AtomicU64::new(0),
            notes: Mutex::default(),
        })
    }

    fn stats(&self) -> ScanStats {
        ScanStats { session_wait: self.report.session_wait(), ..self.stats.read() }
    }

    /// Delivers a batch to the consumer.
    pub fn deliver(&self, batch: Batch) {
        self.tell_notes();
        self.delivered.fetch_add(batch.len() as u64, Ordering::Relaxed);
        let mut queue = self.queue();
        queue.bytes += batch.bytes();
        queue.batches.push_back(batch);
        queue.begun = true;
        self.wake(queue);
    }

    /// The number of rows that the consumer was given.
    pub fn delivered(&self) -> u64 {
        self.delivered.load(Ordering::Relaxed)
    }

    /// Whether the consumer has been given rows.
    pub fn has_begun(&self) -> bool {
        self.queue().begun
    }

    /// Ends the scan; only the first end counts.
    pub fn finish(&self, end: Result<()>) {
        if end.is_ok() {
            self.tell_notes();
        }
        let mut queue = self.queue();
        queue.end.get_or_insert(end);
        self.wake(queue);
    }

    /// Replaces the notices to issue once the server has accepted the request, which its first rows or the end of them
    /// show.
    pub fn note(&self, notes: Vec<Notice>) {
        *lock(&self.notes) = notes;
    }

    fn tell_notes(&self) {
        for note in std::mem::take(&mut *lock(&self.notes)) {
            self.report.tell(note);
        }
    }

    /// Whether the consumer sleeps because there are no rows.
    pub fn starving(&self) -> bool {
        self.queue().waiting
    }

    /// Waits until the consumer sleeps because there are no rows.
    pub async fn demand(&self) {
        self.until(|queue| queue.waiting).await;
    }

    /// Waits until no more than `batches` are left to take.
    pub async fn drained_to(&self, batches: usize) {
        self.until(|queue| queue.batches.len() <= batches).await;
    }

    /// Whether there is room for more rows.
    pub fn has_room(&self) -> bool {
        self.queue().bytes < MAX_BACKLOG
    }

    /// Waits while too much is left to take.
    pub async fn room(&self) {
        self.until(|queue| queue.bytes < MAX_BACKLOG).await;
    }

    async fn until(&self, condition: impl Fn(&Queue) -> bool) {
        loop {
            if condition(&self.queue()) {
                return;
            }
            // A permit is stored if the consumer acts between the check above and this line.
            self.taken.notified().await;
        }
    }

    fn wake(&self, mut queue: MutexGuard<'_, Queue>) {
        let sleeping = std::mem::take(&mut queue.waiting);
        drop(queue);
        if sleeping {
            self.report.wake();
        }
    }

    fn queue(&self) -> MutexGuard<'_, Queue> {
        lock(&self.queue)
    }
}

/// Ends a scan with an error if its task panics.
pub(crate) struct EndGuard(pub Arc<Shared>);

impl Drop for EndGuard {
    fn drop(&mut self) {
        self.0.finish(Err(failed()));
    }
}

/// The error for work on the thread that ended without an outcome.
pub(crate) fn failed() -> Error {
    Error::new(ErrorKind::Internal, "the thread that talks to the server failed")
        .hint("Please report this, with the server log around this time.")
}

#[derive(Debug, Default)]
pub(crate) struct Counters {
    pub requests: AtomicU64,
    pub pages: AtomicU64,
    pub rows: AtomicU64,
    pub bytes: AtomicU64,
    pub retries: AtomicU64,
    /// In microseconds, as the next.
    pub server_wait: AtomicU64,
    pub decoding: AtomicU64,
}

/// Adds the time from its creation to its end to a counter of microseconds.
pub(crate) struct Timer<'a>(&'a AtomicU64, Instant);

impl<'a> Timer<'a> {
    pub fn begin(counter: &'a AtomicU64) -> Self {
        Self(counter, Instant::now())
    }
}

impl Drop for Timer<'_> {
    fn drop(&mut self) {
        Counters::add(self.0, self.1.elapsed().as_micros() as u64);
    }
}

impl Counters {
    pub fn add(counter: &AtomicU64, by: u64) {
        counter.fetch_add(by, Ordering::Relaxed);
    }

    fn read(&self) -> ScanStats {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        ScanStats {
            requests: read(&self.requests),
            pages: read(&self.pages),
            rows: read(&self.rows),
            bytes: read(&self.bytes),
            retries: read(&self.retries),
            session_wait: Duration::ZERO,
            server_wait: Duration::from_micros(read(&self.server_wait)),
            decoding: Duration::from_micros(read(&self.decoding)),
        }
    }
}

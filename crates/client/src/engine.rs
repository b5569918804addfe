//! The thread for all network I/O, and the API for its callers.

use std::fs;
use std::future::Future;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, mpsc};
use std::thread::JoinHandle;
use std::time::Duration;

use acumatica_pushdown::Writing;
use futures_util::future::join_all;
use tokio::runtime::{Builder, Handle};
use tokio::sync::{oneshot, watch};
use tokio::task::AbortHandle;

use crate::catalog::{Contract, Model};
use crate::config::Config;
use crate::dialect::{self, endpoint::Endpoint};
use crate::error::{Error, Result};
use crate::lock;
use crate::metadata::check::{self, Expected, Step};
use crate::metadata::discover::{Asker, Checked, CustomFields};
use crate::metadata::learnt::{self, Topic};
use crate::metadata::site::Site;
use crate::read::ladder;
use crate::read::scan::{EndGuard, Rows, Shared, failed};
use crate::report::{Notice, Report};
use crate::request::{ScanRequest, Surface, Target};
use crate::seal::Sealer;
use crate::session::callback;
use crate::session::oauth::{self, Authorized};
use crate::session::sign_out::{SIGN_OUT_PATIENCE, close};
use crate::session::store::Store;
use crate::session::upkeep::ActiveUse;

/// Runs scans on a thread of its own. All methods return at once, except [`Engine::shut_down`].
pub struct Engine {
    runtime: Handle,
    /// True once scans must not send further requests.
    closing: watch::Sender<bool>,
    /// Dropping it ends the thread.
    stop: oneshot::Sender<()>,
    thread: JoinHandle<()>,
}

/// A server as one user sees it; a session is opened when the first scan needs it.
#[derive(Clone, Debug)]
pub struct Client(Arc<Site>);

impl Client {
    /// A client of the server that `config` describes. It sends nothing yet.
    ///
    /// # Errors
    /// TLS or the shared state cannot be set up.
    pub fn new(config: Config) -> Result<Self> {
        Ok(Self(Arc::new(Site::new(config)?)))
    }

    /// The configuration that the client was made with.
    pub fn config(&self) -> &Config {
        &self.0.connection.config
    }

    /// The fields of a table that its definition has and that no row had in the scans that are remembered.
    pub fn never_seen(&self, target: &Target) -> Vec<String> {
        self.0.learnt.names(Topic::Absent, &learnt::place(target))
    }

    /// How the conditions of a request are written, and how much room they have. It changes as the server becomes known, and
    /// nothing is sent to find out more.
    ///
    /// # Errors
    /// The definition of the table does not fit the surface.
    pub fn writing(&self, request: &ScanRequest) -> Result<Writing> {
        let findings = ladder::findings(&self.0.learnt, &learnt::place(&request.target));
        let config = self.config();
        let request = ScanRequest { findings, ..request.clone() };
        dialect::writing_of(&request, config.company.as_deref(), config.odata_version)
    }

    /// Begins an OAuth authorization, and returns the URL of the authorization page for the browser.
    ///
    /// # Errors
    /// The way to sign in has no authorization, or the state cannot be written.
    pub fn authorize_url(&self) -> Result<String> {
        oauth::begin(&self.0.connection.config, &self.0.connection.store).map(|(url, _)| url)
    }
}

/// A running operation with an outcome. Dropping it stops the operation, if it can be stopped.
#[derive(Debug)]
pub struct Job<T> {
    end: Arc<End<T>>,
    task: AbortHandle,
}

/// The outcome of a job, and the waker of its consumer.
#[derive(Debug)]
struct End<T> {
    outcome: Mutex<Option<Result<T>>>,
    report: Arc<Report>,
}

/// Ends a job with an error if its task ends without an outcome: by a panic, or with the engine.
struct EndOfJob<T>(Arc<End<T>>);

impl<T> End<T> {
    fn put(&self, outcome: Result<T>) {
        lock(&self.outcome).get_or_insert(outcome);
        self.report.wake();
    }
}

impl<T> Drop for EndOfJob<T> {
    fn drop(&mut self) {
        self.0.put(Err(failed()));
    }
}

impl<T> Job<T> {
    /// The outcome, once; while it is `None`, the waker is called when there is something new.
    ///
    /// # Errors
    /// [`ErrorKind::Internal`](crate::ErrorKind::Internal) if the job ended without an outcome: it panicked, or the engine
    /// was shut down.
    pub fn poll(&self) -> Option<Result<T>> {
        lock(&self.end.outcome).take()
    }

    /// As [`Rows::wake_with`].
    pub fn wake_with(&self, waker: impl Fn() + Send + Sync + 'static) {
        self.end.report.wake_with(waker);
    }

    /// The notices since the last call.
    pub fn take_notices(&self) -> Vec<Notice> {
        self.end.report.take_notices()
    }
}

impl<T> Drop for Job<T> {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl std::fmt::Debug for Engine {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Engine")
    }
}

impl Engine {
    /// Starts the thread, which inherits the signal mask of the caller.
    ///
    /// # Errors
    /// The system has no thread or no poller left.
    pub fn start() -> io::Result<Self> {
        let runtime = Builder::new_current_thread().enable_all().thread_name("acumatica_fdw dns").build()?;
        let handle = runtime.handle().clone();
        let (stop, stopped) = oneshot::channel();
        let thread = std::thread::Builder::new().name("acumatica_fdw io".into()).spawn(move || {
            // Woken by a message, or when the sender is dropped.
            let _ = runtime.block_on(stopped);
            // A name lookup may take too long to wait for.
            runtime.shutdown_background();
        })?;
        Ok(Self { runtime: handle, closing: watch::Sender::new(false), stop, thread })
    }

    /// Starts a scan.
    pub fn scan(&self, client: &Client, request: ScanRequest) -> Rows {
        let shared = Shared::new();
        let site = Arc::clone(&client.0);
        let guard = EndGuard(Arc::clone(&shared));
        let mut closing = self.closing.subscribe();
        let task = self.runtime.spawn(async move {
            tokio::select! {
                biased;
                _ = closing.wait_for(|closing| *closing) => {}
                end = ladder::run(site, request, &guard.0) => guard.0.finish(end),
            }
        });
        Rows::new(shared, task.abort_handle())
    }

    /// Closes the sessions of a server, or of one of its user mappings. The outcome is how many there were.
    ///
    /// # Errors
    /// The shared state cannot be read.
    pub fn close(&self, directory: &Path, sealer: &Arc<Sealer>, mapping: Option<u32>) -> Result<Job<usize>> {
        let store = Store::open(directory, Arc::clone(sealer))?;
        Ok(self.job(|_| async move {
            let fits = |record: &crate::session::store::SessionRecord| {
                mapping.is_none_or(|wanted| record.mapping == wanted)
            };
            close(&store, fits, None).await
        }))
    }

    /// Closes the sessions of servers that were dropped, alone or with their database, and removes the directory.
    pub fn remove(&self, directory: PathBuf, servers: &[PathBuf], sealer: &Arc<Sealer>) {
        let open = |server: &PathBuf| Store::open(server, Arc::clone(sealer)).ok();
        let stores: Vec<_> = servers.iter().filter_map(open).collect();
        self.runtime.spawn(async move {
            for store in stores {
                close(&store, |_| true, None).await;
            }
            // Files that cannot be removed are sealed.
            let _ = fs::remove_dir_all(&directory);
        });
    }

    /// Closes the sessions of a client whose options have changed or whose mapping was dropped.
    pub fn retire(&self, client: Client) {
        self.runtime.spawn(async move { client.0.connection.retire().await });
    }

    /// Checks the connection to the server step by step.
    pub fn check(&self, client: &Client, expected: Expected) -> Job<Vec<Step>> {
        let connection = Arc::clone(&client.0.connection);
        self.job(|report| check::run(connection, expected, report))
    }

    /// Finishes an authorization with the address that the browser was sent to, or the code in it.
    ///
    /// # Errors
    /// The outcome is an error if no authorization was begun with the state in the address, if the server refuses the code,
    /// or if the tokens cannot be written.
    pub fn authorize(&self, client: &Client, answer: String) -> Job<Result<Authorized>> {
        let site = Arc::clone(&client.0);
        self.job(|report| finish(site, answer, report))
    }

    /// The same, with the answer that the browser brings to the callback on this machine. The text is the URL of the
    /// authorization page.
    ///
    /// # Errors
    /// The callback is on another machine, or the state cannot be written. The outcome is an error if nobody comes to
    /// the callback within `patience`, or as that of [`Engine::authorize`].
    pub fn authorize_wait(
        &self,
        client: &Client,
        patience: Duration,
    ) -> Result<(Job<Result<Authorized>>, String)> {
        let site = Arc::clone(&client.0);
        let connection = &site.connection;
        let callback = oauth::loopback(oauth::app_of(&connection.config)?)?;
        let (url, state) = oauth::begin(&connection.config, &connection.store)?;
        let job = self.job(|report| async move {
            let answer = callback::wait(&callback, &state, patience).await?;
            finish(site, answer, report).await
        });
        Ok((job, url))
    }

    /// The contract endpoints that the instance lists; empty if it does not.
    ///
    /// # Errors
    /// The outcome is an error if the instance cannot be reached, refuses the sign-in, or if its list cannot be read.
    pub fn endpoints(&self, client: &Client) -> Job<Result<Vec<Endpoint>>> {
        self.ask(client, |asker| async move { asker.endpoints().await })
    }

    /// The definition of an endpoint; unset, its version is the newest that the instance lists.
    ///
    /// # Errors
    /// The outcome is an error if the instance cannot be reached, refuses the sign-in, has no such endpoint, or if the
    /// `swagger.json` cannot be read.
    pub fn contract(
        &self,
        client: &Client,
        name: String,
        version: Option<String>,
    ) -> Job<Result<(Endpoint, Contract)>> {
        self.ask(client, |asker| async move {
            let endpoint = asker.endpoint(&name, version.as_deref()).await?;
            let contract = asker.contract(&endpoint).await?;
            Ok((endpoint, contract))
        })
    }

    /// The custom fields of entities, and the errors of the entities that could not be asked for them.
    ///
    /// # Errors
    /// The outcome is an error if the instance cannot be reached or refuses the sign-in.
    pub fn custom_fields(
        &self,
        client: &Client,
        endpoint: Endpoint,
        entities: Vec<String>,
    ) -> Job<Result<(CustomFields, Vec<Error>)>> {
        self.ask(client, |asker| async move { asker.all_custom_fields(&endpoint, &entities).await })
    }

    /// The definitions of all generic inquiries or data access classes.
    ///
    /// # Errors
    /// The outcome is an error if the instance cannot be reached, refuses the sign-in, or if the `$metadata` cannot be
    /// read.
    pub fn model(&self, client: &Client, surface: Surface) -> Job<Result<Model>> {
        self.ask(client, move |asker| async move { asker.definitions(surface).await })
    }

    /// Which of the inquiries the user cannot read, and why; the first row of each is asked for.
    ///
    /// # Errors
    /// The outcome is an error if the instance cannot be reached, refuses the sign-in, or does not answer for three inquiries
    /// in a row.
    pub fn check_inquiries(&self, client: &Client, names: Vec<String>) -> Job<Result<Checked>> {
        self.ask(client, |asker| async move { asker.check_inquiries(&names).await })
    }

    /// The content of an attachment, which may have at most `limit` bytes.
    ///
    /// # Errors
    /// The outcome is an error if `href` leads to another site, if there is no such file, or if it is larger.
    pub fn file(&self, client: &Client, href: String, limit: usize) -> Job<Result<Vec<u8>>> {
        self.ask(client, move |asker| async move { asker.file(&href, limit).await })
    }

    fn ask<T, F>(&self, client: &Client, question: impl FnOnce(Asker) -> F) -> Job<Result<T>>
    where
        T: Send + 'static,
        F: Future<Output = Result<T>> + Send + 'static,
    {
        let site = Arc::clone(&client.0);
        self.job(|report| {
            let active = ActiveUse(Arc::clone(&site.connection));
            let answer = question(Asker::new(site, report));
            async move {
                let _active = active;
                answer.await
            }
        })
    }

    fn job<T, F>(&self, start: impl FnOnce(Arc<Report>) -> F) -> Job<T>
    where
        T: Send + 'static,
        F: Future<Output = T> + Send + 'static,
    {
        let report = Arc::<Report>::default();
        let end = Arc::new(End { outcome: Mutex::new(None), report: Arc::clone(&report) });
        let (work, guard) = (start(report), EndOfJob(Arc::clone(&end)));
        let mut closing = self.closing.subscribe();
        let task = self.runtime.spawn(async move {
            tokio::select! {
                biased;
                _ = closing.wait_for(|closing| *closing) => {}
                done = work => guard.0.put(Ok(done)),
            }
        });
        Job { end, task: task.abort_handle() }
    }

    /// Leaves the sessions of `clients` and stops the thread. Waits no longer than a sign-out may take, or, while
    /// tokens are renewed, than their `operation_timeout`.
    pub fn shut_down(self, clients: Vec<Client>) {
        // A running scan would open a session again that is closed below.
        self.closing.send_replace(true);
        let renewing = clients.iter().filter(|client| !client.0.connection.renewals.is_empty());
        let renewals =
            renewing.map(|client| client.0.connection.config.operation_timeout).max().unwrap_or_default();
        let (done, finished) = mpsc::channel::<()>();
        self.runtime.spawn(async move {
            // All at once, so that a server that does not answer does not delay the others.
            join_all(clients.iter().map(|client| client.0.connection.leave())).await;
            drop(done);
        });
        // No message is sent: the drop of the sender ends the wait.
        let _ = finished.recv_timeout(renewals + SIGN_OUT_PATIENCE);
        drop(self.stop);
        let _ = self.thread.join();
    }
}

async fn finish(site: Arc<Site>, answer: String, report: Arc<Report>) -> Result<Authorized> {
    let authorized = Arc::clone(&site.connection).authorize(answer).await?;
    check::tenant(&site, &report).await?;
    Ok(authorized)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::ErrorKind;

    #[test]
    fn issue_5_a_job_that_panics_wakes_whoever_waits_and_is_an_error() {
        fn outcome<T>(job: &Job<T>) -> Result<T> {
            let (knock, knocks) = mpsc::channel();
            job.wake_with(move || {
                let _ = knock.send(());
            });
            loop {
                if let Some(outcome) = job.poll() {
                    return outcome;
                }
                knocks.recv_timeout(Duration::from_secs(10)).expect("nobody was woken");
            }
        }
        let engine = Engine::start().unwrap();
        let job: Job<()> = engine.job(|_| async { panic!("this panic is the test's") });
        assert_eq!(outcome(&job).unwrap_err().kind, ErrorKind::Internal);
        // The thread goes on.
        assert_eq!(outcome(&engine.job(|_| async { 7 })).unwrap(), 7);
        // Nor does anybody wait for a job that the end of the engine stops.
        let job: Job<()> = engine.job(|_| std::future::pending());
        engine.shut_down(Vec::new());
        assert_eq!(job.poll().unwrap().unwrap_err().kind, ErrorKind::Internal);
    }
}

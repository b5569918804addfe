//! The thread that does all waiting for the network, and the way in for everyone else.

use std::io;
use std::sync::Arc;
use std::sync::mpsc;
use std::thread::JoinHandle;

use futures_util::future::{join, join_all};
use tokio::runtime::{Builder, Handle};
use tokio::sync::{oneshot, watch};

use crate::config::Config;
use crate::error::Result;
use crate::fetch;
use crate::request::ScanRequest;
use crate::scan::{EndGuard, Rows, Shared, Waker};
use crate::session::{Connection, SIGN_OUT_PATIENCE};

/// Runs scans on one thread of its own. All methods return at once, but for [`Engine::shut_down`].
pub struct Engine {
    runtime: Handle,
    waker: Waker,
    /// True once scans must not send anything more.
    closing: watch::Sender<bool>,
    /// Dropping it ends the thread.
    stop: oneshot::Sender<()>,
    thread: JoinHandle<()>,
}

/// A server as one user sees it; its session is opened when the first scan needs it.
#[derive(Clone, Debug)]
pub struct Client(Arc<Connection>);

impl Client {
    /// # Errors
    /// TLS cannot be set up. Nothing is sent.
    pub fn new(config: Config) -> Result<Self> {
        Ok(Self(Arc::new(Connection::new(config)?)))
    }

    pub fn config(&self) -> &Config {
        &self.0.config
    }
}

impl std::fmt::Debug for Engine {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Engine")
    }
}

impl Engine {
    /// Starts the thread. `waker` is called on it whenever a consumer that found nothing should look
    /// again; it must not block. The thread inherits the signal mask of the caller.
    ///
    /// # Errors
    /// The system has no thread or no poller left.
    pub fn start(waker: impl Fn() + Send + Sync + 'static) -> io::Result<Self> {
        let runtime = Builder::new_current_thread().enable_all().thread_name("acumatica_fdw dns").build()?;
        let handle = runtime.handle().clone();
        let (stop, stopped) = oneshot::channel();
        let thread = std::thread::Builder::new().name("acumatica_fdw io".into()).spawn(move || {
            // Woken by a message or by the sender's end alike.
            let _ = runtime.block_on(stopped);
            // A name lookup may hang longer than anybody wants to wait.
            runtime.shutdown_background();
        })?;
        Ok(Self { runtime: handle, waker: Arc::new(waker), closing: watch::Sender::new(false), stop, thread })
    }

    /// Closes the sessions of `outdated` in the background: those on the instance of `client`, whose
    /// seats it may need, before `client` opens one of its own.
    pub fn replace(&self, client: &Client, outdated: Vec<Client>) {
        let connection = Arc::clone(&client.0);
        let (here, elsewhere): (Vec<_>, Vec<_>) = outdated
            .into_iter()
            .map(|Client(connection)| connection)
            .partition(|outdated| outdated.config.instance == connection.config.instance);
        connection.replace(here);
        self.runtime.spawn(async move {
            let others = elsewhere.iter().map(|connection| connection.sign_out());
            join(connection.sign_out_predecessors(), join_all(others)).await;
        });
    }

    /// Starts a scan.
    pub fn scan(&self, client: &Client, request: ScanRequest) -> Rows {
        let shared = Shared::new(Arc::clone(&self.waker));
        let connection = Arc::clone(&client.0);
        let guard = EndGuard(Arc::clone(&shared));
        let mut closing = self.closing.subscribe();
        let task = self.runtime.spawn(async move {
            tokio::select! {
                biased;
                _ = closing.wait_for(|closing| *closing) => {}
                end = fetch::run(connection, request, &guard.0) => guard.0.finish(end),
            }
        });
        Rows::new(shared, task.abort_handle())
    }

    /// Signs out of `clients`, waiting no longer than one sign-out may take, and ends the thread.
    pub fn shut_down(self, clients: Vec<Client>) {
        // A scan that goes on would open the session again that is closed below.
        self.closing.send_replace(true);
        let (done, finished) = mpsc::channel::<()>();
        self.runtime.spawn(async move {
            // All at once: a server that hangs must not keep the others from hearing of it.
            join_all(clients.iter().map(|client| client.0.sign_out())).await;
            drop(done);
        });
        // An answer never comes: the end of the sender is the message.
        let _ = finished.recv_timeout(SIGN_OUT_PATIENCE);
        drop(self.stop);
        let _ = self.thread.join();
    }
}

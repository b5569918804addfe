//! A simulator of Acumatica's remote interfaces: contract REST, generic inquiries and data access classes over OData,
//! cookie, Basic and OAuth sign-in, with the unpleasant parts (`docs/acumatica.md` lists them).
//!
//! Read only: `PUT`, `POST` and `DELETE` of records answer 405, except the `PUT` of inquiry forms. Data is a pure
//! function of seed and scale, computed as it is read.
//!
//! ```no_run
//! use acumatica_sim::{Config, Fault, FaultKind, Simulator};
//! let sim = Simulator::start(Config { seats: 1, ..Config::default() });
//! sim.control().add_fault(Fault { ms: 500, ..Fault::new("SalesOrder", FaultKind::Delay) });
//! println!("{}", sim.url());
//! ```

#![forbid(unsafe_code)]

mod config;
mod control;
mod cookies;
mod data;
mod dump;
mod faults;
mod filter;
mod generated;
mod headers;
mod http;
mod identity;
mod limits;
mod log;
mod login;
mod login_page;
mod metadata;
mod oauth;
mod odata;
mod openid;
mod query;
mod reply;
mod request;
mod rest;
mod routes;
mod secrets;
mod session;
mod state;
mod views;
mod zone;

use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::thread::JoinHandle;

pub use config::{BareSet, Config, Forms, Ids, Release, SwitchedOff};
pub use dump::{dump, list};
pub use faults::{Fault, FaultKind};
pub use log::Entry;
use state::State;

/// A running simulator. It has threads of its own, so it serves synchronous and asynchronous tests alike; dropping it
/// closes every connection.
pub struct Simulator {
    state: Arc<State>,
    address: SocketAddr,
    stop: Option<tokio::sync::oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Simulator {
    /// Starts, and returns when it listens.
    ///
    /// # Panics
    /// As `try_start` fails.
    pub fn start(config: Config) -> Simulator {
        Simulator::try_start(config).unwrap_or_else(|error| panic!("cannot start the simulator: {error}"))
    }

    /// # Errors
    /// If it cannot listen or start a thread, or an endpoint definition cannot be read.
    pub fn try_start(config: Config) -> std::io::Result<Simulator> {
        let listener = TcpListener::bind(&config.listen)?;
        listener.set_nonblocking(true)?;
        let address = listener.local_addr()?;
        let state = Arc::new(State::new(config)?);
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(4).enable_all().build()?;
        let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
        let shared = state.clone();
        let serve = move || {
            runtime.block_on(async move {
                let Ok(listener) = tokio::net::TcpListener::from_std(listener) else { return };
                tokio::select! {
                    _ = http::accept(shared, listener) => {}
                    _ = stopped => {}
                }
            });
            runtime.shutdown_background();
        };
        let thread = std::thread::Builder::new().name("acumatica-sim".into()).spawn(serve)?;
        Ok(Simulator { state, address, stop: Some(stop), thread: Some(thread) })
    }

    /// `http://127.0.0.1:PORT/Site`.
    pub fn url(&self) -> String {
        format!("http://{}{}", self.address, self.state.config.site())
    }

    pub fn control(&self) -> Control<'_> {
        Control { state: &self.state }
    }
}

impl Drop for Simulator {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// The control URLs, without HTTP.
pub struct Control<'a> {
    state: &'a State,
}

impl Control<'_> {
    pub fn requests(&self) -> Vec<Entry> {
        self.state.log.list()
    }

    pub fn clear_requests(&self) {
        self.state.log.clear();
    }

    /// Open sessions: `id`, `user`, `tenant`, `how`, `opened`, `last_used`, `requests`.
    pub fn sessions(&self) -> Vec<serde_json::Value> {
        self.state.sessions.list()
    }

    pub fn close_sessions(&self) {
        self.state.sessions.close_all();
    }

    pub fn add_fault(&self, fault: Fault) {
        self.state.faults.add(fault);
    }

    pub fn faults(&self) -> Vec<Fault> {
        self.state.faults.list()
    }

    pub fn clear_faults(&self) {
        self.state.faults.clear();
    }

    /// Puts a new row before position `index` of an entity of the first tenant.
    ///
    /// # Errors
    /// If there is no such entity or position, or no key fits there.
    pub fn insert_row(&self, table: &str, index: u64) -> Result<(), String> {
        let body = serde_json::json!({ "table": table, "insert_before": index });
        control::rows(self.state, body.to_string().as_bytes())
    }

    /// Deletes the row at position `index` and its details.
    ///
    /// # Errors
    /// If there is no such entity or position.
    pub fn delete_row(&self, table: &str, index: u64) -> Result<(), String> {
        let body = serde_json::json!({ "table": table, "delete": index });
        control::rows(self.state, body.to_string().as_bytes())
    }

    pub fn reset_rows(&self) {
        self.state.reset_rows();
    }

    /// Every token, code, cookie, password and client secret issued or known in this run, expired ones too.
    pub fn secrets(&self) -> Vec<String> {
        self.state.secrets.list()
    }

    /// `open` and since the last reset `peak` (most open at once), `opened`, `refused` (for want of a seat).
    pub fn seats(&self) -> serde_json::Value {
        self.state.sessions.seats()
    }

    pub fn reset_seats(&self) {
        self.state.sessions.reset_seats();
    }

    pub fn expire_access_tokens(&self) {
        self.state.oauth.expire_access();
    }

    pub fn expire_refresh_tokens(&self) {
        self.state.oauth.expire_refresh();
    }

    /// Adds a connected application, or changes the secret of one.
    pub fn set_client(&self, id: &str, secret: &str) {
        self.state.set_client(id, secret);
    }

    /// Adds a user, or changes the password of one.
    pub fn set_user(&self, name: &str, password: &str) {
        self.state.set_user(name, password);
    }
}

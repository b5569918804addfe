//! A client of Acumatica's remote interfaces that reads lists of records as typed columns.
//!
//! It knows all of Acumatica and nothing of PostgreSQL. An [`Engine`] runs scans on a thread of its own; a [`Client`]
//! is a server as one user sees it; a [`ScanRequest`] says what to read, and [`Rows`] returns it in batches, as they
//! arrive. Remote facts come from `docs/acumatica.md`.
#![warn(missing_docs, clippy::missing_errors_doc)]
#![forbid(unsafe_code)]

mod allowance;
pub mod catalog;
mod config;
pub mod decode;
mod dialect;
mod encode;
mod engine;
mod error;
mod instance;
mod metadata;
mod read;
mod report;
mod request;
mod seal;
mod session;
mod transport;

pub use allowance::Allowance;
pub use catalog::loose;
pub use config::{
    App, Config, Credentials, Login, ODataVersion, Proxy, Secret, SharedState, Transport, check_tenant,
};
pub use dialect::endpoint::{Endpoint, FALLBACK_VERSION};
pub use dialect::{OWN_TENANT, describe, dialect_of};
pub use engine::{Client, Engine, Job};
pub use error::{Error, ErrorKind, Result};
pub use instance::{InstanceUrl, UrlError};
pub use metadata::check::{Expected, Step, unusable};
pub use metadata::discover::{Checked, CustomFields};
pub use metadata::experience::Experience;
pub use metadata::sample::DayFields;
pub use metadata::speed::Speed;
pub use read::scan::{Rows, ScanStats};
pub use report::Notice;
pub use request::{Context, Findings, Order, Parameter, ScanRequest, Surface, Target};
pub use seal::{Purpose, Sealer, is_sealed};
pub use session::listing::{SessionRow, SessionState, forget, knows, sessions};
pub use session::oauth::Authorized;

/// The parsers of remote documents, for `fuzz/`.
#[cfg(fuzzing)]
#[doc(hidden)]
pub mod fuzzing {
    pub fn openapi(data: &[u8]) {
        let _ = crate::metadata::openapi::parse(data);
    }

    /// All at once, and in pieces as they come from a connection.
    pub fn csdl(data: &[u8]) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().expect("it needs nothing");
        let pieces = tokio::io::BufReader::with_capacity(7, data);
        let whole = runtime.block_on(crate::metadata::csdl::parse(data, &|_| true));
        let again = runtime.block_on(crate::metadata::csdl::parse(pieces, &|_| true));
        assert_eq!(whole.is_ok(), again.is_ok());
        if let (Ok(whole), Ok(again)) = (whole, again) {
            assert_eq!(whole, again);
            for set in &whole.sets {
                assert!(crate::metadata::csdl::find(&whole, &set.name).is_some());
            }
        }
    }

    pub fn endpoints(data: &[u8]) {
        if let Ok(text) = std::str::from_utf8(data) {
            if let Ok(listed) = crate::dialect::endpoint::parse_list(text) {
                let _ = crate::dialect::endpoint::newest(&listed.endpoints, "Default");
            }
        }
    }

    pub fn adhoc(data: &[u8]) {
        let _ = crate::metadata::adhoc::parse(data);
    }
}

/// Locks a mutex that is never held while its contents are half changed. So a panic of another holder is no reason to
/// fail.
fn lock<T>(mutex: &std::sync::Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}

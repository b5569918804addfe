//! A client of Acumatica's remote interfaces that reads lists of records as typed columns.
//!
//! It knows all of Acumatica and nothing of PostgreSQL. An [`Engine`] runs scans on a thread of its
//! own; a [`Client`] is a server as one user sees it; a [`ScanRequest`] says what to read, and [`Rows`]
//! brings it, batch by batch, as it arrives. Remote facts come from `docs/acumatica.md`.
#![forbid(unsafe_code)]

mod access;
mod adhoc;
mod answer;
mod body;
mod callback;
pub mod catalog;
mod check;
mod config;
mod connection;
mod continuity;
mod cookies;
mod csdl;
pub mod decode;
mod definition;
mod dialect;
mod discover;
mod encode;
mod endpoint;
mod engine;
mod error;
mod exchange;
mod fetch;
mod fields;
mod files;
mod http;
mod instance;
mod layout;
mod learnt;
mod lease;
mod listing;
mod lookup;
mod missing;
mod negotiate;
mod oauth;
mod openapi;
mod page;
mod pages;
mod parameters;
mod place;
mod portions;
mod refusal;
mod rejected;
mod rename;
mod report;
mod request;
mod response;
mod retry;
mod rows;
mod sample;
mod scan;
mod seal;
mod service;
mod sign_in;
mod sign_out;
mod site;
mod store;
mod supplement;
mod tenant;
mod tls;
mod token_answer;
mod turns;
mod upkeep;
mod witness;

pub use catalog::loose;
pub use check::{Expected, Step, unusable};
pub use config::{
    App, Config, Credentials, Login, ODataVersion, Place, Proxy, Secret, Transport, check_tenant,
};
pub use dialect::{OWN_TENANT, describe, dialect_of};
pub use discover::{Checked, CustomFields};
pub use endpoint::{Endpoint, FALLBACK_VERSION};
pub use engine::{Client, Engine, Job};
pub use error::{Error, ErrorKind, Result};
pub use instance::{InstanceUrl, UrlError};
pub use listing::{SessionRow, SessionState, forget, knows, sessions};
pub use oauth::Authorized;
pub use report::Notice;
pub use request::{Context, Findings, Order, Parameter, ScanRequest, Surface, Target};
pub use sample::DayFields;
pub use scan::{Rows, ScanStats};
pub use seal::{Purpose, Sealer, is_sealed};

/// The parsers of remote documents, for `fuzz/`.
#[cfg(fuzzing)]
#[doc(hidden)]
pub mod fuzzing {
    pub fn openapi(data: &[u8]) {
        let _ = crate::openapi::parse(data);
    }

    /// All at once, and in pieces as they come from a connection.
    pub fn csdl(data: &[u8]) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().expect("it needs nothing");
        let pieces = tokio::io::BufReader::with_capacity(7, data);
        let whole = runtime.block_on(crate::csdl::parse(data, &|_| true));
        let again = runtime.block_on(crate::csdl::parse(pieces, &|_| true));
        assert_eq!(whole.is_ok(), again.is_ok());
        if let (Ok(whole), Ok(again)) = (whole, again) {
            assert_eq!(whole, again);
            for set in &whole.sets {
                assert!(crate::csdl::find(&whole, &set.name).is_some());
            }
        }
    }

    pub fn endpoints(data: &[u8]) {
        if let Ok(text) = std::str::from_utf8(data) {
            if let Ok(listed) = crate::endpoint::parse_list(text) {
                let _ = crate::endpoint::newest(&listed.endpoints, "Default");
            }
        }
    }

    pub fn adhoc(data: &[u8]) {
        let _ = crate::adhoc::parse(data);
    }
}

/// Locks a mutex that is never held across anything that could leave its contents half changed, so that
/// a panic elsewhere is no reason to fail here too.
fn lock<T>(mutex: &std::sync::Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}

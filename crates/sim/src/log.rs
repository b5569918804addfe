//! The requests seen, for `/__sim/requests`.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Mutex;

use serde::Serialize;

/// Older requests are forgotten.
const KEPT: usize = 100_000;

#[derive(Clone, Debug, Default, Serialize)]
pub struct Entry {
    pub n: u64,
    pub method: String,
    pub path: String,
    /// Decoded.
    pub query: String,
    pub raw_query: String,
    /// 0 until the headers are sent.
    pub status: u16,
    pub ms: u64,
    pub session: String,
    /// Those that change what Acumatica answers, by their names in lower case.
    pub headers: BTreeMap<String, String>,
    /// It came with an `Authorization: Bearer` header.
    pub bearer: bool,
    /// Of a call to the token endpoint.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub grant_type: Option<String>,
    /// Of the body, as sent.
    pub bytes: u64,
    /// The whole answer was handed to the network.
    pub done: bool,
}

#[derive(Default)]
pub struct Log {
    inner: Mutex<(u64, VecDeque<Entry>)>,
}

impl Log {
    /// Adds a request and gives it its number.
    pub fn begin(&self, mut entry: Entry) -> u64 {
        let mut inner = self.inner.lock().unwrap();
        inner.0 += 1;
        entry.n = inner.0;
        inner.1.push_back(entry);
        if inner.1.len() > KEPT {
            inner.1.pop_front();
        }
        inner.0
    }

    pub fn update(&self, n: u64, change: impl FnOnce(&mut Entry)) {
        let mut inner = self.inner.lock().unwrap();
        // Numbers ascend; the list may have been cleared meanwhile.
        if let Ok(at) = inner.1.binary_search_by_key(&n, |e| e.n) {
            change(&mut inner.1[at]);
        }
    }

    pub fn list(&self) -> Vec<Entry> {
        self.inner.lock().unwrap().1.iter().cloned().collect()
    }

    pub fn clear(&self) {
        self.inner.lock().unwrap().1.clear();
    }
}

//! Every secret of this run, for `/__sim/secrets`: tests look for them where they must not be.

use std::collections::BTreeSet;
use std::sync::Mutex;

#[derive(Default)]
pub struct Secrets {
    known: Mutex<BTreeSet<String>>,
}

impl Secrets {
    /// Remembers a secret for good; an empty one is none.
    pub fn add(&self, secret: &str) {
        if !secret.is_empty() {
            self.known.lock().unwrap().insert(secret.to_string());
        }
    }

    pub fn list(&self) -> Vec<String> {
        self.known.lock().unwrap().iter().cloned().collect()
    }
}

//! The request quota and the number of concurrent requests (docs/acumatica.md §5).

use std::collections::VecDeque;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use serde_json::json;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::config::Config;
use crate::reply::Reply;

const MINUTE: Duration = Duration::from_secs(60);
const QUEUE: usize = 20;
const LONGEST_WAIT: Duration = Duration::from_secs(600);

pub struct Limits {
    recent: Mutex<VecDeque<Instant>>,
    running: Arc<Semaphore>,
    waiting: AtomicUsize,
}

impl Limits {
    pub fn new(config: &Config) -> Limits {
        Limits {
            recent: Mutex::default(),
            running: Arc::new(Semaphore::new(config.concurrency)),
            waiting: AtomicUsize::new(0),
        }
    }

    /// Waits as the licence demands; the permit is held until the answer has been computed.
    pub async fn admit(&self, config: &Config) -> Result<Option<OwnedSemaphorePermit>, Reply> {
        if config.quota > 0 {
            let seen = {
                let mut recent = self.recent.lock().unwrap();
                while recent.front().is_some_and(|t| t.elapsed() > MINUTE) {
                    recent.pop_front();
                }
                recent.push_back(Instant::now());
                recent.len()
            };
            if seen > config.quota {
                return Err(too_many(config));
            }
            if seen > config.quota / 2 {
                // Spreads the second half of the quota over what is left of the minute.
                tokio::time::sleep((MINUTE / config.quota as u32).min(Duration::from_secs(2))).await;
            }
        }
        if config.concurrency == 0 {
            return Ok(None);
        }
        if let Ok(permit) = self.running.clone().try_acquire_owned() {
            return Ok(Some(permit));
        }
        let ahead = self.waiting.fetch_add(1, Ordering::Relaxed);
        let _waiting = Waiting(&self.waiting);
        if ahead >= QUEUE {
            return Err(too_many(config));
        }
        match tokio::time::timeout(LONGEST_WAIT, self.running.clone().acquire_owned()).await {
            Ok(Ok(permit)) => Ok(Some(permit)),
            _ => Err(too_many(config)),
        }
    }
}

/// Leaves the queue, also when the client hangs up while it waits.
struct Waiting<'a>(&'a AtomicUsize);

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

fn too_many(config: &Config) -> Reply {
    let reply = Reply::json(429, &json!({ "message": "Too many requests. The request has been declined." }));
    match config.retry_after {
        Some(seconds) => reply.header("retry-after", seconds.to_string()),
        None => reply,
    }
}

//! Everything a running simulator knows.

use std::sync::Arc;
use std::time::SystemTime;

use crate::config::Config;
use crate::data::Data;
use crate::faults::Faults;
use crate::limits::Limits;
use crate::log::Log;
use crate::oauth::OAuth;
use crate::session::Sessions;
use crate::views::Views;

pub struct State {
    pub config: Config,
    pub tenants: Vec<(String, Arc<Data>)>,
    pub views: Views,
    pub sessions: Sessions,
    pub oauth: OAuth,
    pub faults: Faults,
    pub log: Log,
    pub limits: Limits,
    /// Makes ids of this run unlike those of any other.
    pub started: u64,
}

impl State {
    pub fn new(config: Config) -> State {
        let tenants = config.tenants.iter().map(|name| {
            let data = Data::new(config.seed, config.scale, name);
            (name.clone(), Arc::new(data))
        });
        let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        State {
            tenants: tenants.collect(),
            views: Views::new(),
            sessions: Sessions::default(),
            oauth: OAuth::new(&config),
            faults: Faults::default(),
            log: Log::default(),
            limits: Limits::new(&config),
            started: since.as_nanos() as u64 ^ u64::from(std::process::id()) << 48,
            config,
        }
    }

    /// The tenant of a name; without a name the first. A site with one tenant accepts any name
    /// (acumatica-api.md §4).
    pub fn tenant(&self, name: &str) -> Option<usize> {
        if name.is_empty() || self.tenants.len() == 1 {
            return Some(0);
        }
        self.tenants.iter().position(|(tenant, _)| tenant.eq_ignore_ascii_case(name))
    }

    pub fn data(&self, tenant: usize) -> Arc<Data> {
        self.tenants[tenant].1.clone()
    }
}

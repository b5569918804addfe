//! Everything a running simulator knows.

use std::sync::{Arc, Mutex};
use std::time::SystemTime;

use crate::config::Config;
use crate::data::{Data, stored};
use crate::faults::Faults;
use crate::generated::definition::EndpointDefinition;
use crate::limits::Limits;
use crate::log::Log;
use crate::oauth::OAuth;
use crate::secrets::Secrets;
use crate::session::Sessions;
use crate::views::Views;
use crate::zone::TimeZone;

pub struct State {
    pub config: Config,
    pub tenants: Vec<(String, Arc<Data>)>,
    pub views: Views,
    /// Endpoints made from definitions.
    pub definitions: Vec<EndpointDefinition>,
    /// Names and passwords.
    users: Mutex<Vec<(String, String)>>,
    pub secrets: Arc<Secrets>,
    pub sessions: Sessions,
    pub oauth: OAuth,
    pub faults: Faults,
    pub log: Log,
    pub limits: Limits,
    /// Of the site. It lives as long as the program, so that values can be written without counting references.
    pub zone: &'static TimeZone,
    /// Makes ids of this run unlike those of any other.
    pub started: u64,
}

impl State {
    pub fn new(config: Config) -> std::io::Result<State> {
        let schema = stored::with_files(config.tables.as_deref())?;
        let tenants = config.tenants.iter().map(|name| {
            let data = Data::new(schema, config.seed, config.scale, name);
            (name.clone(), Arc::new(data))
        });
        let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        let started = since.as_nanos() as u64 ^ u64::from(std::process::id()) << 48;
        let secrets = Arc::<Secrets>::default();
        let state = State {
            tenants: tenants.collect(),
            views: Views::new(schema),
            definitions: config
                .definitions
                .iter()
                .map(|f| EndpointDefinition::read(f))
                .collect::<Result<_, _>>()?,
            users: Mutex::default(),
            secrets: secrets.clone(),
            sessions: Sessions::new(&config, started, secrets.clone()),
            oauth: OAuth::new(started, secrets),
            faults: Faults::default(),
            log: Log::default(),
            limits: Limits::new(&config),
            zone: Box::leak(Box::new(TimeZone::find(&config.time_zone)?)),
            started,
            config,
        };
        for (name, password) in state.config.users.iter().filter_map(|u| u.split_once(':')) {
            state.set_user(name, password);
        }
        for text in &state.config.clients {
            let (id, secret) = text.split_once(':').unwrap_or((text, ""));
            state.set_client(id, secret);
        }
        Ok(state)
    }

    /// Seconds since 1970 by the server's clock, which may be off.
    pub fn now(&self) -> i64 {
        let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        (since.as_secs() as i64).saturating_add(self.config.clock_offset)
    }

    /// Adds a user, or changes the password of one; open sessions stay.
    pub fn set_user(&self, name: &str, password: &str) {
        self.secrets.add(password);
        let mut users = self.users.lock().unwrap();
        match users.iter_mut().find(|(known, _)| known.eq_ignore_ascii_case(name)) {
            Some((_, old)) => *old = password.to_string(),
            None => users.push((name.to_string(), password.to_string())),
        }
    }

    /// Adds a connected application, or changes the secret of one; its tokens stay.
    pub fn set_client(&self, id: &str, secret: &str) {
        self.secrets.add(secret);
        self.oauth.set_client(id, secret);
    }

    pub fn user_names(&self) -> Vec<String> {
        self.users.lock().unwrap().iter().map(|(name, _)| name.clone()).collect()
    }

    pub fn has_user(&self, name: &str) -> bool {
        self.users.lock().unwrap().iter().any(|(known, _)| known.eq_ignore_ascii_case(name))
    }

    pub fn is_password(&self, name: &str, password: &str) -> bool {
        let users = self.users.lock().unwrap();
        users.iter().any(|(known, right)| known.eq_ignore_ascii_case(name) && right == password)
    }

    /// The tenant of a name; without a name the first. A site with one tenant accepts any name
    /// (docs/acumatica.md §4).
    pub fn tenant(&self, name: &str) -> Option<usize> {
        if name.is_empty() || self.tenants.len() == 1 {
            return Some(0);
        }
        self.tenants.iter().position(|(tenant, _)| tenant.eq_ignore_ascii_case(name))
    }

    pub fn reset_rows(&self) {
        self.tenants.iter().for_each(|(_, data)| data.reset_rows());
    }

    pub fn data(&self, tenant: usize) -> Arc<Data> {
        self.tenants[tenant].1.clone()
    }
}

//! A client that does nothing by itself: no cookies, no redirects, no errors.

use std::time::Duration;

use acumatica_sim::{Config, Simulator};
use serde_json::Value;

pub struct Answer {
    pub status: u16,
    pub headers: Vec<(String, String)>,
    /// `None` if the connection broke before the end of the body.
    pub body: Option<String>,
}

impl Answer {
    pub fn json(&self) -> Value {
        serde_json::from_str(self.text()).unwrap_or_else(|e| panic!("{e}: {} {}", self.status, self.text()))
    }

    pub fn text(&self) -> &str {
        self.body.as_deref().expect("a whole body")
    }

    pub fn all(&self, name: &str) -> Vec<&str> {
        self.headers.iter().filter(|(key, _)| key == name).map(|(_, value)| value.as_str()).collect()
    }

    /// The rows of a REST list or of an OData set.
    pub fn rows(&self) -> Vec<Value> {
        assert_eq!(self.status, 200, "{}", self.text());
        let json = self.json();
        let list = if json.is_array() { json } else { json["value"].clone() };
        list.as_array().cloned().unwrap_or_else(|| panic!("no rows: {}", self.text()))
    }

    /// Status and exception of a failure.
    pub fn failure(&self) -> (u16, String) {
        (self.status, self.json()["exceptionType"].as_str().unwrap_or("").to_string())
    }

    /// The cookies it sets, ready to be sent back.
    pub fn cookies(&self) -> String {
        let pairs = self.all("set-cookie").into_iter().map(|c| c.split(';').next().unwrap_or(""));
        pairs.collect::<Vec<_>>().join("; ")
    }
}

pub struct Client {
    agent: ureq::Agent,
    pub base: String,
    pub headers: Vec<(String, String)>,
}

/// A small site; a test changes what it needs.
pub fn small() -> Config {
    Config { scale: 0.1, site: "/Site".into(), ..Config::default() }
}

pub fn start(config: Config) -> (Simulator, Client) {
    let sim = Simulator::start(config);
    let client = Client::new(&sim.url());
    (sim, client)
}

/// A site and a client that has signed in with cookies.
pub fn signed_in(config: Config) -> (Simulator, Client) {
    let (sim, mut client) = start(config);
    let answer = client.login("admin", "secret", "Company");
    assert_eq!(answer.status, 204, "{}", answer.text());
    client.headers.push(("cookie".into(), answer.cookies()));
    (sim, client)
}

impl Client {
    pub fn new(base: &str) -> Client {
        let config = ureq::Agent::config_builder()
            .http_status_as_error(false)
            .max_redirects(0)
            .timeout_global(Some(Duration::from_secs(30)))
            .build();
        Client { agent: config.into(), base: base.to_string(), headers: Vec::new() }
    }

    pub fn login(&self, name: &str, password: &str, tenant: &str) -> Answer {
        let body = serde_json::json!({ "name": name, "password": password, "tenant": tenant });
        self.send("POST", "/entity/auth/login", Some(&body.to_string()))
    }

    pub fn get(&self, path: &str) -> Answer {
        self.send("GET", path, None)
    }

    /// A path behind `/entity/Default/24.200.001`.
    pub fn entity(&self, path: &str) -> Answer {
        self.get(&format!("/entity/Default/24.200.001/{path}"))
    }

    pub fn gi(&self, path: &str) -> Answer {
        self.get(&format!("/t/Company/api/odata/gi/{path}"))
    }

    pub fn dac(&self, path: &str) -> Answer {
        self.get(&format!("/t/Company/api/odata/dac/{path}"))
    }

    pub fn send(&self, method: &str, path: &str, body: Option<&str>) -> Answer {
        self.try_send(method, path, body).expect("an answer")
    }

    /// `None` if the connection closed without an answer.
    pub fn try_send(&self, method: &str, path: &str, body: Option<&str>) -> Option<Answer> {
        let url = format!("{}{}", self.base, path.replace(' ', "%20").replace('"', "%22"));
        let mut request = ureq::http::Request::builder().method(method).uri(url);
        for (name, value) in &self.headers {
            request = request.header(name, value);
        }
        let answer = match body {
            Some(body) => self.agent.run(request.body(body.to_string()).expect("a request")),
            None => self.agent.run(request.body(()).expect("a request")),
        };
        let mut answer = answer.ok()?;
        let headers = answer.headers().iter();
        let headers =
            headers.map(|(k, v)| (k.to_string(), String::from_utf8_lossy(v.as_bytes()).into_owned()));
        Some(Answer {
            status: answer.status().as_u16(),
            headers: headers.collect(),
            body: answer.body_mut().with_config().limit(1 << 30).read_to_string().ok(),
        })
    }
}

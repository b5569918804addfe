//! `/__sim/…`: what tests ask of the simulator itself. Not logged, no session, no latency.

use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use crate::faults::Fault;
use crate::reply::Reply;
use crate::request::Request;
use crate::state::State;

const USAGE: &str = "GET or DELETE requests, sessions, seats; GET, POST or DELETE faults; POST or DELETE rows; \
                     GET secrets; DELETE tokens, tokens/refresh; POST clients, users";

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ClientBody {
    id: String,
    secret: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct UserBody {
    name: String,
    password: String,
}

pub fn answer(state: &State, request: &Request) -> Reply {
    let what: Vec<&str> = request.segments.iter().skip(1).map(String::as_str).collect();
    let body = &request.body;
    let done = match (request.method.as_str(), what.as_slice()) {
        ("GET", ["requests"]) => return Reply::json(200, &json!(state.log.list())),
        ("GET", ["sessions"]) => return Reply::json(200, &json!(state.sessions.list())),
        ("GET", ["seats"]) => return Reply::json(200, &state.sessions.seats()),
        ("GET", ["faults"]) => return Reply::json(200, &json!(state.faults.list())),
        ("GET", ["secrets"]) => return Reply::json(200, &json!(state.secrets.list())),
        ("DELETE", what) => delete(state, what),
        ("POST", ["faults"]) => parse::<Fault>(body).map(|fault| state.faults.add(fault)),
        ("POST", ["rows"]) => rows(state, body),
        ("POST", ["clients"]) => parse::<ClientBody>(body).map(|c| state.set_client(&c.id, &c.secret)),
        ("POST", ["users"]) => parse::<UserBody>(body).map(|u| state.set_user(&u.name, &u.password)),
        _ => Err(USAGE.to_string()),
    };
    match done {
        Ok(()) => Reply::empty(204),
        Err(message) => Reply::json(400, &json!({ "error": message })),
    }
}

fn delete(state: &State, what: &[&str]) -> Result<(), String> {
    match what {
        ["requests"] => state.log.clear(),
        ["sessions"] => state.sessions.close_all(),
        ["seats"] => state.sessions.reset_seats(),
        ["faults"] => state.faults.clear(),
        ["rows"] => state.reset_rows(),
        ["tokens"] => state.oauth.expire_access(),
        ["tokens", "refresh"] => state.oauth.expire_refresh(),
        _ => return Err(USAGE.to_string()),
    }
    Ok(())
}

fn parse<T: DeserializeOwned>(body: &[u8]) -> Result<T, String> {
    serde_json::from_slice(body).map_err(|e| e.to_string())
}

/// `{"table":"SalesOrder","insert_before":5}` or `{"table":"SalesOrder","delete":5}`, with `"tenant"` if not the first.
pub fn rows(state: &State, body: &[u8]) -> Result<(), String> {
    let body: Value = parse(body)?;
    let tenant = state.tenant(body["tenant"].as_str().unwrap_or("")).ok_or("no such tenant")?;
    let data = state.data(tenant);
    let name = body["table"].as_str().ok_or("table is missing")?;
    let table =
        data.schema.find(name).filter(|t| data.schema.tables[*t].is_entity()).ok_or("no such entity")?;
    match (body["insert_before"].as_u64(), body["delete"].as_u64()) {
        (Some(index), None) => data.insert_before(table, index),
        (None, Some(index)) => data.delete(table, index),
        _ => Err("one of insert_before and delete is needed".into()),
    }
}

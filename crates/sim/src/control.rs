//! `/__sim/…`: what tests ask of the simulator itself. Not logged, no session, no latency.

use serde_json::{Value, json};

use crate::faults::Fault;
use crate::http::Request;
use crate::reply::Reply;
use crate::state::State;

pub fn answer(state: &State, request: &Request) -> Reply {
    let what = request.segments.get(1).map_or("", String::as_str);
    match (request.method.as_str(), what) {
        ("GET", "requests") => Reply::json(200, &json!(state.log.list())),
        ("DELETE", "requests") => {
            state.log.clear();
            Reply::empty(204)
        }
        ("GET", "sessions") => Reply::json(200, &json!(state.sessions.list(state))),
        ("DELETE", "sessions") => {
            state.sessions.close_all();
            Reply::empty(204)
        }
        ("GET", "faults") => Reply::json(200, &json!(state.faults.list())),
        ("DELETE", "faults") => {
            state.faults.clear();
            Reply::empty(204)
        }
        ("POST", "faults") => match serde_json::from_slice::<Fault>(&request.body) {
            Ok(fault) => {
                state.faults.add(fault);
                Reply::empty(204)
            }
            Err(error) => refuse(&error.to_string()),
        },
        ("POST", "rows") => match rows(state, &request.body) {
            Ok(()) => Reply::empty(204),
            Err(error) => refuse(&error),
        },
        ("DELETE", "rows") => {
            state.tenants.iter().for_each(|(_, data)| data.reset_rows());
            Reply::empty(204)
        }
        _ => refuse("GET or DELETE requests, sessions; GET, POST or DELETE faults; POST or DELETE rows"),
    }
}

fn refuse(message: &str) -> Reply {
    Reply::json(400, &json!({ "error": message }))
}

/// `{"table":"SalesOrder","insert_before":5}` or `{"table":"SalesOrder","delete":5}`, with `"tenant"` if not the first.
pub fn rows(state: &State, body: &[u8]) -> Result<(), String> {
    let body: Value = serde_json::from_slice(body).map_err(|e| e.to_string())?;
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

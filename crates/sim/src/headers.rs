//! Request headers that change an answer (docs/acumatica.md §2), and those that are logged.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::LazyLock;

use crate::data::Shown;
use crate::data::generator::Gen;
use crate::data::schema::SCHEMA;
use crate::data::value::compare_text;
use crate::reply::Reply;
use crate::request::Request;
use crate::session::Session;

const LOGGED: &[&str] =
    &["accept-language", "px-apiarchive", "px-apideleted", "px-cbapibranch", "px-cbapibusinessdate"];

/// The branches that the data names.
static BRANCHES: LazyLock<BTreeSet<&'static str>> = LazyLock::new(|| {
    let columns = SCHEMA.tables.iter().flat_map(|t| &t.cols);
    let branches = columns.filter(|c| matches!(c.name, "Branch" | "BranchID" | "LinkBranch"));
    let names = branches.filter_map(|c| if let Gen::Pick(names) = &c.r#gen { Some(names) } else { None });
    names.flatten().copied().collect()
});

/// Those of a request that are logged, by their names in lower case.
pub fn logged(request: &Request) -> BTreeMap<String, String> {
    let value = |name: &str| {
        let value = request.headers.get(name)?;
        Some((name.to_string(), String::from_utf8_lossy(value.as_bytes()).into_owned()))
    };
    LOGGED.iter().filter_map(|name| value(name)).collect()
}

/// A contract request works in a branch that exists, or not at all.
pub fn check_branch(request: &Request) -> Result<(), Reply> {
    let Some(branch) = request.header("px-cbapibranch") else { return Ok(()) };
    if BRANCHES.iter().any(|known| compare_text(known, branch).is_eq()) {
        return Ok(());
    }
    let message = format!("Error: The branch '{branch}' does not exist or you have no access to it.");
    Err(Reply::exception(500, "PX.Data.PXException", &message))
}

/// Which rows that are hidden otherwise are wanted. Deleted ones are on DACs only.
pub fn shown(request: &Request, dac: bool) -> Shown {
    let show = |name: &str| request.header(name).is_some_and(|v| v.trim().eq_ignore_ascii_case("SHOW"));
    Shown { archived: show("px-apiarchive"), deleted: dac && show("px-apideleted") }
}

/// Whether labels come in German: as the request says, else as the login said.
pub fn is_german(request: &Request, session: &Session) -> bool {
    let locale = request.header("accept-language").or_else(|| session.locale.get().map(String::as_str));
    locale.is_some_and(|l| l.trim().get(..2).is_some_and(|start| start.eq_ignore_ascii_case("de")))
}

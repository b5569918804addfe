//! The settings of a session: the context headers of its requests, such as the branch, and `max_calls`.

use std::ffi::CString;

use acumatica_client::Context;
use pgrx::prelude::*;
use pgrx::{GucContext, GucFlags, GucRegistry, GucSetting};

use crate::backend::encoding::from_server;
use crate::backend::error::Refusal;
use crate::catalog::option::is_date;

type Text = GucSetting<Option<CString>>;

static BRANCH: Text = Text::new(None);
static LOCALE: Text = Text::new(None);
static BUSINESS_DATE: Text = Text::new(None);
static SHOW_ARCHIVED: GucSetting<bool> = GucSetting::<bool>::new(false);
static SHOW_DELETED: GucSetting<bool> = GucSetting::<bool>::new(false);
static ENABLE_KEY_JOIN: GucSetting<bool> = GucSetting::<bool>::new(true);
static ENABLE_DETAIL_JOIN: GucSetting<bool> = GucSetting::<bool>::new(true);
static KEY_JOIN_BLOCK: GucSetting<i32> = GucSetting::<i32>::new(0);
static MAX_REQUESTS_PER_QUERY: GucSetting<i32> = GucSetting::<i32>::new(0);
static MAX_ROWS_PER_QUERY: GucSetting<i32> = GucSetting::<i32>::new(0);
static USE_MEASUREMENTS: GucSetting<bool> = GucSetting::<bool>::new(true);
static MAX_CALLS: GucSetting<i32> = GucSetting::<i32>::new(1000);

/// Defines the settings. Called once in each backend that loads the library.
pub fn define() {
    let flags = GucFlags::empty();
    GucRegistry::define_string_guc(
        c"acumatica_fdw.branch",
        c"Branch to work in.",
        c"Empty: the one that the options of table and server say.",
        &BRANCH,
        GucContext::Userset,
        flags,
    );
    GucRegistry::define_string_guc(
        c"acumatica_fdw.locale",
        c"Culture of labels and messages, such as en-US.",
        c"Empty: the one that the options of table and server say.",
        &LOCALE,
        GucContext::Userset,
        flags,
    );
    GucRegistry::define_string_guc(
        c"acumatica_fdw.business_date",
        c"Business date to work on, such as 2024-12-31.",
        c"Empty: the one that the options of table and server say.",
        &BUSINESS_DATE,
        GucContext::Userset,
        flags,
    );
    GucRegistry::define_bool_guc(
        c"acumatica_fdw.show_archived",
        c"Shows archived records too.",
        c"Off: as the options of table and server say.",
        &SHOW_ARCHIVED,
        GucContext::Userset,
        flags,
    );
    GucRegistry::define_bool_guc(
        c"acumatica_fdw.show_deleted",
        c"Shows deleted records of data access classes too.",
        c"Off: as the options of table and server say.",
        &SHOW_DELETED,
        GucContext::Userset,
        flags,
    );
    GucRegistry::define_int_guc(
        c"acumatica_fdw.max_calls",
        c"Most calls of an inquiry in one scan, one for each combination of values of its parameters.",
        c"A scan that would take more is an error.",
        &MAX_CALLS,
        1,
        i32::MAX,
        GucContext::Userset,
        flags,
    );
    GucRegistry::define_int_guc(
        c"acumatica_fdw.max_requests_per_query",
        c"Most requests that the scans of a query may send together.",
        c"0: no limit. A query that would send more is an error.",
        &MAX_REQUESTS_PER_QUERY,
        0,
        i32::MAX,
        GucContext::Userset,
        flags,
    );
    GucRegistry::define_int_guc(
        c"acumatica_fdw.max_rows_per_query",
        c"Most rows that the scans of a query may receive together.",
        c"0: no limit. A query that would receive more is an error.",
        &MAX_ROWS_PER_QUERY,
        0,
        i32::MAX,
        GucContext::Userset,
        flags,
    );
    GucRegistry::define_bool_guc(
        c"acumatica_fdw.use_measurements",
        c"Lets the planner use what earlier scans have found out: how long requests take, and how many rows a table has.",
        c"Off: the defaults, unless statistics or options tell.",
        &USE_MEASUREMENTS,
        GucContext::Userset,
        flags,
    );
    GucRegistry::define_bool_guc(
        c"acumatica_fdw.enable_key_join",
        c"Lets the planner join with a foreign table by asking for the keys of the other side.",
        c"",
        &ENABLE_KEY_JOIN,
        GucContext::Userset,
        flags,
    );
    GucRegistry::define_bool_guc(
        c"acumatica_fdw.enable_detail_join",
        c"Lets the planner read an entity and its detail in one list if they are joined.",
        c"",
        &ENABLE_DETAIL_JOIN,
        GucContext::Userset,
        flags,
    );
    GucRegistry::define_int_guc(
        c"acumatica_fdw.key_join_block",
        c"Number of keys that a key join asks for at a time.",
        c"0: few at first, then as many as a request holds, and all rows once that is cheaper.",
        &KEY_JOIN_BLOCK,
        0,
        10_000,
        GucContext::Userset,
        flags,
    );
}

/// The most requests and the most rows of a query, where they are limited.
pub fn limits_of_query() -> (Option<u64>, Option<u64>) {
    let limit = |setting: &GucSetting<i32>| u64::try_from(setting.get()).ok().filter(|limit| *limit > 0);
    (limit(&MAX_REQUESTS_PER_QUERY), limit(&MAX_ROWS_PER_QUERY))
}

/// Whether the planner uses what earlier scans have found out.
pub fn use_measurements() -> bool {
    USE_MEASUREMENTS.get()
}

/// Whether the planner considers key joins.
pub fn enable_key_join() -> bool {
    ENABLE_KEY_JOIN.get()
}

/// Whether the planner considers to read an entity and its detail in one list.
pub fn enable_detail_join() -> bool {
    ENABLE_DETAIL_JOIN.get()
}

/// The number of keys that a key join asks for at a time, if it is fixed.
pub fn key_join_block() -> Option<usize> {
    usize::try_from(KEY_JOIN_BLOCK.get()).ok().filter(|keys| *keys > 0)
}

/// The maximum number of calls of an inquiry in one scan.
pub fn max_calls() -> usize {
    usize::try_from(MAX_CALLS.get()).unwrap_or(1)
}

fn text(setting: &Text) -> Option<String> {
    // SAFETY: `text` is a C string; a setting is in the encoding of the database.
    setting.get().map(|text| unsafe { from_server(text.as_ptr()) }).filter(|text| !text.is_empty())
}

/// The context of a request: the session's settings, else `options`, those of the table.
///
/// # Errors
/// `acumatica_fdw.business_date` is not a date.
pub fn context(options: &Context) -> Result<Context, Refusal> {
    let own = |setting: &Text, option: &Option<String>| text(setting).or_else(|| option.clone());
    let business_date = own(&BUSINESS_DATE, &options.business_date);
    if let Some(day) = business_date.as_deref().filter(|day| !is_date(day)) {
        return Err(Refusal::new(
            PgSqlErrorCode::ERRCODE_INVALID_PARAMETER_VALUE,
            format!("invalid value for parameter \"acumatica_fdw.business_date\": \"{day}\""),
        )
        .hint("It must be a day such as 2024-12-31."));
    }
    Ok(Context {
        branch: own(&BRANCH, &options.branch),
        locale: own(&LOCALE, &options.locale),
        business_date,
        show_archived: SHOW_ARCHIVED.get() || options.show_archived,
        show_deleted: SHOW_DELETED.get() || options.show_deleted,
    })
}

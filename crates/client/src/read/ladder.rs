//! The ladder: what a scan does when the server refuses a request. It goes down one rung at a time, and asks again:
//!
//! 1. Names: the fields are looked up in the definition and renamed (`metadata/lookup.rs`).
//! 2. Order: the scan ends as `CannotOrder`, and the executor sorts the rows.
//! 3. Count and skip: the scan ends as `RowsOnly`, and the executor runs the plan that reads the rows.
//! 4. `$filter`: the refused fields are left out of it, and the executor's recheck filters.
//! 5. `$select`: the refused fields that no row has are left out of it; else all fields are asked for.
//!
//! What was refused, and for which fields, is remembered in `metadata/learnt.rs`, which all backends share. There each rung
//! has a topic with an expiry. [`Ladder::as_known`] begins at the rung that the memory tells, and issues the NOTICE. A failure
//! that may pass by itself is remembered only if the same request without the blamed part works. No rung changes the rows:
//! what the server does not do, the executor does. Pages by key have a ladder of their own, of two rungs, for the time of
//! a scan (`read/pages`).

use std::sync::Arc;

use acumatica_pushdown::Filter;

use crate::config::digest;
use crate::decode::{Batch, ColumnType, RowDecoder};
use crate::error::{Error, ErrorKind, Result};
use crate::metadata::discover::Asker;
use crate::metadata::learnt::{self, Topic};
use crate::metadata::lookup::{self, Found};
use crate::metadata::rename;
use crate::metadata::site::Site;
use crate::read::fetch;
use crate::read::location;
use crate::read::missing::missing;
use crate::read::refusal::{self, columns_of, listed, may_be_of_condition, named};
use crate::read::scan::Shared;
use crate::read::witness;
use crate::report::Notice;
use crate::request::{Findings, ScanRequest, Surface};
use crate::session::upkeep::Reader;

/// How often something is taken back before the failure is told.
const MOST_ROUNDS: u32 = 5;
/// Requests to find out which fields a refusal is about.
const MOST_PROBES: u32 = 12;
/// Rows that tell which fields rows have.
const SAMPLE: u64 = 5;

/// Reads all of it.
pub(crate) async fn run(site: Arc<Site>, request: ScanRequest, shared: &Shared) -> Result<()> {
    let _reader = Reader(Arc::clone(&site.connection));
    let request = match site.renames.get(&request).await {
        Some(renames) => rename::apply(&request, &renames),
        None => request,
    };
    Ladder { site: &site, shared, request, vouched: Vec::new(), notes: Vec::new() }.run().await
}

struct Ladder<'a> {
    site: &'a Arc<Site>,
    shared: &'a Shared,
    /// With the right names.
    request: ScanRequest,
    /// Columns that need no definition, by index.
    vouched: Vec<usize>,
    /// What the user is to be told of the request under way.
    notes: Vec<Notice>,
}

impl Ladder<'_> {
    async fn run(&mut self) -> Result<()> {
        let mut renamed = false;
        let mut rounds = 0;
        loop {
            self.notes.clear();
            let asked = self.as_known()?;
            self.shared.note(std::mem::take(&mut self.notes));
            let why = match fetch::read(self.site, &asked, self.shared).await {
                Err(error) if !self.shared.has_begun() => error,
                outcome => return outcome,
            };
            rounds += 1;
            if rounds > MOST_ROUNDS {
                return Err(refusal::unreadable(&asked, why));
            }
            match why.kind {
                // The memory tells now what is not to be asked.
                ErrorKind::Doubted if !asked.is_final() => {}
                kind if may_be_written_otherwise(&asked, kind) => {
                    match lookup::find(&self.asker(), &self.request).await? {
                        Found::Otherwise(renames) if !renamed => {
                            renamed = true;
                            let renames = self.site.renames.add(&self.request, renames).await;
                            self.request = rename::apply(&self.request, &renames);
                        }
                        found if kind == ErrorKind::FieldMissing => {
                            self.vouch_for(&why, matches!(found, Found::NoDefinition));
                        }
                        _ if kind != ErrorKind::UnknownField => return Err(why),
                        found => self.take_back(&asked, why, matches!(found, Found::NoDefinition)).await?,
                    }
                }
                _ if asked.is_final() => return self.as_rows(&asked, why),
                kind if may_be_of_condition(kind) => self.take_back(&asked, why, false).await?,
                _ => return Err(why),
            }
        }
    }

    fn asker(&self) -> Asker {
        Asker::new(Arc::clone(self.site), Arc::clone(&self.shared.report))
    }

    /// The request without what the server is known not to take.
    ///
    /// # Errors
    /// [`ErrorKind::RowsOnly`] if nothing may be left out of it.
    fn as_known(&mut self) -> Result<ScanRequest> {
        let learnt = &self.site.learnt;
        let place = learnt::place(&self.request.target);
        let fields: Vec<String> = self.request.filter.iter().flat_map(Filter::paths).collect();
        let mut left: Vec<(String, Vec<String>)> = Vec::new();
        for field in &fields {
            let Some(why) = learnt.get(Topic::Filter, &place, field) else { continue };
            match left.iter_mut().find(|(known, _)| *known == why) {
                Some((_, fields)) => fields.push(field.clone()),
                None => left.push((why, vec![field.clone()])),
            }
        }
        let refused: Vec<String> = left.iter().flat_map(|(_, fields)| fields.clone()).collect();
        let mut request = ScanRequest { filter: without(&self.request, &refused), ..self.request.clone() };
        let doubted = witness::doubted(&request, learnt);
        if request.is_final() && !(refused.is_empty() && doubted.is_empty()) {
            // The scan of the rows tells.
            let message = format!("the server has refused to filter {}", request.target);
            return Err(Error::new(ErrorKind::RowsOnly, message));
        }
        if let Some(why) =
            self.refused_order(&request, &place).or_else(|| self.refused_whole(&request, &place))
        {
            return Err(why);
        }
        request.filter = without(&request, &doubted);
        request.findings = self.findings(&place);
        for (why, fields) in left {
            self.tell_of_filter(&fields, &why);
        }
        if !doubted.is_empty() {
            let columns = listed(&columns_of(&self.request, &doubted));
            self.tell(
                format!(
                    "the server is not trusted to filter {} by {columns}: it did not find a row that there is",
                    self.request.target
                ),
                filtered_here(&columns),
            );
        }
        Ok(request)
    }

    /// The failure of a request in an order that the server is known to refuse.
    fn refused_order(&self, request: &ScanRequest, place: &str) -> Option<Error> {
        let known = |field: &String| self.site.learnt.get(Topic::Order, place, field);
        let why = request.order.iter().find_map(|by| known(&by.field))?;
        let why = Error::new(ErrorKind::CannotOrder, why);
        Some(if request.is_final() { rows_only(request, &why) } else { why })
    }

    /// The failure of a request to count or to skip that the server is known to refuse.
    fn refused_whole(&self, request: &ScanRequest, place: &str) -> Option<Error> {
        let topic = request.is_final().then_some(Topic::Whole)?;
        let why = self.site.learnt.get(topic, place, &whole(request))?;
        Some(rows_only(request, &Error::new(ErrorKind::RowsOnly, why)))
    }

    fn findings(&mut self, place: &str) -> Findings {
        let learnt = &self.site.learnt;
        let of_columns = |names: Vec<String>| {
            let columns = self.request.columns.iter().enumerate();
            let known = columns.filter(|(_, column)| names.contains(&column.path.join("/")));
            known.map(|(index, _)| index).collect::<Vec<_>>()
        };
        let mut vouched = of_columns(learnt.names(Topic::Absent, place));
        vouched.extend(&self.vouched);
        let left_out = of_columns(learnt.names(Topic::Select, place));
        let why = learnt.get(Topic::Select, place, Topic::ALL);
        let whole = why.is_some();
        if let Some(why) = why {
            self.tell_of_select(&why);
        }
        Findings { vouched, left_out, whole }
    }

    /// The columns whose fields are missing are NULL.
    fn vouch_for(&mut self, missing: &Error, no_definition: bool) {
        let paths: Vec<String> =
            missing.detail.iter().flat_map(|detail| detail.lines()).map(Into::into).collect();
        if no_definition {
            self.tell_of_missing(&columns_of(&self.request, &paths));
        } else {
            self.site.learnt.add(Topic::Absent, &learnt::place(&self.request.target), &paths, "");
        }
        let columns = self.request.columns.iter().enumerate();
        let missing = columns.filter(|(_, column)| paths.contains(&column.path.join("/")));
        self.vouched.extend(missing.map(|(index, _)| index));
    }

    /// Finds out what of a request the server refuses, and remembers it.
    ///
    /// # Errors
    /// It is none of the things that can be taken back.
    async fn take_back(&mut self, asked: &ScanRequest, why: Error, no_definition: bool) -> Result<()> {
        if asked.target.form {
            return Err(why);
        }
        if asked.is_final() {
            return self.as_rows(asked, why);
        }
        if !asked.order.is_empty() && may_be_of_condition(why.kind) {
            let fields: Vec<&str> = asked.order.iter().map(|by| by.field.as_str()).collect();
            // Of several fields, or beside a condition, it is not known what the refusal is about.
            if let ([_], None, false) = (fields.as_slice(), &asked.filter, why.may_pass) {
                let place = learnt::place(&asked.target);
                self.site.learnt.add(Topic::Order, &place, &fields, &told(&why));
            }
            return Err(Error { kind: ErrorKind::CannotOrder, ..why });
        }
        let mut why = why;
        if asked.filter.is_some() {
            let Some(refusal) = self.refusal(&ScanRequest { filter: None, ..asked.clone() }).await? else {
                // It may have passed in the meantime.
                if why.may_pass && self.takes(asked).await? {
                    return Ok(());
                }
                return self.take_back_filter(asked, &why).await;
            };
            why = refusal;
        }
        if asked.findings.whole || !self.take_back_select(asked, &why, no_definition).await? {
            return Err(refusal::unreadable(asked, why));
        }
        Ok(())
    }

    /// Whether the server takes a request that it refused otherwise.
    async fn takes(&self, request: &ScanRequest) -> Result<bool> {
        Ok(self.refusal(request).await?.is_none())
    }

    /// What the server has against a request.
    ///
    /// # Errors
    /// It fails for another reason.
    async fn refusal(&self, request: &ScanRequest) -> Result<Option<Error>> {
        match self.sample(request, 1).await {
            Ok(_) => Ok(None),
            Err(error) if is_refusal(error.kind) => Ok(Some(error)),
            Err(error) => Err(error),
        }
    }

    /// The beginning of the list; its rows are not looked at.
    async fn sample(&self, request: &ScanRequest, rows: u64) -> Result<Vec<Vec<u8>>> {
        location::beginning(self.site, request, rows, self.shared).await
    }

    /// The server takes the request without its conditions: those that it refuses are left out.
    async fn take_back_filter(&mut self, asked: &ScanRequest, why: &Error) -> Result<()> {
        let Some(filter) = &asked.filter else { return Ok(()) };
        let fields = filter.paths();
        let named = named(&fields, why);
        let refused = match named.is_empty() {
            false => named,
            true => {
                let only = |some: &[String]| {
                    let others: Vec<String> =
                        fields.iter().filter(|field| !some.contains(field)).cloned().collect();
                    ScanRequest { filter: without(asked, &others), ..asked.clone() }
                };
                self.bisect(&fields, only).await?.unwrap_or(fields.clone())
            }
        };
        let place = learnt::place(&asked.target);
        self.site.learnt.add(Topic::Filter, &place, &refused, &told(why));
        Ok(())
    }

    /// The server refuses the request without conditions too. Whether it takes it with less in `$select`, or without.
    async fn take_back_select(
        &mut self,
        asked: &ScanRequest,
        why: &Error,
        no_definition: bool,
    ) -> Result<bool> {
        let plain = ScanRequest { filter: None, order: Vec::new(), ..asked.clone() };
        let whole =
            ScanRequest { findings: Findings { whole: true, ..plain.findings.clone() }, ..plain.clone() };
        let rows = match self.sample(&whole, SAMPLE).await {
            Ok(rows) => rows,
            Err(error) if is_refusal(error.kind) => return Ok(false),
            Err(error) => return Err(error),
        };
        let place = learnt::place(&asked.target);
        let absent = absent(asked, &rows);
        let fields: Vec<String> = absent.iter().map(|&index| asked.columns[index].path.join("/")).collect();
        let with = |some: &[String]| {
            let left_out = absent.iter().zip(&fields).filter(|(_, field)| !some.contains(field));
            let left_out =
                left_out.map(|(&index, _)| index).chain(plain.findings.left_out.iter().copied()).collect();
            ScanRequest { findings: Findings { left_out, ..plain.findings.clone() }, ..plain.clone() }
        };
        // Without those that no row has, what is left may be taken.
        if !fields.is_empty() && !rows.is_empty() && self.takes(&with(&[])).await? {
            let named = named(&fields, why);
            let refused = if named.is_empty() { self.bisect(&fields, with).await? } else { Some(named) };
            if let Some(refused) = refused {
                self.site.learnt.add(Topic::Select, &place, &refused, &told(why));
                let columns = columns_of(asked, &refused);
                if no_definition {
                    self.tell_of_missing(&columns);
                }
                return Ok(true);
            }
        }
        let fields: Vec<String> = asked.columns.iter().map(|column| column.path.join("/")).collect();
        let named = columns_of(asked, &named(&fields, why));
        let of = if named.is_empty() { String::new() } else { format!(" of {}", listed(&named)) };
        let why = format!("could not select the fields{of}: {}", told(why));
        self.site.learnt.add(Topic::Select, &place, &[Topic::ALL], &why);
        Ok(true)
    }

    /// Those of some things that the server refuses, which it takes if none of them is in the request. `with` makes
    /// the request that has only the given ones. `None` if that would take too many requests.
    async fn bisect(
        &self,
        all: &[String],
        with: impl Fn(&[String]) -> ScanRequest,
    ) -> Result<Option<Vec<String>>> {
        let (mut refused, mut probes) = (Vec::new(), 0);
        // Each of these is known to be refused.
        let mut open = vec![all.to_vec()];
        while let Some(group) = open.pop() {
            if let [one] = group.as_slice() {
                refused.push(one.clone());
                continue;
            }
            if probes + 2 > MOST_PROBES {
                return Ok(None);
            }
            let (first, second) = group.split_at(group.len() / 2);
            probes += 1;
            let takes_first = self.takes(&with(first)).await?;
            if !takes_first {
                open.push(first.to_vec());
                probes += 1;
            }
            // If the server takes one half, it refuses the other.
            if takes_first || !self.takes(&with(second)).await? {
                open.push(second.to_vec());
            }
        }
        Ok(Some(refused))
    }

    /// The count, or the rows behind some, cannot be had: the rows can.
    ///
    /// # Errors
    /// [`ErrorKind::RowsOnly`], or `why` if it is about the rows too.
    fn as_rows(&self, asked: &ScanRequest, why: Error) -> Result<()> {
        if !may_be_of_whole(why.kind) {
            return Err(why);
        }
        // The others have a memory of their own, or were no refusals of the server.
        let is_of_whole =
            !matches!(why.kind, ErrorKind::CannotOrder | ErrorKind::Doubted | ErrorKind::UnknownField);
        if is_of_whole && !why.may_pass {
            self.site.learnt.add(Topic::Whole, &learnt::place(&asked.target), &[whole(asked)], &told(&why));
        }
        Err(rows_only(asked, &why))
    }

    fn tell_of_filter(&mut self, fields: &[String], why: &str) {
        let columns = listed(&columns_of(&self.request, fields));
        let message = format!("the server could not filter {} by {columns}: {why}", self.request.target);
        self.tell(message, filtered_here(&columns));
    }

    fn tell_of_select(&mut self, why: &str) {
        let message = format!("the server {why}");
        self.tell(message, format!("All fields of {} were asked for instead.", self.request.target));
    }

    fn tell_of_missing(&self, columns: &[String]) {
        let (message, hint) = missing(&self.request, columns);
        self.shared.report.notice(message, hint);
    }

    /// Tells the user, once the server has taken the request.
    fn tell(&mut self, message: String, hint: String) {
        self.notes.push(Notice { is_warning: false, message, hint });
    }
}

/// The failure of a request to count or to skip, for the user of the plan that reads the rows.
fn rows_only(asked: &ScanRequest, why: &Error) -> Error {
    let what = if asked.count { "count" } else { "leave out the first rows of" };
    let all = fields_of(asked);
    let mut hint = "The rows were read and counted here.".to_owned();
    if !all.is_empty() {
        let columns = listed(&columns_of(asked, &all));
        hint += &format!(
            " Set the option pushdown of {columns} to off if that is why: then the server is not asked."
        );
    }
    let message = format!("the server could not {what} {}: {why}", asked.target);
    Error::new(ErrorKind::RowsOnly, message).hint(hint)
}

/// The name of a refusal to count or to skip in the memory. It stands for the very same request, since a refusal may be
/// about a value, or about the room that the table's own filter leaves.
fn whole(asked: &ScanRequest) -> String {
    let what = if asked.count { "count" } else { "skip" };
    digest(&[what, &format!("{:?} {:?} {:?}", asked.own_filter, asked.filter, asked.order)])
}

/// The fields of the conditions and of the order.
fn fields_of(asked: &ScanRequest) -> Vec<String> {
    let fields: Vec<String> = asked.filter.iter().flat_map(Filter::paths).collect();
    let order: Vec<String> =
        asked.order.iter().map(|by| by.field.clone()).filter(|field| !fields.contains(field)).collect();
    [fields, order].concat()
}

fn filtered_here(columns: &str) -> String {
    format!(
        "The rows were filtered here. Set the option pushdown of {columns} to off: then the server is not asked."
    )
}

/// What the server said, for one line.
fn told(why: &Error) -> String {
    why.message.clone()
}

fn without(request: &ScanRequest, fields: &[String]) -> Option<Filter> {
    let filter = request.filter.as_ref()?;
    filter.without(&|path| fields.contains(&path.join("/")))
}

/// The columns whose field none of the rows has.
fn absent(request: &ScanRequest, rows: &[Vec<u8>]) -> Vec<usize> {
    // The values do not matter, and must not fail.
    let mut columns = request.columns.clone();
    columns.iter_mut().for_each(|column| column.ty = ColumnType::Json);
    let mut decoder = RowDecoder::of_detail(&columns, &[], &request.target.detail);
    let mut batch = Batch::new(columns.len());
    for row in rows {
        let _ = decoder.decode(row, &mut batch);
    }
    let mut absent: Vec<usize> = decoder.never_met().collect();
    absent.sort_unstable();
    absent
}

fn is_refusal(kind: ErrorKind) -> bool {
    kind == ErrorKind::UnknownField || may_be_of_condition(kind)
}

/// Whether a failure to do something with all rows may be none to read them.
fn may_be_of_whole(kind: ErrorKind) -> bool {
    may_be_of_condition(kind)
        || matches!(
            kind,
            ErrorKind::NotFound
                | ErrorKind::Protocol
                | ErrorKind::CannotOrder
                | ErrorKind::Doubted
                | ErrorKind::UnknownField
        )
}

/// Whether a failure may come from names that the table writes otherwise: a function whose parameters have other names
/// is not found.
fn may_be_written_otherwise(request: &ScanRequest, kind: ErrorKind) -> bool {
    let called = request.target.surface == Surface::GenericInquiry && !request.parameters.is_empty();
    matches!(kind, ErrorKind::UnknownField | ErrorKind::FieldMissing) || kind == ErrorKind::NotFound && called
}

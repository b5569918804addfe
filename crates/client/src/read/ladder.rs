//! The ladder: what a scan does when the server refuses a request. It goes down one rung at a time, and asks again:
//!
//! 1. Names: the fields are looked up in the definition and renamed (`metadata/lookup.rs`).
//! 2. Order: the scan ends as `CannotOrder`, and the executor sorts the rows.
//! 3. Count and skip: the scan ends as `RowsOnly`, and the executor runs the plan that reads the rows.
//! 4. `$filter`: the refused fields are left out of it, and the executor's recheck filters.
//! 5. `$select`: the refused fields that no row has are left out of it; else all fields are asked for.
//! 6. Pages by key: the pages begin at a position instead. `read/pages` goes down this rung in the middle of a list, since
//!    rows were handed over by then.
//!
//! What was refused, and for which fields, is remembered in `metadata/learnt.rs`, which all backends share. There each rung
//! has a topic with an expiry. [`Ladder::as_known`] begins at the rung that the memory tells. `read/notices.rs` says what the
//! user is told. A failure that may pass by itself is remembered only if the same request without the blamed part works. No
//! rung changes the rows: what the server does not do, the executor does.

use std::sync::Arc;

use acumatica_pushdown::Filter;

use crate::config::digest;
use crate::decode::{Batch, ColumnType, RowDecoder};
use crate::error::{Error, ErrorKind, Result};
use crate::metadata::discover::Asker;
use crate::metadata::experience;
use crate::metadata::learnt::{self, Learnt, Topic};
use crate::metadata::lookup::{self, Names};
use crate::metadata::rename;
use crate::metadata::site::Site;
use crate::read::fetch;
use crate::read::location;
use crate::read::notices::Refused;
use crate::read::refusal::{self, columns_of, listed, may_be_of_condition, named};
use crate::read::scan::Shared;
use crate::read::witness;
use crate::report::Notice;
use crate::request::{Findings, ScanRequest, Surface};
use crate::session::upkeep::ActiveUse;

/// How many times something is taken back before the failure is reported.
const MOST_ROUNDS: u32 = 5;
/// The most requests to find out which fields the server refuses.
const MOST_PROBES: u32 = 12;
/// How many rows are read to find out which fields rows have.
const SAMPLE: u64 = 5;

/// Reads the rows of a request, and hands them to `shared`.
///
/// # Errors
/// [`ErrorKind::CannotOrder`] and [`ErrorKind::RowsOnly`] if the executor is to do what the server does not do. Else the scan
/// failed.
pub(crate) async fn run(site: Arc<Site>, request: ScanRequest, shared: &Shared) -> Result<()> {
    let _active = ActiveUse(Arc::clone(&site.connection));
    let renamed = match site.renames.get(&request).await {
        Some(renames) => rename::apply(&request, &renames),
        None => request.clone(),
    };
    let mut ladder = Ladder { site: &site, shared, request: renamed, vouched: Vec::new(), notes: Vec::new() };
    ladder.run().await.map_err(|why| match why.kind {
        // The notice names the fields as the table does.
        ErrorKind::CannotOrder => Refused::Order(&why).ends(&request),
        _ => why,
    })?;
    if !request.count {
        experience::remember_rows(&site.learnt, &request, shared.delivered());
    }
    Ok(())
}

/// What is known of how a table can be asked, whatever its columns are.
pub(crate) fn findings(learnt: &Learnt, place: &str) -> Findings {
    Findings {
        refused_keysets: learnt.names(Topic::Keyset, place),
        lists: learnt.names(Topic::List, place),
        short: learnt.get(Topic::Short, Topic::ALL, Topic::ALL).is_some(),
        ..Findings::default()
    }
}

struct Ladder<'a> {
    site: &'a Arc<Site>,
    shared: &'a Shared,
    /// The request with the right names.
    request: ScanRequest,
    /// Columns that are NULL without asking the definition, by index.
    vouched: Vec<usize>,
    /// The notices about the current request.
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
                // The memory now says which conditions must not be sent.
                ErrorKind::Doubted if !asked.is_final() => {}
                kind if may_be_written_otherwise(&asked, kind) => {
                    match lookup::find(&self.asker(), &self.request).await? {
                        Names::Otherwise(renames) if !renamed => {
                            renamed = true;
                            let renames = self.site.renames.add(&self.request, renames).await;
                            self.request = rename::apply(&self.request, &renames);
                        }
                        found if kind == ErrorKind::FieldMissing => {
                            self.vouch_for(&why, matches!(found, Names::NoDefinition));
                        }
                        _ if kind != ErrorKind::UnknownField => return Err(why),
                        found => self.take_back(&asked, why, matches!(found, Names::NoDefinition)).await?,
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

    /// The request without the parts that the server is known to refuse.
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
            // The scan that reads the rows issues the notice.
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
        if request.is_final() {
            // PostgreSQL does not check the rows, and `in` was compared with `eq` for a few rows only. A condition that finds no
            // room is no reason to try a long address: the rows are read instead.
            request.findings.lists.clear();
            request.findings.short = true;
        }
        for (why, fields) in left {
            self.tell(&Refused::Filter(&fields, &why));
        }
        if !doubted.is_empty() {
            self.tell(&Refused::Doubted(&doubted));
        }
        Ok(request)
    }

    /// The error for a request in an order that the server is known to refuse.
    fn refused_order(&self, request: &ScanRequest, place: &str) -> Option<Error> {
        let learnt = &self.site.learnt;
        let why = orders(request).iter().find_map(|name| learnt.get(Topic::Order, place, name))?;
        let why = Error::new(ErrorKind::CannotOrder, why);
        Some(if request.is_final() { Refused::CountOrSkip(&why).ends(request) } else { why })
    }

    /// The error for a count or a skip that the server is known to refuse.
    fn refused_whole(&self, request: &ScanRequest, place: &str) -> Option<Error> {
        let topic = request.is_final().then_some(Topic::Whole)?;
        let why = self.site.learnt.get(topic, place, &whole(request))?;
        Some(Refused::CountOrSkip(&Error::new(ErrorKind::RowsOnly, why)).ends(request))
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
            self.tell(&Refused::Select(&why));
        }
        Findings { vouched, left_out, whole, ..findings(learnt, place) }
    }

    /// Treats the columns whose fields are missing as NULL.
    fn vouch_for(&mut self, missing: &Error, no_definition: bool) {
        let paths: Vec<String> =
            missing.detail.iter().flat_map(|detail| detail.lines()).map(Into::into).collect();
        if no_definition {
            self.tell_now(&Refused::Missing(&paths));
        } else {
            self.site.learnt.add(Topic::Absent, &learnt::place(&self.request.target), &paths, "");
        }
        let columns = self.request.columns.iter().enumerate();
        let missing = columns.filter(|(_, column)| paths.contains(&column.path.join("/")));
        self.vouched.extend(missing.map(|(index, _)| index));
    }

    /// Finds out which part of a request the server refuses, and remembers it.
    ///
    /// # Errors
    /// `why`, if no part of the request can be taken back.
    async fn take_back(&mut self, asked: &ScanRequest, why: Error, no_definition: bool) -> Result<()> {
        if asked.target.form {
            return Err(why);
        }
        if asked.is_final() {
            return self.as_rows(asked, why);
        }
        if !asked.order.is_empty() && may_be_of_condition(why.kind) {
            if !why.may_pass {
                let place = learnt::place(&asked.target);
                self.site.learnt.add(Topic::Order, &place, &[order(asked)], &told(&why));
            }
            return Err(Error { kind: ErrorKind::CannotOrder, ..why });
        }
        let mut why = why;
        if asked.filter.is_some() {
            let Some(refusal) = self.refusal(&ScanRequest { filter: None, ..asked.clone() }).await? else {
                // The failure may have passed meanwhile.
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

    /// Whether the server accepts a variant of the request.
    async fn takes(&self, request: &ScanRequest) -> Result<bool> {
        Ok(self.refusal(request).await?.is_none())
    }

    /// The server's refusal of a request; `None` if it accepts it.
    ///
    /// # Errors
    /// The request fails for another reason.
    async fn refusal(&self, request: &ScanRequest) -> Result<Option<Error>> {
        match self.sample(request, 1).await {
            Ok(_) => Ok(None),
            Err(error) if is_refusal(error.kind) => Ok(Some(error)),
            Err(error) => Err(error),
        }
    }

    /// Reads the beginning of the list.
    async fn sample(&self, request: &ScanRequest, rows: u64) -> Result<Vec<Vec<u8>>> {
        location::beginning(self.site, request, rows, self.shared).await
    }

    /// The server accepts the request without conditions. Remembers those that it refuses.
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

    /// The server refuses the request without conditions, too. Whether it accepts it with fewer fields in `$select`, or
    /// without `$select`.
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
        // The server may accept the fields that rows have.
        if !fields.is_empty() && !rows.is_empty() && self.takes(&with(&[])).await? {
            let named = named(&fields, why);
            let refused = if named.is_empty() { self.bisect(&fields, with).await? } else { Some(named) };
            if let Some(refused) = refused {
                self.site.learnt.add(Topic::Select, &place, &refused, &told(why));
                if no_definition {
                    self.tell_now(&Refused::Missing(&refused));
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

    /// The items that the server refuses, if it accepts the request without all of them. `with` makes a request that
    /// contains only the given items. `None` if too many requests would be needed.
    async fn bisect(
        &self,
        all: &[String],
        with: impl Fn(&[String]) -> ScanRequest,
    ) -> Result<Option<Vec<String>>> {
        let (mut refused, mut probes) = (Vec::new(), 0);
        // Each of these groups is refused.
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
            // If the server accepts one half, it refuses the other.
            if takes_first || !self.takes(&with(second)).await? {
                open.push(second.to_vec());
            }
        }
        Ok(Some(refused))
    }

    /// The server cannot count or skip: the executor is to read the rows.
    ///
    /// # Errors
    /// [`ErrorKind::RowsOnly`], or `why` if reading the rows would fail as well.
    fn as_rows(&self, asked: &ScanRequest, why: Error) -> Result<()> {
        if !may_be_of_whole(why.kind) {
            return Err(why);
        }
        // The other failures have their own memory, or are no refusals of the server.
        let is_of_whole =
            !matches!(why.kind, ErrorKind::CannotOrder | ErrorKind::Doubted | ErrorKind::UnknownField);
        if is_of_whole && !why.may_pass {
            self.site.learnt.add(Topic::Whole, &learnt::place(&asked.target), &[whole(asked)], &told(&why));
        }
        Err(Refused::CountOrSkip(&why).ends(asked))
    }

    /// Tells the user once the server has taken the request.
    fn tell(&mut self, refused: &Refused<'_>) {
        self.notes.push(refused.notice(&self.request));
    }

    fn tell_now(&self, refused: &Refused<'_>) {
        self.shared.report.tell(refused.notice(&self.request));
    }
}

/// The name of a refusal to count or to skip in the memory. It stands for the very same request, since a refusal may be
/// about a value, or about the space that the table's own filter leaves in the address.
fn whole(asked: &ScanRequest) -> String {
    same(if asked.count { "count" } else { "skip" }, asked)
}

/// The name of a refused order in the memory: its fields, if the refusal can be about nothing else. Beside a condition it
/// may be about the condition, so it stands for the very same request.
fn order(asked: &ScanRequest) -> String {
    match (&asked.filter, &asked.own_filter) {
        (None, None) => order_fields(asked),
        _ => same("order", asked),
    }
}

/// The names in the memory of the orders that a request contains: if the server refuses one of them, it refuses the request.
fn orders(asked: &ScanRequest) -> Vec<String> {
    let fields = asked.order.iter().map(|by| by.field.clone());
    match asked.order.as_slice() {
        [] => Vec::new(),
        _ => fields.chain([order_fields(asked), order(asked)]).collect(),
    }
}

fn order_fields(asked: &ScanRequest) -> String {
    let fields: Vec<&str> = asked.order.iter().map(|by| by.field.as_str()).collect();
    fields.join(", ")
}

fn same(what: &str, asked: &ScanRequest) -> String {
    digest(&[what, &format!("{:?} {:?} {:?}", asked.own_filter, asked.filter, asked.order)])
}

/// The server's message in one line.
fn told(why: &Error) -> String {
    why.message.clone()
}

fn without(request: &ScanRequest, fields: &[String]) -> Option<Filter> {
    let filter = request.filter.as_ref()?;
    filter.without(&|path| fields.contains(&path.join("/")))
}

/// The columns whose field none of the rows has.
fn absent(request: &ScanRequest, rows: &[Vec<u8>]) -> Vec<usize> {
    // The values do not matter, and decoding them must not fail.
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

/// Whether the rows may be readable although the server failed to count or to skip.
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

/// Whether a failure may come from names that the table writes differently: a function whose parameters have other
/// names is not found.
fn may_be_written_otherwise(request: &ScanRequest, kind: ErrorKind) -> bool {
    let called = request.target.surface == Surface::GenericInquiry && !request.parameters.is_empty();
    matches!(kind, ErrorKind::UnknownField | ErrorKind::FieldMissing) || kind == ErrorKind::NotFound && called
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::request::Order;
    use crate::request::tests::{equal, request};

    fn ordered(fields: &[&str]) -> ScanRequest {
        let by = |field: &&str| Order { field: (*field).into(), descending: false, nulls_apart: false };
        let mut request = request("X", &[("A", ColumnType::Text)], &[]);
        request.order = fields.iter().map(by).collect();
        request
    }

    /// Whether a request is known to be refused after another was.
    fn is_known(refused: &ScanRequest, asked: &ScanRequest) -> bool {
        orders(asked).contains(&order(refused))
    }

    #[test]
    fn an_order_is_known_by_its_fields() {
        assert!(is_known(&ordered(&["A"]), &ordered(&["A"])));
        assert!(is_known(&ordered(&["A"]), &ordered(&["B", "A"])));
        assert!(is_known(&ordered(&["A", "B"]), &ordered(&["A", "B"])));
        // Which of the fields it is about is not known.
        assert!(!is_known(&ordered(&["A", "B"]), &ordered(&["A"])));
        assert!(!is_known(&ordered(&["A", "B"]), &ordered(&["B"])));
        assert!(orders(&ordered(&[])).is_empty());
    }

    #[test]
    fn an_order_beside_a_condition_is_known_of_the_same_request() {
        let beside = |value: &str| ScanRequest { filter: Some(equal("B", value)), ..ordered(&["A"]) };
        assert!(is_known(&beside("1"), &beside("1")));
        // The refusal may be about the condition.
        assert!(!is_known(&beside("1"), &beside("2")) && !is_known(&beside("1"), &ordered(&["A"])));
        let own = ScanRequest { own_filter: Some("C eq 1".into()), ..ordered(&["A"]) };
        assert!(is_known(&own, &own) && !is_known(&own, &ordered(&["A"])));
        // Without a condition it is about the order.
        assert!(is_known(&ordered(&["A"]), &beside("1")) && is_known(&ordered(&["A"]), &own));
        assert!(is_known(
            &ordered(&["A", "B"]),
            &ScanRequest { order: ordered(&["A", "B"]).order, ..beside("1") }
        ));
        // A request that skips rows in the same order is refused too.
        assert!(is_known(&beside("1"), &ScanRequest { offset: 5, ..beside("1") }));
    }
}

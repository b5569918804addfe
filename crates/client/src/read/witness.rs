//! Checks whether an answer without rows is right.
//!
//! On some forms contract REST answers `[]` to conditions on fields that are no key (docs/acumatica.md section 2:
//! PurchaseOrder, Shipment, PhysicalInventoryCount). So before such an answer counts, the server must find a witness: a
//! row that was read without the condition, by a condition of the same shape that the row meets. An answer with rows
//! needs no witness, nor does one to conditions on keys alone.

use std::sync::Arc;

use acumatica_pushdown::{Anchor, Case, Comparison, Dialect, Filter, Literal, Test, Writing, plain, print};

use crate::decode::{Batch, Cell, ColumnType, FieldColumn, RowDecoder};
use crate::error::{Error, ErrorKind, Result};
use crate::metadata::learnt::{self, Learnt, Topic};
use crate::metadata::site::Site;
use crate::read::location;
use crate::read::refusal::{columns_of, listed, may_be_of_condition};
use crate::read::scan::Shared;
use crate::request::{Findings, ScanRequest, Surface};

/// How many parts of an OR are sent beside the one that the witness meets.
const MOST_ALTERNATIVES: usize = 9;
/// How many rows are searched for values, if the first row has none.
const ROWS: u64 = 100;

/// The fields that conditions of this request must not use.
pub(crate) fn doubted(request: &ScanRequest, learnt: &Learnt) -> Vec<String> {
    let Some(filter) = request.filter.as_ref().filter(|_| request.target.surface == Surface::Rest) else {
        return Vec::new();
    };
    let known = learnt.names(Topic::Doubt, &learnt::place(&request.target));
    if known.is_empty() {
        return Vec::new();
    }
    let is_known = |name: &String| known.contains(name);
    let mut doubted: Vec<String> = unkeyed(filter).into_iter().filter(is_known).collect();
    // If the server finds a row by each field alone but not by all together, one field is sent.
    let rest = filter.without(&|path| doubted.contains(&path.join("/")));
    if let Some(rest) = rest.filter(|rest| is_known(&shape(rest))) {
        doubted.extend(unkeyed(&rest).into_iter().skip(1));
    }
    doubted
}

/// Checks an answer without rows.
///
/// # Errors
/// [`ErrorKind::Doubted`] if the answer is not trusted. Then the memory has the fields that conditions must not use.
pub(crate) async fn check(
    site: &Arc<Site>,
    request: &ScanRequest,
    dialect: Dialect,
    shared: &Shared,
) -> Result<()> {
    let Some(filter) = sent(request, dialect) else { return Ok(()) };
    let unkeyed = unkeyed(&filter);
    let place = learnt::place(&request.target);
    let learnt = &site.learnt;
    if unkeyed.is_empty() || learnt.get(Topic::Witness, &place, &shape(&filter)).is_some() {
        return Ok(());
    }
    let witnesses = Witnesses { site, request, dialect, shared };
    let mut rows = witnesses.rows(&filter, 1).await?;
    if rows.is_empty() {
        return Ok(());
    }
    let mut witness = witnesses.by(&filter, &rows);
    if witness.is_none() {
        rows = witnesses.rows(&filter, ROWS).await?;
        witness = witnesses.by(&filter, &rows);
    }
    if let Some(witness) = &witness
        && witnesses.finds(witness).await?
    {
        learnt.add(Topic::Witness, &place, &[shape(&filter)], "");
        return Ok(());
    }
    // Tests the fields one by one.
    let mut doubted = Vec::new();
    for field in unkeyed.iter().filter(|_| unkeyed.len() > 1) {
        let alone = filter.without(&|path| path.join("/") != *field);
        let Some(alone) = alone else { continue };
        let found = match witnesses.by(&alone, &rows) {
            Some(witness) => witnesses.finds(&witness).await?,
            None => false,
        };
        if !found {
            doubted.push(field.clone());
        }
    }
    let names = match doubted.is_empty() {
        false => doubted.clone(),
        true if unkeyed.len() > 1 => shapes(request, &filter),
        true => unkeyed.clone(),
    };
    learnt.add(Topic::Doubt, &place, &names, "");
    let columns = listed(&columns_of(request, if doubted.is_empty() { &unkeyed } else { &doubted }));
    let message = format!("the server does not find existing rows of {} by {columns}", request.target);
    Err(Error::new(ErrorKind::Doubted, message))
}

/// The part of the condition that was sent, if there was room for it.
fn sent(request: &ScanRequest, dialect: Dialect) -> Option<Filter> {
    let parts = request.filter.as_ref()?.conjuncts().iter();
    let writing = Writing::plain(dialect);
    let sent: Vec<Filter> = parts.filter(|part| part.length(&writing).is_some()).cloned().collect();
    (!sent.is_empty()).then_some(Filter::And(sent))
}

/// The fields that are no part of a key.
fn unkeyed(filter: &Filter) -> Vec<String> {
    let mut fields = Vec::new();
    filter.each_test(&mut |field, _| {
        let path = field.path.join("/");
        if !field.key && path != "id" && !fields.contains(&path) {
            fields.push(path);
        }
    });
    fields
}

/// The fields and operators of a condition, without values.
fn shape(filter: &Filter) -> String {
    let mut tests = Vec::new();
    filter
        .each_test(&mut |field, test| tests.push(format!("{} {:?}", field.path.join("/"), test.operator())));
    tests.sort();
    tests.dedup();
    tests.join("; ")
}

/// The names in the memory of conditions that the server does not apply together: [`doubted`] reads the whole
/// condition, with the parts that are not sent.
fn shapes(request: &ScanRequest, sent: &Filter) -> Vec<String> {
    request.filter.iter().chain([sent]).map(shape).collect()
}

struct Witnesses<'a> {
    site: &'a Arc<Site>,
    request: &'a ScanRequest,
    dialect: Dialect,
    shared: &'a Shared,
}

/// The values of some fields of a row.
type Row = Vec<(Vec<String>, Option<Literal>)>;

impl Witnesses<'_> {
    /// Rows of the table, reduced to the fields of a condition.
    async fn rows(&self, filter: &Filter, most: u64) -> Result<Vec<Row>> {
        let mut columns: Vec<FieldColumn> = Vec::new();
        filter.each_test(&mut |field, _| {
            if !columns.iter().any(|column| column.path == field.path) {
                columns.push(FieldColumn {
                    name: field.path.join("/"),
                    path: field.path.clone(),
                    ty: field.ty,
                });
            }
        });
        let whole = self.request.findings.whole || !self.request.findings.left_out.is_empty();
        let sample = ScanRequest {
            findings: Findings { whole, ..Findings::default() },
            ..self.of_records(columns.clone(), None)
        };
        let rows = match location::beginning(self.site, &sample, most, self.shared).await {
            Ok(rows) => rows,
            // A row that cannot be read is no witness.
            Err(error) if may_be_of_condition(error.kind) || error.kind == ErrorKind::UnknownField => {
                return Ok(vec![Vec::new()]);
            }
            Err(error) => return Err(error),
        };
        let mut decoder = RowDecoder::new(&columns, &[]);
        let decode = |row: &Vec<u8>| {
            let mut batch = Batch::new(columns.len());
            decoder.decode(row, &mut batch).ok()?;
            let values = columns.iter().zip(batch.row(0));
            Some(
                values
                    .map(|(column, cell)| (column.path.clone(), literal(&batch, *cell, column.ty)))
                    .collect(),
            )
        };
        Ok(rows.iter().filter_map(decode).collect())
    }

    /// A condition that one of the rows meets, in the shape of `filter`.
    fn by(&self, filter: &Filter, rows: &[Row]) -> Option<Filter> {
        let writing = Writing::plain(self.dialect);
        let can_be_asked =
            |witness: &Filter| witness.conjuncts().iter().all(|part| print(part, &writing).is_some());
        rows.iter().filter_map(|row| met_by(filter, row)).find(can_be_asked)
    }

    /// Whether the server finds a row by `witness`, which an existing row meets.
    async fn finds(&self, witness: &Filter) -> Result<bool> {
        let columns = self.request.key.first().map(|key| FieldColumn {
            name: key.clone(),
            path: key.split('/').map(str::to_owned).collect(),
            ty: ColumnType::Text,
        });
        let id = FieldColumn { name: "id".into(), path: vec!["id".into()], ty: ColumnType::Uuid };
        let request = self.of_records(vec![columns.unwrap_or(id)], Some(witness.clone()));
        let rows = location::beginning(self.site, &request, 1, self.shared).await?;
        Ok(!rows.is_empty())
    }

    fn of_records(&self, columns: Vec<FieldColumn>, filter: Option<Filter>) -> ScanRequest {
        let mut request = ScanRequest {
            columns,
            unselectable: Vec::new(),
            findings: Findings::default(),
            filter,
            order: Vec::new(),
            offset: 0,
            count: false,
            ..self.request.clone()
        };
        request.target.detail.clear();
        request
    }
}

/// A condition in the shape of `filter` that a row meets; `None` if there is none.
fn met_by(filter: &Filter, row: &Row) -> Option<Filter> {
    match filter {
        Filter::And(parts) => {
            parts.iter().map(|part| met_by(part, row)).collect::<Option<_>>().map(Filter::And)
        }
        Filter::Or(parts) => {
            let (at, met) = parts.iter().enumerate().find_map(|(at, part)| Some((at, met_by(part, row)?)))?;
            // A long list has the shape of a short one.
            let others =
                parts.iter().enumerate().filter(|(other, _)| *other != at).map(|(_, part)| part.clone());
            Some(Filter::Or(std::iter::once(met).chain(others.take(MOST_ALTERNATIVES)).collect()))
        }
        Filter::Test(field, test) => {
            let (_, value) = row.iter().find(|(path, _)| *path == field.path)?;
            test_met_by(test, value.as_ref()).map(|test| Filter::Test(field.clone(), test))
        }
    }
}

fn test_met_by(test: &Test, own: Option<&Literal>) -> Option<Test> {
    match (test, own) {
        (Test::Null, None) => Some(Test::Null),
        (Test::NotNull, Some(_)) => Some(Test::NotNull),
        (Test::Compare { comparison, value, slack }, Some(own)) => {
            let (comparison, value) = match (comparison, own) {
                (Comparison::Eq, _) => (Comparison::Eq, own.clone()),
                (Comparison::Lt | Comparison::Le, _) => (Comparison::Le, own.clone()),
                (Comparison::Gt | Comparison::Ge, _) => (Comparison::Ge, own.clone()),
                (Comparison::Ne, Literal::Bool(own)) => (Comparison::Ne, Literal::Bool(!own)),
                (Comparison::Ne, _) if value.text() != own.text() => (Comparison::Ne, value.clone()),
                (Comparison::Ne, _) => return None,
            };
            Some(Test::Compare { comparison, value, slack: *slack })
        }
        (Test::Match { anchor, case, .. }, Some(Literal::Text(own))) => {
            let length = match anchor {
                Anchor::Whole => usize::MAX,
                Anchor::Start | Anchor::Anywhere => 3,
            };
            let part: String = own.chars().take(length).collect();
            let text = match case {
                Case::Same => part,
                Case::Lower => part.to_lowercase(),
                Case::Upper => part.to_uppercase(),
            };
            (!text.trim().is_empty()).then_some(Test::Match { anchor: *anchor, text, case: *case })
        }
        _ => None,
    }
}

/// A decoded value as a literal for the server.
fn literal(batch: &Batch, cell: Cell, ty: ColumnType) -> Option<Literal> {
    match cell {
        Cell::Null => None,
        Cell::Bool(value) => Some(Literal::Bool(value)),
        Cell::Int(value) => Some(Literal::Integer(value.to_string())),
        Cell::Float(value) => value.is_finite().then(|| Literal::Double(value.to_string())),
        Cell::Date(days) => Literal::date(days),
        Cell::Timestamp(moment) => Literal::timestamp(moment),
        Cell::Text(span) if ty == ColumnType::Numeric => {
            let digits = plain(batch.text(span));
            let is_plain = digits.bytes().all(|byte| byte.is_ascii_digit() || b"-.".contains(&byte));
            is_plain.then(|| Literal::decimal(digits))
        }
        Cell::Text(span) => Some(Literal::Text(batch.text(span).to_owned())),
        Cell::Uuid(index) => {
            let hex: String = batch.uuid(index).iter().map(|byte| format!("{byte:02x}")).collect();
            let parts = [&hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..]];
            Some(Literal::Uuid(parts.join("-")))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::seal::Sealer;
    use crate::session::store::Store;
    use acumatica_pushdown::{Field, Slack};

    fn test(name: &str, key: bool, test: Test) -> Filter {
        Filter::Test(Field { path: vec![name.into()], ty: ColumnType::Text, vouched: true, key }, test)
    }

    fn compare(comparison: Comparison, value: &str) -> Test {
        Test::Compare { comparison, value: Literal::Text(value.into()), slack: Slack::default() }
    }

    fn row(values: &[(&str, Option<&str>)]) -> Row {
        let value = |text: &str| Literal::Text(text.into());
        values.iter().map(|(name, own)| (vec![(*name).to_owned()], own.map(value))).collect()
    }

    #[test]
    fn only_conditions_on_what_is_no_key_need_a_witness() {
        let eq = || compare(Comparison::Eq, "x");
        let filter = Filter::And(vec![test("OrderNbr", true, eq()), test("Status", false, eq())]);
        assert_eq!(unkeyed(&filter), ["Status"]);
        assert_eq!(unkeyed(&test("OrderNbr", true, eq())), [""; 0]);
    }

    /// Otherwise the scan would repeat the request and end with an error.
    #[test]
    fn what_is_doubted_is_known_again_beside_a_condition_that_is_not_sent() {
        let directory = tempfile::tempdir().unwrap();
        let sealer = Arc::new(Sealer::open(&directory.path().join("key")).unwrap());
        let store = Store::open(&directory.path().join("1/2"), sealer).unwrap();
        let learnt = Learnt::new(store, 7, "site".to_owned());
        let nulls = Filter::Or(vec![test("A", false, Test::Null), test("B", false, Test::Null)]);
        let unsent = test("Note", false, compare(Comparison::Gt, "x"));
        let mut request = crate::request::tests::request("Form", &[("A", ColumnType::Text)], &[]);
        request.filter = Some(Filter::And(vec![nulls.clone(), unsent]));
        assert!(doubted(&request, &learnt).is_empty());
        learnt.add(Topic::Doubt, &learnt::place(&request.target), &shapes(&request, &nulls), "");
        assert!(!doubted(&request, &learnt).is_empty());
        request.filter = Some(nulls);
        assert!(!doubted(&request, &learnt).is_empty());
    }

    #[test]
    fn a_witness_is_asked_for_in_the_same_shape_by_its_own_values() {
        let filter = Filter::And(vec![
            Filter::Or(vec![
                test("Vendor", false, compare(Comparison::Eq, "a")),
                test("Vendor", false, compare(Comparison::Eq, "b")),
            ]),
            test("Date", false, compare(Comparison::Gt, "2024")),
            test("Status", false, compare(Comparison::Ne, "Open")),
            test("Hold", false, Test::NotNull),
        ]);
        let own = row(&[
            ("Vendor", Some("v")),
            ("Date", Some("2019")),
            ("Status", Some("Closed")),
            ("Hold", Some("1")),
        ]);
        let met = met_by(&filter, &own).unwrap();
        assert_eq!(shape(&met), shape(&filter));
        let Filter::And(parts) = met else { panic!() };
        assert_eq!(
            parts[0],
            Filter::Or(vec![
                test("Vendor", false, compare(Comparison::Eq, "v")),
                test("Vendor", false, compare(Comparison::Eq, "b")),
            ])
        );
        assert_eq!(parts[1], test("Date", false, compare(Comparison::Ge, "2019")));
        assert_eq!(parts[2], test("Status", false, compare(Comparison::Ne, "Open")));
        // A row without a value, or with the same value, is no witness.
        let null = row(&[("Vendor", None), ("Date", Some("1")), ("Status", Some("x")), ("Hold", Some("1"))]);
        assert_eq!(met_by(&filter, &null), None);
        let open =
            row(&[("Vendor", Some("v")), ("Date", Some("1")), ("Status", Some("Open")), ("Hold", Some("1"))]);
        assert_eq!(met_by(&filter, &open), None);
    }

    #[test]
    fn patterns_are_taken_from_the_value() {
        let ask = |anchor, own: &str| {
            let like = Test::Match { anchor, text: "zz".into(), case: Case::Same };
            match test_met_by(&like, Some(&Literal::Text(own.into()))) {
                Some(Test::Match { text, .. }) => Some(text),
                _ => None,
            }
        };
        assert_eq!(ask(Anchor::Start, "ABC-0001").as_deref(), Some("ABC"));
        assert_eq!(ask(Anchor::Whole, "ABC-0001").as_deref(), Some("ABC-0001"));
        assert_eq!(ask(Anchor::Anywhere, " "), None);
    }
}

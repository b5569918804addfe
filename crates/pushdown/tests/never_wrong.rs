//! Random clauses on random rows: what is printed for a server keeps each row of which the clause is true, and none besides
//! where it is said to be exact.

mod support {
    pub mod generate;
    pub mod number;
    pub mod remote;
    pub mod sql;
}

use acumatica_pushdown::{
    Condition, Described, Filter, Outcome, Reason, Shippable, Solved, Term, Values, Writing, described,
    outcome, print, translate,
};
use proptest::prelude::*;
use support::generate::{self, COLUMNS, Row, Table, clauses, leaves, tables};
use support::remote::{Habits, keeps};
use support::sql::{Context, Given, solved};

/// So many cases, unless PROPTEST_CASES says another number.
fn cases(number: u32) -> ProptestConfig {
    let given = std::env::var("PROPTEST_CASES").ok().and_then(|given| given.parse().ok());
    ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(given.unwrap_or(number)) }
}

fn rows(table: Table) -> impl Strategy<Value = Vec<Row>> {
    proptest::collection::vec(generate::rows(table), 6)
}

/// What a row depends on besides itself.
#[derive(Clone, Copy, Debug)]
struct Server {
    habits: Habits,
    /// The session's zone, in hours.
    zone: i64,
    /// What decides where the first columns of rows are equal.
    tie: bool,
    /// Lists of values are written with `in`.
    lists: bool,
}

fn servers() -> impl Strategy<Value = Server> {
    (any::<bool>(), any::<bool>(), -12_i64..=14, any::<bool>(), any::<bool>()).prop_map(
        |(null_differs, knows_unicode, zone, tie, lists)| Server {
            habits: Habits { null_differs, knows_unicode },
            zone,
            tie,
            lists,
        },
    )
}

fn values(value: &Solved<Given>) -> Values {
    solved(value)
}

/// What is sent of the conditions: nothing if the filter is `None`.
fn sent(filter: Option<&Filter>, table: Table) -> Option<String> {
    filter.and_then(|filter| print(filter, &Writing::plain(table.dialect)))
}

/// How a server is asked for a table.
fn writing(table: Table, lists: bool) -> Writing {
    let fields = COLUMNS.iter().filter(|_| lists).map(|column| column.name.to_owned());
    Writing { lists: fields.collect(), ..Writing::plain(table.dialect) }
}

/// The rule of rules: a row that meets all of some clauses is kept by what is sent of them, and no other one if that is said
/// to be exact.
fn check(table: Table, clauses: &[Term<Given>], rows: &[Row], server: Server) -> Result<(), TestCaseError> {
    let Server { habits, zone, tie, lists } = server;
    let judged: Vec<Result<Shippable<Solved<Given>>, Reason>> = clauses.iter().map(translate).collect();
    let complete = judged.iter().all(|found| found.as_ref().is_ok_and(|found| found.is_whole));
    let conditions: Vec<Condition<Solved<Given>>> =
        judged.iter().flatten().map(|found| found.condition.clone()).collect();
    let outcome = outcome(&conditions, &values);
    let Described { filter, exact, .. } = described(&conditions, complete, table.dialect, &values);
    let text = match &outcome {
        Outcome::Filter(filter) => print(filter, &writing(table, lists)),
        _ => None,
    };
    for (shown, stored) in rows {
        let context = Context { row: shown, zone: zone * 60, tie };
        let is_true = clauses.iter().all(|clause| context.truth(clause) == Some(true));
        let kept =
            outcome != Outcome::NoRow && text.as_deref().is_none_or(|text| keeps(text, stored, habits));
        prop_assert!(kept || !is_true, "lost: {shown:?}\n  of {text:?}\n  by {clauses:?}");
        if exact {
            // What is described is what is sent, if there is anything.
            let kept = sent(filter.as_ref(), table).is_none_or(|text| keeps(&text, stored, habits));
            prop_assert!(kept == is_true, "not exact: {shown:?}\n  of {text:?}\n  by {clauses:?}");
        }
    }
    Ok(())
}

proptest! {
    #![proptest_config(cases(800))]

    #[test]
    fn what_is_sent_of_one_comparison_keeps_each_row_that_sql_keeps(
        (table, clause, rows) in tables().prop_flat_map(|table| (Just(table), leaves(table), rows(table))),
        server in servers(),
    ) {
        check(table, &[clause], &rows, server)?;
    }

    #[test]
    fn what_is_sent_of_where_keeps_each_row_that_sql_keeps(
        (table, clauses, rows) in tables().prop_flat_map(|table| {
            (Just(table), proptest::collection::vec(clauses(table), 1..3), rows(table))
        }),
        server in servers(),
    ) {
        check(table, &clauses, &rows, server)?;
    }

    /// A list that is too long for a request is asked for in several.
    #[test]
    fn portions_keep_together_what_the_whole_keeps(
        (table, clauses, rows) in tables().prop_flat_map(|table| {
            (Just(table), proptest::collection::vec(clauses(table), 1..4), rows(table))
        }),
        lists in any::<bool>(),
    ) {
        let habits = Habits { null_differs: false, knows_unicode: true };
        let conditions: Vec<_> = clauses.iter().filter_map(|clause| Some(translate(clause).ok()?.condition)).collect();
        if let Outcome::Filter(filter) = outcome(&conditions, &values) {
            let whole = sent(Some(&filter), table);
            let writing = writing(table, lists);
            let portions: Vec<_> =
                filter.portions(&writing).iter().map(|part| print(part, &writing)).collect();
            let kept = |text: &Option<String>, row| text.as_deref().is_none_or(|text| keeps(text, row, habits));
            for (_, stored) in &rows {
                prop_assert!(!kept(&whole, stored) || portions.iter().any(|text| kept(text, stored)));
            }
        }
    }

    /// Without a field that the server has refused, the rest keeps all that it kept before.
    #[test]
    fn without_a_field_no_row_is_lost(
        (table, clause, rows) in tables().prop_flat_map(|table| (Just(table), clauses(table), rows(table))),
        at in 0..COLUMNS.len(),
    ) {
        let habits = Habits { null_differs: true, knows_unicode: true };
        let Ok(Shippable { condition, .. }) = translate(&clause) else { return Ok(()) };
        if let Outcome::Filter(filter) = outcome(&[condition], &values) {
            let rest = filter.without(&|path| path[0] == COLUMNS[at].name);
            prop_assert!(rest.as_ref().is_none_or(|rest| !rest.paths().contains(&COLUMNS[at].name.to_owned())));
            let (before, after) = (sent(Some(&filter), table), sent(rest.as_ref(), table));
            for (_, stored) in &rows {
                let kept = |text: &Option<String>| text.as_deref().is_none_or(|text| keeps(text, stored, habits));
                prop_assert!(kept(&after) || !kept(&before), "{before:?} kept what {after:?} does not");
            }
        }
    }

    /// The planner hands conditions to the executor as JSON, over the numbers of their values.
    #[test]
    fn conditions_come_back_from_json(clause in tables().prop_flat_map(clauses)) {
        if let Ok(Shippable { condition, .. }) = translate(&clause) {
            let mut next = 0;
            let numbered = condition.map(&mut |_| { next += 1; next });
            let json = serde_json::to_string(&numbered).unwrap();
            prop_assert_eq!(&serde_json::from_str::<Condition<usize>>(&json).unwrap(), &numbered);
        }
    }
}

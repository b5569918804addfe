//! Random rows and random clauses.

use std::collections::HashMap;

use acumatica_pushdown::{
    Arithmetic, Case, Cast, ColumnType, Comparison, Dialect, Field, Node, SqlType, Syntax, Term,
};
use proptest::prelude::*;
use proptest::sample::select;

use super::number::Number;
use super::remote::Stored;
use super::sql::{Datum, Given, MINUTES, literal};

pub type Clause = BoxedStrategy<Term<Given>>;

/// A column of the table of the tests.
#[derive(Clone, Debug)]
pub struct Column {
    pub name: &'static str,
    pub decoded: ColumnType,
    pub ty: SqlType,
}

pub const COLUMNS: [Column; 10] = [
    Column { name: "Int", decoded: ColumnType::Int4, ty: SqlType::Int4 },
    Column { name: "Num", decoded: ColumnType::Numeric, ty: SqlType::Numeric },
    Column { name: "Float", decoded: ColumnType::Float8, ty: SqlType::Float8 },
    Column { name: "Bool", decoded: ColumnType::Bool, ty: SqlType::Bool },
    Column { name: "Text", decoded: ColumnType::Text, ty: SqlType::Text },
    Column { name: "Code", decoded: ColumnType::Unpadded, ty: SqlType::Text },
    Column { name: "Key", decoded: ColumnType::Text, ty: SqlType::Text },
    Column { name: "Day", decoded: ColumnType::Date, ty: SqlType::Date },
    Column { name: "Moment", decoded: ColumnType::TimestampTz, ty: SqlType::TimestampTz },
    Column { name: "Id", decoded: ColumnType::Uuid, ty: SqlType::Uuid },
];

/// Texts of ASCII, then others; the last of ASCII look like dates.
const TEXTS: [&str; 24] = [
    "",
    " ",
    "a",
    "A",
    "ab",
    "AB",
    "AB  ",
    "abc",
    "kit",
    "KIT",
    "O'Neill",
    "a%b",
    "strasse",
    "STRASSE",
    "x y ",
    "1/31/2024 12:00:00 AM",
    "12/1/2023",
    "\u{212A}it",
    "İx",
    "straße",
    "STRAßE",
    "ſs",
    "ﬃx",
    "ä",
];
const ASCII: usize = 17;
const PLAIN: usize = 15;

/// The columns as the clauses of one query see them: columns of text are vouched for or not.
#[derive(Clone, Copy, Debug)]
pub struct Table {
    pub dialect: Dialect,
    pub vouched: bool,
}

pub fn tables() -> impl Strategy<Value = Table> {
    use Dialect::*;
    let dialects = select(vec![Contract4, Contract5, GiV3, GiV4, Dac]);
    (dialects, any::<bool>()).prop_map(|(dialect, vouched)| Table { dialect, vouched })
}

/// What PostgreSQL has in a row, and what the server has.
pub type Row = (HashMap<&'static str, Option<Datum>>, HashMap<&'static str, Stored>);

pub fn rows(table: Table) -> impl Strategy<Value = Row> {
    let cells: Vec<_> = COLUMNS.iter().map(|column| cell(table, column)).collect();
    cells.prop_map(|cells| {
        let named = || COLUMNS.iter().map(|column| column.name);
        let (shown, stored): (Vec<_>, Vec<_>) = cells.into_iter().unzip();
        (named().zip(shown).collect(), named().zip(stored).collect())
    })
}

fn cell(table: Table, column: &Column) -> BoxedStrategy<(Option<Datum>, Stored)> {
    let value = match column.name {
        "Int" => (-3_i128..8).prop_map(|n| (n, 0)).prop_map(number).boxed(),
        "Num" => prop_oneof![(-3_i128..8, Just(0)), (-3000_i128..8000, Just(3))].prop_map(number).boxed(),
        // The server has more digits than a binary number.
        "Float" => (-30_i128..80, -1_i128..2)
            .prop_map(|(tenths, off)| {
                let stored = Number::new(tenths, 10).plus(Number::new(off, 1_000_000_000_000_000_000));
                (Some(Datum::Float(tenths as f64 / 10.0)), Stored::Number(stored))
            })
            .boxed(),
        "Bool" => any::<bool>().prop_map(|truth| (Some(Datum::Bool(truth)), Stored::Bool(truth))).boxed(),
        "Day" => (19_700_i64..19_760, -14_i64..=12)
            .prop_map(|(day, west)| (Some(Datum::Day(day)), Stored::Moment(day * MINUTES + west * 60)))
            .boxed(),
        "Moment" => (19_700_i64 * 24..19_760 * 24, 0_i64..60, -14_i64..=14)
            .prop_map(|(hour, minute, off)| {
                let moment = hour * 60 + minute;
                (Some(Datum::Moment(moment)), Stored::Moment(moment + off * 60))
            })
            .boxed(),
        "Id" => uuid().prop_map(|id| (Some(Datum::Uuid(id.clone())), Stored::Uuid(id))).boxed(),
        _ => text_cell(table, column.decoded == ColumnType::Unpadded, column.name == "Key"),
    };
    // A text that is shown as empty may be none.
    let is_text = column.ty == SqlType::Text && table.dialect != Dialect::Dac;
    let none = (if is_text { Some(Datum::Text(String::new())) } else { None }, Stored::Null);
    prop_oneof![1 => Just(none), 1 => Just((None, Stored::Null)), 6 => value].boxed()
}

fn number((digits, places): (i128, u32)) -> (Option<Datum>, Stored) {
    let number = Number::new(digits, 10_i128.pow(places));
    (Some(Datum::Number(number)), Stored::Number(number))
}

fn text_cell(table: Table, unpadded: bool, key: bool) -> BoxedStrategy<(Option<Datum>, Stored)> {
    let is_rest = matches!(table.dialect, Dialect::Contract4 | Dialect::Contract5);
    let texts = match (table.vouched, is_rest) {
        (true, true) => &TEXTS[..PLAIN],
        (true, false) => &TEXTS[..ASCII],
        _ => &TEXTS[..],
    };
    let cell = move |text: &'static str| {
        let shown = if unpadded { text.trim_end_matches(' ') } else { text };
        let is_date = text.contains('/');
        let is_other = !table.vouched && (table.dialect == Dialect::Contract5 || is_rest && is_date && !key);
        let stored = if is_other { Stored::Otherwise } else { Stored::Text(text.to_owned()) };
        (Some(Datum::Text(shown.to_owned())), stored)
    };
    select(texts).prop_map(cell).boxed()
}

fn uuid() -> impl Strategy<Value = String> {
    (0_u8..3).prop_map(|n| format!("00000000-0000-0000-0000-00000000000{n}"))
}

/// The column of a name, as a term.
fn column(table: Table, name: &str) -> Term<Given> {
    let Column { name, decoded, ty } = COLUMNS.iter().find(|column| column.name == name).unwrap().clone();
    let vouched = table.vouched && ty == SqlType::Text;
    let field = Field { path: vec![name.to_owned()], ty: decoded, vouched, key: name == "Key" };
    Term { value: Vec::new(), ty, is_constant: false, node: Node::Column(Ok(field)) }
}

fn over(ty: SqlType, node: Node<Given>) -> Term<Given> {
    Term { value: Vec::new(), ty, is_constant: false, node }
}

/// A value: known to the planner, or when the scan starts.
fn constant(ty: SqlType, datum: Option<Datum>, known: bool) -> Term<Given> {
    let shown = datum.as_ref().filter(|_| ty.is_number() || ty == SqlType::Text).map(literal);
    let node = if known { Node::Constant(shown) } else { Node::Other };
    Term { value: vec![datum], ty, is_constant: true, node }
}

fn data(ty: SqlType) -> BoxedStrategy<Option<Datum>> {
    let some = match ty {
        SqlType::Bool => any::<bool>().prop_map(Datum::Bool).boxed(),
        SqlType::Int4 => (-4_i128..9).prop_map(|n| Datum::Number(Number::new(n, 1))).boxed(),
        SqlType::Numeric => prop_oneof![(-4_i128..9, Just(1)), (-80_i128..160, Just(20))]
            .prop_map(|(above, below)| Datum::Number(Number::new(above, below)))
            .boxed(),
        SqlType::Float8 => (-30_i64..80).prop_map(|tenths| Datum::Float(tenths as f64 / 10.0)).boxed(),
        SqlType::Text => select(&TEXTS[..]).prop_map(|text| Datum::Text(text.to_owned())).boxed(),
        SqlType::Date => (19_700_i64..19_760).prop_map(Datum::Day).boxed(),
        SqlType::TimestampTz => {
            (19_700_i64 * 24..19_760 * 24).prop_map(|hour| Datum::Moment(hour * 60)).boxed()
        }
        SqlType::Uuid => uuid().prop_map(Datum::Uuid).boxed(),
        other => panic!("{other:?}"),
    };
    prop_oneof![1 => Just(None), 9 => some.prop_map(Some)].boxed()
}

fn constants(ty: SqlType) -> Clause {
    (data(ty), any::<bool>()).prop_map(move |(datum, known)| constant(ty, datum, known)).boxed()
}

fn comparisons() -> impl Strategy<Value = Comparison> {
    use Comparison::*;
    select(vec![Eq, Ne, Lt, Le, Gt, Ge])
}

/// A number that comes from a column.
fn numbers(table: Table) -> Clause {
    let int = column(table, "Int");
    let widened = over(SqlType::Numeric, Node::Cast(Cast::Wider, Box::new(int.clone())));
    let leaf = select(vec![int, widened, column(table, "Num")]);
    leaf.prop_recursive(3, 3, 1, |inner| {
        let operators =
            select(vec![Arithmetic::Add, Arithmetic::Subtract, Arithmetic::Multiply, Arithmetic::Divide]);
        let operated =
            (inner.clone(), operators, any::<bool>()).prop_flat_map(|(inner, operator, turned)| {
                let ty = inner.ty;
                constants(ty).prop_map(move |number| {
                    let (left, right) =
                        if turned { (number, inner.clone()) } else { (inner.clone(), number) };
                    let (left, right) = (Box::new(left), Box::new(right));
                    over(ty, Node::Arithmetic { operator: Some(operator), left, right })
                })
            });
        let negated = inner.prop_map(|inner| over(inner.ty, Node::Negate(Box::new(inner))));
        prop_oneof![4 => operated, 1 => negated]
    })
    .boxed()
}

/// A text that comes from a column.
fn texts(table: Table) -> Clause {
    let columns = select(vec!["Text", "Code", "Key"]).prop_map(move |name| column(table, name));
    let cases = select(vec![Case::Same, Case::Lower, Case::Upper]);
    (columns, cases)
        .prop_map(|(column, case)| match case {
            Case::Same => column,
            case => {
                let of = Box::new(column);
                over(SqlType::Text, Node::InCase { case, of, deterministic: true })
            }
        })
        .boxed()
}

/// A moment or day that comes from a column, and what it is compared with.
fn moments(table: Table) -> BoxedStrategy<(Term<Given>, Term<Given>)> {
    let (day, moment) = (column(table, "Day"), column(table, "Moment"));
    let cast = |ty, inner: &Term<Given>| over(ty, Node::Cast(Cast::ByZone, Box::new(inner.clone())));
    let cut = |unit: &str| {
        let (unit, of) = (Some(unit.to_owned()), Box::new(moment.clone()));
        over(SqlType::TimestampTz, Node::Truncate { unit, of })
    };
    let year = |of: &Term<Given>| {
        let (unit, of) = (Some("year".to_owned()), Box::new(of.clone()));
        over(SqlType::Numeric, Node::Extract { unit, of })
    };
    let of_year = select(vec![year(&day), year(&moment)]);
    let years = (2022_i128..2026)
        .prop_map(|year| constant(SqlType::Numeric, Some(Datum::Number(Number::new(year, 1))), true));
    let subjects = vec![
        cast(SqlType::Date, &moment),
        cast(SqlType::TimestampTz, &day),
        cut("day"),
        cut("month"),
        cut("year"),
        day,
        moment,
    ];
    let others = prop_oneof![constants(SqlType::Date), constants(SqlType::TimestampTz)];
    prop_oneof![5 => (select(subjects), others), 1 => (of_year, years)].boxed()
}

/// What a column is compared with by `=` and its like, and the column.
fn pairs(table: Table) -> BoxedStrategy<(Term<Given>, Term<Given>)> {
    let of = move |name: &'static str, ty| constants(ty).prop_map(move |value| (column(table, name), value));
    // Thirds as PostgreSQL rounds a quotient.
    let thirds = (-6_i128..12, any::<bool>()).prop_map(|(n, known)| {
        let third = Number::new(n, 3).rounded();
        constant(SqlType::Numeric, Some(Datum::Number(third)), known)
    });
    let numeric = prop_oneof![constants(SqlType::Int4), constants(SqlType::Numeric), thirds];
    prop_oneof![
        3 => (numbers(table), numeric),
        1 => of("Float", SqlType::Float8),
        1 => of("Bool", SqlType::Bool),
        2 => (texts(table), constants(SqlType::Text)),
        2 => moments(table),
        1 => of("Id", SqlType::Uuid),
    ]
    .boxed()
}

/// A clause without another one in it.
pub fn leaves(table: Table) -> Clause {
    let deterministic = true;
    let compared = (pairs(table), comparisons(), any::<bool>(), 0..6).prop_map(
        move |((left, right), comparison, turned, kind)| {
            let (left, right) = if turned { (right, left) } else { (left, right) };
            let (left, right) = (Box::new(left), Box::new(right));
            over(
                SqlType::Bool,
                match kind {
                    0 => Node::Distinct { comparison: Some(Comparison::Eq), left, right, deterministic },
                    1 => Node::CompareRows { comparison: Some(comparison), left, right, deterministic },
                    _ => Node::Compare { comparison, left, right, deterministic },
                },
            )
        },
    );
    let names: Vec<_> = COLUMNS.iter().map(|column| (column.name, column.ty)).collect();
    let of_array = (select(names), comparisons(), any::<bool>()).prop_flat_map(
        move |((name, element), comparison, any)| {
            let arrays = proptest::collection::vec(data(element), 0..5);
            arrays.prop_map(move |elements| {
                let ty = SqlType::Other(0);
                let array = Term { value: elements, ty, is_constant: true, node: Node::Other };
                let (left, array) = (Box::new(column(table, name)), Box::new(array));
                let comparison = Some(comparison);
                over(
                    SqlType::Bool,
                    Node::CompareArray { comparison, left, array, element, any, deterministic },
                )
            })
        },
    );
    let patterns = proptest::collection::vec(
        select(vec!["%", "_", "a", "A", "B", " ", "k", "ss", "ß", "/1", "12", "i", "x", "\\%", "AM"]),
        0..5,
    );
    let patterns = patterns.prop_map(|parts| Some(Datum::Text(parts.concat())));
    let patterns = prop_oneof![8 => patterns, 1 => data(SqlType::Text)]
        .prop_map(|text| constant(SqlType::Text, text, false));
    let syntaxes = select(vec![Syntax::Like, Syntax::Start]);
    let matched = (texts(table), patterns.clone(), syntaxes, any::<bool>(), any::<bool>()).prop_map(
        move |(subject, text, syntax, any_case, holds)| {
            let (subject, text) = (Box::new(subject), Box::new(text));
            let (any_case, holds) = match syntax {
                Syntax::Like => (any_case, holds),
                _ => (false, true),
            };
            over(SqlType::Bool, Node::Matches { syntax, any_case, holds, subject, text, deterministic })
        },
    );
    let starts = prop_oneof![
        4 => select(vec!["", "a", "A", "ab", "AB", "i", "k", "ß", "ss", "12", "a  "]).prop_map(|text| Some(Datum::Text(text.to_owned()))),
        1 => data(SqlType::Text),
    ];
    let beginnings = (texts(table), comparisons(), proptest::collection::vec(starts, 1..3), any::<bool>());
    let begun = beginnings.prop_map(move |(of, comparison, mut values, any)| {
        let left = Box::new(over(SqlType::Text, Node::Beginning(Box::new(of))));
        if values.len() == 1 {
            let right = Box::new(constant(SqlType::Text, values.remove(0), false));
            return over(SqlType::Bool, Node::Compare { comparison, left, right, deterministic });
        }
        let array = Term { value: values, ty: SqlType::Other(0), is_constant: true, node: Node::Other };
        let (comparison, array, element) = (Some(comparison), Box::new(array), SqlType::Text);
        over(SqlType::Bool, Node::CompareArray { comparison, left, array, element, any, deterministic })
    });
    let position = (texts(table), patterns, comparisons(), -1_i128..3).prop_map(
        move |(subject, text, comparison, least)| {
            let (subject, text) = (Box::new(subject), Box::new(text));
            let left = Box::new(over(SqlType::Int4, Node::Position { subject, text, deterministic }));
            let least = Some(Datum::Number(Number::new(least, 1)));
            let right = Box::new(constant(SqlType::Int4, least, true));
            over(SqlType::Bool, Node::Compare { comparison, left, right, deterministic })
        },
    );
    let names: Vec<_> = COLUMNS.iter().map(|column| column.name).collect();
    let is_null = (select(names), any::<bool>()).prop_map(move |(name, is)| {
        over(SqlType::Bool, Node::IsNull { of: Box::new(column(table, name)), is, is_row: false })
    });
    prop_oneof![
        6 => compared,
        2 => of_array,
        3 => matched,
        1 => position,
        1 => begun,
        1 => is_null,
        1 => Just(column(table, "Bool")),
    ]
    .boxed()
}

/// Any clause.
pub fn clauses(table: Table) -> Clause {
    leaves(table)
        .prop_recursive(3, 8, 3, |inner| {
            let several = || proptest::collection::vec(inner.clone(), 1..4);
            let truths = select(vec![Some(true), Some(false), None]);
            let is = (inner.clone(), truths, any::<bool>());
            prop_oneof![
                2 => several().prop_map(|parts| over(SqlType::Bool, Node::And(parts))),
                2 => several().prop_map(|parts| over(SqlType::Bool, Node::Or(parts))),
                2 => inner.clone().prop_map(|inner| over(SqlType::Bool, Node::Not(Box::new(inner)))),
                1 => is.prop_map(|(of, truth, is)| {
                    over(SqlType::Bool, Node::IsTruth { of: Box::new(of), truth, is })
                }),
            ]
        })
        .boxed()
}

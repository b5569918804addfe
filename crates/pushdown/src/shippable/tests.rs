use super::*;
use crate::column::ColumnType;
use crate::term::{Arithmetic, Cast};

type Clause = Term<&'static str>;

fn term(ty: SqlType, node: Node<&'static str>) -> Clause {
    Term { value: "", ty, is_constant: false, node }
}

fn column(ty: SqlType, decoded: ColumnType) -> Clause {
    let field = Field { path: vec!["A".into()], ty: decoded, vouched: false, key: false };
    term(ty, Node::Column(Ok(field)))
}

fn int() -> Clause {
    column(SqlType::Int4, ColumnType::Int4)
}

fn text() -> Clause {
    column(SqlType::Text, ColumnType::Text)
}

fn boolean_column() -> Clause {
    column(SqlType::Bool, ColumnType::Bool)
}

/// A value that is not known yet.
fn value(ty: SqlType) -> Clause {
    Term { value: "$1", ty, is_constant: true, node: Node::Other }
}

fn number(digits: &'static str) -> Clause {
    let node = Node::Constant(Some(Literal::Integer(digits.into())));
    Term { value: digits, ty: SqlType::Int4, is_constant: true, node }
}

fn compare(left: Clause, comparison: Comparison, right: Clause) -> Clause {
    let (left, right) = (Box::new(left), Box::new(right));
    term(SqlType::Bool, Node::Compare { comparison, left, right, deterministic: true })
}

fn not(inner: Clause) -> Clause {
    term(SqlType::Bool, Node::Not(Box::new(inner)))
}

fn all(parts: &[Clause]) -> Clause {
    term(SqlType::Bool, Node::And(parts.to_vec()))
}

fn any(parts: &[Clause]) -> Clause {
    term(SqlType::Bool, Node::Or(parts.to_vec()))
}

fn like(subject: Clause, any_case: bool) -> Clause {
    let (subject, text) = (Box::new(subject), Box::new(value(SqlType::Text)));
    let (syntax, holds, deterministic) = (Syntax::Like, true, true);
    term(SqlType::Bool, Node::Matches { syntax, any_case, holds, subject, text, deterministic })
}

fn in_case(case: Case, of: Clause) -> Clause {
    term(SqlType::Text, Node::InCase { case, of: Box::new(of), deterministic: true })
}

fn why(clause: &Clause) -> Option<Reason> {
    translate(clause).err()
}

/// The comparisons of a condition, in order.
fn comparisons(clause: &Clause) -> Vec<Comparison> {
    fn collect<V>(condition: &Condition<V>, found: &mut Vec<Comparison>) {
        match condition {
            Condition::And(parts) | Condition::Or(parts) => {
                parts.iter().for_each(|part| collect(part, found))
            }
            Condition::Compare { comparison, .. } | Condition::Test(_, Test::Compare { comparison, .. }) => {
                found.push(*comparison);
            }
            _ => {}
        }
    }
    let mut found = Vec::new();
    collect(&translate(clause).unwrap().condition, &mut found);
    found
}

#[test]
fn a_column_may_stand_on_either_side() {
    assert_eq!(comparisons(&compare(int(), Comparison::Lt, value(SqlType::Int8))), [Comparison::Lt]);
    assert_eq!(comparisons(&compare(value(SqlType::Int8), Comparison::Lt, int())), [Comparison::Gt]);
}

#[test]
fn not_asks_for_the_rows_of_which_a_comparison_is_false() {
    use Comparison::{Ge, Gt, Le, Lt};
    let (less, more) = (compare(int(), Lt, value(SqlType::Int4)), compare(int(), Gt, value(SqlType::Int4)));
    let both = translate(&not(all(&[less.clone(), more.clone()]))).unwrap().condition;
    assert!(matches!(both, Condition::Or(_)));
    assert_eq!(comparisons(&not(all(&[less.clone(), more.clone()]))), [Ge, Le]);
    assert_eq!(comparisons(&not(not(less.clone()))), [Lt]);
    let is_false = Node::IsTruth { of: Box::new(less), truth: Some(false), is: true };
    assert_eq!(comparisons(&term(SqlType::Bool, is_false)), [Ge]);
}

#[test]
fn a_part_that_cannot_be_sent_is_left_out_of_what_must_all_hold_only() {
    let (good, bad) = (compare(int(), Comparison::Lt, value(SqlType::Int4)), term(SqlType::Bool, Node::Call));
    assert!(translate(&good).unwrap().is_whole);
    let both = translate(&all(&[good.clone(), bad.clone()])).unwrap();
    assert!(!both.is_whole && matches!(both.condition, Condition::And(parts) if parts.len() == 1));
    assert_eq!(why(&any(&[good.clone(), bad.clone()])), Some(Reason::NoOperator));
    assert_eq!(why(&not(all(&[good.clone(), bad.clone()]))), Some(Reason::NoOperator));
    assert!(!translate(&not(any(&[good, bad.clone()]))).unwrap().is_whole);
    assert_eq!(why(&all(&[bad.clone(), bad])), Some(Reason::NoOperator));
}

#[test]
fn what_does_not_match_is_not_asked_for() {
    assert_eq!(why(&like(text(), false)), None);
    assert_eq!(why(&not(like(text(), false))), Some(Reason::NotMatching));
    assert_eq!(why(&like(in_case(Case::Lower, text()), true)), None);
    assert_eq!(why(&like(in_case(Case::Upper, text()), true)), Some(Reason::NoOperator));
    assert_eq!(why(&like(int(), false)), Some(Reason::OtherTypes));
}

#[test]
fn a_position_says_that_a_text_is_held_or_nothing() {
    let position = |comparison, least| {
        let (subject, text, deterministic) = (Box::new(text()), Box::new(value(SqlType::Text)), true);
        let position = term(SqlType::Int4, Node::Position { subject, text, deterministic });
        why(&compare(position, comparison, number(least)))
    };
    use Comparison::{Eq, Ge, Gt, Le, Ne};
    for (comparison, least) in [(Gt, "0"), (Gt, "3"), (Ge, "1"), (Eq, "2"), (Ne, "0")] {
        assert_eq!(position(comparison, least), None, "{comparison:?} {least}");
    }
    for (comparison, least) in [(Gt, "-1"), (Ge, "0"), (Eq, "0"), (Ne, "1"), (Le, "5")] {
        assert_eq!(position(comparison, least), Some(Reason::NotMatching), "{comparison:?} {least}");
    }
}

#[test]
fn a_beginning_is_compared_with_one_text_or_one_of_a_list() {
    let left = |of: Clause| term(SqlType::Text, Node::Beginning(Box::new(of)));
    let listed = |any| {
        let (left, array) = (Box::new(left(text())), Box::new(value(SqlType::Other(0))));
        let (comparison, element, deterministic) = (Some(Comparison::Eq), SqlType::Text, true);
        term(SqlType::Bool, Node::CompareArray { comparison, left, array, element, any, deterministic })
    };
    let equal = compare(left(text()), Comparison::Eq, value(SqlType::Text));
    for clause in [equal.clone(), compare(value(SqlType::Text), Comparison::Eq, left(text())), listed(true)] {
        let Condition::Match { syntax, .. } = translate(&clause).unwrap().condition else {
            panic!("{clause:?}")
        };
        assert_eq!(syntax, Syntax::Start);
    }
    for (clause, reason) in [
        (not(equal), Reason::NotMatching),
        (not(listed(true)), Reason::NotMatching),
        (listed(false), Reason::NotMatching),
        (compare(left(text()), Comparison::Gt, value(SqlType::Text)), Reason::NotMatching),
        (compare(left(text()), Comparison::Eq, text()), Reason::NotConstant),
        (compare(left(text()), Comparison::Eq, value(SqlType::Name)), Reason::OtherTypes),
    ] {
        assert_eq!(why(&clause), Some(reason));
    }
}

#[test]
fn each_obstacle_has_its_reason() {
    let equal = |left: Clause, right: Clause| compare(left, Comparison::Eq, right);
    let whole = || {
        term(
            SqlType::Int4,
            Node::Arithmetic {
                operator: Some(Arithmetic::Divide),
                left: Box::new(int()),
                right: Box::new(number("2")),
            },
        )
    };
    let off = term(SqlType::Int4, Node::Column(Err(Reason::Off)));
    let (left, right) = (Box::new(text()), Box::new(value(SqlType::Text)));
    let other_collation = Node::Compare { comparison: Comparison::Eq, left, right, deterministic: false };
    for (clause, reason) in [
        (equal(int(), int()), Reason::NotConstant),
        (equal(value(SqlType::Int4), value(SqlType::Int4)), Reason::NotAField),
        (equal(off, value(SqlType::Int4)), Reason::Off),
        (equal(text(), value(SqlType::Int4)), Reason::OtherTypes),
        (equal(text(), value(SqlType::Bpchar)), Reason::OtherTypes),
        (term(SqlType::Bool, other_collation), Reason::OtherCollation),
        (equal(whole(), value(SqlType::Int4)), Reason::NoOperator),
        (int(), Reason::OtherTypes),
        (term(SqlType::Bool, Node::Other), Reason::NoOperator),
    ] {
        assert_eq!(why(&clause), Some(reason), "{clause:?}");
    }
}

#[test]
fn rows_are_compared_by_their_first_columns_as_far_as_those_say() {
    let rows = |comparison| {
        let (left, right) = (Box::new(int()), Box::new(value(SqlType::Int4)));
        term(SqlType::Bool, Node::CompareRows { comparison, left, right, deterministic: true })
    };
    let more = rows(Some(Comparison::Gt));
    assert_eq!(comparisons(&more), [Comparison::Ge]);
    assert!(!translate(&more).unwrap().is_whole);
    assert_eq!(comparisons(&not(more)), [Comparison::Le]);
    assert_eq!(why(&rows(None)), Some(Reason::NoOperator));
}

#[test]
fn truth_of_a_column_allows_for_none() {
    let is = |truth, is| term(SqlType::Bool, Node::IsTruth { of: Box::new(boolean_column()), truth, is });
    let not_true = translate(&is(Some(true), false)).unwrap().condition;
    let Condition::Or(parts) = not_true else { panic!("{not_true:?}") };
    assert!(matches!(
        &parts[..],
        [
            Condition::Test(_, Test::Compare { value: Literal::Bool(false), .. }),
            Condition::Test(_, Test::Null)
        ]
    ));
    assert!(matches!(translate(&is(None, true)).unwrap().condition, Condition::Test(_, Test::Null)));
    assert!(matches!(translate(&not(is(None, true))).unwrap().condition, Condition::Test(_, Test::NotNull)));
}

#[test]
fn moments_are_given_what_casts_and_units_take_from_them() {
    let moment = || Box::new(column(SqlType::TimestampTz, ColumnType::TimestampTz));
    let slack = |subject: Clause, ty| match translate(&compare(subject, Comparison::Eq, value(ty)))
        .unwrap()
        .condition
    {
        Condition::Compare { slack, reading, .. } => (slack.before, slack.after, reading),
        other => panic!("{other:?}"),
    };
    let value = Reading::Value;
    assert_eq!(slack(*moment(), SqlType::TimestampTz), (0, 0, value));
    assert_eq!(slack(*moment(), SqlType::Date), (1, 1, value));
    let day = || term(SqlType::Date, Node::Cast(Cast::ByZone, moment()));
    assert_eq!(slack(day(), SqlType::Date), (1, 1, value));
    assert_eq!(slack(day(), SqlType::Timestamp), (2, 3, value));
    let month = Node::Truncate { unit: Some("month".into()), of: moment() };
    assert_eq!(slack(term(SqlType::TimestampTz, month), SqlType::TimestampTz), (1, 32, value));
    let year = Node::Extract { unit: Some("year".into()), of: moment() };
    assert_eq!(slack(term(SqlType::Numeric, year), SqlType::Int4), (1, 367, Reading::Year));
    let other = Node::Extract { unit: Some("month".into()), of: moment() };
    let other = compare(term(SqlType::Numeric, other), Comparison::Eq, number("5"));
    assert_eq!(why(&other), Some(Reason::NoOperator));
}

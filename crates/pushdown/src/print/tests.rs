use super::*;
use crate::column::ColumnType as Type;
use Comparison::*;
use Dialect::*;

fn field(path: &str, ty: Type) -> Field {
    Field { path: path.split('/').map(Into::into).collect(), ty, vouched: false, key: false }
}

fn on(path: &str, ty: Type, comparison: Comparison, value: Literal) -> Filter {
    Filter::Test(field(path, ty), Test::Compare { comparison, value, slack: Slack::default() })
}

fn text(path: &str, value: &str) -> Filter {
    on(path, Type::Text, Eq, Literal::Text(value.into()))
}

fn holds(anchor: Anchor, text: &str, case: Case) -> Filter {
    Filter::Test(field("A", Type::Text), Test::Match { anchor, text: text.into(), case })
}

fn vouched(filter: Filter) -> Filter {
    let Filter::Test(field, test) = filter else { panic!() };
    Filter::Test(Field { vouched: true, ..field }, test)
}

fn key(filter: Filter) -> Filter {
    let Filter::Test(field, test) = filter else { panic!() };
    Filter::Test(Field { key: true, ..field }, test)
}

fn shown(filter: &Filter, dialect: Dialect) -> String {
    print(filter, &Writing::plain(dialect)).unwrap_or_default()
}

#[test]
fn each_dialect_has_its_literals() {
    let amount = on("Amount", Type::Numeric, Gt, Literal::Decimal("1.5".into()));
    assert_eq!(shown(&amount, GiV4), "Amount gt 1.5");
    assert_eq!(shown(&amount, GiV3), "Amount gt 1.5M");
    assert_eq!(shown(&amount, Contract4), "Amount gt 1.5M");
    let id = on("NoteID", Type::Uuid, Eq, Literal::Uuid("0-0".into()));
    assert_eq!(shown(&id, Dac), "NoteID eq 0-0");
    assert_eq!(shown(&id, GiV3), "NoteID eq guid'0-0'");
    assert_eq!(shown(&id, Contract4), "");
    assert_eq!(shown(&text("Name", "O'Neill"), GiV4), "Name eq 'O''Neill'");
}

#[test]
fn text_is_compared_for_equality_only_and_not_where_it_may_stand_for_something_else() {
    assert_eq!(shown(&on("A", Type::Text, Gt, Literal::Text("x".into())), GiV4), "");
    assert_eq!(shown(&on("A", Type::Text, Ne, Literal::Text("x".into())), GiV4), "");
    assert_eq!(shown(&text("A", ""), GiV4), "");
    assert_eq!(shown(&text("A", "12/14/2023 19:57:08"), GiV4), "");
    assert_eq!(shown(&text("A", "14.12.2023"), GiV4), "");
    assert_eq!(shown(&text("A", "2023-12-14"), GiV4), "");
    assert_eq!(shown(&text("A", "CUST/1"), GiV4), "A eq 'CUST/1'");
    assert_eq!(shown(&text("A", "000-123"), GiV4), "A eq '000-123'");
}

#[test]
fn what_a_text_holds_is_asked_as_each_dialect_can() {
    use Anchor::*;
    let start = holds(Start, "Ab'c", Case::Same);
    assert_eq!(shown(&start, Contract4), "startswith(A,'Ab''c')");
    let inside = holds(Anywhere, "abc ", Case::Same);
    assert_eq!(shown(&inside, Contract4), "substringof('abc',A)");
    assert_eq!(shown(&inside, GiV3), "substringof('abc',A)");
    assert_eq!(shown(&inside, Dac), "contains(A,'abc')");
    assert_eq!(shown(&inside, Contract5), "");
    assert_eq!(shown(&vouched(inside), Contract5), "contains(A,'abc')");
    // Only of substringof it is known that it ignores case.
    let any_case = holds(Start, "Abc", Case::Lower);
    assert_eq!(shown(&any_case, Contract4), "substringof('abc',A)");
    assert_eq!(shown(&any_case, GiV4), "startswith(tolower(A),'abc')");
    assert_eq!(shown(&holds(Whole, "abc", Case::Lower), GiV4), "tolower(A) eq 'abc'");
    assert_eq!(shown(&holds(Whole, "\t", Case::Same), GiV4), "");
}

#[test]
fn letters_that_others_become_in_another_case_are_left_out() {
    use Anchor::*;
    // PostgreSQL finds İ and the Kelvin sign here; the server need not.
    let bikes = holds(Whole, "bikes", Case::Lower);
    assert_eq!(shown(&bikes, GiV4), "startswith(tolower(A),'b') and contains(tolower(A),'es')");
    assert_eq!(shown(&vouched(bikes), GiV4), "tolower(A) eq 'bikes'");
    assert_eq!(
        shown(&holds(Anywhere, "größe", Case::Lower), GiV4),
        "contains(tolower(A),'gr') and contains(tolower(A),'e')"
    );
    assert_eq!(
        shown(&holds(Start, "STRASSE", Case::Upper), GiV4),
        "contains(tolower(A),'r') and contains(tolower(A),'e')"
    );
}

#[test]
fn what_may_be_part_of_a_date_is_not_looked_for_where_texts_can_be_dates() {
    let digits = holds(Anchor::Start, "12/1", Case::Same);
    assert_eq!(shown(&digits, Contract4), "");
    assert_eq!(shown(&holds(Anchor::Anywhere, "PM", Case::Same), Contract4), "");
    assert_eq!(shown(&holds(Anchor::Start, "SO0", Case::Same), Contract4), "startswith(A,'SO0')");
    assert_eq!(shown(&digits, GiV4), "startswith(A,'12/1')");
    let Filter::Test(field, test) = digits else { panic!() };
    let of_key = Filter::Test(Field { key: true, ..field }, test);
    assert_eq!(shown(&of_key, Contract4), "startswith(A,'12/1')");
}

#[test]
fn no_value_is_asked_for_as_null() {
    let null = |ty| Filter::Test(field("A", ty), Test::Null);
    let some = |ty| Filter::Test(field("A", ty), Test::NotNull);
    for dialect in [Contract4, Contract5, GiV3, GiV4, Dac] {
        assert_eq!(shown(&null(Type::Numeric), dialect), "A eq null");
        assert_eq!(shown(&some(Type::Date), dialect), "A ne null");
    }
    assert_eq!(shown(&null(Type::Text), Contract4), "");
    assert_eq!(shown(&some(Type::Text), GiV4), "");
    assert_eq!(shown(&some(Type::Text), Dac), "A ne null");
}

#[test]
fn of_a_boolean_the_other_value_is_asked_for() {
    let bool = |comparison| on("A", Type::Bool, comparison, Literal::Bool(true));
    assert_eq!(shown(&bool(Eq), GiV4), "A eq true");
    assert_eq!(shown(&bool(Ne), GiV4), "A eq false");
    assert_eq!(shown(&bool(Gt), GiV4), "");
}

#[test]
fn binary_numbers_are_compared_with_what_rounding_may_do() {
    let about = |ty, comparison| on("A", ty, comparison, Literal::Double("0.1".into()));
    assert_eq!(shown(&about(Type::Float8, Ge), GiV4), "A ge 0.0999999989");
    assert_eq!(shown(&about(Type::Float8, Eq), GiV3), "A ge 0.0999999989 and A le 0.1000000011");
    assert_eq!(shown(&about(Type::Numeric, Lt), GiV3), "A le 0.1000000011M");
    assert_eq!(shown(&about(Type::Int4, Gt), GiV3), "A ge 0");
    assert_eq!(shown(&on("A", Type::Float8, Gt, Literal::Double("1e200".into())), GiV4), "");
}

#[test]
fn whole_numbers_are_compared_with_whole_numbers() {
    let int = |comparison, digits: &str| on("A", Type::Int4, comparison, Literal::Decimal(digits.into()));
    assert_eq!(shown(&int(Lt, "5.5"), GiV4), "A le 5");
    assert_eq!(shown(&int(Ge, "5.5"), GiV4), "A gt 5");
    assert_eq!(shown(&int(Ge, "-5.5"), GiV4), "A gt -6");
    assert_eq!(shown(&int(Lt, "-0.5"), GiV4), "A le -1");
    assert_eq!(shown(&int(Eq, "5.5"), GiV4), "");
    assert_eq!(shown(&int(Ne, "7"), GiV4), "A ne 7");
    assert_eq!(shown(&int(Lt, "1000000000000000000000000"), GiV4), "");
}

#[test]
fn a_number_of_more_digits_than_the_server_has_is_not_sent() {
    let number = |digits: &str| on("A", Type::Numeric, Lt, Literal::Decimal(digits.into()));
    assert_eq!(shown(&number("12345678901234567890123456.78"), GiV4), "A lt 12345678901234567890123456.78");
    assert_eq!(shown(&number("12345678901234567890123456789.5"), GiV4), "");
}

#[test]
fn moments_allow_for_zones() {
    let when =
        |comparison| on("D", Type::TimestampTz, comparison, Literal::Timestamp("2024-01-31T10:00:00".into()));
    assert_eq!(shown(&when(Ge), GiV4), "D ge 2024-01-30T10:00:00Z");
    assert_eq!(shown(&when(Lt), GiV3), "D le datetime'2024-02-01T10:00:00'");
    assert_eq!(
        shown(&on("D", Type::TimestampTz, Eq, Literal::Date("2024-01-31".into())), Contract4),
        "D ge datetimeoffset'2024-01-30T00:00:00+00:00' and D le datetimeoffset'2024-02-02T00:00:00+00:00'"
    );
}

#[test]
fn a_written_day_is_asked_for_in_any_zone() {
    let day = |comparison| on("D", Type::Date, comparison, Literal::Date("2022-11-02".into()));
    assert_eq!(
        shown(&day(Eq), Contract4),
        "D ge datetimeoffset'2022-11-01T10:00:00+00:00' and D lt datetimeoffset'2022-11-03T14:00:00+00:00'"
    );
    assert_eq!(shown(&day(Ge), GiV4), "D ge 2022-11-01T10:00:00Z");
    assert_eq!(shown(&day(Gt), GiV4), "D ge 2022-11-02T10:00:00Z");
    assert_eq!(shown(&day(Le), GiV3), "D lt datetime'2022-11-03T14:00:00'");
    assert_eq!(shown(&day(Lt), Dac), "D lt 2022-11-02T14:00:00Z");
    assert_eq!(shown(&day(Ne), Dac), "");
    // Of every moment of the day, in every zone that there is.
    let text = shown(&day(Eq), GiV4);
    let bounds: Vec<NaiveDateTime> = text.split([' ', 'Z']).filter_map(|word| word.parse().ok()).collect();
    let midnight: NaiveDateTime = "2022-11-02T00:00:00".parse().unwrap();
    for minutes_east in (-12 * 60..=14 * 60).step_by(15) {
        for minute in (0..24 * 60).step_by(15).chain([24 * 60 - 1]) {
            let instant = midnight + TimeDelta::minutes(minute - minutes_east);
            assert!(bounds[0] <= instant && instant < bounds[1], "{minutes_east} {minute}");
        }
    }
    let far = |day: &str, comparison| on("D", Type::Date, comparison, Literal::Date(day.into()));
    assert_eq!(shown(&far("9999-12-31", Le), GiV4), "");
    assert_eq!(shown(&far("0001-01-01", Ge), GiV4), "");
}

#[test]
fn moments_allow_for_what_was_cut_off() {
    let value = Literal::Date("2024-01-01".into());
    let slack = Slack { before: 1, after: 32 };
    let month = |comparison| {
        let test = Test::Compare { comparison, value: value.clone(), slack };
        Filter::Test(field("D", Type::TimestampTz), test)
    };
    assert_eq!(shown(&month(Eq), GiV4), "D ge 2023-12-30T00:00:00Z and D le 2024-02-04T00:00:00Z");
    assert_eq!(shown(&month(Lt), GiV4), "D le 2024-02-04T00:00:00Z");
    let Filter::Test(_, test) = month(Eq) else { panic!() };
    let of_day = Filter::Test(field("D", Type::Date), test);
    assert_eq!(shown(&of_day, GiV4), "D ge 2023-12-30T00:00:00Z and D le 2024-02-04T00:00:00Z");
}

#[test]
fn a_bound_beyond_the_calendar_of_the_server_is_left_out() {
    let when =
        |comparison, moment: &str| on("D", Type::TimestampTz, comparison, Literal::Timestamp(moment.into()));
    assert_eq!(shown(&when(Le, "9999-12-31T00:00:00"), GiV4), "");
    assert_eq!(shown(&when(Ge, "0001-01-01T00:00:00"), GiV4), "");
    assert_eq!(shown(&when(Eq, "9999-12-31T00:00:00"), GiV4), "D ge 9999-12-30T00:00:00Z");
}

#[test]
fn what_cannot_be_sent_is_left_out_of_and_but_not_of_or() {
    let (good, bad) = (text("A", "x"), text("Linked/B", "y"));
    assert_eq!(shown(&Filter::And(vec![good.clone(), bad.clone()]), GiV4), "A eq 'x'");
    assert_eq!(shown(&Filter::Or(vec![good.clone(), bad.clone()]), GiV4), "");
    assert_eq!(shown(&Filter::Or(vec![good.clone(), text("A", "z")]), GiV4), "(A eq 'x' or A eq 'z')");
    let long = Filter::Or((0..200).map(|i| text("A", &format!("value {i}"))).collect());
    assert_eq!(shown(&Filter::And(vec![long, good]), GiV4), "A eq 'x'");
    assert_eq!(refusal(&bad, GiV4), Some(Reason::Linked));
}

#[test]
fn drop_downs_of_contract_5_are_compared_by_their_code() {
    assert_eq!(shown(&text("Status/id", "CL"), Contract5), "Status eq 'CL'");
    assert_eq!(shown(&text("Status", "Completed"), Contract5), "");
    assert_eq!(shown(&vouched(text("OrderNbr", "1")), Contract5), "OrderNbr eq '1'");
    assert_eq!(shown(&text("Status", "Completed"), Contract4), "Status eq 'Completed'");
}

#[test]
fn what_is_superset_is_not_exact_nor_anything_it_is_part_of() {
    let number = |comparison| on("A", Type::Int4, comparison, Literal::Integer("1".into()));
    let (ne, gt) = (number(Ne), number(Gt));
    assert!(gt.is_exact(Dialect::Dac));
    assert!(!ne.is_exact(Dialect::Dac));
    assert!(!Filter::And(vec![gt.clone(), ne.clone()]).is_exact(Dialect::Dac));
    assert!(!Filter::Or(vec![gt.clone(), ne]).is_exact(Dialect::Dac));
    // Nor is what is sent only in part, or widened.
    let Filter::Test(field, _) = gt.clone() else { panic!() };
    let linked = Field { path: vec!["Linked".into(), "A".into()], ..field.clone() };
    let Filter::Test(_, test) = gt.clone() else { panic!() };
    assert!(!Filter::And(vec![gt, Filter::Test(linked, test)]).is_exact(Dialect::Dac));
    let value = Literal::Double("1.5".into());
    let about = Test::Compare { comparison: Comparison::Gt, value, slack: Slack::default() };
    assert!(!Filter::Test(field, about).is_exact(Dialect::Dac));
}

#[test]
fn a_list_is_written_with_in_for_the_fields_that_the_server_compares_so() {
    let list =
        |field: &str, values: &[&str]| Filter::Or(values.iter().map(|value| text(field, value)).collect());
    let writing = Writing { lists: vec!["A".into()], ..Writing::plain(GiV4) };
    let shown = |filter: &Filter| print(filter, &writing).unwrap_or_default();
    assert_eq!(shown(&list("A", &["x", "y-1", "z"])), "(A in ('x','y-1','z'))");
    assert_eq!(shown(&list("B", &["x", "y"])), "(B eq 'x' or B eq 'y')");
    // Servers fail at these within a list.
    assert_eq!(
        shown(&list("A", &["x", "y", "O'Neill", "a,b"])),
        "(A in ('x','y') or A eq 'O''Neill' or A eq 'a,b')"
    );
    assert_eq!(shown(&list("A", &["x", "O'Neill"])), "(A eq 'x' or A eq 'O''Neill')");
    // What cannot be asked for alone is not asked for in a list.
    assert_eq!(shown(&list("A", &["x", "y", ""])), "");
}

#[test]
fn a_run_of_whole_numbers_is_written_as_a_range() {
    let list = |values: &[i64]| {
        let one = |value: &i64| key(on("N", Type::Int8, Eq, Literal::Integer(value.to_string())));
        Filter::Or(values.iter().map(one).collect())
    };
    assert_eq!(shown(&list(&[3, 1, 2, 4, 9]), GiV4), "((N ge 1 and N le 4) or N eq 9)");
    assert_eq!(shown(&list(&[1, 2, 3]), GiV4), "(N eq 1 or N eq 2 or N eq 3)");
    let writing = Writing { lists: vec!["N".into()], ..Writing::plain(GiV4) };
    assert_eq!(print(&list(&[7, 1, 2, 3, 4, 9]), &writing).unwrap(), "((N ge 1 and N le 4) or N in (7,9))");
    // A field that is no key may have other numbers, and contract REST may answer nothing.
    let plain =
        Filter::Or((1..5).map(|n| on("N", Type::Int8, Eq, Literal::Integer(n.to_string()))).collect());
    assert_eq!(shown(&plain, GiV4), "(N eq 1 or N eq 2 or N eq 3 or N eq 4)");
    assert_eq!(shown(&list(&[1, 2, 3, 4]), Contract4), "(N eq 1 or N eq 2 or N eq 3 or N eq 4)");
    let ends = [i64::MAX, i64::MIN];
    assert_eq!(shown(&list(&ends), GiV4), format!("(N eq {} or N eq {})", i64::MIN, i64::MAX));
}

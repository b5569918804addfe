use std::cmp::Ordering;

use super::schema::SCHEMA;
use super::value::{Kind, Style, compare};
use super::*;

fn data() -> Data {
    Data::new(&SCHEMA, 1, 1.0, "Company")
}

#[test]
fn scale_one_has_the_promised_rows() {
    let data = data();
    let count = |name: &str| data.count(data.schema.id(name));
    assert_eq!(count("Customer"), 1000);
    assert_eq!(count("StockItem"), 2000);
    assert_eq!(count("SalesOrder"), 20_000);
    assert_eq!(count("SalesOrderDetail"), 60_000);
}

#[test]
fn rows_are_a_pure_function_of_the_seed() {
    let t = SCHEMA.id("SalesOrder");
    let line = |data: &Data| {
        let values = (0..SCHEMA.tables[t].cols.len()).map(|c| data.value(t, c, 17).to_plain(Style::REST));
        values.collect::<Vec<_>>()
    };
    assert_eq!(line(&data()), line(&data()));
    assert_ne!(line(&data()), line(&Data::new(&SCHEMA, 2, 1.0, "Company")));
    assert_ne!(line(&data()), line(&Data::new(&SCHEMA, 1, 1.0, "Other")));
}

#[test]
fn keys_ascend_with_the_row_and_are_unique() {
    for data in [data(), Data::new(&SCHEMA, 1, 0.13, "Company")] {
        for (t, table) in SCHEMA.tables.iter().enumerate().filter(|(_, t)| t.is_entity()) {
            let key = |row| -> Vec<Val> {
                // Drop-down keys order by their code, as SQL sees them.
                let code = |v| if let Val::Choice(c) = v { Val::text(c.code) } else { v };
                table.keys.iter().map(|c| code(data.value(t, *c, row))).collect()
            };
            for row in 1..data.count(t) {
                let (a, b) = (key(row - 1), key(row));
                let order = a.iter().zip(&b).map(|(x, y)| compare(x, y).unwrap()).find(|o| o.is_ne());
                assert_eq!(order, Some(Ordering::Less), "{}: {a:?} {b:?}", table.name);
            }
        }
    }
}

#[test]
fn details_know_their_parents() {
    let data = Data::new(&SCHEMA, 1, 0.1, "Company");
    for (t, table) in SCHEMA.tables.iter().enumerate() {
        let Role::Detail { parent, .. } = table.role else { continue };
        let mut next = 0;
        for row in 0..data.count(parent) {
            for line in data.children(t, row) {
                assert_eq!((line, data.parent(t, line)), (next, row), "{}", table.name);
                next += 1;
            }
        }
        assert_eq!(next, data.count(t), "{}", table.name);
    }
}

#[test]
fn ids_lead_back_to_their_rows() {
    let (data, t) = (data(), SCHEMA.id("Customer"));
    let order = data.order(t);
    assert_eq!(data.row_of_guid(t, data.guid(t, 77), &order), Some(77));
    assert_eq!(data.row_of_guid(t, 77, &order), None);
    assert_eq!(data.row_of_guid(t, data.guid(t, 77), &Order::Natural(77)), None);
    assert_ne!(data.guid(t, 77), data.guid(SCHEMA.id("Vendor"), 77));
}

#[test]
fn the_data_holds_what_breaks_naive_clients() {
    let (data, t) = (data(), SCHEMA.id("SalesOrder"));
    let all = |name: &str| -> Vec<String> {
        let access = Access::resolve(&SCHEMA, t, name).unwrap();
        (0..data.count(t)).map(|row| access.value(&data, row).to_plain(Style::REST)).collect()
    };
    let text = all("Description").join("\u{1}");
    for needle in ["'", "%", "_", "\\", "🚀", "spaces   \u{1}", "\n", "日本", "\u{1}\u{1}"] {
        assert!(text.contains(needle), "{needle:?}");
    }
    let dates = all("Date");
    for day in ["1900-01-01", "9999-12-31"] {
        assert!(dates.iter().any(|d| d.starts_with(day)), "{day}");
    }
    let totals = all("ControlTotal");
    assert!(totals.iter().any(|d| d.len() > 28) && totals.iter().any(|d| d.starts_with('-')));
    assert!(all("OrderTotal").iter().any(|d| d == "0.0000"));
    assert!(all("CustomerID").iter().any(|id| id.contains('/')));
    assert!(all("LastModified").iter().any(|d| d.contains('.')));
    assert!(matches!(Access::resolve(&SCHEMA, t, "Status").unwrap().col(&SCHEMA).kind, Kind::Choice));
}

#[test]
fn inserted_rows_take_their_place_in_the_order_of_the_key() {
    let (data, t) = (data(), SCHEMA.id("SalesOrder"));
    for index in [10, 10, 12, 11] {
        data.insert_before(t, index).unwrap();
    }
    data.delete(t, 3).unwrap();
    assert_eq!(data.order(t).len(), 20_003);
    assert_eq!(data.order(SCHEMA.id("SalesOrderDetail")).len(), 60_000 - 3);
    let nbr = Access::resolve(&SCHEMA, t, "OrderNbr").unwrap();
    let order = data.order(t);
    let keys: Vec<_> = (0..20).map(|i| nbr.value(&data, order.row(i))).collect();
    for pair in keys.windows(2) {
        assert_eq!(compare(&pair[0], &pair[1]), Some(Ordering::Less), "{pair:?}");
    }
    data.reset_rows();
    assert_eq!(data.order(t).len(), 20_000);
}

#[test]
fn hidden_rows_stand_last_and_their_keys_go_on_ascending() {
    let data = data();
    for (name, shown) in [
        ("Bill", Shown { archived: true, deleted: false }),
        ("Vendor", Shown { archived: false, deleted: true }),
    ] {
        let t = SCHEMA.id(name);
        let (seen, all) = (data.order(t), data.order_with(t, shown));
        assert_eq!(all.len(), seen.len() + seen.len() / 20, "{name}");
        let code = |v| if let Val::Choice(c) = v { Val::text(c.code) } else { v };
        let key = |at| -> Vec<Val> {
            let keys = SCHEMA.tables[t].keys.iter();
            keys.map(|c| code(data.value(t, *c, all.row(at)))).collect()
        };
        for at in seen.len()..all.len() {
            let (a, b) = (key(at - 1), key(at));
            let order = a.iter().zip(&b).map(|(x, y)| compare(x, y).unwrap()).find(|o| o.is_ne());
            assert_eq!(order, Some(Ordering::Less), "{name}: {a:?} {b:?}");
        }
        data.delete(t, 0).unwrap();
        assert_eq!(data.order_with(t, shown).len(), all.len() - 1, "{name}");
        assert_eq!(data.order_with(t, Shown::default()).len(), seen.len() - 1, "{name}");
    }
}

use super::*;
use crate::NameCase;

fn field(path: &str, kind: ColumnKind) -> ColumnDraft {
    let words: Vec<&str> = path.split('/').collect();
    ColumnDraft::new(&words, Origin::Field(path.into()), "text", kind)
}

fn table(remote: &str, columns: Vec<ColumnDraft>) -> TableDraft {
    TableDraft {
        words: vec![remote.into()],
        remote: remote.into(),
        aliases: Vec::new(),
        class: None,
        comment: None,
        options: Vec::new(),
        columns,
        key_order_known: true,
    }
}

fn names(columns: Vec<ColumnDraft>) -> Vec<String> {
    let tables = finish(vec![table("T", columns)], &Settings::default(), &mut Vec::new());
    tables[0].columns.iter().map(|column| column.name.clone()).collect()
}

#[test]
fn own_fields_keep_their_names() {
    let columns = vec![
        field("Main/City", ColumnKind::Flattened),
        field("MainCity", ColumnKind::Own).within("T"),
        field("Type", ColumnKind::Own).within("Details"),
        field("Type", ColumnKind::Key).within("T"),
    ];
    let names = names(columns);
    assert!(names[0].starts_with("main_city_"), "{names:?}");
    assert_eq!(names[1..], ["main_city", "details_type", "type"]);
}

#[test]
fn what_is_not_included_changes_no_names() {
    let columns = || vec![field("Main_City", ColumnKind::Link), field("Main/City", ColumnKind::Flattened)];
    assert_eq!(names(columns())[1], "main_city");
    let settings = Settings { linked: Linked::Jsonb, ..Settings::default() };
    let tables = finish(vec![table("T", columns())], &settings, &mut Vec::new());
    let included: Vec<&str> = tables[0].included().map(|column| column.name.as_str()).collect();
    assert_eq!(included, ["main_city"]);
    assert_eq!(tables[0].columns.len(), 2);
}

#[test]
fn wide_tables_lose_what_matters_least() {
    let flattened = (0..1000).map(|n| field(&format!("Link/F{n}"), ColumnKind::Flattened));
    let own = (0..1000).map(|n| field(&format!("F{n}"), ColumnKind::Own));
    let mut notices = Vec::new();
    let tables =
        finish(vec![table("Wide", flattened.chain(own).collect())], &Settings::default(), &mut notices);
    assert_eq!(tables[0].included().count(), MAX_COLUMNS);
    assert_eq!(tables[0].included().filter(|column| column.kind == ColumnKind::Own).count(), 1000);
    assert_eq!(
        notices,
        [
            "\"Wide\": 400 columns are left out, since PostgreSQL has room for 1600 in a table; import it with linked 'jsonb' to have them"
        ]
    );
    let own = (0..1601).map(|n| field(&format!("F{n}"), ColumnKind::Own)).collect();
    finish(vec![table("Wide", own)], &Settings::default(), &mut notices);
    assert!(notices[1].starts_with("\"Wide\": 1 columns") && notices[1].contains("by hand"), "{notices:?}");
}

#[test]
fn tables_without_columns_are_left_out() {
    let mut notices = Vec::new();
    assert_eq!(finish(vec![table("Void", Vec::new())], &Settings::default(), &mut notices), []);
    assert_eq!(notices, ["\"Void\" is left out: it has no columns"]);
}

#[test]
fn table_names_depend_on_all_there_is_and_not_on_its_order() {
    let remotes = ["AR Aging", "AR-Aging", "ArAging", "Case", "Orders"];
    let named = |remotes: &[&str], case| {
        let drafts = remotes.iter().map(|name| table(name, vec![field("A", ColumnKind::Own)])).collect();
        let settings = Settings { case, prefix: "x_".into(), ..Settings::default() };
        let mut names: Vec<(String, String)> = finish(drafts, &settings, &mut Vec::new())
            .into_iter()
            .map(|table| (table.remote, table.name))
            .collect();
        names.sort();
        names
    };
    let mut backwards = remotes;
    backwards.reverse();
    let names = named(&remotes, NameCase::Snake);
    assert_eq!(names, named(&backwards, NameCase::Snake));
    assert_eq!(names[0].1, "x_ar_aging");
    assert!(names[1].1.starts_with("x_ar_aging_") && names[2].1.starts_with("x_ar_aging_"));
    assert_eq!((names[3].1.as_str(), names[4].1.as_str()), ("x_case", "x_orders"));
    let kept = named(&["orders", "ORDERS"], NameCase::Preserve);
    assert_eq!(kept[0].1, "x_ORDERS");
    assert!(kept[1].1.starts_with("x_orders_"), "{kept:?}");
}

#[test]
fn settings_decide_on_keys_comments_and_padding() {
    let column = || ColumnDraft {
        key: Some(1),
        comment: Some("c".into()),
        pushdown: Some(false),
        ..field("A", ColumnKind::Key)
    };
    let tables = finish(vec![table("T", vec![column()])], &Settings::default(), &mut Vec::new());
    let options = &tables[0].columns[0].options;
    assert_eq!(options[..], [("field", "A".into()), ("key", "1".into()), ("pushdown", "off".to_owned())]);
    let settings = Settings { keys: false, comments: false, unpad: true, ..Settings::default() };
    let tables = finish(vec![table("T", vec![column()])], &settings, &mut Vec::new());
    assert_eq!(tables[0].columns[0].options.len(), 2);
    assert_eq!(tables[0].columns[0].comment, None);
    assert_eq!(tables[0].options, [("unpad", "true".to_owned())]);
}

use std::collections::HashMap;

use acumatica_client::catalog::{
    Contract, CustomField, Entity, EntitySet, FieldType, InquiryParameter, Member, MemberType, Model,
    Property,
};

use super::*;
use crate::{Linked, Settings, contract_tables, dac_tables, inquiry_tables, sql};

fn member(name: &str, ty: MemberType) -> Member {
    Member { name: name.into(), ty }
}

fn text(name: &str) -> Member {
    member(name, MemberType::Value(FieldType::Text))
}

fn contract() -> Contract {
    let order = vec![
        member("Amount", MemberType::Value(FieldType::Numeric)),
        text("OrderNbr"),
        text("OrderType"),
        member("Details", MemberType::List("Line".into())),
        member("ShipTo", MemberType::Linked("Contact".into())),
    ];
    let types = [
        ("SalesOrder", order),
        ("Line", vec![text("InventoryID")]),
        ("Contact", vec![text("Email"), member("Address", MemberType::Linked("Address".into()))]),
        ("Address", vec![text("City"), member("Region", MemberType::Linked("Region".into()))]),
        ("Region", vec![text("Name")]),
    ];
    Contract {
        number: 4,
        entities: vec![Entity { name: "SalesOrder".into(), type_name: "SalesOrder".into(), title: None }],
        types: types.into_iter().map(|(name, members)| (name.to_owned(), members)).collect(),
    }
}

fn members<'a>(contract: &'a mut Contract, ty: &str) -> &'a mut Vec<Member> {
    contract.types.get_mut(ty).unwrap()
}

type Custom = HashMap<String, Vec<CustomField>>;

fn rest(contract: &Contract, version: &str, custom: &Custom, linked: Linked) -> Schema {
    contract_tables(contract, ("Default", version), custom, &Settings { linked, ..Settings::default() })
}

fn now(contract: &Contract) -> Schema {
    rest(contract, "24", &Custom::new(), Linked::Flatten)
}

fn custom(names: &[&str]) -> Custom {
    let field = |name: &&str| CustomField {
        within: Vec::new(),
        view: "Document".into(),
        name: (*name).into(),
        ty: FieldType::Text,
    };
    Custom::from([("SalesOrder".into(), names.iter().map(field).collect())])
}

/// The tables as an import of them leaves them.
fn import(schema: &Schema) -> Vec<Existing> {
    let owned = |options: &[(&'static str, String)]| {
        options.iter().map(|(name, value)| ((*name).to_owned(), value.clone())).collect()
    };
    let column = |column: &ColumnDef| ExistingColumn {
        name: column.name.clone(),
        sql_type: column.sql_type.into(),
        options: owned(&column.options),
    };
    let tables = schema.tables.iter().map(|table| Existing {
        name: table.name.clone(),
        quoted: format!("erp.{}", table.name),
        options: owned(&table.options),
        columns: table.included().map(column).collect(),
    });
    tables.collect()
}

/// Change and statement, of each change.
fn changes(existing: &[Existing], current: &Schema) -> Vec<(String, String)> {
    let changes = diff(existing, current, "acu", "erp", &|name| name.to_owned());
    changes
        .into_iter()
        .map(|change| (format!("{}: {}", change.table, change.change), change.statement))
        .collect()
}

fn check(existing: &[Existing], current: &Schema, expected: &[(&str, &str)]) {
    let expected: Vec<(String, String)> =
        expected.iter().map(|(change, statement)| ((*change).into(), (*statement).into())).collect();
    assert_eq!(changes(existing, current), expected);
}

fn set(options: &mut Vec<(String, String)>, name: &str, value: Option<&str>) {
    options.retain(|(option, _)| option != name);
    options.extend(value.map(|value| (name.to_owned(), value.to_owned())));
}

fn column<'a>(table: &'a mut Existing, name: &str) -> &'a mut ExistingColumn {
    table.columns.iter_mut().find(|column| column.name == name).unwrap()
}

fn user_column(name: &str, options: &[(&str, &str)]) -> ExistingColumn {
    let options = options.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    ExistingColumn { name: name.into(), sql_type: "text".into(), options }
}

#[test]
fn an_import_differs_from_nothing_whatever_the_settings() {
    let custom = custom(&["UsrX"]);
    for linked in [Linked::Flatten, Linked::Jsonb, Linked::Skip] {
        let existing = import(&rest(&contract(), "24", &custom, linked));
        for settings in [Linked::Flatten, Linked::Jsonb, Linked::Skip] {
            check(&existing, &rest(&contract(), "24", &custom, settings), &[]);
        }
    }
}

#[test]
fn tables_come_and_go() {
    let existing = import(&now(&contract()));
    let mut later = contract();
    members(&mut later, "SalesOrder").retain(|member| member.name != "Details");
    members(&mut later, "SalesOrder").push(member("Taxes", MemberType::List("Line".into())));
    let current = now(&later);
    let created = current.tables[1].create("acu");
    assert!(created.starts_with("CREATE FOREIGN TABLE \"sales_order_taxes\" (\n"), "{created}");
    let quote: &dyn Fn(&str) -> String = &sql::identifier;
    let changes = diff(&existing, &current, "acu", "erp", quote);
    let kinds: Vec<ChangeKind> = changes.iter().map(|change| change.kind).collect();
    assert_eq!(kinds, [ChangeKind::GoneTable, ChangeKind::NewTable]);
    assert_eq!(changes[0].change, "\"SalesOrder/Details\" is gone");
    assert_eq!(changes[0].statement, "DROP FOREIGN TABLE erp.sales_order_details;");
    assert_eq!(changes[1].change, "\"SalesOrder/Taxes\" is new");
    assert_eq!(
        changes[1].statement,
        created.replacen("\"sales_order_taxes\"", "erp.\"sales_order_taxes\"", 1)
    );
}

#[test]
fn columns_come_and_go() {
    let existing = import(&now(&contract()));
    let mut later = contract();
    members(&mut later, "SalesOrder").remove(0);
    members(&mut later, "SalesOrder").push(text("It's"));
    members(&mut later, "Address").push(text("Zip"));
    check(
        &existing,
        &now(&later),
        &[
            (
                "sales_order: field \"Amount\" is gone",
                "ALTER FOREIGN TABLE erp.sales_order DROP COLUMN amount;",
            ),
            (
                "sales_order: field \"It's\" is new",
                "ALTER FOREIGN TABLE erp.sales_order ADD COLUMN it_s text OPTIONS (field 'It''s');",
            ),
            (
                "sales_order: field \"ShipTo/Address/Zip\" is new",
                "ALTER FOREIGN TABLE erp.sales_order ADD COLUMN ship_to_address_zip text OPTIONS (field 'ShipTo/Address/Zip');",
            ),
        ],
    );
}

#[test]
fn tables_get_new_columns_of_the_kinds_they_have_only() {
    let mut later = contract();
    members(&mut later, "Contact").push(text("Phone"));
    members(&mut later, "SalesOrder").push(member("BillTo", MemberType::Linked("Contact".into())));
    let custom = custom(&["UsrX"]);
    for settings in [Linked::Flatten, Linked::Jsonb] {
        let current = rest(&later, "24", &custom, settings);
        let skipped = import(&rest(&contract(), "24", &Custom::new(), Linked::Skip));
        check(&skipped, &current, &[]);
        let whole = import(&rest(&contract(), "24", &Custom::new(), Linked::Jsonb));
        let found = changes(&whole, &current);
        assert_eq!(found.len(), 1, "{found:?}");
        assert!(found[0].1.ends_with("ADD COLUMN bill_to jsonb OPTIONS (field 'BillTo');"), "{found:?}");
        let flattened = import(&now(&contract()));
        assert_eq!(changes(&flattened, &current).len(), 4);
    }
}

#[test]
fn custom_fields_follow_where_there_are_some() {
    let existing = import(&rest(&contract(), "24", &custom(&["UsrX", "UsrY"]), Linked::Flatten));
    check(&existing, &now(&contract()), &[]);
    check(
        &existing,
        &rest(&contract(), "24", &custom(&["UsrX", "UsrZ"]), Linked::Flatten),
        &[
            (
                "sales_order: custom field \"Document.UsrY\" is gone",
                "ALTER FOREIGN TABLE erp.sales_order DROP COLUMN usr_y;",
            ),
            (
                "sales_order: custom field \"Document.UsrZ\" is new",
                "ALTER FOREIGN TABLE erp.sales_order ADD COLUMN usr_z text OPTIONS (custom 'Document.UsrZ');",
            ),
        ],
    );
}

#[test]
fn what_people_made_stays_while_the_definition_has_it() {
    let mut existing = import(&now(&contract()));
    column(&mut existing[0], "amount").name = "total".into();
    existing[0].columns.push(user_column("region", &[("field", "ShipTo/Address/Region/Name")]));
    let lines = user_column("lines", &[("field", "Details")]);
    existing[0].columns.push(ExistingColumn { sql_type: "jsonb".into(), ..lines });
    existing[0].columns.push(user_column("OrderType", &[]));
    existing[1].columns.push(user_column("amount", &[("field", "Amount")]));
    let mut mine = existing[1].clone();
    mine.name = "mine".into();
    set(&mut mine.options, "detail", Some("ShipTo"));
    mine.columns = vec![user_column("email", &[("field", "ShipTo/Email")])];
    existing.push(mine);
    existing[0].columns.retain(|column| column.name != "note");
    check(&existing, &now(&contract()), &[]);
    existing[2].columns.push(user_column("fax", &[("field", "ShipTo/Fax")]));
    existing[0].columns.push(user_column("ordertype", &[]));
    let found = changes(&existing, &now(&contract()));
    let found: Vec<&str> = found.iter().map(|(change, _)| change.as_str()).collect();
    assert_eq!(found, ["sales_order: field \"ordertype\" is gone", "mine: field \"ShipTo/Fax\" is gone"]);
}

#[test]
fn new_columns_get_names_that_are_free() {
    let mut existing = import(&now(&contract()));
    column(&mut existing[0], "amount").name = "Total".into();
    let mut later = contract();
    members(&mut later, "SalesOrder").push(text("Total"));
    let found = changes(&existing, &now(&later));
    assert_eq!(found.len(), 1);
    assert!(found[0].1.contains(" ADD COLUMN total_") && found[0].1.contains("(field 'Total')"), "{found:?}");
}

#[test]
fn types_change_or_were_chosen() {
    let mut existing = import(&now(&contract()));
    column(&mut existing[0], "amount").sql_type = "double precision".into();
    column(&mut existing[0], "order_nbr").sql_type = "character varying(15)".into();
    check(
        &existing,
        &now(&contract()),
        &[(
            "sales_order: field \"Amount\" is numeric now, no longer double precision",
            "ALTER FOREIGN TABLE erp.sales_order ALTER COLUMN amount TYPE numeric;",
        )],
    );
    assert!(may_be_chosen("text") && !may_be_chosen("uuid"));
}

#[test]
fn keys_are_brought_in_order() {
    let mut existing = import(&now(&contract()));
    set(&mut column(&mut existing[0], "order_type").options, "key", None);
    set(&mut column(&mut existing[0], "order_nbr").options, "key", Some("1"));
    set(&mut column(&mut existing[0], "amount").options, "key", Some("2"));
    let alter = |rest: &str| format!("ALTER FOREIGN TABLE erp.sales_order ALTER COLUMN {rest};");
    check(
        &existing,
        &now(&contract()),
        &[
            (
                "sales_order: field \"OrderType\" is number 1 of the key now",
                &alter("order_type OPTIONS (ADD key '1')"),
            ),
            (
                "sales_order: field \"OrderNbr\" is number 2 of the key now",
                &alter("order_nbr OPTIONS (SET key '2')"),
            ),
            (
                "sales_order: field \"Amount\" is no part of the key any more",
                &alter("amount OPTIONS (DROP key)"),
            ),
        ],
    );
    for table in &mut existing {
        table.columns.iter_mut().for_each(|column| set(&mut column.options, "key", None));
    }
    check(&existing, &now(&contract()), &[]);
}

#[test]
fn an_order_made_by_hand_is_as_good_as_a_guess() {
    let entity = Entity { name: "ItemWarehouse".into(), type_name: "ItemWarehouse".into(), title: None };
    let fields = vec![text("InventoryID"), text("WarehouseID")];
    let contract = Contract {
        number: 4,
        entities: vec![entity],
        types: HashMap::from([("ItemWarehouse".to_owned(), fields)]),
    };
    let mut existing = import(&now(&contract));
    set(&mut column(&mut existing[0], "inventory_id").options, "key", Some("2"));
    set(&mut column(&mut existing[0], "warehouse_id").options, "key", Some("1"));
    check(&existing, &now(&contract), &[]);
    set(&mut column(&mut existing[0], "warehouse_id").options, "key", None);
    assert_eq!(changes(&existing, &now(&contract)).len(), 2);
}

#[test]
fn versions_are_told_where_a_table_has_one() {
    let mut existing = import(&now(&contract()));
    set(&mut existing[1].options, "endpoint_version", None);
    check(
        &existing,
        &rest(&contract(), "25", &Custom::new(), Linked::Flatten),
        &[(
            "sales_order: endpoint_version is 25 now",
            "ALTER FOREIGN TABLE erp.sales_order OPTIONS (SET endpoint_version '25');",
        )],
    );
}

#[test]
fn other_surfaces_and_endpoints_are_left_alone() {
    let mut existing = import(&now(&contract()));
    let mut other = existing.clone();
    set(&mut other[0].options, "schema", Some("DAC"));
    set(&mut other[0].options, "entity", Some("SOOrder"));
    set(&mut other[1].options, "endpoint_name", Some("Manufacturing"));
    set(&mut other[1].options, "entity", Some("ProductionOrder"));
    existing.extend(other);
    check(&existing, &now(&contract()), &[]);
}

fn model() -> Model {
    let property = |name: &str| Property {
        name: name.into(),
        ty: FieldType::Text,
        nullable: true,
        filterable: true,
        title: None,
    };
    let set = EntitySet {
        name: "PX_Objects_SO_SOOrder".into(),
        aliases: vec!["SOOrder".into()],
        key: vec!["OrderNbr".into()],
        properties: vec![property("OrderNbr"), property("Status")],
        parameters: vec![InquiryParameter { name: "Status".into(), ty: FieldType::Text, required: false }],
        ..EntitySet::default()
    };
    Model { sets: vec![set], faults: Vec::new() }
}

#[test]
fn classes_are_known_by_all_their_names() {
    let mut existing = import(&dac_tables(&model(), &Settings::default()));
    set(&mut existing[0].options, "entity", Some("SOOrder"));
    set(&mut column(&mut existing[0], "order_nbr").options, "pushdown", Some("off"));
    let mut later = model();
    check(&existing, &dac_tables(&later, &Settings::default()), &[]);
    later.sets[0].properties[1].filterable = false;
    check(
        &existing,
        &dac_tables(&later, &Settings::default()),
        &[(
            "so_order: field \"Status\" cannot be filtered by any more",
            "ALTER FOREIGN TABLE erp.so_order ALTER COLUMN status OPTIONS (ADD pushdown 'off');",
        )],
    );
}

#[test]
fn parameters_are_no_fields() {
    let existing = import(&inquiry_tables(&model(), &Settings::default()));
    let mut later = model();
    later.sets[0].parameters[0].required = true;
    check(
        &existing,
        &inquiry_tables(&later, &Settings::default()),
        &[(
            "px_objects_so_so_order: parameter \"Status\" is required now",
            "ALTER FOREIGN TABLE erp.px_objects_so_so_order ALTER COLUMN status OPTIONS (SET parameter 'required');",
        )],
    );
    later.sets[0].parameters[0].name = "State".into();
    let found = changes(&existing, &inquiry_tables(&later, &Settings::default()));
    let found: Vec<&str> = found.iter().map(|(change, _)| change.as_str()).collect();
    let table = "px_objects_so_so_order";
    assert_eq!(
        found,
        [format!("{table}: parameter \"Status\" is gone"), format!("{table}: parameter \"State\" is new")]
    );
}

#[test]
fn what_could_not_be_read_is_not_said_to_be_gone_for_sure() {
    let existing = import(&dac_tables(&model(), &Settings::default()));
    let faulty = Model { sets: Vec::new(), faults: vec!["set \"X\" has no type".into()] };
    let found = changes(&existing, &dac_tables(&faulty, &Settings::default()));
    assert!(
        found[0].0.ends_with("is gone, or in a part of the definition that could not be read"),
        "{found:?}"
    );
}

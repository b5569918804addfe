use acumatica_client::catalog::{FieldType, Member};

use super::*;
use crate::{Details, Linked, NameCase, TableDef};

fn value(name: &str, ty: FieldType) -> Member {
    Member { name: name.into(), ty: MemberType::Value(ty) }
}

fn text(name: &str) -> Member {
    value(name, FieldType::Text)
}

fn link(name: &str, ty: &str) -> Member {
    Member { name: name.into(), ty: MemberType::Linked(ty.into()) }
}

fn list(name: &str, ty: &str) -> Member {
    Member { name: name.into(), ty: MemberType::List(ty.into()) }
}

fn entity(name: &str, title: Option<&str>) -> Entity {
    Entity { name: name.into(), type_name: name.into(), title: title.map(str::to_owned) }
}

/// A piece of the Default endpoint.
fn contract() -> Contract {
    let types = [
        (
            "SalesOrder",
            vec![
                text("CustomerID"),
                list("Details", "Line"),
                value("LastModified", FieldType::TimestampTz),
                text("Note"),
                text("OrderNbr"),
                text("OrderType"),
                link("ShipTo", "Contact"),
                value("Status", FieldType::Choice),
            ],
        ),
        (
            "Line",
            vec![
                list("Allocations", "Allocation"),
                text("OrderNbr"),
                value("Qty", FieldType::Numeric),
                link("Vendor", "Contact"),
            ],
        ),
        ("Allocation", vec![text("LotSerialNbr"), list("Lines", "Line")]),
        ("Contact", vec![link("Address", "Address"), list("Activities", "Activity"), text("Email")]),
        ("Address", vec![text("City"), link("Region", "Region")]),
        ("Region", vec![list("Activities", "Activity"), text("Name")]),
        ("Activity", vec![text("Summary")]),
        ("Setup", vec![text("Name"), list("Rows", "Activity")]),
        ("InventorySummaryInquiry", vec![text("InventoryID"), text("SiteID"), list("Results", "Stock")]),
        ("Stock", vec![text("InventoryID"), value("Qty", FieldType::Numeric)]),
        ("EmailProcessing", vec![list("Others", "Activity"), list("Result", "Activity")]),
        ("PriceInquiry", vec![list("Others", "Activity"), list("Results", "Stock")]),
        ("BareInquiry", vec![text("Name")]),
    ];
    Contract {
        number: 4,
        entities: vec![
            entity("SalesOrder", Some("Sales Orders (SO301000)")),
            entity("Setup", None),
            entity("InventorySummaryInquiry", Some("Inventory Summary (IN401000)")),
            entity("EmailProcessing", None),
            entity("PriceInquiry", None),
            entity("BareInquiry", None),
            entity("Missing", None),
        ],
        types: types.into_iter().map(|(name, members)| (name.to_owned(), members)).collect(),
    }
}

fn custom(within: &[&str], view: &str, name: &str) -> CustomField {
    let within = within.iter().map(|part| (*part).to_owned()).collect();
    CustomField { within, view: view.into(), name: name.into(), ty: FieldType::Date }
}

fn schema(settings: &Settings) -> Schema {
    let fields = vec![
        custom(&[], "Document", "UsrPriority"),
        custom(&["Details"], "Transactions", "UsrColor"),
        custom(&["ShipTo"], "Shipping", "UsrLost"),
    ];
    let custom = HashMap::from([("SalesOrder".to_owned(), fields)]);
    contract_tables(&contract(), ("Default", "26.200.001"), &custom, settings)
}

fn table<'a>(schema: &'a Schema, name: &str) -> &'a TableDef {
    schema.tables.iter().find(|table| table.name == name).unwrap_or_else(|| panic!("no {name}"))
}

/// Name, type and options of the columns.
fn columns(table: &TableDef) -> Vec<String> {
    let columns = table.included().map(|column| {
        let options: Vec<String> =
            column.options.iter().map(|(name, value)| format!(" {name}={value}")).collect();
        let not_null = if column.not_null { " not null" } else { "" };
        format!("{} {}{not_null}{}", column.name, column.sql_type, options.concat())
    });
    columns.collect()
}

#[test]
fn the_tables_are_the_entities_and_what_is_in_them() {
    let names: Vec<(String, String)> =
        schema(&Settings::default()).tables.into_iter().map(|table| (table.name, table.remote)).collect();
    let expected = [
        ("sales_order", "SalesOrder"),
        ("sales_order_details", "SalesOrder/Details"),
        ("sales_order_details_allocations", "SalesOrder/Details/Allocations"),
        ("sales_order_details_vendor_activities", "SalesOrder/Details/Vendor/Activities"),
        ("sales_order_ship_to_activities", "SalesOrder/ShipTo/Activities"),
        ("setup", "Setup"),
        ("setup_rows", "Setup/Rows"),
        ("inventory_summary_inquiry", "InventorySummaryInquiry"),
        ("email_processing_others", "EmailProcessing/Others"),
        ("email_processing_result", "EmailProcessing/Result"),
        ("price_inquiry_others", "PriceInquiry/Others"),
        ("price_inquiry", "PriceInquiry"),
        ("bare_inquiry", "BareInquiry"),
    ];
    assert_eq!(names, expected.map(|(name, remote)| (name.to_owned(), remote.to_owned())));
}

#[test]
fn entities_have_their_key_first_and_all_fields() {
    let schema = schema(&Settings { not_null: true, ..Settings::default() });
    let orders = table(&schema, "sales_order");
    assert_eq!(
        columns(orders),
        [
            "id uuid not null field=id",
            "order_type text not null field=OrderType key=1",
            "order_nbr text not null field=OrderNbr key=2",
            "customer_id text field=CustomerID",
            "last_modified timestamp with time zone field=LastModified",
            "note text field=Note",
            "status text field=Status",
            "status_id text field=Status/id",
            "ship_to_email text field=ShipTo/Email",
            "ship_to_address_city text field=ShipTo/Address/City",
            "sales_order_note text field=note",
            "files jsonb field=files",
            "usr_priority date custom=Document.UsrPriority",
        ]
    );
    let options = [
        ("schema", "REST"),
        ("entity", "SalesOrder"),
        ("endpoint_name", "Default"),
        ("endpoint_version", "26.200.001"),
        // Its year would say 5.
        ("contract", "4"),
    ];
    assert_eq!(orders.options, options.map(|(name, value)| (name, value.to_owned())));
    assert_eq!(orders.comment.as_deref(), Some("Sales Orders (SO301000)"));
    assert!(orders.key_order_known);
}

#[test]
fn details_say_whose_they_are_and_where() {
    let schema = schema(&Settings { not_null: true, ..Settings::default() });
    let lines = table(&schema, "sales_order_details");
    assert_eq!(
        columns(lines),
        [
            "order_type text not null field=OrderType key=1",
            "order_nbr text not null field=OrderNbr key=2",
            "row_number bigint field=Details/rowNumber",
            "details_order_nbr text field=Details/OrderNbr",
            "qty numeric field=Details/Qty",
            "vendor_email text field=Details/Vendor/Email",
            "vendor_address_city text field=Details/Vendor/Address/City",
            "note text field=Details/note",
            "files jsonb field=Details/files",
            "usr_color date custom=Transactions.UsrColor",
        ]
    );
    assert_eq!(lines.options.last(), Some(&("detail", "Details".to_owned())));
    assert_eq!(lines.comment.as_deref(), Some("Details of Sales Orders (SO301000)"));
    let allocations = table(&schema, "sales_order_details_allocations");
    assert_eq!(
        columns(allocations)[2..5],
        [
            "details_row_number bigint field=Details/rowNumber",
            "row_number bigint field=Details/Allocations/rowNumber",
            "lot_serial_nbr text field=Details/Allocations/LotSerialNbr",
        ]
    );
    assert_eq!(allocations.options.last(), Some(&("detail", "Details/Allocations".to_owned())));
    let rows = table(&schema, "setup_rows");
    assert_eq!(columns(rows)[0], "parent_id uuid not null field=id");
    assert_eq!(rows.comment.as_deref(), Some("Rows of Setup"));
}

#[test]
fn drop_downs_in_the_key_keep_their_code_beside_them() {
    let mut contract = contract();
    let members = vec![list("Details", "Line"), text("ReferenceNbr"), value("Type", FieldType::Choice)];
    contract.types.insert("Invoice".into(), members);
    contract.entities = vec![entity("Invoice", None)];
    let schema = contract_tables(&contract, ("Default", "26"), &HashMap::new(), &Settings::default());
    let key = [
        "type text field=Type key=1",
        "type_id text field=Type/id",
        "reference_nbr text field=ReferenceNbr key=2",
    ];
    assert_eq!(columns(table(&schema, "invoice"))[1..4], key);
    assert_eq!(columns(table(&schema, "invoice_details"))[..3], key);
}

#[test]
fn forms_take_parameters() {
    let schema = schema(&Settings::default());
    let stock = table(&schema, "inventory_summary_inquiry");
    assert_eq!(
        columns(stock),
        [
            "inventory_id text field=InventoryID parameter=required",
            "site_id text field=SiteID parameter=optional",
            "row_number bigint field=Results/rowNumber",
            "results_inventory_id text field=Results/InventoryID",
            "qty numeric field=Results/Qty",
        ]
    );
    assert_eq!(stock.option("inquiry"), Some("InventorySummaryInquiry"));
    assert_eq!((stock.option("entity"), stock.option("detail")), (None, Some("Results")));
    let prices = table(&schema, "price_inquiry_others");
    assert_eq!((prices.option("inquiry"), prices.option("detail")), (Some("PriceInquiry"), Some("Others")));
    assert_eq!(table(&schema, "bare_inquiry").option("entity"), Some("BareInquiry"));
}

#[test]
fn settings_choose_links_details_and_names() {
    let settings = Settings {
        case: NameCase::Preserve,
        prefix: "erp_".into(),
        linked: Linked::Jsonb,
        details: Details::Jsonb,
        keys: false,
        ..Settings::default()
    };
    let schema = schema(&settings);
    assert_eq!(
        columns(table(&schema, "erp_SalesOrder")),
        [
            "id uuid field=id",
            "OrderType text field=OrderType",
            "OrderNbr text field=OrderNbr",
            "CustomerID text field=CustomerID",
            "LastModified timestamp with time zone field=LastModified",
            "Note text field=Note",
            "Status text field=Status",
            "Status_id text field=Status/id",
            "ShipTo jsonb field=ShipTo",
            "Details jsonb field=Details",
            "SalesOrder_note text field=note",
            "files jsonb field=files",
            "UsrPriority date custom=Document.UsrPriority",
        ]
    );
    let allocations = table(&schema, "erp_SalesOrder_Details_Allocations");
    assert_eq!(columns(allocations)[2], "Details_rowNumber bigint field=Details/rowNumber");
}

#[test]
fn links_can_be_left_out() {
    let schema = schema(&Settings { linked: Linked::Skip, ..Settings::default() });
    let orders = columns(table(&schema, "sales_order"));
    assert!(!orders.iter().any(|column| column.starts_with("ship_to")), "{orders:?}");
}

#[test]
fn what_is_left_out_is_told() {
    assert_eq!(
        schema(&Settings::default()).notices,
        [
            "\"SalesOrder\": custom fields of linked records are left out: ShipTo/Shipping.UsrLost",
            "\"Missing\" is left out: its definition is missing",
        ]
    );
}

/// Issue 12, 2.2: a real `$adHocSchema` lists every field of the form that the contract lacks.
#[test]
fn only_customized_fields_are_taken_unless_all_are_asked_for() {
    let names = ["ABCCodeID", "UsrColor", "AttributeSIZE", "AttributeID", "UnbilledQty"];
    let fields = names.map(|name| custom(&[], "ItemSettings", name)).to_vec();
    let fields = HashMap::from([("SalesOrder".to_owned(), fields)]);
    let of = |all_custom| {
        let settings = Settings { all_custom, ..Settings::default() };
        let schema = contract_tables(&contract(), ("Default", "24.200.001"), &fields, &settings);
        let options = schema.tables[0].columns.iter().flat_map(|column| &column.options);
        let custom = options.filter(|(option, _)| *option == "custom").map(|(_, value)| value.clone());
        (custom.collect::<Vec<_>>(), schema.notices)
    };
    let (customized, notices) = of(false);
    assert_eq!(customized, ["ItemSettings.UsrColor", "ItemSettings.AttributeSIZE"]);
    assert!(
        notices.iter().any(|notice| notice.contains(": 3 of \"SalesOrder\";") && notice.contains("'all'")),
        "{notices:?}"
    );
    assert_eq!(of(true).0.len(), names.len());
}

/// Nearly every form has such fields: an import of all entities tells of them once.
#[test]
fn fields_that_are_not_taken_are_told_of_once() {
    let names = ["One", "Two", "Three", "Four", "Five"];
    let entities = names.map(|name| Entity { type_name: "Activity".into(), ..entity(name, None) });
    let contract = Contract { entities: entities.into(), ..contract() };
    let fields = names.map(|name| (name.to_owned(), vec![custom(&[], "Document", "ABCCodeID")]));
    let schema =
        contract_tables(&contract, ("Default", "24.200.001"), &HashMap::from(fields), &Settings::default());
    assert_eq!(
        schema.notices,
        [
            "fields of forms that neither the contract nor a customization has are left out: 1 of \"One\", 1 of \"Two\", \
          1 of \"Three\", those of 2 more; custom_fields 'all' takes them too"
        ]
    );
}

//! Tables of OData: generic inquiries, and data access classes.

use std::collections::HashMap;

use acumatica_client::catalog::{EntitySet, Model, Property, Relation};

use crate::draft::{self, ColumnDraft, TableDraft, sql_type};
use crate::known::KnownSources;
use crate::names::{is_step, snake};
use crate::origin::Origin;
use crate::{ColumnKind, DAC, ODATA, Schema, Settings};

/// In front of a column of an inquiry whose name a parameter has already.
const RESULT: &str = "Result";

/// The tables of generic inquiries.
pub fn inquiry_tables(model: &Model, settings: &Settings) -> Schema {
    let tables = model.sets.iter().map(|set| TableDraft {
        words: vec![set.name.clone()],
        remote: set.name.clone(),
        aliases: set.aliases.clone(),
        class: set.class.clone(),
        comment: set.title.clone(),
        options: [("schema", ODATA.to_owned()), ("inquiry", set.name.clone())]
            .into_iter()
            .chain(set.function.iter().map(|function| ("function", function.clone())))
            .collect(),
        columns: parameters(set).chain(inquiry_properties(set)).filter(is_writable).collect(),
        key_order_known: true,
    });
    schema(ODATA, model, tables.collect(), settings)
}

/// The tables of data access classes.
pub fn dac_tables(model: &Model, settings: &Settings) -> Schema {
    let short = short_names(&model.sets);
    let tables = model.sets.iter().map(|set| TableDraft {
        words: vec![short[set.name.as_str()].to_owned()],
        remote: set.name.clone(),
        aliases: set.aliases.clone(),
        class: set.class.clone(),
        comment: dac_comment(set, &short),
        options: [("schema", DAC.to_owned()), ("entity", set.name.clone())]
            .into_iter()
            .chain(set.singleton.then(|| ("singleton", "true".to_owned())))
            .collect(),
        columns: properties(set).filter(is_writable).map(|draft| as_dac(draft, settings)).collect(),
        key_order_known: true,
    });
    schema(DAC, model, tables.collect(), settings)
}

fn schema(surface: &'static str, model: &Model, tables: Vec<TableDraft>, settings: &Settings) -> Schema {
    let mut notices = model.faults.clone();
    for set in &model.sets {
        let names = set.properties.iter().map(|property| &property.name);
        let names = names.chain(set.parameters.iter().map(|parameter| &parameter.name));
        notices.extend(names.filter(|name| !is_step(name)).map(|name| {
            let place = format!("property \"{name}\" of \"{}\"", set.name);
            format!("{place} is left out: its name cannot be written in the options of a column")
        }));
    }
    let tables = tables.into_iter().filter(|table| !table.remote.trim().is_empty()).collect();
    Schema {
        surface,
        tables: draft::finish(tables, settings, &mut notices),
        notices,
        endpoint: None,
        known: KnownSources::of_model(model),
    }
}

fn is_writable(draft: &ColumnDraft) -> bool {
    match &draft.remote {
        Origin::Field(name) | Origin::Parameter { name, .. } | Origin::Custom(name) => is_step(name),
    }
}

fn parameters(set: &EntitySet) -> impl Iterator<Item = ColumnDraft> {
    set.parameters.iter().map(|parameter| {
        let remote = Origin::Parameter { name: parameter.name.clone(), required: parameter.required };
        ColumnDraft::new(&[&parameter.name], remote, sql_type(parameter.ty), ColumnKind::Parameter)
    })
}

/// Conditions are not sent on keys that may not be on the grid.
fn inquiry_properties(set: &EntitySet) -> impl Iterator<Item = ColumnDraft> {
    let on_grid = set.properties.len() - set.appended().len();
    properties(set).enumerate().map(move |(at, draft)| {
        let pushdown = if at < on_grid { draft.pushdown } else { Some(false) };
        ColumnDraft { pushdown, ..draft }
    })
}

fn properties(set: &EntitySet) -> impl Iterator<Item = ColumnDraft> {
    let container = (!set.parameters.is_empty()).then(|| RESULT.to_owned());
    set.properties.iter().map(move |property| {
        let remote = Origin::Field(property.name.clone());
        let key = set.key.iter().position(|name| *name == property.name);
        ColumnDraft {
            container: container.clone(),
            key: key.map(|index| index + 1),
            pushdown: Some(false).filter(|_| !property.filterable),
            comment: telling_title(property),
            ..ColumnDraft::new(&[&property.name], remote, sql_type(property.ty), ColumnKind::Own)
        }
    })
}

/// Keys of inquiries can be NULL, since outer joins make them so; those of a table cannot.
fn as_dac(draft: ColumnDraft, settings: &Settings) -> ColumnDraft {
    let is_key = draft.key.is_some();
    let kind = if is_key { ColumnKind::Key } else { draft.kind };
    ColumnDraft { kind, not_null: is_key && settings.not_null, ..draft }
}

/// The title, if it says more than the name.
fn telling_title(property: &Property) -> Option<String> {
    let letters = |text: &str| -> String {
        text.chars().filter(|c| c.is_alphanumeric()).flat_map(char::to_lowercase).collect()
    };
    property.title.clone().filter(|title| letters(title) != letters(&property.name))
}

/// The short name of each class, by its full one: that of the class without its namespace, unless another has the same;
/// of several the one keeps it that the instance calls so. Where no class is told, the shortest name that the instance
/// gives it, else the last part of the full name, unless that is another's.
fn short_names(sets: &[EntitySet]) -> HashMap<&str, &str> {
    let shortest = |set: &EntitySet| -> Option<usize> {
        (0..set.aliases.len()).min_by_key(|index| set.aliases[*index].len())
    };
    let last_part = |set: &'_ EntitySet| set.name.rfind('_').map_or(0, |place| place + 1);
    let short = |set: &'_ EntitySet| match (&set.class, shortest(set)) {
        (Some(class), _) => snake(class),
        (None, Some(index)) => snake(&set.aliases[index]),
        (None, None) => snake(&set.name[last_part(set)..]),
    };
    let is_called_so = |set: &EntitySet| {
        set.class.as_ref().is_some_and(|class| set.aliases.iter().any(|alias| alias == class))
    };
    let (mut owners, mut called): (HashMap<String, usize>, HashMap<String, usize>) = Default::default();
    for set in sets {
        *owners.entry(short(set)).or_default() += 1;
        *called.entry(short(set)).or_default() += usize::from(is_called_so(set));
    }
    let names = sets.iter().map(|set| {
        let is_only = owners[&short(set)] == 1 || is_called_so(set) && called[&short(set)] == 1;
        let name = match (&set.class, shortest(set)) {
            (Some(class), _) if is_only => class,
            (None, Some(index)) => &set.aliases[index],
            (None, None) if owners[&short(set)] == 1 => &set.name[last_part(set)..],
            _ => &set.name,
        };
        (set.name.as_str(), name)
    });
    names.collect()
}

fn dac_comment(set: &EntitySet, short: &HashMap<&str, &str>) -> Option<String> {
    let relations: Vec<String> = set.relations.iter().map(|relation| describe(relation, short)).collect();
    let relations = (!relations.is_empty()).then(|| format!("Relations: {}", relations.join(", ")));
    let parts: Vec<String> = set.title.clone().into_iter().chain(relations).collect();
    (!parts.is_empty()).then(|| parts.join("\n"))
}

/// Such as `Lines -> many SOLine (OrderNbr = OrderNbr)`.
fn describe(relation: &Relation, short: &HashMap<&str, &str>) -> String {
    let target = short.get(relation.target.as_str()).copied().unwrap_or(&relation.target);
    let many = if relation.many { "many " } else { "" };
    let pairs: Vec<String> =
        relation.columns.iter().map(|(here, there)| format!("{here} = {there}")).collect();
    let pairs = if pairs.is_empty() { String::new() } else { format!(" ({})", pairs.join(", ")) };
    format!("{} -> {many}{target}{pairs}", relation.name)
}

#[cfg(test)]
mod tests {
    use acumatica_client::catalog::{FieldType, InquiryParameter};

    use super::*;
    use crate::TableDef;

    fn property(name: &str) -> Property {
        Property { name: name.into(), ty: FieldType::Text, nullable: true, filterable: true, title: None }
    }

    fn set(name: &str, aliases: &[&str], properties: &[&str]) -> EntitySet {
        EntitySet {
            name: name.into(),
            aliases: aliases.iter().map(|alias| (*alias).into()).collect(),
            properties: properties.iter().map(|name| property(name)).collect(),
            ..EntitySet::default()
        }
    }

    fn model(sets: Vec<EntitySet>) -> Model {
        Model { sets, faults: Vec::new() }
    }

    fn strict() -> Settings {
        Settings { not_null: true, ..Settings::default() }
    }

    fn columns(table: &TableDef) -> Vec<String> {
        let columns = table.columns.iter().map(|column| {
            let options: Vec<String> =
                column.options.iter().map(|(name, value)| format!(" {name}={value}")).collect();
            let not_null = if column.not_null { " not null" } else { "" };
            format!("{} {}{not_null}{}", column.name, column.sql_type, options.concat())
        });
        columns.collect()
    }

    #[test]
    fn inquiries_have_parameters_first_and_keys_that_may_be_null() {
        let mut stock = set("AR-Stock by Site", &[], &["Qty", "Warehouse", "OrderNbr"]);
        stock.title = Some("Stock".into());
        stock.key = vec!["OrderNbr".into(), "Warehouse".into(), "Gone".into()];
        stock.properties[0].ty = FieldType::Numeric;
        stock.properties[0].title = Some("On Hand".into());
        stock.function = Some("ARStockbySite_WithParameters".into());
        stock.parameters = vec![
            InquiryParameter { name: "Warehouse".into(), ty: FieldType::Text, required: true },
            InquiryParameter { name: "AsOf".into(), ty: FieldType::Date, required: false },
        ];
        let schema = inquiry_tables(&model(vec![stock]), &Settings { unpad: true, ..strict() });
        let table = &schema.tables[0];
        assert_eq!((table.name.as_str(), table.comment.as_deref()), ("ar_stock_by_site", Some("Stock")));
        assert_eq!(
            table.options,
            [
                ("schema", "OData"),
                ("inquiry", "AR-Stock by Site"),
                ("function", "ARStockbySite_WithParameters"),
                ("unpad", "true")
            ]
            .map(|(name, value)| (name, value.to_owned()))
        );
        assert_eq!(
            columns(table),
            [
                "warehouse text field=Warehouse parameter=required",
                "as_of date field=AsOf parameter=optional",
                "qty numeric field=Qty",
                // 3.4: keys behind all else may not be on the grid.
                "result_warehouse text field=Warehouse key=2 pushdown=off",
                "order_nbr text field=OrderNbr key=1 pushdown=off",
            ]
        );
        assert_eq!(table.columns[2].comment.as_deref(), Some("On Hand"));
    }

    #[test]
    fn classes_go_by_their_short_names() {
        let sets = vec![
            set("PX_Objects_SO_SOOrder", &["SOOrder"], &["OrderNbr"]),
            set("PX_Objects_CR_Contact", &["Contact"], &["ContactID"]),
            set("My_Contact", &[], &["ContactID"]),
            set("PX_Objects_IN_Site", &[], &["SiteID"]),
            set("A_Twin", &[], &["ID"]),
            set("B_Twin", &[], &["ID"]),
            set("Account", &[], &["ID"]),
        ];
        let schema = dac_tables(&model(sets), &strict());
        let names: Vec<&str> = schema.tables.iter().map(|table| table.name.as_str()).collect();
        assert_eq!(names, ["so_order", "contact", "my_contact", "site", "a_twin", "b_twin", "account"]);
        assert_eq!(schema.tables[0].options[1], ("entity", "PX_Objects_SO_SOOrder".to_owned()));
        assert_eq!(schema.tables[0].aliases, ["SOOrder"]);
    }

    /// 2.5: the name comes from the class, and not from an alias.
    #[test]
    fn issue_2_5_classes_have_their_own_names() {
        let of_class = |name: &str, class: &str, aliases: &[&str]| EntitySet {
            class: Some(class.into()),
            ..set(name, aliases, &["ID"])
        };
        let sets = vec![
            of_class("PX_Objects_SO_SOOrder", "SOOrder", &["SalesOrder", "SOOrder"]),
            of_class("PX_Objects_AR_Customer", "Customer", &["Customer4"]),
            of_class("PX_Objects_CR_Contact", "Contact", &["Contact"]),
            of_class("My_Contact", "Contact", &["Contact1"]),
            of_class("A_Twin", "Twin", &["Twin1"]),
            of_class("B_Twin", "Twin", &["Twin2"]),
            EntitySet { singleton: true, ..of_class("PX_Objects_AR_ARSetup", "ARSetup", &[]) },
        ];
        let schema = dac_tables(&model(sets), &strict());
        let names: Vec<&str> = schema.tables.iter().map(|table| table.name.as_str()).collect();
        assert_eq!(names, ["so_order", "customer", "contact", "my_contact", "a_twin", "b_twin", "ar_setup"]);
        // 3.8
        assert_eq!(schema.tables[6].option("singleton"), Some("true"));
        assert_eq!(schema.tables[0].option("singleton"), None);
    }

    #[test]
    fn classes_tell_of_keys_filters_titles_and_relations() {
        let mut order = set("PX_Objects_SO_SOOrder", &["SOOrder"], &["OrderType", "CustomerID", "Total"]);
        order.title = Some("Sales Order".into());
        order.key = vec!["OrderType".into()];
        order.properties[0].title = Some("Order Type".into());
        order.properties[1].title = Some("Account".into());
        order.properties[2].filterable = false;
        order.relations = vec![
            Relation {
                name: "CustomerRef".into(),
                target: "PX_Objects_AR_Customer".into(),
                many: false,
                columns: vec![("CustomerID".into(), "BAccountID".into())],
            },
            Relation { name: "Lines".into(), target: "SOLine".into(), many: true, columns: Vec::new() },
        ];
        let customer = set("PX_Objects_AR_Customer", &["Customer"], &["BAccountID"]);
        let schema = dac_tables(&model(vec![order, customer]), &strict());
        let table = &schema.tables[0];
        assert_eq!(
            table.comment.as_deref(),
            Some(
                "Sales Order\nRelations: CustomerRef -> Customer (CustomerID = BAccountID), Lines -> many SOLine"
            )
        );
        assert_eq!(
            columns(table),
            [
                "order_type text not null field=OrderType key=1",
                "customer_id text field=CustomerID",
                "total text field=Total pushdown=off",
            ]
        );
        let comments: Vec<Option<&str>> =
            table.columns.iter().map(|column| column.comment.as_deref()).collect();
        assert_eq!(comments, [None, Some("Account"), None]);
    }

    #[test]
    fn faults_are_told() {
        let schema = inquiry_tables(&Model { sets: Vec::new(), faults: vec!["odd".into()] }, &strict());
        assert_eq!(schema.notices, ["odd"]);
    }
}

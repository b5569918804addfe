//! Statements.

use crate::{ColumnDef, TableDef};

/// A name in quotes.
pub(crate) fn identifier(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// A string, whatever `standard_conforming_strings` says.
pub(crate) fn literal(value: &str) -> String {
    let quoted = value.replace('\'', "''");
    if quoted.contains('\\') { format!("E'{}'", quoted.replace('\\', "\\\\")) } else { format!("'{quoted}'") }
}

impl TableDef {
    /// The statement that creates the table in the schema that is current.
    pub fn create(&self, server: &str) -> String {
        self.create_as(&identifier(&self.name), server, &identifier)
    }

    pub(crate) fn create_as(&self, relation: &str, server: &str, quote: &dyn Fn(&str) -> String) -> String {
        let columns: Vec<String> =
            self.included().map(|column| format!("\n    {}", column.sql(quote))).collect();
        format!(
            "CREATE FOREIGN TABLE {relation} ({}\n) SERVER {}{};",
            columns.join(","),
            quote(server),
            options(&self.options),
        )
    }
}

impl ColumnDef {
    /// The definition of the column.
    pub(crate) fn sql(&self, quote: &dyn Fn(&str) -> String) -> String {
        let not_null = if self.not_null { " NOT NULL" } else { "" };
        format!("{} {}{}{not_null}", quote(&self.name), self.sql_type, options(&self.options))
    }
}

fn options(options: &[(&'static str, String)]) -> String {
    if options.is_empty() {
        return String::new();
    }
    let options: Vec<String> =
        options.iter().map(|(name, value)| format!("{name} {}", literal(value))).collect();
    format!(" OPTIONS ({})", options.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ColumnKind;

    fn table() -> TableDef {
        let column = |name: &str, field: &str, included| ColumnDef {
            name: name.into(),
            sql_type: "text",
            not_null: field == "Type",
            comment: (field == "Type").then(|| "It's a \\".into()),
            options: vec![("field", field.into())],
            kind: ColumnKind::Own,
            included,
        };
        TableDef {
            name: "odd \"name\"".into(),
            remote: "Odd".into(),
            aliases: Vec::new(),
            class: None,
            comment: Some("Odd".into()),
            options: vec![("schema", "OData".into()), ("inquiry", "Bob's \\ inquiry".into())],
            columns: vec![column("type", "Type", true), column("a", "A'B", true), column("b", "B", false)],
            key_order_known: true,
        }
    }

    #[test]
    fn everything_is_quoted() {
        assert_eq!(
            table().create("my \"erp\""),
            r#"CREATE FOREIGN TABLE "odd ""name""" (
    "type" text OPTIONS (field 'Type') NOT NULL,
    "a" text OPTIONS (field 'A''B')
) SERVER "my ""erp""" OPTIONS (schema 'OData', inquiry E'Bob''s \\ inquiry');"#
        );
    }
}

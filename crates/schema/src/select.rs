//! Which of the tables are wanted, by any name that people have for them.

use acumatica_client::loose;

use crate::{Schema, TableDef};

/// Which tables are wanted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Selection {
    /// Every table.
    All,
    /// These tables (`LIMIT TO`).
    Only(Vec<String>),
    /// Every table but these (`EXCEPT`).
    Except(Vec<String>),
}

/// No table goes by that name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NotFound {
    /// The name as it was asked for.
    pub name: String,
    /// Local names of tables that may have been meant, the closest first.
    pub close: Vec<String>,
}

/// Names that are offered in place of one that does not exist.
const MAX_CLOSE: usize = 3;

impl Schema {
    /// The tables that are selected, in the order of the schema.
    ///
    /// # Errors
    /// A name is that of no table.
    pub fn select(&self, selection: &Selection) -> Result<Vec<&TableDef>, NotFound> {
        let (names, only) = match selection {
            Selection::All => return Ok(self.tables.iter().collect()),
            Selection::Only(names) => (names, true),
            Selection::Except(names) => (names, false),
        };
        let mut named = vec![!only; self.tables.len()];
        for name in names {
            for index in self.find(name)? {
                named[index] = only;
            }
        }
        Ok(self.tables.iter().zip(named).filter_map(|(table, named)| named.then_some(table)).collect())
    }

    /// The tables that go by a name, as closely as any does.
    fn find(&self, name: &str) -> Result<Vec<usize>, NotFound> {
        let wanted = loose(name);
        let found = self
            .matching(|table| table.name == name)
            .or_else(|| self.matching(|table| table.remote == name))
            // An alias may be the name of another class.
            .or_else(|| self.matching(|table| is_class(table, &wanted)))
            .or_else(|| self.matching(|table| remote_names(table).any(|remote| remote == name)))
            .or_else(|| self.matching(|table| names(table).any(|other| loose(other) == wanted)));
        found.ok_or_else(|| NotFound { name: name.to_owned(), close: self.close(&wanted) })
    }

    /// What is to be told of names that stand for a class, and in the URL for another one.
    pub fn doubts(&self, names: &[String]) -> Vec<String> {
        let doubt = |name: &String| {
            let wanted = loose(name);
            let is_plain = |table: &TableDef| table.name == *name || table.remote == *name;
            if self.tables.iter().any(is_plain) {
                return None;
            }
            let meant = self.tables.iter().find(|table| is_class(table, &wanted))?;
            let is_alias = |table: &&TableDef| {
                table.remote != meant.remote && table.aliases.iter().any(|alias| loose(alias) == wanted)
            };
            let other = self.tables.iter().find(is_alias)?;
            Some(format!(
                "\"{name}\" was taken for the class \"{}\": the server calls \"{}\" so, which is table \"{}\"",
                meant.remote, other.remote, other.name
            ))
        };
        names.iter().filter_map(doubt).collect()
    }

    fn matching(&self, matches: impl Fn(&TableDef) -> bool) -> Option<Vec<usize>> {
        let found: Vec<usize> =
            (0..self.tables.len()).filter(|index| matches(&self.tables[*index])).collect();
        (!found.is_empty()).then_some(found)
    }

    fn close(&self, wanted: &str) -> Vec<String> {
        let distance = |other: &str| strsim::damerau_levenshtein(wanted, &loose(other));
        let mut close: Vec<(usize, &str)> = self
            .tables
            .iter()
            .filter_map(|table| Some((names(table).map(distance).min()?, table.name.as_str())))
            // A third of the letters may be wrong, which catches slips and not guesses.
            .filter(|(distance, _)| *distance <= wanted.chars().count().div_ceil(3))
            .collect();
        close.sort_unstable();
        close.into_iter().take(MAX_CLOSE).map(|(_, name)| name.to_owned()).collect()
    }
}

fn is_class(table: &TableDef, wanted: &str) -> bool {
    table.class.as_deref().is_some_and(|class| loose(class) == wanted)
}

fn remote_names(table: &TableDef) -> impl Iterator<Item = &str> {
    std::iter::once(&table.remote).chain(&table.aliases).map(String::as_str)
}

fn names(table: &TableDef) -> impl Iterator<Item = &str> {
    std::iter::once(table.name.as_str()).chain(remote_names(table))
}

#[cfg(test)]
mod tests {
    use acumatica_client::catalog::{EntitySet, FieldType, Model, Property};

    use super::*;
    use crate::{Settings, dac_tables, inquiry_tables};

    fn model(names: &[(&str, &[&str])]) -> Model {
        let property =
            Property { name: "A".into(), ty: FieldType::Text, nullable: true, filterable: true, title: None };
        let sets = names.iter().map(|(name, aliases)| EntitySet {
            name: (*name).into(),
            aliases: aliases.iter().map(|alias| (*alias).into()).collect(),
            properties: vec![property.clone()],
            ..EntitySet::default()
        });
        Model { sets: sets.collect(), faults: Vec::new() }
    }

    fn select<'a>(schema: &'a Schema, names: &[&str]) -> Result<Vec<&'a str>, NotFound> {
        let names = names.iter().map(|name| (*name).to_owned()).collect();
        let tables = schema.select(&Selection::Only(names))?;
        Ok(tables.into_iter().map(|table| table.remote.as_str()).collect())
    }

    #[test]
    fn any_name_will_do() {
        let schema = dac_tables(
            &model(&[("PX_Objects_SO_SOOrder", &["SOOrder"]), ("PX_Objects_AR_Customer", &["Customer"])]),
            &Settings { prefix: "erp_".into(), ..Settings::default() },
        );
        for name in
            ["erp_so_order", "SOOrder", "PX_Objects_SO_SOOrder", "soorder", "ERP_SO_ORDER", "so order"]
        {
            assert_eq!(select(&schema, &[name]).unwrap(), ["PX_Objects_SO_SOOrder"], "{name}");
        }
        assert_eq!(select(&schema, &["Customer", "SOOrder", "customer"]).unwrap().len(), 2);
        assert_eq!(schema.select(&Selection::All).unwrap().len(), 2);
        let rest = schema.select(&Selection::Except(vec!["soorder".into()])).unwrap();
        assert_eq!(rest.iter().map(|table| table.name.as_str()).collect::<Vec<_>>(), ["erp_customer"]);
    }

    /// 2.5: `RecognizedRecord` is the set of another class.
    #[test]
    fn issue_2_5_a_class_goes_before_an_alias() {
        let mut model = model(&[
            ("PX_Cloud_RecognizedRecord", &["RecognizedRecord1"]),
            ("PX_Cloud_RecognizedRecordProjection", &["RecognizedRecord"]),
        ]);
        model.sets[0].class = Some("RecognizedRecord".into());
        model.sets[1].class = Some("RecognizedRecordProjection".into());
        let schema = dac_tables(&model, &Settings { prefix: "p_".into(), ..Settings::default() });
        let names: Vec<&str> = schema.tables.iter().map(|table| table.name.as_str()).collect();
        assert_eq!(names, ["p_recognized_record", "p_recognized_record_projection"]);
        for name in ["RecognizedRecord", "recognized_record"] {
            assert_eq!(select(&schema, &[name]).unwrap(), ["PX_Cloud_RecognizedRecord"]);
            let [doubt] = &schema.doubts(&[name.into()])[..] else { panic!("{name}") };
            assert!(doubt.contains("\"PX_Cloud_RecognizedRecordProjection\""), "{doubt}");
        }
        for name in ["p_recognized_record", "PX_Cloud_RecognizedRecord", "RecognizedRecord1"] {
            assert_eq!(select(&schema, &[name]).unwrap(), ["PX_Cloud_RecognizedRecord"]);
            assert_eq!(schema.doubts(&[name.into()]), [""; 0]);
        }
    }

    #[test]
    fn the_exact_name_goes_first_and_a_loose_one_takes_all() {
        let schema = inquiry_tables(&model(&[("AR-Aging", &[]), ("AR Aging", &[])]), &Settings::default());
        assert_eq!(select(&schema, &["ar_aging"]).unwrap(), ["AR Aging"]);
        assert_eq!(select(&schema, &["AR-Aging"]).unwrap(), ["AR-Aging"]);
        assert_eq!(select(&schema, &["ArAging"]).unwrap(), ["AR-Aging", "AR Aging"]);
    }

    #[test]
    fn slips_are_met_with_names_that_are_close() {
        let schema = inquiry_tables(&model(&[("SalesOrders", &[]), ("Stock", &[])]), &Settings::default());
        let error = select(&schema, &["SalseOrders"]).unwrap_err();
        assert_eq!(error, NotFound { name: "SalseOrders".into(), close: vec!["sales_orders".into()] });
        assert_eq!(select(&schema, &["Payroll"]).unwrap_err().close, [""; 0]);
        assert_eq!(select(&schema, &["---"]).unwrap_err().close, [""; 0]);
        assert!(schema.select(&Selection::Except(vec!["Payroll".into()])).is_err());
    }
}

//! Ground truth: a surface's rows as CSV, straight from the data set and not by way of JSON.

use std::io::Write;

use crate::config::{Config, SwitchedOff};
use crate::data::schema::{Role, SCHEMA};
use crate::data::value::{Kind, Style, Val};
use crate::data::{Access, Data, stored};
use crate::filter::eval::{Field, Show};
use crate::rest::write;
use crate::views::{View, Views};
use crate::zone::TimeZone;

enum Column {
    Field(Field, Style),
    /// Of a feature that is switched off: no row has it.
    Off,
    Id,
    Note,
}

impl Column {
    fn value(&self, data: &Data, table: usize, row: u64) -> (Val, Style) {
        match self {
            Column::Field(field, style) => (field.value(data, row), *style),
            Column::Off => (Val::Null, Style::ODATA),
            Column::Id => (Val::Guid(data.guid(table, row)), Style::ODATA),
            Column::Note => (write::note(data, table, row).map_or(Val::Null, Val::text), Style::ODATA),
        }
    }
}

/// Writes one surface as CSV with a header, as `COPY … (FORMAT csv, HEADER)` reads it: no value is empty and unquoted,
/// text is always quoted. `name` is `gi/NAME`, `dac/NAME`, `rest/ENTITY` or `rest/ENTITY/DETAIL`; `fields` are
/// properties or paths (`Address/City`, `Status/id` for a drop-down's code, `Parent/OrderNbr` in a detail, `id`,
/// `note`), all of them if empty. The tenant is the first of the configuration.
///
/// # Errors
/// If there is no such surface or field, or writing fails.
pub fn dump(config: &Config, name: &str, fields: &[String], out: &mut dyn Write) -> Result<(), String> {
    let (views, data) = surfaces(config)?;
    let (surface, rest) = name.split_once('/').ok_or("SURFACE/NAME expected")?;
    let missing = || format!("there is no {name}");
    let (table, names, columns) = match surface {
        "gi" => from_view(views.gi(rest).ok_or_else(missing)?, fields)?,
        "dac" => from_view(views.dac(rest).ok_or_else(missing)?, fields)?,
        "rest" => from_table(rest, fields, config)?,
        _ => return Err(missing()),
    };
    let quote = |name: &String| format!("\"{}\"", name.replace('"', "\"\""));
    let failed = |e: std::io::Error| e.to_string();
    writeln!(out, "{}", names.iter().map(quote).collect::<Vec<_>>().join(",")).map_err(failed)?;
    let mut line = Vec::new();
    for row in 0..data.count(table) {
        line.clear();
        for (i, column) in columns.iter().enumerate() {
            if i > 0 {
                line.push(b',');
            }
            let (value, style) = column.value(&data, table, row);
            value.write_csv(&mut line, style);
        }
        line.push(b'\n');
        out.write_all(&line).map_err(failed)?;
    }
    out.flush().map_err(failed)
}

/// Of the first tenant.
fn surfaces(config: &Config) -> Result<(Views, Data), String> {
    let schema = stored::with_files(config.tables.as_deref()).map_err(|e| e.to_string())?;
    let tenant = config.tenants.first().ok_or("no tenant")?;
    Ok((Views::new(schema), Data::new(schema, config.seed, config.scale, tenant)))
}

type TableDump = (usize, Vec<String>, Vec<Column>);

fn from_view(view: &View, fields: &[String]) -> Result<TableDump, String> {
    let all: Vec<String> = view.props.iter().map(|p| p.name.to_string()).collect();
    let names = if fields.is_empty() { all } else { fields.to_vec() };
    let column = |name: &String| {
        let prop = view.prop(name).ok_or_else(|| format!("{} has no {name}", view.name))?;
        Ok(Column::Field(prop.field.clone(), prop.style))
    };
    let columns = names.iter().map(column).collect::<Result<_, String>>()?;
    Ok((view.table, names, columns))
}

fn from_table(name: &str, fields: &[String], config: &Config) -> Result<TableDump, String> {
    let (entity, detail) = name.split_once('/').map_or((name, None), |(e, d)| (e, Some(d)));
    let missing = || format!("there is no rest/{name}");
    let parent = SCHEMA.find(entity).filter(|t| SCHEMA.tables[*t].is_entity()).ok_or_else(missing)?;
    let of = &SCHEMA.tables[parent];
    let (table, mut all) = match detail {
        None => (parent, vec!["id".to_string()]),
        Some(detail) => {
            let child = of.detail(detail).ok_or_else(missing)?.child;
            (child, of.keys.iter().map(|k| format!("Parent/{}", of.cols[*k].name)).collect())
        }
    };
    let shown = SCHEMA.tables[table].cols.iter().filter(|c| !c.hidden && !c.custom);
    all.extend(shown.map(|c| c.name.to_string()));
    let names = if fields.is_empty() { all } else { fields.to_vec() };
    // Contract 5 shows dates without a time; midnight reads as the same date.
    let zone: &'static TimeZone =
        Box::leak(Box::new(TimeZone::find(&config.time_zone).map_err(|e| e.to_string())?));
    let style = Style::rest(zone, config.release.endpoint_versions().contains(&"26.200.001"));
    let column = |name: &String| match name.as_str() {
        "id" => Ok(Column::Id),
        "note" => Ok(Column::Note),
        path => {
            let (path, show) = match path.strip_suffix("/id") {
                Some(path) => (path, Show::Code),
                None => (path.strip_suffix("/description").unwrap_or(path), Show::Label),
            };
            let access =
                Access::resolve(&SCHEMA, table, path).ok_or_else(|| format!("{entity} has no {path}"))?;
            let col = access.col(&SCHEMA);
            if col.off && config.switched_off != SwitchedOff::Shown {
                return Ok(Column::Off);
            }
            let kind: Kind = col.kind;
            let style = if col.custom { style.custom() } else { style };
            Ok(Column::Field(Field { access, kind, show, pad: 0, zone: None }, style))
        }
    };
    let columns = names.iter().map(column).collect::<Result<_, String>>()?;
    Ok((table, names, columns))
}

/// Writes the names of all surfaces, their numbers of rows and their fields, tab-separated.
///
/// # Errors
/// If writing fails.
pub fn list(config: &Config, out: &mut dyn Write) -> Result<(), String> {
    let (views, data) = surfaces(config)?;
    let mut lines = Vec::new();
    for table in &SCHEMA.tables {
        let fields = |t: usize| {
            let shown = SCHEMA.tables[t].cols.iter().filter(|c| !c.hidden).map(|c| c.name);
            shown.collect::<Vec<_>>().join(",")
        };
        let id = SCHEMA.id(table.name);
        match table.role {
            Role::Entity { .. } => {
                lines.push(format!("rest/{}\t{}\t{}", table.name, data.count(id), fields(id)));
                for detail in table.details.iter().filter(|d| d.rest) {
                    let count = data.count(detail.child);
                    lines.push(format!(
                        "rest/{}/{}\t{count}\t{}",
                        table.name,
                        detail.name,
                        fields(detail.child)
                    ));
                }
            }
            Role::Inquiry { results } => {
                lines.push(format!("inquiry/{}\t{}\t{}", table.name, data.count(results), fields(id)))
            }
            _ => {}
        }
    }
    for (surface, list) in [("gi", &views.gis), ("dac", &views.dacs)] {
        for view in list {
            let fields: Vec<_> = view.props.iter().map(|p| p.name).collect();
            lines.push(format!("{surface}/{}\t{}\t{}", view.name, data.count(view.table), fields.join(",")));
        }
    }
    lines.iter().try_for_each(|line| writeln!(out, "{line}")).map_err(|e| e.to_string())?;
    out.flush().map_err(|e| e.to_string())
}

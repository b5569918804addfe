//! Tables in files, which the simulator serves as generic inquiries beside those of the data set (`--tables DIR`).
//!
//! A table is a CSV file, and its name that of the inquiry. The head names the columns and their kinds: `*Nbr:int,Text,Due:date`;
//! `*` marks the key, and the kind of a column without one is `text`. An empty field is no value; `""` is an empty text.

use std::collections::HashSet;
use std::fmt::Display;
use std::io::{Error, ErrorKind};
use std::path::Path;

use super::calendar::{DAY, days};
use super::generator::Gen;
use super::rng::salt_of;
use super::schema::{Col, Role, SCHEMA, Schema, Sql, Table};
use super::value::{Kind, Val, parse_guid};

/// The tables of the data set, and behind them those in the files of a folder, if there is one.
///
/// # Errors
/// If a file cannot be read, or is no such table.
pub fn with_files(dir: Option<&Path>) -> std::io::Result<&'static Schema> {
    let Some(dir) = dir else { return Ok(&SCHEMA) };
    let mut schema = Schema::bundled();
    schema.tables.extend(read(dir)?);
    Ok(Box::leak(Box::new(schema)))
}

/// In the order of their names.
fn read(dir: &Path) -> std::io::Result<Vec<Table>> {
    let told =
        |path: &Path, kind, error: &dyn Display| Error::new(kind, format!("{}: {error}", path.display()));
    let entries = std::fs::read_dir(dir).map_err(|e| told(dir, e.kind(), &e))?;
    let mut paths = entries.map(|e| e.map(|e| e.path())).collect::<Result<Vec<_>, _>>()?;
    paths.retain(|p| p.extension().is_some_and(|e| e == "csv"));
    paths.sort();
    if paths.is_empty() {
        return Err(told(dir, ErrorKind::NotFound, &"there is no .csv file"));
    }
    let table = |path: &std::path::PathBuf| {
        let text = std::fs::read_to_string(path).map_err(|e| told(path, e.kind(), &e))?;
        let name = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        parse(name, &text).map_err(|e| told(path, ErrorKind::InvalidData, &e))
    };
    paths.iter().map(table).collect()
}

/// They live as long as the program, as those of the data set do.
fn leak(text: String) -> &'static str {
    Box::leak(text.into_boxed_str())
}

fn parse(name: String, text: &str) -> Result<Table, String> {
    let mut lines = Lines { rest: text, number: 0 };
    let head = lines.next().ok_or("line 1: no columns")??;
    let name = leak(name);
    let (mut cols, mut keys, mut names) = (Vec::new(), Vec::new(), HashSet::new());
    for field in head {
        let field = field.unwrap_or_default();
        let (left, kind) = field.split_once(':').unwrap_or((&field, "text"));
        if left.starts_with('*') {
            keys.push(cols.len());
        }
        let column = leak(left.trim_start_matches('*').to_string());
        let allowed = |c: char| c.is_alphanumeric() || c == '_';
        if column.is_empty() || !column.chars().all(allowed) {
            return Err(format!("line 1: \"{column}\" is no name of a property"));
        }
        if !names.insert(column) {
            return Err(format!("line 1: two columns are named \"{column}\""));
        }
        cols.push(Col {
            name: column,
            kind: kind_named(kind).ok_or_else(|| format!("line 1: there is no kind \"{kind}\""))?,
            r#gen: Gen::Stored(Vec::new()),
            null_percent: 0,
            salt: salt_of(&[name, column]),
            hidden: false,
            custom: false,
            off: false,
            sql: Sql::Yes,
        });
    }
    let mut rows = 0;
    while let Some(fields) = lines.next() {
        let fields = fields?;
        if fields.len() != cols.len() {
            return Err(format!("line {}: {} fields, not {}", lines.number, fields.len(), cols.len()));
        }
        for (col, field) in cols.iter_mut().zip(fields) {
            let value = match field {
                None => Some(Val::Null),
                Some(text) => value(col.kind, text),
            };
            let value =
                value.ok_or_else(|| format!("line {}: {} is no {:?}", lines.number, col.name, col.kind))?;
            if let Gen::Stored(values) = &mut col.r#gen {
                values.push(value);
            }
        }
        rows += 1;
    }
    Ok(Table {
        name,
        role: Role::Stored { rows },
        screen: "",
        title: "",
        graph: "",
        view: "",
        cols,
        keys,
        links: Vec::new(),
        details: Vec::new(),
        blocks: Vec::new(),
        hidden: None,
        noteless: true,
        salt: salt_of(&[name]),
    })
}

fn kind_named(name: &str) -> Option<Kind> {
    Some(match name {
        "text" => Kind::Text,
        "int" => Kind::Int,
        "short" => Kind::Short,
        "long" => Kind::Long,
        "byte" => Kind::Byte,
        "decimal" => Kind::Dec(0),
        "double" => Kind::Double,
        "bool" => Kind::Bool,
        "date" => Kind::Date,
        "timestamp" => Kind::Ts,
        "guid" => Kind::Guid,
        _ => return None,
    })
}

fn value(kind: Kind, text: String) -> Option<Val> {
    Some(match kind {
        Kind::Int => Val::Int(text.parse::<i32>().ok()?.into()),
        Kind::Short => Val::Int(text.parse::<i16>().ok()?.into()),
        Kind::Byte => Val::Int(text.parse::<u8>().ok()?.into()),
        Kind::Long => Val::Int(text.parse().ok()?),
        Kind::Dec(_) => decimal(&text)?,
        Kind::Double => Val::Double(text.parse().ok().filter(|d: &f64| d.is_finite())?),
        Kind::Bool => Val::Bool(text.parse().ok()?),
        Kind::Date => Val::Date(day(&text)?.try_into().ok()?),
        Kind::Ts => {
            let (date, time) = text.strip_suffix('Z')?.split_once('T')?;
            Val::Ts(day(date)? * DAY + microseconds(time)?)
        }
        Kind::Guid => Val::Guid(parse_guid(&text)?),
        Kind::Text | Kind::Choice | Kind::Binary => Val::text(leak(text)),
    })
}

/// With the scale that it is written with.
fn decimal(text: &str) -> Option<Val> {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    let mantissa = format!("{whole}{fraction}").parse().ok()?;
    Some(Val::Dec(mantissa, fraction.len().try_into().ok()?))
}

/// Days since 1970 of a day from 1753 on, which is SQL Server's first.
fn day(text: &str) -> Option<i64> {
    let parts: Vec<i64> = text.split('-').map(|p| p.parse().ok()).collect::<Option<_>>()?;
    let [y, m, d] = parts[..] else { return None };
    let valid = (1753..=9999).contains(&y) && (1..=12).contains(&m) && d >= 1;
    let day = valid.then(|| days(y, m as u32, d as u32))?;
    // The 31st of April is the 1st of May.
    (super::calendar::civil(day) == (y, m as u32, d as u32)).then_some(day)
}

/// `17:20:45` or `17:20:45.16` since midnight.
fn microseconds(text: &str) -> Option<i64> {
    let (clock, fraction) = text.split_once('.').unwrap_or((text, ""));
    let parts: Vec<i64> = clock.split(':').map(|p| p.parse().ok()).collect::<Option<_>>()?;
    let [hours @ 0..24, minutes @ 0..60, seconds @ 0..60] = parts[..] else { return None };
    let fraction: i64 =
        if fraction.len() <= 6 { format!("{fraction:0<6}").parse().ok()? } else { return None };
    Some(((hours * 60 + minutes) * 60 + seconds) * 1_000_000 + fraction)
}

/// Splits CSV into lines of fields; an empty field without quotes is no value.
struct Lines<'a> {
    rest: &'a str,
    /// Of the line that was read last, from 1; a text of several lines counts as one.
    number: usize,
}

impl Iterator for Lines<'_> {
    type Item = Result<Vec<Option<String>>, String>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.rest.is_empty() {
            return None;
        }
        self.number += 1;
        let mut fields = Vec::new();
        loop {
            let field = match self.rest.strip_prefix('"') {
                Some(rest) => match quoted(rest) {
                    Some((text, rest)) => {
                        self.rest = rest;
                        Some(text)
                    }
                    None => return Some(Err(format!("line {}: a quote is not closed", self.number))),
                },
                None => {
                    let end = self.rest.find([',', '\n', '\r']).unwrap_or(self.rest.len());
                    let (text, rest) = self.rest.split_at(end);
                    self.rest = rest;
                    (!text.is_empty()).then(|| text.to_string())
                }
            };
            fields.push(field);
            let line = ["\r\n", "\n"].iter().find_map(|end| self.rest.strip_prefix(end));
            match (self.rest.strip_prefix(','), line) {
                (Some(rest), _) => self.rest = rest,
                (None, Some(rest)) => {
                    self.rest = rest;
                    return Some(Ok(fields));
                }
                (None, None) if self.rest.is_empty() => return Some(Ok(fields)),
                (None, None) => {
                    return Some(Err(format!("line {}: text behind a quoted field", self.number)));
                }
            }
        }
    }
}

/// The text up to the quote that ends it, with doubled quotes single, and what is behind.
fn quoted(rest: &str) -> Option<(String, &str)> {
    let mut from = 0;
    loop {
        let at = from + rest[from..].find('"')?;
        match rest[at + 1..].starts_with('"') {
            true => from = at + 2,
            false => return Some((rest[..at].replace("\"\"", "\""), &rest[at + 1..])),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::value::Style;

    /// The rows as they are written; no value is `-`.
    fn rows(text: &str) -> Result<Vec<Vec<String>>, String> {
        let table = parse("t".into(), text)?;
        let Role::Stored { rows } = table.role else { panic!("{:?}", table.role) };
        let shown = |col: &Col, row: usize| match &col.r#gen {
            Gen::Stored(values) if values[row].is_null() => "-".into(),
            Gen::Stored(values) => values[row].to_plain(Style::ODATA),
            other => panic!("{other:?}"),
        };
        Ok((0..rows as usize).map(|row| table.cols.iter().map(|col| shown(col, row)).collect()).collect())
    }

    #[test]
    fn each_kind_is_read_as_it_is_written() {
        let head = "*K:int,T,D:decimal,F:double,B:bool,Day:date,At:timestamp\n";
        let line = "-5,\"a,\"\"b\"\"\nc\",-0.50,2.5,true,2024-02-29,2024-02-29T17:20:45.16Z\r\n1,\"\",,,,,";
        assert_eq!(
            rows(&format!("{head}{line}")).unwrap(),
            [
                [
                    "-5",
                    "a,\"b\"\nc",
                    "-0.50",
                    "2.5",
                    "true",
                    "2024-02-29T00:00:00Z",
                    "2024-02-29T17:20:45.16Z"
                ],
                ["1", "", "-", "-", "-", "-", "-"]
            ]
        );
        assert_eq!(parse("t".into(), head).unwrap().keys, [0]);
    }

    #[test]
    fn what_is_wrong_is_told_with_its_line() {
        for (text, part) in [
            ("", "line 1: no columns"),
            ("A,A", "line 1: two columns are named \"A\""),
            ("A,,B", "line 1: \"\" is no name"),
            ("A B", "line 1: \"A B\" is no name"),
            ("A:money", "no kind \"money\""),
            ("A,B\n1,2\n1", "line 3: 1 fields, not 2"),
            ("A:int\nx", "line 2: A is no Int"),
            ("A:date\n2023-02-29", "line 2: A is no Date"),
            ("A:timestamp\n2023-02-01T24:00:00Z", "line 2: A is no Ts"),
            ("A\n\"x", "line 2: a quote is not closed"),
            ("A\n\"x\"y", "line 2: text behind a quoted field"),
        ] {
            let error = rows(text).unwrap_err();
            assert!(error.contains(part), "{text:?}: {error}");
        }
    }
}

//! Reads `tables.txt`, the description of every table of the data set. The format is explained at its top.

use std::collections::HashMap;
use std::sync::LazyLock;

use super::generator::{Gen, choice};
use super::rng::salt_of;
use super::value::{Choice, Kind};

/// Whether a field can be part of the single SQL query behind a list (docs/acumatica.md §2, "Optimization").
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sql {
    Yes,
    /// Neither requested nor filtered in a list.
    No,
    /// Requested, but not filtered.
    NotFiltered,
}

#[derive(Debug)]
pub struct Col {
    pub name: &'static str,
    pub kind: Kind,
    pub r#gen: Gen,
    pub null_percent: u64,
    pub salt: u64,
    /// In the data set and on OData, not in the REST contract.
    pub hidden: bool,
    pub custom: bool,
    /// In the contract, but of a feature that can be switched off.
    pub off: bool,
    pub sql: Sql,
}

/// Rows that are there for those only who ask for them by a header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hidden {
    Archived,
    Deleted,
}

/// From a row of one table to one row of another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum How {
    /// A row of a satellite that belongs to this row only.
    Own,
    /// The row with the same number.
    Same,
    /// Any row, chosen by hash.
    Hash,
    /// The row this detail row belongs to.
    Parent,
}

#[derive(Debug)]
pub struct Link {
    pub name: &'static str,
    pub to: usize,
    pub how: How,
    pub salt: u64,
    /// A linked entity of the REST contract; otherwise only for joins.
    pub rest: bool,
}

#[derive(Debug)]
pub struct Detail {
    pub name: &'static str,
    pub child: usize,
    pub rest: bool,
}

#[derive(Debug, PartialEq, Eq)]
pub enum Role {
    /// A top-level entity with this many rows; `scaled` ones grow with `--scale`.
    Entity { rows: u64, scaled: bool },
    /// Rows per parent row, a repeating pattern; `before` holds its running sums.
    Detail { parent: usize, before: Vec<u64> },
    /// Rows exist only through links.
    Satellite,
    /// One row, on OData only.
    Setup,
    /// An inquiry form: parameters, and results that come from a detail table filtered by them.
    Inquiry { results: usize },
    /// Rows of a file, seen through a generic inquiry of the table's name.
    Stored { rows: u64 },
}

#[derive(Debug)]
pub struct Table {
    pub name: &'static str,
    pub role: Role,
    pub screen: &'static str,
    pub title: &'static str,
    pub graph: &'static str,
    pub view: &'static str,
    pub cols: Vec<Col>,
    pub keys: Vec<usize>,
    pub links: Vec<Link>,
    pub details: Vec<Detail>,
    pub blocks: Vec<(&'static Choice, u64)>,
    /// Behind the rows that everybody sees, one more for each so many of them.
    pub hidden: Option<(Hidden, u64)>,
    /// Its records have no NoteID, so that their ids pass (docs/acumatica.md §2.2).
    pub noteless: bool,
    pub salt: u64,
}

impl Table {
    pub fn col(&self, name: &str) -> Option<usize> {
        self.cols.iter().position(|c| c.name == name)
    }

    pub fn link(&self, name: &str) -> Option<&Link> {
        self.links.iter().find(|l| l.name == name)
    }

    pub fn detail(&self, name: &str) -> Option<&Detail> {
        self.details.iter().find(|d| d.name == name)
    }

    pub fn is_entity(&self) -> bool {
        matches!(self.role, Role::Entity { .. })
    }
}

#[derive(Debug)]
pub struct Schema {
    pub tables: Vec<Table>,
    by_name: HashMap<&'static str, usize>,
}

pub static SCHEMA: LazyLock<Schema> = LazyLock::new(Schema::bundled);

impl Schema {
    /// The tables of the data set.
    pub fn bundled() -> Schema {
        Schema::parse(include_str!("tables.txt"))
    }

    pub fn find(&self, name: &str) -> Option<usize> {
        self.by_name.get(name).copied()
    }

    /// Paths are compared without case (docs/acumatica.md §1).
    pub fn find_any_case(&self, name: &str) -> Option<usize> {
        self.tables.iter().position(|t| t.name.eq_ignore_ascii_case(name))
    }

    pub fn id(&self, name: &str) -> usize {
        self.find(name).unwrap_or_else(|| panic!("tables.txt: no table {name}"))
    }

    /// The description is part of the program: a mistake in it is a bug, and panics.
    fn parse(text: &'static str) -> Schema {
        let headers: Vec<Vec<&'static str>> = lines(text)
            .map(|l| l.split_whitespace().collect::<Vec<_>>())
            .filter(|w| matches!(w[0], "entity" | "detail-of" | "satellite" | "setup" | "inquiry"))
            .collect();
        let names: HashMap<&'static str, usize> =
            headers.iter().enumerate().map(|(i, w)| (w[1], i)).collect();
        let mut tables: Vec<Table> = Vec::new();
        for line in lines(text) {
            let (word, rest) = line.split_once(char::is_whitespace).unwrap_or((line, ""));
            let rest = rest.trim();
            if matches!(word, "entity" | "detail-of" | "satellite" | "setup" | "inquiry") {
                tables.push(header(word, rest, &names));
                continue;
            }
            let table = tables.last_mut().unwrap_or_else(|| panic!("tables.txt: {line} before any table"));
            let id = |name: &str| {
                *names.get(name).unwrap_or_else(|| panic!("tables.txt: {line}: no table {name}"))
            };
            match word {
                "blocks" => table.blocks = rest.split('|').map(block).collect(),
                "link" | "join" => {
                    let [name, to, how] = words(rest, line);
                    let how = match how {
                        "own" => How::Own,
                        "same" => How::Same,
                        "hash" => How::Hash,
                        "parent" => How::Parent,
                        _ => panic!("tables.txt: {line}"),
                    };
                    let salt = salt_of(&[table.name, name]);
                    table.links.push(Link { name, to: id(to), how, salt, rest: word == "link" });
                }
                "detail" | "joins" => {
                    let [name, child] = words(rest, line);
                    table.details.push(Detail { name, child: id(child), rest: word == "detail" });
                }
                _ => column(table, word, rest, line),
            }
        }
        for table in &mut tables {
            table.blocks.sort_by_key(|b| b.0.code);
        }
        resolve(&mut tables);
        Schema { tables, by_name: names }
    }
}

fn lines(text: &'static str) -> impl Iterator<Item = &'static str> {
    text.lines().map(str::trim).filter(|l| !l.is_empty() && !l.starts_with('#'))
}

fn words<const N: usize>(rest: &'static str, line: &str) -> [&'static str; N] {
    let words: Vec<_> = rest.split_whitespace().collect();
    words.try_into().unwrap_or_else(|_| panic!("tables.txt: {line}: {N} words expected"))
}

fn header(word: &str, rest: &'static str, names: &HashMap<&'static str, usize>) -> Table {
    let (rest, title) = rest.split_once('"').map_or((rest, ""), |(a, b)| (a, b.trim_end_matches('"')));
    let mut parts = rest.split_whitespace();
    let name = parts.next().unwrap_or_else(|| panic!("tables.txt: nameless table"));
    let settings: HashMap<&'static str, &'static str> = parts.filter_map(|p| p.split_once('=')).collect();
    let get = |key: &str| settings.get(key).copied().unwrap_or("");
    let number = |key: &str| get(key).parse().unwrap_or_else(|_| panic!("tables.txt: {name}: {key}="));
    let id = |key: &str| *names.get(get(key)).unwrap_or_else(|| panic!("tables.txt: {name}: {key}="));
    let role = match word {
        "entity" if settings.contains_key("fixed") => Role::Entity { rows: number("fixed"), scaled: false },
        "entity" => Role::Entity { rows: number("rows"), scaled: true },
        "detail-of" => {
            let mut before = vec![0];
            for count in get("per").split(',') {
                let count: u64 = count.parse().unwrap_or_else(|_| panic!("tables.txt: {name}: per="));
                before.push(before[before.len() - 1] + count);
            }
            Role::Detail { parent: id("of"), before }
        }
        "inquiry" => Role::Inquiry { results: id("results") },
        "setup" => Role::Setup,
        _ => Role::Satellite,
    };
    let hidden = [("archived", Hidden::Archived), ("deleted", Hidden::Deleted)]
        .into_iter()
        .find(|(key, _)| settings.contains_key(key))
        .map(|(key, hidden)| (hidden, number(key)));
    let (mut links, salt) = (Vec::new(), salt_of(&[name]));
    if let Role::Detail { parent, .. } = role {
        links.push(Link { name: "Parent", to: parent, how: How::Parent, salt, rest: false });
    }
    Table {
        name,
        role,
        screen: get("screen"),
        title,
        graph: get("graph"),
        view: if get("view").is_empty() { "Document" } else { get("view") },
        cols: Vec::new(),
        keys: Vec::new(),
        links,
        details: Vec::new(),
        blocks: Vec::new(),
        hidden,
        noteless: get("ids") == "passing",
        salt,
    }
}

fn block(text: &'static str) -> (&'static Choice, u64) {
    let (name, weight) = text.rsplit_once(':').unwrap_or((text, "1"));
    (choice(name), weight.trim().parse().unwrap_or(1))
}

fn column(table: &mut Table, word: &'static str, rest: &'static str, line: &str) {
    let name = word.trim_start_matches(['*', '-', '+']);
    let mut args: Vec<&'static str> = rest.split(' ').filter(|w| !w.is_empty()).collect();
    let (mut null_percent, mut sql, mut off) = (0, Sql::Yes, false);
    while let Some(last) = args.last() {
        match last.split_at(1) {
            ("?", percent) => null_percent = percent.parse().unwrap_or_else(|_| panic!("tables.txt: {line}")),
            ("!", "delegate") => sql = Sql::No,
            ("!", "off") => off = true,
            ("!", "nofilter") => sql = Sql::NotFiltered,
            _ => break,
        }
        args.pop();
    }
    let (r#gen, kind) = Gen::parse(&args).unwrap_or_else(|| panic!("tables.txt: {line}"));
    if word.starts_with('*') {
        table.keys.push(table.cols.len());
    }
    table.cols.push(Col {
        name,
        kind,
        r#gen,
        null_percent,
        salt: salt_of(&[table.name, name]),
        hidden: word.starts_with('-'),
        custom: word.starts_with('+'),
        off,
        sql,
    });
}

/// Turns the names inside generators into numbers, and gives references the kind of what they refer to.
fn resolve(tables: &mut [Table]) {
    for t in 0..tables.len() {
        for c in 0..tables[t].cols.len() {
            let bound = bind(&tables[t].cols[c].r#gen, tables, t);
            if let Some(bound) = bound {
                tables[t].cols[c].r#gen = bound;
            }
        }
    }
    for t in 0..tables.len() {
        for c in 0..tables[t].cols.len() {
            tables[t].cols[c].kind = kind_of(tables, t, c);
        }
    }
}

/// The generator with numbers instead of names; `None` if it has no names.
fn bind(generator: &Gen, tables: &[Table], t: usize) -> Option<Gen> {
    let table = &tables[t];
    let col =
        |of: &Table, name: &str| of.col(name).unwrap_or_else(|| panic!("tables.txt: {}: no {name}", of.name));
    match *generator {
        Gen::RefName(link, name) => {
            let number = table.links.iter().position(|l| l.name == link);
            let link = number.unwrap_or_else(|| panic!("tables.txt: {}: no link {link}", table.name));
            Some(Gen::Ref { link, col: col(&tables[table.links[link].to], name) })
        }
        Gen::MulNames(a, b, scale) => Some(Gen::Mul(col(table, a), col(table, b), scale)),
        Gen::SumNames(detail, name) => {
            let number = table.details.iter().position(|d| d.name == detail);
            let detail = number.unwrap_or_else(|| panic!("tables.txt: {}: no detail {detail}", table.name));
            Some(Gen::Sum { detail, col: col(&tables[table.details[detail].child], name) })
        }
        _ => None,
    }
}

fn kind_of(tables: &[Table], t: usize, c: usize) -> Kind {
    match &tables[t].cols[c].r#gen {
        Gen::Ref { link, col } => kind_of(tables, tables[t].links[*link].to, *col),
        Gen::Block if tables[t].blocks.iter().any(|b| b.0.code != b.0.label) => Kind::Choice,
        _ => tables[t].cols[c].kind,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tables_have_keys_and_unique_columns() {
        for table in &SCHEMA.tables {
            if table.is_entity() {
                assert!(!table.keys.is_empty(), "{}", table.name);
            }
            let mut names: Vec<_> = table.cols.iter().map(|c| c.name.to_lowercase()).collect();
            names.extend(table.links.iter().map(|l| l.name.to_lowercase()).filter(|_| false));
            let count = names.len();
            names.sort();
            names.dedup();
            assert_eq!(names.len(), count, "{}", table.name);
        }
    }
}

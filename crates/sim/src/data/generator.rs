//! How the values of a column are generated, as `tables.txt` says it.

use super::value::{Choice, Kind, Val};
use super::words::Sort;

#[derive(Clone, Debug)]
pub enum Gen {
    /// The name of the block of rows: order type, document type.
    Block,
    /// The number within the block.
    Seq {
        prefix: &'static str,
        width: usize,
    },
    /// A number behind one of several prefixes, ascending over the whole table.
    Key {
        prefixes: Vec<&'static str>,
        width: usize,
    },
    /// The row's number in its table, from 1.
    RowNumber(i64),
    /// The number of a detail row within its parent.
    Line,
    Pick(Vec<&'static str>),
    Choice(&'static [Choice]),
    Const(&'static str),
    Words(Sort),
    /// By name until bound, then link and column.
    RefName(&'static str, &'static str),
    Ref {
        link: usize,
        col: usize,
    },
    Int(i64, i64),
    Dec {
        low: i64,
        high: i64,
        scale: u8,
    },
    /// Up to 28 digits, of either sign.
    Wide(u8),
    Double,
    Bool(u64),
    /// Years; a few rows get the first and the last day that SQL Server's `datetime` users meet.
    Date(i64, i64),
    Ts(i64, i64),
    /// A timestamp as text in the user's culture (docs/acumatica.md §2).
    Culture,
    Guid,
    /// SQL Server's row version, eight bytes.
    RowVersion,
    MulNames(&'static str, &'static str, u8),
    Mul(usize, usize, u8),
    SumNames(&'static str, &'static str),
    Sum {
        detail: usize,
        col: usize,
    },
    /// Whether the row is one of the deleted.
    Deleted,
    /// A parameter of an inquiry form: no value of its own.
    Parameter,
    /// The values of the rows, from a file.
    Stored(Vec<Val>),
}

impl Gen {
    /// Reads a generator and the kind it makes. The words are documented at the top of `tables.txt`.
    pub fn parse(words: &[&'static str]) -> Option<(Gen, Kind)> {
        let arg = |i: usize| words.get(i).copied();
        let num = |i: usize| arg(i)?.parse::<i64>().ok();
        let joined = || -> &'static str { Box::leak(words[1..].join(" ").into_boxed_str()) };
        let scale = |i: usize| num(i).map(|s| s as u8);
        Some(match *words.first()? {
            "block" => (Gen::Block, Kind::Text),
            "seq" => (Gen::Seq { width: num(1)? as usize, prefix: arg(2).unwrap_or("") }, Kind::Text),
            "key" => (
                Gen::Key { width: num(1)? as usize, prefixes: arg(2).unwrap_or("").split(',').collect() },
                Kind::Text,
            ),
            "rownumber" => (Gen::RowNumber(num(1).unwrap_or(0)), Kind::Int),
            "line" => (Gen::Line, Kind::Int),
            "pick" => (Gen::Pick(joined().split('|').collect()), Kind::Text),
            "choice" => {
                let all: Vec<Choice> = joined()
                    .split('|')
                    .map(choice)
                    .map(|c| Choice { code: c.code, label: c.label })
                    .collect();
                (Gen::Choice(Box::leak(all.into_boxed_slice())), Kind::Choice)
            }
            "const" => (Gen::Const(joined()), Kind::Text),
            "ref" => {
                let (link, col) = arg(1)?.split_once('/')?;
                (Gen::RefName(link, col), Kind::Text)
            }
            "int" => (Gen::Int(num(1)?, num(2)?), Kind::Int),
            "short" => (Gen::Int(num(1)?, num(2)?), Kind::Short),
            "long" => (Gen::Int(num(1)?, num(2)?), Kind::Long),
            "byte" => (Gen::Int(num(1)?, num(2)?), Kind::Byte),
            "dec" => (Gen::Dec { low: num(1)?, high: num(2)?, scale: scale(3)? }, Kind::Dec(scale(3)?)),
            "wide" => (Gen::Wide(scale(1)?), Kind::Dec(scale(1)?)),
            "double" => (Gen::Double, Kind::Double),
            "bool" => (Gen::Bool(num(1)? as u64), Kind::Bool),
            "date" => (Gen::Date(num(1)?, num(2)?), Kind::Date),
            "ts" => (Gen::Ts(num(1)?, num(2)?), Kind::Ts),
            "culture" => (Gen::Culture, Kind::Text),
            "guid" => (Gen::Guid, Kind::Guid),
            "tstamp" => (Gen::RowVersion, Kind::Binary),
            "mul" => (Gen::MulNames(arg(1)?, arg(2)?, scale(3)?), Kind::Dec(scale(3)?)),
            "sum" => (Gen::SumNames(arg(1)?, arg(2)?), Kind::Dec(scale(3)?)),
            "deleted" => (Gen::Deleted, Kind::Bool),
            "parameter" => match arg(1)? {
                "bool" => (Gen::Parameter, Kind::Bool),
                _ => (Gen::Parameter, Kind::Text),
            },
            sort => (Gen::Words(Sort::parse(sort)?), Kind::Text),
        })
    }
}

/// `CODE=Label` or just `CODE`.
pub fn choice(text: &'static str) -> &'static Choice {
    let (code, label) = text.split_once('=').unwrap_or((text, text));
    Box::leak(Box::new(Choice { code: code.trim(), label: label.trim() }))
}

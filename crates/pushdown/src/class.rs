//! The table that says how far each dialect's answer to a condition can be trusted. `docs/pushdown.md` shows it.

use crate::column::ColumnType;
use crate::reason::Reason;

/// How conditions are written and understood (docs/acumatica.md sections 2 and 3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dialect {
    /// Contract REST with endpoints before 26.200.001: literals and functions of OData v3.
    Contract4,
    /// Contract REST with endpoints from 26.200.001 on: literals and functions of OData v4.
    Contract5,
    /// Generic inquiries of releases before 2024 R2, in OData v3.
    GiV3,
    /// Generic inquiries of releases from 2024 R2 on, in OData v4.
    GiV4,
    /// Data access classes, in OData v4 under every URL and in every release.
    Dac,
}

impl Dialect {
    /// Whether it is the dialect of contract REST, not of OData.
    pub fn is_rest(self) -> bool {
        matches!(self, Self::Contract4 | Self::Contract5)
    }

    /// Whether literals and functions are those of OData v3; if not, they are those of v4.
    pub(crate) fn is_v3(self) -> bool {
        matches!(self, Self::Contract4 | Self::GiV3)
    }
}

/// A group of column types for which the table has the same rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TypeCategory {
    /// Whole numbers: `smallint`, `integer`, `bigint`.
    Integer,
    /// Exact decimal numbers: `numeric`.
    Decimal,
    /// Binary floating-point numbers: `real`, `double precision`. They may be rounded on their way.
    Float,
    /// `boolean`.
    Bool,
    /// `text`, `varchar` and `char`, of any length.
    Text,
    /// `date`, `timestamp` and `timestamptz`. The server's zone can differ from PostgreSQL's.
    Moment,
    /// `uuid`.
    Uuid,
}

impl TypeCategory {
    /// The category of a column's type; `None` if no condition on such a column is sent.
    pub fn of(ty: ColumnType) -> Option<Self> {
        Some(match ty {
            ColumnType::Int2 | ColumnType::Int4 | ColumnType::Int8 => Self::Integer,
            ColumnType::Numeric => Self::Decimal,
            ColumnType::Float4 | ColumnType::Float8 => Self::Float,
            ColumnType::Bool => Self::Bool,
            ColumnType::Text | ColumnType::Unpadded => Self::Text,
            ColumnType::Date | ColumnType::Timestamp | ColumnType::TimestampTz => Self::Moment,
            ColumnType::Uuid => Self::Uuid,
            ColumnType::Interval | ColumnType::Bytes | ColumnType::Json => return None,
        })
    }
}

/// The kind of a [`Test`](crate::Test), which the table has a row for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operator {
    /// The field equals a value: `=`, IN.
    Equal,
    /// The field differs from a value: `<>`, NOT IN.
    NotEqual,
    /// The field is ordered before or after a value: `<`, `<=`, `>`, `>=`.
    Range,
    /// The field has no value: IS NULL.
    IsNull,
    /// The field has a value: IS NOT NULL.
    IsNotNull,
    /// The field begins with a text or contains it: LIKE, `starts_with`, `strpos`.
    Match,
    /// As [`Match`](Self::Match), without regard to case: ILIKE, `lower(…) =`.
    MatchAnyCase,
}

/// How far the server's answer to a condition can be trusted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Class {
    /// The server returns exactly the rows that PostgreSQL keeps. LIMIT and `count(*)` can be sent with it.
    Exact,
    /// The server returns those rows and perhaps more. PostgreSQL rechecks them.
    Superset,
    /// The server may leave out a row that PostgreSQL keeps, or has no such condition. It is not sent, for this reason.
    None(Reason),
}

/// The table: the class of a test on a field, by dialect, type of the column and kind of the test. It holds for fields and
/// values that the dialect can name and write; [`refusal`](crate::refusal) checks those first. A text column of contract 5
/// needs the option `pushdown`, which says that the field is not a drop-down; conditions on fields of linked entities and
/// details are not sent.
pub fn class(dialect: Dialect, kind: TypeCategory, operator: Operator) -> Class {
    use Class::{Exact, None, Superset};
    use Operator::*;
    use TypeCategory::*;
    match (kind, operator) {
        (Integer | Decimal, Equal | Range) => Exact,
        // `null ne 5` is true in OData and unknown in SQL.
        (Integer | Decimal, NotEqual) => Superset,
        (Float, Equal | Range) => Superset,
        (Float, NotEqual) => None(Reason::Rounded),
        // There are but two values, so the other one can be asked for.
        (Bool, Equal | NotEqual) => Exact,
        (Bool, Range) => None(Reason::NoOrder),
        // Widened by what zones may differ.
        (Moment, Equal | Range) => Superset,
        (Moment, NotEqual) => None(Reason::Zones),
        (Uuid, Equal) if !dialect.is_rest() => Exact,
        (Uuid, NotEqual) if !dialect.is_rest() => Superset,
        (Uuid, Equal | NotEqual) => None(Reason::NoGuid),
        (Uuid, Range) => None(Reason::NoOrder),
        (Text, Equal | Match | MatchAnyCase) => Superset,
        (Text, NotEqual | Range) => None(Reason::Collation),
        (Text, IsNull | IsNotNull) if dialect == Dialect::Dac => Superset,
        (Text, IsNull | IsNotNull) => None(Reason::MaybeLabel),
        (_, IsNull | IsNotNull) => Exact,
        (_, Match | MatchAnyCase) => None(Reason::NoMatch),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DIALECTS: [(&str, Dialect); 5] = [
        ("contract 4", Dialect::Contract4),
        ("contract 5", Dialect::Contract5),
        ("GI v3", Dialect::GiV3),
        ("GI v4", Dialect::GiV4),
        ("DAC", Dialect::Dac),
    ];
    const KINDS: [(&str, TypeCategory); 7] = [
        ("smallint, integer, bigint", TypeCategory::Integer),
        ("numeric", TypeCategory::Decimal),
        ("real, double precision", TypeCategory::Float),
        ("boolean", TypeCategory::Bool),
        ("text, varchar, char", TypeCategory::Text),
        ("date, timestamp, timestamptz", TypeCategory::Moment),
        ("uuid", TypeCategory::Uuid),
    ];
    const OPERATORS: [(&str, Operator); 7] = [
        ("`=`, `IN`", Operator::Equal),
        ("`<>`, `NOT IN`", Operator::NotEqual),
        ("`<` `<=` `>` `>=`, `BETWEEN`", Operator::Range),
        ("`IS NULL`", Operator::IsNull),
        ("`IS NOT NULL`", Operator::IsNotNull),
        ("`LIKE`, `starts_with`, `strpos`", Operator::Match),
        ("`ILIKE`, `lower(…) =`", Operator::MatchAnyCase),
    ];

    /// The table as the documentation shows it.
    fn page() -> String {
        let mut reasons: Vec<Reason> = Vec::new();
        let mut text = String::from("| type | condition |");
        text.extend(DIALECTS.map(|(name, _)| format!(" {name} |")));
        text.push_str(&format!("\n{}|\n", "|---".repeat(DIALECTS.len() + 2)));
        for (types, kind) in KINDS {
            for (condition, operator) in OPERATORS {
                let classes = DIALECTS.map(|(_, dialect)| class(dialect, kind, operator));
                if classes == [Class::None(Reason::NoMatch); 5] {
                    continue;
                }
                text.push_str(&format!("| {types} | {condition} |"));
                for class in classes {
                    let cell = match class {
                        Class::Exact => "exact".to_owned(),
                        Class::Superset => "superset".to_owned(),
                        Class::None(why) => {
                            let known = reasons.iter().position(|reason| *reason == why);
                            let number = known.unwrap_or_else(|| {
                                reasons.push(why);
                                reasons.len() - 1
                            });
                            format!("– ({})", number + 1)
                        }
                    };
                    text.push_str(&format!(" {cell} |"));
                }
                text.push('\n');
            }
        }
        text.push('\n');
        for (number, reason) in reasons.iter().enumerate() {
            text.push_str(&format!("{}. {reason}\n", number + 1));
        }
        text
    }

    /// `ACCEPT=1 cargo test -p acumatica-pushdown documentation` writes it anew.
    #[test]
    fn the_documentation_shows_the_table() {
        const MARKS: [&str; 2] = ["<!-- table: written by class.rs -->\n", "<!-- end of table -->\n"];
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/pushdown.md");
        let old = std::fs::read_to_string(path).unwrap();
        let (before, rest) = old.split_once(MARKS[0]).unwrap();
        let (_, after) = rest.split_once(MARKS[1]).unwrap();
        let new = format!("{before}{}{}{}{after}", MARKS[0], page(), MARKS[1]);
        if std::env::var("ACCEPT").is_ok_and(|accept| accept == "1") {
            std::fs::write(path, &new).unwrap();
        }
        assert_eq!(old, new, "docs/pushdown.md is out of date");
    }

    #[test]
    fn no_condition_on_text_is_exact_and_none_that_orders_it_is_sent() {
        for (_, dialect) in DIALECTS {
            for (_, operator) in OPERATORS {
                assert_ne!(class(dialect, TypeCategory::Text, operator), Class::Exact);
            }
            assert_eq!(class(dialect, TypeCategory::Text, Operator::Range), Class::None(Reason::Collation));
            assert_eq!(
                class(dialect, TypeCategory::Text, Operator::NotEqual),
                Class::None(Reason::Collation)
            );
        }
    }

    #[test]
    fn what_the_server_holds_otherwise_is_not_asked_about() {
        for ty in [ColumnType::Bytes, ColumnType::Interval, ColumnType::Json] {
            assert_eq!(TypeCategory::of(ty), None);
        }
    }

    #[test]
    fn not_equal_is_never_exact_where_a_field_may_have_no_value() {
        for (_, dialect) in DIALECTS {
            for kind in [TypeCategory::Integer, TypeCategory::Decimal, TypeCategory::Uuid] {
                assert_ne!(class(dialect, kind, Operator::NotEqual), Class::Exact);
            }
        }
    }
}

//! `$filter`: text to tokens, tokens to a tree, the tree bound to columns, and its evaluation on rows.

pub mod eval;
pub mod lexer;
pub mod parser;

/// The dialects of `$filter` (docs/acumatica.md §2 and §3). They differ in literals and functions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dialect {
    /// REST up to Default/25: OData v3 style.
    Contract4,
    /// REST from Default/26: OData 4.01 style.
    Contract5,
    /// Generic inquiries before 2024 R2.
    GiV3,
    GiV4,
    Dac,
}

impl Dialect {
    /// `datetime'…'`, `guid'…'`, `0M`, `substringof`.
    pub fn is_v3(self) -> bool {
        matches!(self, Dialect::Contract4 | Dialect::GiV3)
    }

    pub fn has_function(self, name: &str) -> bool {
        match name {
            "startswith" | "endswith" => true,
            "substringof" => self.is_v3(),
            "contains" => !self.is_v3(),
            // In contract 4 these are answered with 500 (docs/acumatica.md §2).
            "tolower" | "toupper" => self != Dialect::Contract4,
            _ => false,
        }
    }

    pub fn has_in(self) -> bool {
        matches!(self, Dialect::Contract5 | Dialect::Dac | Dialect::GiV4)
    }
}

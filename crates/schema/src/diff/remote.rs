//! What tables and columns hold, which makes them the same whatever their names.

use super::{Existing, ExistingColumn};
use crate::ColumnDef;

/// What a column holds, which makes it the same column whatever its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Remote<'a> {
    Field(&'a str),
    Parameter(&'a str),
    Custom(&'a str),
}

impl<'a> Remote<'a> {
    fn new(name: &'a str, option: impl Fn(&str) -> Option<&'a str>) -> Self {
        let field = option("field").unwrap_or(name);
        match (option("custom"), option("parameter")) {
            (Some(custom), _) => Self::Custom(custom),
            (None, Some(_)) => Self::Parameter(field),
            (None, None) => Self::Field(field),
        }
    }

    pub(super) fn text(self) -> &'a str {
        match self {
            Self::Field(text) | Self::Parameter(text) | Self::Custom(text) => text,
        }
    }
}

impl std::fmt::Display for Remote<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let what = match self {
            Self::Field(_) => "field",
            Self::Parameter(_) => "parameter",
            Self::Custom(_) => "custom field",
        };
        write!(f, "{what} \"{}\"", self.text())
    }
}

impl Existing {
    pub(super) fn option(&self, name: &str) -> Option<&str> {
        find(&self.options, name)
    }

    pub(super) fn remote(&self) -> String {
        let names = ["entity", "inquiry", "detail"].into_iter().filter_map(|name| self.option(name));
        names.collect::<Vec<_>>().join("/")
    }
}

impl ExistingColumn {
    pub(super) fn option(&self, name: &str) -> Option<&str> {
        find(&self.options, name)
    }

    pub(super) fn remote(&self) -> Remote<'_> {
        Remote::new(&self.name, |name| self.option(name))
    }
}

impl ColumnDef {
    pub(super) fn option(&self, name: &str) -> Option<&str> {
        self.options.iter().find(|(option, _)| *option == name).map(|(_, value)| value.as_str())
    }

    pub(super) fn remote(&self) -> Remote<'_> {
        Remote::new(&self.name, |name| self.option(name))
    }
}

fn find<'a>(options: &'a [(String, String)], name: &str) -> Option<&'a str> {
    options.iter().find(|(option, _)| option == name).map(|(_, value)| value.as_str())
}

//! Where a column gets its values from.

/// The remote side of a column.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Origin {
    /// An absolute path.
    Field(String),
    Parameter {
        name: String,
        required: bool,
    },
    /// View and name.
    Custom(String),
}

impl Origin {
    /// The part that no other column of the table shares.
    pub(crate) fn text(&self) -> &str {
        match self {
            Self::Field(text) | Self::Parameter { name: text, .. } | Self::Custom(text) => text,
        }
    }
}

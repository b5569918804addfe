//! The options of one catalog object, with aliases resolved and values normalised.

use std::collections::BTreeMap;
use std::str::FromStr;

use pgrx::prelude::*;

use super::definition::{Definition, Object, ValueType, invalid};
use super::list::{OPTIONS, find};
use crate::backend::error::Refusal;

/// The valid options of one object, by their names.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Options(pub(super) BTreeMap<&'static str, String>);

/// Leaves out secrets.
impl std::fmt::Debug for Options {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let is_secret = |name: &str| OPTIONS.iter().any(|option| option.name == name && option.secret);
        f.debug_map().entries(self.0.iter().filter(|(name, _)| !is_secret(name))).finish()
    }
}

/// The default of an option.
fn default(name: &str) -> Option<&'static str> {
    OPTIONS.iter().find(|option| option.name == name)?.default
}

/// Options of several objects, each before those that it falls back to: of a column, its table and the server, or of a
/// table and the server. Nothing else applies the fall-back.
#[derive(Clone, Copy)]
pub struct Layers<'a>(pub &'a [&'a Options]);

impl<'a> Layers<'a> {
    /// The option's value in the first object that has it.
    pub fn given(&self, name: &str) -> Option<&'a str> {
        self.0.iter().find_map(|options| options.get(name))
    }

    /// As [`Layers::given`], else the option's default.
    pub fn get(&self, name: &str) -> Option<&'a str> {
        self.given(name).or_else(|| default(name))
    }

    /// As [`Layers::get`], owned.
    pub fn text(&self, name: &str) -> Option<String> {
        self.get(name).map(str::to_owned)
    }

    /// Whether a boolean option is true.
    pub fn is(&self, name: &str) -> bool {
        self.get(name) == Some("true")
    }

    /// The value of a number option that has a default.
    pub fn number<T: FromStr>(&self, name: &str) -> T {
        self.number_if_any(name).unwrap_or_else(|| unreachable!("option \"{name}\" has a default"))
    }

    /// The value of a number option that has no default, if it is set.
    pub fn number_if_any<T: FromStr>(&self, name: &str) -> Option<T> {
        let text = self.get(name)?;
        Some(text.parse().unwrap_or_else(|_| unreachable!("option \"{name}\" has the number \"{text}\"")))
    }
}

impl Options {
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str)
    }

    /// The option's value, else its default.
    pub fn get_or_default(&self, name: &str) -> &str {
        self.get(name).or_else(|| default(name)).unwrap_or_default()
    }

    /// Whether an option names a file, which can change while the options do not.
    pub fn has_file(&self) -> bool {
        let is_file = |option: &&Definition| matches!(option.kind, ValueType::File(_));
        OPTIONS.iter().filter(is_file).any(|option| self.get(option.name).is_some())
    }

    pub fn into_pairs(self) -> Vec<(String, String)> {
        self.0.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
    }

    /// Looks each option up and normalises its value. The options are not checked together.
    pub(super) fn gather(
        object: Object,
        given: impl IntoIterator<Item = (String, String)>,
    ) -> Result<Self, Refusal> {
        let mut options = Self::default();
        for (name, value) in given {
            options.add(object, &name, value)?;
        }
        Ok(options)
    }

    fn add(&mut self, object: Object, name: &str, value: String) -> Result<(), Refusal> {
        let option = find(object, name)?;
        if let ValueType::Properties = option.kind {
            for property in value.split(';').filter(|property| !property.trim().is_empty()) {
                let Some((name, value)) = property.split_once('=') else {
                    return Err(invalid(option, "", "It must read name=value;name=value."));
                };
                if name.trim() == option.name {
                    return Err(invalid(option, "", "It cannot hold itself."));
                }
                self.add(object, name.trim(), value.trim().to_owned())?;
            }
        }
        let value = option.normalise(value)?;
        if self.0.insert(option.name, value).is_some() {
            let refusal = Refusal::new(
                PgSqlErrorCode::ERRCODE_DUPLICATE_OBJECT,
                format!("option \"{}\" is given more than once", option.name),
            )
            .hint("Give it once.");
            return Err(match option.aliases {
                [] => refusal,
                aliases => {
                    refusal.detail(format!("\"{}\" is another name for it.", aliases.join("\" and \"")))
                }
            });
        }
        Ok(())
    }
}

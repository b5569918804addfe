//! What annotations say. They stand in what they are about, or elsewhere with its name as their target.

/// The annotations that matter.
#[derive(Clone, Copy)]
pub(super) enum Term {
    Description,
    OptionalParameter,
    FilterRestrictions,
    /// Parts of [`Term::FilterRestrictions`].
    NonFilterableProperties,
    Filterable,
}

/// What is said of a type, a set, a property or a parameter.
#[derive(Default)]
pub(super) struct Notes {
    pub title: Option<Box<str>>,
    /// Names of properties.
    pub not_filterable: Vec<Box<str>>,
    /// Nothing can be filtered by.
    pub nothing_filterable: bool,
    pub optional: bool,
}

impl Notes {
    /// What is there already counts.
    pub(super) fn add(&mut self, other: &Notes) {
        self.title = self.title.take().or_else(|| other.title.clone());
        self.not_filterable.extend(other.not_filterable.iter().cloned());
        self.nothing_filterable |= other.nothing_filterable;
        self.optional |= other.optional;
    }
}

/// The annotation that a document calls so.
pub(super) fn term(name: &str) -> Option<Term> {
    let (namespace, name) = name.rsplit_once('.')?;
    // A document can call a vocabulary as it likes, but not with a dot in it.
    let is = |vocabulary| namespace == vocabulary || !namespace.contains('.');
    match name {
        "Description" if is("Org.OData.Core.V1") => Some(Term::Description),
        "OptionalParameter" if is("Org.OData.Core.V1") => Some(Term::OptionalParameter),
        "FilterRestrictions" if is("Org.OData.Capabilities.V1") => Some(Term::FilterRestrictions),
        _ => None,
    }
}

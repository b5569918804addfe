//! Annotations. They stand inside the element that they are about, or elsewhere with the name of that element as
//! target.

/// The annotations that are used.
#[derive(Clone, Copy)]
pub(super) enum Term {
    Description,
    OptionalParameter,
    FilterRestrictions,
    /// Members of the record of [`Term::FilterRestrictions`].
    NonFilterableProperties,
    Filterable,
}

/// What the annotations say about a type, a set, a property or a parameter.
#[derive(Default)]
pub(super) struct Notes {
    pub title: Option<Box<str>>,
    /// Names of properties.
    pub not_filterable: Vec<Box<str>>,
    /// No property can stand in `$filter`.
    pub nothing_filterable: bool,
    pub optional: bool,
}

impl Notes {
    /// Adds what the other notes say. What is there already is kept.
    pub(super) fn add(&mut self, other: &Notes) {
        self.title = self.title.take().or_else(|| other.title.clone());
        self.not_filterable.extend(other.not_filterable.iter().cloned());
        self.nothing_filterable |= other.nothing_filterable;
        self.optional |= other.optional;
    }
}

/// The annotation of this name.
pub(super) fn term(name: &str) -> Option<Term> {
    let (namespace, name) = name.rsplit_once('.')?;
    // A document can give a vocabulary any alias that has no dot.
    let is = |vocabulary| namespace == vocabulary || !namespace.contains('.');
    match name {
        "Description" if is("Org.OData.Core.V1") => Some(Term::Description),
        "OptionalParameter" if is("Org.OData.Core.V1") => Some(Term::OptionalParameter),
        "FilterRestrictions" if is("Org.OData.Capabilities.V1") => Some(Term::FilterRestrictions),
        _ => None,
    }
}

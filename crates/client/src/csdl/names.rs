//! The sets that there are, with all their names and the parameters that they are read with.

use std::cmp::Reverse;
use std::collections::{BTreeMap, HashMap, HashSet};

use super::document::{Document, FUNCTION, Field, Function, Set, inquiry};
use super::{Faults, Index, short, shown};

/// A set that is to be.
pub(super) struct Group<'a> {
    /// The first one is the longest.
    pub names: Vec<&'a str>,
    pub sets: Vec<&'a Set>,
    pub ty: Option<usize>,
    /// With whether they are required.
    pub parameters: Vec<(&'a Field, bool)>,
}

/// The sets in the order of the document.
pub(super) fn groups<'a>(
    document: &'a Document,
    types: &Index,
    wanted: &(dyn Fn(&str) -> bool + Sync),
    faults: &mut Faults,
) -> Vec<Group<'a>> {
    let mut groups = joined(document, types);
    add_parameters(&mut groups, document, types, wanted, faults);
    add_short_names(&mut groups);
    groups
}

/// The sets, those with a long and a short name for the same type joined.
///
/// Two inquiries can have one type, too, since spaces and hyphens are missing in its name: that two sets
/// have one is not enough.
fn joined<'a>(document: &'a Document, types: &Index) -> Vec<Group<'a>> {
    let mut sets: HashMap<&str, (usize, Option<usize>)> = HashMap::new();
    for (at, set) in document.sets.iter().enumerate() {
        sets.entry(&set.name).or_insert_with(|| (at, types.find(&set.type_name)));
    }
    let mut order: Vec<(usize, Option<usize>)> = sets.values().copied().collect();
    // The longest name of a type comes first, and takes in the others.
    order.sort_by_key(|&(at, _)| (Reverse(document.sets[at].name.len()), at));
    let mut taken = vec![false; document.sets.len()];
    let mut groups = Vec::new();
    for (at, ty) in order {
        if std::mem::replace(&mut taken[at], true) {
            continue;
        }
        let tails = tails_of(&document.sets[at].name).filter_map(|tail| sets.get(tail));
        let same = tails.filter(|(_, other)| ty.is_some() && *other == ty).map(|&(at, _)| at);
        let mut all = vec![at];
        all.extend(same.filter(|&other| !std::mem::replace(&mut taken[other], true)));
        let first = all.iter().min().copied();
        let sets: Vec<&Set> = all.into_iter().map(|at| &document.sets[at]).collect();
        let names = sets.iter().map(|set| &*set.name).collect();
        groups.push((first, Group { names, sets, ty, parameters: Vec::new() }));
    }
    groups.sort_by_key(|&(first, _)| first);
    groups.into_iter().map(|(_, group)| group).collect()
}

/// Gives the parameters of functions to the sets that they belong to.
fn add_parameters<'a>(
    groups: &mut Vec<Group<'a>>,
    document: &'a Document,
    types: &Index,
    wanted: &(dyn Fn(&str) -> bool + Sync),
    faults: &mut Faults,
) {
    // An import has the name that is called; its function can have another one.
    let mut imports: HashMap<&str, &str> = HashMap::new();
    for import in &document.functions {
        if let Some(function) = import.imports.as_deref().and_then(|name| inquiry(short(name))) {
            imports.entry(function).or_insert(&import.name);
        }
    }
    let mut functions: BTreeMap<&str, Vec<&Function>> = BTreeMap::new();
    for function in document.functions.iter().filter(|function| function.imports.is_none()) {
        let name = imports.get(&*function.name).copied().unwrap_or(&function.name);
        functions.entry(name).or_default().push(function);
    }
    let mut places: HashMap<String, usize> = HashMap::new();
    for (at, group) in groups.iter().enumerate() {
        for name in &group.names {
            places.entry(name.to_lowercase()).or_insert(at);
        }
    }
    let with_set: HashSet<usize> = groups.iter().filter_map(|group| group.ty).collect();
    for (name, overloads) in functions {
        let parameters = parameters(&overloads);
        if parameters.is_empty() {
            continue;
        }
        if let Some(&at) = places.get(&name.to_lowercase()) {
            groups[at].parameters = parameters;
            continue;
        }
        let ty = overloads.iter().find_map(|function| types.find(function.returns.as_deref()?));
        match ty.filter(|ty| !with_set.contains(ty)) {
            Some(ty) => groups.push(Group { names: vec![name], sets: Vec::new(), ty: Some(ty), parameters }),
            None if wanted(name) => faults.add(|| {
                format!("the function \"{}{FUNCTION}\" is left out: it belongs to no set", shown(name))
            }),
            None => {}
        }
    }
}

/// The parameters of functions that differ in nothing else; required is what all of them require.
fn parameters<'a>(overloads: &[&'a Function]) -> Vec<(&'a Field, bool)> {
    let mut parameters: Vec<(&Field, usize)> = Vec::new();
    let mut places: HashMap<&str, usize> = HashMap::new();
    for parameter in overloads.iter().flat_map(|function| &function.parameters) {
        let place = *places.entry(&parameter.name).or_insert(parameters.len());
        if place == parameters.len() {
            parameters.push((parameter, 0));
        }
        parameters[place].1 += usize::from(!parameter.notes.optional);
    }
    parameters.into_iter().map(|(parameter, count)| (parameter, count >= overloads.len())).collect()
}

/// Adds what is behind the last `_` or `.` of a name, unless that says more than one set.
fn add_short_names(groups: &mut [Group<'_>]) {
    let short = |name| tails_of(name).next().filter(|tail| tail.starts_with(char::is_alphabetic));
    let mut uses: HashMap<String, usize> = HashMap::new();
    for group in &*groups {
        let names = group.names.iter().copied().chain(short(group.names[0]));
        let own: HashSet<String> = names.map(str::to_lowercase).collect();
        own.into_iter().for_each(|name| *uses.entry(name).or_default() += 1);
    }
    for group in groups {
        let tail = short(group.names[0]).filter(|tail| !group.names.contains(tail));
        group.names.extend(tail.filter(|tail| uses.get(&tail.to_lowercase()) == Some(&1)));
    }
}

/// What is behind the last few `_` and `.` of a name, the longest at the end.
fn tails_of(name: &str) -> impl Iterator<Item = &str> {
    name.rmatch_indices(['_', '.']).take(8).map(|(at, _)| &name[at + 1..])
}

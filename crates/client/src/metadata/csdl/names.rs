//! The sets of a document with all their names and parameters.

use std::cmp::Reverse;
use std::collections::{HashMap, HashSet};

use super::document::{Document, FUNCTION, Function, Set, Typed, before_suffix, tails};
use super::{Faults, Index, items, short, shown};

/// A set under construction.
pub(super) struct Group<'a> {
    /// The names of the set: that of the class first, else the longest.
    pub names: Vec<&'a str>,
    /// The class without its namespace, if it is one.
    pub class: Option<&'a str>,
    pub sets: Vec<&'a Set>,
    pub ty: Option<usize>,
    /// The parameters, and whether they are required.
    pub parameters: Vec<(&'a Typed, bool)>,
    /// The function that takes the parameters, if there are any and no other inquiry has a function of this name.
    pub function: Option<String>,
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

/// The sets, with the sets of one class joined to one. One of these has the full name of the type, such as
/// `PX_Objects_SO_SOOrder`; each other set of the type is an alias, which may have the name of another class
/// (docs/acumatica.md section 3). If no set has the full name, a long and a short name of one type are joined.
///
/// Two inquiries can have the same type, too, since its name leaves out spaces and hyphens: that two sets have one type
/// is not enough.
fn joined<'a>(document: &'a Document, types: &Index) -> Vec<Group<'a>> {
    let mut sets: HashMap<&str, (usize, Option<usize>)> = HashMap::new();
    for (at, set) in document.sets.iter().enumerate() {
        sets.entry(&set.name).or_insert_with(|| (at, types.find(&set.type_name)));
    }
    let mut taken = vec![false; document.sets.len()];
    let mut groups = classes(document, &sets, &mut taken);
    let mut order: Vec<(usize, Option<usize>)> = sets.values().copied().collect();
    // The set with the longest name of a type comes first, and takes the names of the others.
    order.sort_by_key(|&(at, _)| (Reverse(document.sets[at].name.len()), at));
    for (at, ty) in order {
        if std::mem::replace(&mut taken[at], true) {
            continue;
        }
        let tails = tails_of(&document.sets[at].name).filter_map(|tail| sets.get(tail));
        let same = tails.filter(|(_, other)| ty.is_some() && *other == ty).map(|&(at, _)| at);
        let mut all = vec![at];
        all.extend(same.filter(|&other| !std::mem::replace(&mut taken[other], true)));
        groups.push((all.iter().min().copied(), Group::new(document, all, ty, None)));
    }
    groups.sort_by_key(|&(first, _)| first);
    groups.into_iter().map(|(_, group)| group).collect()
}

/// The classes among the sets, each with all its names, by the index of its first set.
fn classes<'a>(
    document: &'a Document,
    sets: &HashMap<&str, (usize, Option<usize>)>,
    taken: &mut [bool],
) -> Vec<(Option<usize>, Group<'a>)> {
    let mut all: Vec<(usize, usize)> = sets.values().filter_map(|&(at, ty)| Some((at, ty?))).collect();
    all.sort_unstable();
    // A setup class is one object. Whether a class may have both an object and a list is unknown.
    let key = |at: usize, ty| (ty, document.sets[at].singleton);
    let is_full = |&(at, ty): &(usize, usize)| {
        let (set, class) = (&document.sets[at].name, &document.types[ty].name);
        class.contains('.') && set.len() == class.len() && **set == class.replace('.', "_")
    };
    let mut classes: HashMap<(usize, bool), Vec<usize>> =
        all.iter().filter(|set| is_full(set)).map(|&(at, ty)| (key(at, ty), vec![at])).collect();
    for &(at, ty) in &all {
        if let Some(names) = classes.get_mut(&key(at, ty)) {
            taken[at] = true;
            if names[0] != at {
                names.push(at);
            }
        }
    }
    let group = |((ty, _), all): ((usize, bool), Vec<usize>)| {
        let class = short(&document.types[ty].name);
        (all.iter().min().copied(), Group::new(document, all, Some(ty), Some(class)))
    };
    classes.into_iter().map(group).collect()
}

impl<'a> Group<'a> {
    fn new(document: &'a Document, all: Vec<usize>, ty: Option<usize>, class: Option<&'a str>) -> Self {
        let sets: Vec<&Set> = all.into_iter().map(|at| &document.sets[at]).collect();
        let names = sets.iter().map(|set| &*set.name).collect();
        Self { names, class, sets, ty, parameters: Vec::new(), function: None }
    }
}

/// Assigns the parameters and the name of each function to the sets that it belongs to.
fn add_parameters<'a>(
    groups: &mut Vec<Group<'a>>,
    document: &'a Document,
    types: &Index,
    wanted: &(dyn Fn(&str) -> bool + Sync),
    faults: &mut Faults,
) {
    let mut places = Places::new(groups);
    for call in calls(document) {
        let parameters = parameters(&call.overloads);
        if parameters.is_empty() {
            continue;
        }
        let returns = call.overloads.iter().find_map(|function| function.returns.as_deref());
        let ty = call.import.returns.as_deref().or(returns).and_then(|name| types.find(name));
        let mut found = places.of(&call, ty.map(|ty| (ty, short(&document.types[ty].name))));
        if found.is_empty()
            && let (Some(name), Some(ty)) = (before_suffix(&call.import.name), ty)
            && !places.by_type.contains_key(&ty)
        {
            // An inquiry without a set can only be called.
            let (names, sets) = (vec![name], Vec::new());
            let (class, parameters, function) = (None, Vec::new(), None);
            let group = Group { names, class, sets, ty: Some(ty), parameters, function };
            found = vec![groups.len()];
            places.add(groups.len(), &group);
            groups.push(group);
        }
        if found.is_empty() && before_suffix(&call.import.name).is_some_and(wanted) {
            let name = shown(&call.import.name);
            faults.add(|| format!("the function \"{name}\" is left out: it belongs to no set"));
        }
        let is_sure = found.len() == 1;
        for at in found {
            if groups[at].parameters.is_empty() {
                groups[at].parameters = parameters.clone();
                groups[at].function = Some(call.name()).filter(|_| is_sure);
            }
        }
    }
    leave_out_shared(groups, faults);
}

/// Leaves out a name that belongs to the functions of two inquiries, since it is not known which one it calls.
fn leave_out_shared(groups: &mut [Group<'_>], faults: &mut Faults) {
    let mut uses: HashMap<String, usize> = HashMap::new();
    for name in groups.iter().filter_map(|group| group.function.as_ref()) {
        *uses.entry(name.to_lowercase()).or_default() += 1;
    }
    for group in groups.iter_mut().filter(|group| !group.parameters.is_empty()) {
        let is_own = group.function.as_ref().is_some_and(|name| uses.get(&name.to_lowercase()) == Some(&1));
        if !is_own {
            group.function = None;
            let name = shown(group.names[0]);
            faults.add(|| {
                format!("\"{name}\" cannot be called: the name of its function is that of another one, too")
            });
        }
    }
}

/// A name that can be called, and the functions that it stands for.
struct Call<'a> {
    import: &'a Function,
    overloads: Vec<&'a Function>,
}

impl Call<'_> {
    /// The name that requests call. A function without an import can only be called by its own name.
    fn name(&self) -> String {
        let Function { name, returns, import, .. } = self.import;
        match (import, before_suffix(name), returns.as_deref()) {
            (None, None, Some(returns)) => format!("{}{FUNCTION}", short(items(returns).unwrap_or(returns))),
            _ => name.to_string(),
        }
    }
}

/// The calls, those with the usual suffix first; each function once.
fn calls(document: &Document) -> Vec<Call<'_>> {
    let mut functions: HashMap<&str, Vec<&Function>> = HashMap::new();
    for function in document.functions.iter().filter(|function| function.import.is_none()) {
        functions.entry(&function.name).or_default().push(function);
    }
    let mut imports: Vec<&Function> = document.functions.iter().filter(|it| it.import.is_some()).collect();
    imports.sort_by_key(|import| before_suffix(&import.name).is_none());
    let mut imported: HashSet<&str> = HashSet::new();
    let mut calls = Vec::new();
    for import in imports {
        let overloads = match import.import.as_ref().and_then(|import| import.function.as_deref()) {
            None => vec![import],
            Some(name) => match tails(name).find(|name| functions.contains_key(name)) {
                Some(name) if imported.insert(name) => functions[name].clone(),
                _ => continue,
            },
        };
        calls.push(Call { import, overloads });
    }
    let mut alone: Vec<&str> = functions.keys().copied().filter(|name| !imported.contains(name)).collect();
    alone.sort_unstable();
    calls.extend(alone.into_iter().map(|name| {
        let overloads = functions.remove(name).unwrap_or_default();
        Call { import: overloads[0], overloads }
    }));
    calls.sort_by_key(|call| before_suffix(&call.import.name).is_none());
    calls
}

/// Finds groups by the names of their sets.
struct Places<'a> {
    by_name: HashMap<&'a str, usize>,
    /// Without regard to case.
    by_loose_name: HashMap<String, usize>,
    by_type: HashMap<usize, Vec<usize>>,
}

impl<'a> Places<'a> {
    fn new(groups: &[Group<'a>]) -> Self {
        let (by_name, by_loose_name, by_type) = Default::default();
        let mut places = Self { by_name, by_loose_name, by_type };
        groups.iter().enumerate().for_each(|(at, group)| places.add(at, group));
        places
    }

    fn add(&mut self, at: usize, group: &Group<'a>) {
        for name in &group.names {
            self.by_name.entry(name).or_insert(at);
            self.by_loose_name.entry(name.to_lowercase()).or_insert(at);
        }
        if let Some(ty) = group.ty {
            self.by_type.entry(ty).or_default().push(at);
        }
    }

    fn named(&self, name: &str) -> Option<usize> {
        self.by_name.get(name).or_else(|| self.by_loose_name.get(&name.to_lowercase())).copied()
    }

    /// The groups that a call may belong to: the set that it names; else the set that has its name; else all sets of
    /// the type that has its name.
    fn of(&self, call: &Call<'_>, ty: Option<(usize, &str)>) -> Vec<usize> {
        let Function { name, import, .. } = call.import;
        let set = import.as_ref().and_then(|import| import.set.as_deref());
        let set = set.and_then(|set| self.named(set).or_else(|| self.named(set.rsplit('/').next()?)));
        let stem = before_suffix(name);
        let own = || call.overloads.iter().find_map(|function| self.named(&function.name));
        let of_type = || match (stem, ty) {
            (Some(stem), Some((ty, name))) if stem.eq_ignore_ascii_case(name) => {
                self.by_type.get(&ty).cloned().unwrap_or_default()
            }
            _ => Vec::new(),
        };
        let one = set.or_else(own).or_else(|| self.named(stem?));
        one.map_or_else(of_type, |at| vec![at])
    }
}

/// The parameters of overloads. A parameter is required if all overloads require it.
fn parameters<'a>(overloads: &[&'a Function]) -> Vec<(&'a Typed, bool)> {
    let mut parameters: Vec<(&Typed, usize)> = Vec::new();
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

/// Adds what follows the last `_` or `.` of a name as a short name, unless several sets would have it.
fn add_short_names(groups: &mut [Group<'_>]) {
    let short = |name| tails_of(name).next().filter(|tail| tail.starts_with(char::is_alphabetic));
    let mut uses: HashMap<String, usize> = HashMap::new();
    for group in &*groups {
        let names = group.names.iter().copied().chain(group.class).chain(short(group.names[0]));
        let own: HashSet<String> = names.map(str::to_lowercase).collect();
        own.into_iter().for_each(|name| *uses.entry(name).or_default() += 1);
    }
    for group in groups {
        let tail = group.class.or_else(|| short(group.names[0]));
        let tail = tail.filter(|tail| !group.names.contains(tail));
        group.names.extend(tail.filter(|tail| uses.get(&tail.to_lowercase()) == Some(&1)));
    }
}

/// What follows the last `_` or `.` of a name, then the one before it, and so on: the longest comes last.
fn tails_of(name: &str) -> impl Iterator<Item = &str> {
    name.rmatch_indices(['_', '.']).take(8).map(|(at, _)| &name[at + 1..])
}

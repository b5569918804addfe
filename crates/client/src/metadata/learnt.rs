//! The memory of a server: the conditions that it refuses, the fields that it does not send, the answers that are not
//! to be trusted. One backend writes an entry, all backends of the user mapping read it, and it expires.
//!
//! The code that reads an entry must be right without it, only slower. It must also be right with an entry that is out
//! of date, until that expires. Nothing here fails: a file that cannot be read is an empty memory, and what cannot be
//! written is known to this process only.
//!
//! A look-up costs one `stat`: the file is read again only when it was replaced. It is replaced by renaming, so no lock
//! is needed to read it.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::instance::InstanceUrl;
use crate::lock;
use crate::request::{Surface, Target};
use crate::session::files::Stamp;
use crate::session::store::{Millis, Store, now};

/// The most entries for one user mapping. A scan needs at most one for each column of a table. Entries that expire
/// first are removed first.
const MOST_ENTRIES: usize = 4_000;
/// The most bytes of all names and values together.
const MOST_BYTES: usize = 512 * 1024;
/// An entry is written again, to extend its life, only once this part of its life is over. Otherwise each scan would
/// write.
const RENEWAL: u64 = 8;

/// What an entry is about. Each topic has its own life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Topic {
    /// A field that the server could not filter by: ten minutes. The server may have been overloaded, or a formula may
    /// be corrected soon. Until then the scan is slower, not wrong.
    Filter,
    /// An order that the server refused: ten minutes. The name is that of its fields, or of the whole request if that
    /// has conditions.
    Order,
    /// A key from which on the server refused to begin a page, by the names of its fields: ten minutes.
    Keyset,
    /// A count, or a skip of rows, that the server refused with these conditions and in this order: ten minutes.
    Whole,
    /// A field that the server refuses in `$select` and that no row has, or [`Topic::ALL`] if the server refuses
    /// `$select` as a whole: ten minutes. Rights and features, which decide this, change rarely.
    Select,
    /// A field that the definition has and no row had: a day. The entry only saves a request for the definition;
    /// whether the field is NULL is decided by the rows.
    Absent,
    /// That the server finds a row by conditions of this shape: a day. It depends on the form, which changes with a
    /// release.
    Witness,
    /// Fields, or a shape of conditions, by which the server did not find a row that exists: an hour, since a row that
    /// was deleted meanwhile has the same effect.
    Doubt,
    /// How long the server takes for a request and for a row of a table: a day. See `speed.rs`.
    Speed,
    /// The number of rows of a table, by what restricts it: a week. Planners use it only if nothing else tells.
    Rows,
    /// How many rows the server has counted for a planner, by a hash of the request: ten minutes.
    Estimate,
    /// A field that the server compares with a list of values by `in` as it does by `eq`: a day. It depends on the release.
    List,
    /// A field for which it does not, or was not seen to: an hour, since rows that changed meanwhile look the same.
    NoList,
    /// The server refuses long addresses: a day. It is a setting of the site.
    Short,
    /// What the definition of an inquiry says about reading it: ten minutes, since inquiries are changed while people
    /// use them. An inquiry that gets parameters is read as if it had none until then.
    Definition,
}

impl Topic {
    /// Stands in place of a name for all fields.
    pub const ALL: &'static str = "*";

    fn name(self) -> &'static str {
        match self {
            Self::Filter => "filter",
            Self::Order => "order",
            Self::Keyset => "keyset",
            Self::Whole => "whole",
            Self::Select => "select",
            Self::Absent => "absent",
            Self::Witness => "witness",
            Self::Doubt => "doubt",
            Self::Speed => "speed",
            Self::Rows => "rows",
            Self::Estimate => "estimate",
            Self::List => "list",
            Self::NoList => "no list",
            Self::Short => "short",
            Self::Definition => "definition",
        }
    }

    fn life(self) -> Duration {
        const MINUTE: u64 = 60;
        Duration::from_secs(match self {
            Self::Filter
            | Self::Order
            | Self::Keyset
            | Self::Whole
            | Self::Select
            | Self::Estimate
            | Self::Definition => 10 * MINUTE,
            Self::Absent | Self::Witness | Self::Speed | Self::List | Self::Short => 24 * 60 * MINUTE,
            Self::Rows => 7 * 24 * 60 * MINUTE,
            Self::Doubt | Self::NoList => 60 * MINUTE,
        })
    }
}

/// The name of a table of the server. Foreign tables that show the same entity, or a detail of it, share its entries.
pub(crate) fn place(target: &Target) -> String {
    let name = &target.name;
    match target.surface {
        Surface::Rest => {
            let version = target.endpoint_version.as_deref().unwrap_or_default();
            format!("rest {} {version} {name}", target.endpoint_name)
        }
        Surface::GenericInquiry => format!("gi {name}"),
        Surface::Dac => format!("dac {name}"),
    }
}

/// The site and tenant that entries are about.
pub(crate) fn site(instance: &InstanceUrl, company: Option<&str>) -> String {
    format!("{instance} {}", company.unwrap_or_default())
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Entry {
    until: Millis,
    value: String,
}

/// Entries by topic, place and name.
type Entries = BTreeMap<String, BTreeMap<String, BTreeMap<String, Entry>>>;

/// The content of the file.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
struct Memory {
    /// The site and tenant that the entries are about. A server can be given another address.
    of: String,
    entries: Entries,
}

/// What this process has read last.
#[derive(Debug, Default)]
struct Cached {
    stamp: Option<Stamp>,
    entries: Arc<Entries>,
}

/// What is known about a server, for one user mapping: what a user may see differs.
#[derive(Debug)]
pub(crate) struct Learnt {
    store: Arc<Store>,
    mapping: u32,
    of: String,
    cached: Mutex<Cached>,
}

impl Learnt {
    pub fn new(store: Arc<Store>, mapping: u32, of: String) -> Self {
        Self { store, mapping, of, cached: Mutex::default() }
    }

    /// What is known under a name.
    pub fn get(&self, topic: Topic, place: &str, name: &str) -> Option<String> {
        let entries = self.entries();
        let entry = entries.get(topic.name())?.get(place)?.get(name)?;
        (entry.until > now()).then(|| entry.value.clone())
    }

    /// The names that have an entry.
    pub fn names(&self, topic: Topic, place: &str) -> Vec<String> {
        let (entries, now) = (self.entries(), now());
        let known = entries.get(topic.name()).and_then(|places| places.get(place));
        let alive = known.into_iter().flatten().filter(|(_, entry)| entry.until > now);
        alive.map(|(name, _)| name.clone()).collect()
    }

    /// Remembers something under each of the names.
    pub fn add<N: AsRef<str>>(&self, topic: Topic, place: &str, names: &[N], value: &str) {
        let life = u64::try_from(topic.life().as_millis()).unwrap_or(Millis::MAX);
        let until = now() + life;
        let is_fresh = |name: &N| {
            let entries = self.entries();
            let entry = entries.get(topic.name()).and_then(|places| places.get(place)?.get(name.as_ref()));
            entry.is_some_and(|entry| entry.value == value && entry.until + life / RENEWAL > until)
        };
        let stale: Vec<&N> = names.iter().filter(|name| !is_fresh(name)).collect();
        if stale.is_empty() {
            return;
        }
        self.change(|entries| {
            let places = entries.entry(topic.name().to_owned()).or_default();
            let known = places.entry(place.to_owned()).or_default();
            for name in &stale {
                known.insert(name.as_ref().to_owned(), Entry { until, value: value.to_owned() });
            }
        });
    }

    /// Removes the entries of these names.
    pub fn forget<N: AsRef<str>>(&self, topic: Topic, place: &str, names: &[N]) {
        let known = self.entries();
        let known = known.get(topic.name()).and_then(|places| places.get(place));
        if !known.is_some_and(|known| names.iter().any(|name| known.contains_key(name.as_ref()))) {
            return;
        }
        self.change(|entries| {
            let known = entries.get_mut(topic.name()).and_then(|places| places.get_mut(place));
            if let Some(known) = known {
                known.retain(|known, _| !names.iter().any(|name| name.as_ref() == known));
            }
        });
    }

    fn entries(&self) -> Arc<Entries> {
        let mut known = lock(&self.cached);
        let stamp = self.store.learnt_stamp(self.mapping);
        // Without a file, the entries could not be written and are those of this process.
        if let Some(stamp) = stamp.filter(|stamp| known.stamp.as_ref() != Some(stamp)) {
            let memory = self.store.learnt::<Memory>(self.mapping).unwrap_or_default();
            let entries = if memory.of == self.of { memory.entries } else { Entries::default() };
            *known = Cached { stamp: Some(stamp), entries: Arc::new(entries) };
        }
        Arc::clone(&known.entries)
    }

    fn change(&self, change: impl FnOnce(&mut Entries)) {
        // Another backend may write at the same time. The later one must read what the earlier one has written.
        let _turn = self.store.hold_learnt(self.mapping);
        let mut entries = Entries::clone(&self.entries());
        change(&mut entries);
        bound(&mut entries);
        let memory = Memory { of: self.of.clone(), entries };
        self.store.save_learnt(self.mapping, &memory);
        let stamp = self.store.learnt_stamp(self.mapping);
        *lock(&self.cached) = Cached { stamp, entries: Arc::new(memory.entries) };
    }
}

/// Removes entries that have expired, then those that expire first, until the rest is small enough.
fn bound(entries: &mut Entries) {
    let now = now();
    let mut lives: Vec<(Millis, usize)> = Vec::new();
    for (topic, places) in entries.iter_mut() {
        for (place, names) in places.iter_mut() {
            names.retain(|_, entry| entry.until > now);
            let size = |name: &String, entry: &Entry| {
                topic.len() + place.len() + name.len() + entry.value.len() + 64
            };
            lives.extend(names.iter().map(|(name, entry)| (entry.until, size(name, entry))));
        }
    }
    lives.sort_unstable_by(|one, other| other.cmp(one));
    let mut bytes = 0;
    let room = lives.iter().take(MOST_ENTRIES).take_while(|(_, size)| {
        bytes += size;
        bytes <= MOST_BYTES
    });
    let kept = room.count();
    let oldest = lives.get(kept).map_or(0, |(until, _)| *until);
    // Entries that were written together expire together.
    let mut ties = lives[..kept].iter().filter(|(until, _)| *until == oldest).count();
    for places in entries.values_mut() {
        for names in places.values_mut() {
            names.retain(|_, entry| {
                let tied = entry.until == oldest && ties > 0;
                ties -= usize::from(tied);
                tied || entry.until > oldest
            });
        }
        places.retain(|_, names| !names.is_empty());
    }
    entries.retain(|_, places| !places.is_empty());
}

#[cfg(test)]
pub(crate) mod tests {
    use std::fs;
    use std::path::Path;

    use super::*;
    use crate::seal::Sealer;

    pub fn learnt(directory: &Path, of: &str) -> Learnt {
        let sealer = Arc::new(Sealer::open(&directory.join("key")).unwrap());
        Learnt::new(Store::open(&directory.join("1/2"), sealer).unwrap(), 7, of.to_owned())
    }

    #[test]
    fn what_one_learns_all_know() {
        let directory = tempfile::tempdir().unwrap();
        let (one, other) = (learnt(directory.path(), "a"), learnt(directory.path(), "a"));
        assert!(other.names(Topic::Filter, "x").is_empty());
        one.add(Topic::Filter, "x", &["A", "B"], "why");
        other.add(Topic::Filter, "x", &["C"], "");
        assert_eq!(one.names(Topic::Filter, "x"), ["A", "B", "C"]);
        assert_eq!(other.get(Topic::Filter, "x", "A").as_deref(), Some("why"));
        assert_eq!(other.get(Topic::Select, "x", "A"), None);
        assert_eq!(other.get(Topic::Filter, "y", "A"), None);
        other.forget(Topic::Filter, "x", &["A"]);
        assert_eq!(one.names(Topic::Filter, "x"), ["B", "C"]);
    }

    #[test]
    fn another_site_has_another_memory() {
        let directory = tempfile::tempdir().unwrap();
        learnt(directory.path(), "a").add(Topic::Filter, "x", &["A"], "");
        assert!(learnt(directory.path(), "b").names(Topic::Filter, "x").is_empty());
    }

    #[test]
    fn it_expires() {
        let directory = tempfile::tempdir().unwrap();
        let memory = learnt(directory.path(), "a");
        memory.add(Topic::Filter, "x", &["A"], "");
        memory.change(|entries| {
            for entry in entries.get_mut("filter").unwrap().get_mut("x").unwrap().values_mut() {
                entry.until = now() - 1;
            }
        });
        assert_eq!(memory.get(Topic::Filter, "x", "A"), None);
        memory.add(Topic::Filter, "x", &["A"], "");
        let until = memory.entries()["filter"]["x"]["A"].until;
        let minutes = |until: Millis| (until - now()).div_ceil(60_000);
        assert_eq!(minutes(until), 10);
        // An entry that is nearly new is not written again.
        memory.add(Topic::Filter, "x", &["A"], "");
        assert_eq!(memory.entries()["filter"]["x"]["A"].until, until);
    }

    #[test]
    fn what_cannot_be_read_is_not_known_and_written_anew() {
        let directory = tempfile::tempdir().unwrap();
        let memory = learnt(directory.path(), "a");
        memory.add(Topic::Filter, "x", &["A"], "");
        let file = directory.path().join("1/2/learnt.7");
        for rubbish in [&b""[..], b"{", b"\xff\xfe", &fs::read(&file).unwrap()[..40]] {
            fs::write(&file, rubbish).unwrap();
            let other = learnt(directory.path(), "a");
            assert!(other.names(Topic::Filter, "x").is_empty());
            other.add(Topic::Filter, "x", &["B"], "");
            assert_eq!(learnt(directory.path(), "a").names(Topic::Filter, "x"), ["B"]);
        }
    }

    #[test]
    fn where_nothing_can_be_written_it_is_known_here() {
        let directory = tempfile::tempdir().unwrap();
        let memory = learnt(directory.path(), "a");
        fs::create_dir(directory.path().join("1/2/learnt.7")).unwrap();
        memory.add(Topic::Filter, "x", &["A"], "");
        assert_eq!(memory.names(Topic::Filter, "x"), ["A"]);
    }

    #[test]
    fn it_does_not_grow_without_bound() {
        let directory = tempfile::tempdir().unwrap();
        let memory = learnt(directory.path(), "a");
        let names: Vec<String> = (0..MOST_ENTRIES + 100).map(|i| format!("F{i}")).collect();
        memory.add(Topic::Filter, "x", &["A"], "");
        memory.add(Topic::Absent, "x", &names, "");
        // Entries that expire first are removed first.
        assert_eq!(memory.names(Topic::Absent, "x").len(), MOST_ENTRIES);
        assert!(memory.names(Topic::Filter, "x").is_empty());
        memory.add(Topic::Witness, "x", &["y".repeat(MOST_BYTES)], "");
        let file = directory.path().join("1/2/learnt.7");
        assert!(fs::metadata(file).unwrap().len() < 2 * MOST_BYTES as u64);
    }
}

//! `fdw_private`: what the planner tells the executor, as a list of plain nodes that PostgreSQL can copy and print.

use acumatica_client::Order;
use acumatica_pushdown::{Condition, Reason};
use pgrx::PgList;
use pgrx::prelude::*;

use crate::backend::encoding::from_server;

/// Where in the list each part is, as postgres_fdw's `FdwScanPrivateIndex`.
#[derive(Clone, Copy, Debug)]
enum Position {
    /// Attribute numbers of the columns to fetch: a list of integers.
    Attributes,
    /// [`Plan::limit`], as an integer; 0 is none.
    Limit,
    /// Attribute numbers of parameters, one for each of the first expressions of `fdw_exprs`: a list of integers.
    Arguments,
    /// [`Plan::keys`]: a list of integers.
    Keys,
    /// [`Plan::conditions`], as JSON in a string.
    Conditions,
    /// [`Plan::kept`], as JSON in a string.
    Kept,
    /// [`Upper`], as an integer: see [`Upper::to_number`].
    Upper,
}

/// What a scan is to do.
#[derive(Debug, Default, PartialEq)]
pub struct Plan {
    /// Columns to fetch, by attribute number.
    pub attributes: Vec<i16>,
    /// How many rows are going to be read, if a LIMIT says so and nothing stands between it and the scan.
    pub limit: Option<u32>,
    /// Which parameter each of the first expressions of `fdw_exprs` is the value of, or, of an array, the values of.
    pub arguments: Vec<i16>,
    /// In which order the rows are to come.
    pub keys: Vec<Key>,
    /// The conditions to send; each value is the index of its expression in `fdw_exprs`.
    pub conditions: Vec<Condition<usize>>,
    /// The clauses that are not sent, by their index in the plan's quals, and why not.
    pub kept: Vec<(usize, Reason)>,
    /// What the server does beyond reading rows.
    pub upper: Option<Upper>,
}

/// A column that rows are ordered by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Key {
    pub attribute: i16,
    pub descending: bool,
    /// NULL comes at the other end than the server has it, so that it is asked for apart.
    pub nulls_apart: bool,
}

impl Key {
    fn to_number(self) -> i32 {
        i32::from(self.attribute) * 4 + i32::from(self.descending) * 2 + i32::from(self.nulls_apart)
    }

    fn from_number(number: i32) -> Self {
        Self { attribute: (number / 4) as i16, descending: number & 2 != 0, nulls_apart: number & 1 != 0 }
    }

    /// Where rows without a value come.
    pub fn nulls_first(self) -> bool {
        self.descending == self.nulls_apart
    }

    pub fn order(self, field: String) -> Order {
        Order { field, descending: self.descending, nulls_apart: self.nulls_apart }
    }
}

/// What the server does above the scan of a table. Nothing checks again what it answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Upper {
    /// It counts the rows.
    Count,
    /// It leaves out so many rows at the beginning.
    Offset(u32),
}

impl Upper {
    /// 0 for no upper step, 1 for a count, and from 2 on an offset.
    fn to_number(this: Option<Self>) -> i64 {
        match this {
            None => 0,
            Some(Self::Count) => 1,
            Some(Self::Offset(offset)) => i64::from(offset) + 2,
        }
    }

    fn from_number(number: i64) -> Option<Self> {
        match number {
            0 => None,
            1 => Some(Self::Count),
            offset => u32::try_from(offset - 2).ok().map(Self::Offset),
        }
    }
}

impl Plan {
    /// As `fdw_private`.
    ///
    /// # Safety
    /// To be called in the planner, whose memory context the list is made in.
    pub unsafe fn to_list(&self) -> *mut pg_sys::List {
        // SAFETY: palloc and node constructors only.
        let list = unsafe {
            // In the order of `Position`.
            let parts = [
                integers(self.attributes.iter().map(|attribute| i32::from(*attribute))).cast(),
                number(i64::from(self.limit.unwrap_or(0))),
                integers(self.arguments.iter().map(|attribute| i32::from(*attribute))).cast(),
                integers(self.keys.iter().map(|key| key.to_number())).cast(),
                string(&ascii_json(&self.conditions)),
                string(&ascii_json(&self.kept)),
                number(Upper::to_number(self.upper)),
            ];
            parts.into_iter().fold(std::ptr::null_mut(), |list, part| pg_sys::lappend(list, part))
        };
        // SAFETY: the list was made above. Each plan of a debug build is such a round trip.
        debug_assert_eq!(*self, unsafe { Self::from_list(list) });
        list
    }

    /// # Safety
    /// `list` was made by [`Plan::to_list`], or copied from such a list.
    pub unsafe fn from_list(list: *mut pg_sys::List) -> Self {
        // SAFETY: as the caller says: the list has all parts, each of its kind. An empty list is a null pointer.
        unsafe {
            let parts = PgList::<std::ffi::c_void>::from_pg(list);
            let part = |position: Position| parts.get_ptr(position as usize).unwrap_or(std::ptr::null_mut());
            let integers = |position| -> Vec<i32> {
                PgList::<std::ffi::c_void>::from_pg(part(position).cast()).iter_int().collect()
            };
            let attributes = |position| integers(position).into_iter().map(|number| number as i16).collect();
            let text = |position| from_server((*part(position).cast::<pg_sys::String>()).sval);
            let number = |position| text(position).parse::<i64>().unwrap_or(0);
            Self {
                attributes: attributes(Position::Attributes),
                limit: u32::try_from(number(Position::Limit)).ok().filter(|limit| *limit > 0),
                arguments: attributes(Position::Arguments),
                keys: integers(Position::Keys).into_iter().map(Key::from_number).collect(),
                conditions: serde_json::from_str(&text(Position::Conditions))
                    .unwrap_or_else(|error| unreachable!("conditions of a plan: {error}")),
                kept: serde_json::from_str(&text(Position::Kept))
                    .unwrap_or_else(|error| unreachable!("clauses of a plan: {error}")),
                upper: Upper::from_number(number(Position::Upper)),
            }
        }
    }

    /// The conditions over what `value` makes of the index of each expression.
    pub fn conditions_over<V>(&self, value: impl Fn(usize) -> V) -> Vec<Condition<V>> {
        self.conditions.iter().map(|condition| condition.clone().map(&mut |index| value(index))).collect()
    }
}

/// # Safety
/// Palloc only.
unsafe fn integers(numbers: impl Iterator<Item = i32>) -> *mut pg_sys::List {
    // SAFETY: as the caller says.
    numbers.fold(std::ptr::null_mut(), |list, number| unsafe { pg_sys::lappend_int(list, number) })
}

/// A number as a string: an `Integer` node has 32 bits.
///
/// # Safety
/// Palloc only.
unsafe fn number(number: i64) -> *mut std::ffi::c_void {
    // SAFETY: as the caller says.
    unsafe { string(&number.to_string()) }
}

/// # Safety
/// Palloc only.
unsafe fn string(ascii: &str) -> *mut std::ffi::c_void {
    let mut bytes = ascii.as_bytes().to_vec();
    bytes.push(0);
    // SAFETY: the text ends with a NUL and is copied.
    unsafe { pg_sys::makeString(pg_sys::pstrdup(bytes.as_ptr().cast())).cast() }
}

/// JSON in ASCII, which is the same in each encoding of a database.
fn ascii_json(value: &impl serde::Serialize) -> String {
    let json = serde_json::to_string(value).unwrap_or_else(|error| unreachable!("part of a plan: {error}"));
    let mut ascii = String::with_capacity(json.len());
    let mut units = [0; 2];
    for character in json.chars() {
        match character.is_ascii() {
            true => ascii.push(character),
            false => {
                for unit in character.encode_utf16(&mut units) {
                    ascii.push_str(&format!("\\u{unit:04x}"));
                }
            }
        }
    }
    ascii
}

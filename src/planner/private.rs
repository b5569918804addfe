//! `fdw_private`: the planner's data for the executor, as a list of plain nodes that `copyObject` and `nodeToString` handle.

use acumatica_client::Order;
use acumatica_pushdown::{Condition, Reason};
use pgrx::PgList;
use pgrx::prelude::*;

use crate::backend::encoding::from_server;

/// The index of each part in the list, as postgres_fdw's `FdwScanPrivateIndex`.
#[derive(Clone, Copy, Debug)]
enum Position {
    /// Attribute numbers of the columns to fetch: a list of integers.
    Attributes,
    /// [`Plan::limit`], as a number in a string; 0 is none.
    Limit,
    /// Attribute numbers of parameters, one for each of the first expressions of `fdw_exprs`: a list of integers.
    Arguments,
    /// [`Plan::keys`]: a list of integers.
    Keys,
    /// [`Plan::conditions`], as JSON in a string.
    Conditions,
    /// [`Plan::kept`], as JSON in a string.
    Kept,
    /// [`Upper`], as a number in a string: see [`Upper::to_number`].
    Upper,
}

impl Position {
    const COUNT: usize = Self::Upper as usize + 1;
}

/// The plan of a scan.
#[derive(Debug, Default, PartialEq)]
pub struct Plan {
    /// Columns to fetch, by attribute number.
    pub attributes: Vec<i16>,
    /// The number of rows that the query's LIMIT is expected to read, if no other node stands between it and the scan.
    pub limit: Option<u32>,
    /// The attribute number of the parameter whose value, or array of values, each of the first expressions of `fdw_exprs`
    /// is.
    pub arguments: Vec<i16>,
    /// The columns that the rows are sorted by.
    pub keys: Vec<Key>,
    /// The conditions to send; each value is the index of its expression in `fdw_exprs`.
    pub conditions: Vec<Condition<usize>>,
    /// The clauses that are not sent, by their index in the plan's quals, each with the reason.
    pub kept: Vec<(usize, Reason)>,
    /// The upper relation that the server computes, if any.
    pub upper: Option<Upper>,
}

/// A sort key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Key {
    pub attribute: i16,
    pub descending: bool,
    /// The query wants NULL at the other end than the server sorts it, so the rows with NULL are requested apart.
    pub nulls_apart: bool,
}

impl Key {
    fn to_number(self) -> i32 {
        i32::from(self.attribute) * 4 + i32::from(self.descending) * 2 + i32::from(self.nulls_apart)
    }

    fn from_number(number: i32) -> Self {
        Self { attribute: (number / 4) as i16, descending: number & 2 != 0, nulls_apart: number & 1 != 0 }
    }

    /// Whether the query wants NULLS FIRST.
    pub fn nulls_first(self) -> bool {
        self.descending == self.nulls_apart
    }

    pub fn order(self, field: String) -> Order {
        Order { field, descending: self.descending, nulls_apart: self.nulls_apart }
    }
}

/// An upper relation that the server computes. The executor cannot recheck the answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Upper {
    /// The server counts the rows.
    Count,
    /// The server skips this many rows.
    Offset(u32),
}

impl Upper {
    /// 0 for none, 1 for a count, n + 2 for an offset of n.
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
    /// The plan as `fdw_private`.
    ///
    /// # Safety
    /// The current memory context, in which the list is allocated, lives as long as the plan.
    pub unsafe fn to_list(&self) -> *mut pg_sys::List {
        // SAFETY: the functions only allocate in the current context, as the caller allows, and raise if memory is short.
        let list = unsafe {
            let mut parts = [std::ptr::null_mut(); Position::COUNT];
            let mut put = |position: Position, part| parts[position as usize] = part;
            put(
                Position::Attributes,
                integers(self.attributes.iter().map(|attribute| i32::from(*attribute))).cast(),
            );
            put(Position::Limit, number(i64::from(self.limit.unwrap_or(0))));
            put(
                Position::Arguments,
                integers(self.arguments.iter().map(|attribute| i32::from(*attribute))).cast(),
            );
            put(Position::Keys, integers(self.keys.iter().map(|key| key.to_number())).cast());
            put(Position::Conditions, string(&ascii_json(&self.conditions)));
            put(Position::Kept, string(&ascii_json(&self.kept)));
            put(Position::Upper, number(Upper::to_number(self.upper)));
            parts.into_iter().fold(std::ptr::null_mut(), |list, part| pg_sys::lappend(list, part))
        };
        // In a debug build each plan tests the round trip.
        // SAFETY: the list was made above.
        debug_assert_eq!(*self, unsafe { Self::from_list(list) });
        list
    }

    /// The plan in `fdw_private`.
    ///
    /// # Safety
    /// `list` was made by [`Plan::to_list`], or copied from such a list.
    pub unsafe fn from_list(list: *mut pg_sys::List) -> Self {
        // SAFETY: by the caller's guarantee the list has every part, each of the node type that `to_list` gives it. An empty
        // list is a null pointer, which PgList accepts.
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

    /// The conditions with `value(index)` in place of the index of each expression.
    pub fn conditions_over<V>(&self, value: impl Fn(usize) -> V) -> Vec<Condition<V>> {
        self.conditions.iter().map(|condition| condition.clone().map(&mut |index| value(index))).collect()
    }
}

/// A list of integers.
///
/// # Safety
/// The current memory context lives as long as the list is used.
unsafe fn integers(numbers: impl Iterator<Item = i32>) -> *mut pg_sys::List {
    // SAFETY: lappend_int gets null or its own last result; it only allocates, as the caller allows.
    numbers.fold(std::ptr::null_mut(), |list, number| unsafe { pg_sys::lappend_int(list, number) })
}

/// A number as a `String` node, because an `Integer` node has 32 bits.
///
/// # Safety
/// As [`string`].
unsafe fn number(number: i64) -> *mut std::ffi::c_void {
    // SAFETY: forwarded; the caller keeps the contract of `string`, and digits are ASCII.
    unsafe { string(&number.to_string()) }
}

/// A `String` node.
///
/// # Safety
/// The current memory context lives as long as the node is used; `ascii` holds no NUL.
unsafe fn string(ascii: &str) -> *mut std::ffi::c_void {
    let mut bytes = ascii.as_bytes().to_vec();
    bytes.push(0);
    // SAFETY: `bytes` is a C string, which pstrdup copies. Both functions only allocate, as the caller allows.
    unsafe { pg_sys::makeString(pg_sys::pstrdup(bytes.as_ptr().cast())).cast() }
}

/// JSON in ASCII, which has the same bytes in every database encoding.
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

//! Records as JSON: wrappers, `{}` for no value, `_links`, `files`, `custom`.

use std::sync::atomic::{AtomicU64, Ordering};

use super::form::write_custom;
use super::shape::{Node, Part};
use crate::config::Ids;
use crate::data::Data;
use crate::data::german::german;
use crate::data::rng::{mix, salt_of};
use crate::data::schema::{How, Role, SCHEMA, Table};
use crate::data::value::{Val, write_guid, write_int, write_json_text};
use crate::faults::InStream;
use crate::query::{Cursor, Next};
use crate::reply::{CHUNK, Filled, Source};
use crate::session::Session;
use crate::state::State;

/// What links and ids depend on.
pub struct Context {
    /// `/Site/entity/Default/24.200.001`.
    pub root: String,
    /// What the ids of records and rows without a NoteID are mixed with.
    pub passing: u64,
}

impl Context {
    pub fn new(root: &str, state: &State, session: &Session) -> Context {
        static ANSWERS: AtomicU64 = AtomicU64::new(1);
        // Whether they last for the session or for one answer only, no source says (docs/acumatica.md §6).
        let passing = match state.config.ids {
            Ids::Stable => 0,
            Ids::Session => mix(salt_of(&[&session.id])),
            Ids::Answer => mix(state.started ^ ANSWERS.fetch_add(1, Ordering::Relaxed)),
        };
        Context { root: root.to_string(), passing }
    }

    /// The `id` of a row: its NoteID if it has one (docs/acumatica.md §2.2, HTE).
    pub fn id(&self, data: &Data, table: usize, row: u64) -> u128 {
        let of = &SCHEMA.tables[table];
        let lasting = if of.is_entity() { !of.noteless } else { of.col("NoteID").is_some() };
        data.guid(table, row) ^ if lasting { 0 } else { u128::from(self.passing) }
    }
}

/// The note of a record: none, empty or a text.
pub fn note(data: &Data, table: usize, row: u64) -> Option<&'static str> {
    match data.guid(table, row) % 10 {
        0 | 1 => None,
        2 => Some("Call before delivery"),
        _ => Some(""),
    }
}

fn write_value(value: &Val, node: &Node, out: &mut Vec<u8>) {
    if let (Val::Choice(choice), true) = (value, node.german) {
        return write_translated(&Val::Choice(german(choice)), node, out);
    }
    write_translated(value, node, out);
}

fn write_translated(value: &Val, node: &Node, out: &mut Vec<u8>) {
    match value {
        Val::Null => out.extend_from_slice(b"{}"),
        Val::Choice(choice) if node.contract5 => {
            out.extend_from_slice(b"{\"value\":{\"id\":");
            write_json_text(out, choice.code);
            out.extend_from_slice(b",\"description\":");
            write_json_text(out, choice.label);
            out.extend_from_slice(b"}}");
        }
        _ => {
            out.extend_from_slice(b"{\"value\":");
            value.write_json(out, node.style);
            out.push(b'}');
        }
    }
}

impl Node {
    pub fn write(&self, data: &Data, row: u64, number: u64, context: &Context, out: &mut Vec<u8>) {
        self.write_as(context.id(data, self.table, row), data, row, number, context, out);
    }

    fn write_as(&self, id: u128, data: &Data, row: u64, number: u64, context: &Context, out: &mut Vec<u8>) {
        out.extend_from_slice(b"{\"id\":\"");
        write_guid(out, id);
        out.extend_from_slice(b"\",\"rowNumber\":");
        write_int(out, number as i64);
        out.extend_from_slice(b",\"note\":");
        match note(data, self.table, row) {
            Some(text) => write_value(&Val::text(text), self, out),
            None => out.extend_from_slice(b"null"),
        }
        let of = &SCHEMA.tables[self.table];
        for (label, part) in &self.parts {
            out.push(b',');
            out.extend_from_slice(label);
            match part {
                Part::Field(c) => write_value(&data.value(self.table, *c, row), self, out),
                Part::EmptyDetail => out.extend_from_slice(b"[]"),
                Part::Link(number, node) => {
                    let link = &of.links[*number];
                    let target = data.follow(self.table, link, row);
                    let id = data.guid(node.table, target)
                        ^ u128::from(if link.how == How::Own { 0 } else { link.salt });
                    node.write_as(id, data, target, 1, context, out);
                }
                Part::Detail(child, node) => {
                    out.push(b'[');
                    for (i, line) in data.children(*child, row).enumerate() {
                        if i > 0 {
                            out.push(b',');
                        }
                        node.write(data, line, i as u64 + 1, context, out);
                    }
                    out.push(b']');
                }
            }
        }
        self.write_custom(data, row, out);
        if self.top || matches!(of.role, Role::Detail { .. }) && of.col("NoteID").is_some() {
            write_links(&SCHEMA.tables[self.table], id, context, out);
        }
        if self.files {
            self.write_files(data, row, context, out);
        }
        out.push(b'}');
    }

    fn write_custom(&self, data: &Data, row: u64, out: &mut Vec<u8>) {
        out.extend_from_slice(b",\"custom\":");
        let style = self.style.custom();
        let salt = SCHEMA.tables[self.table].salt;
        let fields = self.custom.iter().map(|(field, col)| {
            let value = match col {
                Some(col) => data.value(self.table, *col, row),
                None => field.value(salt, row),
            };
            let mut text = Vec::new();
            if !value.is_null() {
                value.write_json(&mut text, style);
            }
            (field, text)
        });
        write_custom(fields, out);
    }

    /// One record in ten has an attachment.
    fn write_files(&self, data: &Data, row: u64, context: &Context, out: &mut Vec<u8>) {
        out.extend_from_slice(b",\"files\":[");
        if row.is_multiple_of(10) {
            let of = &SCHEMA.tables[self.table];
            let file = data.guid(self.table, row) ^ u128::from(mix(1));
            let mut id = Vec::new();
            write_guid(&mut id, file);
            let id = String::from_utf8_lossy(&id);
            // The title of the form, the padded key, a backslash; no comment where there is none (HTE).
            let keys: Vec<String> = of
                .keys
                .iter()
                .map(|c| format!("{:<12}", data.value(self.table, *c, row).to_plain(self.style)))
                .collect();
            let name = format!("{} ({})\\spec.pdf", of.title, keys.join(", "));
            out.extend_from_slice(format!("{{\"id\":\"{id}\",\"filename\":").as_bytes());
            write_json_text(out, &name);
            out.extend_from_slice(format!(",\"href\":\"{}/files/{id}\"", context.root).as_bytes());
            if row.is_multiple_of(20) {
                out.extend_from_slice(b",\"comment\":\"as agreed\"");
            }
            out.extend_from_slice(b"}");
        }
        out.push(b']');
    }
}

/// `self` and `files:put` of a top record (docs/acumatica.md §2.2, HTE).
pub fn write_links(of: &Table, id: u128, context: &Context, out: &mut Vec<u8>) {
    let root = &context.root;
    out.extend_from_slice(b",\"_links\":{");
    // Detail rows have the place for files alone.
    if !matches!(of.role, Role::Detail { .. }) {
        out.extend_from_slice(format!("\"self\":\"{root}/{}/", of.name).as_bytes());
        write_guid(out, id);
        out.extend_from_slice(b"\",");
    }
    out.extend_from_slice(b"\"files:put\":\"");
    out.extend_from_slice(root.as_bytes());
    out.extend_from_slice(b"/files/");
    out.extend_from_slice(of.graph.as_bytes());
    out.push(b'/');
    out.extend_from_slice(of.view.as_bytes());
    out.push(b'/');
    write_guid(out, id);
    out.extend_from_slice(b"/{filename}\"}");
}

/// The bare array of a list (docs/acumatica.md §2).
pub struct ListRows {
    cursor: Cursor,
    node: Node,
    context: Context,
    number: u64,
    error: Option<InStream>,
}

impl ListRows {
    pub fn new(cursor: Cursor, node: Node, context: Context, error: Option<InStream>) -> ListRows {
        ListRows { cursor, node, context, number: 0, error }
    }
}

impl Source for ListRows {
    fn fill(&mut self, out: &mut Vec<u8>, max_rows: usize) -> Filled {
        let mut rows = 0;
        while rows < max_rows && out.len() < CHUNK {
            let next = self.cursor.next();
            if let Some(error) = self.error.take_if(|e| e.after == self.number || matches!(next, Next::End)) {
                if self.number == 0 {
                    out.push(b'[');
                }
                error.write(self.number, "]", "", out);
                return Filled::Done;
            }
            match next {
                Next::Row(row) => {
                    out.push(if self.number == 0 { b'[' } else { b',' });
                    self.number += 1;
                    self.node.write(&self.cursor.data, row, self.number, &self.context, out);
                    rows += 1;
                }
                Next::Pending => break,
                Next::End => {
                    out.extend_from_slice(if self.number == 0 { b"[]" } else { b"]" });
                    return Filled::Done;
                }
            }
        }
        Filled::Rows(rows)
    }
}

//! Records as JSON: wrappers, `{}` for no value, `_links`, `files`, `custom`.

use super::shape::{Node, Part, custom_type};
use crate::data::Data;
use crate::data::generate::mix;
use crate::data::german::german;
use crate::data::schema::{How, SCHEMA, salt_of};
use crate::data::value::{Val, write_guid, write_int, write_json_text};
use crate::http::CHUNK;
use crate::query::{Cursor, Next};
use crate::reply::{Filled, Source};
use crate::session::Session;

/// What links and ids depend on.
pub struct Context {
    /// `/Site/entity/Default/24.200.001`.
    pub root: String,
    /// A number of the session.
    pub session: u64,
}

impl Context {
    pub fn new(root: &str, session: &Session) -> Context {
        // Ids of detail rows live as long as the session.
        Context { root: root.to_string(), session: mix(salt_of(&[&session.id])) }
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
        let id = data.guid(self.table, row);
        self.write_as(id, data, row, number, context, out);
    }

    /// A row of a detail or of an inquiry's results: its id lives for the session.
    pub fn write_line(&self, data: &Data, row: u64, number: u64, context: &Context, out: &mut Vec<u8>) {
        let id = data.guid(self.table, row) ^ u128::from(context.session);
        self.write_as(id, data, row, number, context, out);
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
                        node.write_line(data, line, i as u64 + 1, context, out);
                    }
                    out.push(b']');
                }
            }
        }
        self.write_custom(data, row, out);
        if self.top {
            self.write_links(id, context, out);
        }
        if self.files {
            self.write_files(data, row, context, out);
        }
        out.push(b'}');
    }

    fn write_custom(&self, data: &Data, row: u64, out: &mut Vec<u8>) {
        out.extend_from_slice(b",\"custom\":{");
        let of = &SCHEMA.tables[self.table];
        for (i, c) in self.custom.iter().enumerate() {
            let col = &of.cols[*c];
            let start = if i == 0 { format!("\"{}\":{{", of.view) } else { ",".to_string() };
            out.extend_from_slice(
                format!("{start}\"{}\":{{\"type\":\"{}\"", col.name, custom_type(col.kind)).as_bytes(),
            );
            let value = data.value(self.table, *c, row);
            if !value.is_null() {
                out.extend_from_slice(b",\"value\":");
                value.write_json(out, self.style);
            }
            out.push(b'}');
        }
        out.extend_from_slice(if self.custom.is_empty() { b"}" } else { b"}}" });
    }

    fn write_links(&self, id: u128, context: &Context, out: &mut Vec<u8>) {
        let of = &SCHEMA.tables[self.table];
        let root = &context.root;
        out.extend_from_slice(b",\"_links\":{\"self\":\"");
        out.extend_from_slice(root.as_bytes());
        out.push(b'/');
        out.extend_from_slice(of.name.as_bytes());
        out.push(b'/');
        write_guid(out, id);
        out.extend_from_slice(b"\",\"files:put\":\"");
        out.extend_from_slice(root.as_bytes());
        out.extend_from_slice(b"/files/");
        out.extend_from_slice(of.graph.as_bytes());
        out.push(b'/');
        out.extend_from_slice(of.view.as_bytes());
        out.push(b'/');
        write_guid(out, id);
        out.extend_from_slice(b"/{filename}\"}");
    }

    /// One record in ten has an attachment.
    fn write_files(&self, data: &Data, row: u64, context: &Context, out: &mut Vec<u8>) {
        out.extend_from_slice(b",\"files\":[");
        if row.is_multiple_of(10) {
            let id = data.guid(self.table, row) ^ u128::from(mix(1));
            out.extend_from_slice(b"{\"id\":\"");
            write_guid(out, id);
            out.extend_from_slice(b"\",\"filename\":\"");
            out.extend_from_slice(SCHEMA.tables[self.table].title.as_bytes());
            out.extend_from_slice(b"\\\\spec.pdf\",\"href\":\"");
            out.extend_from_slice(context.root.as_bytes());
            out.extend_from_slice(b"/files/");
            write_guid(out, id);
            out.extend_from_slice(b"\",\"comment\":null}");
        }
        out.push(b']');
    }
}

/// The bare array of a list (acumatica-api.md §2).
pub struct Rows {
    cursor: Cursor,
    node: Node,
    context: Context,
    number: u64,
}

impl Rows {
    pub fn new(cursor: Cursor, node: Node, context: Context) -> Rows {
        Rows { cursor, node, context, number: 0 }
    }
}

impl Source for Rows {
    fn fill(&mut self, out: &mut Vec<u8>, max_rows: usize) -> Filled {
        let mut rows = 0;
        while rows < max_rows && out.len() < CHUNK {
            match self.cursor.next() {
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

//! Streams the rows of an OData set.

use super::expand::Shape;
use crate::data::value::write_json_text;
use crate::http::CHUNK;
use crate::query::{Cursor, Next};
use crate::reply::{Filled, Source};

pub struct Rows {
    cursor: Cursor,
    shape: Shape,
    /// What stands before the rows; taken when it has been written.
    head: Option<Vec<u8>>,
    first: bool,
    /// The next link, and whether to give it even without more rows.
    link: Option<(String, bool)>,
    link_name: &'static str,
}

impl Rows {
    pub fn new(
        cursor: Cursor,
        shape: Shape,
        head: Vec<u8>,
        link: Option<(String, bool)>,
        link_name: &'static str,
    ) -> Rows {
        Rows { cursor, shape, head: Some(head), first: true, link, link_name }
    }
}

impl Source for Rows {
    fn fill(&mut self, out: &mut Vec<u8>, max_rows: usize) -> Filled {
        if let Some(head) = self.head.take() {
            out.extend_from_slice(&head);
        }
        let mut rows = 0;
        while rows < max_rows && out.len() < CHUNK {
            match self.cursor.next() {
                Next::Row(row) => {
                    out.extend_from_slice(if self.first { b"{" } else { b",{" });
                    self.first = false;
                    self.shape.write_members(&self.cursor.data, row, out);
                    out.push(b'}');
                    rows += 1;
                }
                Next::Pending => break,
                Next::End => {
                    out.push(b']');
                    if let Some((link, always)) = self.link.take()
                        && (always || self.cursor.has_more())
                    {
                        out.extend_from_slice(format!(",\"{}\":", self.link_name).as_bytes());
                        write_json_text(out, &link);
                    }
                    out.push(b'}');
                    return Filled::Done;
                }
            }
        }
        Filled::Rows(rows)
    }
}

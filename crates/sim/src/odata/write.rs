//! Streams the rows of an OData set.

use super::expand::Shape;
use crate::faults::InStream;
use crate::query::{Cursor, Next};
use crate::reply::{CHUNK, Filled, Source};

pub struct SetRows {
    cursor: Cursor,
    shape: Shape,
    /// What stands before the rows; taken when it has been written.
    head: Option<Vec<u8>>,
    written: u64,
    error: Option<InStream>,
    /// The next link as JSON, and whether to give it even without more rows.
    link: Option<(String, bool)>,
    link_name: &'static str,
}

impl SetRows {
    pub fn new(
        cursor: Cursor,
        shape: Shape,
        head: Vec<u8>,
        link: Option<(String, bool)>,
        link_name: &'static str,
        error: Option<InStream>,
    ) -> SetRows {
        SetRows { cursor, shape, head: Some(head), written: 0, error, link, link_name }
    }
}

impl Source for SetRows {
    fn fill(&mut self, out: &mut Vec<u8>, max_rows: usize) -> Filled {
        if let Some(head) = self.head.take() {
            out.extend_from_slice(&head);
        }
        let mut rows = 0;
        while rows < max_rows && out.len() < CHUNK {
            let next = self.cursor.next();
            if let Some(error) = self.error.take_if(|e| e.after == self.written || matches!(next, Next::End))
            {
                error.write(self.written, "]", "}", out);
                return Filled::Done;
            }
            match next {
                Next::Row(row) => {
                    out.extend_from_slice(if self.written == 0 { b"{" } else { b",{" });
                    self.written += 1;
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
                        out.extend_from_slice(link.as_bytes());
                    }
                    out.push(b'}');
                    return Filled::Done;
                }
            }
        }
        Filled::Rows(rows)
    }
}

//! Decoded rows, in three allocations that the next page can use again.

use super::error::DecodeErrorKind;

/// A piece of text of a [`Batch`], in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span {
    start: u32,
    len: u32,
}

/// One value, 16 bytes. What does not fit lives in the [`Batch`].
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Cell {
    /// No value.
    Null,
    /// A `bool`.
    Bool(bool),
    /// An `int2`, `int4` or `int8`, within the range of the column's type.
    Int(i64),
    /// A `float8`, or a `float4` rounded once, from the decimal text.
    Float(f64),
    /// Days since 1970-01-01.
    Date(i32),
    /// Microseconds since 1970-01-01 00:00 UTC. For `timestamp` the wall clock is the one of UTC.
    Timestamp(i64),
    /// `text`, `numeric` or `json`: see [`Batch::text`]. Holds no NUL byte.
    Text(Span),
    /// A `uuid`: see [`Batch::uuid`].
    Uuid(u32),
}

const _: () = assert!(size_of::<Cell>() == 16);

/// Rows of one table, row-major. Each cell costs 16 bytes, plus its text or 16 bytes for a `uuid`.
#[derive(Debug, Default)]
pub struct Batch {
    columns: usize,
    rows: usize,
    cells: Vec<Cell>,
    arena: String,
    uuids: Vec<[u8; 16]>,
    /// Where the rows of the record decoded last begin.
    last: Mark,
}

impl Batch {
    /// An empty batch for rows of this many columns; there may be none.
    pub fn new(columns: usize) -> Self {
        Self { columns, ..Self::default() }
    }

    /// One row of one whole number.
    pub(crate) fn of_number(number: i64) -> Self {
        Self { columns: 1, rows: 1, cells: vec![Cell::Int(number)], ..Self::default() }
    }

    /// The number that a row of a count consists of; `None` if the first column of the row is another value or negative.
    pub fn number(&self, row: usize) -> Option<u64> {
        match self.row(row).first() {
            Some(Cell::Int(number)) => u64::try_from(*number).ok(),
            _ => None,
        }
    }

    /// Rows held.
    pub fn len(&self) -> usize {
        self.rows
    }

    /// Whether no row is held.
    pub fn is_empty(&self) -> bool {
        self.rows == 0
    }

    /// The cells of row `row`, one per column.
    ///
    /// # Panics
    /// There is no such row.
    pub fn row(&self, row: usize) -> &[Cell] {
        assert!(row < self.rows, "row {row} of {}", self.rows);
        &self.cells[row * self.columns..][..self.columns]
    }

    /// The text of a [`Cell::Text`] of this batch. Panics on a span of another one that does not fit.
    pub fn text(&self, span: Span) -> &str {
        &self.arena[span.start as usize..][..span.len as usize]
    }

    /// The bytes of a [`Cell::Uuid`] of this batch, in the order in which they are written.
    pub fn uuid(&self, index: u32) -> &[u8; 16] {
        &self.uuids[index as usize]
    }

    /// The bytes that the rows take up, for flow control. Memory that is kept for reuse does not count.
    pub fn bytes(&self) -> usize {
        self.arena.len() + size_of_val(&self.cells[..]) + size_of_val(&self.uuids[..])
    }

    /// Forgets the rows and keeps the memory for the next ones.
    pub fn clear(&mut self) {
        self.rows = 0;
        self.cells.clear();
        self.arena.clear();
        self.uuids.clear();
    }

    /// Removes the rows of the record decoded last, with their text. To be called at most once for each record.
    pub(crate) fn pop(&mut self) {
        self.roll_back(self.last);
    }

    /// Copies the value of a column in a row of `from` into the same column of `row`.
    pub(crate) fn graft(&mut self, row: usize, column: usize, from: &Batch, from_row: usize) {
        let cell = match from.row(from_row)[column] {
            Cell::Text(span) => {
                let text = from.text(span);
                let start = self.arena.len();
                self.arena.push_str(text);
                Cell::Text(Span { start: start as u32, len: text.len() as u32 })
            }
            Cell::Uuid(index) => {
                self.uuids.push(*from.uuid(index));
                Cell::Uuid(self.uuids.len() as u32 - 1)
            }
            cell => cell,
        };
        self.cells[row * self.columns + column] = cell;
    }

    /// Begins a record; the rows that follow belong to it.
    pub(super) fn begin_record(&mut self) -> Mark {
        self.last = self.mark();
        self.last
    }

    fn mark(&self) -> Mark {
        let Self { rows, cells, arena, uuids, .. } = self;
        Mark { rows: *rows, cells: cells.len(), arena: arena.len(), uuids: uuids.len() }
    }

    /// Begins a row of NULLs. It counts once it is committed.
    pub(super) fn begin(&mut self, columns: usize) -> Mark {
        assert_eq!(columns, self.columns, "the batch was made for other columns");
        let mark = self.mark();
        self.cells.resize(mark.cells + self.columns, Cell::Null);
        mark
    }

    /// Fills the row begun at `mark` with cells of this batch.
    pub(super) fn copy(&mut self, mark: &Mark, cells: &[Cell]) {
        self.cells[mark.cells..].copy_from_slice(cells);
    }

    /// Moves the cells of the row begun at `mark` to `cells`, and removes the row; its text stays.
    pub(super) fn take(&mut self, mark: &Mark, cells: &mut Vec<Cell>) {
        cells.clear();
        cells.extend(self.cells.drain(mark.cells..));
    }

    pub(super) fn commit(&mut self) {
        self.rows += 1;
    }

    pub(super) fn roll_back(&mut self, mark: Mark) {
        self.rows = mark.rows;
        self.cells.truncate(mark.cells);
        self.arena.truncate(mark.arena);
        self.uuids.truncate(mark.uuids);
    }

    #[inline(always)]
    pub(super) fn set(&mut self, mark: &Mark, column: usize, cell: Cell) {
        self.cells[mark.cells + column] = cell;
    }

    #[inline(always)]
    pub(super) fn push_text(&mut self, text: &str) -> Result<Cell, DecodeErrorKind> {
        self.push_with(|arena| {
            arena.push_str(text);
            Ok(())
        })
    }

    /// The cell of the text that `write` appends.
    #[inline(always)]
    pub(super) fn push_with(
        &mut self,
        write: impl FnOnce(&mut String) -> Result<(), DecodeErrorKind>,
    ) -> Result<Cell, DecodeErrorKind> {
        let start = self.arena.len();
        write(&mut self.arena)?;
        if u32::try_from(self.arena.len()).is_err() {
            return Err(DecodeErrorKind::BatchFull);
        }
        Ok(Cell::Text(Span { start: start as u32, len: (self.arena.len() - start) as u32 }))
    }

    pub(super) fn push_uuid(&mut self, uuid: [u8; 16]) -> Result<Cell, DecodeErrorKind> {
        let index = u32::try_from(self.uuids.len()).map_err(|_| DecodeErrorKind::BatchFull)?;
        self.uuids.push(uuid);
        Ok(Cell::Uuid(index))
    }
}

/// The state of a batch before a row or record.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Mark {
    rows: usize,
    cells: usize,
    arena: usize,
    uuids: usize,
}

//! The rows that a scan has received, and a cursor over them.

use acumatica_client::decode::Batch;

#[derive(Debug)]
pub struct Received {
    /// The batch under the cursor and, unless some were dropped, all before it.
    batches: Vec<Batch>,
    /// Batches were dropped, since all together were too large.
    dropped: bool,
    /// The index of the current batch.
    batch: usize,
    /// The index of the next row in the current batch.
    row: usize,
    /// The number of rows taken since the start.
    taken: u64,
    /// The most bytes that are kept. A rescan returns a result that is no larger without a request.
    most: usize,
}

/// The place of a row in its batch and in the scan.
#[derive(Clone, Copy, Debug)]
pub struct RowPosition {
    pub index: usize,
    /// From 1 on. An error names a row without a key by it.
    pub number: u64,
}

impl Received {
    /// No rows yet; no more than `most` bytes of them will be kept.
    pub fn new(most: usize) -> Self {
        Self { batches: Vec::new(), dropped: false, batch: 0, row: 0, taken: 0, most }
    }

    /// Moves to the next row; false if it has not been received.
    pub fn advance(&mut self) -> bool {
        while let Some(batch) = self.batches.get(self.batch) {
            if self.row < batch.len() {
                return true;
            }
            self.batch += 1;
            self.row = 0;
        }
        false
    }

    /// Appends a batch, after [`Received::advance`] has returned false; drops the earlier ones if all together are too
    /// large to be kept.
    pub fn push(&mut self, batch: Batch) {
        if self.dropped || self.bytes() + batch.bytes() > self.most {
            self.batches.clear();
            self.dropped = true;
            self.batch = 0;
        }
        self.batches.push(batch);
    }

    /// The row under the cursor, which moves on. [`Received::advance`] has returned true.
    pub fn take(&mut self) -> (&Batch, RowPosition) {
        self.taken += 1;
        self.row += 1;
        (&self.batches[self.batch], RowPosition { index: self.row - 1, number: self.taken })
    }

    /// Goes back to the first row; false if it was dropped.
    pub fn rewind(&mut self) -> bool {
        self.batch = 0;
        self.row = 0;
        self.taken = 0;
        !self.dropped
    }

    /// The memory that the rows take.
    pub fn bytes(&self) -> usize {
        self.batches.iter().map(Batch::bytes).sum()
    }

    /// Whether rows were dropped.
    pub fn is_too_large(&self) -> bool {
        self.dropped
    }
}

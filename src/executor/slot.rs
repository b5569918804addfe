//! Stores rows in the slot of a scan node.

use std::panic::AssertUnwindSafe;
use std::sync::atomic::{AtomicUsize, Ordering};

use acumatica_client::ScanRequest;
use acumatica_client::decode::Batch;
use pgrx::PgTryBuilder;
use pgrx::prelude::*;

use crate::backend::error::Refusal;
use crate::executor::convert::{Converter, readable};
use crate::executor::received::RowPosition;

/// Stores a row in the slot. An error about a value names the row and the field.
///
/// # Safety
/// `slot` is empty and has the tuple descriptor that `columns` were made for: each is an index in the slot's arrays and
/// its converter. The current memory context lives until the next row is stored.
pub unsafe fn store(
    columns: &mut [(usize, Converter)],
    request: &ScanRequest,
    batch: &Batch,
    row: RowPosition,
    slot: *mut pg_sys::TupleTableSlot,
) {
    let cells = batch.row(row.index);
    let at = AtomicUsize::new(0);
    // SAFETY: both arrays of a slot have `natts` elements, and nothing else refers to them while the slot is empty.
    let (values, nulls) = unsafe {
        let width = (*(*slot).tts_tupleDescriptor).natts as usize;
        let nulls = std::slice::from_raw_parts_mut((*slot).tts_isnull, width);
        (std::slice::from_raw_parts_mut((*slot).tts_values, width), nulls)
    };
    nulls.fill(true);
    PgTryBuilder::new(AssertUnwindSafe(|| {
        for (index, ((place, converter), cell)) in columns.iter_mut().zip(cells).enumerate() {
            at.store(index, Ordering::Relaxed);
            if let Some(datum) = converter.datum(batch, *cell) {
                values[*place] = datum;
                nulls[*place] = false;
            }
        }
    }))
    .catch_others(|cause| {
        let pg_sys::panic::CaughtError::PostgresError(report) = &cause else { cause.rethrow() };
        // Only errors about the value get the field's name: a domain's check may also be cancelled or out of memory.
        if !is_about_a_value(report.sql_error_code()) {
            cause.rethrow();
        }
        let index = at.load(Ordering::Relaxed);
        let value: String = readable(batch, cells[index]).chars().take(60).collect();
        let name: Vec<String> = request
            .target
            .surface
            .row_name(&request.key)
            .iter()
            .filter_map(|field| request.columns.iter().position(|column| column.path.join("/") == *field))
            .map(|index| readable(batch, cells[index]))
            .collect();
        let name = match name.iter().all(|part| part.trim().is_empty()) {
            true => format!("number {}", row.number),
            false => name.join("/"),
        };
        let error = request.unfit(index, &name, &value, report.message());
        let refusal = Refusal { code: report.sql_error_code(), ..Refusal::from(error) };
        match (&refusal.detail, report.detail()) {
            (Some(where_found), Some(why)) => {
                let detail = format!("{where_found}\n{why}");
                refusal.detail(detail)
            }
            _ => refusal,
        }
        .raise()
    })
    .execute();
    // SAFETY: the slot is empty by the caller's guarantee, and the loop above has set all its values.
    unsafe { pg_sys::ExecStoreVirtualTuple(slot) };
}

/// Whether an SQLSTATE is of class 22, data exception, or 23, integrity constraint violation.
fn is_about_a_value(code: PgSqlErrorCode) -> bool {
    // MAKE_SQLSTATE puts six bits of each character into the number, the first one lowest.
    let class = |first: u8, second: u8| isize::from(first - b'0') | isize::from(second - b'0') << 6;
    let own = code as isize & 0xFFF;
    own == class(b'2', b'2') || own == class(b'2', b'3')
}

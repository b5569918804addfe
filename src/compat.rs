//! What differs between PostgreSQL's major versions, and nothing else.

use std::ptr::null_mut;

use pgrx::pg_sys;

/// A path that scans `rel` alone, unparameterised and unordered.
///
/// # Safety
/// `root` and `rel` belong to the planner run that is under way.
pub unsafe fn create_scan_path(
    root: *mut pg_sys::PlannerInfo,
    rel: *mut pg_sys::RelOptInfo,
    rows: f64,
    startup_cost: f64,
    total_cost: f64,
) -> *mut pg_sys::ForeignPath {
    // SAFETY: forwarded from the caller; null is "default" or "none" for all pointers passed.
    unsafe {
        pg_sys::create_foreignscan_path(
            root,
            rel,
            null_mut(), // target: that of the relation
            rows,
            #[cfg(feature = "pg18")]
            0, // disabled_nodes
            startup_cost,
            total_cost,
            null_mut(), // pathkeys
            (*rel).lateral_relids,
            null_mut(), // fdw_outerpath
            #[cfg(any(feature = "pg17", feature = "pg18"))]
            null_mut(), // fdw_restrictinfo
            null_mut(), // fdw_private
        )
    }
}

/// The role whose user mapping a scan uses: the one that permissions are checked for.
///
/// # Safety
/// `node` is a foreign scan that the executor has begun to initialise.
pub unsafe fn scan_user(node: *mut pg_sys::ForeignScanState) -> pg_sys::Oid {
    // SAFETY: the plan of a scan node outlives its state; before 16 the range table does too.
    let declared = unsafe {
        let plan: *mut pg_sys::ForeignScan = (*node).ss.ps.plan.cast();
        #[cfg(any(feature = "pg16", feature = "pg17", feature = "pg18"))]
        {
            (*plan).checkAsUser
        }
        #[cfg(not(any(feature = "pg16", feature = "pg17", feature = "pg18")))]
        {
            let table = (*(*node).ss.ps.state).es_range_table;
            let table = pgrx::PgList::<pg_sys::RangeTblEntry>::from_pg(table);
            table
                .get_ptr((*plan).scan.scanrelid as usize - 1)
                .map_or(pg_sys::InvalidOid, |entry| (*entry).checkAsUser)
        }
    };
    if declared != pg_sys::InvalidOid {
        return declared;
    }
    // SAFETY: reads a variable of the backend.
    unsafe { pg_sys::GetUserId() }
}

/// The value of an `Integer` node.
///
/// # Safety
/// `node` is one.
pub unsafe fn integer(node: *mut std::ffi::c_void) -> i32 {
    // SAFETY: forwarded from the caller.
    unsafe {
        #[cfg(any(feature = "pg13", feature = "pg14"))]
        {
            (*node.cast::<pg_sys::Value>()).val.ival
        }
        #[cfg(not(any(feature = "pg13", feature = "pg14")))]
        {
            (*node.cast::<pg_sys::Integer>()).ival
        }
    }
}

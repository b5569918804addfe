//! What differs between PostgreSQL's major versions, and nothing else.

use std::ptr::null_mut;

use pgrx::pg_sys;

/// What a path gives, and at what cost.
pub struct Estimate {
    pub rows: f64,
    pub startup: f64,
    pub total: f64,
}

/// A path that scans `rel` alone and has the columns of `target`, or all that are needed of it, in the order of
/// `pathkeys`, for the values of the relations `outer`. One of last resort is taken only if there is no other.
///
/// # Safety
/// `root` and `rel` belong to the planner run that is under way; `outer` holds all that `rel` refers to laterally.
pub unsafe fn create_scan_path(
    root: *mut pg_sys::PlannerInfo,
    rel: *mut pg_sys::RelOptInfo,
    target: *mut pg_sys::PathTarget,
    outer: pg_sys::Relids,
    estimate: Estimate,
    pathkeys: *mut pg_sys::List,
    is_last_resort: bool,
) -> *mut pg_sys::ForeignPath {
    /// More than any plan costs, `disable_cost` included; from 18 on what is disabled is counted instead.
    const LAST_RESORT_COST: f64 = 1e15;
    let extra = if is_last_resort { LAST_RESORT_COST } else { 0.0 };
    // SAFETY: forwarded from the caller; null is "default" or "none" for all pointers passed.
    unsafe {
        pg_sys::create_foreignscan_path(
            root,
            rel,
            target,
            estimate.rows,
            #[cfg(feature = "pg18")]
            if is_last_resort { 1_000 } else { 0 }, // disabled_nodes
            estimate.startup + extra,
            estimate.total + extra,
            pathkeys,
            outer,
            null_mut(), // fdw_outerpath
            #[cfg(any(feature = "pg17", feature = "pg18"))]
            null_mut(), // fdw_restrictinfo
            null_mut(), // fdw_private
        )
    }
}

/// A path that does all of an upper step of planning, and if it cannot be done, runs the plan of the path `otherwise`.
///
/// # Safety
/// All belongs to the planner run that is under way.
pub unsafe fn create_upper_path(
    root: *mut pg_sys::PlannerInfo,
    rel: *mut pg_sys::RelOptInfo,
    target: *mut pg_sys::PathTarget,
    estimate: Estimate,
    pathkeys: *mut pg_sys::List,
    otherwise: *mut pg_sys::Path,
    private: *mut pg_sys::List,
) -> *mut pg_sys::ForeignPath {
    // SAFETY: forwarded from the caller; null is "none" for all pointers passed.
    unsafe {
        pg_sys::create_foreign_upper_path(
            root,
            rel,
            target,
            estimate.rows,
            #[cfg(feature = "pg18")]
            0, // disabled_nodes
            estimate.startup,
            estimate.total,
            pathkeys,
            otherwise,
            #[cfg(any(feature = "pg17", feature = "pg18"))]
            null_mut(), // fdw_restrictinfo
            private,
        )
    }
}

/// Whether a pathkey goes from the greatest value to the least.
///
/// # Safety
/// `pathkey` is one.
pub unsafe fn is_descending(pathkey: *mut pg_sys::PathKey) -> bool {
    // SAFETY: forwarded from the caller.
    unsafe {
        #[cfg(feature = "pg18")]
        {
            (*pathkey).pk_cmptype == pg_sys::CompareType::COMPARE_GT
        }
        #[cfg(not(feature = "pg18"))]
        {
            (*pathkey).pk_strategy as u32 == pg_sys::BTGreaterStrategyNumber
        }
    }
}

/// A sort of rows, read once from the beginning to the end.
///
/// # Safety
/// The lists are of one length, and say of each attribute how it is sorted.
pub unsafe fn begin_sort(
    descriptor: pg_sys::TupleDesc,
    attributes: &mut [i16],
    operators: &mut [pg_sys::Oid],
    collations: &mut [pg_sys::Oid],
    nulls_first: &mut [bool],
) -> *mut pg_sys::Tuplesortstate {
    // SAFETY: forwarded from the caller; no other process takes part.
    unsafe {
        pg_sys::tuplesort_begin_heap(
            descriptor,
            attributes.len() as i32,
            attributes.as_mut_ptr(),
            operators.as_mut_ptr(),
            collations.as_mut_ptr(),
            nulls_first.as_mut_ptr(),
            pg_sys::work_mem,
            null_mut(),
            0,
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
        #[cfg(any(feature = "pg16", feature = "pg17", feature = "pg18"))]
        {
            (*(*node).ss.ps.plan.cast::<pg_sys::ForeignScan>()).checkAsUser
        }
        #[cfg(not(any(feature = "pg16", feature = "pg17", feature = "pg18")))]
        {
            table_of(node).map_or(pg_sys::InvalidOid, |entry| (*entry).checkAsUser)
        }
    };
    if declared != pg_sys::InvalidOid {
        return declared;
    }
    // SAFETY: reads a variable of the backend.
    unsafe { pg_sys::GetUserId() }
}

/// The entry of the table that a scan is of, which stands below it if it does more.
///
/// # Safety
/// `node` is a foreign scan that the executor has begun to initialise.
pub unsafe fn table_of(node: *mut pg_sys::ForeignScanState) -> Option<*mut pg_sys::RangeTblEntry> {
    // SAFETY: the plan and the range table outlive the node.
    unsafe {
        let plan: *mut pg_sys::ForeignScan = (*node).ss.ps.plan.cast();
        let number = match (*plan).scan.scanrelid {
            #[cfg(any(feature = "pg16", feature = "pg17", feature = "pg18"))]
            0 => pg_sys::bms_next_member((*plan).fs_base_relids, -1),
            #[cfg(not(any(feature = "pg16", feature = "pg17", feature = "pg18")))]
            0 => pg_sys::bms_next_member((*plan).fs_relids, -1),
            relid => relid as i32,
        };
        let table = pgrx::PgList::<pg_sys::RangeTblEntry>::from_pg((*(*node).ss.ps.state).es_range_table);
        table.get_ptr(usize::try_from(number).ok()?.checked_sub(1)?)
    }
}

/// Raises unless `user` may use a foreign server.
///
/// # Safety
/// `server` is in the catalog.
pub unsafe fn check_server_usage(server: pg_sys::Oid, user: pg_sys::Oid) {
    // SAFETY: as the caller says; the name is palloc'd.
    unsafe {
        if !may_use_server(server, user) {
            let name = (*pg_sys::GetForeignServer(server)).servername;
            let denied = pg_sys::AclResult::ACLCHECK_NO_PRIV;
            pg_sys::aclcheck_error(denied, pg_sys::ObjectType::OBJECT_FOREIGN_SERVER, name);
        }
    }
}

/// Whether `user` may use a foreign server.
///
/// # Safety
/// `server` is in the catalog.
pub unsafe fn may_use_server(server: pg_sys::Oid, user: pg_sys::Oid) -> bool {
    // SAFETY: as the caller says.
    unsafe {
        #[cfg(any(feature = "pg16", feature = "pg17", feature = "pg18"))]
        let result =
            pg_sys::object_aclcheck(pg_sys::ForeignServerRelationId, server, user, pg_sys::ACL_USAGE.into());
        #[cfg(not(any(feature = "pg16", feature = "pg17", feature = "pg18")))]
        let result = pg_sys::pg_foreign_server_aclcheck(server, user, pg_sys::ACL_USAGE);
        result == pg_sys::AclResult::ACLCHECK_OK
    }
}

/// Whether `user` owns a foreign server, as superusers do.
///
/// # Safety
/// `server` is in the catalog.
pub unsafe fn owns_server(server: pg_sys::Oid, user: pg_sys::Oid) -> bool {
    // SAFETY: as the caller says.
    unsafe {
        #[cfg(any(feature = "pg16", feature = "pg17", feature = "pg18"))]
        {
            pg_sys::object_ownercheck(pg_sys::ForeignServerRelationId, server, user)
        }
        #[cfg(not(any(feature = "pg16", feature = "pg17", feature = "pg18")))]
        {
            pg_sys::pg_foreign_server_ownercheck(server, user)
        }
    }
}

/// Whether `user` owns an extension, as superusers do.
///
/// # Safety
/// `extension` is in the catalog.
pub unsafe fn owns_extension(extension: pg_sys::Oid, user: pg_sys::Oid) -> bool {
    // SAFETY: as the caller says.
    unsafe {
        #[cfg(any(feature = "pg16", feature = "pg17", feature = "pg18"))]
        {
            pg_sys::object_ownercheck(pg_sys::ExtensionRelationId, extension, user)
        }
        #[cfg(not(any(feature = "pg16", feature = "pg17", feature = "pg18")))]
        {
            pg_sys::pg_extension_ownercheck(extension, user)
        }
    }
}

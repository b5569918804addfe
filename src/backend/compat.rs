//! The differences between PostgreSQL's major versions.

use std::ptr::null_mut;

use pgrx::pg_sys;

/// The estimated rows and costs of a path.
pub struct Estimate {
    pub rows: f64,
    pub startup: f64,
    pub total: f64,
}

/// A path that scans the base relation `rel`, sorted by `pathkeys` and parameterised by the relations `outer`. A null
/// `target` means the relation's own target. The planner chooses a path of last resort only if there is no other.
///
/// # Safety
/// `root`, `rel` and the other pointers belong to the current planner run; `outer` includes `rel`'s lateral relids.
pub unsafe fn create_scan_path(
    root: *mut pg_sys::PlannerInfo,
    rel: *mut pg_sys::RelOptInfo,
    target: *mut pg_sys::PathTarget,
    outer: pg_sys::Relids,
    estimate: Estimate,
    pathkeys: *mut pg_sys::List,
    is_last_resort: bool,
) -> *mut pg_sys::ForeignPath {
    /// More than `disable_cost`, and so more than any other plan. PostgreSQL 18 compares the number of disabled nodes first.
    const LAST_RESORT_COST: f64 = 1e15;
    let extra = if is_last_resort { LAST_RESORT_COST } else { 0.0 };
    // SAFETY: the caller guarantees that the pointers belong to this planner run. Null stands for the relation's own target
    // and for an empty list in each parameter that is given null.
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

/// A path that scans the join relation `rel`.
///
/// # Safety
/// All pointers belong to the current planner run.
pub unsafe fn create_join_path(
    root: *mut pg_sys::PlannerInfo,
    rel: *mut pg_sys::RelOptInfo,
    estimate: Estimate,
    private: *mut pg_sys::List,
) -> *mut pg_sys::ForeignPath {
    // SAFETY: the caller guarantees that the pointers belong to this planner run. Null stands for the relation's own target
    // and for an empty list or set in each parameter that is given null.
    unsafe {
        pg_sys::create_foreign_join_path(
            root,
            rel,
            null_mut(), // target
            estimate.rows,
            #[cfg(feature = "pg18")]
            0, // disabled_nodes
            estimate.startup,
            estimate.total,
            null_mut(), // pathkeys
            null_mut(), // required_outer
            null_mut(), // fdw_outerpath
            #[cfg(any(feature = "pg17", feature = "pg18"))]
            null_mut(), // fdw_restrictinfo
            private,
        )
    }
}

/// A path for an upper relation, with the path `otherwise` as its outer path: the executor runs that plan if the server
/// refuses.
///
/// # Safety
/// All pointers belong to the current planner run.
pub unsafe fn create_upper_path(
    root: *mut pg_sys::PlannerInfo,
    rel: *mut pg_sys::RelOptInfo,
    target: *mut pg_sys::PathTarget,
    estimate: Estimate,
    pathkeys: *mut pg_sys::List,
    otherwise: *mut pg_sys::Path,
    private: *mut pg_sys::List,
) -> *mut pg_sys::ForeignPath {
    // SAFETY: the caller guarantees that the pointers belong to this planner run. Null is an empty list where it is passed.
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

/// Stores the number of rows of a table without pages, as ANALYZE does.
///
/// # Safety
/// `relation` is open, and a transaction is in progress that can see its row in `pg_class`.
pub unsafe fn store_row_count(relation: pg_sys::Relation, rows: f64) {
    // SAFETY: the caller guarantees the relation. Null pointers stand for results that nobody wants.
    unsafe {
        pg_sys::vac_update_relstats(
            relation,
            0, // pages
            rows,
            0, // all-visible pages
            #[cfg(feature = "pg18")]
            0, // all-frozen pages
            false, // has an index
            pg_sys::InvalidTransactionId,
            pg_sys::MultiXactId::from(pg_sys::InvalidTransactionId),
            null_mut(),
            null_mut(),
            true, // inside a transaction
        );
    }
}

/// Whether a pathkey sorts from the greatest value to the least.
///
/// # Safety
/// `pathkey` points to a pathkey of the current planner run.
pub unsafe fn is_descending(pathkey: *mut pg_sys::PathKey) -> bool {
    // SAFETY: the caller guarantees a valid pathkey; only fields of it are read.
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

/// Begins a sort of tuples that will be read forwards, once or again.
///
/// # Safety
/// The slices have the same length. `operators` order the types of the attributes in `descriptor`, which outlives the sort.
pub unsafe fn begin_sort(
    descriptor: pg_sys::TupleDesc,
    attributes: &mut [i16],
    operators: &mut [pg_sys::Oid],
    collations: &mut [pg_sys::Oid],
    nulls_first: &mut [bool],
) -> *mut pg_sys::Tuplesortstate {
    // SAFETY: the caller guarantees arrays of `attributes.len()` elements that fit the descriptor; tuplesort copies them.
    // The null coordinator makes it a serial sort.
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
            pg_sys::TUPLESORT_RANDOMACCESS as i32,
        )
    }
}

/// The role whose user mapping a scan uses: the role that its permissions are checked as.
///
/// # Safety
/// `node` is a foreign scan node whose plan and range table the executor has set.
pub unsafe fn scan_user(node: *mut pg_sys::ForeignScanState) -> pg_sys::Oid {
    // SAFETY: the plan of a foreign scan node is a `ForeignScan` and outlives the node, as does the range table.
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
    // SAFETY: GetUserId reads a variable of the backend, which is set while a statement runs.
    unsafe { pg_sys::GetUserId() }
}

/// The range table entry of the foreign table that a node scans, also if the node computes an upper relation.
///
/// # Safety
/// `node` is a foreign scan node whose plan and range table the executor has set.
pub unsafe fn table_of(node: *mut pg_sys::ForeignScanState) -> Option<*mut pg_sys::RangeTblEntry> {
    // SAFETY: forwarded.
    unsafe { tables_of(node).first().copied() }
}

/// The range table entries of the foreign tables that a node scans: of both, if it joins two.
///
/// # Safety
/// As [`table_of`].
pub unsafe fn tables_of(node: *mut pg_sys::ForeignScanState) -> Vec<*mut pg_sys::RangeTblEntry> {
    // SAFETY: the caller guarantees a plan, which is a `ForeignScan`, and a range table; both outlive the node.
    unsafe {
        let plan: *mut pg_sys::ForeignScan = (*node).ss.ps.plan.cast();
        let table = pgrx::PgList::<pg_sys::RangeTblEntry>::from_pg((*(*node).ss.ps.state).es_range_table);
        #[cfg(any(feature = "pg16", feature = "pg17", feature = "pg18"))]
        let set = (*plan).fs_base_relids;
        #[cfg(not(any(feature = "pg16", feature = "pg17", feature = "pg18")))]
        let set = (*plan).fs_relids;
        let mut numbers = Vec::new();
        match (*plan).scan.scanrelid {
            0 => {
                let mut number = pg_sys::bms_next_member(set, -1);
                while number >= 0 {
                    numbers.push(number);
                    number = pg_sys::bms_next_member(set, number);
                }
            }
            relid => numbers.push(relid as i32),
        }
        let entry = |number: i32| table.get_ptr(usize::try_from(number).ok()?.checked_sub(1)?);
        numbers.into_iter().filter_map(entry).collect()
    }
}

/// Raises unless `user` has USAGE on a foreign server.
///
/// # Safety
/// `server` is in the catalog.
pub unsafe fn check_server_usage(server: pg_sys::Oid, user: pg_sys::Oid) {
    // SAFETY: the caller guarantees that the server exists, so GetForeignServer returns a palloc'd struct.
    unsafe {
        if !may_use_server(server, user) {
            let name = (*pg_sys::GetForeignServer(server)).servername;
            let denied = pg_sys::AclResult::ACLCHECK_NO_PRIV;
            pg_sys::aclcheck_error(denied, pg_sys::ObjectType::OBJECT_FOREIGN_SERVER, name);
        }
    }
}

/// Whether `user` has USAGE on a foreign server.
///
/// # Safety
/// `server` is in the catalog.
pub unsafe fn may_use_server(server: pg_sys::Oid, user: pg_sys::Oid) -> bool {
    // SAFETY: a catalog look-up by oid. It raises for a missing server, which the caller excludes.
    unsafe {
        #[cfg(any(feature = "pg16", feature = "pg17", feature = "pg18"))]
        let result =
            pg_sys::object_aclcheck(pg_sys::ForeignServerRelationId, server, user, pg_sys::ACL_USAGE.into());
        #[cfg(not(any(feature = "pg16", feature = "pg17", feature = "pg18")))]
        let result = pg_sys::pg_foreign_server_aclcheck(server, user, pg_sys::ACL_USAGE);
        result == pg_sys::AclResult::ACLCHECK_OK
    }
}

/// Whether `user` owns a foreign server or is a superuser.
///
/// # Safety
/// `server` is in the catalog.
pub unsafe fn owns_server(server: pg_sys::Oid, user: pg_sys::Oid) -> bool {
    // SAFETY: a catalog look-up by oid. It raises for a missing server, which the caller excludes.
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

/// Whether `user` owns an extension or is a superuser.
///
/// # Safety
/// `extension` is in the catalog.
pub unsafe fn owns_extension(extension: pg_sys::Oid, user: pg_sys::Oid) -> bool {
    // SAFETY: a catalog look-up by oid. It raises for a missing extension, which the caller excludes.
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

/// Adds to a path the disabled nodes of the path below it. Before PostgreSQL 18 they are part of its costs.
///
/// # Safety
/// `below` belongs to the current planner run.
pub unsafe fn add_disabled_nodes(_path: &mut pg_sys::Path, _below: *mut pg_sys::Path) {
    #[cfg(feature = "pg18")]
    {
        // SAFETY: the caller guarantees a path.
        _path.disabled_nodes += unsafe { (*_below).disabled_nodes };
    }
}

/// Gives the columns in the target list `tuple` of a join the outer joins that make them NULL in the expressions `above` the
/// join, and in `inside`, which is evaluated on the same tuple. PostgreSQL 16 and later compare them when they resolve
/// references to the tuple, whose columns are those of the relations below the join. Both lists are changed in place.
///
/// # Safety
/// The lists are made of expressions of the current planner run; nothing else refers to the nodes of `tuple` and `inside`.
pub unsafe fn unify_nulling(
    _tuple: *mut pg_sys::List,
    _inside: *mut pg_sys::List,
    _above: &[*mut pg_sys::List],
) {
    #[cfg(any(feature = "pg16", feature = "pg17", feature = "pg18"))]
    // SAFETY: pull_var_clause returns the Var and PlaceHolderVar nodes in the expressions that the caller guarantees.
    unsafe {
        let flags = pg_sys::PVC_RECURSE_AGGREGATES
            | pg_sys::PVC_RECURSE_WINDOWFUNCS
            | pg_sys::PVC_INCLUDE_PLACEHOLDERS;
        let columns = |list: *mut pg_sys::List| -> Vec<_> {
            let found = pg_sys::pull_var_clause(list.cast(), flags as i32);
            pgrx::PgList::<pg_sys::Node>::from_pg(found).iter_ptr().map(|node| Nullable(node)).collect()
        };
        let known: Vec<Nullable> = _above.iter().flat_map(|list| columns(*list)).collect();
        for column in columns(_tuple).into_iter().chain(columns(_inside)) {
            if let Some(same) = known.iter().find(|other| other.name() == column.name()) {
                *column.nulling() = *same.nulling();
            }
        }
    }
}

/// A Var or a PlaceHolderVar of an expression in use.
#[cfg(any(feature = "pg16", feature = "pg17", feature = "pg18"))]
struct Nullable(*mut pg_sys::Node);

#[cfg(any(feature = "pg16", feature = "pg17", feature = "pg18"))]
impl Nullable {
    /// Its relation and attribute, or its number as a placeholder.
    ///
    /// # Safety
    /// The node is valid.
    unsafe fn name(&self) -> (i32, i32) {
        // SAFETY: the caller guarantees a node, which is cast to what its tag says.
        unsafe {
            match (*self.0).type_ {
                pg_sys::NodeTag::T_Var => {
                    let var: *mut pg_sys::Var = self.0.cast();
                    ((*var).varno, (*var).varattno.into())
                }
                _ => (-1, (*self.0.cast::<pg_sys::PlaceHolderVar>()).phid as i32),
            }
        }
    }

    /// The outer joins that make it NULL.
    ///
    /// # Safety
    /// The node is valid, and the reference is used alone.
    #[allow(clippy::mut_from_ref)]
    unsafe fn nulling(&self) -> &mut *mut pg_sys::Bitmapset {
        // SAFETY: as for `name`.
        unsafe {
            match (*self.0).type_ {
                pg_sys::NodeTag::T_Var => &mut (*self.0.cast::<pg_sys::Var>()).varnullingrels,
                _ => &mut (*self.0.cast::<pg_sys::PlaceHolderVar>()).phnullingrels,
            }
        }
    }
}

//! The key join: a join with a foreign table that asks the server for the rows of the other side's keys only.
//!
//! PostgreSQL's own joins read all rows of a foreign table that the query's other conditions leave, since an equality
//! between two tables is no condition on one of them. `set_join_pathlist_hook` offers a `CustomPath` beside them wherever
//! such an equality can be sent. Its inner path is an ordinary scan of the foreign table whose plan has conditions for the
//! keys ([`ScanPlan::join_keys`](acumatica_pushdown::ScanPlan)); so columns, conditions, retries and EXPLAIN are those of
//! each scan. The executor (`executor/key_join/join.rs`) reads outer rows, gives their keys to the inner scan, and compares all
//! join clauses itself, so a key condition needs to be a superset only.

use std::ffi::CStr;
use std::sync::OnceLock;

use acumatica_pushdown::{Condition, JoinKind, KeyJoin, MOST_GROUPS};
use pgrx::PgList;
use pgrx::prelude::*;

use crate::backend::compat::{self, Estimate};
use crate::backend::encoding::from_server;
use crate::catalog::setting;
use crate::planner::plan;
use crate::planner::planned::Planned;
use crate::planner::private;
use crate::planner::rows;

/// The name of the node in EXPLAIN.
pub const NAME: &CStr = c"Acumatica Key Join";
/// The number of keys in a request that the planner assumes: 45 of eight characters find room in any, 125 to 500 if the server takes
/// lists or long addresses. The executor counts their characters.
const KEYS_PER_REQUEST: f64 = 100.0;

/// `ROWID_VAR` of PostgreSQL: the relation number of columns that identify rows of an inherited UPDATE or DELETE target.
const ROWID_VAR: i32 = pg_sys::ROWID_VAR;

/// The hook that was set before this one.
static PREVIOUS: OnceLock<pg_sys::set_join_pathlist_hook_type> = OnceLock::new();

static PATH_METHODS: Methods<pg_sys::CustomPathMethods> = Methods(pg_sys::CustomPathMethods {
    CustomName: NAME.as_ptr(),
    PlanCustomPath: Some(plan_key_join),
    ReparameterizeCustomPathByChild: None,
});

/// A table of callbacks, which PostgreSQL only reads.
pub struct Methods<T>(pub T);

// SAFETY: nothing changes the table, and its name is a static C string.
unsafe impl<T> Sync for Methods<T> {}

/// The type of join, if a key join can do it. Right and full joins need all rows of the foreign table anyhow.
fn kind_of(kind: pg_sys::JoinType::Type) -> Option<JoinKind> {
    use pg_sys::JoinType::*;
    match kind {
        // `x IN (SELECT …)` with the foreign table outside: the other side is made unique first.
        JOIN_INNER | JOIN_UNIQUE_OUTER => Some(JoinKind::Inner),
        JOIN_LEFT => Some(JoinKind::Left),
        JOIN_SEMI => Some(JoinKind::Semi),
        JOIN_ANTI => Some(JoinKind::Anti),
        _ => None,
    }
}

/// Sets the hook. Called once in each backend that loads the library.
pub fn install() {
    // SAFETY: PostgreSQL loads libraries on the backend's only thread, which alone reads and sets the hook.
    unsafe {
        let _ = PREVIOUS.set(pg_sys::set_join_pathlist_hook);
        pg_sys::set_join_pathlist_hook = Some(add_key_joins);
    }
}

#[pg_guard]
unsafe extern "C-unwind" fn add_key_joins(
    root: *mut pg_sys::PlannerInfo,
    joined: *mut pg_sys::RelOptInfo,
    outer: *mut pg_sys::RelOptInfo,
    inner: *mut pg_sys::RelOptInfo,
    kind: pg_sys::JoinType::Type,
    extra: *mut pg_sys::JoinPathExtraData,
) {
    // SAFETY: the planner passes its own structures, which the hook before this one gets as they are.
    unsafe {
        if let Some(Some(previous)) = PREVIOUS.get() {
            previous(root, joined, outer, inner, kind, extra);
        }
        let Some(own) = kind_of(kind) else { return };
        if !setting::enable_key_join() || !is_suitable(root, joined, inner) {
            return;
        }
        let Some(clauses) = Clauses::of(joined, outer, inner, kind, (*extra).restrictlist) else { return };
        if !has_plain_columns(joined, outer, inner, &clauses) {
            return;
        }
        let cheapest = (*outer).cheapest_total_path;
        let mut paths = vec![cheapest];
        if kind == pg_sys::JoinType::JOIN_UNIQUE_OUTER {
            let unique = pg_sys::create_unique_path(root, outer, cheapest, (*extra).sjinfo);
            if unique.is_null() {
                return;
            }
            paths = vec![unique.cast()];
        } else if !(*outer).cheapest_startup_path.is_null() && (*outer).cheapest_startup_path != cheapest {
            paths.push((*outer).cheapest_startup_path);
        }
        for path in paths.into_iter().filter(|path| (**path).param_info.is_null()) {
            let path = key_join_path(root, joined, path, inner, own, &clauses, (*extra).sjinfo);
            pg_sys::add_path(joined, path.cast());
        }
    }
}

/// Whether a key join may read `inner`: it is a foreign table of this wrapper that is read as a list, it depends on no other
/// relation by itself, and no clause of it decides once for all rows.
///
/// # Safety
/// The relations belong to the current planner run.
unsafe fn is_suitable(
    root: *mut pg_sys::PlannerInfo,
    joined: *mut pg_sys::RelOptInfo,
    inner: *mut pg_sys::RelOptInfo,
) -> bool {
    // SAFETY: the caller guarantees relations of this run; a relation that `plan::is_own` accepts is a base relation with
    // an entry in `simple_rte_array` and a `Planned`.
    unsafe {
        if (*inner).reloptkind != pg_sys::RelOptKind::RELOPT_BASEREL || !plan::is_own(inner) {
            return false;
        }
        let planned = Planned::of(inner);
        let target = &planned.table.target;
        let clauses = PgList::<pg_sys::RestrictInfo>::from_pg((*inner).baserestrictinfo);
        !(**(*root).simple_rte_array.add((*inner).relid as usize)).inh
            && (*inner).lateral_relids.is_null()
            && (*joined).lateral_relids.is_null()
            && planned.parameters.is_empty()
            && !target.form
            && !target.singleton
            && !clauses.iter_ptr().any(|info| (*info).pseudoconstant)
    }
}

/// The clauses of a join, as a key join uses them.
struct Clauses {
    /// Those that decide whether two rows match.
    join: Vec<*mut pg_sys::RestrictInfo>,
    /// Those that the rows of an outer join must meet afterwards.
    filter: Vec<*mut pg_sys::RestrictInfo>,
    /// Those of `join` that can be sent as conditions on the inner table, and by whose values rows can be hashed.
    keys: Vec<*mut pg_sys::RestrictInfo>,
}

impl Clauses {
    /// The clauses; `None` if there is no key among them.
    ///
    /// # Safety
    /// All pointers belong to the current planner run; `clauses` are the RestrictInfos of the join.
    unsafe fn of(
        joined: *mut pg_sys::RelOptInfo,
        outer: *mut pg_sys::RelOptInfo,
        inner: *mut pg_sys::RelOptInfo,
        kind: pg_sys::JoinType::Type,
        clauses: *mut pg_sys::List,
    ) -> Option<Self> {
        let mut found = Self { join: Vec::new(), filter: Vec::new(), keys: Vec::new() };
        // SAFETY: the caller guarantees RestrictInfos of this run. `left_relids` and `right_relids` are null, the empty set,
        // for a clause that is no operator with two sides.
        unsafe {
            let is_outer = matches!(kind, pg_sys::JoinType::JOIN_LEFT | pg_sys::JoinType::JOIN_ANTI);
            for info in PgList::<pg_sys::RestrictInfo>::from_pg(clauses).iter_ptr() {
                if (*info).pseudoconstant {
                    return None;
                }
                // RINFO_IS_PUSHED_DOWN
                let is_filter = (*info).is_pushed_down
                    || !pg_sys::bms_is_subset((*info).required_relids, (*joined).relids);
                if is_outer && is_filter {
                    found.filter.push(info);
                    continue;
                }
                found.join.push(info);
                let is_between = |one: pg_sys::Relids, other: pg_sys::Relids| {
                    !one.is_null()
                        && !other.is_null()
                        && pg_sys::bms_is_subset(one, (*outer).relids)
                        && pg_sys::bms_is_subset(other, (*inner).relids)
                };
                let sides = ((*info).left_relids, (*info).right_relids);
                let is_key = (is_between(sides.0, sides.1) || is_between(sides.1, sides.0))
                    && (*info).hashjoinoperator != pg_sys::InvalidOid
                    && pg_sys::get_commutator((*info).hashjoinoperator) != pg_sys::InvalidOid
                    && Planned::of(inner).join_key((*info).clause).is_some();
                if is_key {
                    found.keys.push(info);
                }
            }
        }
        (!found.keys.is_empty()).then_some(found)
    }
}

/// Whether the tuple of the join can be made of the columns of both sides as they are. It cannot if the join has to compute an
/// expression that an outer join above may set to NULL as a whole (a PlaceHolderVar): its columns have other names than above
/// the join. Nor if the outer rows are those of an UPDATE or DELETE of several tables, which PostgreSQL knows by a column
/// without a relation.
///
/// # Safety
/// All pointers belong to the current planner run; the clauses are those of the join.
unsafe fn has_plain_columns(
    joined: *mut pg_sys::RelOptInfo,
    outer: *mut pg_sys::RelOptInfo,
    inner: *mut pg_sys::RelOptInfo,
    clauses: &Clauses,
) -> bool {
    // SAFETY: the caller guarantees relations and clauses of this run, so their expressions are nodes. pull_var_clause returns
    // nodes in them, each a Var or a PlaceHolderVar.
    unsafe {
        let flags = pg_sys::PVC_RECURSE_AGGREGATES
            | pg_sys::PVC_RECURSE_WINDOWFUNCS
            | pg_sys::PVC_INCLUDE_PLACEHOLDERS;
        let columns = |expressions: *mut pg_sys::List| {
            PgList::<pg_sys::Node>::from_pg(pg_sys::pull_var_clause(expressions.cast(), flags as i32))
        };
        let below = [(*(*outer).reltarget).exprs, (*(*inner).reltarget).exprs].map(columns);
        let placeholder = |node: *mut pg_sys::Node| {
            let is_one = (*node).type_ == pg_sys::NodeTag::T_PlaceHolderVar;
            is_one.then(|| (*node.cast::<pg_sys::PlaceHolderVar>()).phid)
        };
        let is_below =
            |id| below.iter().any(|list| list.iter_ptr().any(|node| placeholder(node) == Some(id)));
        let is_row_identity = |node: *mut pg_sys::Node| {
            (*node).type_ == pg_sys::NodeTag::T_Var && (*node.cast::<pg_sys::Var>()).varno == ROWID_VAR
        };
        let infos = clauses.join.iter().chain(&clauses.filter);
        let mut used = vec![columns((*(*joined).reltarget).exprs)];
        used.extend(infos.map(|info| columns(pg_sys::lappend(std::ptr::null_mut(), (**info).clause.cast()))));
        let mut used = used.iter().flat_map(|list| list.iter_ptr());
        used.all(|node| placeholder(node).is_none_or(is_below))
            && !below.iter().any(|list| list.iter_ptr().any(is_row_identity))
    }
}

/// The path of a key join of the rows of `outer` with the relation `inner`.
///
/// # Safety
/// All pointers belong to the current planner run; `inner` is suitable.
unsafe fn key_join_path(
    root: *mut pg_sys::PlannerInfo,
    joined: *mut pg_sys::RelOptInfo,
    outer: *mut pg_sys::Path,
    inner: *mut pg_sys::RelOptInfo,
    kind: JoinKind,
    clauses: &Clauses,
    special: *mut pg_sys::SpecialJoinInfo,
) -> *mut pg_sys::CustomPath {
    // SAFETY: the caller guarantees the pointers. The lists are made of nodes of this run, in its memory context, as is the
    // path, which palloc0 returns zeroed: null is an empty list.
    unsafe {
        let planned = Planned::of(inner);
        let all_rows = rows::sent(root, inner);
        let keys = list(&clauses.keys);
        let outer_rows = (*outer).rows.max(1.0);
        let null: *mut pg_sys::List = std::ptr::null_mut();
        let values = |infos: &[*mut pg_sys::RestrictInfo]| {
            let sides = infos.iter().map(|info| sides(*info, inner).0.cast());
            let values = sides.fold(null, |list, value| pg_sys::lappend(list, value));
            pg_sys::estimate_num_groups(root, values, outer_rows, null.cast(), null.cast())
        };
        let matching = |infos: &[*mut pg_sys::RestrictInfo]| {
            pg_sys::clauselist_selectivity(root, list(infos), 0, pg_sys::JoinType::JOIN_INNER, special)
        };
        let listed = listed(&clauses.keys, values, |info| match planned.is_analyzed() {
            true => values(&[info]) * matching(&[info]),
            // A column of many values is likely to tell rows apart.
            false => -values(&[info]),
        });
        let asked = asked(&clauses.keys, listed, values);
        let (distinct, matching) = (values(&asked), matching(&asked));
        let rows_per_key =
            (all_rows * matching).min(planned.rows_of_key(asked.iter().map(|info| (**info).clause)));
        let fetched = (distinct * rows_per_key).min(all_rows.max(1.0));
        let requests = (distinct / KEYS_PER_REQUEST).ceil().max(1.0);
        // The executor changes over to reading all rows once that is cheaper.
        let costs = planned.costs;
        let remote = costs.of(requests, fetched).min(costs.of_scan(all_rows, planned.table.page_size) * 1.5);
        let local =
            (outer_rows + fetched) * pg_sys::cpu_tuple_cost * 2.0 + (*joined).rows * pg_sys::cpu_tuple_cost;
        // Of one block, as EXPLAIN ANALYZE shows rows of a node by loops.
        let of_block = (KEYS_PER_REQUEST.min(distinct) * rows_per_key).min(fetched).max(1.0);
        let scan = Estimate { rows: of_block, startup: costs.request, total: costs.of(1.0, of_block) };
        let scan = compat::create_scan_path(root, inner, null.cast(), null.cast(), scan, null.cast(), false);
        (*scan).fdw_private = pg_sys::extract_actual_clauses(keys, false);
        let told = KeyJoin {
            kind,
            all_rows,
            is_guess: planned.is_size_guessed.get(),
            rows_per_key,
            listed,
            page_size: planned.table.page_size,
            costs,
        };
        let path: *mut pg_sys::CustomPath = pg_sys::palloc0(size_of::<pg_sys::CustomPath>()).cast();
        (*path).path.type_ = pg_sys::NodeTag::T_CustomPath;
        (*path).path.pathtype = pg_sys::NodeTag::T_CustomScan;
        (*path).path.parent = joined;
        (*path).path.pathtarget = (*joined).reltarget;
        (*path).path.rows = (*joined).rows;
        (*path).path.startup_cost = (*outer).startup_cost + costs.request;
        (*path).path.total_cost = (*outer).total_cost + remote + local;
        compat::add_disabled_nodes(&mut (*path).path, outer);
        (*path).flags = pg_sys::CUSTOMPATH_SUPPORT_PROJECTION;
        (*path).custom_paths = pg_sys::lappend(pg_sys::lappend(null.cast(), outer.cast()), scan.cast());
        let parts = [
            private::string(&told.encode()).cast(),
            list(&clauses.join).cast(),
            list(&clauses.filter).cast(),
            keys.cast(),
        ];
        (*path).custom_private =
            parts.into_iter().fold(std::ptr::null_mut(), |list, part| pg_sys::lappend(list, part));
        (*path).methods = &raw const PATH_METHODS.0;
        path
    }
}

/// The key clause whose values are listed: one beside which the others have few values, so that these are sent too; else that by
/// which the server sends the fewest rows, if it is asked by no other. `values` estimates how many different values clauses
/// have, and `rows` how many rows come, or what is in the same order.
fn listed(
    keys: &[*mut pg_sys::RestrictInfo],
    values: impl Fn(&[*mut pg_sys::RestrictInfo]) -> f64,
    rows: impl Fn(*mut pg_sys::RestrictInfo) -> f64,
) -> usize {
    let rank = |at: usize| {
        let has_others = values(&others(keys, at)) > MOST_GROUPS as f64;
        (has_others, if has_others { rows(keys[at]) } else { -values(&[keys[at]]) })
    };
    let ranks: Vec<(bool, f64)> = (0..keys.len()).map(rank).collect();
    let better = |one: &usize, other: &usize| {
        let (one, other) = (ranks[*one], ranks[*other]);
        one.0.cmp(&other.0).then(one.1.total_cmp(&other.1))
    };
    (0..keys.len()).min_by(better).unwrap_or(0)
}

/// All but one.
fn others(keys: &[*mut pg_sys::RestrictInfo], without: usize) -> Vec<*mut pg_sys::RestrictInfo> {
    keys.iter().enumerate().filter(|(at, _)| *at != without).map(|(_, info)| *info).collect()
}

/// The key clauses that the server is likely to be asked by: all, or the listed one if the others have more values than are sent
/// beside it. `values` estimates how many different values clauses have.
fn asked(
    keys: &[*mut pg_sys::RestrictInfo],
    listed: usize,
    values: impl Fn(&[*mut pg_sys::RestrictInfo]) -> f64,
) -> Vec<*mut pg_sys::RestrictInfo> {
    match values(&others(keys, listed)) > MOST_GROUPS as f64 {
        true => vec![keys[listed]],
        false => keys.to_vec(),
    }
}

/// A list of RestrictInfos.
///
/// # Safety
/// The current memory context is that of the planner run.
unsafe fn list(infos: &[*mut pg_sys::RestrictInfo]) -> *mut pg_sys::List {
    // SAFETY: lappend gets null or its own last result, and allocates in the current context.
    infos.iter().fold(std::ptr::null_mut(), |list, info| unsafe { pg_sys::lappend(list, info.cast()) })
}

/// RestrictInfos in the order in which PostgreSQL evaluates clauses (`order_qual_clauses`, which it keeps to itself): what a view or
/// a policy demands comes before what a query does, and cheap ones come before dear ones. A clause that leaks nothing, and is
/// cheap, may come first.
///
/// # Safety
/// `clauses` are RestrictInfos of the current planner run, which is that of `root`.
unsafe fn in_order(root: *mut pg_sys::PlannerInfo, clauses: *mut pg_sys::List) -> *mut pg_sys::List {
    // SAFETY: the caller guarantees RestrictInfos of this run.
    unsafe {
        let mut ordered: Vec<_> = PgList::<pg_sys::RestrictInfo>::from_pg(clauses)
            .iter_ptr()
            .map(|info| {
                let mut cost = pg_sys::QualCost::default();
                pg_sys::cost_qual_eval_node(&mut cost, info.cast(), root);
                let is_first = (*info).leakproof && cost.per_tuple < 10.0 * pg_sys::cpu_operator_cost;
                (if is_first { 0 } else { (*info).security_level }, cost.per_tuple, info)
            })
            .collect();
        ordered.sort_by(|one, other| one.0.cmp(&other.0).then(one.1.total_cmp(&other.1)));
        ordered.iter().fold(std::ptr::null_mut(), |list, (.., info)| pg_sys::lappend(list, (*info).cast()))
    }
}

/// Both sides of a key clause: that of the outer rows, and that of the relation `inner`.
///
/// # Safety
/// `info` is a clause of [`Clauses::keys`].
unsafe fn sides(
    info: *mut pg_sys::RestrictInfo,
    inner: *mut pg_sys::RelOptInfo,
) -> (*mut pg_sys::Expr, *mut pg_sys::Expr) {
    // SAFETY: the planner sets `left_relids` and `right_relids` for an OpExpr with two arguments only.
    unsafe {
        let clause: *mut pg_sys::OpExpr = (*info).clause.cast();
        let arguments = PgList::<pg_sys::Expr>::from_pg((*clause).args);
        let get = |index| arguments.get_ptr(index).unwrap_or(std::ptr::null_mut());
        match pg_sys::bms_is_subset((*info).right_relids, (*inner).relids) {
            true => (get(0), get(1)),
            false => (get(1), get(0)),
        }
    }
}

/// A key clause with the side of the outer rows on its left.
///
/// # Safety
/// `info` is a clause of [`Clauses::keys`].
unsafe fn outer_first(info: *mut pg_sys::RestrictInfo, inner: *mut pg_sys::RelOptInfo) -> *mut pg_sys::Expr {
    // SAFETY: the caller guarantees an OpExpr, whose operator has a commutator: `Clauses::of` has looked. The copy is changed.
    unsafe {
        let clause: *mut pg_sys::OpExpr = pg_sys::copyObjectImpl((*info).clause.cast()).cast();
        if !pg_sys::bms_is_subset((*info).right_relids, (*inner).relids) {
            pg_sys::CommuteOpExpr(clause);
        }
        clause.cast()
    }
}

/// The lists in the `custom_exprs` of the plan, in this order.
#[derive(Clone, Copy, Debug)]
pub enum Expressions {
    /// The clauses that decide whether two rows match.
    Join,
    /// The key clauses, outer side first, of which each has an expression in each of the next lists.
    Keys,
    /// What the key clauses compare, on the side of the outer rows.
    Outer,
    /// What they compare on the side of the inner table.
    Inner,
    /// The values of the key conditions.
    Values,
}

/// Makes the plan. The scan tuple has the columns of the outer plan, then those of the inner plan.
#[pg_guard]
unsafe extern "C-unwind" fn plan_key_join(
    root: *mut pg_sys::PlannerInfo,
    joined: *mut pg_sys::RelOptInfo,
    path: *mut pg_sys::CustomPath,
    target_list: *mut pg_sys::List,
    _clauses: *mut pg_sys::List,
    plans: *mut pg_sys::List,
) -> *mut pg_sys::Plan {
    // SAFETY: the planner passes a path of `key_join_path`, so its private list has these parts, and the plans of its two
    // paths. All nodes are made in the planner's memory context.
    unsafe {
        let parts = PgList::<std::ffi::c_void>::from_pg((*path).custom_private);
        let part = |index| parts.get_ptr(index).unwrap_or(std::ptr::null_mut()).cast::<pg_sys::List>();
        let told = part(0).cast::<pg_sys::String>();
        let paths = PgList::<pg_sys::Path>::from_pg((*path).custom_paths);
        let inner = paths.get_ptr(1).map_or(std::ptr::null_mut(), |scan| (*scan).parent);
        let plans_of = PgList::<pg_sys::Plan>::from_pg(plans);
        let mut tuple: *mut pg_sys::List = std::ptr::null_mut();
        for plan in plans_of.iter_ptr() {
            for entry in PgList::<pg_sys::TargetEntry>::from_pg((*plan).targetlist).iter_ptr() {
                let number = pg_sys::list_length(tuple) as i16 + 1;
                let expression = pg_sys::copyObjectImpl((*entry).expr.cast()).cast();
                let entry = pg_sys::makeTargetEntry(expression, number, std::ptr::null_mut(), false);
                tuple = pg_sys::lappend(tuple, entry.cast());
            }
        }
        let filter = pg_sys::extract_actual_clauses(in_order(root, part(2)), false);
        let append = |list: *mut pg_sys::List, node: *mut pg_sys::Expr| pg_sys::lappend(list, node.cast());
        let keys: Vec<*mut pg_sys::RestrictInfo> = PgList::from_pg(part(3)).iter_ptr().collect();
        let mut lists = [std::ptr::null_mut(); Expressions::Values as usize + 1];
        lists[Expressions::Join as usize] = pg_sys::extract_actual_clauses(in_order(root, part(1)), false);
        for info in keys {
            let (outer, inside) = sides(info, inner);
            let value = match Planned::of(inner).join_key((*info).clause) {
                Some(Condition::Compare { values, .. }) => values,
                _ => unreachable!("a key clause is a comparison"),
            };
            for (at, node) in [
                (Expressions::Keys, outer_first(info, inner)),
                (Expressions::Outer, outer),
                (Expressions::Inner, inside),
                (Expressions::Values, value),
            ] {
                lists[at as usize] = append(lists[at as usize], node);
            }
        }
        let expressions = lists.into_iter().fold(std::ptr::null_mut(), |list, part: *mut pg_sys::List| {
            pg_sys::lappend(list, pg_sys::copyObjectImpl(part.cast()))
        });
        let above = [target_list, filter, (*(*joined).reltarget).exprs];
        compat::unify_nulling(tuple, expressions, &above);
        let scan: *mut pg_sys::CustomScan = pg_sys::palloc0(size_of::<pg_sys::CustomScan>()).cast();
        (*scan).scan.plan.type_ = pg_sys::NodeTag::T_CustomScan;
        (*scan).scan.plan.targetlist = target_list;
        (*scan).scan.plan.qual = filter;
        (*scan).flags = (*path).flags;
        (*scan).custom_plans = plans;
        (*scan).custom_exprs = expressions;
        let told = private::string(&from_server((*told).sval)).cast();
        (*scan).custom_private = pg_sys::lappend(std::ptr::null_mut(), told);
        (*scan).custom_scan_tlist = tuple;
        (*scan).methods = pg_sys::GetCustomScanMethods(NAME.as_ptr(), false);
        scan.cast()
    }
}

/// What the plan of a key join tells the executor.
///
/// # Safety
/// `scan` is a plan of [`plan_key_join`], or a copy of one.
pub unsafe fn told(scan: *mut pg_sys::CustomScan) -> KeyJoin {
    // SAFETY: the caller guarantees the plan, whose private list has one string.
    unsafe {
        let parts = PgList::<pg_sys::String>::from_pg((*scan).custom_private);
        let text = parts.get_ptr(0).map(|text| from_server((*text).sval)).unwrap_or_default();
        KeyJoin::decode(&text).unwrap_or_else(|error| unreachable!("a key join: {error}"))
    }
}

/// A list of the expressions of a plan.
///
/// # Safety
/// As [`told`].
pub unsafe fn expressions(scan: *mut pg_sys::CustomScan, which: Expressions) -> *mut pg_sys::List {
    // SAFETY: the caller guarantees the plan, whose `custom_exprs` are lists. An empty one is a null pointer.
    unsafe {
        let lists = PgList::<pg_sys::List>::from_pg((*scan).custom_exprs);
        lists.get_ptr(which as usize).unwrap_or(std::ptr::null_mut())
    }
}

//! `fdw_private` of plans and of upper paths: lists of nodes that `copyObject` and `nodeToString` handle.

use acumatica_pushdown::ScanPlan;
use pgrx::PgList;
use pgrx::prelude::*;

use crate::backend::encoding::from_server;

/// The members of the `fdw_private` of an upper path, as postgres_fdw's `FdwPathPrivateIndex`.
#[derive(Clone, Copy, Debug)]
enum PathMember {
    /// The `fdw_private` of the plan to be made of the path.
    Plan,
    /// Its `fdw_exprs`.
    Expressions,
}

/// A plan as `fdw_private`: a list of one `String` node.
///
/// # Safety
/// The current memory context, in which the list is allocated, lives as long as the plan.
pub unsafe fn to_list(plan: &ScanPlan) -> *mut pg_sys::List {
    // SAFETY: JSON in ASCII has no NUL. lappend only allocates in the current context, as the caller allows.
    unsafe { pg_sys::lappend(std::ptr::null_mut(), string(&plan.encode()).cast()) }
}

/// A `String` node.
///
/// # Safety
/// The current memory context lives as long as the node is used; `ascii` holds no NUL.
pub unsafe fn string(ascii: &str) -> *mut pg_sys::String {
    let mut text = ascii.as_bytes().to_vec();
    text.push(0);
    // SAFETY: `text` is a C string, which pstrdup copies. Both functions only allocate, as the caller allows.
    unsafe { pg_sys::makeString(pg_sys::pstrdup(text.as_ptr().cast())).cast() }
}

/// The plan in `fdw_private`.
///
/// # Safety
/// `list` was made by [`to_list`], or copied from such a list.
pub unsafe fn from_list(list: *mut pg_sys::List) -> ScanPlan {
    // SAFETY: by the caller's guarantee the list has one `String` node, whose `sval` is a C string.
    let text = unsafe {
        let node = PgList::<pg_sys::String>::from_pg(list).get_ptr(0);
        node.map(|node| from_server((*node).sval)).unwrap_or_default()
    };
    ScanPlan::decode(&text).unwrap_or_else(|error| unreachable!("plan \"{text}\": {error}"))
}

/// A plan with its `fdw_exprs` as the `fdw_private` of an upper path.
///
/// # Safety
/// The current memory context is the planner's, and `expressions` is null or a list in it.
pub unsafe fn to_path_list(plan: &ScanPlan, expressions: *mut pg_sys::List) -> *mut pg_sys::List {
    // SAFETY: lappend gets null or its own last result; it only allocates, as the caller allows.
    unsafe {
        let mut members = [std::ptr::null_mut(); 2];
        members[PathMember::Plan as usize] = to_list(plan);
        members[PathMember::Expressions as usize] = expressions;
        members.into_iter().fold(std::ptr::null_mut(), |list, member| pg_sys::lappend(list, member.cast()))
    }
}

/// The `fdw_private` and `fdw_exprs` of the plan to be made of an upper path.
///
/// # Safety
/// `list` was made by [`to_path_list`].
pub unsafe fn from_path_list(list: *mut pg_sys::List) -> (*mut pg_sys::List, *mut pg_sys::List) {
    // SAFETY: by the caller's guarantee it is a list of two lists, of which an empty one is a null pointer.
    let members = unsafe { PgList::<pg_sys::List>::from_pg(list) };
    let member = |member: PathMember| members.get_ptr(member as usize).unwrap_or(std::ptr::null_mut());
    (member(PathMember::Plan), member(PathMember::Expressions))
}

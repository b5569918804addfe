//! Sessions and grants. The backends of a cluster share them through files; a request takes a lease of one and gives it
//! back. [`turns`] chooses the session, [`sign_in`] and [`sign_out`] open and close sessions, [`upkeep`] closes those
//! that are due.

pub(crate) mod access;
pub(crate) mod callback;
pub(crate) mod connection;
pub(crate) mod exchange;
pub(crate) mod files;
pub(crate) mod layout;
pub(crate) mod lease;
pub(crate) mod listing;
pub(crate) mod oauth;
pub(crate) mod oauth_refusal;
pub(crate) mod sign_in;
pub(crate) mod sign_out;
pub(crate) mod store;
pub(crate) mod tenant;
pub(crate) mod turns;
pub(crate) mod upkeep;

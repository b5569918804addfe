//! Sessions and grants: shared by all backends of the cluster through files, lent for a request at a time, and always given
//! back. [`turns`] says who is lent which, [`sign_in`] and [`sign_out`] open and close them, [`upkeep`] closes what is due.

pub(crate) mod access;
pub(crate) mod callback;
pub(crate) mod connection;
pub(crate) mod exchange;
pub(crate) mod files;
pub(crate) mod layout;
pub(crate) mod lease;
pub(crate) mod listing;
pub(crate) mod oauth;
pub(crate) mod sign_in;
pub(crate) mod sign_out;
pub(crate) mod store;
pub(crate) mod tenant;
pub(crate) mod turns;
pub(crate) mod upkeep;

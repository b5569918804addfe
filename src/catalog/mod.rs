//! What the catalogs and the session's settings say: options, servers, user mappings, foreign tables.

pub mod connection;
pub mod option;
pub mod setting;
pub mod table;
pub mod types;

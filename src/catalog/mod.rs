//! Reads the catalogs and the session's settings: options, foreign servers, user mappings, foreign tables.

pub mod connection;
pub mod experience;
pub mod mapping;
pub mod names;
pub mod option;
pub mod server;
pub mod setting;
pub mod table;
pub mod types;

//! What people call: IMPORT FOREIGN SCHEMA, functions, and what follows DDL.

pub mod admin;
pub mod ddl;
pub mod discover;
pub mod import;
pub mod locks;

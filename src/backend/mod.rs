//! The backend process: error reports, encodings, the I/O thread, and the directories of shared state.

pub mod clients;
pub mod compat;
pub mod encoding;
pub mod error;
pub mod io;
pub mod state;

//! This process: errors, encodings, the thread that waits for the network, and the state that backends share.

pub mod clients;
pub mod compat;
pub mod encoding;
pub mod error;
pub mod io;
pub mod state;

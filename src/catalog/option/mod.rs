//! Options of servers, user mappings, foreign tables, columns and imports.

mod checks;
mod definition;
mod list;
mod options;
mod validator;

pub use checks::unfit;
pub use definition::{Object, is_date, parse_url};
pub use list::{SCHEMA_DAC, SCHEMA_ODATA, SCHEMA_REST};
pub use options::{Layers, Options};
pub use validator::option_list;

//! The directories of the state that all backends of the cluster share, and the key that seals its secrets.

use std::cell::RefCell;
use std::ffi::{CStr, CString, OsStr};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use acumatica_client::Sealer;
use pgrx::prelude::*;
use pgrx::{GucContext, GucFlags, GucRegistry, GucSetting};

use crate::backend::error::Refusal;

static KEY_FILE: GucSetting<Option<CString>> = GucSetting::<Option<CString>>::new(Some(c"acumatica_fdw/key"));

/// Defines `acumatica_fdw.key_file`. Called once in each backend that loads the library.
pub fn define_key_file() {
    GucRegistry::define_string_guc(
        c"acumatica_fdw.key_file",
        c"File with the key that secrets are sealed with.",
        c"Relative to the data directory. Made on first use, mode 0600. Put it where base backups do not take it along, and keep a copy.",
        &KEY_FILE,
        GucContext::Sighup,
        GucFlags::SUPERUSER_ONLY,
    );
}

fn data_directory() -> &'static Path {
    // SAFETY: the postmaster sets `DataDir` to a C string before it loads any library, and never changes it.
    let path = unsafe { CStr::from_ptr(pg_sys::DataDir) };
    Path::new(OsStr::from_bytes(path.to_bytes()))
}

/// The directory of all databases.
pub fn root() -> PathBuf {
    data_directory().join("acumatica_fdw")
}

/// The directory of all foreign servers of a database.
pub fn database_directory(database: pg_sys::Oid) -> PathBuf {
    root().join(database.to_u32().to_string())
}

fn own_database_directory() -> PathBuf {
    // SAFETY: only the backend's thread writes `MyDatabaseId`, when it connects, and this runs on that thread.
    database_directory(unsafe { pg_sys::MyDatabaseId })
}

/// The directory of a foreign server.
pub fn directory(server: pg_sys::Oid) -> PathBuf {
    own_database_directory().join(server.to_u32().to_string())
}

/// The databases that have a directory.
pub fn databases() -> Vec<pg_sys::Oid> {
    numbered(&root())
}

/// The directories of the servers of a database.
pub fn servers_of(database: pg_sys::Oid) -> Vec<PathBuf> {
    let directory = database_directory(database);
    numbered(&directory).into_iter().map(|server| directory.join(server.to_u32().to_string())).collect()
}

/// The servers of this database that have a directory.
pub fn servers() -> Vec<pg_sys::Oid> {
    numbered(&own_database_directory())
}

fn numbered(directory: &Path) -> Vec<pg_sys::Oid> {
    let entries = std::fs::read_dir(directory).into_iter().flatten().flatten();
    let mut numbers: Vec<u32> =
        entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect();
    numbers.sort_unstable();
    numbers.into_iter().map(pg_sys::Oid::from).collect()
}

/// The path, inode and modification time of the key file. They differ if the file was replaced.
type Stamp = Option<(PathBuf, u64, i64)>;

/// The sealer with the cluster's key. The key file is read again only if the setting or the file has changed.
pub fn sealer() -> Result<Arc<Sealer>, Refusal> {
    thread_local! {
        static OPEN: RefCell<Option<(Stamp, Arc<Sealer>)>> = const { RefCell::new(None) };
    }
    let file = KEY_FILE.get().unwrap_or_default();
    let file = data_directory().join(OsStr::from_bytes(file.as_bytes()));
    let stamp = || file.metadata().ok().map(|about| (file.clone(), about.ino(), about.mtime_nsec()));
    OPEN.with_borrow_mut(|open| {
        if let Some((known, sealer)) = open
            && *known == stamp()
        {
            return Ok(Arc::clone(sealer));
        }
        let sealer = Arc::new(Sealer::open(&file)?);
        *open = Some((stamp(), Arc::clone(&sealer)));
        Ok(sealer)
    })
}

//! Files that the backends of a cluster share: locks, and contents that are replaced as a whole.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::error::{Error, ErrorKind, Result};
use crate::transport::retry::jitter;

/// How long a waiter sleeps between two attempts to lock a file, at first and at most.
const FIRST_LOOK: Duration = Duration::from_millis(1);
const LAST_LOOK: Duration = Duration::from_millis(20);

/// A lock, held as long as this value lives.
#[derive(Debug)]
pub(crate) struct Held(#[expect(dead_code, reason = "it is open, and so locked")] File);

/// Identifies a version of a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Stamp(u64, i64, i64);

impl Stamp {
    /// The stamp of the file that is there now, if there is one.
    pub fn of(path: &Path) -> Option<Self> {
        let about = fs::metadata(path).ok()?;
        Some(Self(about.ino(), about.mtime(), about.mtime_nsec()))
    }
}

/// Whether a file must survive a crash of the machine. Those of sessions need not: a lost session costs a seat until
/// the server closes it.
#[derive(PartialEq)]
pub(crate) enum Durable {
    Yes,
    No,
}

/// Replaces the content of a file. A reader sees either the old or the new content.
pub(crate) fn replace(path: &Path, content: &[u8], durable: Durable) -> io::Result<()> {
    let draft = path.with_added_extension("new");
    let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&draft)?;
    file.write_all(content)?;
    if durable == Durable::Yes {
        file.sync_all()?;
    }
    fs::rename(&draft, path)?;
    if durable == Durable::Yes
        && let Some(directory) = path.parent()
    {
        File::open(directory)?.sync_all()?;
    }
    Ok(())
}

/// The lock on a file, unless another process holds it.
pub(crate) fn try_hold(path: &Path) -> Result<Option<Held>> {
    lock(path, File::try_lock)
}

/// The lock on a file, once no other process holds it.
pub(crate) async fn hold(path: &Path) -> Result<Held> {
    poll(|| try_hold(path)).await
}

/// The lock on a file. It blocks the thread until other processes release the lock, so it is for locks that are held
/// only while a file is written.
pub(crate) fn block(path: &Path) -> Result<Held> {
    let file = open_lock(path)?;
    file.lock().map_err(|reason| inaccessible(path, reason))?;
    Ok(Held(file))
}

fn open_lock(path: &Path) -> Result<File> {
    let file = OpenOptions::new().read(true).write(true).create(true).truncate(false).mode(0o600).open(path);
    file.map_err(|reason| inaccessible(path, reason))
}

/// A lock on a file, taken as `how` says, unless another process holds it.
pub(crate) fn lock(path: &Path, how: fn(&File) -> Result<(), TryLockError>) -> Result<Option<Held>> {
    let file = open_lock(path)?;
    match how(&file) {
        Ok(()) => Ok(Some(Held(file))),
        Err(TryLockError::WouldBlock) => Ok(None),
        Err(TryLockError::Error(reason)) => Err(inaccessible(path, reason)),
    }
}

/// Calls `look` repeatedly until it returns a value. A blocking lock could not be cancelled.
pub(crate) async fn poll<T>(mut look: impl FnMut() -> Result<Option<T>>) -> Result<T> {
    let mut pause = FIRST_LOOK;
    loop {
        if let Some(found) = look()? {
            return Ok(found);
        }
        tokio::time::sleep(jitter(pause)).await;
        pause = (pause * 2).min(LAST_LOOK);
    }
}

pub(crate) fn inaccessible(path: &Path, reason: io::Error) -> Error {
    // Only the end of the path is shown: the location of the data directory is for superusers.
    let name: PathBuf = path.components().rev().take(3).collect::<Vec<_>>().into_iter().rev().collect();
    Error::new(ErrorKind::Storage, format!("could not access \"acumatica_fdw/{}\"", name.display())).detail(reason).hint(
        "The sessions of the cluster are kept there. It must be writable for the user that runs PostgreSQL.",
    )
}

//! Secrets at rest: AES-256-GCM under the key of the cluster.
//!
//! Whoever reads the catalog, a dump or the state files without the key file learns nothing from them.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::Path;

use aws_lc_rs::aead::{AES_256_GCM, Aad, Nonce, RandomizedNonceKey};
use aws_lc_rs::rand;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use zeroize::Zeroizing;

use crate::error::{Error, ErrorKind, Result};

/// What sealed text begins with; behind it, in base64, nonce (12 bytes), ciphertext and tag (16 bytes).
const PREFIX: &str = "acumatica-sealed:1:";
const KEY_BYTES: usize = 32;
const NONCE_BYTES: usize = 12;
/// What a secret is sealed for that a person puts into a user mapping.
const FOR_MAPPING: &str = "user mapping";

/// Seals and unseals with the key of one file.
pub struct Sealer {
    key: RandomizedNonceKey,
}

impl std::fmt::Debug for Sealer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Sealer").finish_non_exhaustive()
    }
}

impl Sealer {
    /// Reads the key file, and makes it if there is none: 32 random bytes in base64, mode 0600.
    ///
    /// # Errors
    /// It cannot be read or made, others may read it, or it holds no key.
    pub fn open(file: &Path) -> Result<Self> {
        let key = match read_key(file) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                make_key(file).and_then(|()| read_key(file))
            }
            other => other,
        }
        .map_err(unusable)?;
        let key = RandomizedNonceKey::new(&AES_256_GCM, &key)
            .map_err(|_| unusable(io::Error::other("it holds no key of 32 bytes in base64")))?;
        Ok(Self { key })
    }

    /// A secret as it may stand in a user mapping.
    ///
    /// # Errors
    /// Encryption itself failed.
    pub fn seal_secret(&self, secret: &str) -> Result<String> {
        self.seal(FOR_MAPPING, secret.as_bytes())
    }

    /// The secret that stands in a user mapping, which may be sealed or not.
    ///
    /// # Errors
    /// It is sealed, and not with this key.
    pub fn reveal(&self, text: &str) -> Result<Zeroizing<String>> {
        let bytes = self.unseal(FOR_MAPPING, text)?;
        String::from_utf8(bytes.to_vec()).map(Zeroizing::new).map_err(|_| Self::foreign())
    }

    /// Seals for one purpose: what was sealed for another cannot take its place.
    pub(crate) fn seal(&self, purpose: &str, plain: &[u8]) -> Result<String> {
        let mut sealed = plain.to_vec();
        let nonce = self
            .key
            .seal_in_place_append_tag(Aad::from(purpose.as_bytes()), &mut sealed)
            .map_err(|_| Error::new(ErrorKind::Internal, "could not seal a secret"))?;
        let mut bytes = nonce.as_ref().to_vec();
        bytes.append(&mut sealed);
        Ok(format!("{PREFIX}{}", STANDARD.encode(bytes)))
    }

    pub(crate) fn unseal(&self, purpose: &str, text: &str) -> Result<Zeroizing<Vec<u8>>> {
        let encoded = text.trim().strip_prefix(PREFIX).ok_or_else(Self::foreign)?;
        let bytes = STANDARD.decode(encoded).map_err(|_| Self::foreign())?;
        let (nonce, sealed) = bytes.split_first_chunk::<NONCE_BYTES>().ok_or_else(Self::foreign)?;
        let mut plain = Zeroizing::new(sealed.to_vec());
        let length = self
            .key
            .open_in_place(Nonce::from(nonce), Aad::from(purpose.as_bytes()), &mut plain)
            .map_err(|_| Self::foreign())?
            .len();
        plain.truncate(length);
        Ok(plain)
    }

    fn foreign() -> Error {
        Error::new(ErrorKind::Key, "a sealed secret cannot be opened")
            .detail("It was sealed with another key than that of acumatica_fdw.key_file, or it is damaged.")
            .hint("Seal it again on this cluster with acumatica_seal(), or restore the key file it was sealed with.")
    }
}

/// Whether a text claims to be sealed.
pub fn is_sealed(text: &str) -> bool {
    text.trim_start().starts_with(PREFIX)
}

fn read_key(file: &Path) -> io::Result<Zeroizing<Vec<u8>>> {
    let file = File::open(file)?;
    let about = file.metadata()?;
    // As PostgreSQL demands of the server's TLS key: the owner's alone, or root's and readable by a group.
    let allowed = if about.uid() == 0 { 0o640 } else { 0o600 };
    if about.mode() & 0o777 & !allowed != 0 {
        return Err(io::Error::new(
            io::ErrorKind::PermissionDenied,
            format!("others may read or write it (mode {:04o})", about.mode() & 0o777),
        ));
    }
    let mut text = Zeroizing::new(String::new());
    file.take(1024).read_to_string(&mut text)?;
    STANDARD.decode(text.trim()).map(Zeroizing::new).map_err(|_| io::Error::other("it is not in base64"))
}

/// Several backends may do so at once: the first wins, and all use its key.
fn make_key(file: &Path) -> io::Result<()> {
    let mut key = Zeroizing::new([0; KEY_BYTES]);
    rand::fill(&mut *key).map_err(|_| io::Error::other("the system has no random numbers"))?;
    if let Some(directory) = file.parent() {
        crate::store::make_directory(directory)?;
    }
    let mut unique = [0; 8];
    rand::fill(&mut unique).map_err(|_| io::Error::other("the system has no random numbers"))?;
    let draft = file.with_added_extension(format!("{:016x}", u64::from_ne_bytes(unique)));
    let mut new = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&draft)?;
    new.write_all(Zeroizing::new(STANDARD.encode(*key)).as_bytes())?;
    new.sync_all()?;
    let linked = fs::hard_link(&draft, file);
    fs::remove_file(&draft)?;
    if let Some(directory) = file.parent() {
        // What is sealed with it will outlive a crash of the machine.
        File::open(directory)?.sync_all()?;
    }
    match linked {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(error),
        _ => Ok(()),
    }
}

fn unusable(reason: io::Error) -> Error {
    Error::new(ErrorKind::Key, "could not use the key file")
        .detail(reason)
        .hint(
            "The parameter acumatica_fdw.key_file names it. It must belong to the user that runs PostgreSQL, with \
             mode 0600, and hold 32 random bytes in base64; where there is none it is made.",
        )
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn sealer() -> (tempfile::TempDir, Sealer) {
        let directory = tempfile::tempdir().unwrap();
        let sealer = Sealer::open(&directory.path().join("state/key")).unwrap();
        (directory, sealer)
    }

    #[test]
    fn what_is_sealed_can_be_revealed_by_the_same_key_alone() {
        let (_one, sealer) = sealer();
        let sealed = sealer.seal_secret("pässword").unwrap();
        assert!(is_sealed(&sealed) && !sealed.contains("ssword"));
        assert_eq!(*sealer.reveal(&sealed).unwrap(), "pässword");
        assert_ne!(sealer.seal_secret("pässword").unwrap(), sealed);
        let other = tempfile::tempdir().unwrap();
        let other = Sealer::open(&other.path().join("key")).unwrap();
        assert_eq!(other.reveal(&sealed).unwrap_err().kind, ErrorKind::Key);
    }

    #[test]
    fn what_is_sealed_for_one_purpose_serves_no_other() {
        let (_one, sealer) = sealer();
        let sealed = sealer.seal("a", b"x").unwrap();
        assert!(sealer.unseal("b", &sealed).is_err());
        assert_eq!(*sealer.unseal("a", &sealed).unwrap(), b"x");
    }

    #[test]
    fn damage_shows() {
        let (_one, sealer) = sealer();
        let sealed = sealer.seal_secret("x").unwrap();
        for text in [&sealed[..sealed.len() - 8], "acumatica-sealed:1:", "acumatica-sealed:1:AAAA", "x"] {
            assert_eq!(sealer.reveal(text).unwrap_err().kind, ErrorKind::Key, "{text}");
        }
    }

    #[test]
    fn all_that_start_at_once_agree_on_one_key() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("key");
        let sealers: Vec<Sealer> = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..8).map(|_| scope.spawn(|| Sealer::open(&file).unwrap())).collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).collect()
        });
        let sealed = sealers[0].seal_secret("x").unwrap();
        assert!(sealers.iter().all(|sealer| sealer.reveal(&sealed).is_ok()));
        assert_eq!(fs::metadata(&file).unwrap().mode() & 0o777, 0o600);
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 1);
    }

    #[test]
    fn a_key_that_others_may_read_is_refused() {
        let (directory, _) = sealer();
        let file = directory.path().join("state/key");
        fs::set_permissions(&file, fs::Permissions::from_mode(0o644)).unwrap();
        let error = Sealer::open(&file).unwrap_err();
        assert!(error.detail.unwrap().contains("mode 0644"));
        fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).unwrap();
        fs::write(&file, "c2hvcnQ=").unwrap();
        assert_eq!(Sealer::open(&file).unwrap_err().kind, ErrorKind::Key);
    }
}

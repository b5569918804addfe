//! Encryption of stored secrets: AES-256-GCM with the key of the cluster.
//!
//! Without the key file, the catalog, a dump or the state files reveal no secret.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::Path;

use aws_lc_rs::aead::{AES_256_GCM, Aad, Nonce, RandomizedNonceKey};
use aws_lc_rs::rand;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use crate::error::{Error, ErrorKind, Result};

/// The beginning of sealed text, followed by its form: see [`PREFIX`] and [`BOUND`].
const MARK: &str = "acumatica-sealed:";
/// Followed by base64 of the nonce (12 bytes), ciphertext and tag (16 bytes).
const PREFIX: &str = "acumatica-sealed:1:";
/// The same for a secret with the server and role that it is for.
const BOUND: &str = "acumatica-sealed:2:";
const KEY_BYTES: usize = 32;
const NONCE_BYTES: usize = 12;
/// The purposes of secrets that a person puts into a user mapping. Texts of the first purpose can be opened by any
/// mapping of any server; no new ones are made.
const FOR_ANY_MAPPING: &str = "user mapping";
const FOR_MAPPING: &str = "user mapping of a role for a server";

/// The host and role that a secret is for. Without it, whoever may create a server could send any sealed text that they
/// can read to a machine of theirs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Purpose {
    /// Host and port of the site.
    pub host: String,
    /// The role that the user mapping is for, or `public`.
    pub role: String,
}

/// The plaintext: the secret with its purpose. The purpose alone does not decide whether it can be opened, so that a
/// wrong key is not reported as a wrong server.
#[derive(Serialize, Deserialize)]
struct BoundSecret {
    host: String,
    role: String,
    secret: Zeroizing<String>,
}

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

    /// A secret as it may stand in the user mapping of one role, for one host.
    ///
    /// # Errors
    /// Encryption itself failed.
    pub fn seal_secret(&self, secret: &str, purpose: &Purpose) -> Result<String> {
        let bound = BoundSecret {
            host: purpose.host.clone(),
            role: purpose.role.clone(),
            secret: Zeroizing::new(secret.to_owned()),
        };
        let plain = serde_json::to_vec(&bound).map(Zeroizing::new);
        let plain = plain.map_err(|_| Error::new(ErrorKind::Internal, "could not seal a secret"))?;
        let sealed = self.seal(FOR_MAPPING, &plain)?;
        Ok(sealed.replacen(PREFIX, BOUND, 1))
    }

    /// The secret in the sealed text of a user mapping, and whether any other mapping could open it.
    ///
    /// # Errors
    /// It was sealed with another key, or for another purpose.
    pub fn reveal(&self, text: &str, purpose: &Purpose) -> Result<(Zeroizing<String>, bool)> {
        let text = text.trim();
        if text.starts_with(PREFIX) {
            let bytes = self.unseal(FOR_ANY_MAPPING, text)?;
            let secret = String::from_utf8(bytes.to_vec()).map_err(|_| Self::foreign())?;
            return Ok((Zeroizing::new(secret), true));
        }
        let bytes = self.unseal(FOR_MAPPING, &text.replacen(BOUND, PREFIX, 1))?;
        let bound: BoundSecret = serde_json::from_slice(&bytes).map_err(|_| Self::foreign())?;
        let is_for = |one: &str, other: &str, what: &str| match one == other {
            true => Ok(()),
            false => Err(Error::new(ErrorKind::Key, "a sealed secret cannot be opened")
                .detail(format!("It was sealed for another {what} than \"{other}\"."))
                .hint("Seal it for this user mapping: SELECT acumatica_seal(secret, server, role).")),
        };
        is_for(&bound.host, &purpose.host, "host")?;
        is_for(&bound.role, &purpose.role, "role")?;
        Ok((bound.secret, false))
    }

    /// Seals a text for one purpose. A text that was sealed for another purpose cannot replace it.
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

/// Whether a text has the form of sealed text.
pub fn is_sealed(text: &str) -> bool {
    text.trim_start().starts_with(MARK)
}

fn read_key(file: &Path) -> io::Result<Zeroizing<Vec<u8>>> {
    let file = File::open(file)?;
    let about = file.metadata()?;
    // PostgreSQL has the same rule for the TLS key: only the owner may read it, or root owns it and a group may read
    // it.
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

/// Several backends may do so at once: the first one succeeds, and all use its key.
fn make_key(file: &Path) -> io::Result<()> {
    let mut key = Zeroizing::new([0; KEY_BYTES]);
    rand::fill(&mut *key).map_err(|_| io::Error::other("the system has no random numbers"))?;
    if let Some(directory) = file.parent() {
        make_directory(directory)?;
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
        // What is sealed with the key survives a crash of the machine, so the key must, too.
        File::open(directory)?.sync_all()?;
    }
    match linked {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(error),
        _ => Ok(()),
    }
}

/// Creates a directory that only its owner can enter, with its parents.
pub(crate) fn make_directory(directory: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(directory)
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

    fn purpose(host: &str, role: &str) -> Purpose {
        Purpose { host: host.into(), role: role.into() }
    }

    fn seal(sealer: &Sealer, secret: &str) -> String {
        sealer.seal_secret(secret, &purpose("erp:443", "alice")).unwrap()
    }

    fn reveal(sealer: &Sealer, text: &str) -> Result<(Zeroizing<String>, bool)> {
        sealer.reveal(text, &purpose("erp:443", "alice"))
    }

    fn sealer() -> (tempfile::TempDir, Sealer) {
        let directory = tempfile::tempdir().unwrap();
        let sealer = Sealer::open(&directory.path().join("state/key")).unwrap();
        (directory, sealer)
    }

    #[test]
    fn what_is_sealed_can_be_revealed_by_the_same_key_alone() {
        let (_one, sealer) = sealer();
        let sealed = seal(&sealer, "pässword");
        assert!(is_sealed(&sealed) && !sealed.contains("ssword"));
        let (secret, by_any) = reveal(&sealer, &sealed).unwrap();
        assert!(*secret == "pässword" && !by_any);
        assert_ne!(seal(&sealer, "pässword"), sealed);
        let other = tempfile::tempdir().unwrap();
        let other = Sealer::open(&other.path().join("key")).unwrap();
        assert_eq!(reveal(&other, &sealed).unwrap_err().kind, ErrorKind::Key);
    }

    #[test]
    fn issue_5_what_is_sealed_for_one_host_and_role_is_opened_for_no_other() {
        let (_one, sealer) = sealer();
        let sealed = seal(&sealer, "x");
        for (other, word) in [
            (purpose("evil:443", "alice"), "host"),
            (purpose("erp:8443", "alice"), "host"),
            (purpose("erp:443", "bob"), "role"),
            (purpose("erp:443", "public"), "role"),
        ] {
            let error = sealer.reveal(&sealed, &other).unwrap_err();
            let detail = error.detail.unwrap();
            assert!(error.kind == ErrorKind::Key && detail.contains(&format!("another {word}")), "{detail}");
            assert!(!detail.contains("erp:443") || word == "role", "{detail}");
        }
        // Nor can it be changed to the old kind.
        assert!(reveal(&sealer, &sealed.replacen(BOUND, PREFIX, 1)).is_err());
    }

    #[test]
    fn issue_5_what_was_sealed_for_all_is_still_opened_and_told_apart() {
        let (_one, sealer) = sealer();
        let old = sealer.seal(FOR_ANY_MAPPING, b"x").unwrap();
        let (secret, by_any) = reveal(&sealer, &old).unwrap();
        assert!(*secret == "x" && by_any);
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
        let sealed = seal(&sealer, "x");
        for text in [
            &sealed[..sealed.len() - 8],
            "acumatica-sealed:1:",
            "acumatica-sealed:1:AAAA",
            "acumatica-sealed:2:AAAA",
            "acumatica-sealed:3:AAAA",
            "x",
        ] {
            assert_eq!(reveal(&sealer, text).unwrap_err().kind, ErrorKind::Key, "{text}");
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
        let sealed = seal(&sealers[0], "x");
        assert!(sealers.iter().all(|sealer| reveal(sealer, &sealed).is_ok()));
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

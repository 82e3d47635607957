//! The folder of accounts and certificates, `acme` in `state_dir`.
//!
//! | file | content |
//! |---|---|
//! | `DOMAIN.DIRECTORY.pem` | a private key, and the chain of its certificate |
//! | `DOMAIN.DIRECTORY.wait` | the time, in seconds since 1970, before which no new order is made |
//! | `account.DIRECTORY-AND-EMAIL.json` | the key and the URL of an account |
//! | `lock` | nothing; locked while an order is made |
//!
//! `DIRECTORY` is a fingerprint of the directory's URL, so that certificates of
//! a staging authority are not taken for those of the real one.
//!
//! Each file is replaced as a whole: written under another name, synchronised,
//! and renamed. Key and chain are one file, so that they always belong together.
//! All files are readable for their owner alone. Everything here blocks.

use std::{
    fs::{self, DirBuilder, File, OpenOptions, Permissions},
    io::{self, Read as _, Write as _},
    os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, PermissionsExt as _},
    path::{Path, PathBuf},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use aws_lc_rs::digest::{SHA256, digest};
use zeroize::Zeroizing;

use crate::policy::{Acme, KeyedCertificate};

/// Bytes of the longest file that is read: chains have up to ten KiB.
const LONGEST: u64 = 512 * 1024;
/// Bytes of a domain in the name of a file; of a longer one the fingerprint is
/// enough. File systems accept 255 bytes.
const LONGEST_NAME: usize = 150;

/// The folder. It belongs to this process, and to the one before while this one
/// takes over.
#[derive(Debug, Clone)]
pub(super) struct Folder {
    path: PathBuf,
}

/// A certificate as it is kept.
#[derive(Debug)]
pub(super) struct Kept {
    /// The chain with its key.
    pub(super) certificate: KeyedCertificate,
    /// When it was written.
    pub(super) since: SystemTime,
}

/// The right to make an order: of all processes that use the folder, one at a
/// time has it. The system releases it when the process ends.
#[derive(Debug)]
pub(super) struct OrderLock {
    _file: File,
}

impl Folder {
    /// The folder in `state_dir`. It is created with the first file.
    pub(super) fn in_state_dir(state_dir: &Path) -> Self {
        Self {
            path: state_dir.join("acme"),
        }
    }

    /// The right to make an order; `None` while another process has it.
    ///
    /// # Errors
    /// The folder or the file of the lock cannot be made.
    pub(super) fn lock(&self) -> io::Result<Option<OrderLock>> {
        self.make()?;
        let file = owners().open(self.path.join("lock"))?;
        match file.try_lock() {
            Ok(()) => Ok(Some(OrderLock { _file: file })),
            Err(fs::TryLockError::WouldBlock) => Ok(None),
            Err(fs::TryLockError::Error(error)) => Err(error),
        }
    }

    /// The certificate for `domain`; `None` if there is none, or if it has
    /// expired.
    ///
    /// # Errors
    /// The file cannot be read, or holds something else. The text follows the
    /// name of the file.
    pub(super) fn certificate(&self, domain: &str, acme: &Acme) -> Result<Option<Kept>, String> {
        let path = self.certificate_file(domain, acme);
        let Some((bytes, since)) =
            read(&path).map_err(|error| format!("cannot be read ({error})"))?
        else {
            return Ok(None);
        };
        let certificate = KeyedCertificate::from_pem(&bytes, path)?;
        if !certificate.names.iter().any(|name| **name == *domain) {
            return Err("holds a certificate for another name".to_owned());
        }
        let is_valid = certificate.expires > SystemTime::now();
        Ok(is_valid.then_some(Kept { certificate, since }))
    }

    /// Keeps a key with the chain of its certificate, both as PEM.
    ///
    /// # Errors
    /// The file cannot be written.
    pub(super) fn keep_certificate(
        &self,
        domain: &str,
        acme: &Acme,
        pem: &Zeroizing<String>,
    ) -> io::Result<()> {
        self.replace(&self.certificate_file(domain, acme), pem.as_bytes())
    }

    /// The name of the file of a certificate, with its path.
    pub(super) fn certificate_file(&self, domain: &str, acme: &Acme) -> PathBuf {
        self.file_of(domain, acme, "pem")
    }

    /// The account, as JSON of the library; `None` if there is none.
    ///
    /// # Errors
    /// The file cannot be read.
    pub(super) fn account(&self, acme: &Acme) -> io::Result<Option<Zeroizing<Vec<u8>>>> {
        Ok(read(&self.account_file(acme))?.map(|(bytes, _)| bytes))
    }

    /// Keeps an account.
    ///
    /// # Errors
    /// The file cannot be written.
    pub(super) fn keep_account(&self, acme: &Acme, json: &Zeroizing<Vec<u8>>) -> io::Result<()> {
        self.replace(&self.account_file(acme), json)
    }

    /// Forgets an account that its authority does not know any more.
    ///
    /// # Errors
    /// The file cannot be removed.
    pub(super) fn forget_account(&self, acme: &Acme) -> io::Result<()> {
        fs::remove_file(self.account_file(acme))
    }

    /// The time before which no new order is made; `None` if there is none.
    pub(super) fn wait(&self, domain: &str, acme: &Acme) -> Option<SystemTime> {
        let (bytes, _) = read(&self.file_of(domain, acme, "wait")).ok()??;
        let seconds = std::str::from_utf8(&bytes).ok()?.trim().parse().ok()?;
        UNIX_EPOCH.checked_add(Duration::from_secs(seconds))
    }

    /// Keeps the time before which no new order is made, so that a process that
    /// starts again and again does not order each time.
    ///
    /// # Errors
    /// The file cannot be written.
    pub(super) fn keep_wait(&self, domain: &str, acme: &Acme, until: SystemTime) -> io::Result<()> {
        let seconds = until.duration_since(UNIX_EPOCH).unwrap_or_default();
        let text = format!("{}\n", seconds.as_secs());
        self.replace(&self.file_of(domain, acme, "wait"), text.as_bytes())
    }

    fn file_of(&self, domain: &str, acme: &Acme, kind: &str) -> PathBuf {
        let directory = fingerprint(&acme.directory);
        let name = match domain.len() > LONGEST_NAME {
            true => fingerprint(domain),
            false => domain.to_owned(),
        };
        self.path.join(format!("{name}.{directory}.{kind}"))
    }

    fn account_file(&self, acme: &Acme) -> PathBuf {
        let of = format!(
            "{}\n{}",
            acme.directory,
            acme.email.as_deref().unwrap_or_default()
        );
        self.path.join(format!("account.{}.json", fingerprint(&of)))
    }

    /// Creates the folder, for its owner alone.
    fn make(&self) -> io::Result<()> {
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(&self.path)?;
        // It may have been there with other rights.
        fs::set_permissions(&self.path, Permissions::from_mode(0o700))
    }

    /// Replaces a file as a whole: after a crash at any moment it has its old
    /// content or its new one.
    fn replace(&self, path: &Path, content: &[u8]) -> io::Result<()> {
        self.make()?;
        let mut next = path.to_owned().into_os_string();
        next.push(".next");
        // One that a crash has left may have other rights.
        let _ = fs::remove_file(&next);
        let mut file = owners().truncate(true).open(&next)?;
        file.write_all(content)?;
        file.sync_all()?;
        fs::rename(&next, path)?;
        // The new name has to be on the disk, too.
        File::open(&self.path)?.sync_all()
    }
}

/// Opens a file for writing, and creates it for its owner alone.
fn owners() -> OpenOptions {
    let mut options = OpenOptions::new();
    options.write(true).create(true).mode(0o600);
    options
}

/// A file, and when it was written; `None` if it is absent.
fn read(path: &Path) -> io::Result<Option<(Zeroizing<Vec<u8>>, SystemTime)>> {
    let file = match File::open(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        file => file?,
    };
    let about = file.metadata()?;
    if about.len() > LONGEST {
        return Err(io::Error::new(
            io::ErrorKind::InvalidData,
            "it is too large",
        ));
    }
    let mut bytes = Zeroizing::new(Vec::with_capacity(about.len() as usize));
    file.take(LONGEST).read_to_end(&mut bytes)?;
    Ok(Some((bytes, about.modified()?)))
}

/// 16 hexadecimal digits that stand for a text in the name of a file.
fn fingerprint(text: &str) -> String {
    let digest = digest(&SHA256, text.as_bytes());
    let mut digits = String::new();
    for byte in &digest.as_ref()[..8] {
        digits.push_str(&format!("{byte:02x}"));
    }
    digits
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::AcmeChallenge;

    fn acme(directory: &str) -> Acme {
        Acme {
            domains: ["a.example".into()].into(),
            email: None,
            directory: directory.into(),
            ca: None,
            challenge: AcmeChallenge::Http01,
        }
    }

    fn pem(name: &str) -> Zeroizing<String> {
        let key = rcgen::KeyPair::generate().unwrap();
        let params = rcgen::CertificateParams::new([name.to_owned()]).unwrap();
        let certificate = params.self_signed(&key).unwrap();
        Zeroizing::new(key.serialize_pem() + &certificate.pem())
    }

    #[test]
    fn files_are_for_their_owner_alone_whatever_was_there_before() {
        let state = tempfile::tempdir().unwrap();
        fs::create_dir(state.path().join("acme")).unwrap();
        let folder = Folder::in_state_dir(state.path());
        let acme = acme("https://a.example");
        let file = folder.certificate_file("a.example", &acme);
        fs::write(file.with_extension("pem.next"), "left by a crash").unwrap();
        folder
            .keep_certificate("a.example", &acme, &pem("a.example"))
            .unwrap();
        folder
            .keep_account(&acme, &Zeroizing::new(b"{}".to_vec()))
            .unwrap();
        folder
            .keep_wait("a.example", &acme, SystemTime::now())
            .unwrap();
        drop(folder.lock().unwrap().unwrap());
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode(&folder.path), 0o700);
        let mut files = 0;
        for entry in fs::read_dir(&folder.path).unwrap() {
            assert_eq!(mode(&entry.unwrap().path()), 0o600);
            files += 1;
        }
        assert_eq!(files, 4);
    }

    #[test]
    fn a_certificate_is_that_of_its_directory_and_its_name() {
        let state = tempfile::tempdir().unwrap();
        let folder = Folder::in_state_dir(state.path());
        let (real, staging) = (acme("https://a.example"), acme("https://b.example"));
        let long = format!("{}.example", vec!["a".repeat(60); 4].join("."));
        for name in ["a.example", &long] {
            assert!(folder.certificate(name, &real).unwrap().is_none());
            folder.keep_certificate(name, &real, &pem(name)).unwrap();
            let kept = folder.certificate(name, &real).unwrap().unwrap();
            assert_eq!(&*kept.certificate.names[0], name);
            assert!(folder.certificate(name, &staging).unwrap().is_none());
        }
    }

    #[test]
    fn a_broken_file_says_what_is_wrong() {
        let state = tempfile::tempdir().unwrap();
        let folder = Folder::in_state_dir(state.path());
        let acme = acme("https://a.example");
        let whole = pem("a.example");
        let (other_key, _) = whole.split_at(whole.find("-----BEGIN CERTIFICATE").unwrap());
        for (text, says) in [
            (pem("b.example").to_string(), "for another name"),
            (String::new(), "no private key"),
            (whole[..whole.len() / 2].to_owned(), "is not PEM"),
            (other_key.to_owned(), "no sound certificate"),
            (
                format!("{other_key}{}", &pem("a.example")[other_key.len()..]),
                "of another key",
            ),
            ("x".repeat(600 * 1024), "too large"),
        ] {
            folder
                .keep_certificate("a.example", &acme, &Zeroizing::new(text))
                .unwrap();
            let fault = folder.certificate("a.example", &acme).unwrap_err();
            assert!(fault.contains(says), "{fault}");
        }
    }

    #[test]
    fn one_process_at_a_time_makes_orders() {
        let state = tempfile::tempdir().unwrap();
        let (one, other) = (
            Folder::in_state_dir(state.path()),
            Folder::in_state_dir(state.path()),
        );
        let lock = one.lock().unwrap();
        assert!(lock.is_some() && other.lock().unwrap().is_none());
        drop(lock);
        assert!(other.lock().unwrap().is_some());
    }

    #[test]
    fn a_wait_outlives_the_process() {
        let state = tempfile::tempdir().unwrap();
        let folder = Folder::in_state_dir(state.path());
        let acme = acme("https://a.example");
        assert_eq!(folder.wait("a.example", &acme), None);
        let until = UNIX_EPOCH + Duration::from_secs(2_000_000_000);
        folder.keep_wait("a.example", &acme, until).unwrap();
        assert_eq!(folder.wait("a.example", &acme), Some(until));
    }
}

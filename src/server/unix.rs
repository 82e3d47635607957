//! Listening sockets in the file system: one for each listener, which all
//! workers share.
//!
//! There is no SO_REUSEPORT for them. Each worker waits on a copy of the socket
//! and takes what it can: a new connection wakes all workers, one of them gets
//! it, and the others go back to sleep.
//!
//! # The file
//!
//! A socket leaves a file behind when its process ends without removing it. A
//! file that is a socket and on which nobody listens is replaced; everything
//! else that lies at the path stays, and the listener cannot open.
//!
//! A [`SocketFile`] is the file that a socket of this process has made, or one
//! that was handed over with its socket. It is known by device and number, so
//! that a file which has taken its place is neither changed nor removed. While
//! the socket is open its file keeps the number, also without a name, and no
//! other file can get it: the file has to be removed before the socket closes.
//!
//! Between the look at a file and its replacement, another process could do the
//! same: a socket that is bound and does not listen yet looks like one that was
//! left behind. The folder is locked meanwhile (flock(2)).
//!
//! # Serving
//!
//! The types of TCP carry these sockets too, because reading, writing, closing
//! and waiting are the same calls for both. Only addresses differ: a connection
//! has the ends [`UNIX_PEER`](crate::message::UNIX_PEER). A close cannot be a
//! cut there: a client sees an end, and HTTP tells by the framing whether a
//! response is whole.

use std::{
    fmt,
    fs::{self, File, TryLockError},
    io,
    net::TcpListener,
    os::{
        fd::OwnedFd,
        unix::fs::{FileTypeExt, MetadataExt, PermissionsExt},
    },
    path::Path,
    str::FromStr,
    sync::Arc,
    thread,
    time::Duration,
};

use rustix::fs::{Mode, OFlags};
use socket2::{Domain, SockAddr, Socket, Type};

use super::bind::BACKLOG;

/// The pause between two looks at a lock that another process holds.
const PAUSE: Duration = Duration::from_millis(10);

/// The time that is left to wait for locks of folders, for several sockets
/// together. One second at first.
///
/// Gateways hold a lock for less than a millisecond. But everybody who may read
/// a folder can lock it for ever, and the thread that waits does nothing else.
/// After this time, sockets are bound without the lock.
#[derive(Debug)]
pub struct LockWait {
    left: Duration,
}

impl Default for LockWait {
    fn default() -> Self {
        Self {
            left: Duration::from_secs(1),
        }
    }
}

/// The file of a listening socket of this process. Removed on drop, unless
/// another file has taken its place.
#[derive(Debug)]
pub struct SocketFile {
    path: Arc<Path>,
    id: FileId,
    /// Whether this process removes it. Of two that listen on the socket, only
    /// one does.
    is_own: bool,
}

impl SocketFile {
    /// The file at `path` of a socket that another process hands over, and
    /// removes until this one [owns](Self::own) it.
    pub fn handed(path: &Arc<Path>, id: FileId) -> Self {
        Self {
            path: Arc::clone(path),
            id,
            is_own: false,
        }
    }

    /// Takes the file over: this process removes it from now on.
    pub fn own(&mut self) {
        self.is_own = true;
    }

    /// Its path.
    pub fn path(&self) -> &Arc<Path> {
        &self.path
    }

    /// The number by which a process that takes over knows it.
    pub fn id(&self) -> FileId {
        self.id
    }

    /// Whether nobody can connect by its path any more: it was removed, or
    /// another file has taken its place.
    pub fn is_lost(&self) -> bool {
        FileId::at(&self.path) != Some(self.id)
    }

    /// Leaves the file to the process that has taken over.
    pub fn leave(mut self) {
        self.is_own = false;
    }

    /// Changes who may connect, if the file is still the same one.
    ///
    /// # Errors
    /// Those of the system.
    pub fn set_mode(&self, mode: u32) -> io::Result<()> {
        if self.is_lost() {
            return Ok(());
        }
        fs::set_permissions(&self.path, fs::Permissions::from_mode(mode))
    }
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        if self.is_own
            && !self.is_lost()
            && let Err(error) = fs::remove_file(&self.path)
        {
            tracing::warn!(path = %self.path.display(), %error, "the file of a socket stays");
        }
    }
}

/// The identity of a file: its device and its number there. Written as both,
/// with a dot between them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FileId {
    device: u64,
    number: u64,
}

impl FileId {
    /// That of the socket at `path`, without following a link; `None` if there
    /// is none, or something else.
    fn at(path: &Path) -> Option<Self> {
        let file = fs::symlink_metadata(path).ok()?;
        file.file_type().is_socket().then(|| Self {
            device: file.dev(),
            number: file.ino(),
        })
    }
}

impl fmt::Display for FileId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.device, self.number)
    }
}

impl FromStr for FileId {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let (device, number) = text.split_once('.').ok_or(())?;
        Ok(Self {
            device: device.parse().map_err(drop)?,
            number: number.parse().map_err(drop)?,
        })
    }
}

/// Binds a socket to `path`, to which those may connect whom `mode` permits to
/// write, and listens. Replaces a socket on which nobody listens.
///
/// Blocks while another process has locked the folder, for at most `wait`.
///
/// # Errors
/// Half a sentence on what is in the way.
pub fn bind_unix(
    path: &Arc<Path>,
    mode: u32,
    wait: &mut LockWait,
) -> Result<(TcpListener, SocketFile), String> {
    let _locked = path.parent().and_then(|folder| lock(folder, wait));
    make_room(path)?;
    let socket = Socket::new(Domain::UNIX, Type::STREAM, None).map_err(text)?;
    socket.set_nonblocking(true).map_err(text)?;
    let address = SockAddr::unix(path).map_err(text)?;
    socket.bind(&address).map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => format!("its folder does not exist ({error})"),
        io::ErrorKind::PermissionDenied => {
            format!("this user cannot create files in its folder ({error})")
        }
        _ => text(error),
    })?;
    let id = FileId::at(path).ok_or("another process has removed it just now")?;
    let mut file = SocketFile::handed(path, id);
    file.own();
    // Before it listens, so that nobody connects whom the mode keeps out.
    file.set_mode(mode).map_err(text)?;
    socket.listen(BACKLOG).map_err(text)?;
    Ok((TcpListener::from(OwnedFd::from(socket)), file))
}

/// Locks a folder until the file is dropped. `None` if this user may not read
/// it, if its file system has no locks, or if another process does not unlock
/// it in time.
///
/// Looks again and again, as flock(2) has no wait with a bound. A wait without
/// one on another thread would keep that thread for as long as somebody likes.
fn lock(folder: &Path, wait: &mut LockWait) -> Option<File> {
    // To open a named pipe would wait for another process, too.
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let folder = rustix::fs::open(folder, flags, Mode::empty()).ok()?;
    let folder = File::from(folder);
    loop {
        match folder.try_lock() {
            Ok(()) => return Some(folder),
            Err(TryLockError::WouldBlock) if !wait.left.is_zero() => {
                thread::park_timeout(PAUSE);
                wait.left = wait.left.saturating_sub(PAUSE);
            }
            Err(_) => return None,
        }
    }
}

/// Removes a socket on which nobody listens.
///
/// # Errors
/// Something else is there, or it cannot be told.
fn make_room(path: &Path) -> Result<(), String> {
    let kind = match fs::symlink_metadata(path) {
        Ok(file) => file.file_type(),
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(text(error)),
    };
    if !kind.is_socket() {
        let what = match () {
            () if kind.is_dir() => "a directory",
            () if kind.is_symlink() => "a symbolic link",
            () if kind.is_file() => "a regular file",
            () => "something that is no socket",
        };
        return Err(format!("{what} is there: remove it, or name another path"));
    }
    let before = FileId::at(path);
    match connect(path) {
        Ok(()) => Err("another process listens there".to_owned()),
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {
            match before.is_some() && FileId::at(path) == before {
                true => fs::remove_file(path).map_err(text),
                false => Err("another process is just replacing it".to_owned()),
            }
        }
        // Its queue is full.
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
            Err("another process listens there".to_owned())
        }
        Err(error) => Err(format!(
            "a socket is there, and it cannot be told whether a process uses it ({error})"
        )),
    }
}

/// Connects without waiting, and closes the connection.
fn connect(path: &Path) -> io::Result<()> {
    let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
    socket.set_nonblocking(true)?;
    socket.connect(&SockAddr::unix(path)?)
}

fn text(error: io::Error) -> String {
    error.to_string()
}

#[cfg(test)]
mod tests {
    use std::{
        os::unix::{fs::symlink, net::UnixListener},
        sync::Barrier,
    };

    use rustix::fs::{CWD, FileType};

    use super::*;

    /// Longer than any wait here on a slow machine.
    const LONG: Duration = Duration::from_secs(60);

    fn bind(path: &Arc<Path>, mode: u32) -> Result<(TcpListener, SocketFile), String> {
        bind_unix(path, mode, &mut LockWait { left: LONG })
    }

    fn place() -> (tempfile::TempDir, Arc<Path>) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.sock").into();
        (folder, path)
    }

    #[test]
    fn the_file_has_its_mode_and_is_removed_at_the_end() {
        let (_folder, path) = place();
        let (_socket, file) = bind(&path, 0o620).unwrap();
        let mode = || fs::symlink_metadata(&path).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode(), 0o620);
        file.set_mode(0o600).unwrap();
        assert_eq!(mode(), 0o600);
        drop(file);
        assert!(!path.exists());
    }

    #[test]
    fn a_socket_on_which_nobody_listens_is_replaced() {
        let (_folder, path) = place();
        drop(UnixListener::bind(&path).unwrap());
        assert!(path.exists());
        let (_socket, _file) = bind(&path, 0o660).unwrap();
        assert!(connect(&path).is_ok());
    }

    #[test]
    fn a_socket_in_use_stays_also_if_its_queue_is_full() {
        let (_folder, path) = place();
        let other = Socket::new(Domain::UNIX, Type::STREAM, None).unwrap();
        other.bind(&SockAddr::unix(&path).unwrap()).unwrap();
        other.listen(0).unwrap();
        for _ in 0..3 {
            let why = bind(&path, 0o660).unwrap_err();
            assert_eq!(why, "another process listens there");
        }
        assert!(path.exists());
    }

    #[test]
    fn of_many_that_find_a_stale_socket_at_once_one_has_it_and_the_others_say_so() {
        for _ in 0..50 {
            let (_folder, path) = place();
            drop(UnixListener::bind(&path).unwrap());
            let start = Barrier::new(8);
            let try_it = || {
                start.wait();
                bind(&path, 0o660)
            };
            let tried: Vec<_> = thread::scope(|scope| {
                let all: Vec<_> = (0..8).map(|_| scope.spawn(try_it)).collect();
                all.into_iter().map(|one| one.join().unwrap()).collect()
            });
            let (bound, refused): (Vec<_>, Vec<_>) = tried.into_iter().partition(Result::is_ok);
            assert_eq!(bound.len(), 1);
            for why in refused {
                assert_eq!(why.unwrap_err(), "another process listens there");
            }
            assert!(connect(&path).is_ok());
        }
    }

    #[test]
    fn a_folder_that_stays_locked_is_used_without_the_lock() {
        let (folder, path) = place();
        let _held = lock(folder.path(), &mut LockWait::default()).unwrap();
        let mut wait = LockWait { left: 3 * PAUSE };
        let (_socket, _file) = bind_unix(&path, 0o660, &mut wait).unwrap();
        assert!(connect(&path).is_ok());
        // The next socket does not wait again.
        assert_eq!(wait.left, Duration::ZERO);
        let path = folder.path().join("b.sock").into();
        let (_socket, _file) = bind_unix(&path, 0o660, &mut wait).unwrap();
        assert!(connect(&path).is_ok());
    }

    #[test]
    fn a_folder_that_another_process_unlocks_is_locked_then() {
        let (folder, _) = place();
        let held = lock(folder.path(), &mut LockWait::default()).unwrap();
        let locked = thread::scope(|scope| {
            let waiting = scope.spawn(|| lock(folder.path(), &mut LockWait { left: LONG }));
            drop(held);
            waiting.join().unwrap()
        });
        assert!(locked.is_some());
        assert!(lock(folder.path(), &mut LockWait { left: PAUSE }).is_none());
    }

    #[test]
    fn a_named_pipe_in_place_of_the_folder_keeps_nobody_waiting() {
        let (folder, _) = place();
        let pipe = folder.path().join("pipe");
        rustix::fs::mknodat(CWD, &pipe, FileType::Fifo, Mode::RWXU, 0).unwrap();
        assert!(bind(&pipe.join("a.sock").into(), 0o660).is_err());
    }

    #[test]
    fn a_file_that_was_handed_over_is_known_by_its_socket_alone() {
        let (_folder, path) = place();
        let (socket, file) = bind(&path, 0o660).unwrap();
        let id: FileId = file.id().to_string().parse().unwrap();
        assert_eq!(id, file.id());
        assert!("1".parse::<FileId>().is_err() && "1.x".parse::<FileId>().is_err());
        // Until it owns the file, the next process removes nothing.
        drop(SocketFile::handed(&path, id));
        assert!(!file.is_lost());
        fs::remove_file(&path).unwrap();
        assert!(file.is_lost());
        // The number is not used again while the socket is open.
        let _other = UnixListener::bind(&path).unwrap();
        let before = fs::metadata(&path).unwrap().permissions();
        let mut handed = SocketFile::handed(&path, id);
        handed.own();
        handed.set_mode(0o606).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions(), before);
        drop((handed, file, socket));
        assert!(path.exists());
    }

    #[test]
    fn what_is_no_socket_stays_and_is_named() {
        let (folder, path) = place();
        let refused = |what: &str| {
            let why = bind(&path, 0o660).unwrap_err();
            assert!(why.starts_with(what), "{why}");
        };
        fs::create_dir(&path).unwrap();
        refused("a directory");
        fs::remove_dir(&path).unwrap();
        fs::write(&path, "kept").unwrap();
        refused("a regular file");
        assert_eq!(fs::read_to_string(&path).unwrap(), "kept");
        fs::remove_file(&path).unwrap();
        let target = folder.path().join("target.sock");
        drop(UnixListener::bind(&target).unwrap());
        symlink(&target, &path).unwrap();
        refused("a symbolic link");
        assert!(target.exists());
    }

    #[test]
    fn a_file_that_has_taken_the_place_is_not_removed() {
        let (_folder, path) = place();
        let (socket, file) = bind(&path, 0o660).unwrap();
        fs::remove_file(&path).unwrap();
        let _other = UnixListener::bind(&path).unwrap();
        drop((socket, file));
        assert!(path.exists());
    }

    #[test]
    fn a_file_that_is_left_to_another_process_stays() {
        let (_folder, path) = place();
        let (_socket, file) = bind(&path, 0o660).unwrap();
        file.leave();
        assert!(path.exists());
    }

    #[test]
    fn a_folder_that_is_not_there_is_named() {
        let (folder, _) = place();
        let path = folder.path().join("none/a.sock").into();
        let why = bind(&path, 0o660).unwrap_err();
        assert!(why.starts_with("its folder does not exist"), "{why}");
    }
}

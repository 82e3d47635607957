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
//! else that lies at the path stays, and the listener cannot open. A
//! [`SocketFile`] removes the file at the end, if it is still the same one.
//!
//! # Serving
//!
//! The types of TCP carry these sockets too, because reading, writing, closing
//! and waiting are the same calls for both. Only addresses differ: a connection
//! has the ends [`UNIX_PEER`](crate::message::UNIX_PEER). A close cannot be a
//! cut there: a client sees an end, and HTTP tells by the framing whether a
//! response is whole.

use std::{
    fs, io,
    net::TcpListener,
    os::{
        fd::OwnedFd,
        unix::fs::{FileTypeExt, MetadataExt, PermissionsExt},
    },
    path::Path,
    sync::Arc,
};

use socket2::{Domain, SockAddr, Socket, Type};

use super::bind::BACKLOG;

/// The file of a listening socket of this process. Removed on drop, unless
/// another file has taken its place.
#[derive(Debug)]
pub struct SocketFile {
    path: Arc<Path>,
    /// Device and number of the file.
    id: (u64, u64),
    /// Another process listens on the socket from now on.
    is_left: bool,
}

impl SocketFile {
    /// The file that is at `path` now; `None` if there is none, or no socket.
    pub fn at(path: &Arc<Path>) -> Option<Self> {
        Some(Self {
            path: Arc::clone(path),
            id: id(path)?,
            is_left: false,
        })
    }

    /// Leaves the file to the process that has taken over.
    pub fn leave(mut self) {
        self.is_left = true;
    }

    /// Changes who may connect, if the file is still the same one.
    ///
    /// # Errors
    /// Those of the system.
    pub fn set_mode(&self, mode: u32) -> io::Result<()> {
        if id(&self.path) != Some(self.id) {
            return Ok(());
        }
        fs::set_permissions(&self.path, fs::Permissions::from_mode(mode))
    }
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        if !self.is_left
            && id(&self.path) == Some(self.id)
            && let Err(error) = fs::remove_file(&self.path)
        {
            tracing::warn!(path = %self.path.display(), %error, "the file of a socket stays");
        }
    }
}

/// Device and number of the socket at `path`, without following a link.
fn id(path: &Path) -> Option<(u64, u64)> {
    let file = fs::symlink_metadata(path).ok()?;
    let is_socket = file.file_type().is_socket();
    is_socket.then(|| (file.dev(), file.ino()))
}

/// Binds a socket to `path`, to which those may connect whom `mode` permits to
/// write, and listens. Replaces a socket on which nobody listens.
///
/// # Errors
/// Half a sentence on what is in the way.
pub fn bind_unix(path: &Arc<Path>, mode: u32) -> Result<(TcpListener, SocketFile), String> {
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
    let file = SocketFile::at(path).ok_or("another process has removed it just now")?;
    // Before it listens, so that nobody connects whom the mode keeps out.
    file.set_mode(mode).map_err(text)?;
    socket.listen(BACKLOG).map_err(text)?;
    Ok((TcpListener::from(OwnedFd::from(socket)), file))
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
    let before = id(path);
    match connect(path) {
        Ok(()) => Err("another process listens there".to_owned()),
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {
            match before.is_some() && id(path) == before {
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
    use std::os::unix::{fs::symlink, net::UnixListener};

    use super::*;

    fn place() -> (tempfile::TempDir, Arc<Path>) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.sock").into();
        (folder, path)
    }

    #[test]
    fn the_file_has_its_mode_and_is_removed_at_the_end() {
        let (_folder, path) = place();
        let (_socket, file) = bind_unix(&path, 0o620).unwrap();
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
        let (_socket, _file) = bind_unix(&path, 0o660).unwrap();
        assert!(connect(&path).is_ok());
    }

    #[test]
    fn a_socket_in_use_stays_also_if_its_queue_is_full() {
        let (_folder, path) = place();
        let other = Socket::new(Domain::UNIX, Type::STREAM, None).unwrap();
        other.bind(&SockAddr::unix(&path).unwrap()).unwrap();
        other.listen(0).unwrap();
        for _ in 0..3 {
            let why = bind_unix(&path, 0o660).unwrap_err();
            assert_eq!(why, "another process listens there");
        }
        assert!(path.exists());
    }

    #[test]
    fn what_is_no_socket_stays_and_is_named() {
        let (folder, path) = place();
        let refused = |what: &str| {
            let why = bind_unix(&path, 0o660).unwrap_err();
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
        let (socket, file) = bind_unix(&path, 0o660).unwrap();
        fs::remove_file(&path).unwrap();
        let _other = UnixListener::bind(&path).unwrap();
        drop((socket, file));
        assert!(path.exists());
    }

    #[test]
    fn a_file_that_is_left_to_another_process_stays() {
        let (_folder, path) = place();
        let (_socket, file) = bind_unix(&path, 0o660).unwrap();
        file.leave();
        assert!(path.exists());
    }

    #[test]
    fn a_folder_that_is_not_there_is_named() {
        let (folder, _) = place();
        let path = folder.path().join("none/a.sock").into();
        let why = bind_unix(&path, 0o660).unwrap_err();
        assert!(why.starts_with("its folder does not exist"), "{why}");
    }
}

//! Opening files by path.

use super::{Caller, Follow, Start, names};
use crate::{
    FileKind, Inode, Location, MountFlags, NodeKind, OpenFile, OpenFlags, Permissions, device,
    execution::TextWriter,
    file::{DirectoryFile, PathOnly},
    inode::OpenRequest,
    lock::lease,
    mount::Writer,
    open_file::{Hold, Name},
    open_limits::{self, Admission},
    pages, permission,
    walk::{Last, Resolve, Walk},
    watches::FileEvents,
};
use alloc::{format, sync::Arc};
use base::{
    Errno,
    device::{DeviceAccess, DeviceKind},
};

/// What a file is opened for.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Purpose {
    /// Reading and writing, by the access mode.
    AsFlagsSay,
    /// Exec.
    Execute,
}

impl Caller<'_> {
    /// `openat(2)`. `mode` is for a new file; the umask applies. Errors: those of every walk; `EACCES`, `EEXIST`,
    /// `EISDIR` to write a directory, `ETXTBSY` to write a program that runs, `ELOOP` a link with `O_NOFOLLOW`, `EROFS`, `ENXIO` no such device, `EPERM` a container
    /// forbids the device, `EINTR` a FIFO, `EINVAL`, `EOPNOTSUPP` (`O_TMPFILE`), `ENFILE` a container pays for no more open files.
    pub fn open(
        &self,
        start: Start<'_>,
        path: &[u8],
        flags: OpenFlags,
        mode: Permissions,
    ) -> Result<Arc<OpenFile>, Errno> {
        self.open_within(start, path, flags, mode, Resolve::empty())
    }

    /// [`Caller::open`] by a walk that keeps to `resolve`; besides its errors those of [`Resolve`].
    pub fn open_within(
        &self,
        start: Start<'_>,
        path: &[u8],
        flags: OpenFlags,
        mode: Permissions,
        resolve: Resolve,
    ) -> Result<Arc<OpenFile>, Errno> {
        self.open_for(start, path, (flags, mode), Purpose::AsFlagsSay, resolve)
    }

    fn open_for(
        &self,
        start: Start<'_>,
        path: &[u8],
        (flags, mode): (OpenFlags, Permissions),
        purpose: Purpose,
        resolve: Resolve,
    ) -> Result<Arc<OpenFile>, Errno> {
        let path_only = flags.contains(OpenFlags::PATH);
        let create = flags.contains(OpenFlags::CREATE) && !path_only;
        if flags.contains(OpenFlags::TEMPORARY) && !path_only {
            return self.open_temporary(start, path, flags, mode, resolve);
        }
        if create && flags.contains(OpenFlags::DIRECTORY) {
            return Err(Errno::EINVAL);
        }
        let exclusive = create && flags.contains(OpenFlags::EXCLUSIVE);
        let follow = !flags.contains(OpenFlags::NO_FOLLOW) && !exclusive;
        // First, so that a refusal leaves no new file.
        let admission = open_limits::admit(self.credentials)?;
        let mut walk = Walk::within(*self, start, path, resolve)?;
        loop {
            let (name, slash) = match walk.advance()? {
                Last::Name { name, slash } => (name, slash),
                Last::Here(_) if exclusive => return Err(Errno::EEXIST),
                Last::Here(_) if create && walk.at.inode.kind() == FileKind::Directory => return Err(Errno::EISDIR),
                Last::Here(_) => return self.open_location(walk.at, walk.entry, flags, purpose, admission),
            };
            if create && slash {
                return Err(Errno::EISDIR);
            }
            let directory = walk.at.clone();
            let found = directory.inode.lookup(walk.name(&name));
            let inode = match found {
                Err(Errno::ENOENT) if create => {
                    match self.create(&directory, walk.name(&name), mode) {
                        // Somebody else was faster: then it is there.
                        Err(Errno::EEXIST) if !exclusive => directory.inode.lookup(walk.name(&name))?,
                        made => {
                            let inode = made?;
                            let location = Location { mount: directory.mount, inode };
                            let name = Name { directory: directory.inode, name: walk.name(&name).into() };
                            // The creator may write what it made, whatever the new mode says.
                            let flags = flags.difference(OpenFlags::TRUNCATE);
                            return self.open_checked(location, FileKind::Regular, Some(name), flags, admission);
                        }
                    }
                }
                found => found?,
            };
            if exclusive {
                return Err(Errno::EEXIST);
            }
            let entry = Name { directory: directory.inode, name: walk.name(&name).into() };
            if walk.enter_last(inode, follow, slash)? {
                continue;
            }
            if create && walk.at.inode.kind() == FileKind::Directory {
                return Err(Errno::EISDIR);
            }
            return self.open_location(walk.at, Some(entry), flags, purpose, admission);
        }
    }

    /// `O_TMPFILE`: a new file without a name in the file system of a directory.
    fn open_temporary(
        &self,
        start: Start<'_>,
        path: &[u8],
        flags: OpenFlags,
        mode: Permissions,
        resolve: Resolve,
    ) -> Result<Arc<OpenFile>, Errno> {
        let kind = flags & (OpenFlags::DIRECTORY | OpenFlags::CREATE);
        if kind != OpenFlags::DIRECTORY || !flags.writes() {
            return Err(Errno::EINVAL);
        }
        let admission = open_limits::admit(self.credentials)?;
        let follow = !flags.contains(OpenFlags::NO_FOLLOW);
        let directory = Walk::within(*self, start, path, resolve)?.finish(follow)?;
        if directory.inode.kind() != FileKind::Directory {
            return Err(Errno::ENOTDIR);
        }
        directory.check_writable()?;
        permission::check_inode(&*directory.inode, self.credentials, permission::WRITE | permission::EXECUTE)?;
        let node = self.new_node(&*directory.inode, NodeKind::Regular, mode);
        let inode = directory.inode.create_unnamed(&node, !flags.contains(OpenFlags::EXCLUSIVE))?;
        let name = format!("#{}", inode.number()).into_bytes().into();
        let name = Name { directory: directory.inode, name };
        let location = Location { mount: directory.mount, inode };
        self.open_checked(location, FileKind::Regular, Some(name), flags, admission)
    }

    /// Opens a program for exec: a regular file that the caller may execute, readable or not. `EACCES` otherwise;
    /// `ELOOP` a link that is not to be followed.
    pub fn open_program(&self, start: Start<'_>, path: &[u8], follow: Follow) -> Result<Arc<OpenFile>, Errno> {
        if path.is_empty() && follow.allows_empty() {
            let walk = Walk::new(*self, start, path, true)?;
            let admission = open_limits::admit(self.credentials)?;
            return self.open_location(walk.at, walk.entry, OpenFlags::empty(), Purpose::Execute, admission);
        }
        let flags = if follow.follows() { OpenFlags::empty() } else { OpenFlags::NO_FOLLOW };
        self.open_for(start, path, (flags, Permissions::default()), Purpose::Execute, Resolve::empty())
    }

    /// `TIOCGPTPEER` of `ioctl_tty(2)`: opens the terminal of a master, whatever path leads to it, and whoever owns it; `None` if
    /// the file is no master. `ENODEV` its file system is mounted nowhere; `EIO` it is locked; those of a new file.
    pub fn open_other_end(&self, master: &OpenFile, flags: OpenFlags) -> Result<Option<Arc<OpenFile>>, Errno> {
        let Some(inode) = master.other_end() else { return Ok(None) };
        let device = inode.metadata().device;
        let own = master.location().mount.filter(|mount| mount.file_system().device() == device);
        let mount = own.or_else(|| self.context.namespace().find_mount(device)).ok_or(Errno::ENODEV)?;
        let directory = mount.file_system().root();
        let name = Name { name: directory.name_of(&*inode)?.as_slice().into(), directory };
        let location = Location { mount: Some(mount), inode };
        let admission = open_limits::admit(self.credentials)?;
        self.open_checked(location, FileKind::CharDevice, Some(name), flags, admission).map(Some)
    }

    fn create(&self, directory: &Location, name: &[u8], mode: Permissions) -> Result<Arc<dyn Inode>, Errno> {
        directory.check_writable()?;
        permission::check_inode(&*directory.inode, self.credentials, permission::WRITE | permission::EXECUTE)?;
        let node = self.new_node(&*directory.inode, NodeKind::Regular, mode);
        let inode = directory.inode.create(name, &node)?;
        names::tell_entry(directory, name, &*inode, FileEvents::CREATE);
        Ok(inode)
    }

    /// Opens what was found, after checking that the caller may.
    fn open_location(
        &self,
        location: Location,
        name: Option<Name>,
        flags: OpenFlags,
        purpose: Purpose,
        admission: Admission,
    ) -> Result<Arc<OpenFile>, Errno> {
        let kind = location.inode.kind();
        if flags.contains(OpenFlags::DIRECTORY) && kind != FileKind::Directory {
            return Err(Errno::ENOTDIR);
        }
        match purpose {
            Purpose::Execute => self.check_execute(&location, kind)?,
            Purpose::AsFlagsSay if flags.contains(OpenFlags::PATH) => {}
            Purpose::AsFlagsSay => self.check_open(&location, kind, flags)?,
        }
        self.open_checked(location, kind, name, flags, admission)
    }

    fn check_execute(&self, location: &Location, kind: FileKind) -> Result<(), Errno> {
        match kind {
            FileKind::Symlink => Err(Errno::ELOOP),
            FileKind::Regular if !location.mount_flags().contains(MountFlags::NO_EXECUTE) => {
                permission::check_inode(&*location.inode, self.credentials, permission::EXECUTE)
            }
            _ => Err(Errno::EACCES),
        }
    }

    fn check_open(&self, location: &Location, kind: FileKind, flags: OpenFlags) -> Result<(), Errno> {
        let writes = flags.writes() || flags.contains(OpenFlags::TRUNCATE);
        match kind {
            FileKind::Symlink => return Err(Errno::ELOOP),
            FileKind::Directory if writes => return Err(Errno::EISDIR),
            FileKind::CharDevice | FileKind::BlockDevice if location.mount_flags().contains(MountFlags::NO_DEVICES) => {
                return Err(Errno::EACCES);
            }
            _ => {}
        }
        let is_cut = kind == FileKind::Regular && flags.contains(OpenFlags::TRUNCATE);
        // A file system that is read-only is that whoever asks; a mount only for who may write.
        if is_cut || writes && location.mount.as_ref().is_some_and(|mount| mount.is_system_read_only()) {
            location.check_writable()?;
        }
        let ownership = location.inode.ownership();
        let wanted = if flags.reads() { permission::READ } else { 0 } | if writes { permission::WRITE } else { 0 };
        permission::check(ownership, kind, self.credentials, wanted)?;
        let device = match kind {
            FileKind::CharDevice => Some(DeviceKind::Character),
            FileKind::BlockDevice => Some(DeviceKind::Block),
            _ => None,
        };
        if let Some(device) = device {
            let reads = if flags.reads() { DeviceAccess::READ } else { DeviceAccess::empty() };
            let access = if writes { reads | DeviceAccess::WRITE } else { reads };
            device::check(device, location.inode.metadata().represents, access)?;
        }
        if writes {
            location.check_writable()?;
        }
        if flags.contains(OpenFlags::NO_ACCESS_TIME) && !permission::is_owner(ownership, self.credentials) {
            return Err(Errno::EPERM);
        }
        Ok(())
    }

    /// Opens what the caller may open.
    fn open_checked(
        &self,
        location: Location,
        kind: FileKind,
        name: Option<Name>,
        flags: OpenFlags,
        admission: Admission,
    ) -> Result<Arc<OpenFile>, Errno> {
        // These only say how to open; they are not seen by F_GETFL.
        let kept = flags.difference(
            OpenFlags::CREATE
                | OpenFlags::EXCLUSIVE
                | OpenFlags::TRUNCATE
                | OpenFlags::CLOSE_ON_EXEC
                | OpenFlags::NO_CONTROLLING_TERMINAL,
        );
        let inode = &location.inode;
        if flags.contains(OpenFlags::PATH) {
            return Ok(OpenFile::new(
                location,
                kind,
                name,
                Arc::new(PathOnly),
                kept,
                self.credentials.clone(),
                admission,
            ));
        }
        // Before its place among the writers of the mount, as on Linux.
        let text = match kind {
            FileKind::Regular if flags.writes() || flags.contains(OpenFlags::TRUNCATE) => {
                Some(TextWriter::enter(inode)?)
            }
            _ => None,
        };
        let writer = match &location.mount {
            Some(mount) if flags.writes() && kind == FileKind::Regular => {
                Some(Writer::enter(mount, self.context.namespace())?)
            }
            _ => None,
        };
        let request = OpenRequest { flags, credentials: self.credentials };
        let operations = match kind {
            FileKind::Directory => match inode.clone().open(&request) {
                Err(Errno::ENXIO) => Arc::new(DirectoryFile),
                opened => opened?,
            },
            FileKind::CharDevice | FileKind::BlockDevice => {
                let number = inode.metadata().represents;
                let driver = self.context.namespace().registry().find_driver(kind, number.major)?;
                driver.open(number, inode, &request)?
            }
            FileKind::Socket => return Err(Errno::ENXIO),
            _ => inode.clone().open(&request)?,
        };
        if lease::any() {
            lease::break_leases(&**inode, flags)?;
        }
        let truncates = flags.contains(OpenFlags::TRUNCATE) && kind == FileKind::Regular;
        if truncates {
            pages::set_size(inode, 0)?;
            location.drop_set_id(self.credentials)?;
        }
        // Every program of this machine may open large files.
        let kept = kept | OpenFlags::LARGE_FILE;
        let text = text.filter(|_| flags.writes());
        let hold = Hold { _admission: admission, _writer: writer, _text: text };
        let file = OpenFile::new(location, kind, name, operations, kept, self.credentials.clone(), hold);
        if truncates {
            file.tell(FileEvents::MODIFY);
        }
        file.tell(FileEvents::OPEN);
        Ok(file)
    }
}

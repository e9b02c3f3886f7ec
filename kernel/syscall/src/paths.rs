//! Calls on paths: open, look, and change what a name stands for.

use crate::{
    abi::{Stat, Statfs, Statx, StatxTime, Timespec, Timeval},
    arguments::UserPtr,
    call::Call,
};
use alloc::sync::Arc;
use base::{Credentials, Errno, Gid, Uid};
use linux_raw_sys::general::{
    AT_EACCESS, AT_EMPTY_PATH, AT_FDCWD, AT_NO_AUTOMOUNT, AT_STATX_SYNC_TYPE, AT_SYMLINK_NOFOLLOW,
    STATX_ATTR_MOUNT_ROOT, STATX_MNT_ID,
};
use machine::user_memory::UserText;
use vfs::{Caller, Follow, Metadata, OpenFile, OpenFlags, Permissions, Start, StatFs, TimeChange, Timestamp};

/// A path argument: its text, and the file that it starts from.
pub(crate) struct PathArgument {
    pub(crate) start: Option<Arc<OpenFile>>,
    pub(crate) text: UserText,
}

impl PathArgument {
    /// Fetches the text. `EFAULT`, `ENAMETOOLONG`, and `EBADF` when a relative path starts at no open file.
    pub(crate) fn fetch(call: &Call<'_>, directory: i32, path: UserPtr<u8>) -> Result<Self, Errno> {
        let text = call.path(path)?;
        let start =
            if directory == AT_FDCWD || text.first() == Some(&b'/') { None } else { Some(call.any_file(directory)?) };
        Ok(Self { start, text })
    }

    /// An open file itself.
    fn of_file(file: Arc<OpenFile>) -> Self {
        Self { start: Some(file), text: UserText::EMPTY }
    }

    /// Whether it starts from an open file.
    pub(crate) fn is_relative_to_file(&self) -> bool {
        self.start.is_some()
    }

    pub(crate) fn start(&self) -> Start<'_> {
        self.start.as_ref().map_or(Start::WorkingDirectory, |file| Start::File(file))
    }
}

/// Whether the last symbolic link is followed, from the flags of an *at call.
pub(crate) fn follow(flags: u32) -> Follow {
    match (flags & AT_SYMLINK_NOFOLLOW != 0, flags & AT_EMPTY_PATH != 0) {
        (false, false) => Follow::Yes,
        (true, false) => Follow::No,
        (false, true) => Follow::YesOrEmpty,
        (true, true) => Follow::NoOrEmpty,
    }
}

/// `EINVAL` if `flags` has a bit that is not in `known`.
pub(crate) fn only(flags: u32, known: u32) -> Result<u32, Errno> {
    if flags & !known == 0 { Ok(flags) } else { Err(Errno::EINVAL) }
}

fn open_common(call: &Call<'_>, path: &PathArgument, flags: OpenFlags, mode: u32) -> Result<usize, Errno> {
    let files = call.files()?;
    let slot = files.reserve(0, call.descriptor_limit())?;
    let file = call.with_caller(|caller| caller.open(path.start(), &path.text, flags, Permissions::new(mode)))?;
    let number = slot.descriptor().index();
    slot.fill(file, flags.contains(OpenFlags::CLOSE_ON_EXEC));
    Ok(number)
}

/// `openat(2)`. Unknown flags are ignored, as `open` always did.
pub fn openat(call: &Call<'_>, directory: i32, path: UserPtr<u8>, flags: u32, mode: u32) -> Result<usize, Errno> {
    let path = PathArgument::fetch(call, directory, path)?;
    open_common(call, &path, OpenFlags::from_bits_truncate(flags), mode)
}

/// `open(2)`.
pub fn open(call: &Call<'_>, path: UserPtr<u8>, flags: u32, mode: u32) -> Result<usize, Errno> {
    openat(call, AT_FDCWD, path, flags, mode)
}

/// `creat(2)`.
pub fn creat(call: &Call<'_>, path: UserPtr<u8>, mode: u32) -> Result<usize, Errno> {
    let flags = OpenFlags::CREATE | OpenFlags::WRITE_ONLY | OpenFlags::TRUNCATE;
    openat(call, AT_FDCWD, path, flags.bits(), mode)
}

fn time(stamp: Timestamp) -> Timespec {
    Timespec { seconds: stamp.seconds, nanoseconds: stamp.nanoseconds.into() }
}

fn stat_of(metadata: &Metadata) -> Stat {
    Stat {
        device: metadata.device.encoded(),
        inode: metadata.inode,
        links: metadata.links.into(),
        mode: metadata.mode(),
        uid: metadata.uid.raw(),
        gid: metadata.gid.raw(),
        hole: 0,
        special_device: metadata.represents.encoded(),
        size: metadata.size as i64,
        block_size: metadata.block_size.into(),
        blocks: metadata.blocks as i64,
        accessed: time(metadata.accessed),
        modified: time(metadata.modified),
        changed: time(metadata.changed),
        reserved: [0; 3],
    }
}

/// `newfstatat(2)`.
pub fn newfstatat(
    call: &Call<'_>,
    directory: i32,
    path: UserPtr<u8>,
    out: UserPtr<Stat>,
    flags: u32,
) -> Result<usize, Errno> {
    only(flags, AT_SYMLINK_NOFOLLOW | AT_EMPTY_PATH | AT_NO_AUTOMOUNT)?;
    let path = PathArgument::fetch(call, directory, path)?;
    let metadata = call.with_caller(|caller| caller.metadata(path.start(), &path.text, follow(flags)))?;
    out.write(&stat_of(&metadata))?;
    Ok(0)
}

/// `stat(2)`.
pub fn stat(call: &Call<'_>, path: UserPtr<u8>, out: UserPtr<Stat>) -> Result<usize, Errno> {
    newfstatat(call, AT_FDCWD, path, out, 0)
}

/// `lstat(2)`.
pub fn lstat(call: &Call<'_>, path: UserPtr<u8>, out: UserPtr<Stat>) -> Result<usize, Errno> {
    newfstatat(call, AT_FDCWD, path, out, AT_SYMLINK_NOFOLLOW)
}

/// `fstat(2)`.
pub fn fstat(call: &Call<'_>, descriptor: i32, out: UserPtr<Stat>) -> Result<usize, Errno> {
    out.write(&stat_of(&call.any_file(descriptor)?.inode().metadata()))?;
    Ok(0)
}

/// `statx(2)`. All basic fields, the birth time and, where there is one, the number of the mount are always given.
pub fn statx(
    call: &Call<'_>,
    directory: i32,
    path: UserPtr<u8>,
    flags: u32,
    mask: u32,
    out: UserPtr<Statx>,
) -> Result<usize, Errno> {
    /// `STATX_BASIC_STATS` and `STATX_BTIME`.
    const GIVEN: u32 = 0xfff;
    /// `STATX__RESERVED`.
    const RESERVED: u32 = 0x8000_0000;
    only(flags, AT_SYMLINK_NOFOLLOW | AT_EMPTY_PATH | AT_NO_AUTOMOUNT | AT_STATX_SYNC_TYPE)?;
    if mask & RESERVED != 0 || flags & AT_STATX_SYNC_TYPE == AT_STATX_SYNC_TYPE {
        return Err(Errno::EINVAL);
    }
    // A null path is let through with AT_EMPTY_PATH by newer kernels only; EFAULT here.
    let path = PathArgument::fetch(call, directory, path)?;
    let location = call.with_caller(|caller| caller.resolve(path.start(), &path.text, follow(flags)))?;
    let metadata = location.inode.metadata();
    let mount = location.mount.as_ref().map(|mount| mount.number());
    let time = |stamp: Timestamp| StatxTime { seconds: stamp.seconds, nanoseconds: stamp.nanoseconds, hole: 0 };
    out.write(&Statx {
        mask: GIVEN | if mount.is_some() { STATX_MNT_ID } else { 0 },
        block_size: metadata.block_size,
        attributes: if location.is_mount_root() { STATX_ATTR_MOUNT_ROOT.into() } else { 0 },
        links: metadata.links,
        uid: metadata.uid.raw(),
        gid: metadata.gid.raw(),
        mode: metadata.mode() as u16,
        hole: 0,
        inode: metadata.inode,
        size: metadata.size,
        blocks: metadata.blocks,
        attributes_mask: STATX_ATTR_MOUNT_ROOT.into(),
        accessed: time(metadata.accessed),
        born: time(metadata.created),
        changed: time(metadata.changed),
        modified: time(metadata.modified),
        special_major: metadata.represents.major,
        special_minor: metadata.represents.minor,
        major: metadata.device.major,
        minor: metadata.device.minor,
        mount: mount.unwrap_or_default().into(),
        direct_io: [0; 2],
        reserved: [0; 12],
    })?;
    Ok(0)
}

/// `faccessat2(2)`; with the real ids unless `AT_EACCESS` is given.
pub fn faccessat2(call: &Call<'_>, directory: i32, path: UserPtr<u8>, mode: u32, flags: u32) -> Result<usize, Errno> {
    only(flags, AT_EACCESS | AT_SYMLINK_NOFOLLOW | AT_EMPTY_PATH)?;
    if mode & !7 != 0 {
        return Err(Errno::EINVAL);
    }
    let path = PathArgument::fetch(call, directory, path)?;
    let mut credentials = call.task.credentials();
    if flags & AT_EACCESS == 0 {
        credentials = Arc::new(real_identity(&credentials));
    }
    let context = call.task.context()?;
    let caller = Caller { context: &context, credentials: &credentials };
    caller.access(path.start(), &path.text, mode, follow(flags))?;
    Ok(0)
}

/// The credentials that `access` asks with: real ids, and the capabilities that go with them.
fn real_identity(credentials: &Credentials) -> Credentials {
    let mut real = credentials.clone();
    real.fsuid = credentials.uid;
    real.fsgid = credentials.gid;
    real.effective = if credentials.uid == Uid::ROOT { credentials.permitted } else { Default::default() };
    real
}

/// `faccessat(2)`.
pub fn faccessat(call: &Call<'_>, directory: i32, path: UserPtr<u8>, mode: u32) -> Result<usize, Errno> {
    faccessat2(call, directory, path, mode, 0)
}

/// `access(2)`.
pub fn access(call: &Call<'_>, path: UserPtr<u8>, mode: u32) -> Result<usize, Errno> {
    faccessat2(call, AT_FDCWD, path, mode, 0)
}

fn change_mode(call: &Call<'_>, path: &PathArgument, mode: u32, follow: Follow) -> Result<usize, Errno> {
    call.with_caller(|caller| caller.change_mode(path.start(), &path.text, Permissions::new(mode), follow))?;
    Ok(0)
}

/// `fchmodat2(2)`.
pub fn fchmodat2(call: &Call<'_>, directory: i32, path: UserPtr<u8>, mode: u32, flags: u32) -> Result<usize, Errno> {
    only(flags, AT_SYMLINK_NOFOLLOW | AT_EMPTY_PATH)?;
    change_mode(call, &PathArgument::fetch(call, directory, path)?, mode, follow(flags))
}

/// `fchmodat(2)`.
pub fn fchmodat(call: &Call<'_>, directory: i32, path: UserPtr<u8>, mode: u32) -> Result<usize, Errno> {
    fchmodat2(call, directory, path, mode, 0)
}

/// `chmod(2)`.
pub fn chmod(call: &Call<'_>, path: UserPtr<u8>, mode: u32) -> Result<usize, Errno> {
    fchmodat2(call, AT_FDCWD, path, mode, 0)
}

/// `fchmod(2)`.
pub fn fchmod(call: &Call<'_>, descriptor: i32, mode: u32) -> Result<usize, Errno> {
    change_mode(call, &PathArgument::of_file(call.file(descriptor)?), mode, Follow::YesOrEmpty)
}

fn change_owner(call: &Call<'_>, path: &PathArgument, uid: u32, gid: u32, follow: Follow) -> Result<usize, Errno> {
    // -1 leaves an id as it is.
    let uid = (uid != u32::MAX).then_some(Uid::new(uid));
    let gid = (gid != u32::MAX).then_some(Gid::new(gid));
    call.with_caller(|caller| caller.change_owner(path.start(), &path.text, uid, gid, follow))?;
    Ok(0)
}

/// `fchownat(2)`.
pub fn fchownat(
    call: &Call<'_>,
    directory: i32,
    path: UserPtr<u8>,
    uid: u32,
    gid: u32,
    flags: u32,
) -> Result<usize, Errno> {
    only(flags, AT_SYMLINK_NOFOLLOW | AT_EMPTY_PATH)?;
    change_owner(call, &PathArgument::fetch(call, directory, path)?, uid, gid, follow(flags))
}

/// `chown(2)`.
pub fn chown(call: &Call<'_>, path: UserPtr<u8>, uid: u32, gid: u32) -> Result<usize, Errno> {
    fchownat(call, AT_FDCWD, path, uid, gid, 0)
}

/// `lchown(2)`.
pub fn lchown(call: &Call<'_>, path: UserPtr<u8>, uid: u32, gid: u32) -> Result<usize, Errno> {
    fchownat(call, AT_FDCWD, path, uid, gid, AT_SYMLINK_NOFOLLOW)
}

/// `fchown(2)`.
pub fn fchown(call: &Call<'_>, descriptor: i32, uid: u32, gid: u32) -> Result<usize, Errno> {
    change_owner(call, &PathArgument::of_file(call.file(descriptor)?), uid, gid, Follow::YesOrEmpty)
}

/// One time of `utimensat`.
fn new_time(given: Timespec) -> Result<TimeChange, Errno> {
    const NOW: i64 = 0x3fff_ffff;
    const OMIT: i64 = 0x3fff_fffe;
    match given.nanoseconds {
        NOW => Ok(TimeChange::Now),
        OMIT => Ok(TimeChange::Leave),
        nanoseconds @ 0..1_000_000_000 => {
            Ok(TimeChange::At(Timestamp { seconds: given.seconds, nanoseconds: nanoseconds as u32 }))
        }
        _ => Err(Errno::EINVAL),
    }
}

/// `utimensat(2)`; with a null path the descriptor's own file is meant.
pub fn utimensat(
    call: &Call<'_>,
    directory: i32,
    path: UserPtr<u8>,
    times: UserPtr<[Timespec; 2]>,
    flags: u32,
) -> Result<usize, Errno> {
    only(flags, AT_SYMLINK_NOFOLLOW | AT_EMPTY_PATH)?;
    let given = times.read_optional()?;
    let (path, follow) = if path.is_null() {
        (PathArgument::of_file(call.file(directory)?), Follow::YesOrEmpty)
    } else {
        (PathArgument::fetch(call, directory, path)?, follow(flags))
    };
    set_times(call, &path, given, follow)
}

fn set_times(
    call: &Call<'_>,
    path: &PathArgument,
    given: Option<[Timespec; 2]>,
    follow: Follow,
) -> Result<usize, Errno> {
    let times = match given {
        None => [TimeChange::Now; 2],
        Some([accessed, modified]) => [new_time(accessed)?, new_time(modified)?],
    };
    call.with_caller(|caller| caller.change_times(path.start(), &path.text, times, follow))?;
    Ok(0)
}

/// `utimes(2)`.
pub fn utimes(call: &Call<'_>, path: UserPtr<u8>, times: UserPtr<[Timeval; 2]>) -> Result<usize, Errno> {
    let given = microsecond_times(times)?;
    set_times(call, &PathArgument::fetch(call, AT_FDCWD, path)?, given, Follow::Yes)
}

/// Times that are given to the microsecond. `EFAULT`; `EINVAL` microseconds that are none.
fn microsecond_times(times: UserPtr<[Timeval; 2]>) -> Result<Option<[Timespec; 2]>, Errno> {
    let Some(given) = times.read_optional()? else { return Ok(None) };
    if given.iter().any(|time| !(0..1_000_000).contains(&time.microseconds)) {
        return Err(Errno::EINVAL);
    }
    Ok(Some(given.map(|time| Timespec { seconds: time.seconds, nanoseconds: time.microseconds * 1000 })))
}

/// `futimesat(2)`; with a null path the descriptor's own file is meant.
pub fn futimesat(
    call: &Call<'_>,
    directory: i32,
    path: UserPtr<u8>,
    times: UserPtr<[Timeval; 2]>,
) -> Result<usize, Errno> {
    let given = microsecond_times(times)?;
    if path.is_null() {
        return set_times(call, &PathArgument::of_file(call.file(directory)?), given, Follow::YesOrEmpty);
    }
    set_times(call, &PathArgument::fetch(call, directory, path)?, given, Follow::Yes)
}

/// `utime(2)`: whole seconds.
pub fn utime(call: &Call<'_>, path: UserPtr<u8>, times: UserPtr<[i64; 2]>) -> Result<usize, Errno> {
    let given = times.read_optional()?.map(|times| times.map(|seconds| Timespec { seconds, nanoseconds: 0 }));
    set_times(call, &PathArgument::fetch(call, AT_FDCWD, path)?, given, Follow::Yes)
}

/// `truncate(2)`.
pub fn truncate(call: &Call<'_>, path: UserPtr<u8>, size: i64) -> Result<usize, Errno> {
    let size = u64::try_from(size).map_err(|_| Errno::EINVAL)?;
    let path = call.path(path)?;
    call.with_caller(|caller| caller.truncate(&path, size))?;
    Ok(0)
}

fn statfs_of(statistics: &StatFs) -> Statfs {
    Statfs {
        kind: statistics.magic as i64,
        block_size: statistics.block_size as i64,
        blocks: statistics.blocks,
        blocks_free: statistics.free_blocks,
        blocks_available: statistics.free_blocks,
        files: statistics.inodes,
        files_free: statistics.free_inodes,
        id: [0; 2],
        name_length: 255,
        fragment_size: statistics.block_size as i64,
        flags: statistics.flags as i64,
        reserved: [0; 4],
    }
}

/// `statfs(2)`.
pub fn statfs(call: &Call<'_>, path: UserPtr<u8>, out: UserPtr<Statfs>) -> Result<usize, Errno> {
    let path = call.path(path)?;
    let statistics = call.with_caller(|caller| caller.statistics(&path))?;
    out.write(&statfs_of(&statistics))?;
    Ok(0)
}

/// `fstatfs(2)`.
pub fn fstatfs(call: &Call<'_>, descriptor: i32, out: UserPtr<Statfs>) -> Result<usize, Errno> {
    let statistics = call.any_file(descriptor)?.location().statistics();
    out.write(&statfs_of(&statistics))?;
    Ok(0)
}

/// `chdir(2)`.
pub fn chdir(call: &Call<'_>, path: UserPtr<u8>) -> Result<usize, Errno> {
    let path = call.path(path)?;
    call.with_caller(|caller| caller.change_directory(Start::WorkingDirectory, &path, Follow::Yes))?;
    Ok(0)
}

/// `fchdir(2)`.
pub fn fchdir(call: &Call<'_>, descriptor: i32) -> Result<usize, Errno> {
    let file = call.any_file(descriptor)?;
    call.with_caller(|caller| caller.change_directory(Start::File(&file), b"", Follow::YesOrEmpty))?;
    Ok(0)
}

/// `chroot(2)`.
pub fn chroot(call: &Call<'_>, path: UserPtr<u8>) -> Result<usize, Errno> {
    let path = call.path(path)?;
    call.with_caller(|caller| caller.change_root(&path))?;
    Ok(0)
}

/// `getcwd(2)`: the length with the NUL. `ERANGE` it does not fit.
pub fn getcwd(call: &Call<'_>, out: UserPtr<u8>, size: usize) -> Result<usize, Errno> {
    let mut path = call.with_caller(|caller| caller.working_directory())?;
    path.push(0);
    if path.len() > size {
        return Err(Errno::ERANGE);
    }
    machine::user_memory::write(out.address(), &path)?;
    Ok(path.len())
}

/// `umask(2)`.
pub fn umask(call: &Call<'_>, mask: u32) -> Result<usize, Errno> {
    Ok(call.task.context()?.set_umask(Permissions::new(mask & 0o777)).bits().into())
}

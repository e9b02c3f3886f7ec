//! What a mount lets happen to its files: when reads are noted, who writes, and what `statfs` says.

use super::{mounts::with_mounts, *};
use crate::{Follow, MountFlags, Remount, SystemFlags, TimeChange, Timestamp, Unmount};

const LONG_AGO: Timestamp = Timestamp { seconds: 1_000, nanoseconds: 0 };

fn remount(caller: Caller<'_>, flags: MountFlags, system: Option<SystemFlags>) -> Result<(), Errno> {
    let system = system.map(|flags| (flags, b"".as_slice()));
    caller.remount(b"/m", &Remount { flags, times: true, system })
}

/// Makes the last access one of long ago, tries something, and says whether it was noted.
fn notes(caller: Caller<'_>, path: &str, read: impl FnOnce()) -> bool {
    let accessed = || caller.metadata(HERE, path.as_bytes(), Follow::No).unwrap().accessed;
    let _ = caller.change_times(HERE, path.as_bytes(), [TimeChange::At(LONG_AGO), TimeChange::Leave], Follow::No);
    let before = accessed();
    read();
    accessed() != before
}

fn with_files(test: impl FnOnce(Caller<'_>)) {
    with_mounts(|caller| {
        mkdir(caller, "/m");
        caller.mount(b"", b"/m", Some(b"ramfs"), (MountFlags::RELATIVE_TIMES, SystemFlags::empty()), b"").unwrap();
        mkdir(caller, "/m/d");
        write(caller, "/m/file", b"text");
        symlink(caller, "file", "/m/link");
        test(caller);
    });
}

fn read_byte(file: &OpenFile) {
    assert_eq!(file.read_at(&mut [0], 0), Ok(1));
}

#[test]
fn reads_are_noted_as_the_mount_says() {
    with_files(|caller| {
        let [silent, file] =
            [OpenFlags::NO_ACCESS_TIME, OpenFlags::empty()].map(|flags| open(caller, "/m/file", flags).unwrap());
        let all = || {
            [
                notes(caller, "/m/file", || read_byte(&file)),
                notes(caller, "/m/file", || read_byte(&silent)),
                notes(caller, "/m/d", || drop(names(caller, "/m/d"))),
                notes(caller, "/m/link", || drop(caller.read_link(HERE, b"/m/link").unwrap())),
                notes(caller, "/m/link", || drop(open(caller, "/m/link", OpenFlags::empty()).unwrap())),
            ]
        };
        assert_eq!(all(), [true, false, true, true, true]);
        remount(caller, MountFlags::NO_DIRECTORY_TIMES, None).unwrap();
        assert_eq!(all(), [true, false, false, true, true]);
        remount(caller, MountFlags::NO_ACCESS_TIMES, None).unwrap();
        assert_eq!(all(), [false; 5]);
        remount(caller, MountFlags::READ_ONLY, None).unwrap();
        assert_eq!(all(), [false; 5]);
    });
}

#[test]
fn a_read_only_mount_is_one_before_it_is_known_what_is_there() {
    with_files(|caller| {
        remount(caller, MountFlags::READ_ONLY, None).unwrap();
        assert_eq!(caller.unlink(HERE, b"/m/nothing"), Err(Errno::EROFS));
        assert_eq!(caller.unlink(HERE, b"/m/file/"), Err(Errno::EROFS));
        assert_eq!(caller.remove_directory(HERE, b"/m/nothing"), Err(Errno::EROFS));
        assert_eq!(caller.remove_directory(HERE, b"/m/."), Err(Errno::EINVAL));
        assert_eq!(caller.make(HERE, b"/m/file", NodeKind::Directory, mode(0o755)), Err(Errno::EEXIST));
        caller.change_mode(HERE, b"/m/file", mode(0o600), Follow::Yes).unwrap_err();
        let stranger = Credentials { fsuid: Uid::new(7), effective: Capabilities::empty(), ..Credentials::root() };
        let stranger = Caller { credentials: &Arc::new(stranger), ..caller };
        let refused = |flags| open(stranger, "/m/file", flags).err();
        assert_eq!(refused(OpenFlags::WRITE_ONLY), Some(Errno::EACCES));
        assert_eq!(refused(OpenFlags::WRITE_ONLY | OpenFlags::TRUNCATE), Some(Errno::EROFS));
        assert_eq!(stranger.truncate(b"/m/file", 0), Err(Errno::EROFS));
        remount(caller, MountFlags::empty(), Some(SystemFlags::READ_ONLY)).unwrap();
        assert_eq!(refused(OpenFlags::WRITE_ONLY), Some(Errno::EROFS), "the file system is read-only, whoever asks");
    });
}

#[test]
fn relative_times_are_noted_once_after_each_change() {
    with_files(|caller| {
        let accessed = || caller.metadata(HERE, b"/m/file", Follow::No).unwrap().accessed;
        let file = open(caller, "/m/file", OpenFlags::READ_WRITE).unwrap();
        let again = || {
            let before = accessed();
            read_byte(&file);
            accessed() != before
        };
        assert_eq!([again(), again(), again()], [true, false, false]);
        file.write(b"T").unwrap();
        assert_eq!([again(), again()], [true, false]);
        caller.change_mode(HERE, b"/m/file", mode(0o600), Follow::Yes).unwrap();
        assert_eq!([again(), again()], [true, false]);
        remount(caller, MountFlags::empty(), None).unwrap();
        assert_eq!([again(), again()], [true, true]);
    });
}

#[test]
fn what_has_writers_does_not_become_read_only() {
    with_files(|caller| {
        mkdir(caller, "/n");
        caller.bind(b"/m", b"/n", false).unwrap();
        let read_only = (MountFlags::READ_ONLY, Some(SystemFlags::READ_ONLY));
        let reader = open(caller, "/m/file", OpenFlags::empty()).unwrap();
        let writer = open(caller, "/n/file", OpenFlags::WRITE_ONLY).unwrap();
        assert_eq!(remount(caller, read_only.0, read_only.1), Err(Errno::EBUSY));
        assert_eq!(remount(caller, read_only.0, None), Ok(()), "the writer came through the other mount");
        assert_eq!(open(caller, "/m/file", OpenFlags::WRITE_ONLY).err(), Some(Errno::EROFS));
        assert_eq!(remount(caller, MountFlags::empty(), None), Ok(()));
        let second = open(caller, "/m/new", OpenFlags::WRITE_ONLY | OpenFlags::CREATE).unwrap();
        assert_eq!(remount(caller, read_only.0, None), Err(Errno::EBUSY));
        drop(second);
        // It still counts when its mount is in the tree no longer.
        caller.unmount(b"/n", Unmount::DETACH).unwrap();
        assert_eq!(remount(caller, read_only.0, read_only.1), Err(Errno::EBUSY));
        drop(writer);
        caller.unlink(HERE, b"/m/file").unwrap();
        assert_eq!(remount(caller, read_only.0, read_only.1), Err(Errno::EBUSY), "the reader's file has lost its name");
        write(caller, "/m/new", b"nothing has become read-only by halves");
        drop(reader);
        assert_eq!(remount(caller, read_only.0, read_only.1), Ok(()));
        assert_eq!(open(caller, "/m/new", OpenFlags::WRITE_ONLY).err(), Some(Errno::EROFS));
    });
}

#[test]
fn statistics_show_the_flags_of_mount_and_file_system() {
    with_files(|caller| {
        let flags = || caller.statistics(b"/m").unwrap().flags;
        assert_eq!(flags(), 0x20 | 4096);
        remount(caller, MountFlags::NO_SET_ID | MountFlags::NO_EXECUTE | MountFlags::NO_ACCESS_TIMES, None).unwrap();
        assert_eq!(flags(), 0x20 | 2 | 8 | 1024);
        remount(caller, MountFlags::NO_LINKS, Some(SystemFlags::READ_ONLY | SystemFlags::SYNCHRONOUS)).unwrap();
        assert_eq!(flags(), 0x20 | 8192 | 1 | 16);
    });
}

//! The mount tree.

use super::*;
use crate::{
    FileSystem, FileSystemType, Follow, FsContext, MountFlags, MountRequest, Namespace, NewNode, PollEvents, PollTable,
    Propagation, Registry, Remount, RenameFlags, SystemFlags, Unmount,
    ramfs::{Limits, RamFs},
    testing::{read, start_frames},
};
use alloc::string::ToString;

struct RamType;

impl FileSystemType for RamType {
    fn name(&self) -> &'static str {
        "ramfs"
    }

    fn mount(&self, _request: &MountRequest<'_>) -> Result<Arc<dyn FileSystem>, Errno> {
        Ok(RamFs::create("ramfs", Limits::NONE, mode(0o755), Uid::ROOT, Gid::ROOT)?)
    }
}

/// A type with one tree, which each mount shows.
struct OneTree(Arc<dyn FileSystem>);

impl FileSystemType for OneTree {
    fn name(&self) -> &'static str {
        "one"
    }

    fn mount(&self, _request: &MountRequest<'_>) -> Result<Arc<dyn FileSystem>, Errno> {
        Ok(self.0.clone())
    }
}

/// A type with some directories in each tree.
struct FilledType;

impl FileSystemType for FilledType {
    fn name(&self) -> &'static str {
        "filled"
    }

    fn mount(&self, request: &MountRequest<'_>) -> Result<Arc<dyn FileSystem>, Errno> {
        let tree = RamType.mount(request)?;
        let node = NewNode { kind: NodeKind::Directory, permissions: mode(0o755), uid: Uid::ROOT, gid: Gid::ROOT };
        tree.root().create(b"a", &node)?.create(b"b", &node)?;
        tree.root().create(b"c", &node)?;
        Ok(tree)
    }
}

/// Runs a test where `ramfs`, `filled` with the directories `a`, `a/b` and `c`, and `one` with its single tree can be mounted.
pub fn with_mounts(test: impl FnOnce(Caller<'_>)) {
    start_frames();
    let mut registry = Registry::new();
    registry.add_type(Arc::new(RamType));
    registry.add_type(Arc::new(FilledType));
    let tree = RamFs::create("one", Limits::NONE, mode(0o755), Uid::ROOT, Gid::ROOT).unwrap();
    registry.add_type(Arc::new(OneTree(tree)));
    let root = RamType.mount(&MountRequest {
        source: b"",
        data: b"",
        flags: MountFlags::empty(),
        credentials: &Credentials::root(),
    });
    let context = FsContext::new(Namespace::new(Arc::new(registry), root.unwrap()));
    test(Caller { context: &context, credentials: &Arc::new(Credentials::root()) });
}

pub fn mount(caller: Caller<'_>, target: &str) {
    caller
        .mount(b"dev", target.as_bytes(), Some(b"ramfs"), (MountFlags::RELATIVE_TIMES, SystemFlags::empty()), b"")
        .unwrap();
}

#[test]
fn a_mount_hides_what_is_below_and_goes_when_nobody_uses_it() {
    with_mounts(|caller| {
        mkdir(caller, "/m");
        write(caller, "/m/below", b"");
        mount(caller, "/m");
        assert_eq!(names(caller, "/m"), [".", ".."]);
        write(caller, "/m/file", b"inside");
        assert_eq!(names(caller, "/m/.."), [".", "..", "m"]);
        assert_eq!(caller.remove_directory(HERE, b"/m"), Err(Errno::EBUSY));
        assert_eq!(caller.rename(HERE, b"/m", HERE, b"/n", RenameFlags::empty()), Err(Errno::EBUSY));
        assert_eq!(caller.link(HERE, b"/m/file", HERE, b"/file", Follow::No), Err(Errno::EXDEV));
        let file = open(caller, "/m/file", OpenFlags::empty()).unwrap();
        assert_eq!(caller.unmount(b"/m", Unmount::empty()), Err(Errno::EBUSY));
        caller.unmount(b"/m", Unmount::DETACH).unwrap();
        assert_eq!(names(caller, "/m"), [".", "..", "below"]);
        let mut buffer = [0; 6];
        assert_eq!(file.read(&mut buffer), Ok(6));
        assert_eq!(caller.unmount(b"/m", Unmount::empty()), Err(Errno::EINVAL));
    });
}

#[test]
fn nothing_is_linked_into_a_directory_that_is_gone() {
    with_mounts(|caller| {
        mkdir(caller, "/m");
        write(caller, "/file", b"");
        mount(caller, "/m");
        mkdir(caller, "/m/d");
        let link = |directory| {
            let directory = open(caller, directory, OpenFlags::empty()).unwrap();
            caller.remove_directory(HERE, b"/m/d").ok();
            caller.link(HERE, b"/file", Start::File(&directory), b"new", Follow::No)
        };
        assert_eq!([link("/m/d"), link("/m")], [Err(Errno::ENOENT), Err(Errno::EXDEV)]);
    });
}

#[test]
fn the_same_tree_is_not_mounted_twice_in_one_place() {
    with_mounts(|caller| {
        mkdir(caller, "/m");
        mkdir(caller, "/n");
        let one = |target: &[u8]| caller.mount(b"", target, Some(b"one"), Default::default(), b"");
        assert_eq!(one(b"/m"), Ok(()));
        assert_eq!(one(b"/m"), Err(Errno::EBUSY));
        assert_eq!(one(b"/n"), Ok(()), "elsewhere it may be");
        mount(caller, "/m");
        assert_eq!(one(b"/m"), Ok(()), "on top of something else it may be");
        mount(caller, "/n");
        mount(caller, "/n");
        let text = caller.context.namespace().mounts_text(&caller.context.root()).unwrap();
        assert_eq!(text.lines().filter(|line| line.contains(" one ")).count(), 3);
    });
}

#[test]
fn busy_is_what_is_used_and_what_carries_mounts() {
    with_mounts(|caller| {
        mkdir(caller, "/m");
        mount(caller, "/m");
        mkdir(caller, "/m/n");
        mount(caller, "/m/n");
        assert_eq!(caller.unmount(b"/m", Unmount::empty()), Err(Errno::EBUSY));
        caller.change_directory(HERE, b"/m/n", Follow::Yes).unwrap();
        assert_eq!(caller.working_directory().unwrap(), b"/m/n");
        assert_eq!(caller.unmount(b"/m/n", Unmount::empty()), Err(Errno::EBUSY));
        caller.change_directory(HERE, b"/", Follow::Yes).unwrap();
        caller.unmount(b"/m/n", Unmount::empty()).unwrap();
        caller.unmount(b"/m", Unmount::empty()).unwrap();
        assert_eq!(caller.unmount(b"/", Unmount::empty()), Err(Errno::EINVAL));
    });
}

#[test]
fn mounts_are_listed_as_linux_lists_them() {
    with_mounts(|caller| {
        mkdir(caller, "/a b");
        mount(caller, "/a b");
        let flags = MountFlags::READ_ONLY | MountFlags::NO_SET_ID;
        let remount = |system| caller.remount(b"/a b", &Remount { flags, times: false, system });
        remount(None).unwrap();
        let root = caller.context.root();
        let text = caller.context.namespace().mounts_text(&root).unwrap();
        let expected = "rootfs / ramfs rw,relatime 0 0\ndev /a\\040b ramfs ro,nosuid,relatime 0 0\n";
        assert_eq!(text, expected);
        let line = || {
            let text = caller.context.namespace().mountinfo_text(&root).unwrap();
            text.lines().last().unwrap().split_once(" / ").unwrap().1.to_string()
        };
        assert_eq!(line(), "/a\\040b ro,nosuid,relatime - ramfs dev rw", "only the mount is read-only");
        remount(Some((SystemFlags::READ_ONLY | SystemFlags::SYNCHRONOUS, b""))).unwrap();
        assert_eq!(line(), "/a\\040b ro,nosuid,relatime - ramfs dev ro,sync");
        let file = open(caller, "/a b/x", OpenFlags::CREATE | OpenFlags::WRITE_ONLY);
        assert_eq!(file.err(), Some(Errno::EROFS));
    });
}

#[test]
fn a_part_of_the_tree_can_be_seen_twice_and_moved() {
    with_mounts(|caller| {
        for path in ["/a", "/a/deep", "/b", "/c"] {
            mkdir(caller, path);
        }
        write(caller, "/a/deep/file", b"seen");
        caller.bind(b"/a/deep", b"/b", false).unwrap();
        assert_eq!(read(caller, "/b/file").unwrap(), b"seen");
        assert_eq!(names(caller, "/b/.."), [".", "..", "a", "b", "c"]);
        caller.move_mount(b"/b", b"/c").unwrap();
        assert_eq!(read(caller, "/c/file").unwrap(), b"seen");
        assert_eq!(names(caller, "/b"), [".", ".."]);
        let text = caller.context.namespace().mountinfo_text(&caller.context.root()).unwrap();
        assert!(text.lines().any(|line| line.contains(" /a/deep /c rw,relatime - ramfs rootfs rw")), "{text}");
    });
}

#[test]
fn a_changed_root_is_the_top_for_its_caller() {
    with_mounts(|caller| {
        mkdir(caller, "/jail");
        mkdir(caller, "/jail/in");
        let outside = open(caller, "/", OpenFlags::DIRECTORY).unwrap();
        caller.change_root(b"/jail").unwrap();
        assert_eq!(names(caller, "/.."), [".", "..", "in"]);
        caller.change_directory(Start::File(&outside), b"", Follow::YesOrEmpty).unwrap();
        assert_eq!(caller.working_directory().unwrap(), b"(unreachable)/");
    });
}

#[test]
fn files_can_be_mounted_on_and_are_listed() {
    with_mounts(|caller| {
        for path in ["/a", "/b", "/b/c"] {
            mkdir(caller, path);
        }
        write(caller, "/a/file", b"seen");
        write(caller, "/b/c/place", b"hidden");
        caller.bind(b"/a/file", b"/b/c/place", false).unwrap();
        assert_eq!(read(caller, "/b/c/place").unwrap(), b"seen");
        assert_eq!(caller.bind(b"/a", b"/b/c/place", false), Err(Errno::ENOTDIR));
        assert_eq!(caller.bind(b"/b/c/place", b"/a", false), Err(Errno::ENOTDIR));
        caller.bind(b"/b/c/place", b"/b/c/place", false).unwrap();
        let text = caller.context.namespace().mountinfo_text(&caller.context.root()).unwrap();
        let listed = text.lines().filter(|line| line.contains(" /a/file /b/c/place rw,relatime - ramfs rootfs rw"));
        assert_eq!(listed.count(), 2, "{text}");
    });
}

#[test]
fn unmounted_lazily_a_tree_falls_apart() {
    with_mounts(|caller| {
        mkdir(caller, "/m");
        mount(caller, "/m");
        mkdir(caller, "/m/n");
        mount(caller, "/m/n");
        mkdir(caller, "/m/n/inside");
        caller.change_directory(HERE, b"/m", Follow::Yes).unwrap();
        caller.unmount(b"/m", Unmount::DETACH).unwrap();
        assert_eq!(names(caller, "n"), [".", ".."]);
        assert_eq!(caller.working_directory().unwrap(), b"(unreachable)/");
        let mount = |target: &[u8]| caller.mount(b"", target, Some(b"ramfs"), Default::default(), b"");
        assert_eq!(mount(b"n"), Err(Errno::EINVAL), "there is no tree to mount in");
        assert_eq!(caller.bind(b"n", b"/m", false), Err(Errno::EINVAL));
        assert_eq!(caller.set_propagation(b".", Some(Propagation::Shared), false), Err(Errno::EINVAL));
        assert_eq!(caller.unmount(b".", Unmount::empty()), Err(Errno::EINVAL));
    });
}

#[test]
fn a_mount_expires_when_nobody_has_come_since_it_was_asked() {
    with_mounts(|caller| {
        mkdir(caller, "/m");
        mount(caller, "/m");
        let expire = || caller.unmount(b"/m", Unmount::EXPIRE);
        for flag in [Unmount::FORCE, Unmount::DETACH] {
            assert_eq!(caller.unmount(b"/m", Unmount::EXPIRE | flag), Err(Errno::EINVAL));
        }
        let file = open(caller, "/m", OpenFlags::DIRECTORY).unwrap();
        assert_eq!(expire(), Err(Errno::EBUSY));
        drop(file);
        assert_eq!(expire(), Err(Errno::EAGAIN));
        assert_eq!(names(caller, "/m"), [".", ".."]);
        assert_eq!(expire(), Err(Errno::EAGAIN), "somebody has been there");
        assert_eq!(expire(), Ok(()));
        assert_eq!(expire(), Err(Errno::EINVAL));
        assert_eq!(caller.unmount(b"/", Unmount::EXPIRE), Err(Errno::EINVAL));
    });
}

#[test]
fn links_are_not_followed_where_the_mount_says_so() {
    with_mounts(|caller| {
        mkdir(caller, "/m");
        mount(caller, "/m");
        write(caller, "/m/file", b"x");
        symlink(caller, "file", "/m/link");
        symlink(caller, "/m/file", "/link");
        assert!(read(caller, "/m/link").is_ok());
        let flags = MountFlags::NO_LINKS;
        caller.remount(b"/m", &Remount { flags, times: false, system: None }).unwrap();
        assert_eq!(read(caller, "/m/link").err(), Some(Errno::ELOOP));
        assert!(read(caller, "/link").is_ok(), "this link lies elsewhere");
        assert_eq!(caller.read_link(HERE, b"/m/link").unwrap(), b"file");
    });
}

#[test]
fn a_change_of_the_tree_is_told_once_to_each_who_watches() {
    with_mounts(|caller| {
        mkdir(caller, "/m");
        let namespace = caller.context.namespace();
        let seen = core::sync::atomic::AtomicU32::new(namespace.change_count());
        let news = || namespace.poll_changes(&seen, &mut PollTable::look());
        let told = PollEvents::READABLE | PollEvents::PRIORITY | PollEvents::ERROR;
        assert_eq!(news(), PollEvents::READABLE);
        mount(caller, "/m");
        assert_eq!(news(), told);
        assert_eq!(news(), PollEvents::READABLE);
        caller.remount(b"/m", &Remount { flags: MountFlags::empty(), times: false, system: None }).unwrap();
        assert_eq!(news(), told);
        caller.unmount(b"/m", Unmount::empty()).unwrap();
        assert_eq!(news(), told);
    });
}

#[test]
fn there_are_not_more_mounts_than_there_may_be() {
    with_mounts(|caller| {
        for path in ["/a", "/a/b", "/c"] {
            mkdir(caller, path);
        }
        mount(caller, "/a");
        mkdir(caller, "/a/b");
        mount(caller, "/a/b");
        let namespace = caller.context.namespace();
        namespace.set_most_mounts(4);
        assert_eq!(caller.bind(b"/a", b"/c", true), Err(Errno::ENOSPC));
        caller.bind(b"/a", b"/c", false).unwrap();
        let more = caller.mount(b"", b"/c", Some(b"ramfs"), Default::default(), b"");
        assert_eq!(more, Err(Errno::ENOSPC));
        caller.unmount(b"/c", Unmount::empty()).unwrap();
        caller.unmount(b"/a/b", Unmount::empty()).unwrap();
        caller.bind(b"/a", b"/c", true).unwrap();
        assert_eq!(namespace.mounts_text(&caller.context.root()).unwrap().lines().count(), 3);
    });
}

#[test]
fn nothing_is_mounted_on_what_was_removed() {
    with_mounts(|caller| {
        mkdir(caller, "/gone");
        caller.change_directory(HERE, b"/gone", Follow::Yes).unwrap();
        caller.remove_directory(HERE, b"/gone").unwrap();
        assert_eq!(caller.mount(b"", b".", Some(b"ramfs"), Default::default(), b""), Err(Errno::ENOENT));
        assert_eq!(caller.bind(b"/", b".", false), Err(Errno::ENOENT));
        assert_eq!(caller.context.namespace().mounts_text(&caller.context.root()).unwrap().lines().count(), 1);
    });
}

#[test]
fn what_carries_a_mount_anywhere_keeps_its_name() {
    with_mounts(|caller| {
        for path in ["/a", "/a/x", "/b"] {
            mkdir(caller, path);
        }
        caller.bind(b"/a", b"/b", false).unwrap();
        mount(caller, "/b/x");
        assert_eq!(caller.remove_directory(HERE, b"/a/x"), Err(Errno::EBUSY));
        assert_eq!(caller.rename(HERE, b"/a/x", HERE, b"/a/y", RenameFlags::empty()), Err(Errno::EBUSY));
        caller.unmount(b"/b/x", Unmount::empty()).unwrap();
        assert_eq!(caller.remove_directory(HERE, b"/a/x"), Ok(()));
    });
}

#[test]
fn mounts_of_one_file_system_are_read_only_together() {
    with_mounts(|caller| {
        for path in ["/m", "/n", "/o"] {
            mkdir(caller, path);
        }
        let one = |target: &[u8]| caller.mount(b"", target, Some(b"one"), Default::default(), b"").unwrap();
        one(b"/m");
        one(b"/n");
        caller.bind(b"/n", b"/o", false).unwrap();
        let system = Some((SystemFlags::READ_ONLY, b"".as_slice()));
        caller.remount(b"/m", &Remount { flags: MountFlags::empty(), times: false, system }).unwrap();
        for path in ["/n/file", "/o/file"] {
            let file = open(caller, path, OpenFlags::CREATE | OpenFlags::WRITE_ONLY);
            assert_eq!(file.err(), Some(Errno::EROFS), "{path}");
        }
        [b"/o", b"/n", b"/m"].into_iter().for_each(|path| caller.unmount(path, Unmount::empty()).unwrap());
        one(b"/m");
        write(caller, "/m/file", b"it begins anew");
    });
}

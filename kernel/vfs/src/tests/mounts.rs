//! The mount tree.

use super::*;
use crate::{
    FileSystem, FileSystemType, Follow, FsContext, MountFlags, MountRequest, Namespace, Registry, RenameFlags,
    ramfs::{Limits, RamFs},
    testing::{read, start_frames},
};

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

/// Runs a test where `ramfs`, and `one` with its single tree, can be mounted.
fn with_mounts(test: impl FnOnce(Caller<'_>)) {
    start_frames();
    let mut registry = Registry::new();
    registry.add_type(Arc::new(RamType));
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

fn mount(caller: Caller<'_>, target: &str) {
    caller.mount(b"dev", target.as_bytes(), b"ramfs", MountFlags::empty(), b"").unwrap();
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
        assert_eq!(caller.unmount(b"/m", false, Follow::Yes), Err(Errno::EBUSY));
        caller.unmount(b"/m", true, Follow::Yes).unwrap();
        assert_eq!(names(caller, "/m"), [".", "..", "below"]);
        let mut buffer = [0; 6];
        assert_eq!(file.read(&mut buffer), Ok(6));
        assert_eq!(caller.unmount(b"/m", false, Follow::Yes), Err(Errno::EINVAL));
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
        let one = |target: &[u8]| caller.mount(b"", target, b"one", MountFlags::empty(), b"");
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
        assert_eq!(caller.unmount(b"/m", false, Follow::Yes), Err(Errno::EBUSY));
        caller.change_directory(HERE, b"/m/n", Follow::Yes).unwrap();
        assert_eq!(caller.working_directory().unwrap(), b"/m/n");
        assert_eq!(caller.unmount(b"/m/n", false, Follow::Yes), Err(Errno::EBUSY));
        caller.change_directory(HERE, b"/", Follow::Yes).unwrap();
        caller.unmount(b"/m/n", false, Follow::Yes).unwrap();
        caller.unmount(b"/m", false, Follow::Yes).unwrap();
        assert_eq!(caller.unmount(b"/", false, Follow::Yes), Err(Errno::EINVAL));
    });
}

#[test]
fn mounts_are_listed_as_linux_lists_them() {
    with_mounts(|caller| {
        mkdir(caller, "/a b");
        mount(caller, "/a b");
        caller.remount(b"/a b", MountFlags::READ_ONLY | MountFlags::NO_SET_ID, b"", false).unwrap();
        let root = caller.context.root();
        let text = caller.context.namespace().mounts_text(&root).unwrap();
        let expected = "rootfs / ramfs rw,relatime 0 0\ndev /a\\040b ramfs ro,nosuid,relatime 0 0\n";
        assert_eq!(text, expected);
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

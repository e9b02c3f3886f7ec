//! Trees of mounts that have no place yet, and file systems that are configured step by step.

use super::{
    mounts::{mount, with_mounts},
    *,
};
use crate::{
    ConfigurationStep as Step, Follow, MountChange, MountFlags, Propagation, SystemFlags, Unmount, testing::read,
};

type Place<'a> = (Start<'a>, &'a [u8], Follow);

fn at(path: &[u8]) -> Place<'_> {
    (HERE, path, Follow::Yes)
}

fn itself(file: &OpenFile) -> Place<'_> {
    (Start::File(file), b"", Follow::NoOrEmpty)
}

fn clone(caller: Caller<'_>, path: &[u8], recursive: bool) -> Arc<OpenFile> {
    caller.clone_tree(HERE, path, Follow::Yes, recursive).unwrap()
}

fn count(caller: Caller<'_>) -> usize {
    caller.context.namespace().mounts_text(&caller.context.root()).unwrap().lines().count()
}

fn with_a(test: impl FnOnce(Caller<'_>)) {
    with_mounts(|caller| {
        for path in ["/a", "/b"] {
            mkdir(caller, path);
        }
        mount(caller, "/a");
        for path in ["/a/in", "/a/d", "/a/d/e"] {
            mkdir(caller, path);
        }
        mount(caller, "/a/in");
        write(caller, "/a/in/file", b"text");
        test(caller);
        assert_eq!(count(caller), 3, "nothing is left of it");
        // Each of the two is not busy any more.
        caller.unmount(b"/a/in", Unmount::empty()).unwrap();
        caller.unmount(b"/a", Unmount::empty()).unwrap();
    });
}

#[test]
fn a_detached_tree_is_nowhere_until_it_is_moved() {
    with_a(|caller| {
        let tree = clone(caller, b"/a", true);
        assert_eq!(count(caller), 3);
        let inside = caller.open(Start::File(&tree), b"in/file", OpenFlags::empty(), mode(0)).unwrap();
        assert_eq!(inside.read(&mut [0; 4]), Ok(4));
        drop(inside);
        caller.move_tree(itself(&tree), at(b"/b")).unwrap();
        assert_eq!(count(caller), 5);
        assert_eq!(caller.move_tree(itself(&tree), at(b"/b/in")), Err(Errno::ELOOP));
        drop(tree);
        assert_eq!(count(caller), 5, "it has a place");
        for path in ["/b/in", "/b"] {
            caller.unmount(path.as_bytes(), Unmount::empty()).unwrap();
        }
        let again = clone(caller, b"/a", false);
        assert_eq!(caller.resolve(Start::File(&again), b"in/file", Follow::Yes).err(), Some(Errno::ENOENT));
    });
}

#[test]
fn a_detached_tree_is_no_part_of_the_tree() {
    with_a(|caller| {
        let share = MountChange {
            clear: MountFlags::empty(),
            set: MountFlags::empty(),
            propagation: Some(Propagation::Shared),
            recursive: false,
        };
        caller.change_mount(HERE, b"/a", Follow::Yes, &share).unwrap();
        let tree = clone(caller, b"/a", true);
        caller.change_directory(Start::File(&tree), b"in", Follow::Yes).unwrap();
        assert_eq!(caller.unmount(b".", Unmount::DETACH), Err(Errno::EINVAL));
        assert_eq!(caller.mount(b"", b".", Some(b"ramfs"), Default::default(), b""), Err(Errno::EINVAL));
        assert_eq!(caller.bind(b".", b"/b", false), Err(Errno::EINVAL));
        assert_eq!(caller.move_tree(at(b"."), at(b"/b")), Err(Errno::EINVAL));
        assert_eq!(caller.change_mount(HERE, b".", Follow::Yes, &share), Err(Errno::EINVAL));
        caller.change_directory(HERE, b"/", Follow::Yes).unwrap();
        // What is mounted in a peer is not handed on to it.
        mount(caller, "/a/d");
        assert_eq!(names(caller, "/a/d"), [".", ".."]);
        let through = caller.open(Start::File(&tree), b"d/e", OpenFlags::DIRECTORY, mode(0));
        assert!(through.is_ok());
        caller.unmount(b"/a/d", Unmount::empty()).unwrap();
    });
}

#[test]
fn who_is_in_a_detached_tree_does_not_get_above_it() {
    with_a(|caller| {
        let tree = clone(caller, b"/a/d", false);
        caller.change_directory(Start::File(&tree), b"", Follow::YesOrEmpty).unwrap();
        drop(tree);
        assert_eq!(names(caller, ".."), [".", "..", "e"]);
        caller.change_directory(HERE, b"/", Follow::Yes).unwrap();
    });
}

#[test]
fn attributes_change_for_all_mounts_or_for_none() {
    with_a(|caller| {
        let change = |set, clear, recursive| {
            let wish = MountChange { clear, set, propagation: None, recursive };
            caller.change_mount(HERE, b"/a", Follow::Yes, &wish)
        };
        let flags =
            || ["/a", "/a/in"].map(|path| caller.resolve(HERE, path.as_bytes(), Follow::Yes).unwrap().mount_flags());
        let [relative, nothing] = [MountFlags::RELATIVE_TIMES, MountFlags::empty()];
        let writer = open(caller, "/a/in/file", OpenFlags::WRITE_ONLY).unwrap();
        assert_eq!(change(MountFlags::READ_ONLY, relative, true), Err(Errno::EBUSY));
        assert_eq!(flags(), [relative; 2]);
        assert_eq!(change(MountFlags::READ_ONLY | MountFlags::NO_DEVICES, relative, false), Ok(()));
        assert_eq!(flags(), [MountFlags::READ_ONLY | MountFlags::NO_DEVICES, relative]);
        drop(writer);
        assert_eq!(change(MountFlags::READ_ONLY, nothing, true), Ok(()));
        assert_eq!(flags()[1], relative | MountFlags::READ_ONLY);
        assert_eq!(change(relative, MountFlags::READ_ONLY, true), Ok(()));
        assert_eq!(flags(), [relative | MountFlags::NO_DEVICES, relative]);
    });
}

#[test]
fn a_private_mount_joins_the_group_of_another() {
    with_a(|caller| {
        caller.bind(b"/a", b"/b", false).unwrap();
        assert_eq!(caller.share_group(at(b"/a"), at(b"/b")), Err(Errno::EINVAL), "there is no group");
        caller.set_propagation(b"/a", Some(Propagation::Shared), false).unwrap();
        assert_eq!(caller.share_group(at(b"/a"), at(b"/a/in")), Err(Errno::EINVAL), "of another file system");
        assert_eq!(caller.share_group(at(b"/a"), at(b"/b/d")), Err(Errno::EINVAL), "no mount");
        caller.share_group(at(b"/a"), at(b"/b")).unwrap();
        assert_eq!(caller.share_group(at(b"/a"), at(b"/b")), Err(Errno::EINVAL), "it is shared already");
        mount(caller, "/b/d");
        assert_eq!(names(caller, "/a/d"), [".", ".."]);
        caller.unmount(b"/a/d", Unmount::empty()).unwrap();
        caller.unmount(b"/b", Unmount::empty()).unwrap();
    });
}

#[test]
fn a_file_system_is_configured_then_made_then_mounted_then_changed() {
    with_a(|caller| {
        assert_eq!(caller.open_file_system(b"nothing").err(), Some(Errno::ENODEV));
        let file = caller.open_file_system(b"ramfs").unwrap();
        let step = |step| caller.configure(&file, step);
        assert_eq!(step(Step::Reconfigure), Err(Errno::EBUSY));
        assert_eq!(caller.mount_configured(&file, MountFlags::empty()).err(), Some(Errno::EINVAL));
        assert_eq!(step(Step::Set(b"source", Some(b"words"))), Ok(()));
        assert_eq!(step(Step::Set(b"source", Some(b"more"))), Err(Errno::EINVAL));
        assert_eq!(step(Step::Set(b"a", Some(b"b,c"))), Err(Errno::EINVAL));
        assert_eq!(step(Step::SetOther(b"a")), Err(Errno::EINVAL));
        assert_eq!(file.read(&mut [0; 4]), Err(Errno::EMSGSIZE));
        let message =
            |buffer: &mut [u8]| file.read(buffer).map(|length| String::from_utf8_lossy(&buffer[..length]).into_owned());
        assert_eq!(message(&mut [0; 99]).unwrap(), "e ramfs: Multiple 'source'");
        assert!([message(&mut [0; 99]), message(&mut [0; 99])].iter().all(Result::is_ok));
        assert_eq!(message(&mut [0; 99]), Err(Errno::ENODATA));
        assert_eq!([step(Step::Set(b"ro", None)), step(Step::Create)], [Ok(()); 2]);
        assert_eq!([step(Step::Create), step(Step::Set(b"rw", None))], [Err(Errno::EBUSY); 2]);
        let tree = caller.mount_configured(&file, MountFlags::NO_EXECUTE).unwrap();
        caller.move_tree(itself(&tree), at(b"/b")).unwrap();
        drop(tree);
        let line = || caller.context.namespace().mounts_text(&caller.context.root()).unwrap();
        assert!(line().ends_with("words /b ramfs ro,noexec 0 0\n"), "{}", line());
        assert_eq!([step(Step::Set(b"rw", None)), step(Step::Reconfigure)], [Ok(()); 2]);
        assert!(line().ends_with("words /b ramfs rw,noexec 0 0\n"), "{}", line());
        drop(file);
        let picked = caller.pick_file_system(HERE, b"/b", Follow::Yes).unwrap();
        assert_eq!(caller.mount_configured(&picked, MountFlags::empty()).err(), Some(Errno::EBUSY));
        assert_eq!(caller.pick_file_system(HERE, b"/", Follow::Yes).err(), None);
        assert_eq!(caller.pick_file_system(HERE, b"/a/d", Follow::Yes).err(), Some(Errno::EINVAL));
        assert_eq!(caller.configure(&picked, Step::Set(b"sync", None)), Ok(()));
        assert_eq!(caller.configure(&picked, Step::Reconfigure), Ok(()));
        assert_eq!(
            caller.resolve(HERE, b"/b", Follow::Yes).unwrap().mount.unwrap().system_flags(),
            SystemFlags::SYNCHRONOUS
        );
        caller.unmount(b"/b", Unmount::empty()).unwrap();
    });
}

#[test]
fn what_is_mounted_on_a_link_is_there_instead_of_it() {
    with_mounts(|caller| {
        write(caller, "/file", b"text");
        symlink(caller, "loop", "/loop");
        symlink(caller, "file", "/link");
        let over = |from: &[u8], from_follow| {
            let tree = caller.clone_tree(HERE, from, from_follow, false).unwrap();
            caller.move_tree(itself(&tree), (HERE, b"/loop", Follow::No)).unwrap();
        };
        over(b"/file", Follow::Yes);
        assert_eq!(read(caller, "/loop").unwrap(), b"text");
        caller.unmount(b"/loop", Unmount::empty()).unwrap();
        assert_eq!(read(caller, "/loop").unwrap_err(), Errno::ELOOP);
        over(b"/link", Follow::No);
        assert_eq!(read(caller, "/loop").unwrap(), b"text", "a link on a link is followed");
        caller.unmount(b"/loop", Unmount::NO_FOLLOW).unwrap();
    });
}

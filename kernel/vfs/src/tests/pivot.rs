//! `pivot_root(2)`.

use super::{
    mounts::{mount, with_mounts},
    *,
};
use crate::{Follow, Propagation, Unmount};

/// A root directory that is a mount of its own, with another mount on `/new`.
fn with_roots(test: impl FnOnce(Caller<'_>)) {
    with_mounts(|caller| {
        mkdir(caller, "/base");
        mount(caller, "/base");
        for path in ["/base/new", "/base/plain", "/base/other"] {
            mkdir(caller, path);
        }
        mount(caller, "/base/new");
        mkdir(caller, "/base/new/old");
        caller.change_root(b"/base").unwrap();
        caller.change_directory(HERE, b"/", Follow::Yes).unwrap();
        test(caller);
    });
}

fn pivot(caller: Caller<'_>, new: &[u8], old: &[u8]) -> Result<(), Errno> {
    let (before, after) = caller.pivot_root(new, old)?;
    caller.context.exchange_root(&before, &after);
    Ok(())
}

#[test]
fn the_root_goes_below_the_new_one_and_can_be_unmounted() {
    with_roots(|caller| {
        write(caller, "/plain/file", b"kept");
        pivot(caller, b"/new", b"/new/old").unwrap();
        assert_eq!(names(caller, "/"), [".", "..", "old"]);
        assert_eq!(names(caller, "."), [".", "..", "old"]);
        assert_eq!(names(caller, "/old"), [".", "..", "new", "plain", "other"]);
        assert_eq!(crate::testing::read(caller, "/old/plain/file").unwrap(), b"kept");
        assert_eq!(names(caller, "/.."), [".", "..", "old"]);
        caller.unmount(b"/old", Unmount::empty()).unwrap();
        let text = caller.context.namespace().mounts_text(&caller.context.root()).unwrap();
        assert_eq!(text, "dev / ramfs rw,relatime 0 0\n");
    });
}

#[test]
fn with_dots_the_old_root_lies_on_the_new_one() {
    with_roots(|caller| {
        caller.change_directory(HERE, b"/new", Follow::Yes).unwrap();
        pivot(caller, b".", b".").unwrap();
        assert_eq!(names(caller, "/"), [".", "..", "old"]);
        let lines = || caller.context.namespace().mounts_text(&caller.context.root()).unwrap().lines().count();
        assert_eq!(lines(), 2);
        caller.unmount(b".", Unmount::DETACH).unwrap();
        assert_eq!(lines(), 1);
        assert_eq!(names(caller, "/old"), [".", ".."]);
        assert_eq!(caller.working_directory().unwrap(), b"/");
    });
}

#[test]
fn a_pivot_is_refused_as_the_manual_says() {
    with_mounts(|caller| {
        mkdir(caller, "/new");
        mount(caller, "/new");
        mkdir(caller, "/new/old");
        assert_eq!(pivot(caller, b"/new", b"/new/old"), Err(Errno::EINVAL), "the root is the top of the tree");
    });
    with_roots(|caller| {
        write(caller, "/new/file", b"");
        mount(caller, "/other");
        let user = Caller { credentials: &user(1), ..caller };
        assert_eq!(pivot(user, b"/new", b"/new/old"), Err(Errno::EPERM));
        for (new, old, errno) in [
            ("/missing", "/new/old", Errno::ENOENT),
            ("/new", "/new/missing", Errno::ENOENT),
            ("/new/file", "/new/old", Errno::ENOTDIR),
            ("/new", "/new/file", Errno::ENOTDIR),
            ("/plain", "/new/old", Errno::EBUSY),
            ("/new", "/plain", Errno::EBUSY),
            ("/", "/", Errno::EBUSY),
            ("/new/old", "/new/old", Errno::EINVAL),
            ("/new", "/other", Errno::EINVAL),
        ] {
            assert_eq!(pivot(caller, new.as_bytes(), old.as_bytes()), Err(errno), "{new} {old}");
        }
        // What holds the new root, what holds the old one, and what the old one goes to.
        for path in ["/", "/new"] {
            caller.set_propagation(path.as_bytes(), Some(Propagation::Shared), false).unwrap();
            assert_eq!(pivot(caller, b"/new", b"/new/old"), Err(Errno::EINVAL), "{path} is shared");
            caller.set_propagation(path.as_bytes(), Some(Propagation::Private), false).unwrap();
        }
        let outside = caller.context.namespace().root();
        caller.context.set_root(outside);
        caller.set_propagation(b"/", Some(Propagation::Shared), false).unwrap();
        caller.change_root(b"/base").unwrap();
        assert_eq!(pivot(caller, b"/new", b"/new/old"), Err(Errno::EINVAL), "the root's parent is shared");
    });
}

#[test]
fn the_root_must_be_a_mount_point() {
    with_roots(|caller| {
        mount(caller, "/other");
        mkdir(caller, "/other/jail");
        mkdir(caller, "/other/jail/new");
        mount(caller, "/other/jail/new");
        mkdir(caller, "/other/jail/new/old");
        caller.change_root(b"/other/jail").unwrap();
        assert_eq!(pivot(caller, b"/new", b"/new/old"), Err(Errno::EINVAL));
    });
}

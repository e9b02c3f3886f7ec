//! Paths, permissions and names.

use super::*;
use crate::{
    DeviceNumber, Follow, RenameFlags,
    testing::{read, with_caller},
};

#[test]
fn a_path_is_walked_through_links_dots_and_slashes() {
    with_caller(|caller| {
        mkdir(caller, "/a");
        mkdir(caller, "/a/b");
        write(caller, "/a/b/file", b"content");
        symlink(caller, "b", "/a/link");
        symlink(caller, "/a/link/../link/file", "/far");
        assert_eq!(read(caller, "/a//./b/../link/file").unwrap(), b"content");
        assert_eq!(read(caller, "/far").unwrap(), b"content");
        assert_eq!(read(caller, "/../../far").unwrap(), b"content");
        assert_eq!(read(caller, "/a/b/file/").unwrap_err(), Errno::ENOTDIR);
        assert_eq!(read(caller, "/a/b/file/x").unwrap_err(), Errno::ENOTDIR);
        assert_eq!(read(caller, "/none/x").unwrap_err(), Errno::ENOENT);
        assert_eq!(read(caller, "").unwrap_err(), Errno::ENOENT);
        assert_eq!(open(caller, "/far", OpenFlags::NO_FOLLOW).err(), Some(Errno::ELOOP));
    });
}

#[test]
fn a_ring_of_links_and_names_too_long_are_told() {
    with_caller(|caller| {
        symlink(caller, "two", "/one");
        symlink(caller, "one", "/two");
        assert_eq!(read(caller, "/one").unwrap_err(), Errno::ELOOP);
        let name = "n".repeat(256);
        assert_eq!(read(caller, &name).unwrap_err(), Errno::ENAMETOOLONG);
        assert_eq!(read(caller, &"/.".repeat(2048)).unwrap_err(), Errno::ENAMETOOLONG);
    });
}

#[test]
fn forty_links_are_followed_and_no_more() {
    with_caller(|caller| {
        write(caller, "/l0", b"end");
        for number in 0..41 {
            symlink(caller, &std::format!("l{number}"), &std::format!("/l{}", number + 1));
        }
        assert_eq!(read(caller, "/l40").unwrap(), b"end");
        assert_eq!(read(caller, "/l41").unwrap_err(), Errno::ELOOP);
    });
}

#[test]
fn the_working_directory_is_named_wherever_it_moves() {
    with_caller(|caller| {
        mkdir(caller, "/a");
        mkdir(caller, "/a/b");
        caller.change_directory(HERE, b"/a/b", Follow::Yes).unwrap();
        assert_eq!(caller.working_directory().unwrap(), b"/a/b");
        caller.rename(HERE, b"/a", HERE, b"/c", RenameFlags::empty()).unwrap();
        assert_eq!(caller.working_directory().unwrap(), b"/c/b");
        caller.remove_directory(HERE, b"/c/b").unwrap();
        assert_eq!(caller.working_directory(), Err(Errno::ENOENT));
        assert_eq!(open(caller, "new", OpenFlags::CREATE).err(), Some(Errno::ENOENT));
    });
}

#[test]
fn a_program_opened_by_its_descriptor_keeps_its_name() {
    with_caller(|caller| {
        mkdir(caller, "/d");
        write(caller, "/d/program", b"");
        caller.change_mode(HERE, b"/d/program", mode(0o755), Follow::Yes).unwrap();
        let file = open(caller, "/d/program", OpenFlags::empty()).unwrap();
        let again = caller.open_program(Start::File(&file), b"", Follow::YesOrEmpty).unwrap();
        assert_eq!(again.path(None), b"/d/program");
        let directory = open(caller, "/d", OpenFlags::empty()).unwrap();
        let inside = caller.open_program(Start::File(&directory), b"./program", Follow::Yes).unwrap();
        assert_eq!(inside.path(None), b"/d/program");
    });
}

#[test]
fn opening_keeps_linux_order_of_errors() {
    with_caller(|caller| {
        mkdir(caller, "/d");
        write(caller, "/f", b"");
        let create = OpenFlags::CREATE | OpenFlags::WRITE_ONLY;
        assert_eq!(open(caller, "/f", create | OpenFlags::EXCLUSIVE).err(), Some(Errno::EEXIST));
        assert_eq!(open(caller, "/d", OpenFlags::WRITE_ONLY).err(), Some(Errno::EISDIR));
        assert_eq!(open(caller, "/d", OpenFlags::CREATE).err(), Some(Errno::EISDIR));
        assert_eq!(open(caller, "/new/", create).err(), Some(Errno::EISDIR));
        assert_eq!(open(caller, "/f", OpenFlags::DIRECTORY).err(), Some(Errno::ENOTDIR));
        let path_only = open(caller, "/f", OpenFlags::PATH).unwrap();
        assert_eq!(path_only.read(&mut [0; 4]), Err(Errno::EBADF));
        assert_eq!(open(caller, "/f", OpenFlags::empty()).unwrap().write(b"x"), Err(Errno::EBADF));
        assert_eq!(open(caller, "/d", OpenFlags::empty()).unwrap().admit_read(), Err(Errno::EISDIR));
        symlink(caller, "/made", "/dangling");
        write(caller, "/dangling", b"through");
        assert_eq!(read(caller, "/made").unwrap(), b"through");
    });
}

#[test]
fn permissions_hold_for_users() {
    with_caller(|root| {
        root.make(HERE, b"/open", NodeKind::Directory, mode(0o777)).unwrap();
        root.change_mode(HERE, b"/open", mode(0o1777), Follow::Yes).unwrap();
        mkdir(root, "/closed");
        root.change_mode(HERE, b"/closed", mode(0o700), Follow::Yes).unwrap();
        let (one, two) = (user(1), user(2));
        let (one, two) = (Caller { credentials: &one, ..root }, Caller { credentials: &two, ..root });
        write(one, "/open/file", b"mine");
        assert_eq!(read(two, "/open/file").unwrap(), b"mine");
        assert_eq!(open(two, "/open/file", OpenFlags::WRITE_ONLY).err(), Some(Errno::EACCES));
        assert_eq!(two.unlink(HERE, b"/open/file"), Err(Errno::EPERM));
        assert_eq!(two.rename(HERE, b"/open/file", HERE, b"/open/x", RenameFlags::empty()), Err(Errno::EPERM));
        assert_eq!(read(one, "/closed/x").unwrap_err(), Errno::EACCES);
        assert_eq!(two.change_mode(HERE, b"/open/file", mode(0o777), Follow::Yes), Err(Errno::EPERM));
        assert_eq!(one.change_owner(HERE, b"/open/file", Some(Uid::new(2)), None, Follow::Yes), Err(Errno::EPERM));
        assert_eq!(
            one.make(HERE, b"/open/null", NodeKind::CharDevice(DeviceNumber::new(1, 3)), mode(0)),
            Err(Errno::EPERM)
        );
        assert_eq!(one.mount(b"", b"/open", Some(b"ramfs"), Default::default(), b""), Err(Errno::EPERM));
        assert_eq!(one.access(HERE, b"/open/file", 1, Follow::Yes), Err(Errno::EACCES));
        one.unlink(HERE, b"/open/file").unwrap();
    });
}

#[test]
fn set_ids_fall_when_another_writes_and_when_the_owner_changes() {
    with_caller(|root| {
        write(root, "/f", b"");
        root.change_mode(HERE, b"/f", mode(0o6777), Follow::Yes).unwrap();
        let other = user(1);
        open(Caller { credentials: &other, ..root }, "/f", OpenFlags::WRITE_ONLY).unwrap().write(b"x").unwrap();
        let bits = |root: Caller<'_>| root.metadata(HERE, b"/f", Follow::Yes).unwrap().permissions;
        assert_eq!(bits(root), mode(0o777));
        root.change_mode(HERE, b"/f", mode(0o4755), Follow::Yes).unwrap();
        let stranger = Caller { credentials: &other, ..root };
        assert_eq!(stranger.change_owner(HERE, b"/f", None, None, Follow::Yes), Err(Errno::EPERM));
        assert_eq!(bits(root), mode(0o4755), "nothing changes for a stranger who changes no id");
        root.change_owner(HERE, b"/f", Some(Uid::new(3)), None, Follow::Yes).unwrap();
        assert_eq!(bits(root), mode(0o755));
        assert_eq!(stranger.change_owner(HERE, b"/f", None, None, Follow::Yes), Ok(()), "there is nothing to lose");
    });
}

#[test]
fn a_stranger_may_rename_a_name_to_itself_and_link_only_what_is_safe() {
    with_caller(|root| {
        mkdir(root, "/d");
        mkdir(root, "/own");
        root.change_owner(HERE, b"/own", Some(Uid::new(7)), None, Follow::Yes).unwrap();
        for (path, bits) in [("/f", 0o644), ("/open", 0o666), ("/program", 0o4777)] {
            write(root, path, b"");
            root.change_mode(HERE, path.as_bytes(), mode(bits), Follow::Yes).unwrap();
        }
        let seven = user(7);
        let caller = Caller { credentials: &seven, ..root };
        let rename =
            |from: &str, to: &str| caller.rename(HERE, from.as_bytes(), HERE, to.as_bytes(), RenameFlags::empty());
        assert_eq!((rename("/d", "/d"), rename("/d", "/e")), (Ok(()), Err(Errno::EACCES)));
        let link = |from: &str, to: &str| caller.link(HERE, from.as_bytes(), HERE, to.as_bytes(), Follow::No);
        assert_eq!((link("/f", "/own/f"), link("/program", "/own/p")), (Err(Errno::EPERM), Err(Errno::EPERM)));
        assert_eq!((link("/f", "/g"), link("/open", "/g")), (Err(Errno::EPERM), Err(Errno::EACCES)));
        assert_eq!(link("/open", "/own/o"), Ok(()));
    });
}

#[test]
fn a_directory_that_may_not_be_written_stays_where_it_is() {
    with_caller(|root| {
        let seven = user(7);
        let caller = Caller { credentials: &seven, ..root };
        for path in ["/one", "/two"] {
            mkdir(root, path);
            root.change_owner(HERE, path.as_bytes(), Some(Uid::new(7)), None, Follow::Yes).unwrap();
        }
        for path in ["/one/roots", "/two/roots"] {
            mkdir(root, path);
        }
        write(caller, "/two/file", b"");
        let rename = |from: &str, to: &str, flags| caller.rename(HERE, from.as_bytes(), HERE, to.as_bytes(), flags);
        assert_eq!(rename("/one/roots", "/two/elsewhere", RenameFlags::empty()), Err(Errno::EACCES));
        assert_eq!(rename("/one/roots", "/two/file", RenameFlags::EXCHANGE), Err(Errno::EACCES));
        assert_eq!(rename("/two/file", "/one/roots", RenameFlags::EXCHANGE), Err(Errno::EACCES));
        assert_eq!(rename("/one/roots", "/one/again", RenameFlags::empty()), Ok(()), "its parent is the same");
    });
}

#[test]
fn names_are_refused_in_the_order_of_linux() {
    with_caller(|root| {
        mkdir(root, "/d");
        mkdir(root, "/m");
        root.bind(b"/d", b"/m", false).unwrap();
        write(root, "/f", b"");
        let rename = |from: &str, to: &str, flags| root.rename(HERE, from.as_bytes(), HERE, to.as_bytes(), flags);
        assert_eq!(rename("/d/.", "/nothing/x", RenameFlags::empty()), Err(Errno::ENOENT));
        assert_eq!(rename("/d/.", "/m/x", RenameFlags::empty()), Err(Errno::EXDEV));
        assert_eq!(rename("/f", "/m/.", RenameFlags::NO_REPLACE), Err(Errno::EXDEV));
        assert_eq!(rename("/f", "/d/.", RenameFlags::NO_REPLACE), Err(Errno::EEXIST));
        assert_eq!(rename("/d", "/f/", RenameFlags::EXCHANGE), Err(Errno::ENOTDIR));
        let seven = user(7);
        let caller = Caller { credentials: &seven, ..root };
        let device =
            |path: &str| caller.make(HERE, path.as_bytes(), NodeKind::CharDevice(DeviceNumber::new(1, 3)), mode(0));
        assert_eq!((device("/f"), device("/nothing/x")), (Err(Errno::EEXIST), Err(Errno::ENOENT)));
        assert_eq!(device("/d/x"), Err(Errno::EACCES));
    });
}

#[test]
fn renames_refuse_what_would_break_the_tree() {
    with_caller(|caller| {
        for path in ["/a", "/a/b", "/a/b/c", "/e"] {
            mkdir(caller, path);
        }
        write(caller, "/f", b"");
        let rename =
            |from: &str, to: &str| caller.rename(HERE, from.as_bytes(), HERE, to.as_bytes(), RenameFlags::empty());
        assert_eq!(rename("/a", "/a/b/c/d"), Err(Errno::EINVAL));
        assert_eq!(rename("/a/b/c", "/a"), Err(Errno::ENOTEMPTY));
        // whatever the target is
        write(caller, "/a/b/file", b"");
        assert_eq!(rename("/a", "/a/b/file"), Err(Errno::EINVAL));
        assert_eq!(rename("/a/b/file", "/a"), Err(Errno::ENOTEMPTY));
        caller.unlink(HERE, b"/a/b/file").unwrap();
        assert_eq!(rename("/f", "/e"), Err(Errno::EISDIR));
        assert_eq!(rename("/e", "/f"), Err(Errno::ENOTDIR));
        assert_eq!(rename("/a/b", "/e"), Ok(()));
        assert_eq!(names(caller, "/e"), [".", "..", "c"]);
        let up = caller.metadata(HERE, b"/e/c/../..", Follow::Yes).unwrap().inode;
        assert_eq!(up, caller.metadata(HERE, b"/", Follow::Yes).unwrap().inode);
        assert_eq!(caller.metadata(HERE, b"/", Follow::Yes).unwrap().links, 4);
        let exchange = caller.rename(HERE, b"/f", HERE, b"/e/c", RenameFlags::EXCHANGE);
        assert_eq!(exchange, Ok(()));
        assert_eq!(names(caller, "/f"), [".", ".."]);
    });
}

#[test]
fn an_open_file_is_known_by_its_name_of_now() {
    with_caller(|caller| {
        mkdir(caller, "/d");
        write(caller, "/a", b"");
        write(caller, "/other", b"");
        let file = open(caller, "/a", OpenFlags::empty()).unwrap();
        let path = || String::from_utf8(file.path(None)).unwrap();
        let rename = |from: &str, to: &str, flags| {
            caller.rename(HERE, from.as_bytes(), HERE, to.as_bytes(), flags).unwrap();
        };
        rename("/a", "/b", RenameFlags::empty());
        assert_eq!(path(), "/b");
        rename("/b", "/d/c", RenameFlags::empty());
        rename("/d", "/e", RenameFlags::empty());
        assert_eq!(path(), "/e/c");
        rename("/other", "/e/c", RenameFlags::EXCHANGE);
        assert_eq!(path(), "/other");
        rename("/other", "/a", RenameFlags::empty());
        assert_eq!(path(), "/a");
        caller.link(HERE, b"/a", HERE, b"/second", Follow::Yes).unwrap();
        caller.unlink(HERE, b"/a").unwrap();
        assert_eq!(path(), "/a (deleted)", "it has another name, but that one was never its own");
        caller.unlink(HERE, b"/second").unwrap();
        assert_eq!(path(), "/a (deleted)");
    });
}

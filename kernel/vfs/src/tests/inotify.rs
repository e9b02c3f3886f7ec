//! What inotify tells.

use super::{
    mounts::{mount, with_mounts},
    *,
};
use crate::{
    FileEvents, Follow, PollEvents, PollTable, RenameFlags, TimeChange, inotify, inotify_add_watch,
    inotify_remove_watch, testing::with_caller,
};
use base::extended::SetMode;
use std::{format, string::ToString, vec};

fn watch(caller: Caller<'_>, file: &OpenFile, path: &str, mask: FileEvents) -> Result<i32, Errno> {
    let location = caller.resolve(HERE, path.as_bytes(), Follow::Yes).unwrap();
    inotify_add_watch(file, &location, mask, caller.credentials)
}

fn instance(caller: Caller<'_>) -> Arc<OpenFile> {
    inotify(OpenFlags::NONBLOCK, caller.credentials).unwrap()
}

/// The events that wait, as `watch mask name`.
fn events(file: &OpenFile) -> Vec<String> {
    let mut buffer = vec![0; 4096];
    let length = match file.read(&mut buffer) {
        Ok(length) => length,
        Err(error) => return vec![error.to_string()],
    };
    let mut rest = &buffer[..length];
    let mut found = Vec::new();
    while !rest.is_empty() {
        let word = |index: usize| u32::from_ne_bytes(rest[4 * index..][..4].try_into().unwrap());
        let (descriptor, mask, size) = (word(0), word(1), word(3) as usize);
        let name = String::from_utf8(rest[16..16 + size].to_vec()).unwrap();
        found.push(format!("{descriptor} {mask:x} {}", name.trim_end_matches('\0')));
        rest = &rest[16 + size..];
    }
    found
}

#[test]
fn a_directory_tells_of_its_children_and_a_file_of_itself() {
    with_caller(|caller| {
        mkdir(caller, "/d");
        let file = instance(caller);
        let all = FileEvents::from_bits_truncate(0xfff);
        assert_eq!(watch(caller, &file, "/d", all), Ok(1));
        assert!(file.poll(&mut PollTable::look()).is_empty());
        write(caller, "/d/f", b"x");
        assert_eq!(file.poll(&mut PollTable::look()), PollEvents::READABLE);
        assert_eq!(events(&file), ["1 100 f", "1 20 f", "1 2 f", "1 8 f"]);
        assert_eq!(watch(caller, &file, "/d/f", FileEvents::MODIFY | FileEvents::MOVE_SELF), Ok(2));
        open(caller, "/d/f", OpenFlags::WRITE_ONLY).unwrap().write(b"y").unwrap();
        assert_eq!(events(&file), ["1 20 f", "1 2 f", "2 2 ", "1 8 f"]);
        caller.rename(HERE, b"/d/f", HERE, b"/d/g", RenameFlags::empty()).unwrap();
        assert_eq!(events(&file), ["1 40 f", "1 80 g", "2 800 "]);
        caller.unlink(HERE, b"/d/g").unwrap();
        assert_eq!(events(&file), ["1 200 g", "2 8000 "]);
        mkdir(caller, "/d/e");
        caller.remove_directory(HERE, b"/d/e").unwrap();
        assert_eq!(events(&file), ["1 40000100 e", "1 40000200 e"]);
        caller.remove_directory(HERE, b"/d").unwrap();
        assert_eq!(events(&file), ["1 400 ", "1 8000 "]);
    });
}

/// Fails on a version that takes the number of the directory in which something is mounted for one of what is mounted.
#[test]
fn what_is_mounted_has_no_name_in_a_directory_of_its_own() {
    with_mounts(|caller| {
        mkdir(caller, "/d");
        mount(caller, "/d");
        let file = instance(caller);
        assert_eq!(watch(caller, &file, "/d", FileEvents::ATTRIBUTES), Ok(1));
        caller.change_mode(HERE, b"/d", Permissions::new(0o700), Follow::Yes).unwrap();
        assert_eq!(events(&file), ["1 40000004 "]);
    });
}

/// Fails on a version that tells only those who watch the file itself.
#[test]
fn a_directory_tells_what_is_changed_of_its_children() {
    with_caller(|caller| {
        mkdir(caller, "/d");
        mkdir(caller, "/d/e");
        write(caller, "/d/f", b"x");
        let file = instance(caller);
        let changes = FileEvents::ATTRIBUTES | FileEvents::MODIFY | FileEvents::ACCESS;
        assert_eq!(watch(caller, &file, "/d", changes), Ok(1));
        let mode = Permissions::new(0o600);
        let open = open(caller, "/d/f", OpenFlags::empty()).unwrap();
        caller.change_mode(HERE, b"/d/f", mode, Follow::Yes).unwrap();
        caller.change_mode(Start::File(&open), b"", mode, Follow::YesOrEmpty).unwrap();
        caller.change_owner(HERE, b"/d/f", Some(Uid::ROOT), None, Follow::Yes).unwrap();
        assert_eq!(events(&file), ["1 4 f"], "the same event three times is one");
        let (now, left) = (TimeChange::Now, TimeChange::Leave);
        for times in [[now, now], [now, left], [left, now]] {
            caller.change_times(HERE, b"/d/f", times, Follow::Yes).unwrap();
        }
        assert_eq!(events(&file), ["1 4 f", "1 1 f", "1 2 f"]);
        caller.truncate(b"/d/f", 0).unwrap();
        let named = caller.resolve_named(HERE, b"/d/f", Follow::Yes).unwrap();
        caller.set_attribute(&named, b"user.a", b"1", SetMode::Any).unwrap();
        caller.change_mode(HERE, b"/d/e", mode, Follow::Yes).unwrap();
        assert_eq!(events(&file), ["1 2 f", "1 4 f", "1 40000004 e"]);
    });
}

#[test]
fn a_directory_tells_that_it_is_read() {
    with_caller(|caller| {
        mkdir(caller, "/d");
        mkdir(caller, "/d/e");
        let file = instance(caller);
        assert_eq!(watch(caller, &file, "/d", FileEvents::ACCESS), Ok(1));
        let [outer, inner] = ["/d", "/d/e"].map(|path| open(caller, path, OpenFlags::DIRECTORY).unwrap());
        outer.read_directory(&mut |_| false).unwrap();
        assert_eq!(events(&file), ["1 40000001 "]);
        inner.read_directory(&mut |_| true).unwrap();
        assert_eq!(events(&file), ["1 40000001 e"]);
    });
}

#[test]
fn equal_events_in_a_row_are_one_and_a_small_buffer_is_refused() {
    with_caller(|caller| {
        write(caller, "/f", b"x");
        let file = instance(caller);
        watch(caller, &file, "/f", FileEvents::MODIFY).unwrap();
        let open = open(caller, "/f", OpenFlags::WRITE_ONLY).unwrap();
        open.write(b"y").unwrap();
        open.write(b"z").unwrap();
        assert_eq!(file.read(&mut [0; 15]), Err(Errno::EINVAL));
        assert_eq!(events(&file), ["1 2 "]);
        assert_eq!(events(&file), [Errno::EAGAIN.to_string()]);
    });
}

#[test]
fn flags_of_a_watch() {
    with_caller(|caller| {
        write(caller, "/f", b"x");
        let file = instance(caller);
        let only = FileEvents::MODIFY | FileEvents::ONLY_DIRECTORY;
        assert_eq!(watch(caller, &file, "/f", only), Err(Errno::ENOTDIR));
        assert_eq!(watch(caller, &file, "/f", FileEvents::OPEN | FileEvents::ONE_SHOT), Ok(1));
        drop(open(caller, "/f", OpenFlags::empty()).unwrap());
        assert_eq!(events(&file), ["1 20 ", "1 8000 "]);
        assert_eq!(watch(caller, &file, "/f", FileEvents::OPEN), Ok(2));
        let again = FileEvents::CLOSE_NO_WRITE | FileEvents::MASK_CREATE;
        assert_eq!(watch(caller, &file, "/f", again), Err(Errno::EEXIST));
        let more = FileEvents::CLOSE_NO_WRITE | FileEvents::MASK_ADD;
        assert_eq!(watch(caller, &file, "/f", more), Ok(2));
        drop(open(caller, "/f", OpenFlags::empty()).unwrap());
        assert_eq!(events(&file), ["2 20 ", "2 10 "]);
        assert_eq!(inotify_remove_watch(&file, 1), Err(Errno::EINVAL));
        assert_eq!(inotify_remove_watch(&file, 2), Ok(()));
        assert_eq!(events(&file), ["2 8000 "]);
        let plain = open(caller, "/f", OpenFlags::empty()).unwrap();
        assert_eq!(inotify_remove_watch(&plain, 2), Err(Errno::EINVAL));
        let weak = user(7);
        caller.change_mode(HERE, b"/f", mode(0o200), Follow::Yes).unwrap();
        let stranger = Caller { credentials: &weak, ..caller };
        assert_eq!(watch(stranger, &file, "/f", FileEvents::OPEN), Err(Errno::EACCES));
    });
}

#[test]
fn children_without_a_name_can_be_left_out() {
    with_caller(|caller| {
        mkdir(caller, "/d");
        write(caller, "/d/f", b"x");
        let (with, without) = (instance(caller), instance(caller));
        watch(caller, &with, "/d", FileEvents::MODIFY).unwrap();
        watch(caller, &without, "/d", FileEvents::MODIFY | FileEvents::EXCLUDE_UNLINKED).unwrap();
        let file = open(caller, "/d/f", OpenFlags::WRITE_ONLY).unwrap();
        caller.unlink(HERE, b"/d/f").unwrap();
        file.write(b"y").unwrap();
        assert_eq!(events(&with), ["1 2 f"]);
        assert_eq!(events(&without), [Errno::EAGAIN.to_string()]);
    });
}

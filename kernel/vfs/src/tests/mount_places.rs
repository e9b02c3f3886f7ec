//! Places where something is mounted keep their names, also against those who come between a look and the mount.

use super::{mounts::with_mounts, *};
use crate::{Follow, RenameFlags, mount::Named};

fn named(caller: Caller<'_>, path: &str) -> Named {
    caller.resolve_named(HERE, path.as_bytes(), Follow::Yes).unwrap()
}

#[test]
fn a_free_place_keeps_its_name() {
    with_mounts(|caller| {
        mkdir(caller, "/d");
        mkdir(caller, "/e");
        write(caller, "/f", b"");
        let rename = |from: &str, to: &str, flags| caller.rename(HERE, from.as_bytes(), HERE, to.as_bytes(), flags);
        let change = caller.context.namespace().change();
        let places = ["/d", "/f"].map(|path| change.free_place(named(caller, path)).ok().unwrap());
        drop(change);
        assert_eq!(caller.remove_directory(HERE, b"/d"), Err(Errno::EBUSY));
        assert_eq!(caller.unlink(HERE, b"/f"), Err(Errno::EBUSY));
        for (from, to) in [("/d", "/x"), ("/d", "/e/d"), ("/e", "/d"), ("/f", "/e/f")] {
            assert_eq!(rename(from, to, RenameFlags::empty()), Err(Errno::EBUSY), "{from} {to}");
        }
        assert_eq!(rename("/e", "/f", RenameFlags::EXCHANGE), Err(Errno::EBUSY));
        drop(places);
        assert_eq!(rename("/f", "/e/f", RenameFlags::empty()), Ok(()));
        assert_eq!(caller.remove_directory(HERE, b"/d"), Ok(()));
    });
}

#[test]
fn nothing_is_mounted_where_a_name_was() {
    with_mounts(|caller| {
        for path in ["/d", "/e", "/gone"] {
            mkdir(caller, path);
        }
        write(caller, "/f", b"");
        let [moved, gone, renamed] = ["/d", "/gone", "/f"].map(|path| named(caller, path));
        caller.rename(HERE, b"/d", HERE, b"/e/d", RenameFlags::empty()).unwrap();
        caller.remove_directory(HERE, b"/gone").unwrap();
        caller.rename(HERE, b"/f", HERE, b"/g", RenameFlags::empty()).unwrap();
        let change = caller.context.namespace().change();
        let result = |place| change.free_place(place).map(drop);
        assert_eq!([result(moved), result(gone), result(renamed)], [Ok(()), Err(Errno::ENOENT), Err(Errno::ENOENT)]);
    });
}

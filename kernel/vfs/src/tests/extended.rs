//! Extended attributes.

use super::*;
use crate::{Follow, Named, testing::with_caller};
use base::extended::SetMode;
use std::vec;

fn at(caller: Caller<'_>, path: &str) -> Named {
    caller.resolve_named(HERE, path.as_bytes(), Follow::No).unwrap()
}

fn set(caller: Caller<'_>, path: &str, name: &str) -> Result<(), Errno> {
    caller.set_attribute(&at(caller, path), name.as_bytes(), b"value", SetMode::Any)
}

fn get(caller: Caller<'_>, path: &str, name: &str) -> Result<Vec<u8>, Errno> {
    caller.attribute(&at(caller, path).location, name.as_bytes())
}

#[test]
fn an_attribute_lasts_until_it_is_removed() {
    with_caller(|caller| {
        write(caller, "/f", b"");
        for name in ["user.a", "trusted.a", "security.a"] {
            assert_eq!(get(caller, "/f", name), Err(Errno::ENODATA));
            assert_eq!(set(caller, "/f", name), Ok(()));
            assert_eq!(get(caller, "/f", name), Ok(b"value".to_vec()));
        }
        assert_eq!(caller.attribute_names(&at(caller, "/f").location).unwrap(), b"security.a\0trusted.a\0user.a\0");
        assert_eq!(caller.remove_attribute(&at(caller, "/f"), b"user.a"), Ok(()));
        assert_eq!(caller.remove_attribute(&at(caller, "/f"), b"user.a"), Err(Errno::ENODATA));
        assert_eq!(caller.attribute_names(&at(caller, "/f").location).unwrap(), b"security.a\0trusted.a\0");
    });
}

#[test]
fn names_without_a_namespace_or_with_nothing_else_are_refused() {
    with_caller(|caller| {
        write(caller, "/f", b"");
        for (name, error) in [
            ("user.", Errno::EINVAL),
            ("trusted.", Errno::EINVAL),
            ("user", Errno::EOPNOTSUPP),
            ("other.a", Errno::EOPNOTSUPP),
            ("system.posix_acl_access", Errno::EOPNOTSUPP),
        ] {
            assert_eq!(set(caller, "/f", name), Err(error), "{name}");
            assert_eq!(get(caller, "/f", name), Err(error), "{name}");
        }
    });
}

#[test]
fn the_value_of_a_files_capabilities_has_a_form() {
    with_caller(|caller| {
        write(caller, "/f", b"");
        let file = at(caller, "/f");
        let mut value = vec![0; 20];
        let set = |value: &[u8]| caller.set_attribute(&file, b"security.capability", value, SetMode::Any);
        assert_eq!([set(&value), set(b"")], [Err(Errno::EINVAL); 2]);
        value[3] = 2;
        assert_eq!(set(&value), Ok(()));
    });
}

#[test]
fn users_have_those_of_their_files_and_see_no_trusted_ones() {
    with_caller(|root| {
        write(root, "/f", b"");
        set(root, "/f", "trusted.a").unwrap();
        set(root, "/f", "security.a").unwrap();
        set(root, "/f", "user.a").unwrap();
        let other = user(7);
        let caller = Caller { context: root.context, credentials: &other };
        assert_eq!(get(caller, "/f", "trusted.a"), Err(Errno::ENODATA));
        assert_eq!(set(caller, "/f", "trusted.a"), Err(Errno::EPERM));
        assert_eq!(get(caller, "/f", "security.a"), Ok(b"value".to_vec()));
        assert_eq!(set(caller, "/f", "security.a"), Err(Errno::EPERM));
        assert_eq!(get(caller, "/f", "user.a"), Ok(b"value".to_vec()));
        assert_eq!(set(caller, "/f", "user.a"), Err(Errno::EACCES));
        assert_eq!(caller.attribute_names(&at(caller, "/f").location).unwrap(), b"security.a\0user.a\0");
        root.change_mode(HERE, b"/f", mode(0o600), Follow::No).unwrap();
        assert_eq!(get(caller, "/f", "user.a"), Err(Errno::EACCES));
        root.change_owner(HERE, b"/f", Some(Uid::new(7)), None, Follow::No).unwrap();
        assert_eq!(set(caller, "/f", "user.a"), Ok(()));
    });
}

#[test]
fn only_files_and_directories_have_those_of_users() {
    with_caller(|root| {
        symlink(root, "/nowhere", "/link");
        assert_eq!(set(root, "/link", "user.a"), Err(Errno::EPERM));
        assert_eq!(get(root, "/link", "user.a"), Err(Errno::ENODATA));
        assert_eq!(set(root, "/link", "trusted.a"), Ok(()));
        mkdir(root, "/sticky");
        root.change_mode(HERE, b"/sticky", mode(0o1777), Follow::No).unwrap();
        let other = user(7);
        let caller = Caller { context: root.context, credentials: &other };
        assert_eq!(set(caller, "/sticky", "user.a"), Err(Errno::EPERM));
        assert_eq!(set(root, "/sticky", "user.a"), Ok(()));
    });
}

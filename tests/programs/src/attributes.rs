//! Extended attributes by every call of their family, on a file or directory that is given.

use libc::*;
use std::ffi::{CStr, CString};
use std::io::Error;

fn errno_of(result: isize) -> i32 {
    if result < 0 { Error::last_os_error().raw_os_error().unwrap_or(-1) } else { 0 }
}

fn set(path: &CStr, name: &CStr, value: &[u8], flags: c_int) -> i32 {
    // SAFETY: texts with their NUL, and a value with its length.
    errno_of(unsafe { setxattr(path.as_ptr(), name.as_ptr(), value.as_ptr().cast(), value.len(), flags) } as isize)
}

/// What getxattr says with room for so many bytes: errno, or the value.
fn get(path: &CStr, name: &CStr, room: usize) -> Result<Vec<u8>, i32> {
    let mut value = vec![0_u8; room];
    // SAFETY: as above.
    let length = unsafe { getxattr(path.as_ptr(), name.as_ptr(), value.as_mut_ptr().cast(), room) };
    if length < 0 {
        return Err(errno_of(length));
    }
    value.resize(length as usize, 0);
    Ok(value)
}

/// Tries `trusted.`, `security.` and `user.` attributes on `path`.
pub fn run(path: &str) -> bool {
    let Ok(path) = CString::new(path) else { return false };
    let (mut tried, mut wrong) = (0, 0);
    let mut check = |what: &str, found: i32, wanted: i32| {
        tried += 1;
        if found != wanted {
            wrong += 1;
            println!("{what}: {found} instead of {wanted}");
        }
    };
    for name in [c"trusted.probe", c"security.probe", c"user.probe"] {
        let shown = name.to_str().unwrap_or_default();
        check(shown, get(&path, name, 8).err().unwrap_or(0), ENODATA);
        check(shown, set(&path, name, b"one", XATTR_REPLACE), ENODATA);
        check(shown, set(&path, name, b"one", XATTR_CREATE), 0);
        check(shown, set(&path, name, b"two", XATTR_CREATE), EEXIST);
        check(shown, set(&path, name, b"two", 4), EINVAL);
        check(shown, set(&path, name, &[0; 65_537], 0), E2BIG);
        check("the value", i32::from(get(&path, name, 8) != Ok(b"one".to_vec())), 0);
        check("the length", i32::from(get(&path, name, 0) != Ok(vec![0; 3])), 0);
        check("too little room", get(&path, name, 2).err().unwrap_or(0), ERANGE);
        check(shown, set(&path, name, b"", XATTR_REPLACE), 0);
        check("an empty value", i32::from(get(&path, name, 8) != Ok(Vec::new())), 0);
    }
    let mut list = [0_u8; 4096];
    // SAFETY: a buffer with its length.
    let length = unsafe { listxattr(path.as_ptr(), list.as_mut_ptr().cast(), list.len()) };
    let names = list.get(..length.max(0) as usize).unwrap_or_default();
    check("the list", i32::from(names != b"security.probe\0trusted.probe\0user.probe\0"), 0);
    // SAFETY: as above.
    let short = unsafe { listxattr(path.as_ptr(), list.as_mut_ptr().cast(), 3) };
    check("a list with too little room", errno_of(short), ERANGE);
    for name in [c"trusted.probe", c"security.probe", c"user.probe"] {
        for wanted in [0, ENODATA] {
            // SAFETY: texts with their NUL.
            check("removal", errno_of(unsafe { removexattr(path.as_ptr(), name.as_ptr()) } as isize), wanted);
        }
    }
    let long = CString::new(format!("trusted.{}", "x".repeat(248))).unwrap_or_default();
    for (name, wanted) in [(c"trusted.", EINVAL), (c"other.a", EOPNOTSUPP), (c"", ERANGE), (&*long, ERANGE)] {
        check(&name.to_string_lossy(), set(&path, name, b"x", 0), wanted);
    }
    println!("{tried} checks, {wrong} wrong");
    wrong == 0
}

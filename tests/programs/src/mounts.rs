//! mount, umount2 and pivot_root: their documented errors, propagation, expiry, and what `poll` tells of the tree.

use crate::{
    checks::{Checks, result},
    child,
};
use libc::*;
use std::{
    ffi::{CStr, CString},
    fs,
    ptr::null,
};

const TOP: &str = "/tmp/mounts";

fn text(path: &str) -> CString {
    CString::new(path).unwrap_or_default()
}

/// mount(2), without data; `kind` may be empty for none.
fn mount_as(source: &str, target: &str, kind: &str, flags: c_ulong) -> Result<(), i32> {
    let (source, target, kind_text) = (text(source), text(target), text(kind));
    let kind = if kind.is_empty() { null() } else { kind_text.as_ptr() };
    // SAFETY: all strings live until the call is over.
    result(unsafe { mount(source.as_ptr(), target.as_ptr(), kind, flags, null()) }.into()).map(drop)
}

fn unmount(target: &str, flags: c_int) -> Result<(), i32> {
    let target = text(target);
    // SAFETY: the string lives until the call is over.
    result(unsafe { umount2(target.as_ptr(), flags) }.into()).map(drop)
}

fn pivot(new: &str, old: &str) -> Result<(), i32> {
    let (new, old) = (text(new), text(old));
    // SAFETY: both strings live until the call is over.
    result(unsafe { syscall(SYS_pivot_root, new.as_ptr(), old.as_ptr()) }).map(drop)
}

fn at(path: &str) -> String {
    format!("{TOP}{path}")
}

fn make(paths: &[&str]) {
    for path in paths {
        let _ = fs::create_dir_all(at(path));
    }
}

/// The optional fields in mountinfo of what was mounted at this path last.
fn fields(path: &str) -> String {
    let table = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    let row = table.lines().rev().find(|row| row.split(' ').nth(4) == Some(path)).unwrap_or_default();
    let fields: Vec<&str> = row.split(' ').skip(6).take_while(|field| *field != "-").collect();
    fields.iter().map(|field| field.trim_end_matches(|last: char| last.is_ascii_digit())).collect::<Vec<_>>().join(" ")
}

fn as_nobody(call: impl FnOnce() -> Result<(), i32>) -> Result<(), i32> {
    // SAFETY: the ids are numbers; nothing else of this process depends on them.
    unsafe { seteuid(1000) };
    let got = call();
    // SAFETY: as above.
    unsafe { seteuid(0) };
    got
}

fn errors_of_mount(checks: &mut Checks) {
    let (directory, file) = (at("/a"), at("/file"));
    let _ = fs::write(&file, "x");
    checks.equal("no right", as_nobody(|| mount_as("x", &directory, "tmpfs", 0)), Err(EPERM));
    checks.equal("no right, no place", as_nobody(|| mount_as("x", &at("/none"), "tmpfs", 0)), Err(ENOENT));
    for (what, source, target, kind, flags, errno) in [
        ("no such type", "x", directory.as_str(), "nothing", 0, ENODEV),
        ("no type", "x", &directory, "", 0, EINVAL),
        ("no place", "x", &at("/none"), "tmpfs", 0, ENOENT),
        ("on a file", "x", &file, "tmpfs", 0, ENOTDIR),
        ("through a file", "x", &at("/file/x"), "tmpfs", 0, ENOTDIR),
        ("remount of no mount", "x", &directory, "", MS_REMOUNT, EINVAL),
        ("remount of flags, of no mount", "x", &directory, "", MS_REMOUNT | MS_BIND, EINVAL),
        ("bind of nothing", "", &directory, "", MS_BIND, EINVAL),
        ("bind of what is not there", &at("/none"), &directory, "", MS_BIND, ENOENT),
        ("a directory on a file", &directory, &file, "", MS_BIND, ENOTDIR),
        ("a file on a directory", &file, &directory, "", MS_BIND, ENOTDIR),
        ("move of nothing", "", &directory, "", MS_MOVE, EINVAL),
        ("move of no mount", &at("/b"), &directory, "", MS_MOVE, EINVAL),
        ("move of the top", "/", &directory, "", MS_MOVE, EINVAL),
        ("propagation of no mount", "", &directory, "", MS_SHARED, EINVAL),
        ("two kinds of propagation", "", "/tmp", "", MS_SHARED | MS_SLAVE, EINVAL),
        ("propagation and more", "", "/tmp", "", MS_SHARED | MS_RDONLY, EINVAL),
        ("only for the kernel", "x", &directory, "tmpfs", 1 << 31, EINVAL),
    ] {
        checks.equal(what, mount_as(source, target, kind, flags), Err(errno));
    }
    checks.equal("a mount", mount_as("x", &directory, "tmpfs", MS_NOEXEC | MS_SYNCHRONOUS), Ok(()));
    make(&["/a/in"]);
    checks.equal("a move into itself", mount_as(&directory, &at("/a/in"), "", MS_MOVE), Err(ELOOP));
    checks.equal("a mount on a file", mount_as(&directory, &file, "", MS_MOVE), Err(EINVAL));
    let _ = fs::create_dir(at("/gone"));
    let _ = std::env::set_current_dir(at("/gone"));
    let _ = fs::remove_dir(at("/gone"));
    checks.equal("on what was removed", mount_as("x", ".", "tmpfs", 0), Err(ENOENT));
    let _ = std::env::set_current_dir("/");
    checks.equal("sysfs twice", mount_as("sysfs", "/sys", "sysfs", 0), Err(EBUSY));
}

fn errors_of_umount(checks: &mut Checks) {
    let mounted = at("/a");
    checks.equal("unknown flags", unmount(&mounted, 16), Err(EINVAL));
    checks.equal("no right", as_nobody(|| unmount(&mounted, 0)), Err(EPERM));
    checks.equal("nothing there", unmount(&at("/none"), 0), Err(ENOENT));
    checks.equal("not mounted", unmount(&at("/b"), 0), Err(EINVAL));
    checks.equal("expiry by force", unmount(&mounted, MNT_EXPIRE | MNT_FORCE), Err(EINVAL));
    checks.equal("lazy expiry", unmount(&mounted, MNT_EXPIRE | MNT_DETACH), Err(EINVAL));
    let _ = std::os::unix::fs::symlink(&mounted, at("/link"));
    checks.equal("a link", unmount(&at("/link"), UMOUNT_NOFOLLOW), Err(EINVAL));
    let held = fs::File::open(at("/a/in"));
    checks.equal("busy", unmount(&mounted, 0), Err(EBUSY));
    checks.equal("busy for good", unmount(&mounted, MNT_FORCE), Err(EBUSY));
    checks.equal("too busy to expire", unmount(&mounted, MNT_EXPIRE), Err(EBUSY));
    drop(held);
    checks.equal("marked", unmount(&mounted, MNT_EXPIRE), Err(EAGAIN));
    checks.check("used", fs::metadata(at("/a/in")).is_ok());
    checks.equal("marked again", unmount(&mounted, MNT_EXPIRE), Err(EAGAIN));
    checks.equal("expired", unmount(&mounted, MNT_EXPIRE), Ok(()));
    checks.equal("by a link", mount_as("x", &mounted, "tmpfs", 0).and_then(|()| unmount(&at("/link"), 0)), Ok(()));
}

fn handed_on(checks: &mut Checks) {
    make(&["/m", "/n", "/s"]);
    let [m, n, s] = ["/m", "/n", "/s"].map(at);
    checks.equal("a mount", mount_as("x", &m, "tmpfs", 0), Ok(()));
    make(&["/m/x", "/m/y"]);
    checks.equal("shared", mount_as("", &m, "", MS_SHARED), Ok(()));
    checks.equal("a peer", mount_as(&m, &n, "", MS_BIND), Ok(()));
    checks.equal("another", mount_as(&m, &s, "", MS_BIND), Ok(()));
    checks.equal("a slave", mount_as("", &s, "", MS_SLAVE), Ok(()));
    checks.equal("the fields", [fields(&m), fields(&n), fields(&s)].join(","), "shared:,shared:,master:".to_owned());
    checks.equal("in one", mount_as("x", &at("/n/x"), "tmpfs", 0), Ok(()));
    checks.check("a file there", fs::write(at("/n/x/file"), "x").is_ok());
    checks.check("in all", ["/m", "/s"].iter().all(|top| fs::metadata(at(&format!("{top}/x/file"))).is_ok()));
    checks.equal("a move out of it", mount_as(&at("/m/x"), &at("/b"), "", MS_MOVE), Err(EINVAL));
    checks.equal("in the slave", mount_as("x", &at("/s/y"), "tmpfs", 0), Ok(()));
    checks.equal("not in the others", unmount(&at("/m/y"), 0), Err(EINVAL));
    checks.equal("out of all", unmount(&at("/m/x"), 0), Ok(()));
    checks.equal("nothing is left", unmount(&at("/s/x"), 0), Err(EINVAL));
    checks.equal("not to be bound", mount_as("", &at("/s/y"), "", MS_UNBINDABLE), Ok(()));
    checks.equal("is not", mount_as(&at("/s/y"), &at("/b"), "", MS_BIND), Err(EINVAL));
    checks.equal("nor shared by a move", mount_as(&at("/s/y"), &at("/m/y"), "", MS_MOVE), Err(EINVAL));
    for path in [at("/s/y"), s, n, m] {
        checks.equal(&path, unmount(&path, 0), Ok(()));
    }
}

/// What `poll` says of an open file.
fn events(file: c_int) -> c_short {
    let mut asked = pollfd { fd: file, events: POLLIN | POLLPRI, revents: 0 };
    // SAFETY: one entry that lives until the call is over.
    unsafe { poll(&raw mut asked, 1, 0) };
    asked.revents
}

fn told(checks: &mut Checks) {
    for table in [c"/proc/self/mounts", c"/proc/self/mountinfo"] as [&CStr; 2] {
        // SAFETY: the path is a literal with its NUL.
        let file = unsafe { open(table.as_ptr(), O_RDONLY) };
        checks.equal("nothing new", events(file), POLLIN);
        checks.equal("a mount", mount_as("x", &at("/a"), "tmpfs", 0), Ok(()));
        checks.equal("something new", events(file), POLLIN | POLLPRI | POLLERR);
        checks.equal("told", events(file), POLLIN);
        checks.equal("gone", unmount(&at("/a"), 0), Ok(()));
        checks.equal("new again", events(file), POLLIN | POLLPRI | POLLERR);
        // SAFETY: the descriptor is this function's own.
        unsafe { close(file) };
    }
}

/// In a child whose root is a mount of its own.
fn pivots(checks: &mut Checks) {
    checks.equal("with the top of the tree as root", pivot(&at("/a"), &at("/a")), Err(EINVAL));
    make(&["/base"]);
    checks.equal("a root", mount_as("base", &at("/base"), "tmpfs", 0), Ok(()));
    make(&["/base/new", "/base/plain"]);
    checks.equal("a new one", mount_as("new", &at("/base/new"), "tmpfs", 0), Ok(()));
    make(&["/base/new/old"]);
    let base = text(&at("/base"));
    // SAFETY: the string lives until the call is over.
    checks.check("a root of its own", unsafe { chroot(base.as_ptr()) == 0 && chdir(c"/".as_ptr()) == 0 });
    checks.equal("no right", as_nobody(|| pivot("/none", "/none")), Err(EPERM));
    for (what, new, old, errno) in [
        ("no new root", "/none", "/new/old", ENOENT),
        ("no place for the old one", "/new", "/new/none", ENOENT),
        ("in the old root", "/plain", "/new/old", EBUSY),
        ("the old one onto itself", "/new", "/plain", EBUSY),
        ("no mount point", "/new/old", "/new/old", EINVAL),
    ] {
        checks.equal(what, pivot(new, old), Err(errno));
    }
    // Somebody else whose root and working directory are the old root.
    // SAFETY: the child only sleeps and ends.
    let other = unsafe { fork() };
    if other == 0 {
        loop {
            // SAFETY: it waits for the signal that ends it.
            unsafe { pause() };
        }
    }
    checks.equal("the new root", pivot("/new", "/new/old"), Ok(()));
    checks.check("is the root", fs::metadata("/old/plain").is_ok() && fs::metadata("old/plain").is_ok());
    checks.check("of all who had the old one", {
        // SAFETY: the calls take numbers and strings that live until they are over.
        let same = unsafe { mount(c"proc".as_ptr(), c"/old/plain".as_ptr(), c"proc".as_ptr(), 0, null()) } == 0;
        let link = |name| fs::read_link(format!("/old/plain/{other}/{name}"));
        same && [link("root"), link("cwd")].iter().all(|link| link.as_ref().is_ok_and(|path| path.as_os_str() == "/"))
    });
    // SAFETY: the child is this function's own.
    unsafe {
        kill(other, SIGKILL);
        waitpid(other, std::ptr::null_mut(), 0);
    }
    checks.equal("no more proc", unmount("/old/plain", 0), Ok(()));
    checks.equal("the old root", unmount("/old", MNT_DETACH), Ok(()));
}

pub fn run() -> bool {
    make(&["/a", "/b"]);
    let mut checks = Checks::default();
    errors_of_mount(&mut checks);
    errors_of_umount(&mut checks);
    handed_on(&mut checks);
    told(&mut checks);
    let inside = child::status(|| {
        let mut checks = Checks::default();
        pivots(&mut checks);
        i32::from(!checks.tell())
    });
    checks.equal("in a root of its own", inside, 0);
    // What the child left.
    checks.check("the rest", unmount(&at("/base"), MNT_DETACH).is_ok() || fs::remove_dir(at("/base")).is_ok());
    checks.tell()
}

//! `CLONE_INTO_CGROUP`: who may have children where, and what is no place for one.

use libc::*;
use std::ffi::CString;
use std::fs;
use std::io::Error;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

/// An ordinary user.
const USER: u32 = 1000;
const INTO: u64 = 0x2_0000_0000;
/// The first size of the structure that has room for the descriptor.
const SIZE: usize = 88;

fn open(path: &Path, flags: c_int) -> u64 {
    let path = CString::new(path.as_os_str().as_bytes()).unwrap_or_default();
    // SAFETY: a text with its NUL.
    unsafe { libc::open(path.as_ptr(), flags) as u64 }
}

/// A child that is born there; the errno, or whether it found itself there.
fn clone_into(descriptor: u64, flags: u64, size: usize) -> Result<i32, i32> {
    let mut words = [0_u64; SIZE / 8];
    words[0] = INTO | flags;
    words[4] = SIGCHLD as u64;
    words[10] = descriptor;
    // SAFETY: without CLONE_VM the child has memory of its own; it looks where it is, and ends with 1 if that is right.
    unsafe {
        match syscall(SYS_clone3, words.as_ptr(), size) {
            0 => {
                let here = fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
                _exit(i32::from(here.lines().any(|line| line.ends_with("cpuacct:/born"))))
            }
            ..0 => Err(Error::last_os_error().raw_os_error().unwrap_or(-1)),
            child => {
                let mut status = 0;
                waitpid(child as pid_t, &raw mut status, 0);
                Ok(WEXITSTATUS(status))
            }
        }
    }
}

/// The same by a child that is an ordinary user; its errno, or 0.
fn clone_as_user(descriptor: u64) -> i32 {
    // SAFETY: the child gives up its rights, makes one child and ends; this process has one thread.
    unsafe {
        let child = fork();
        if child == 0 {
            setgid(USER);
            setuid(USER);
            _exit(clone_into(descriptor, 0, SIZE).err().unwrap_or(0));
        }
        let mut status = 0;
        waitpid(child, &raw mut status, 0);
        WEXITSTATUS(status)
    }
}

/// Tries it in the hierarchy of cpuacct that is mounted at `root`; says what is not as it should be.
pub fn run(root: &str) -> bool {
    let (mut tried, mut wrong) = (0, 0);
    let mut check = |what: &str, found: Result<i32, i32>, wanted: Result<i32, i32>| {
        tried += 1;
        if found != wanted {
            wrong += 1;
            println!("{what}: {found:?} instead of {wanted:?}");
        }
    };
    let place = Path::new(root).join("born");
    if let Err(error) = fs::create_dir(&place) {
        println!("{}: {error}", place.display());
        return false;
    }
    let (directory, path_only) = (open(&place, O_RDONLY | O_DIRECTORY), open(&place, O_PATH));
    check("by a directory", clone_into(directory, 0, SIZE), Ok(1));
    check("by O_PATH", clone_into(path_only, 0, SIZE), Ok(1));
    check("by a control file", clone_into(open(&place.join("tasks"), O_RDONLY), 0, SIZE), Err(EBADF));
    check("by another directory", clone_into(open(Path::new("/tmp"), O_RDONLY), 0, SIZE), Err(EBADF));
    check("by nothing open", clone_into(999, 0, SIZE), Err(EBADF));
    check("by no descriptor", clone_into(1 << 31, 0, SIZE), Err(EINVAL));
    check("without room for it", clone_into(directory, 0, SIZE - 8), Err(EINVAL));
    check("by a user", Err(clone_as_user(path_only)), Err(EACCES));
    for file in ["cgroup.procs", "tasks"] {
        // SAFETY: a text with its NUL.
        unsafe {
            let text = CString::new(place.join(file).as_os_str().as_bytes()).unwrap_or_default();
            chown(text.as_ptr(), USER, USER);
        }
    }
    check("by a user to whom it was given", Err(clone_as_user(path_only)), Err(0));
    check("rmdir", fs::remove_dir(&place).map(|()| 0).map_err(|error| error.raw_os_error().unwrap_or(-1)), Ok(0));
    check("removed", clone_into(directory, 0, SIZE), Err(ENODEV));
    println!("{tried} checks, {wrong} wrong");
    wrong == 0
}

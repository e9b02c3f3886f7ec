//! The namespaces that there are, one of each kind: who may enter them again (setns(2)), and what their files tell (ioctl_ns(2)).

use crate::{
    checks::{Checks, result},
    child,
};
use libc::*;
use std::{
    fs::File,
    os::{fd::AsRawFd, unix::fs::MetadataExt},
};

type Outcome = Result<i64, i32>;

const KINDS: [(&str, c_int); 8] = [
    ("cgroup", CLONE_NEWCGROUP),
    ("ipc", CLONE_NEWIPC),
    ("mnt", CLONE_NEWNS),
    ("net", CLONE_NEWNET),
    ("pid", CLONE_NEWPID),
    ("time", 0x80),
    ("user", CLONE_NEWUSER),
    ("uts", CLONE_NEWUTS),
];

fn enter(file: c_int, flags: c_int) -> Outcome {
    // SAFETY: takes no address.
    result(unsafe { syscall(SYS_setns, file, flags) })
}

fn ask(file: &File, request: c_int, argument: u64) -> Outcome {
    // SAFETY: an address among the arguments is of what lives until the call is over, or is to be refused.
    result(unsafe { syscall(SYS_ioctl, file.as_raw_fd(), request, argument) })
}

fn open(kind: &str) -> Option<File> {
    File::open(format!("/proc/self/ns/{kind}")).ok()
}

fn entering(checks: &mut Checks) {
    for (kind, flag) in KINDS {
        let Some(file) = open(kind) else { return checks.check(kind, false) };
        // Nobody enters the user namespace where he is.
        let expected = if kind == "user" { Err(EINVAL) } else { Ok(0) };
        let entered = [0, flag].map(|flag| enter(file.as_raw_fd(), flag));
        checks.equal(kind, entered, [expected, expected]);
        let other = if flag == CLONE_NEWUTS { CLONE_NEWIPC } else { CLONE_NEWUTS };
        checks.equal(kind, enter(file.as_raw_fd(), other), Err(EINVAL));
        let weak = child::status(|| {
            // SAFETY: takes no address.
            unsafe { setresuid(1000, 1000, 1000) };
            enter(file.as_raw_fd(), 0).err().unwrap_or(0)
        });
        checks.equal(kind, weak, if kind == "user" { EINVAL } else { EPERM });
    }
    checks.equal("no descriptor", enter(-1, 0), Err(EBADF));
    let other = File::open("/proc/self/stat").map_or(Ok(0), |file| enter(file.as_raw_fd(), 0));
    checks.equal("another file", other, Err(EINVAL));
}

fn mounts(checks: &mut Checks) {
    let found = child::status(|| {
        let (Some(file), Ok(before)) = (open("mnt"), std::fs::metadata("/")) else { return 1 };
        // SAFETY: literals that end in NUL.
        let changed = unsafe { chroot(c"/proc".as_ptr()) | chdir(c"/sys".as_ptr()) } == 0;
        let entered = enter(file.as_raw_fd(), 0);
        let same =
            |path| std::fs::metadata(path).is_ok_and(|now| (now.dev(), now.ino()) == (before.dev(), before.ino()));
        i32::from(!changed) + 2 * i32::from(entered != Ok(0)) + 4 * i32::from(!same("/") || !same("."))
    });
    checks.equal("root and working directory", found, 0);
    let shared = child::status(|| {
        let Some(file) = open("mnt") else { return 1 };
        let number = file.as_raw_fd();
        std::thread::spawn(move || enter(number, 0).err().unwrap_or(0)).join().unwrap_or(1)
    });
    checks.equal("a shared root", shared, EINVAL);
    let threaded = child::status(|| {
        let Some(file) = open("time") else { return 1 };
        let number = file.as_raw_fd();
        std::thread::spawn(move || enter(number, 0).err().unwrap_or(0)).join().unwrap_or(1)
    });
    checks.equal("time, with several threads", threaded, EUSERS);
}

fn processes(checks: &mut Checks) {
    // SAFETY: takes no address.
    let (own, first) =
        unsafe { (syscall(SYS_pidfd_open, getpid(), 0) as c_int, syscall(SYS_pidfd_open, 1, 0) as c_int) };
    let all = KINDS.iter().filter(|(kind, _)| *kind != "user").fold(0, |all, (_, flag)| all | flag);
    checks.equal("all but users", [enter(own, all), enter(first, all)], [Ok(0), Ok(0)]);
    let flags = [0, CLONE_NEWUSER | CLONE_NEWUTS, CLONE_NEWUTS | CLONE_FILES];
    checks.equal("bad flags", flags.map(|flags| enter(own, flags)), [Err(EINVAL); 3]);
    let weak = child::status(|| {
        // SAFETY: takes no address.
        unsafe { setresuid(1000, 1000, 1000) };
        enter(first, CLONE_NEWUTS).err().unwrap_or(0)
    });
    checks.equal("another user's", weak, EPERM);
    // SAFETY: own descriptors.
    unsafe { (close(own), close(first)) };
}

fn asking(checks: &mut Checks) {
    const USER_NAMESPACE: c_int = 0xb701;
    const PARENT: c_int = 0xb702;
    const KIND: c_int = 0xb703;
    const OWNER: c_int = 0xb704;
    for (kind, flag) in KINDS {
        let Some(file) = open(kind) else { return checks.check(kind, false) };
        checks.equal(kind, ask(&file, KIND, 0), Ok(flag.into()));
        let has_parents = ["user", "pid"].contains(&kind);
        checks.equal(kind, ask(&file, PARENT, 0), Err(if has_parents { EPERM } else { EINVAL }));
        let mut owner: uid_t = 7;
        let asked = ask(&file, OWNER, &raw mut owner as u64);
        checks.equal(kind, (asked, owner), if kind == "user" { (Ok(0), 0) } else { (Err(EINVAL), 7) });
        match ask(&file, USER_NAMESPACE, 0) {
            Ok(number) => {
                let link = std::fs::read_link(format!("/proc/self/fd/{number}")).unwrap_or_default();
                checks.equal(kind, Some(link), std::fs::read_link("/proc/self/ns/user").ok());
                // SAFETY: a new descriptor.
                let flags = unsafe { (fcntl(number as c_int, F_GETFD), close(number as c_int)) };
                checks.equal(kind, flags, (FD_CLOEXEC, 0));
            }
            Err(errno) => checks.equal(kind, (kind, errno), ("user", EPERM)),
        }
        checks.equal(kind, ask(&file, 0xb705, 0), Err(ENOTTY));
    }
    checks.equal("an owner for nobody", open("user").map(|file| ask(&file, OWNER, 8)), Some(Err(EFAULT)));
    checks.equal("another file", File::open("/proc/self/stat").map(|file| ask(&file, KIND, 0)).ok(), Some(Err(ENOTTY)));
}

/// Tries everything; says what is not as it should be.
pub fn run() -> bool {
    let mut checks = Checks::default();
    entering(&mut checks);
    mounts(&mut checks);
    processes(&mut checks);
    asking(&mut checks);
    checks.tell()
}

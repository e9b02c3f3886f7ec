//! Memory policies on a machine of two nodes: what each call answers, and on which node pages lie afterwards.

use crate::{child, migration};
use libc::*;
use std::ffi::CStr;
use std::fs::{self, File, OpenOptions};
use std::io::{Error, Write};
use std::os::fd::AsRawFd;
use std::os::unix::process::CommandExt;
use std::process::Command;
use std::ptr::null_mut;

pub const PAGE: usize = 4096;

pub const DEFAULT: c_int = 0;
pub const PREFERRED: c_int = 1;
pub const BIND: c_int = 2;
pub const INTERLEAVE: c_int = 3;
pub const LOCAL: c_int = 4;
pub const PREFERRED_MANY: c_int = 5;
const STATIC: c_int = 1 << 15;
const RELATIVE: c_int = 1 << 14;
const BALANCING: c_int = 1 << 13;

const STRICT: c_int = 1;
pub const MOVE: c_int = 2;
pub const MOVE_ALL: c_int = 4;

const BY_NODE: c_int = 1;
const BY_ADDRESS: c_int = 2;
const MEMS_ALLOWED: c_int = 4;

/// Bits of the mask that [`set`] and its like pass, with the one that Linux does not use.
const BITS: usize = 65;

pub fn errno_of(result: c_long) -> i32 {
    if result < 0 { Error::last_os_error().raw_os_error().unwrap_or(-1) } else { 0 }
}

fn set(mode: c_int, nodes: u64) -> i32 {
    // SAFETY: the mask lives until the call is over.
    errno_of(unsafe { syscall(SYS_set_mempolicy, mode, &raw const nodes, BITS) })
}

fn bind(start: *mut u8, pages: usize, mode: c_int, nodes: u64, flags: c_int) -> i32 {
    // SAFETY: the mask lives until the call is over; the memory is this program's own.
    errno_of(unsafe { syscall(SYS_mbind, start, pages * PAGE, mode, &raw const nodes, BITS, flags) })
}

/// The policy and its nodes, or the errno.
fn get(address: *mut u8, flags: c_int) -> Result<(c_int, u64), i32> {
    let (mut mode, mut nodes) = (-1, [0_u64; 16]);
    // SAFETY: both live until the call is over.
    let result =
        unsafe { syscall(SYS_get_mempolicy, &raw mut mode, &raw mut nodes, size_of_val(&nodes) * 8, address, flags) };
    if result < 0 { Err(errno_of(result)) } else { Ok((mode, nodes[0])) }
}

/// Fresh memory of so many pages.
pub fn fresh(pages: usize, flags: c_int) -> *mut u8 {
    // SAFETY: a new mapping, wherever there is room.
    let start = unsafe { mmap(null_mut(), pages * PAGE, PROT_READ | PROT_WRITE, flags | MAP_ANONYMOUS, -1, 0) };
    assert!(start != MAP_FAILED, "no memory");
    start.cast()
}

/// Stores to each page.
pub fn touch(start: *mut u8, pages: usize) {
    for page in 0..pages {
        // SAFETY: inside a mapping that may be written.
        unsafe { start.add(page * PAGE).write_volatile(page as u8) };
    }
}

/// The node of each page, as digits.
pub fn nodes_of(start: *mut u8, pages: usize) -> String {
    let node = |page: usize| get(start.wrapping_add(page * PAGE), BY_NODE | BY_ADDRESS);
    (0..pages).map(|page| node(page).map_or("?".into(), |(node, _)| node.to_string())).collect()
}

/// The nodes of so many pages that are touched after the task has taken a policy.
fn nodes_after(mode: c_int, nodes: u64, pages: usize) -> String {
    assert_eq!(set(mode, nodes), 0);
    let start = fresh(pages, MAP_PRIVATE);
    touch(start, pages);
    nodes_of(start, pages)
}

/// Sets the task's policy and becomes the program. Nodes are a mask.
pub fn become_with(mode: &str, nodes: &str, program: &[&str]) -> bool {
    let mode = match mode {
        "preferred" => PREFERRED,
        "bind" => BIND,
        "bind=static" => BIND | STATIC,
        "bind=relative" => BIND | RELATIVE,
        "interleave" => INTERLEAVE,
        "local" => LOCAL,
        "many" => PREFERRED_MANY,
        _ => return false,
    };
    let Ok(nodes) = nodes.parse() else { return false };
    let errno = set(mode, nodes);
    let [name, arguments @ ..] = program else { return false };
    if errno != 0 {
        println!("set_mempolicy gives {errno}");
        return false;
    }
    println!("{}: {}", name, Command::new(name).args(arguments).exec());
    false
}

/// Says the task's policy.
pub fn show() -> bool {
    match get(null_mut(), 0) {
        Ok((mode, nodes)) => println!("mode {:#x} nodes {nodes:#x}", mode),
        Err(errno) => println!("errno {errno}"),
    }
    true
}

/// Tries everything; says what is not as it should be.
pub fn run(confined: bool) -> bool {
    let (mut tried, mut wrong) = (0, 0);
    let mut check = |what: &str, right: bool| {
        tried += 1;
        if !right {
            wrong += 1;
            println!("wrong: {what}");
        }
    };
    if confined {
        check("the nodes that are allowed", get(null_mut(), MEMS_ALLOWED) == Ok((0, 2)));
        check("others are none", set(BIND, 1) == EINVAL && set(INTERLEAVE, 3) == 0);
        check("what is left of them", get(null_mut(), 0) == Ok((INTERLEAVE, 2)));
        migration::confined(&mut check);
    } else {
        answers(&mut check);
        tasks(&mut check);
        areas(&mut check);
        shared(&mut check);
        file_system(&mut check);
        migration::run(&mut check);
    }
    println!("{tried} checks, {wrong} wrong");
    wrong == 0
}

/// Errors, and what is read back.
fn answers(check: &mut impl FnMut(&str, bool)) {
    for (mode, nodes, errno) in [
        (6, 1, EINVAL),
        (-1, 1, EINVAL),
        (BIND | STATIC | RELATIVE, 1, EINVAL),
        (BIND | BALANCING, 1, EINVAL),
        (DEFAULT, 1, EINVAL),
        (BIND, 0, EINVAL),
        (INTERLEAVE, 0, EINVAL),
        (PREFERRED_MANY, 0, EINVAL),
        (PREFERRED | STATIC, 0, EINVAL),
        (LOCAL, 1, EINVAL),
        (LOCAL | STATIC, 0, EINVAL),
        (BIND, 4, EINVAL),
        (BIND | STATIC, 4, EINVAL),
        (BIND | RELATIVE, 4, 0),
        (BIND, 6, 0),
        (DEFAULT | STATIC, 0, 0),
    ] {
        check(&format!("set {mode:#x} to {nodes:#x}"), set(mode, nodes) == errno);
    }
    for (mode, nodes, shown) in [
        (BIND, 6, (BIND, 2)),
        (BIND | STATIC, 6, (BIND | STATIC, 6)),
        (INTERLEAVE | RELATIVE, 4, (INTERLEAVE | RELATIVE, 4)),
        (PREFERRED, 3, (PREFERRED, 1)),
        (PREFERRED, 0, (LOCAL, 0)),
        (PREFERRED_MANY, 3, (PREFERRED_MANY, 3)),
        (LOCAL, 0, (LOCAL, 0)),
        (DEFAULT, 0, (DEFAULT, 0)),
    ] {
        check(&format!("{mode:#x} {nodes:#x} is shown"), set(mode, nodes) == 0 && get(null_mut(), 0) == Ok(shown));
    }
    let memory = fresh(4, MAP_PRIVATE);
    let odd = memory.wrapping_add(1);
    let (nobody, behind) = (8 as *mut u8, memory.wrapping_add(PAGE));
    check("the nodes that are allowed", get(null_mut(), MEMS_ALLOWED) == Ok((0, 3)));
    for (flags, address) in [(8, null_mut()), (MEMS_ALLOWED | BY_NODE, null_mut()), (0, memory), (BY_NODE, null_mut())]
    {
        check(&format!("get with {flags:#x}"), get(address, flags) == Err(EINVAL));
    }
    check("get of nothing", get(nobody, BY_ADDRESS) == Err(EFAULT));
    // SAFETY: a mask of one bit has no room for two nodes, and nothing is written.
    let short = unsafe { syscall(SYS_get_mempolicy, 0, 8, 1, 0, MEMS_ALLOWED) };
    check("too few bits for the nodes", errno_of(short) == EINVAL);
    let mut words = [u64::MAX; 4];
    // SAFETY: the mask has room for all bits but the last, which is not used.
    let wide = unsafe { syscall(SYS_get_mempolicy, 0, &raw mut words, 193, 0, MEMS_ALLOWED) };
    check("more bits than nodes are cleared", wide == 0 && words == [3, 0, 0, u64::MAX]);
    // SAFETY: the mask lives until the call is over.
    let far = unsafe { syscall(SYS_set_mempolicy, BIND, &raw const words, 257) };
    check("a node that can't be", errno_of(far) == EINVAL);
    for (start, pages, mode, nodes, flags, errno) in [
        (odd, 1, BIND, 1, 0, EINVAL),
        (memory, 1, 6, 1, 0, EINVAL),
        (memory, 1, BIND, 1, 8, EINVAL),
        (memory, usize::MAX / PAGE, BIND, 1, 0, EINVAL),
        (memory, 1, BIND, 0, 0, EINVAL),
        (memory, 1, BIND, 4, 0, EINVAL),
        (memory, 0, BIND, 0, 0, 0),
        (nobody.wrapping_sub(8), 1, BIND, 1, 0, EFAULT),
        (null_mut(), 1, DEFAULT, 0, 0, EFAULT),
        (memory, 4, BIND, 1, STRICT, 0),
    ] {
        check(&format!("mbind {mode:#x} {nodes:#x} {flags:#x}"), bind(start, pages, mode, nodes, flags) == errno);
    }
    // SAFETY: the second page is this function's own.
    unsafe { munmap(behind.cast(), PAGE) };
    check("mbind over a hole", bind(memory, 4, BIND, 1, 0) == EFAULT);
    check("back to the default over a hole", bind(memory, 4, DEFAULT, 0, 0) == 0);
    let home = |start: *mut u8, node: c_long, flags: c_long| {
        // SAFETY: takes no address to store to.
        errno_of(unsafe { syscall(450, start, PAGE, node, flags) })
    };
    check("no home without a policy", home(memory, 0, 0) == ENOENT);
    check("no home for who interleaves", bind(memory, 1, INTERLEAVE, 3, 0) == 0 && home(memory, 0, 0) == EOPNOTSUPP);
    check("a home", bind(memory, 1, BIND, 3, 0) == 0 && home(memory, 1, 0) == 0);
    check("no such home", home(memory, 2, 0) == EINVAL && home(memory, 0, 1) == EINVAL && home(odd, 0, 0) == EINVAL);
    touch(memory, 1);
    check("the page is at home", nodes_of(memory, 1) == "1");
}

/// The policy of a task, and its children.
fn tasks(check: &mut impl FnMut(&str, bool)) {
    for node in ["0", "1"] {
        let mask = 1 << node.parse::<u32>().unwrap_or(0);
        check("bound pages", nodes_after(BIND, mask, 8) == node.repeat(8));
        check("preferred pages", nodes_after(PREFERRED, mask, 8) == node.repeat(8));
        check("pages preferred of many", nodes_after(PREFERRED_MANY, mask, 8) == node.repeat(8));
        check(
            "a child has the policy",
            child::status(|| i32::from(get(null_mut(), 0) == Ok((PREFERRED_MANY, mask)))) == 1,
        );
    }
    let interleaved = nodes_after(INTERLEAVE, 3, 8);
    check("interleaved pages", interleaved == "01".repeat(4) || interleaved == "10".repeat(4));
    // Not where the next fresh page lies: that goes by its address.
    check("the next node", matches!(get(null_mut(), BY_NODE), Ok((0 | 1, 3))));
    check(
        "a child may take another",
        child::status(|| set(DEFAULT, 0)) == 0 && get(null_mut(), 0) == Ok((INTERLEAVE, 3)),
    );
    check("the default again", set(DEFAULT, 0) == 0 && get(null_mut(), BY_NODE) == Err(EINVAL));
}

/// Policies of areas, which count before the task's.
fn areas(check: &mut impl FnMut(&str, bool)) {
    let start = fresh(8, MAP_PRIVATE);
    check("the task is bound to 0", set(BIND, 1) == 0);
    check("some pages to 1", bind(start.wrapping_add(2 * PAGE), 2, BIND, 2, 0) == 0);
    check("some go round", bind(start.wrapping_add(4 * PAGE), 4, INTERLEAVE, 3, 0) == 0);
    touch(start, 8);
    let nodes = nodes_of(start, 8);
    check("each where its policy says", nodes == "00110101" || nodes == "00111010");
    check("the area's policy", get(start.wrapping_add(2 * PAGE), BY_ADDRESS) == Ok((BIND, 2)));
    check("none is the default", get(start, BY_ADDRESS) == Ok((DEFAULT, 0)));
    check("pages elsewhere are an error", bind(start, 2, BIND, 2, STRICT) == EIO);
    check("nothing has changed", get(start, BY_ADDRESS) == Ok((DEFAULT, 0)));
    check("pages elsewhere stay", bind(start, 2, BIND, 2, 0) == 0 && nodes_of(start, 2) == "00");
    check("or move", bind(start, 2, BIND, 2, MOVE | STRICT) == 0 && nodes_of(start, 2) == "11");
    check("with a child that shares them", child::status(|| bind(start, 2, BIND, 1, MOVE | STRICT)) == EIO);
    check("with the right for both", child::status(|| bind(start, 2, BIND, 1, MOVE_ALL | STRICT)) == 0);
    check("they have moved for both", nodes_of(start, 2) == "00");
    let unprivileged = || {
        // SAFETY: takes no address.
        unsafe { setuid(1000) };
        bind(start, 2, BIND, 2, MOVE_ALL)
    };
    check("but not without it", child::status(unprivileged) == EPERM);
    // SAFETY: both are mappings of this function, and the pages move with their policies.
    let moved = unsafe { mremap(start.add(2 * PAGE).cast(), 2 * PAGE, 2 * PAGE, MREMAP_MAYMOVE | MREMAP_FIXED, start) };
    check("the policy moves with its area", get(moved.cast(), BY_ADDRESS) == Ok((BIND, 2)));
    check("the default again", set(DEFAULT, 0) == 0);
}

/// Shared memory: the policy belongs to it and not to who maps it.
fn shared(check: &mut impl FnMut(&str, bool)) {
    let start = fresh(4, MAP_SHARED);
    let touches = || {
        touch(start, 4);
        bind(start.wrapping_add(2 * PAGE), 2, BIND, 1, 0)
    };
    check("shared memory is bound", bind(start, 4, BIND, 2, 0) == 0);
    check("a child touches it", child::status(touches) == 0);
    check("the parent's policy held", nodes_of(start, 4) == "1111");
    check("and it sees the child's", get(start.wrapping_add(3 * PAGE), BY_ADDRESS) == Ok((BIND, 1)));
    // SAFETY: a new segment, attached wherever there is room and removed with its last attachment.
    let segment = unsafe {
        let number = shmget(IPC_PRIVATE, 4 * PAGE, 0o600);
        let first = shmat(number, null_mut(), 0);
        let second = shmat(number, null_mut(), 0);
        shmctl(number, IPC_RMID, null_mut());
        [first.cast::<u8>(), second.cast()]
    };
    check("a segment is bound", bind(segment[0], 4, BIND, 2, 0) == 0);
    touch(segment[1], 4);
    check("for all who attach it", nodes_of(segment[0], 4) == "1111" && get(segment[1], BY_ADDRESS) == Ok((BIND, 2)));
}

/// Files of a tmpfs that was mounted with a policy.
fn file_system(check: &mut impl FnMut(&str, bool)) {
    const PLACE: &CStr = c"/tmp/policy";
    let _ = fs::create_dir("/tmp/policy");
    let mounted = |flags: c_ulong, data: &CStr| {
        // SAFETY: the strings live until the call is over.
        errno_of(unsafe { mount(c"x".as_ptr(), PLACE.as_ptr(), c"tmpfs".as_ptr(), flags, data.as_ptr().cast()) }.into())
    };
    check("no such node", mounted(0, c"mpol=bind:7") == EINVAL);
    check("a policy of files", mounted(0, c"mpol=bind:1,size=1m") == 0);
    let table = fs::read_to_string("/proc/mounts").unwrap_or_default();
    check("it is shown", table.contains(" /tmp/policy tmpfs rw,relatime,size=1024k,mpol=bind:1 0 0\n"));
    let create = |path| OpenOptions::new().read(true).write(true).create(true).truncate(true).open(path);
    let nodes = |file: &File| {
        // SAFETY: a new mapping, wherever there is room.
        let start = unsafe { mmap(null_mut(), 2 * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, file.as_raw_fd(), 0) };
        assert!(start != MAP_FAILED, "no memory");
        touch(start.cast(), 2);
        nodes_of(start.cast(), 2)
    };
    let first = create("/tmp/policy/first").expect("a file");
    check("a page is written", (&first).write_all(&[1; PAGE]).is_ok() && first.set_len(2 * PAGE as u64).is_ok());
    check("pages lie there", nodes(&first) == "11");
    check("another policy", mounted(MS_REMOUNT, c"mpol=bind:0") == 0);
    let second = create("/tmp/policy/second").expect("a file");
    check("of new files", second.set_len(2 * PAGE as u64).is_ok() && nodes(&second) == "00");
    drop((first, second));
    // SAFETY: the string has its NUL. The mappings still hold the file system.
    check("out of sight", unsafe { umount2(PLACE.as_ptr(), MNT_DETACH) } == 0 && fs::remove_dir("/tmp/policy").is_ok());
}

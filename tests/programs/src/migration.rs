//! Pages that are moved while they are there: `move_pages` and `migrate_pages` on a machine of two nodes.

use crate::{
    child,
    policies::{MOVE, MOVE_ALL, PAGE, errno_of, fresh, nodes_of, touch},
};
use libc::*;

/// What move_pages returns, or its errno below 0, and the status of each page.
fn move_to(pid: i32, pages: &[*mut u8], nodes: &[c_int], flags: c_int) -> (c_long, Vec<c_int>) {
    let mut status = vec![99; pages.len()];
    let nodes = if nodes.is_empty() { std::ptr::null() } else { nodes.as_ptr() };
    // SAFETY: three arrays of one length, which live until the call is over.
    let result =
        unsafe { syscall(SYS_move_pages, pid, pages.len(), pages.as_ptr(), nodes, status.as_mut_ptr(), flags) };
    (if result < 0 { -c_long::from(errno_of(result)) } else { result }, status)
}

fn migrate(pid: i32, from: u64, to: u64) -> c_long {
    // SAFETY: two masks that live until the call is over.
    let result = unsafe { syscall(SYS_migrate_pages, pid, 65, &raw const from, &raw const to) };
    if result < 0 { -c_long::from(errno_of(result)) } else { result }
}

fn minus(errno: i32) -> c_long {
    -c_long::from(errno)
}

/// A call of a child that is no longer the superuser, as its exit status.
fn as_user(call: impl FnOnce() -> c_long) -> i32 {
    child::status(|| {
        // SAFETY: takes no address.
        unsafe { setuid(1000) };
        call().unsigned_abs() as i32
    })
}

/// The checks.
pub fn run(check: &mut impl FnMut(&str, bool)) {
    let start = fresh(4, MAP_PRIVATE);
    let page = |number: usize| start.wrapping_add(number * PAGE);
    touch(start, 2);
    // SAFETY: inside a mapping that may be read.
    unsafe { page(2).read_volatile() };
    let four = [page(0), page(1), page(2), page(3)];
    for node in [1, 0, 1] {
        check("two pages move", move_to(0, &four[..2], &[node; 2], MOVE) == (0, vec![node; 2]));
        let asked = move_to(0, &four, &[], 0);
        check("where each page is", asked == (0, vec![node, node, -EFAULT, -ENOENT]));
    }
    // SAFETY: as above.
    check("the bytes have come along", unsafe { page(1).read_volatile() } == 1);
    check("one that is there stays", move_to(0, &four[..2], &[0, 1], MOVE) == (0, vec![0, 1]));
    check("what is not there", move_to(0, &four[2..], &[0; 2], MOVE) == (0, vec![-EFAULT, -ENOENT]));
    check("nothing is mapped", move_to(0, &[8 as *mut u8], &[0], MOVE) == (0, vec![-EFAULT]));
    check("no pages", move_to(0, &[], &[], MOVE) == (0, vec![]));
    for (pages, nodes, flags, errno) in [
        (&four[..1], &[0][..], 1, EINVAL),
        (&four[..1], &[0], 8, EINVAL),
        (&four[..1], &[2], MOVE, ENODEV),
        (&four[..1], &[-1], MOVE, ENODEV),
    ] {
        check(&format!("move to {nodes:?} by {flags}"), move_to(0, pages, nodes, flags).0 == minus(errno));
    }
    check(
        "nobody's pages",
        move_to(4_000_000, &four, &[], 0).0 == minus(ESRCH) && migrate(4_000_000, 1, 2) == minus(ESRCH),
    );
    let shared = || i32::from(move_to(0, &four[..1], &[1], MOVE) == (0, vec![-EACCES]));
    check("a page of two", child::status(shared) == 1);
    check(
        "moves with the right",
        child::status(|| i32::from(move_to(0, &four[..1], &[1], MOVE_ALL) == (0, vec![1]))) == 1,
    );
    check("for both", nodes_of(start, 2) == "11");
    check("not without it", as_user(|| move_to(0, &four[..1], &[1], MOVE_ALL).0) == EPERM);
    check("not another's", as_user(|| move_to(1, &four[..1], &[], 0).0) == EPERM);

    check("all pages go", migrate(0, 2, 1) >= 0 && nodes_of(start, 2) == "00");
    check("and come back", migrate(0, 3, 2) >= 0 && nodes_of(start, 2) == "11");
    check("to no node", migrate(0, 1, 0) == minus(EINVAL) && migrate(0, 1, 4) == minus(EINVAL));
    check("to a node that is not there, without the right", as_user(|| migrate(0, 1, 5)) == EPERM);
    check("another's all", as_user(|| migrate(1, 1, 2)) == EPERM);
    children(check);
}

/// The parent moves what its child has.
fn children(check: &mut impl FnMut(&str, bool)) {
    let start = fresh(2, MAP_PRIVATE);
    let mut ends = [0; 4];
    // SAFETY: two pipes; the child touches its memory, says so, and waits until its parent closes the other pipe.
    let child = unsafe {
        pipe(ends.as_mut_ptr());
        pipe(ends.as_mut_ptr().add(2));
        let child = fork();
        if child == 0 {
            close(ends[3]);
            touch(start, 2);
            write(ends[1], start.cast(), 1);
            read(ends[2], start.cast(), 1);
            _exit(0);
        }
        read(ends[0], (&raw mut ends).cast(), 1);
        child
    };
    let pages = [start, start.wrapping_add(PAGE)];
    for (from, to) in [(1_u64, 2_u64), (2, 1), (1, 2)] {
        let node = to.trailing_zeros() as c_int;
        check("a child's pages move", migrate(child, from, to) >= 0);
        check("and are there", move_to(child, &pages, &[], 0) == (0, vec![node; 2]));
    }
    check("one by one", move_to(child, &pages, &[0, 1], MOVE) == (0, vec![0, 1]));
    check("the parent has none of them", move_to(0, &pages, &[], 0) == (0, vec![-ENOENT; 2]));
    let mut status = 0;
    // SAFETY: the child waits for the end of the pipe.
    unsafe {
        close(ends[3]);
        waitpid(child, &raw mut status, 0);
    }
    check("it has seen nothing of it", status == 0);
}

/// The checks for a task that may use node 1 only.
pub fn confined(check: &mut impl FnMut(&str, bool)) {
    let start = fresh(2, MAP_PRIVATE);
    touch(start, 2);
    check("new pages are there", nodes_of(start, 2) == "11");
    check("none moves away", move_to(0, &[start], &[0], MOVE).0 == minus(EACCES));
    check("nor do all", migrate(0, 2, 1) == minus(EINVAL) && nodes_of(start, 2) == "11");
    check("others' may not go where only they may", migrate(1, 3, 1) == minus(EINVAL));
}

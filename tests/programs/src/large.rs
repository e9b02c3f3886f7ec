//! As much of one thing as a program may have: areas, arguments, packets. What the kernel keeps of them, or shows, is more
//! than its heap has in one piece.

use crate::checks::Checks;
use libc::*;
use std::ffi::CString;
use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::ptr::null_mut;

const PAGE: usize = 4096;

/// Pages that differ from their neighbours in what is allowed: each is an area. 65,530 are allowed.
const AREAS: usize = 40_000;

/// Arguments of [`LENGTH`] bytes: 5 MB, which need a stack that may grow to four times that.
const ARGUMENTS: usize = 50;
const LENGTH: usize = 100_000;

/// Makes much of each, and looks whether it is all there.
pub fn run() -> bool {
    let mut checks = Checks::default();
    areas(&mut checks);
    arguments(&mut checks);
    packets(&mut checks);
    checks.tell()
}

fn lines(path: &str) -> usize {
    File::open(path).map_or(0, |file| BufReader::new(file).split(b'\n').count())
}

fn areas(checks: &mut Checks) {
    // SAFETY: a new mapping, of which only the rights are changed.
    let start = unsafe {
        let start = mmap(null_mut(), AREAS * PAGE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        for page in (0..AREAS).step_by(2) {
            mprotect(start.byte_add(page * PAGE), PAGE, PROT_READ);
        }
        start
    };
    let few = AREAS..AREAS + 100;
    checks.check("the lines of maps", few.contains(&lines("/proc/self/maps")));
    checks.check("the lines of numa_maps", few.contains(&lines("/proc/self/numa_maps")));
    // More than that takes long to make: an area has some 700 bytes there.
    let mut bytes = 0;
    let copied = File::open("/proc/self/smaps").map(|file| {
        for line in BufReader::new(file.take(5 << 20)).split(b'\n').map_while(Result::ok) {
            bytes += line.len() + 1;
        }
    });
    checks.check("the first of smaps", copied.is_ok() && bytes >= 5 << 20);
    // SAFETY: the mapping above; nobody uses it any more.
    checks.check("all unmapped at once", unsafe { munmap(start, AREAS * PAGE) } == 0);
    checks.check("no line is left", lines("/proc/self/maps") < 100);
}

fn arguments(checks: &mut Checks) {
    let argument = CString::new(vec![b'x'; LENGTH]).unwrap_or_default();
    let count = CString::new(ARGUMENTS.to_string()).unwrap_or_default();
    let mut words = vec![c"probe".as_ptr(), c"strings".as_ptr(), count.as_ptr()];
    words.extend([argument.as_ptr(); ARGUMENTS]);
    words.push(null_mut());
    // SAFETY: this process has one thread, so the child may do anything; texts, an array and structures that live until
    // the calls are over.
    let status = unsafe {
        let child = fork();
        if child == 0 {
            let limit = rlimit { rlim_cur: 64 << 20, rlim_max: RLIM_INFINITY };
            setrlimit(RLIMIT_STACK, &raw const limit);
            execv(c"/proc/self/exe".as_ptr(), words.as_ptr());
            _exit(99)
        }
        let mut status = -1;
        waitpid(child, &raw mut status, 0);
        status
    };
    checks.equal("5 MB of arguments", status, 0);
}

/// Whether there are so many arguments, each as [`run`] makes them.
pub fn are_strings(count: &str, strings: &[&str]) -> bool {
    count.parse() == Ok(strings.len())
        && strings.iter().all(|string| string.len() == LENGTH && string.bytes().all(|byte| byte == b'x'))
}

fn packets(checks: &mut Checks) {
    let mut ends = [-1; 2];
    // SAFETY: room for two descriptors, and a byte that lives until the calls are over.
    let (capacity, written) = unsafe {
        pipe2(ends.as_mut_ptr(), O_DIRECT | O_NONBLOCK);
        let capacity = fcntl(ends[0], F_SETPIPE_SZ, 1 << 20);
        let written = (0..1 << 20).take_while(|_| write(ends[1], c"x".as_ptr().cast(), 1) == 1).count();
        (capacity, written)
    };
    checks.equal("a packet takes the place of a page", (capacity, written), (1 << 20, 256));
}

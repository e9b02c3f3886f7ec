//! `RLIMIT_FSIZE`: every way to make a file longer.

use crate::child;
use libc::*;
use std::{
    ffi::CStr,
    io::Error,
    ptr::null_mut,
    sync::atomic::{AtomicI32, Ordering::SeqCst},
};

const PATH: &CStr = c"/tmp/probe-size";
const LIMIT: i64 = 10_000;

fn result(value: i64) -> Result<i64, i32> {
    if value < 0 { Err(Error::last_os_error().raw_os_error().unwrap_or(-1)) } else { Ok(value) }
}

fn open_file(flags: c_int) -> c_int {
    // SAFETY: a path with its NUL.
    unsafe { open(PATH.as_ptr(), flags | O_CREAT, 0o600) }
}

static TOLD: AtomicI32 = AtomicI32::new(0);

/// Counts signals that look as if this process had sent them.
extern "C" fn handle(_signal: c_int, info: *const siginfo_t, _context: *const c_void) {
    // SAFETY: the kernel gives the handler its facts; one from a user has the sender.
    let is_own = unsafe { (*info).si_code == SI_USER && (*info).si_pid() == getpid() };
    TOLD.fetch_add(i32::from(is_own), SeqCst);
}

/// Whether `act` is refused because the file would get too large, and the signal comes with it.
fn is_too_large(act: impl FnOnce() -> Result<i64, i32>) -> bool {
    let before = TOLD.load(SeqCst);
    act() == Err(EFBIG) && TOLD.load(SeqCst) == before + 1
}

fn limits(check: &mut impl FnMut(&str, bool)) {
    let limit = rlimit { rlim_cur: LIMIT as u64, rlim_max: RLIM_INFINITY };
    // SAFETY: zeros are an action; it and the limit live until the calls are over, and the handler only counts.
    let set = unsafe {
        let mut action: sigaction = std::mem::zeroed();
        (action.sa_sigaction, action.sa_flags) = (handle as *const () as sighandler_t, SA_SIGINFO);
        sigaction(SIGXFSZ, &raw const action, null_mut()) == 0 && setrlimit(RLIMIT_FSIZE, &raw const limit) == 0
    };
    check("a limit is set", set);
    let file = open_file(O_RDWR | O_TRUNC);
    let bytes = [7_u8; 12_000];
    // SAFETY: the bytes live until the calls are over.
    let put = |count: usize, at: i64| result(unsafe { pwrite(file, bytes.as_ptr().cast(), count, at) } as i64);
    // SAFETY: as above.
    let add = |file: c_int, count: usize| result(unsafe { write(file, bytes.as_ptr().cast(), count) } as i64);
    // SAFETY: takes no address.
    let resize = |size: i64| result(unsafe { ftruncate(file, size) }.into());
    // SAFETY: takes no address.
    let reserve = |mode: c_int, at: i64, count: i64| result(unsafe { fallocate(file, mode, at, count) }.into());
    check("a write up to the limit", add(file, 12_000) == Ok(LIMIT));
    check("none behind it", is_too_large(|| add(file, 1)));
    check("but nothing can be written anywhere", add(file, 0) == Ok(0));
    check("a write across the limit", put(100, LIMIT - 10) == Ok(10));
    check("a write far behind it", is_too_large(|| put(1, 1 << 40)));
    check("a file that is made longer", is_too_large(|| resize(LIMIT + 1)));
    check("up to the limit", resize(LIMIT) == Ok(0) && resize(5) == Ok(0) && resize(LIMIT) == Ok(0));
    check("memory for more", is_too_large(|| reserve(0, 0, LIMIT + 1)));
    check("though the size stays", is_too_large(|| reserve(FALLOC_FL_KEEP_SIZE, LIMIT, 1)));
    check("memory for what there may be", reserve(0, 0, LIMIT) == Ok(0));
    let end = open_file(O_WRONLY | O_APPEND);
    check("an append", is_too_large(|| add(end, 1)));
    // SAFETY: a path with its NUL.
    check("a size by name", is_too_large(|| result(unsafe { truncate(PATH.as_ptr(), LIMIT + 1) }.into())));
    let mut ends = [0; 2];
    // SAFETY: room for two descriptors; 12,000 bytes fit into a pipe.
    let piped = unsafe { pipe(ends.as_mut_ptr()) } == 0 && add(ends[1], 12_000) == Ok(12_000);
    check("a pipe is no file", piped);
    let unlimited = rlimit { rlim_cur: RLIM_INFINITY, rlim_max: RLIM_INFINITY };
    // SAFETY: the limit lives until the call is over.
    check("without the limit", unsafe { setrlimit(RLIMIT_FSIZE, &raw const unlimited) } == 0 && add(end, 1) == Ok(1));
    let killed = child::status(|| {
        // SAFETY: as above.
        unsafe { (signal(SIGXFSZ, SIG_DFL), setrlimit(RLIMIT_FSIZE, &raw const limit)) };
        i32::from(add(end, 1).is_ok())
    });
    check("the signal kills who does not handle it", killed == 128 + SIGXFSZ);
}

/// Tries everything; says what is not as it should be.
pub fn run() -> bool {
    let (mut tried, mut wrong) = (0, 0);
    let mut check = |what: &str, right: bool| {
        tried += 1;
        if !right {
            wrong += 1;
            println!("wrong: {what}");
        }
    };
    limits(&mut check);
    let _ = std::fs::remove_file("/tmp/probe-size");
    println!("{tried} checks, {wrong} wrong");
    wrong == 0
}

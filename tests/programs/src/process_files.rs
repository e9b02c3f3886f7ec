//! Files that stand for processes: `pidfd_open`, `CLONE_PIDFD`, and what poll, waitid and signals do with them.

use libc::*;
use std::io::Error;

/// `P_PIDFD` of waitid(2).
const BY_FILE: idtype_t = 3;

fn errno_of(result: c_long) -> i32 {
    if result < 0 { Error::last_os_error().raw_os_error().unwrap_or(-1) } else { 0 }
}

fn pidfd_open(pid: i32, flags: c_int) -> c_long {
    // SAFETY: takes no address.
    unsafe { syscall(SYS_pidfd_open, pid, flags) }
}

fn send(file: c_int, signal: c_int) -> c_long {
    // SAFETY: the null pointer asks for the facts that kill(2) gives.
    unsafe { syscall(SYS_pidfd_send_signal, file, signal, 0, 0) }
}

fn wait(file: c_int, options: c_int) -> (i32, siginfo_t) {
    // SAFETY: all zeros is a siginfo_t, and it lives until the call is over.
    unsafe {
        let mut info: siginfo_t = std::mem::zeroed();
        let result = waitid(BY_FILE, file as id_t, &raw mut info, options);
        (errno_of(result.into()), info)
    }
}

/// Whether poll says within `milliseconds` that the process has ended.
fn has_ended(file: c_int, milliseconds: c_int) -> bool {
    let mut asked = pollfd { fd: file, events: POLLIN, revents: 0 };
    // SAFETY: one entry that lives until the call is over.
    unsafe { poll(&raw mut asked, 1, milliseconds) == 1 && asked.revents == POLLIN }
}

/// A child that sleeps until a signal ends it.
fn sleeper() -> i32 {
    // SAFETY: the child only sleeps and ends; this process has one thread.
    unsafe {
        let child = fork();
        if child == 0 {
            pause();
            _exit(0);
        }
        child
    }
}

/// A child with a file, as clone makes it; the number of the file goes where the number of the child would.
fn clone_with_file(flags: c_long) -> (c_long, c_int) {
    let mut file: c_int = -1;
    // SAFETY: without CLONE_VM the child has memory of its own, and it only ends.
    unsafe {
        let child = syscall(SYS_clone, flags | c_long::from(CLONE_PIDFD | SIGCHLD), 0, &raw mut file, 0, 0);
        if child == 0 {
            _exit(7);
        }
        (child, file)
    }
}

/// The same by clone3.
fn clone3_with_file(flags: u64) -> (c_long, c_int) {
    let mut file: c_int = -1;
    let mut words = [0_u64; 11];
    words[0] = flags | CLONE_PIDFD as u64;
    words[1] = (&raw mut file) as u64;
    words[4] = SIGCHLD as u64;
    // SAFETY: as above.
    unsafe {
        let child = syscall(SYS_clone3, &raw const words, size_of_val(&words));
        if child == 0 {
            _exit(8);
        }
        (child, file)
    }
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
    check("pidfd_open of 0", errno_of(pidfd_open(0, 0)) == EINVAL);
    check("pidfd_open of nobody", errno_of(pidfd_open(4_000_000, 0)) == ESRCH);
    check("pidfd_open with a flag", errno_of(pidfd_open(1, 1)) == EINVAL);

    let child = sleeper();
    let file = pidfd_open(child, 0) as c_int;
    let patient = pidfd_open(child, O_NONBLOCK) as c_int;
    // SAFETY: takes no address.
    check("it is closed on exec", unsafe { fcntl(file, F_GETFD) } == FD_CLOEXEC);
    check("a living process has not ended", !has_ended(file, 0));
    check("nothing to tell, and it does not block", wait(patient, WEXITED).0 == EAGAIN);
    check("nothing to tell with WNOHANG", wait(file, WEXITED | WNOHANG).0 == 0);
    check("a signal of 0 can be sent", send(file, 0) == 0);
    check("no signal has this number", errno_of(send(file, 65)) == EINVAL);
    // SAFETY: a pointer that is null.
    let flagged = unsafe { syscall(SYS_pidfd_send_signal, file, 0, 0, 1) };
    check("pidfd_send_signal with a flag", errno_of(flagged) == EINVAL);
    check("standard input is no process", errno_of(send(0, 0)) == EBADF && wait(0, WEXITED).0 == EBADF);
    check("SIGTERM can be sent", send(file, SIGTERM) == 0);
    check("poll tells the end", has_ended(file, 10_000));
    check("a zombie can be signalled", send(file, SIGTERM) == 0);
    let (errno, info) = wait(file, WEXITED);
    // SAFETY: the facts of SIGCHLD.
    let (pid, status) = unsafe { (info.si_pid(), info.si_status()) };
    check("waitid finds the child", errno == 0 && pid == child && status == SIGTERM && info.si_code == CLD_KILLED);
    check("one that was reaped is told as ended", has_ended(file, 0));
    check("one that was reaped gets no signal", errno_of(send(file, 0)) == ESRCH);
    check("one that was reaped can't be waited for", wait(file, WEXITED).0 == ECHILD);

    for (call, end, (child, file)) in [("clone", 7, clone_with_file(0)), ("clone3", 8, clone3_with_file(0))] {
        check(call, child > 0 && file >= 0);
        let (errno, info) = wait(file, WEXITED);
        // SAFETY: the facts of SIGCHLD.
        check(call, errno == 0 && unsafe { (i64::from(info.si_pid()), info.si_status()) } == (child, end));
    }
    let thread = c_long::from(CLONE_THREAD | CLONE_SIGHAND | CLONE_VM);
    check("no file for a thread", errno_of(clone_with_file(thread).0) == EINVAL);
    check("not with CLONE_DETACHED", errno_of(clone_with_file(CLONE_DETACHED.into()).0) == EINVAL);
    check("not in place of the child's number", errno_of(clone_with_file(CLONE_PARENT_SETTID.into()).0) == EINVAL);
    numbers(&mut check);
    reuse(&mut check);
    println!("{tried} checks, {wrong} wrong");
    wrong == 0
}

/// A child that sleeps, with the number that is wanted.
fn clone3_with_number(numbers: *const i32, count: u64) -> Result<i32, i32> {
    let mut words = [0_u64; 11];
    words[4] = SIGCHLD as u64;
    (words[8], words[9]) = (numbers as u64, count);
    // SAFETY: without CLONE_VM the child has memory of its own, and it only stops and ends.
    unsafe {
        let child = syscall(SYS_clone3, &raw const words, size_of_val(&words));
        if child == 0 {
            kill(getpid(), SIGSTOP);
            _exit(0);
        }
        if child < 0 { Err(errno_of(child)) } else { Ok(child as i32) }
    }
}

/// A child may get the number that its parent wants.
fn numbers(check: &mut impl FnMut(&str, bool)) {
    let with_number = |number: i32| clone3_with_number(&raw const number, 1);
    check("a number that is in use", with_number(1) == Err(EEXIST));
    check("numbers that there are not", [0, -1, 1 << 30].iter().all(|&number| with_number(number) == Err(EINVAL)));
    let two = [2, 3].as_ptr();
    check("more namespaces than there are", clone3_with_number(two, 2) == Err(EINVAL));
    check("a list of no numbers", clone3_with_number(two, 0) == Err(EINVAL));
    check("numbers without a list", clone3_with_number(std::ptr::null(), 1) == Err(EINVAL));
    check("a list that can't be read", clone3_with_number(std::ptr::without_provenance(8), 1) == Err(EFAULT));
    let as_user = crate::child::status(|| {
        // SAFETY: takes no address.
        unsafe { setresuid(1000, 1000, 1000) };
        with_number(30_000).err().unwrap_or(0)
    });
    check("a user may not choose", as_user == EPERM);
}

/// A file stands for its process, also when another child has the number.
fn reuse(check: &mut impl FnMut(&str, bool)) {
    let first = sleeper();
    let file = pidfd_open(first, 0) as c_int;
    // SAFETY: no status is asked for.
    let reaped = unsafe { kill(first, SIGKILL) == 0 && waitpid(first, std::ptr::null_mut(), 0) == first };
    check("the first is gone", reaped);
    check("another has its number", clone3_with_number(&raw const first, 1) == Ok(first));
    // SAFETY: nothing is to be told.
    let stopped = unsafe { waitid(P_PID, first as id_t, std::ptr::null_mut(), WSTOPPED | WNOWAIT) } == 0;
    check("it stops, which is not told as the first's", stopped && wait(file, WSTOPPED).0 == ECHILD);
    // SAFETY: the second child, which has stopped or is about to.
    unsafe { (kill(first, SIGKILL), waitpid(first, std::ptr::null_mut(), 0)) };
}

//! System V semaphores and message queues between processes: sleeping, waking, undoing at the end, removal.

use crate::child;
use libc::*;
use std::{io::Error, ptr::null_mut};

/// Not known by this name to all C libraries.
const MSG_COPY: c_int = 0o40000;

fn errno() -> i32 {
    Error::last_os_error().raw_os_error().unwrap_or(-1)
}

fn result(value: c_long) -> Result<i64, i32> {
    if value < 0 { Err(errno()) } else { Ok(value) }
}

fn control(set: c_int, index: c_int, command: c_int, argument: c_int) -> Result<i64, i32> {
    // SAFETY: only commands that take a number are used with it.
    result(unsafe { semctl(set, index, command, argument) }.into())
}

fn operate(set: c_int, operations: &[(u16, i16, i16)]) -> Result<i64, i32> {
    let mut operations: Vec<sembuf> =
        operations.iter().map(|&(sem_num, sem_op, sem_flg)| sembuf { sem_num, sem_op, sem_flg }).collect();
    // SAFETY: the operations live until the call is over.
    result(unsafe { semop(set, operations.as_mut_ptr(), operations.len()) }.into())
}

fn operate_for(set: c_int, change: i16, milliseconds: i64) -> Result<i64, i32> {
    let mut operation = sembuf { sem_num: 0, sem_op: change, sem_flg: 0 };
    let timeout = timespec { tv_sec: 0, tv_nsec: milliseconds * 1_000_000 };
    // SAFETY: both live until the call is over.
    result(unsafe { syscall(SYS_semtimedop, set, &raw mut operation, 1, &raw const timeout) })
}

fn send(queue: c_int, kind: i64, text: &[u8], flags: c_int) -> Result<i64, i32> {
    let message: Vec<u8> = kind.to_ne_bytes().iter().chain(text).copied().collect();
    // SAFETY: the message is its type and so many bytes.
    result(unsafe { msgsnd(queue, message.as_ptr().cast(), text.len(), flags) }.into())
}

fn receive(queue: c_int, kind: i64, room: usize, flags: c_int) -> Result<(i64, Vec<u8>), i32> {
    let mut message = vec![0_u8; 8 + room];
    // SAFETY: there is room for the type and so many bytes.
    let count = result(unsafe { msgrcv(queue, message.as_mut_ptr().cast(), room, kind, flags) } as c_long)?;
    let kind = i64::from_ne_bytes(message[..8].try_into().unwrap_or_default());
    Ok((kind, message[8..8 + count as usize].to_vec()))
}

/// The errno of a call as an exit status.
fn status<T>(result: Result<T, i32>) -> i32 {
    result.err().unwrap_or(0)
}

/// Waits until so many processes sleep for the semaphore to grow, or to be 0.
fn until_sleeping(set: c_int, command: c_int, count: i64) {
    while control(set, 0, command, 0) != Ok(count) {
        std::thread::yield_now();
    }
}

fn semaphores(check: &mut dyn FnMut(&str, bool)) {
    // SAFETY: takes no address.
    let set = unsafe { semget(IPC_PRIVATE, 2, 0o600) };
    check("a set", set >= 0 && control(set, 0, GETVAL, 0) == Ok(0));
    check("too many operations", operate(set, &[(0, 1, 0); 501]) == Err(E2BIG));
    check("no operation", operate(set, &[]) == Err(EINVAL));
    check("no such semaphore", operate(set, &[(2, 1, 0)]) == Err(EFBIG));
    check("no such set", operate(set + 1, &[(0, 1, 0)]) == Err(EINVAL));
    check("it would wait", operate(set, &[(0, -1, IPC_NOWAIT as i16)]) == Err(EAGAIN));
    check("it waits for a while", operate_for(set, -1, 20) == Err(EAGAIN));
    check("no such while", operate_for(set, -1, 5000) == Err(EINVAL));

    let sleeper = child::start(|| status(operate(set, &[(0, -2, 0), (1, 1, 0)])));
    until_sleeping(set, GETNCNT, 1);
    check("one unit is not enough", operate(set, &[(0, 1, 0)]).is_ok() && control(set, 0, GETNCNT, 0) == Ok(1));
    check("two are", operate(set, &[(0, 1, 0)]).is_ok() && sleeper() == 0);
    check("both operations are done", (control(set, 0, GETVAL, 0), control(set, 1, GETVAL, 0)) == (Ok(0), Ok(1)));

    let held = child::start(|| {
        let taken = operate(set, &[(0, 3, SEM_UNDO as i16), (1, -1, SEM_UNDO as i16)]);
        // SAFETY: takes no address.
        unsafe { kill(getpid(), SIGKILL) };
        status(taken)
    });
    check("a killed process", held() == 128 + SIGKILL);
    check("gives back what it took", (control(set, 0, GETVAL, 0), control(set, 1, GETVAL, 0)) == (Ok(0), Ok(1)));
    check("its number stays", control(set, 1, GETPID, 0).is_ok_and(|pid| pid > 0));
    let inherited = operate(set, &[(0, 1, SEM_UNDO as i16)]).is_ok() && child::start(|| 0)() == 0;
    check("a child has nothing to undo", inherited && control(set, 0, GETVAL, 0) == Ok(1));
    let threads = std::thread::spawn(move || operate(set, &[(0, 1, SEM_UNDO as i16)]).is_ok()).join();
    check("a thread's end undoes nothing", matches!(threads, Ok(true)) && control(set, 0, GETVAL, 0) == Ok(2));

    let zero = child::start(|| status(operate(set, &[(0, 0, 0)])));
    until_sleeping(set, GETZCNT, 1);
    check("zero is waited for", control(set, 0, SETVAL, 0).is_ok() && zero() == 0);
    let gone = child::start(|| status(operate(set, &[(0, -1, 0)])));
    until_sleeping(set, GETNCNT, 1);
    check("a removed set", control(set, 0, IPC_RMID, 0).is_ok());
    check("wakes who sleeps", gone() == EIDRM);
    check("and is gone", control(set, 0, GETVAL, 0) == Err(EINVAL));
}

fn messages(check: &mut dyn FnMut(&str, bool)) {
    // SAFETY: takes no address.
    let queue = unsafe { msgget(IPC_PRIVATE, 0o600) };
    check("a queue", queue >= 0);
    check("no message", receive(queue, 0, 10, IPC_NOWAIT) == Err(ENOMSG));
    check("a type that there is not", send(queue, 0, b"x", 0) == Err(EINVAL));
    check("too long", send(queue, 1, &[0; 8193], 0) == Err(EINVAL));
    for (kind, text) in [(3, "a"), (1, "bb"), (2, "ccc")] {
        check("a message", send(queue, kind, text.as_bytes(), 0) == Ok(0));
    }
    check("a look at the second", receive(queue, 1, 10, MSG_COPY | IPC_NOWAIT) == Ok((1, b"bb".to_vec())));
    check("no look that waits", receive(queue, 1, 10, MSG_COPY) == Err(EINVAL));
    check("the lowest type", receive(queue, -2, 10, 0) == Ok((1, b"bb".to_vec())));
    check("another type", receive(queue, 3, 10, MSG_EXCEPT) == Ok((2, b"ccc".to_vec())));
    check("no room", receive(queue, 0, 0, 0) == Err(E2BIG));
    check("a part", receive(queue, 0, 0, MSG_NOERROR) == Ok((3, Vec::new())));

    let reader = child::start(|| i32::from(receive(queue, 7, 10, 0) != Ok((7, b"x".to_vec()))));
    check("one for nobody and one for who waits", send(queue, 8, b"y", 0).is_ok() && send(queue, 7, b"x", 0).is_ok());
    check("is received", reader() == 0);
    let full = (0..2).all(|_| send(queue, 9, &[0; 8191], IPC_NOWAIT).is_ok());
    check("a full queue", full && send(queue, 9, b"zz", IPC_NOWAIT) == Err(EAGAIN));
    let writer = child::start(|| status(send(queue, 5, &[1; 100], 0)));
    check("room", receive(queue, 9, 8192, 0).is_ok());
    check("is what a writer waits for", writer() == 0 && receive(queue, 5, 100, 0) == Ok((5, vec![1; 100])));
    let gone = child::start(|| status(receive(queue, 100, 10, 0)));
    // SAFETY: this command takes no address.
    check("a removed queue", unsafe { msgctl(queue, IPC_RMID, null_mut()) } == 0);
    check("is no place to wait", matches!(gone(), EIDRM | EINVAL));
}

/// Tries everything; says what is not as it should be.
pub fn run() -> bool {
    let (mut tried, mut wrong) = (0, 0);
    let mut check = |what: &str, right: bool| {
        tried += 1;
        if !right {
            wrong += 1;
            println!("wrong: {what} ({})", Error::last_os_error());
        }
    };
    semaphores(&mut check);
    messages(&mut check);
    println!("{tried} checks, {wrong} wrong");
    wrong == 0
}

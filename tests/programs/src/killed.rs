//! Programs that are killed in every state that a program can be in: each is gone at once, and leaves nothing behind.

use libc::*;
use std::fs;
use std::ptr::null_mut;
use std::sync::atomic::{AtomicU32, Ordering::SeqCst};
use std::thread::sleep;
use std::time::Duration;

/// Where a task is when it is killed: name, letter of `/proc/PID/stat`, what brings it there.
type State = (&'static str, char, fn(&Shared));

/// The name of a state in the middle of a call that takes long without a sleep.
const COPIES: &str = "copies two gigabytes";

/// The size of a file of zeros, as much as one call copies.
const LONG: usize = 0x7fff_f000;

const STATES: &[State] = &[
    ("writes to a full pipe", 'S', |shared| {
        loop {
            write_to(shared.pipe[1], 4096);
        }
    }),
    ("reads from an empty pipe", 'S', |shared| read_from(shared.empty[0])),
    ("faults", 'R', |_| fault_for_ever()),
    ("waits for a word", 'S', |shared| wait_for(shared.word, 0)),
    ("waits for a lock of another", 'S', |shared| lock(shared.locked, F_SETLKW)),
    ("waits for flock", 'S', |_| {
        // SAFETY: takes no address. A description of its own, so that the parent's lock is another's.
        unsafe { flock(open(c"/tmp/killed".as_ptr(), O_RDWR), LOCK_EX) };
    }),
    ("holds a robust word", 'S', |shared| {
        hold(shared.robust);
        wait_for(shared.word, 0);
    }),
    ("sleeps", 'S', |_| sleep(Duration::from_secs(100_000))),
    ("waits for events", 'S', |_| {
        let mut event = epoll_event { events: 0, u64: 0 };
        // SAFETY: an event that lives until the call is over.
        unsafe { epoll_wait(epoll_create1(0), &raw mut event, 1, -1) };
    }),
    ("waits for a signal", 'S', |_| {
        // SAFETY: takes nothing.
        unsafe { pause() };
    }),
    ("waits for its child", 'S', |_| {
        // SAFETY: the child only waits, and ends with its parent; no status is asked for.
        unsafe {
            if fork() == 0 {
                prctl(PR_SET_PDEATHSIG, SIGKILL);
                loop {
                    pause();
                }
            }
            waitpid(-1, null_mut(), 0);
        }
    }),
    ("is in vfork", 'S', |_| vfork_for_ever()),
    ("waits for a semaphore", 'S', |shared| {
        let mut operations =
            [sembuf { sem_num: 0, sem_op: 1, sem_flg: SEM_UNDO as i16 }, sembuf { sem_num: 1, sem_op: -1, sem_flg: 0 }];
        // SAFETY: the operations live until the calls are over.
        unsafe {
            semop(shared.semaphores, operations.as_mut_ptr(), 1);
            semop(shared.semaphores, operations.as_mut_ptr().add(1), 1);
        }
    }),
    ("waits for a message", 'S', |shared| {
        let mut message = [0_u64; 8];
        // SAFETY: room for a type and what is asked for.
        unsafe { msgrcv(shared.messages, message.as_mut_ptr().cast(), 8, 0, 0) };
    }),
    ("waits for a caller", 'S', |_| {
        // SAFETY: takes no address: a socket without a name listens to nobody's calls.
        unsafe {
            let mut address = sockaddr_un { sun_family: AF_UNIX as u16, sun_path: [0; 108] };
            address.sun_path[1] = 1;
            let socket = socket(AF_UNIX, SOCK_STREAM, 0);
            bind(socket, (&raw const address).cast(), 4);
            listen(socket, 1);
            accept(socket, null_mut(), null_mut());
        }
    }),
    ("is stopped", 'T', |_| {
        // SAFETY: takes no address.
        unsafe { raise(SIGSTOP) };
    }),
    (COPIES, 'R', |shared| {
        // SAFETY: takes no address.
        unsafe { sendfile(open(c"/dev/null".as_ptr(), O_WRONLY), shared.long, null_mut(), LONG) };
    }),
    ("spins", 'R', |_| {
        loop {
            std::hint::spin_loop();
        }
    }),
];

/// What parent and children have in common.
struct Shared {
    pipe: [c_int; 2],
    empty: [c_int; 2],
    locked: c_int,
    semaphores: c_int,
    messages: c_int,
    /// A word that stays 0.
    word: &'static AtomicU32,
    /// A word of a robust list.
    robust: &'static AtomicU32,
    /// A long file, whose position moves when some of it has been copied.
    long: c_int,
}

fn write_to(descriptor: c_int, count: usize) -> isize {
    let bytes = [0_u8; 4096];
    // SAFETY: as many bytes as there are, at most.
    unsafe { write(descriptor, bytes.as_ptr().cast(), count.min(bytes.len())) }
}

fn read_from(descriptor: c_int) {
    let mut byte = 0_u8;
    // SAFETY: room for the byte.
    unsafe { read(descriptor, (&raw mut byte).cast(), 1) };
}

/// Touches new memory, again and again.
fn fault_for_ever() {
    const LENGTH: usize = 1 << 20;
    loop {
        // SAFETY: a new mapping, which nothing else uses.
        unsafe {
            let flags = MAP_PRIVATE | MAP_ANONYMOUS;
            let start = mmap(null_mut(), LENGTH, PROT_READ | PROT_WRITE, flags, -1, 0);
            if start == MAP_FAILED {
                return;
            }
            for page in 0..LENGTH / 4096 {
                start.cast::<u8>().add(page * 4096).write_volatile(1);
            }
            munmap(start, LENGTH);
        }
    }
}

fn wait_for(word: &AtomicU32, value: u32) {
    // SAFETY: the word lives as long as the process; no timeout.
    unsafe { syscall(SYS_futex, word.as_ptr(), FUTEX_WAIT, value, null_mut::<c_void>()) };
}

/// Locks the whole file for writing, or waits (`F_SETLKW`).
fn lock(descriptor: c_int, how: c_int) {
    // SAFETY: all zeros is a lock of everything; it lives until the call is over.
    unsafe {
        let mut lock: flock = std::mem::zeroed();
        lock.l_type = F_WRLCK as i16;
        fcntl(descriptor, how, &raw mut lock);
    }
}

/// A robust list with one word, which this thread holds. It lies in memory that is never given back.
fn hold(word: &AtomicU32) {
    // Head: the first entry, where the word is from an entry, and none that is being taken. The entry points to the head.
    let head = Box::leak(Box::new([0_usize; 4]));
    let entry = (&raw const head[3]) as usize;
    head[0] = entry;
    head[1] = (word.as_ptr() as usize).wrapping_sub(entry);
    head[3] = head.as_ptr() as usize;
    // SAFETY: the list lives as long as the process.
    unsafe {
        word.store(gettid() as u32, SeqCst);
        syscall(SYS_set_robust_list, head.as_ptr(), 24);
    }
}

/// Waits in vfork for a child that only waits.
fn vfork_for_ever() {
    // SAFETY: the child uses registers alone: it waits, and ends with the pipe of the parent, which is its own too.
    unsafe {
        std::arch::asm!(
            "syscall",
            "test rax, rax",
            "jnz 2f",
            "3:",
            "mov eax, 34",
            "syscall",
            "jmp 3b",
            "2:",
            inlateout("rax") SYS_vfork => _,
            out("rcx") _, out("r11") _,
        );
    }
}

/// The letter of the state of a process.
fn state(process: pid_t) -> Option<char> {
    let text = fs::read_to_string(format!("/proc/{process}/stat")).ok()?;
    text.rsplit_once(") ")?.1.chars().next()
}

/// How long a process has been in the kernel, in ticks.
fn system_time(process: pid_t) -> Option<u64> {
    let text = fs::read_to_string(format!("/proc/{process}/stat")).ok()?;
    text.rsplit_once(") ")?.1.split(' ').nth(12)?.parse().ok()
}

/// Looks until it holds; a test that fails shows by not ending.
fn until(mut holds: impl FnMut() -> bool) {
    while !holds() {
        sleep(Duration::from_millis(2));
    }
}

/// All processes whose parent is that one.
fn children(of: pid_t) -> Vec<pid_t> {
    let of = of.to_string();
    let processes = fs::read_dir("/proc").into_iter().flatten().flatten();
    let numbers = processes.filter_map(|entry| entry.file_name().to_str()?.parse::<pid_t>().ok());
    let parent = |process: &pid_t| {
        let text = fs::read_to_string(format!("/proc/{process}/stat")).unwrap_or_default();
        text.rsplit_once(") ").and_then(|(_, rest)| rest.split(' ').nth(1).map(str::to_owned))
    };
    numbers.filter(|process| parent(process).as_deref() == Some(&of)).collect()
}

/// Kills a child in each state; says what is not as it should be.
pub fn run() -> bool {
    let shared = prepare();
    let mut wrong = 0;
    for (name, letter, enter) in STATES {
        // SAFETY: this process has one thread, so the child may do anything.
        let child = unsafe { fork() };
        if child == 0 {
            enter(&shared);
            // SAFETY: ends the child, which should not have come back.
            unsafe { _exit(1) }
        }
        until(|| state(child) == Some(*letter) || state(child) == Some('Z'));
        if *name == "is in vfork" || *name == "waits for its child" {
            // Not before there is somebody to wait for.
            until(|| {
                fs::read_to_string(format!("/proc/{child}/task/{child}/children")).map_or(true, |text| !text.is_empty())
            });
        }
        if *name == COPIES {
            until(|| system_time(child).is_none_or(|ticks| ticks > 2));
        }
        let mut status = 0;
        // SAFETY: takes no address but that of the status.
        unsafe {
            kill(child, SIGKILL);
            waitpid(child, &raw mut status, 0);
        }
        if !WIFSIGNALED(status) || WTERMSIG(status) != SIGKILL {
            wrong += 1;
            println!("{name}: status {status:#x}");
        }
    }
    wrong += left_behind(&shared);
    println!("{} states, {wrong} wrong", STATES.len());
    wrong == 0
}

fn prepare() -> Shared {
    // SAFETY: literals that end in NUL, arrays that live until the call is over, and a new mapping that is never undone
    // and holds zeros.
    unsafe {
        let (mut full, mut empty) = ([-1; 2], [-1; 2]);
        pipe(full.as_mut_ptr());
        pipe(empty.as_mut_ptr());
        let locked = open(c"/tmp/killed".as_ptr(), O_RDWR | O_CREAT, 0o600);
        lock(locked, F_SETLK);
        flock(locked, LOCK_EX);
        prctl(PR_SET_CHILD_SUBREAPER, 1);
        let long = open(c"/tmp".as_ptr(), O_RDWR | O_TMPFILE, 0o600);
        ftruncate(long, LONG as off_t);
        let words =
            mmap(null_mut(), 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0).cast::<AtomicU32>();
        Shared {
            pipe: full,
            empty,
            locked,
            semaphores: semget(IPC_PRIVATE, 2, 0o600),
            messages: msgget(IPC_PRIVATE, 0o600),
            word: &*words,
            robust: &*words.add(64),
            long,
        }
    }
}

/// What the killed have left, which should be nothing; how many things are wrong.
fn left_behind(shared: &Shared) -> u32 {
    let mut wrong = 0;
    let mut check = |what: &str, holds: bool| {
        if !holds {
            wrong += 1;
            println!("{what}");
        }
    };
    // The children of the killed are this process's now. They end by themselves or are ended.
    let own = std::process::id() as pid_t;
    until(|| {
        for child in children(own) {
            // SAFETY: takes no address.
            unsafe {
                kill(child, SIGKILL);
                waitpid(child, null_mut(), 0);
            }
        }
        children(own).is_empty()
    });
    const OWNER_DIED: u32 = 0x4000_0000;
    check("the robust word does not say that its owner died", shared.robust.load(SeqCst) == OWNER_DIED);
    // SAFETY: takes no address.
    let copied = unsafe { lseek(shared.long, 0, SEEK_CUR) };
    check("a copy was not even begun, or went on to its end", (1..LONG as off_t).contains(&copied));
    // SAFETY: takes no address.
    let (raised, waiting) = unsafe { (semctl(shared.semaphores, 0, GETVAL), semctl(shared.semaphores, 1, GETNCNT)) };
    check("what was done to the semaphore was not undone", raised == 0);
    check("somebody still waits for the semaphore", waiting == 0);
    // SAFETY: takes no address; everything was made by this process.
    unsafe {
        close(shared.locked);
        let again = open(c"/tmp/killed".as_ptr(), O_RDWR);
        check("the lock is not free", flock(again, LOCK_EX | LOCK_NB) == 0);
        close(again);
        unlink(c"/tmp/killed".as_ptr());
        semctl(shared.semaphores, 0, IPC_RMID);
        msgctl(shared.messages, IPC_RMID, null_mut());
    }
    wrong
}

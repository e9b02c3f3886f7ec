//! Bad addresses in every system call that takes one: the answer is `EFAULT`, and nothing else happens.

use libc::{c_long, *};

/// One argument of a call.
#[derive(Clone, Copy)]
enum A {
    /// A number.
    N(i64),
    /// The address of a buffer that is large enough; a bad one in turn.
    P,
    /// The address of a path that exists; a bad one in turn.
    S,
    /// The address of a path that does not exist.
    M,
    /// The descriptor of a regular file that is open for reading and writing.
    F,
    /// An epoll file.
    E,
    /// A local stream socket.
    U,
    /// A timer file.
    T,
}
use A::{E, F, M, N, P, S, T, U};

const CALLS: &[(&str, c_long, &[A])] = &[
    ("read", SYS_read, &[F, P, N(16)]),
    ("write", SYS_write, &[F, P, N(16)]),
    ("open", SYS_open, &[S, N(0), N(0)]),
    ("stat", SYS_stat, &[S, P]),
    ("fstat", SYS_fstat, &[F, P]),
    ("lstat", SYS_lstat, &[S, P]),
    ("poll", SYS_poll, &[P, N(1), N(0)]),
    ("rt_sigaction", SYS_rt_sigaction, &[N(SIGUSR1 as i64), N(0), P, N(8)]),
    ("rt_sigaction new", SYS_rt_sigaction, &[N(SIGUSR1 as i64), P, N(0), N(8)]),
    ("rt_sigprocmask", SYS_rt_sigprocmask, &[N(0), P, N(0), N(8)]),
    ("rt_sigprocmask old", SYS_rt_sigprocmask, &[N(0), N(0), P, N(8)]),
    ("pread64", SYS_pread64, &[F, P, N(16), N(0)]),
    ("pwrite64", SYS_pwrite64, &[F, P, N(16), N(0)]),
    ("readv", SYS_readv, &[F, P, N(1)]),
    ("writev", SYS_writev, &[F, P, N(1)]),
    ("access", SYS_access, &[S, N(0)]),
    ("pipe", SYS_pipe, &[P]),
    ("select", SYS_select, &[N(1), P, N(0), N(0), N(0)]),
    ("select timeout", SYS_select, &[N(0), N(0), N(0), N(0), P]),
    ("nanosleep", SYS_nanosleep, &[P, N(0)]),
    ("getitimer", SYS_getitimer, &[N(0), P]),
    ("setitimer", SYS_setitimer, &[N(0), P, N(0)]),
    ("sendfile", SYS_sendfile, &[F, F, P, N(16)]),
    ("connect", SYS_connect, &[U, P, N(16)]),
    ("bind", SYS_bind, &[U, P, N(16)]),
    ("getsockname", SYS_getsockname, &[U, N(8), P]),
    ("socketpair", SYS_socketpair, &[N(1), N(1), N(0), P]),
    ("getsockopt", SYS_getsockopt, &[U, N(1), N(3), P, P]),
    ("sendmsg", SYS_sendmsg, &[U, P, N(0)]),
    ("recvmsg", SYS_recvmsg, &[U, P, N(0x40)]),
    ("execve", SYS_execve, &[S, N(0), N(0)]),
    ("truncate", SYS_truncate, &[S, N(0)]),
    ("getcwd", SYS_getcwd, &[P, N(4096)]),
    ("chdir", SYS_chdir, &[S]),
    ("rename", SYS_rename, &[S, S]),
    ("mkdir", SYS_mkdir, &[S, N(0)]),
    ("rmdir", SYS_rmdir, &[S]),
    ("creat", SYS_creat, &[S, N(0)]),
    ("link", SYS_link, &[S, S]),
    ("unlink", SYS_unlink, &[M]),
    ("symlink", SYS_symlink, &[S, S]),
    ("readlink", SYS_readlink, &[S, N(8), N(64)]),
    ("chmod", SYS_chmod, &[S, N(0o755)]),
    ("chown", SYS_chown, &[S, N(-1), N(-1)]),
    ("lchown", SYS_lchown, &[S, N(-1), N(-1)]),
    ("gettimeofday", SYS_gettimeofday, &[P, N(0)]),
    ("getrlimit", SYS_getrlimit, &[N(7), P]),
    ("setrlimit", SYS_setrlimit, &[N(7), P]),
    ("getrusage", SYS_getrusage, &[N(0), P]),
    ("sysinfo", SYS_sysinfo, &[P]),
    ("times", SYS_times, &[P]),
    ("setgroups", SYS_setgroups, &[N(1), P]),
    ("getresuid", SYS_getresuid, &[P, P, P]),
    ("getresgid", SYS_getresgid, &[P, P, P]),
    ("capget", SYS_capget, &[P, N(0)]),
    ("rt_sigpending", SYS_rt_sigpending, &[P, N(8)]),
    ("rt_sigtimedwait", SYS_rt_sigtimedwait, &[P, N(0), N(0), N(8)]),
    ("rt_sigsuspend", SYS_rt_sigsuspend, &[P, N(8)]),
    ("sigaltstack", SYS_sigaltstack, &[P, N(0)]),
    ("mknod", SYS_mknod, &[S, N(0o100644), N(0)]),
    ("statfs", SYS_statfs, &[S, P]),
    ("fstatfs", SYS_fstatfs, &[F, P]),
    ("sched_setaffinity", SYS_sched_setaffinity, &[N(0), N(8), P]),
    ("sched_getaffinity", SYS_sched_getaffinity, &[N(0), N(128), P]),
    ("chroot", SYS_chroot, &[S]),
    ("mount", SYS_mount, &[S, S, S, N(0), N(0)]),
    ("umount2", SYS_umount2, &[S, N(0)]),
    ("time", SYS_time, &[P]),
    ("futex", SYS_futex, &[P, N(128), N(0), N(0), N(0), N(0)]),
    ("clock_gettime", SYS_clock_gettime, &[N(0), P]),
    ("clock_getres", SYS_clock_getres, &[N(0), P]),
    ("clock_nanosleep", SYS_clock_nanosleep, &[N(1), N(0), P, N(0)]),
    ("epoll_ctl", SYS_epoll_ctl, &[E, N(1), U, P]),
    ("utimes", SYS_utimes, &[S, N(0)]),
    ("openat", SYS_openat, &[N(-100), S, N(0), N(0)]),
    ("newfstatat", SYS_newfstatat, &[N(-100), S, P, N(0)]),
    ("utimensat", SYS_utimensat, &[N(-100), S, P, N(0)]),
    ("pselect6", SYS_pselect6, &[N(1), P, N(0), N(0), N(0), N(0)]),
    ("ppoll", SYS_ppoll, &[P, N(1), N(0), N(0), N(8)]),
    ("ppoll timeout", SYS_ppoll, &[N(0), N(0), P, N(0), N(8)]),
    ("timerfd_settime", SYS_timerfd_settime, &[T, N(0), P, N(0)]),
    ("timerfd_gettime", SYS_timerfd_gettime, &[T, P]),
    ("pipe2", SYS_pipe2, &[P, N(0)]),
    ("prlimit64", SYS_prlimit64, &[N(0), N(7), N(0), P]),
    ("getcpu", SYS_getcpu, &[P, N(0), N(0)]),
    ("getrandom", SYS_getrandom, &[P, N(16), N(0)]),
    ("statx", SYS_statx, &[N(-100), S, N(0), N(0xfff), P]),
    ("clone3", SYS_clone3, &[P, N(88)]),
    ("uname", SYS_uname, &[P]),
];

/// No page, the first address beyond user space, one with a hole in the address bits, the kernel's half.
const BAD: [usize; 4] = [8, 0x7fff_ffff_f000, 0x8000_0000_0000_0000, 0xffff_ffff_8000_0000];

struct Fixture {
    buffer: Vec<u64>,
    file: i64,
    epoll: i64,
    socket: i64,
    timer: i64,
}

impl Fixture {
    fn new() -> Self {
        // SAFETY: plain calls that make descriptors; the path is a literal with its NUL.
        unsafe {
            let file = i64::from(open(c"/tmp/probe".as_ptr(), O_RDWR | O_CREAT, 0o600));
            ftruncate(file as i32, 4096);
            Self {
                // Any length that is read from it is a small one.
                buffer: vec![16; 8192],
                file,
                epoll: i64::from(epoll_create1(0)),
                socket: i64::from(socket(AF_UNIX, SOCK_STREAM, 0)),
                timer: i64::from(timerfd_create(CLOCK_MONOTONIC, 0)),
            }
        }
    }

    fn call(&mut self, number: c_long, arguments: &[A], bad_at: usize, bad: usize) -> i32 {
        let mut words = [0_i64; 6];
        for (index, (word, argument)) in words.iter_mut().zip(arguments).enumerate() {
            *word = match argument {
                N(value) => *value,
                P | S | M if index == bad_at => bad as i64,
                P => self.buffer.as_mut_ptr() as i64,
                S => c"/tmp".as_ptr() as i64,
                M => c"/tmp/none".as_ptr() as i64,
                F => self.file,
                E => self.epoll,
                U => self.socket,
                T => self.timer,
            };
        }
        // SAFETY: every good address is of a buffer or text that is large enough for the call; a bad one is what the
        // kernel must refuse, which is the thing tested.
        let result = unsafe { syscall(number, words[0], words[1], words[2], words[3], words[4], words[5]) };
        if result < 0 { std::io::Error::last_os_error().raw_os_error().unwrap_or(0) } else { 0 }
    }
}

/// Tries all calls; says which do not answer as they should.
pub fn run() -> bool {
    let mut fixture = Fixture::new();
    let (mut tried, mut wrong) = (0, 0);
    for (name, number, arguments) in CALLS {
        let places = arguments.iter().enumerate().filter(|(_, argument)| matches!(argument, P | S | M));
        for (place, _) in places {
            for bad in BAD {
                tried += 1;
                let errno = fixture.call(*number, arguments, place, bad);
                if errno != EFAULT {
                    wrong += 1;
                    println!("{name}: argument {place} at {bad:#x} gives {errno}");
                }
            }
        }
    }
    println!("{tried} bad addresses, {wrong} wrong answers");
    wrong == 0
}

//! What the calls are made on: files, sockets, timers, children in the state in which a call gets as far as the address.

use super::Argument;
use crate::aio;
use crate::tracing::tracee::{kill_and_reap, traced};
use libc::*;
use std::os::unix::fs::MetadataExt;
use std::ptr::null_mut;

/// A page, so that it can be given where a call wants a page's address.
#[repr(align(4096))]
struct Page([u64; 512]);

/// An attribute of the file and of its directory.
const ATTRIBUTE: &std::ffi::CStr = c"trusted.probe";

/// Everything that an argument can stand for.
pub struct Fixture {
    buffer: Vec<u64>,
    zeros: Box<Page>,
    vector: [iovec; 1],
    /// Version 3 of the capabilities' structure, and this thread.
    capabilities: [u32; 2],
    file: c_int,
    directory: c_int,
    epoll: c_int,
    socket: c_int,
    pair: [c_int; 2],
    listener: c_int,
    caller: c_int,
    timer_file: c_int,
    process_file: c_int,
    tracee: c_int,
    semaphores: c_int,
    messages: c_int,
    posix_queue: c_int,
    timer: i64,
    segment: c_int,
    inotify: c_int,
    context: u64,
    configuration: c_int,
    /// SIGUSR2, which this process blocks.
    signals: u64,
    /// A page for reading and writing, one for reading, and one for nothing.
    edges: usize,
}

/// What a call with a bad address gave.
pub struct Answer {
    /// The errno, or 0 if it went well.
    pub errno: i32,
    /// Whether a descriptor is in use that was not before.
    pub left_a_file: bool,
}

const PAGE: usize = 4096;

impl Fixture {
    pub fn new() -> Self {
        // SAFETY: plain calls that make descriptors; the paths are literals with their NUL, and everything that a call
        // fills lives until it is over.
        unsafe {
            let file = open(c"/tmp/probe".as_ptr(), O_RDWR | O_CREAT, 0o600);
            ftruncate(file, 4096);
            symlink(c"/tmp/probe".as_ptr(), c"/tmp/probe-link".as_ptr());
            let epoll = epoll_create1(0);
            let mut event = epoll_event { events: EPOLLIN as u32, u64: 0 };
            epoll_ctl(epoll, EPOLL_CTL_ADD, eventfd(1, 0), &raw mut event);
            let mut pair = [-1; 2];
            socketpair(AF_UNIX, SOCK_STREAM, 0, pair.as_mut_ptr());
            let listener = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0);
            let address = Self::address();
            bind(listener, (&raw const address).cast(), size_of::<sockaddr_un>() as u32);
            listen(listener, 16);
            setgroups(1, [0].as_ptr());
            fsetxattr(file, ATTRIBUTE.as_ptr(), [0_u8; 16].as_ptr().cast(), 16, 0);
            setxattr(c"/tmp".as_ptr(), ATTRIBUTE.as_ptr(), [0_u8; 16].as_ptr().cast(), 16, 0);
            let mut timer = null_mut();
            timer_create(CLOCK_MONOTONIC, null_mut(), &raw mut timer);
            Self {
                buffer: vec![0; 8192],
                zeros: Box::new(Page([0; 512])),
                vector: [iovec { iov_base: null_mut(), iov_len: 16 }],
                capabilities: [0x2008_0522, 0],
                file,
                directory: open(c"/".as_ptr(), O_RDONLY | O_DIRECTORY),
                epoll,
                socket: socket(AF_UNIX, SOCK_STREAM, 0),
                pair,
                listener,
                caller: -1,
                timer_file: timerfd_create(CLOCK_MONOTONIC, 0),
                process_file: syscall(SYS_pidfd_open, getpid(), 0) as c_int,
                tracee: traced(|| 0),
                timer: timer as i64,
                semaphores: semget(IPC_PRIVATE, 1, 0o600),
                messages: msgget(IPC_PRIVATE, 0o600),
                posix_queue: Self::posix_queue(),
                segment: shmget(IPC_PRIVATE, PAGE, 0o600),
                inotify: inotify_init1(0),
                context: aio::context(),
                configuration: syscall(SYS_fsopen, c"tmpfs".as_ptr(), 0) as c_int,
                signals: 1 << (SIGUSR2 - 1),
                edges: Self::edges(),
            }
        }
    }

    /// The pages of `edges`, full of letters.
    fn edges() -> usize {
        // SAFETY: new mappings of this process's own; three pages, of which all are written before rights are taken away.
        unsafe {
            let start = mmap(null_mut(), 3 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
            start.cast::<u8>().write_bytes(b'x', 3 * PAGE);
            mprotect(start.byte_add(PAGE), PAGE, PROT_READ);
            mprotect(start.byte_add(2 * PAGE), PAGE, PROT_NONE);
            let mut set = std::mem::zeroed();
            sigemptyset(&raw mut set);
            sigaddset(&raw mut set, SIGUSR2);
            sigprocmask(SIG_BLOCK, &raw const set, null_mut());
            start as usize
        }
    }

    /// An address of which the first byte can be read and the next can't.
    pub fn before_hole(&self) -> usize {
        self.edges + 2 * PAGE - 1
    }

    /// An address of which the first byte can be written and the next only read.
    pub fn before_read_only(&self) -> usize {
        self.edges + PAGE - 1
    }

    /// An address that can be read and not written.
    pub fn read_only(&self) -> usize {
        self.edges + PAGE
    }

    /// The lowest descriptor that is free.
    fn free_descriptor(&self) -> c_int {
        // SAFETY: takes no address; what it makes is closed.
        unsafe {
            let free = dup(self.file);
            close(free);
            free
        }
    }

    /// A queue without a name, of short messages.
    fn posix_queue() -> c_int {
        // SAFETY: all zeros is an mq_attr; it and the name live until the calls are over.
        unsafe {
            let mut attributes: mq_attr = std::mem::zeroed();
            (attributes.mq_maxmsg, attributes.mq_msgsize) = (10, 16);
            let flags = O_RDWR | O_CREAT | O_NONBLOCK;
            let queue = mq_open(c"/probe-pointers".as_ptr(), flags, 0o600, &raw mut attributes);
            mq_unlink(c"/probe-pointers".as_ptr());
            queue
        }
    }

    /// An address without a file.
    fn address() -> sockaddr_un {
        let mut address = sockaddr_un { sun_family: AF_UNIX as u16, sun_path: [0; 108] };
        for (to, from) in address.sun_path[1..].iter_mut().zip(b"probe") {
            *to = *from as c_char;
        }
        address
    }

    /// A child that has ended.
    fn zombie() -> i64 {
        // SAFETY: the child does nothing but end; this process has one thread.
        unsafe {
            let child = fork();
            if child == 0 {
                _exit(0);
            }
            let mut info = std::mem::zeroed();
            waitid(P_PID, child as id_t, &raw mut info, WEXITED | WNOWAIT);
            i64::from(child)
        }
    }

    /// Somebody who wants to connect to the listener: a new one in place of the last.
    fn call_listener(&mut self) {
        let address = Self::address();
        // SAFETY: an address that lives until the calls are over. Whoever was accepted or gave up is closed.
        unsafe {
            close(accept(self.listener, null_mut(), null_mut()));
            close(self.caller);
            self.caller = socket(AF_UNIX, SOCK_STREAM, 0);
            connect(self.caller, (&raw const address).cast(), size_of::<sockaddr_un>() as u32);
        }
    }

    /// Makes the call with the address at `bad_at` bad.
    pub fn call(&mut self, number: c_long, arguments: &[Argument], bad_at: usize, bad: usize) -> Answer {
        // Any length that is read from it is a small one.
        self.buffer.fill(16);
        let mut words = [0_i64; 6];
        for (index, argument) in arguments.iter().enumerate() {
            words[index] = match argument {
                Argument::N(value) => *value,
                Argument::V => {
                    self.vector[0].iov_base = bad as *mut c_void;
                    self.vector.as_ptr() as i64
                }
                argument if index == bad_at && argument.can_be_bad() => bad as i64,
                Argument::P => self.buffer.as_mut_ptr() as i64,
                Argument::G => (&raw mut *self.zeros) as i64,
                Argument::H => self.capabilities.as_ptr() as i64,
                Argument::S => c"/tmp".as_ptr() as i64,
                Argument::M => c"/tmp/none".as_ptr() as i64,
                Argument::X => c"/bin/true".as_ptr() as i64,
                Argument::A => ATTRIBUTE.as_ptr() as i64,
                Argument::K => c"/tmp/probe-link".as_ptr() as i64,
                Argument::Device => std::fs::metadata("/tmp").map_or(0, |data| data.dev() as i64),
                Argument::F => i64::from(self.file),
                Argument::D => {
                    // SAFETY: a directory's descriptor, back to its beginning.
                    unsafe { lseek(self.directory, 0, SEEK_SET) };
                    i64::from(self.directory)
                }
                Argument::E => i64::from(self.epoll),
                Argument::U => i64::from(self.socket),
                Argument::C => i64::from(self.pair[0]),
                Argument::R => {
                    // SAFETY: a buffer that is longer than what is sent.
                    unsafe { send(self.pair[1], self.buffer.as_ptr().cast(), 16, MSG_DONTWAIT) };
                    i64::from(self.pair[0])
                }
                Argument::L => {
                    self.call_listener();
                    i64::from(self.listener)
                }
                Argument::T => i64::from(self.timer_file),
                Argument::Q => i64::from(self.process_file),
                Argument::Tracee => i64::from(self.tracee),
                Argument::Y => self.timer,
                Argument::W => i64::from(self.semaphores),
                Argument::B => {
                    // SAFETY: a byte that is there.
                    unsafe { mq_send(self.posix_queue, c"x".as_ptr(), 1, 0) };
                    i64::from(self.posix_queue)
                }
                Argument::O => {
                    // SAFETY: zeros with a type of 1 in front, longer than what is sent.
                    unsafe { msgsnd(self.messages, [1_i64, 0].as_ptr().cast(), 1, IPC_NOWAIT) };
                    i64::from(self.messages)
                }
                Argument::J => i64::from(self.segment),
                Argument::Context => {
                    aio::make_event(self.context, self.file);
                    self.context as i64
                }
                Argument::Configuration => i64::from(self.configuration),
                Argument::Watch => i64::from(self.inotify),
                Argument::Pending => {
                    // SAFETY: takes no address; the signal is blocked.
                    unsafe { kill(getpid(), SIGUSR2) };
                    (&raw const self.signals) as i64
                }
                Argument::I => i64::from(std::process::id()),
                Argument::Z => Self::zombie(),
            };
        }
        let free_before = self.free_descriptor();
        // SAFETY: every good address is of a buffer or text that is large enough for the call; a bad one is what the
        // kernel must refuse, which is the thing tested.
        let result = unsafe { syscall(number, words[0], words[1], words[2], words[3], words[4], words[5]) };
        let errno = if result < 0 { std::io::Error::last_os_error().raw_os_error().unwrap_or(0) } else { 0 };
        let left_a_file = self.free_descriptor() != free_before;
        self.zeros.0.fill(0);
        // SAFETY: no status is asked for. The child, if there was one, may be gone already.
        unsafe { waitpid(-1, null_mut(), WNOHANG) };
        Answer { errno, left_a_file }
    }
}

impl Drop for Fixture {
    fn drop(&mut self) {
        // SAFETY: literals with their NUL, and commands that take no address.
        unsafe {
            removexattr(c"/tmp".as_ptr(), ATTRIBUTE.as_ptr());
            shmctl(self.segment, IPC_RMID, null_mut());
            semctl(self.semaphores, 0, IPC_RMID);
            msgctl(self.messages, IPC_RMID, null_mut());
        }
        let _ = kill_and_reap(self.tracee);
    }
}

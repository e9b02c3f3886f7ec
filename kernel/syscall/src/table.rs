//! The table: number, function, arguments. Dispatch and the names for people come from it.

use crate::{
    advice, aio, arguments::Argument, call::Call, clock, clock_setting, copying, descriptors, extended, file_systems,
    futexes, identity, locks, memory, messages, migration, mount_files, mounts, names, namespaces, opening, others,
    paths, policy, polling, posix_queues, processes, scheduling, selecting, semaphores, shared_memory, signals,
    socket_messages, socket_options, sockets, system, threads, timers, tracing, transfer, unknown,
};
use alloc::sync::Arc;
use base::Errno;
use machine::user::{Registers, UserContext};
use process::{SystemCalls, Task};

/// A call's arguments, in order.
struct Arguments<'a> {
    registers: &'a Registers,
    next: usize,
}

impl Arguments<'_> {
    /// The next argument, from its register: at each place in the code a certain one.
    #[inline(always)]
    fn next<T: Argument>(&mut self) -> T {
        let register = match self.next {
            0 => self.registers.rdi,
            1 => self.registers.rsi,
            2 => self.registers.rdx,
            3 => self.registers.r10,
            4 => self.registers.r8,
            _ => self.registers.r9,
        };
        self.next += 1;
        T::from_register(register)
    }
}

macro_rules! system_calls {
    ($($number:literal => $module:ident::$call:ident($($argument:ident),*);)*) => {
        // Part of `dispatch`, its only caller.
        #[inline(always)]
        fn run(call: &mut Call<'_>, number: u64) -> Result<usize, Errno> {
            match number {
                $($number => {
                    #[allow(unused_mut, unused_variables)] // calls without arguments
                    let mut arguments = Arguments { registers: &call.user.registers, next: 0 };
                    $(let $argument = arguments.next();)*
                    $module::$call(call, $($argument),*)
                })*
                _ => Err(unknown::answer(call.task, number)),
            }
        }

        /// The name of a system call that this kernel has.
        #[cfg(test)]
        pub fn name(number: u64) -> Option<&'static str> {
            match number {
                $($number => Some(stringify!($call)),)*
                _ => None,
            }
        }
    };
}

system_calls! {
    0 => transfer::read(descriptor, buffer, count);
    1 => transfer::write(descriptor, buffer, count);
    2 => paths::open(path, flags, mode);
    3 => descriptors::close(descriptor);
    4 => paths::stat(path, out);
    5 => paths::fstat(descriptor, out);
    6 => paths::lstat(path, out);
    7 => selecting::poll(descriptors, count, timeout);
    8 => descriptors::lseek(descriptor, offset, whence);
    9 => memory::mmap(address, length, protection, flags, descriptor, offset);
    10 => memory::mprotect(address, length, protection);
    11 => memory::munmap(address, length);
    12 => memory::brk(end);
    13 => signals::rt_sigaction(signal, new, old, size);
    14 => signals::rt_sigprocmask(how, new, old, size);
    15 => signals::rt_sigreturn();
    16 => descriptors::ioctl(descriptor, request, argument);
    17 => transfer::pread(descriptor, buffer, count, offset);
    18 => transfer::pwrite(descriptor, buffer, count, offset);
    19 => transfer::readv(descriptor, vectors, count);
    20 => transfer::writev(descriptor, vectors, count);
    21 => paths::access(path, mode);
    22 => descriptors::pipe(descriptors);
    23 => selecting::select(count, readable, writable, exceptional, timeout);
    24 => scheduling::sched_yield();
    25 => memory::mremap(address, old_length, new_length, flags, new_address);
    26 => memory::msync(address, length, flags);
    27 => memory::mincore(address, length, out);
    28 => memory::madvise(address, length, advice);
    29 => shared_memory::shmget(key, size, flags);
    30 => shared_memory::shmat(number, address, flags);
    31 => shared_memory::shmctl(number, command, buffer);
    32 => descriptors::dup(descriptor);
    33 => descriptors::dup2(old, new);
    34 => signals::pause();
    35 => clock::nanosleep(wanted, rest);
    36 => signals::getitimer(which, out);
    37 => signals::alarm(seconds);
    38 => signals::setitimer(which, new, old);
    39 => processes::getpid();
    40 => copying::sendfile(to, from, offset, count);
    41 => sockets::socket(family, kind, protocol);
    42 => sockets::connect(descriptor, address, length);
    43 => sockets::accept(descriptor, address, length);
    44 => socket_messages::sendto(descriptor, buffer, length, flags, address, address_length);
    45 => socket_messages::recvfrom(descriptor, buffer, length, flags, address, address_length);
    46 => socket_messages::sendmsg(descriptor, message, flags);
    47 => socket_messages::recvmsg(descriptor, message, flags);
    48 => sockets::shutdown(descriptor, how);
    49 => sockets::bind(descriptor, address, length);
    50 => sockets::listen(descriptor, backlog);
    51 => sockets::getsockname(descriptor, address, length);
    52 => sockets::getpeername(descriptor, address, length);
    53 => sockets::socketpair(family, kind, protocol, descriptors);
    54 => socket_options::setsockopt(descriptor, level, option, value, length);
    55 => socket_options::getsockopt(descriptor, level, option, value, length);
    56 => processes::clone(flags, stack, parent_tid, child_tid, tls);
    57 => processes::fork();
    58 => processes::vfork();
    59 => processes::execve(path, arguments, environment);
    60 => processes::exit(status);
    61 => processes::wait4(pid, status, options, usage);
    62 => signals::kill(pid, signal);
    63 => system::uname(out);
    64 => semaphores::semget(key, count, flags);
    65 => semaphores::semop(number, operations, count);
    66 => semaphores::semctl(number, index, command, argument);
    67 => shared_memory::shmdt(address);
    68 => messages::msgget(key, flags);
    69 => messages::msgsnd(number, message, length, flags);
    70 => messages::msgrcv(number, out, room, kind, flags);
    71 => messages::msgctl(number, command, argument);
    72 => descriptors::fcntl(descriptor, command, argument);
    73 => locks::flock(descriptor, operation);
    74 => descriptors::fsync(descriptor);
    75 => descriptors::fsync(descriptor);
    76 => paths::truncate(path, size);
    77 => descriptors::ftruncate(descriptor, size);
    78 => descriptors::getdents(descriptor, buffer, size);
    79 => paths::getcwd(out, size);
    80 => paths::chdir(path);
    81 => paths::fchdir(descriptor);
    82 => names::rename(old, new);
    83 => names::mkdir(path, mode);
    84 => names::rmdir(path);
    85 => paths::creat(path, mode);
    86 => names::link(old, new);
    87 => names::unlink(path);
    88 => names::symlink(text, path);
    89 => names::readlink(path, out, size);
    90 => paths::chmod(path, mode);
    91 => paths::fchmod(descriptor, mode);
    92 => paths::chown(path, uid, gid);
    93 => paths::fchown(descriptor, uid, gid);
    94 => paths::lchown(path, uid, gid);
    95 => paths::umask(mask);
    96 => clock::gettimeofday(out, zone);
    97 => processes::getrlimit(resource, out);
    98 => processes::getrusage(who, out);
    99 => system::sysinfo(out);
    100 => processes::times(out);
    101 => tracing::ptrace(request, pid, address, data);
    102 => identity::getuid();
    103 => system::syslog(action, buffer, length);
    104 => identity::getgid();
    105 => identity::setuid(uid);
    106 => identity::setgid(gid);
    107 => identity::geteuid();
    108 => identity::getegid();
    109 => processes::setpgid(pid, group);
    110 => processes::getppid();
    111 => processes::getpgrp();
    112 => processes::setsid();
    113 => identity::setreuid(uid, euid);
    114 => identity::setregid(gid, egid);
    115 => identity::getgroups(count, out);
    116 => identity::setgroups(count, groups);
    117 => identity::setresuid(uid, euid, suid);
    118 => identity::getresuid(uid, euid, suid);
    119 => identity::setresgid(gid, egid, sgid);
    120 => identity::getresgid(gid, egid, sgid);
    121 => processes::getpgid(pid);
    122 => identity::setfsuid(uid);
    123 => identity::setfsgid(gid);
    124 => processes::getsid(pid);
    125 => identity::capget(header, data);
    126 => identity::capset(header, data);
    127 => signals::rt_sigpending(out, size);
    128 => signals::rt_sigtimedwait(set, info, timeout, size);
    129 => signals::rt_sigqueueinfo(pid, signal, info);
    130 => signals::rt_sigsuspend(mask, size);
    131 => signals::sigaltstack(new, old);
    132 => paths::utime(path, times);
    133 => names::mknod(path, mode, device);
    135 => processes::personality(wanted);
    136 => file_systems::ustat(device, out);
    137 => paths::statfs(path, out);
    138 => paths::fstatfs(descriptor, out);
    140 => scheduling::getpriority(which, who);
    141 => scheduling::setpriority(which, who, nice);
    142 => scheduling::sched_setparam(tid, parameter);
    143 => scheduling::sched_getparam(tid, out);
    144 => scheduling::sched_setscheduler(tid, policy, parameter);
    145 => scheduling::sched_getscheduler(tid);
    146 => scheduling::sched_get_priority_max(policy);
    147 => scheduling::sched_get_priority_min(policy);
    148 => scheduling::sched_rr_get_interval(tid, out);
    149 => memory::mlock(address, length);
    150 => memory::munlock(address, length);
    151 => memory::mlockall(flags);
    152 => memory::munlockall();
    153 => system::vhangup();
    139 => file_systems::sysfs(option, first, name);
    155 => mounts::pivot_root(new_root, put_old);
    157 => processes::prctl(option, second, third, fourth, fifth);
    158 => processes::arch_prctl(option, address);
    159 => clock_setting::adjtimex(buffer);
    160 => processes::setrlimit(resource, new);
    161 => paths::chroot(path);
    162 => descriptors::sync();
    164 => clock_setting::settimeofday(new, zone);
    165 => mounts::mount(source, target, kind, flags, data);
    166 => mounts::umount2(target, flags);
    169 => system::reboot(magic, magic2, command);
    170 => system::sethostname(text, length);
    171 => system::setdomainname(text, length);
    186 => processes::gettid();
    187 => advice::readahead(descriptor, offset, length);
    188 => extended::setxattr(path, name, value, size, flags);
    189 => extended::lsetxattr(path, name, value, size, flags);
    190 => extended::fsetxattr(descriptor, name, value, size, flags);
    191 => extended::getxattr(path, name, out, size);
    192 => extended::lgetxattr(path, name, out, size);
    193 => extended::fgetxattr(descriptor, name, out, size);
    194 => extended::listxattr(path, out, size);
    195 => extended::llistxattr(path, out, size);
    196 => extended::flistxattr(descriptor, out, size);
    197 => extended::removexattr(path, name);
    198 => extended::lremovexattr(path, name);
    199 => extended::fremovexattr(descriptor, name);
    200 => signals::tkill(tid, signal);
    201 => clock::time(out);
    202 => futexes::futex(word, operation, value, timeout, second_word, third);
    203 => scheduling::sched_setaffinity(tid, size, mask);
    204 => scheduling::sched_getaffinity(tid, size, out);
    206 => aio::io_setup(requests, out);
    207 => aio::io_destroy(context);
    208 => aio::io_getevents(context, least, most, out, timeout);
    209 => aio::io_submit(context, count, list);
    210 => aio::io_cancel(context, block, result);
    213 => polling::epoll_create(size);
    217 => descriptors::getdents64(descriptor, buffer, size);
    218 => processes::set_tid_address(address);
    219 => signals::restart_syscall();
    220 => semaphores::semtimedop(number, operations, count, timeout);
    221 => advice::fadvise64(descriptor, offset, length, advice);
    222 => timers::timer_create(clock, event, out);
    223 => timers::timer_settime(id, flags, new, old);
    224 => timers::timer_gettime(id, out);
    225 => timers::timer_getoverrun(id);
    226 => timers::timer_delete(id);
    227 => clock_setting::clock_settime(clock, new);
    228 => clock::clock_gettime(clock, out);
    229 => clock::clock_getres(clock, out);
    230 => clock::clock_nanosleep(clock, flags, wanted, rest);
    231 => processes::exit_group(status);
    232 => polling::epoll_wait(epoll, out, most, timeout);
    233 => polling::epoll_ctl(epoll, operation, descriptor, event);
    234 => signals::tgkill(pid, tid, signal);
    235 => paths::utimes(path, times);
    237 => policy::mbind(start, length, mode, nodes, count, flags);
    238 => policy::set_mempolicy(mode, nodes, count);
    239 => policy::get_mempolicy(mode, nodes, count, address, flags);
    240 => posix_queues::mq_open(name, flags, mode, attributes);
    241 => posix_queues::mq_unlink(name);
    242 => posix_queues::mq_timedsend(descriptor, text, length, priority, timeout);
    243 => posix_queues::mq_timedreceive(descriptor, out, room, priority, timeout);
    244 => posix_queues::mq_notify(descriptor, event);
    245 => posix_queues::mq_getsetattr(descriptor, new, old);
    247 => processes::waitid(which, id, info, options, usage);
    251 => scheduling::ioprio_set(which, who, priority);
    252 => scheduling::ioprio_get(which, who);
    253 => polling::inotify_init();
    254 => polling::inotify_add_watch(inotify, path, mask);
    255 => polling::inotify_rm_watch(inotify, watch);
    256 => migration::migrate_pages(pid, count, old, new);
    257 => paths::openat(directory, path, flags, mode);
    258 => names::mkdirat(directory, path, mode);
    259 => names::mknodat(directory, path, mode, device);
    260 => paths::fchownat(directory, path, uid, gid, flags);
    261 => paths::futimesat(directory, path, times);
    262 => paths::newfstatat(directory, path, out, flags);
    263 => names::unlinkat(directory, path, flags);
    264 => names::renameat(old_directory, old, new_directory, new);
    265 => names::linkat(old_directory, old, new_directory, new, flags);
    266 => names::symlinkat(text, directory, path);
    267 => names::readlinkat(directory, path, out, size);
    268 => paths::fchmodat(directory, path, mode);
    269 => paths::faccessat(directory, path, mode);
    270 => selecting::pselect6(count, readable, writable, exceptional, timeout, mask);
    271 => selecting::ppoll(descriptors, count, timeout, mask, size);
    272 => processes::unshare(flags);
    273 => threads::set_robust_list(head, length);
    274 => threads::get_robust_list(tid, head, length);
    275 => copying::splice(from, from_offset, to, to_offset, count, flags);
    276 => copying::tee(from, to, count, flags);
    277 => advice::sync_file_range(descriptor, offset, length, flags);
    278 => copying::vmsplice(descriptor, vectors, count, flags);
    279 => migration::move_pages(pid, count, pages, nodes, status, flags);
    280 => paths::utimensat(directory, path, times, flags);
    281 => polling::epoll_pwait(epoll, out, most, timeout, mask, size);
    282 => signals::signalfd(descriptor, mask, size);
    283 => polling::timerfd_create(clock, flags);
    284 => descriptors::eventfd(initial);
    285 => descriptors::fallocate(descriptor, mode, offset, length);
    286 => polling::timerfd_settime(descriptor, flags, new, old);
    287 => polling::timerfd_gettime(descriptor, out);
    288 => sockets::accept4(descriptor, address, length, flags);
    289 => signals::signalfd4(descriptor, mask, size, flags);
    290 => descriptors::eventfd2(initial, flags);
    291 => polling::epoll_create1(flags);
    292 => descriptors::dup3(old, new, flags);
    293 => descriptors::pipe2(descriptors, flags);
    294 => polling::inotify_init1(flags);
    295 => transfer::preadv(descriptor, vectors, count, offset);
    296 => transfer::pwritev(descriptor, vectors, count, offset);
    297 => signals::rt_tgsigqueueinfo(pid, tid, signal, info);
    299 => socket_messages::recvmmsg(descriptor, messages, count, flags, timeout);
    302 => processes::prlimit64(pid, resource, new, old);
    305 => clock_setting::clock_adjtime(clock, buffer);
    306 => advice::syncfs(descriptor);
    307 => socket_messages::sendmmsg(descriptor, messages, count, flags);
    308 => namespaces::setns(descriptor, flags);
    309 => scheduling::getcpu(cpu, node);
    310 => others::process_vm_readv(pid, local, local_count, remote, remote_count, flags);
    311 => others::process_vm_writev(pid, local, local_count, remote, remote_count, flags);
    312 => others::kcmp(first, second, kind, first_of, second_of);
    314 => scheduling::sched_setattr(tid, attributes, flags);
    315 => scheduling::sched_getattr(tid, out, size, flags);
    316 => names::renameat2(old_directory, old, new_directory, new, flags);
    317 => processes::seccomp(operation, flags, arguments);
    318 => system::getrandom(out, length, flags);
    319 => memory::memfd_create(name, flags);
    322 => processes::execveat(directory, path, arguments, environment, flags);
    324 => threads::membarrier(command, flags, cpu);
    325 => memory::mlock2(address, length, flags);
    326 => copying::copy_file_range(from, from_offset, to, to_offset, count, flags);
    327 => transfer::preadv2(descriptor, vectors, count, offset, high, flags);
    328 => transfer::pwritev2(descriptor, vectors, count, offset, high, flags);
    332 => paths::statx(directory, path, flags, mask, out);
    333 => aio::io_pgetevents(context, least, most, out, timeout, mask);
    334 => threads::rseq(area, length, flags, signature);
    424 => signals::pidfd_send_signal(descriptor, signal, info, flags);
    428 => mount_files::open_tree(directory, path, flags);
    429 => mount_files::move_mount(from_directory, from, to_directory, to, flags);
    430 => mount_files::fsopen(kind, flags);
    431 => mount_files::fsconfig(descriptor, what, key, value, auxiliary);
    432 => mount_files::fsmount(descriptor, flags, attributes);
    433 => mount_files::fspick(directory, path, flags);
    434 => processes::pidfd_open(pid, flags);
    435 => processes::clone3(arguments, size);
    436 => descriptors::close_range(first, last, flags);
    437 => opening::openat2(directory, path, how, size);
    438 => others::pidfd_getfd(process, descriptor, flags);
    439 => paths::faccessat2(directory, path, mode, flags);
    440 => others::process_madvise(process, list, count, advice, flags);
    441 => polling::epoll_pwait2(epoll, out, most, timeout, mask, size);
    442 => mount_files::mount_setattr(directory, path, flags, attributes, size);
    448 => others::process_mrelease(process, flags);
    449 => futexes::futex_waitv(list, count, flags, timeout, clock);
    450 => policy::set_mempolicy_home_node(start, length, home, flags);
    452 => paths::fchmodat2(directory, path, mode, flags);
}

/// The system calls of this kernel, for `process` to call.
pub struct Table;

impl SystemCalls for Table {
    fn dispatch(&self, task: &Arc<Task>, user: &mut UserContext) {
        let number = user.registers.rax;
        let result = run(&mut Call { task, user }, number);
        // exec and sigreturn have set every register themselves.
        if !matches!(number, 15) {
            user.registers.rax = match result {
                Ok(value) => value as u64,
                Err(errno) => -(errno as i64) as u64,
            };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_have_the_names_of_linux() {
        assert_eq!([name(0), name(59), name(165), name(999)], [Some("read"), Some("execve"), Some("mount"), None]);
    }
}

//! The structures that cross the border between a program and the kernel, as Linux lays them out on x86-64.

use crate::arguments::abi_struct;

abi_struct! {
    /// `struct timespec`.
    Timespec { seconds: i64, nanoseconds: i64 }
}

abi_struct! {
    /// `struct timeval`.
    Timeval { seconds: i64, microseconds: i64 }
}

abi_struct! {
    /// `struct itimerval`.
    IntervalTimer { interval: Timeval, value: Timeval }
}

abi_struct! {
    /// `struct itimerspec`.
    IntervalSpec { interval: Timespec, value: Timespec }
}

abi_struct! {
    /// `struct stat`, `stat(2)`.
    Stat {
        device: u64, inode: u64, links: u64, mode: u32, uid: u32, gid: u32, hole: u32, special_device: u64,
        size: i64, block_size: i64, blocks: i64, accessed: Timespec, modified: Timespec, changed: Timespec,
        reserved: [i64; 3],
    }
}

abi_struct! {
    /// `struct statx_timestamp`.
    StatxTime { seconds: i64, nanoseconds: u32, hole: i32 }
}

abi_struct! {
    /// `struct statx`, `statx(2)`.
    Statx {
        mask: u32, block_size: u32, attributes: u64, links: u32, uid: u32, gid: u32, mode: u16, hole: u16,
        inode: u64, size: u64, blocks: u64, attributes_mask: u64,
        accessed: StatxTime, born: StatxTime, changed: StatxTime, modified: StatxTime,
        special_major: u32, special_minor: u32, major: u32, minor: u32, mount: u64, direct_io: [u32; 2],
        reserved: [u64; 12],
    }
}

abi_struct! {
    /// `struct statfs`, `statfs(2)`.
    Statfs {
        kind: i64, block_size: i64, blocks: u64, blocks_free: u64, blocks_available: u64, files: u64,
        files_free: u64, id: [i32; 2], name_length: i64, fragment_size: i64, flags: i64, reserved: [i64; 4],
    }
}

abi_struct! {
    /// `struct ustat`, `ustat(2)`.
    OldStatistics { free: i32, hole: u32, inodes: u64, names: [u8; 12], tail: u32 }
}

abi_struct! {
    /// `struct mount_attr`, `mount_setattr(2)`.
    MountAttributes { set: u64, clear: u64, propagation: u64, user_namespace: u64 }
}

abi_struct! {
    /// `struct rlimit`, 64 bits each.
    ResourceLimit { current: u64, maximum: u64 }
}

abi_struct! {
    /// `struct new_utsname`, `uname(2)`.
    SystemName {
        system: [u8; 65], node: [u8; 65], release: [u8; 65], version: [u8; 65], machine: [u8; 65], domain: [u8; 65],
    }
}

abi_struct! {
    /// `struct sysinfo`, `sysinfo(2)`.
    SystemInfo {
        uptime: i64, loads: [u64; 3], total: u64, free: u64, shared: u64, buffers: u64, swap_total: u64,
        swap_free: u64, processes: u16, hole: [u16; 3], high_total: u64, high_free: u64, unit: u32, tail: u32,
    }
}

abi_struct! {
    /// `struct f_owner_ex`, `fcntl(2)`.
    OwnerEx { kind: i32, number: i32 }
}

abi_struct! {
    /// `struct flock`, `fcntl(2)`.
    FileLock { kind: i16, whence: i16, hole: u32, start: i64, length: i64, process: i32, tail: u32 }
}

abi_struct! {
    /// `struct iovec`.
    IoVector { base: u64, length: u64 }
}

abi_struct! {
    /// `struct iocb`: a request of `io_submit(2)`.
    ControlBlock {
        data: u64, key: u32, transfer_flags: u32, operation: u16, priority: u16, descriptor: i32, buffer: u64,
        length: u64, offset: i64, reserved: u64, flags: u32, event_file: i32,
    }
}

abi_struct! {
    /// `struct msghdr`, `recvmsg(2)`.
    MessageHeader {
        name: u64, name_length: u32, hole: u32, vectors: u64, vector_count: u64, control: u64, control_length: u64,
        flags: i32, tail: u32,
    }
}

abi_struct! {
    /// `struct mmsghdr`: a message of many, and how many bytes of it went.
    OneOfMessages { head: MessageHeader, length: u32, hole: u32 }
}

abi_struct! {
    /// `struct open_how`, `openat2(2)`.
    OpenHow { flags: u64, mode: u64, resolve: u64 }
}

abi_struct! {
    /// `struct epoll_event`, packed on x86-64.
    EpollEvent { events: u32, data: u64 }
}

abi_struct! {
    /// `struct futex_waitv`.
    FutexWait { value: u64, address: u64, flags: u32, reserved: u32 }
}

abi_struct! {
    /// The kernel's `struct sigaction`.
    SignalAction { handler: u64, flags: u64, restorer: u64, mask: u64 }
}

abi_struct! {
    /// `stack_t`, `sigaltstack(2)`.
    SignalStack { base: u64, flags: i32, hole: u32, size: u64 }
}

abi_struct! {
    /// `struct clone_args`, `clone3(2)`.
    CloneArguments {
        flags: u64, pidfd: u64, child_tid: u64, parent_tid: u64, exit_signal: u64, stack: u64, stack_size: u64,
        tls: u64, set_tid: u64, set_tid_size: u64, cgroup: u64,
    }
}

abi_struct! {
    /// `struct __user_cap_header_struct`, `capget(2)`.
    CapabilityHeader { version: u32, pid: i32 }
}

abi_struct! {
    /// `struct __user_cap_data_struct`, `capget(2)`.
    CapabilityData { effective: u32, permitted: u32, inheritable: u32 }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::arguments::Abi;

    #[test]
    fn sizes_are_those_of_linux() {
        assert_eq!(
            [Stat::SIZE, Statx::SIZE, Statfs::SIZE, SystemName::SIZE, SystemInfo::SIZE],
            [144, 256, 120, 390, 112]
        );
        assert_eq!([MessageHeader::SIZE, EpollEvent::SIZE, SignalStack::SIZE, CloneArguments::SIZE], [56, 12, 24, 88]);
    }
}

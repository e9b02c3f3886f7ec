//! What an argument of a system call can be.

/// The kinds of arguments. Whatever points into memory is now and then null, unmapped, read-only, the kernel's, at the
/// end of a page before a hole, or misaligned.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    /// A number as it is.
    Is(u64),
    /// One of these numbers, or now and then something else.
    One(&'static [u64]),
    /// Some of these bits, or now and then any.
    Bits(&'static [u64]),
    /// An open file of some kind, or a number without one.
    File,
    /// A directory to start from: an open file or `AT_FDCWD`.
    From,
    /// A process, a thread, a group, nobody.
    Pid,
    /// A signal.
    Signal,
    /// A user or group.
    User,
    /// The bits of a file's mode, with its type.
    Mode,
    /// How many bytes.
    Size,
    /// How many elements.
    Count,
    /// A place in a file.
    Offset,
    /// A small number of anything: a CPU, an index, a priority, an identifier that was given out.
    Small,
    /// Anything.
    Any,
    /// The address of a mapping, often one that other calls changed.
    Mapping,
    /// The address of an asynchronous context, if nobody has ended it.
    Context,
    /// A path.
    Path,
    /// A name that is no path: of an attribute, a queue, a host.
    Name,
    /// The name of a kind of file system.
    FileSystem,
    /// What a mount is told.
    Options,
    /// An array of the addresses of texts.
    Texts,
    /// Bytes that the kernel reads.
    In,
    /// Bytes that the kernel writes.
    Out,
    /// A structure that the kernel reads, writes, or both.
    Of(Structure),
    /// That, or a number: the call's command decides.
    Or(Structure),
}

/// Structures that are filled so that the calls get far.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Structure {
    /// `struct timespec`, one or several: short times, absolute ones, bad ones.
    Time,
    /// `struct timeval`, one or several.
    Microseconds,
    /// A set of signals.
    Signals,
    /// `struct sigaction`.
    Action,
    /// `siginfo_t`.
    Information,
    /// `struct sigevent`.
    Event,
    /// `stack_t`.
    Stack,
    /// `struct iovec`, several.
    Vectors,
    /// `struct msghdr`, several.
    Message,
    /// `struct sockaddr_un`.
    Address,
    /// `struct pollfd`, several.
    Polled,
    /// `struct futex_waitv`, several.
    Waiters,
    /// `struct robust_list_head`, with entries.
    Robust,
    /// `struct open_how`.
    How,
    /// A set of files, CPUs or nodes.
    Mask,
    /// `struct epoll_event`.
    Ready,
    /// `struct flock`.
    Lock,
    /// `struct rlimit`.
    Limit,
    /// `struct sched_attr` or `sched_param`.
    Schedule,
    /// `struct clone_args`.
    Clone,
    /// `struct sembuf`, several.
    Semaphores,
    /// A type and bytes.
    Typed,
    /// `struct mq_attr`.
    Queue,
    /// The addresses of requests that lie in the memory of the second argument.
    Requests,
    /// One of these: `struct iocb`.
    Request,
    /// The head and data of capabilities.
    Capabilities,
    /// A number of 32 bits, which may be a length.
    Int,
    /// A number of 64 bits, which may be an offset or an address.
    Long,
    /// `struct sock_fprog`.
    Filter,
    /// Small numbers: whatever else there is.
    Words,
}

impl Kind {
    /// Whether the argument is an address that the kernel follows.
    #[cfg(test)]
    pub fn is_pointer(self) -> bool {
        matches!(
            self,
            Self::Path
                | Self::Name
                | Self::FileSystem
                | Self::Options
                | Self::Texts
                | Self::In
                | Self::Out
                | Self::Of(_)
                | Self::Or(_)
        )
    }
}

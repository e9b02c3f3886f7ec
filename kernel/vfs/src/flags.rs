//! The flags of `open(2)` and the targets of `lseek(2)`.

use bitflags::bitflags;

bitflags! {
    /// Flags of `open(2)`, with the values of the Linux ABI on x86-64. The access mode is in the low two bits.
    #[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
    pub struct OpenFlags: u32 {
        /// `O_WRONLY`.
        const WRITE_ONLY = 0o1;
        /// `O_RDWR`.
        const READ_WRITE = 0o2;
        /// `O_CREAT`.
        const CREATE = 0o100;
        /// `O_EXCL`.
        const EXCLUSIVE = 0o200;
        /// `O_NOCTTY`.
        const NO_CONTROLLING_TERMINAL = 0o400;
        /// `O_TRUNC`.
        const TRUNCATE = 0o1000;
        /// `O_APPEND`.
        const APPEND = 0o2000;
        /// `O_NONBLOCK`.
        const NONBLOCK = 0o4000;
        /// `O_DSYNC`.
        const DATA_SYNC = 0o10000;
        /// `O_ASYNC`.
        const ASYNC = 0o20000;
        /// `O_DIRECT`.
        const DIRECT = 0o40000;
        /// `O_LARGEFILE`.
        const LARGE_FILE = 0o100000;
        /// `O_DIRECTORY`.
        const DIRECTORY = 0o200000;
        /// `O_NOFOLLOW`.
        const NO_FOLLOW = 0o400000;
        /// `O_NOATIME`.
        const NO_ACCESS_TIME = 0o1000000;
        /// `O_CLOEXEC`.
        const CLOSE_ON_EXEC = 0o2000000;
        /// `__O_SYNC`; `O_SYNC` is this with `O_DSYNC`.
        const SYNC = 0o4000000;
        /// `O_PATH`.
        const PATH = 0o10000000;
        /// `__O_TMPFILE`; `O_TMPFILE` is this with `O_DIRECTORY`.
        const TEMPORARY = 0o20000000;
    }
}

impl OpenFlags {
    /// Whether the access mode allows reading.
    pub const fn reads(self) -> bool {
        self.bits() & 3 != 1 && !self.contains(Self::PATH)
    }

    /// Whether the access mode allows writing.
    pub const fn writes(self) -> bool {
        matches!(self.bits() & 3, 1 | 2) && !self.contains(Self::PATH)
    }
}

/// Where to move a file position, `lseek(2)`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum SeekFrom {
    /// `SEEK_SET`.
    Start(i64),
    /// `SEEK_CUR`.
    Current(i64),
    /// `SEEK_END`.
    End(i64),
    /// `SEEK_DATA`.
    Data(i64),
    /// `SEEK_HOLE`.
    Hole(i64),
}

//! The sets of flags and commands that arguments are chosen from, each under the name that the descriptions use.

use super::kinds::Kind::{self, *};

/// `open(2)`: access, creation, status, and what is mostly one of them.
pub const OPEN: Kind = Bits(&[
    1,
    2,
    0o100,
    0o200,
    0o400,
    0o1000,
    0o2000,
    0o4000,
    0o10000,
    0o200_000,
    0o400_000,
    0o2_000_000,
    0o10_000_000,
    0o20_200_000,
]);
/// `mmap(2)`, protection.
pub const PROTECTION: Kind = Bits(&[1, 2, 4, 1, 2]);
/// `mmap(2)`, flags.
pub const MAP: Kind = Bits(&[
    1, 2, 2, 3, 0x10, 0x20, 0x20, 0x100, 0x2000, 0x4000, 0x8000, 0x1_0000, 0x2_0000, 0x4_0000, 0x8_0000, 0x10_0000,
]);
/// `mremap(2)`.
pub const REMAP: Kind = Bits(&[1, 1, 2, 4]);
/// Flags in the lowest bits.
pub const SMALL_BITS: Kind = Bits(&[1, 2, 4, 8, 16, 32, 64]);
/// `madvise(2)`.
pub const ADVICE: Kind = One(&[0, 1, 2, 3, 4, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21, 22, 23]);
/// The `get` calls of System V.
pub const IPC_FLAGS: Kind = Bits(&[0o600, 0o600, 0o1000, 0o1000, 0o2000, 0o4000, 0o10000, 0o4000]);
/// The `ctl` calls of System V.
pub const IPC_COMMAND: Kind = One(&[0, 1, 2, 3, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20]);
/// `shmat(2)`.
pub const ATTACH: Kind = Bits(&[0o10000, 0o20000, 0o40000, 0o100_000]);
/// Families of sockets.
pub const FAMILY: Kind = One(&[1, 1, 1, 1, 2, 10, 16, 0]);
/// Kinds of sockets, with their flags.
pub const SOCKET_KIND: Kind = One(&[1, 2, 5, 1 | 0o4000, 2 | 0o2_000_000, 5 | 0o4000, 3, 0]);
/// `send(2)` and `recv(2)`; mostly they don't wait.
pub const MESSAGE_FLAGS: Kind = Bits(&[0x40, 0x40, 0x40, 1, 2, 4, 0x20, 0x100, 0x4000, 0x4000_0000]);
/// Levels of socket options.
pub const LEVEL: Kind = One(&[1, 1, 1, 0, 6]);
/// Options at `SOL_SOCKET`.
pub const OPTION: Kind =
    One(&[1, 2, 3, 4, 7, 8, 13, 15, 16, 17, 18, 19, 20, 21, 28, 30, 31, 32, 33, 34, 38, 39, 42, 59, 77]);
/// `clone(2)`, with the signal at the end of the child.
pub const CLONE: Kind = Bits(&[
    17,
    17,
    0x100,
    0x200,
    0x400,
    0x800,
    0x1000,
    0x4000,
    0x8000,
    0x1_0000,
    0x4_0000,
    0x8_0000,
    0x10_0000,
    0x20_0000,
    0x100_0000,
    0x8000_0000,
    0x10d00,
    0x1000_0000,
]);
/// `wait4(2)` and `waitid(2)`; mostly they don't wait.
pub const WAIT: Kind = Bits(&[1, 1, 1, 2, 4, 8, 0x0100_0000, 0x2000_0000, 0x4000_0000, 0x8000_0000]);
/// `fcntl(2)`.
pub const FCNTL: Kind = One(&[
    0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 15, 16, 36, 37, 38, 1024, 1025, 1026, 1027, 1029, 1030, 1031, 1032, 1033,
    1034, 1036,
]);
/// `ioctl(2)`: terminals, pseudo terminals, and what every file has.
pub const REQUEST: Kind = One(&[
    0x5401,
    0x5402,
    0x5403,
    0x5404,
    0x5405,
    0x5406,
    0x5408,
    0x5409,
    0x540a,
    0x540b,
    0x540c,
    0x540d,
    0x540e,
    0x540f,
    0x5410,
    0x5411,
    0x5412,
    0x5413,
    0x5414,
    0x5415,
    0x541b,
    0x5420,
    0x5421,
    0x5422,
    0x5423,
    0x5424,
    0x5425,
    0x5429,
    0x5450,
    0x5451,
    0x5452,
    0x8004_5430,
    0x4004_5431,
    0x8004_5432,
    0x8004_5438,
    0x8004_5439,
    0x8004_5440,
    0x5441,
]);
/// `prctl(2)`.
pub const PRCTL: Kind = One(&[
    1,
    2,
    3,
    4,
    7,
    8,
    13,
    14,
    15,
    16,
    21,
    22,
    23,
    24,
    25,
    26,
    28,
    29,
    30,
    35,
    36,
    37,
    38,
    39,
    40,
    41,
    42,
    47,
    0x5961_6d61,
]);
/// `arch_prctl(2)`, without the base of FS, which the program itself needs.
pub const ARCH: Kind = One(&[0x1001, 0x1003, 0x1004, 0x1011, 0x1012, 0x1022]);
/// `mount(2)`.
pub const MOUNT: Kind =
    Bits(&[1, 2, 4, 8, 16, 32, 4096, 4096, 8192, 16384, 1 << 17, 1 << 18, 1 << 19, 1 << 20, 1 << 21]);
/// `open_tree(2)`.
pub const OPEN_TREE: Kind = Bits(&[1, 1, 1, 0x8_0000, 0x100, 0x1000, 0x8000]);
/// `move_mount(2)`.
pub const MOVE_MOUNT: Kind = Bits(&[1, 2, 4, 4, 0x10, 0x20, 0x40, 0x100]);
/// `fsconfig(2)`.
pub const CONFIGURATION: Kind = One(&[0, 1, 1, 2, 3, 4, 5, 6, 6, 7]);
/// Attributes of a mount.
pub const MOUNT_ATTRIBUTES: Kind = Bits(&[1, 2, 4, 8, 0x10, 0x20, 0x80, 0x20_0000]);
/// Which tree `mount_setattr(2)` changes.
pub const WHICH_TREE: Kind = Bits(&[0x100, 0x800, 0x1000, 0x8000]);
/// The two magic numbers of `reboot(2)`.
pub const MAGIC: Kind = One(&[0xfee1_dead, 672_274_793, 85_072_278]);
/// The commands of `reboot(2)`.
pub const REBOOT: Kind = One(&[0x0123_4567, 0xcdef_0123, 0x4321_fedc, 0, 0x89ab_cdef]);
/// Devices that do nothing but exist, and some that don't.
pub const DEVICE: Kind = One(&[0, 0x103, 0x105, 0xf001]);
/// `futex(2)`.
pub const FUTEX: Kind =
    One(&[0, 1, 3, 4, 5, 9, 10, 128, 129, 131, 132, 133, 137, 138, 6, 7, 8, 11, 12, 128 + 6, 256 + 9, 13]);
/// Clocks, of which some are other tasks'.
pub const CLOCK_ID: Kind = One(&[0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 11, 12, 0xffff_fffa, 0xffff_fffe]);
/// Memory policies and their flags.
pub const POLICY: Kind = One(&[0, 1, 2, 3, 4, 5, 0x8001, 0x4002, 0x8003, 0xc001, 0x2002]);
/// `ptrace(2)`: mostly what makes a tracee, stops it, and lets it go on.
pub const PTRACE: Kind = One(&[
    0, 16, 0x4206, 0x4206, 0x4206, 0x4207, 0x4207, 7, 7, 24, 24, 9, 9, 17, 8, 0x4208, 1, 2, 3, 4, 5, 6, 12, 13, 14, 15,
    0x4200, 0x4201, 0x4202, 0x4203, 0x4204, 0x4205, 0x4209, 0x420a, 0x420b, 0x420c, 0x420d, 0x420e, 31, 31, 32, 33,
]);
/// `seccomp(2)`: mostly a filter.
pub const SECCOMP: Kind = One(&[1, 1, 1, 1, 2, 3, 0]);
/// The flags of a filter.
pub const SECCOMP_FLAGS: Kind = Bits(&[1, 2, 4, 8, 8, 16, 32]);
/// The flags of the calls that end in `at`.
pub const AT: Kind = Bits(&[0x100, 0x200, 0x400, 0x800, 0x1000, 0x2000, 0x4000]);

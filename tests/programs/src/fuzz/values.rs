//! Values for the arguments: what a kind becomes for a call.

use super::kinds::Kind;
use super::{memory, structures};
use crate::choices::Choices;
use std::ffi::CStr;

/// Paths of both: everything in the directory where the tasks work.
const OWN: &[&CStr] = &[
    c"a",
    c"b",
    c"c",
    c"d",
    c"d/x",
    c"d/y",
    c"e/d/x",
    c"e",
    c"link",
    c"loop",
    c"fifo",
    c"sock",
    c"file",
    c"run",
    c"",
    c".",
    c"d/",
    c"a/b",
    c"mount",
    c"mount/x",
    c"mount/y/tasks",
    c"mount/y",
    c"mount/tasks",
    c"./d/./x",
    c"a/very/long/path/of/names/that/are/not/there/because/nobody/made/them/and/nobody/will",
];

/// Paths of root, who must not leave its directory, which is its root directory.
const OF_ROOT: &[&CStr] = &[c"/", c"/d", c"/d/x", c"/mount", c"/e", c"/run", c"/a"];

/// Paths of a plain user: what is root's.
const OF_USER: &[&CStr] = &[
    c"..",
    c"../..",
    c"/",
    c"/tmp",
    c"/init",
    c"/bin/true",
    c"/bin/probe",
    c"/etc/passwd",
    c"/proc/self/status",
    c"/proc/self/fd/5",
    c"/proc/self/exe",
    c"/proc/self/cwd",
    c"/proc/self/mem",
    c"/proc/self/maps",
    c"/proc/1/status",
    c"/proc/1/environ",
    c"/proc/1/oom_score_adj",
    c"/proc/sys/kernel/hostname",
    c"/proc/sys/kernel/pid_max",
    c"/proc/sys/vm/overcommit_memory",
    c"/proc/sysrq-trigger",
    c"/proc/kmsg",
    c"/proc/mounts",
    c"/sys/devices/system/cpu/cpu1/online",
    c"/dev/null",
    c"/dev/zero",
    c"/dev/full",
    c"/dev/kmsg",
    c"/dev/ptmx",
    c"/dev/tty",
    c"/dev/console",
    c"/dev/qemu-exit",
    c"/dev/pts/0",
    c"/tmp/fuzz/box/tasks",
    c"/tmp/fuzz/box/round/tasks",
    c"/tmp/fuzz/box/round/pids.max",
    c"/tmp/fuzz/box/round",
    c"/tmp/fuzz/box/mine",
    c"/tmp/fuzz/roots/open",
    c"/tmp/fuzz/roots/secret",
    c"/tmp/fuzz/roots/directory",
    c"/tmp/fuzz/roots/directory/file",
    c"/tmp/fuzz/roots/sticky/file",
    c"/tmp/fuzz/roots/sticky/mine",
    c"/tmp/fuzz/roots/link",
    c"/tmp/fuzz/roots/set-uid",
    c"/tmp/fuzz/roots/fifo",
    c"/tmp/fuzz/roots/new",
];

/// Names of attributes, queues, hosts.
const NAMES: &[&CStr] = &[
    c"user.a",
    c"user.b",
    c"trusted.a",
    c"security.a",
    c"system.posix_acl_access",
    c"/queue",
    c"/roots-queue",
    c"/",
    c"",
    c"name",
    c"a.b",
    c"user.",
];

/// File systems. Root has none that could take the test with it: see `OPTIONS`.
const FILE_SYSTEMS: &[&CStr] = &[c"tmpfs", c"ramfs", c"proc", c"devpts", c"sysfs", c"container", c"cgroup", c"none"];

/// Options. Of the hierarchies only those that the test is not limited by, and without freezer, which could keep tasks
/// from being ended.
const OPTIONS: &[&CStr] = &[
    c"size=1M",
    c"nr_inodes=20",
    c"mode=0700",
    c"cpuacct",
    c"debug",
    c"cpuacct,debug",
    c"devices",
    c"cpuset",
    c"none,name=x",
    c"size=x",
    c"nonsense",
];

/// Texts for a program's arguments and environment, which do nothing in `probe`.
const TEXTS: &[&CStr] = &[c"nothing", c"x", c"", c"A=B", c"a longer one"];

/// A task's view of itself and its neighbours.
pub struct Place {
    /// Whether it is root.
    pub root: bool,
    /// Tasks of the round, as far as known; zeros where there is none.
    pub tasks: [u64; 16],
    /// Tasks that are nobody's business: init, the test, another of root's. Not for root.
    pub others: [u64; 3],
}

/// The value of an argument. `index` is its place among the arguments: each has its own part of the memory.
pub fn value(kind: Kind, index: usize, place: &Place, choices: &mut Choices) -> u64 {
    match kind {
        Kind::Is(value) => value,
        Kind::One(values) => match choices.below(24) {
            0 => choices.any(),
            1 => choices.below(64),
            _ => choices.one_of(values),
        },
        Kind::Bits(bits) => bits_of(bits, choices),
        Kind::File => file(choices),
        Kind::From => {
            if choices.below(3) == 0 {
                file(choices)
            } else {
                -100_i64 as u64
            }
        }
        Kind::Pid => pid(place, choices),
        Kind::Signal => match choices.below(12) {
            0 => choices.one_of(&[65, u64::MAX, 1 << 31, 100]),
            1..4 => choices.one_of(&[0, 17, 18, 28, 19, 9]),
            // Those whose handlers return, and those that are ignored without one.
            4..9 => choices.one_of(&[10, 12, 14, 34, 64, 23, 17]),
            _ => choices.below(65),
        },
        Kind::User => choices.one_of(&[0, 1000, 1000, 1001, u64::MAX, 0xffff_fffe, 65534]),
        Kind::Mode => choices.one_of(&[
            0,
            0o644,
            0o755,
            0o600,
            0o777,
            0o100_644,
            0o10_644,
            0o20_666,
            0o140_777,
            0o40_755,
            0o4755,
            0o7777,
            0o60_600,
            u64::MAX,
        ]),
        Kind::Size => match choices.below(16) {
            0 => choices.one_of(&[u64::MAX, 1 << 63, 1 << 47, 0x7fff_f000, 1 << 32, (1 << 31) - 1]),
            1..4 => choices.one_of(&[4096, 8192, 65536, 4095, 4097, 1 << 20]),
            4..6 => 0,
            _ => choices.below(300),
        },
        Kind::Count => match choices.below(16) {
            0 => choices.one_of(&[u64::MAX, 1 << 31, 1 << 32, 1024, 1025, 0xffff]),
            1 | 2 => choices.below(130),
            _ => choices.below(9),
        },
        Kind::Offset => match choices.below(12) {
            0 => choices.one_of(&[u64::MAX, 1 << 63, (1 << 63) - 1, 1 << 40, 1 << 32]),
            1..6 => choices.below(40) * 4096,
            _ => choices.below(5000),
        },
        Kind::Small => match choices.below(16) {
            0 => choices.one_of(&[u64::MAX, 1 << 31, (1 << 31) - 1, 1 << 63, 0xffff, -20_i64 as u64]),
            1 => choices.below(300),
            _ => choices.below(13),
        },
        Kind::Any => choices.any() >> choices.below(64),
        Kind::Mapping => memory::mapping(choices),
        Kind::Context => {
            if choices.one_in(8) {
                memory::mapping(choices)
            } else {
                memory::CONTEXT as u64
            }
        }
        Kind::Path => text(path(place, choices), index, choices),
        Kind::Name => text(choices.one_of(NAMES), index, choices),
        Kind::FileSystem => text(choices.one_of(FILE_SYSTEMS), index, choices),
        Kind::Options => text(choices.one_of(OPTIONS), index, choices),
        Kind::Texts => memory::pointer(index, choices, |words, choices| {
            let count = choices.below(4) as usize;
            for word in &mut words[..count] {
                *word = choices.one_of(TEXTS).as_ptr() as u64;
            }
            words[count] = 0;
        }),
        Kind::In => memory::pointer(index, choices, |words, choices| words[..8].fill_with(|| choices.any())),
        Kind::Out => memory::pointer(index, choices, |_, _| {}),
        Kind::Or(_) if choices.one_in(2) => {
            let number = choices.one_of(&[Kind::Small, Kind::Small, Kind::File, Kind::Size, Kind::Any]);
            value(number, index, place, choices)
        }
        Kind::Of(structure) | Kind::Or(structure) => {
            let inner = memory::inner(index);
            memory::pointer(index, choices, |words, choices| structures::fill(structure, words, inner, place, choices))
        }
    }
}

/// A descriptor.
pub fn file(choices: &mut Choices) -> u64 {
    match choices.below(20) {
        0 => choices.one_of(&[u64::MAX, 1 << 31, 1 << 20, 63, 64, 1 << 32]),
        1..4 => choices.below(64),
        _ => 3 + choices.below(super::worker::FILES),
    }
}

/// A task, a group of tasks, or neither.
pub fn pid(place: &Place, choices: &mut Choices) -> u64 {
    match choices.below(10) {
        0 => choices.one_of(&[u64::MAX, 0x7fff_ffff, 4_000_000, 1 << 31]),
        1 => choices.one_of(&place.tasks).wrapping_neg(),
        2 | 3 => 0,
        4 if !place.root => choices.one_of(&place.others),
        _ => choices.one_of(&place.tasks),
    }
}

fn bits_of(bits: &[u64], choices: &mut Choices) -> u64 {
    match choices.below(16) {
        0 => choices.any() >> choices.below(64),
        1..4 => 0,
        _ => (0..1 + choices.below(3)).fold(0, |set, _| set | choices.one_of(bits)),
    }
}

fn path(place: &Place, choices: &mut Choices) -> &'static CStr {
    match choices.below(3) {
        0 if place.root => choices.one_of(OF_ROOT),
        0 => choices.one_of(OF_USER),
        _ => choices.one_of(OWN),
    }
}

fn text(text: &CStr, index: usize, choices: &mut Choices) -> u64 {
    memory::pointer(index, choices, |words, _| {
        let bytes = text.to_bytes_with_nul();
        for (word, bytes) in words.iter_mut().zip(bytes.chunks(8)) {
            let mut whole = [0; 8];
            whole[..bytes.len()].copy_from_slice(bytes);
            *word = u64::from_le_bytes(whole);
        }
    })
}

//! The deliberate differences between Menagerie and Linux 6.1, in one table: what is not compared, or not done, and
//! the section of the rules that says so. Whatever else differs is a defect.

/// How a difference is kept out of the comparison.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum How {
    /// Files of this name are not looked at: one of the two has none.
    Absent(&'static [&'static str]),
    /// The sequences do not do it.
    NotDone,
    /// Both texts are brought into one form.
    SameForm,
    /// The program waits until Linux has done what Menagerie did at once.
    Awaited,
}

/// One line of the table.
#[derive(Clone, Copy, Debug)]
pub struct Difference {
    /// The section of the rules.
    pub section: &'static str,
    /// What differs.
    pub what: &'static str,
    /// What the program does about it.
    pub how: How,
}

const fn difference(section: &'static str, what: &'static str, how: How) -> Difference {
    Difference { section, what, how }
}

use How::{Absent, Awaited, NotDone, SameForm};

/// The table.
pub const TABLE: &[Difference] = &[
    difference(
        "5, 24.2",
        "cgroup.events, cgroup.kill and cgroup.auto_remove in every tree",
        Absent(&["cgroup.events", "cgroup.kill", "cgroup.auto_remove"]),
    ),
    difference("11", "cpuacct.load", Absent(&["cpuacct.load"])),
    difference("13", "pids.peak came to Linux later", Absent(&["pids.peak"])),
    difference(
        "16, 24.2",
        "no memsw, kmem, pressure_level and event_control files",
        Absent(&[
            "cgroup.event_control",
            "memory.pressure_level",
            "memory.kmem.limit_in_bytes",
            "memory.kmem.usage_in_bytes",
            "memory.kmem.max_usage_in_bytes",
            "memory.kmem.failcnt",
            "memory.kmem.slabinfo",
            "memory.kmem.tcp.limit_in_bytes",
            "memory.kmem.tcp.usage_in_bytes",
            "memory.kmem.tcp.max_usage_in_bytes",
            "memory.kmem.tcp.failcnt",
            "memory.memsw.limit_in_bytes",
            "memory.memsw.usage_in_bytes",
            "memory.memsw.max_usage_in_bytes",
            "memory.memsw.failcnt",
        ]),
    ),
    difference("16, 24.2", "kernel memory is not counted, and Linux is told not to (cgroup.memory=nokmem)", SameForm),
    difference("16", "no swap, so no line about it in memory.stat", SameForm),
    difference(
        "16",
        "pages stay with the container that was removed on Linux, and keep it and its hierarchy: no task goes into \
         containers of memory but the root",
        NotDone,
    ),
    difference("16", "bytes are decimal, and too many are unlimited; Linux takes other bases and wraps", NotDone),
    difference("10.1, 24.2", "sched_relax_domain_level ends at 5; Linux's end is the machine's", NotDone),
    difference("1", "the lowest free number for a hierarchy; Linux goes on counting", SameForm),
    difference("9.2", "/proc/<pid>/cgroup descends by number; Linux begins with the newest", SameForm),
    difference("1", "subsystems that only one of the two has", SameForm),
    difference("3", "a directory lists files in order of creation; Linux by a hash", SameForm),
    difference("6", "kernel threads are not moved, and are not compared", SameForm),
    difference("24.2", "umount and rmdir are complete when they return", Awaited),
    difference(
        "3, 24.1",
        "zombies hold up nothing; on Linux they keep the container that they ended in, so they are reaped after rmdir",
        Awaited,
    ),
    difference(
        "2.3",
        "a remount can't change the set, says EBUSY for another name, and keeps all with no data",
        NotDone,
    ),
    difference("2.3", "a remount may set the agent's path while there are containers", NotDone),
    difference("2.2", "favordynmods and cpuset_v2_mode", NotDone),
    difference(
        "2.2",
        "a subsystem's name with a value, and words for the mount itself (ro, sync), in the data",
        NotDone,
    ),
    difference("4", "white space is stripped from both ends in every file; Linux takes one newline in most", NotDone),
    difference(
        "4, 5",
        "a read at offset 0 makes the list of tasks anew; Linux shows the same open file its list for up to a second more",
        NotDone,
    ),
    difference("4", "a write of no bytes does nothing; Linux parses it", NotDone),
    difference(
        "10.2",
        "`all`, `N` and numbers from 2 on in lists of nodes: Linux has 1024 possible nodes on every machine",
        NotDone,
    ),
    difference("1", "a name has at most 255 bytes; Linux takes longer ones", NotDone),
    difference("13", "pids.max is an unsigned number; Linux reads a signed one, so ERANGE begins elsewhere", NotDone),
    difference("18", "more than three letters of access are EINVAL; Linux looks at three", NotDone),
    difference(
        "2.2",
        "security.* attributes are set by who has CAP_SYS_ADMIN; Debian's Linux lets everybody, as its BPF module answers \
         in place of the capabilities",
        NotDone,
    ),
    difference("11", "cpuacct.usage of the root can be reset", NotDone),
];

/// Whether files of this name are left out.
pub fn is_absent(name: &str) -> bool {
    TABLE.iter().any(|line| matches!(line.how, Absent(names) if names.contains(&name)))
}

/// Prints the table, a line for each difference.
pub fn print() {
    for Difference { section, what, how } in TABLE {
        let how = match how {
            Absent(names) => format!("not looked at: {}", names.join(" ")),
            NotDone => "not done".to_owned(),
            SameForm => "brought into the same form".to_owned(),
            Awaited => "waited for".to_owned(),
        };
        println!("{section}: {what} ({how})");
    }
}

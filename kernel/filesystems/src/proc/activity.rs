//! What a task has done: `io`, `sched`, `schedstat`.

use super::{check_inspection, task::TaskFiles, written};
use alloc::string::String;
use base::Errno;
use core::fmt::{self, Write};
use process::{Task, policy};
use sched::Priority;

/// The unit of weights in `sched`: Linux keeps them so many times finer than 1,024 for nice 0.
const LOAD_SCALE: u64 = 1024;

/// `io`: bytes and calls of the `read` and `write` families, of a process those of its children too that were waited for.
/// There is no storage, so nothing is ever fetched from it.
pub(super) fn io(files: &TaskFiles, out: &mut String) -> Result<(), Errno> {
    let task = files.task()?;
    check_inspection(&task)?;
    let counts = if files.process {
        let mut usage = task.process().usage();
        usage.add(&task.process().children_usage());
        usage.transfers
    } else {
        task.transfers().counts()
    };
    written(write!(
        out,
        "rchar: {}\nwchar: {}\nsyscr: {}\nsyscw: {}\nread_bytes: 0\nwrite_bytes: 0\ncancelled_write_bytes: 0\n",
        counts.bytes_read, counts.bytes_written, counts.reads, counts.writes,
    ))
}

/// `schedstat`: ns that the task ran, ns that it waited for a CPU, and how often it ran.
pub(super) fn schedstat(files: &TaskFiles, out: &mut String) -> Result<(), Errno> {
    let task = files.task()?;
    let (ran, waited) = (ran(&task), task.entity().waited_ns());
    let (voluntary, involuntary) = task.entity().switches();
    written(writeln!(out, "{ran} {waited} {}", voluntary + involuntary))
}

/// Up to now for who asks about itself, else up to the last switch or tick.
fn ran(task: &Task) -> u64 {
    sched::account();
    task.entity().user_ns() + task.entity().system_ns()
}

/// `sched`: the lines of Linux's text whose values there are here.
pub(super) fn sched(files: &TaskFiles, out: &mut String) -> Result<(), Errno> {
    written(table(&*files.task()?, out))
}

fn table(task: &Task, out: &mut String) -> fmt::Result {
    let name = String::from_utf8_lossy(task.name().as_bytes()).into_owned();
    writeln!(out, "{name} ({}, #threads: {})\n{:-<67}", task.tid(), task.process().thread_count(), "")?;
    let (ran, (voluntary, involuntary)) = (ran(task), task.entity().switches());
    writeln!(out, "{:<45}:{:>14}.{:06}", "se.sum_exec_runtime", ran / 1_000_000, ran % 1_000_000)?;
    let (nice, policy) = (task.entity().nice(), task.entity().policy());
    let priority = policy.priority().map(Priority::raw);
    let rows = [
        ("nr_switches", voluntary + involuntary),
        ("nr_voluntary_switches", voluntary),
        ("nr_involuntary_switches", involuntary),
        ("se.load.weight", nice.weight().raw() * LOAD_SCALE),
        ("policy", policy::number(policy) as u64),
    ];
    rows.iter().try_for_each(|(name, value)| writeln!(out, "{name:<45}:{value:>21}"))?;
    let deadline = task.entity().deadline();
    // -1 with a deadline, 0 to 98 in real time, else 100 to 139.
    let level = match deadline {
        Some(_) => -1,
        None => priority.map_or(120 + nice.raw(), |priority| 99 - priority as i32),
    };
    writeln!(out, "{:<45}:{level:>21}", "prio")?;
    let Some((deadline, left)) = deadline else { return Ok(()) };
    writeln!(out, "{:<45}:{left:>21}\n{:<45}:{deadline:>21}", "dl.runtime", "dl.deadline")
}

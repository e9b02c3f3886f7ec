//! The long texts about a task: `stat`, `status`, `statm`, `limits`.

use super::{task::TaskFiles, ticks, written};
use alloc::{string::String, sync::Arc};
use base::{Errno, Pid};
use core::fmt::Write;
use machine::cpu;
use memory::space::Resident;
use process::{Resource, Task, limits::INFINITY, policy, status::Usage, terminal};
use sched::{Policy, Priority};

/// How many nodes the masks show, as on Linux.
const NODES: usize = base::MAX_NODES;

fn name(task: &Task) -> String {
    String::from_utf8_lossy(task.name().as_bytes()).into_owned()
}

fn memory_of(task: &Task) -> Option<Resident> {
    task.space().ok().map(|space| space.resident())
}

fn usage(files: &TaskFiles, task: &Task) -> Usage {
    if files.process { task.process().usage() } else { task.usage() }
}

/// `stat`: one line of 52 fields, see `proc(5)`.
pub(super) fn stat(files: &TaskFiles, out: &mut String) -> Result<(), Errno> {
    let task = files.task()?;
    let process = task.process();
    let kinship = process.kinship();
    let own = usage(files, &task);
    let children = process.children_usage();
    let memory = memory_of(&task).unwrap_or_default();
    let signals = task.signal_view();
    let terminal = terminal::of_process(process);
    let device = terminal.as_ref().map_or(0, |terminal| terminal.device().encoded());
    let foreground = terminal.and_then(|terminal| terminal.job_control().foreground()).map_or(-1, |pid| pid.raw());
    let nice = task.entity().nice().raw();
    let own_policy = task.entity().policy();
    let priority = own_policy.priority();
    let number = if files.process { task.pid() } else { task.tid() };
    written(write!(
        out,
        "{number} ({}) {} {} {} {} {device} {foreground} {} ",
        name(&task),
        task.state_name().0,
        kinship.parent(),
        kinship.group(),
        kinship.session(),
        // PF_KTHREAD, the one flag that tools look at.
        if task.is_kernel_thread() { 0x20_0000 } else { 0 },
    ))?;
    written(write!(
        out,
        "{} {} {} {} {} {} {} {} {} {nice} {} 0 {} {} {} {} ",
        own.minor_faults,
        children.minor_faults,
        own.major_faults,
        children.major_faults,
        ticks(own.user),
        ticks(own.system),
        ticks(children.user),
        ticks(children.system),
        // What counts is the priority where there is one: 1 is -2, and 99 is -100; before these go deadlines.
        match own_policy {
            Policy::Deadline(_) => -101,
            _ => priority.map_or(20 + nice, |priority| -1 - priority.raw() as i32),
        },
        process.thread_count(),
        ticks(task.entity().started_at()),
        memory.mapped * 4096,
        memory.anonymous + memory.file + memory.shared,
        process.limit(Resource::Resident),
    ))?;
    let stack = process.program().map_or(0, |program| program.stack);
    // Code and stack pointers are shown to nobody, as to the unprivileged on Linux; then come 31 bits of signals each.
    let low = |set: process::signals::SignalSet| set.bits() & 0x7fff_ffff;
    written(write!(
        out,
        "1 1 {stack} 0 0 {} {} {} {} 0 0 0 {} {} {} {} 0 0 0 ",
        low(signals.pending),
        low(signals.blocked),
        low(signals.ignored),
        low(signals.caught),
        process.exit_signal(),
        task.entity().cpu(),
        priority.map_or(0, Priority::raw),
        policy::number(own_policy),
    ))?;
    let (arguments, environment) =
        process.program().map_or(((0, 0), (0, 0)), |program| (program.arguments, program.environment));
    written(writeln!(
        out,
        "0 0 0 {} {} {} {} {}",
        arguments.0,
        arguments.1,
        environment.0,
        environment.1,
        process.exit_status()
    ))
}

/// `status`: key and value lines, see `proc(5)`.
pub(super) fn status(files: &TaskFiles, out: &mut String) -> Result<(), Errno> {
    let task = files.task()?;
    identity(&task, out).map_err(|_| Errno::ENOMEM)?;
    if let Some(memory) = memory_of(&task) {
        sizes(&memory, out).map_err(|_| Errno::ENOMEM)?;
        written(writeln!(out, "CoreDumping:\t{}", u8::from(task.process().is_dumping())))?;
    }
    signals(&task, out).map_err(|_| Errno::ENOMEM)?;
    rights(&task, out).map_err(|_| Errno::ENOMEM)?;
    places(&task, out).map_err(|_| Errno::ENOMEM)
}

fn identity(task: &Arc<Task>, out: &mut String) -> core::fmt::Result {
    let (letter, word) = task.state_name();
    writeln!(out, "Name:\t{}", name(task))?;
    if let Ok(context) = task.context() {
        writeln!(out, "Umask:\t{:04o}", context.umask().bits())?;
    }
    writeln!(out, "State:\t{letter} ({word})")?;
    let parent = task.process().kinship().parent();
    let tracer = task.tracer().map_or(0, Pid::raw);
    writeln!(out, "Tgid:\t{}\nNgid:\t0\nPid:\t{}\nPPid:\t{parent}", task.pid(), task.tid())?;
    writeln!(out, "TracerPid:\t{tracer}")?;
    let who = task.credentials();
    writeln!(out, "Uid:\t{}\t{}\t{}\t{}", who.uid, who.euid, who.suid, who.fsuid)?;
    writeln!(out, "Gid:\t{}\t{}\t{}\t{}", who.gid, who.egid, who.sgid, who.fsgid)?;
    let open = task.files().map_or(0, |files| files.descriptors().last().map_or(0, |last| last.index() + 1));
    write!(out, "FDSize:\t{}\nGroups:\t", open.next_multiple_of(64))?;
    who.groups.iter().try_for_each(|group| write!(out, "{group} "))?;
    out.push('\n');
    Ok(())
}

fn sizes(memory: &Resident, out: &mut String) -> core::fmt::Result {
    let resident = memory.anonymous + memory.file + memory.shared;
    let rows = [
        ("VmPeak", memory.mapped),
        ("VmSize", memory.mapped),
        ("VmLck", memory.locked),
        ("VmPin", 0),
        ("VmHWM", memory.peak.max(resident)),
        ("VmRSS", resident),
        ("RssAnon", memory.anonymous),
        ("RssFile", memory.file),
        ("RssShmem", memory.shared),
        ("VmData", memory.data),
        ("VmStk", memory.stack),
        ("VmExe", memory.text),
        ("VmLib", 0),
        ("VmPTE", memory.tables),
        ("VmSwap", 0),
    ];
    rows.iter().try_for_each(|(name, pages)| writeln!(out, "{name}:\t{:>8} kB", pages * 4))
}

fn signals(task: &Arc<Task>, out: &mut String) -> core::fmt::Result {
    let view = task.signal_view();
    let limit = task.process().limit(Resource::PendingSignals);
    writeln!(out, "Threads:\t{}\nSigQ:\t{}/{limit}", task.process().thread_count(), view.queued)?;
    let rows = [
        ("SigPnd", view.pending),
        ("ShdPnd", view.shared_pending),
        ("SigBlk", view.blocked),
        ("SigIgn", view.ignored),
        ("SigCgt", view.caught),
    ];
    rows.iter().try_for_each(|(name, set)| writeln!(out, "{name}:\t{:016x}", set.bits()))
}

fn rights(task: &Arc<Task>, out: &mut String) -> core::fmt::Result {
    let who = task.credentials();
    let rows = [
        ("CapInh", who.inheritable),
        ("CapPrm", who.permitted),
        ("CapEff", who.effective),
        ("CapBnd", who.bounding),
        ("CapAmb", who.ambient),
    ];
    rows.iter().try_for_each(|(name, set)| writeln!(out, "{name}:\t{:016x}", set.bits()))?;
    writeln!(out, "NoNewPrivs:\t{}", u8::from(task.has_no_new_privileges()))?;
    writeln!(out, "Seccomp:\t{}\nSeccomp_filters:\t{}", task.filter_mode() as u8, task.filter_count())
}

fn places(task: &Arc<Task>, out: &mut String) -> core::fmt::Result {
    let possible = cpu::possible().iter().last().map_or(1, |last| last.index() + 1);
    let cpus = task.entity().allowed().and(&cpu::possible());
    writeln!(out, "Cpus_allowed:\t{}\nCpus_allowed_list:\t{cpus}", cpus.mask(possible))?;
    let memory = machine::topology::get().nodes_with_memory();
    let nodes = task.allowed_nodes().own.and(&memory);
    writeln!(out, "Mems_allowed:\t{}\nMems_allowed_list:\t{nodes}", nodes.mask(NODES))?;
    let (voluntary, involuntary) = task.entity().switches();
    writeln!(out, "voluntary_ctxt_switches:\t{voluntary}\nnonvoluntary_ctxt_switches:\t{involuntary}")
}

/// `statm`: sizes in pages.
pub(super) fn statm(files: &TaskFiles, out: &mut String) -> Result<(), Errno> {
    let memory = memory_of(&*files.task()?).unwrap_or_default();
    let resident = memory.anonymous + memory.file + memory.shared;
    written(writeln!(
        out,
        "{} {resident} {} {} 0 {} 0",
        memory.mapped,
        memory.file + memory.shared,
        memory.text,
        memory.data + memory.stack,
    ))
}

/// `limits`: the table of `getrlimit(2)`.
pub(super) fn limits(files: &TaskFiles, out: &mut String) -> Result<(), Errno> {
    let limits = files.task()?.process().limits();
    const ROWS: [(Resource, &str, &str); 16] = [
        (Resource::CpuTime, "Max cpu time", "seconds"),
        (Resource::FileSize, "Max file size", "bytes"),
        (Resource::Data, "Max data size", "bytes"),
        (Resource::Stack, "Max stack size", "bytes"),
        (Resource::Core, "Max core file size", "bytes"),
        (Resource::Resident, "Max resident set", "bytes"),
        (Resource::Processes, "Max processes", "processes"),
        (Resource::Files, "Max open files", "files"),
        (Resource::LockedMemory, "Max locked memory", "bytes"),
        (Resource::AddressSpace, "Max address space", "bytes"),
        (Resource::Locks, "Max file locks", "locks"),
        (Resource::PendingSignals, "Max pending signals", "signals"),
        (Resource::MessageQueue, "Max msgqueue size", "bytes"),
        (Resource::Nice, "Max nice priority", ""),
        (Resource::RealTimePriority, "Max realtime priority", ""),
        (Resource::RealTimeTime, "Max realtime timeout", "us"),
    ];
    let value = |limit: u64| match limit {
        INFINITY => String::from("unlimited"),
        limit => alloc::format!("{limit}"),
    };
    written(writeln!(out, "{:<25} {:<20} {:<20} {:<10}", "Limit", "Soft Limit", "Hard Limit", "Units"))?;
    ROWS.iter().try_for_each(|(resource, name, unit)| {
        let limit = limits.get(*resource);
        written(writeln!(out, "{name:<25} {:<20} {:<20} {unit:<10}", value(limit.soft), value(limit.hard)))
    })
}

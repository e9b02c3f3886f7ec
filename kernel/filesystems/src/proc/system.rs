//! The files in the root of /proc that tell of the whole system, and the task numbers beside them.

use super::{
    System, kernel_memory, own_context, population, processor, reports, settings, task::TaskFiles, ticks, written,
    zones,
};
use crate::table::{Child, Children, Directory, Line, Place};
use alloc::{
    string::{String, ToString},
    sync::Arc,
    vec::Vec,
};
use base::{Errno, NodeId, Pid};
use core::fmt::Write;
use machine::{boot, cpu, time};
use memory::{ChargeKind, charge};
use process::{RELEASE, SYSTEM, VERSION};
use vfs::{FileKind, Inode, Link};

/// The root.
pub(super) static ROOT: Directory<System> = Directory {
    id: 0,
    lines: &[
        Line::link("self", |_| Ok(Link::Path(own_number()?)), |_| own_number()),
        Line::link("thread-self", |_| Ok(Link::Path(own_thread()?)), |_| own_thread()),
        Line::link("net", |_| Ok(Link::Path(b"self/net".to_vec())), |_| Ok(b"self/net".to_vec())),
        Line::link("mounts", |_| Ok(Link::Path(b"self/mounts".to_vec())), |_| Ok(b"self/mounts".to_vec())),
        Line::text("buddyinfo", zones::buddyinfo),
        Line::text("cgroups", |_, out| append(out, &population()?.framework().proc_cgroups())),
        Line::text("cmdline", |_, out| written(writeln!(out, "{}", boot::info().command_line))),
        Line::opened("config.gz", 0o444, super::config::open),
        Line::text("containers", |_, out| append(out, &population()?.framework().proc_containers())),
        Line::text("cpuinfo", processor::cpuinfo),
        Line::text("devices", |_, out| append(out, &own_context()?.namespace().registry().list_devices())),
        Line::text("filesystems", |_, out| append(out, &own_context()?.namespace().registry().list())),
        Line::text("interrupts", processor::interrupts),
        Line::opened("kmsg", 0o400, super::log::open),
        Line::text("loadavg", loadavg),
        Line::text("locks", super::locks::locks),
        Line::text("meminfo", meminfo),
        Line::text("schedstat", schedstat),
        Line::private("slabinfo", kernel_memory::slabinfo),
        Line::text("softirqs", processor::softirqs),
        Line::text("stat", stat),
        Line::directory("sys", &settings::SYS),
        Line::order("sysrq-trigger", settings::sysrq),
        Line::directory("sysvipc", &super::sysvipc::SYSVIPC),
        Line::text("uptime", uptime),
        Line::text("vmstat", kernel_memory::vmstat),
        Line::text("zoneinfo", zones::zoneinfo),
        Line::text("version", |_, out| written(writeln!(out, "{SYSTEM} version {RELEASE} {VERSION}"))),
    ],
    children: Some(&Processes),
};

fn append(out: &mut String, text: &str) -> Result<(), Errno> {
    out.push_str(text);
    Ok(())
}

fn own_number() -> Result<Vec<u8>, Errno> {
    Ok(process::current().ok_or(Errno::ENOENT)?.pid().to_string().into_bytes())
}

fn own_thread() -> Result<Vec<u8>, Errno> {
    let task = process::current().ok_or(Errno::ENOENT)?;
    Ok(alloc::format!("{}/task/{}", task.pid(), task.tid()).into_bytes())
}

/// The processes by number, and behind them the reports.
struct Processes;

impl Children<System> for Processes {
    fn next(&self, _: &System, from: u32) -> Option<Child> {
        let process = i32::try_from(from).ok().and_then(|from| population().ok()?.next_process(Pid::new(from)));
        let Some(process) = process else { return reports::next(from) };
        let pid = process.pid();
        let inode = TaskFiles::inode_of(pid);
        Some(Child { key: pid.raw() as u32, name: pid.to_string(), inode, kind: FileKind::Directory })
    }

    fn find(&self, _: &System, name: &str, holder: &Place) -> Result<Arc<dyn Inode>, Errno> {
        // A thread's number is found too, though it is not listed, as on Linux.
        match super::task::parse_number(name) {
            Some(number) => TaskFiles::of_process(number, holder),
            None => reports::find(name, holder),
        }
    }
}

fn loadavg(_: &System, out: &mut String) -> Result<(), Errno> {
    for load in sched::load_averages() {
        // In units of 1/2048; rounded to hundredths as Linux does.
        let load = load + 2048 / 200;
        written(write!(out, "{}.{:02} ", load / 2048, load % 2048 * 100 / 2048))?;
    }
    let population = population()?;
    let (running, all) = (sched::runnable_count(), population.task_count());
    written(writeln!(out, "{running}/{all} {}", population.last_pid()))
}

fn uptime(_: &System, out: &mut String) -> Result<(), Errno> {
    let idle: u64 = cpu::possible().iter().map(|cpu| sched::statistics(cpu).idle).sum();
    let [up, idle] = [time::now(), idle].map(|ns| ns / 10_000_000);
    written(writeln!(out, "{}.{:02} {}.{:02}", up / 100, up % 100, idle / 100, idle % 100))
}

fn stat(_: &System, out: &mut String) -> Result<(), Errno> {
    let mut all = [0; 4];
    let mut switches = 0;
    let mut lines = String::new();
    // The sums go on counting what a CPU did that is offline by now.
    for cpu in cpu::possible().iter() {
        let statistics = sched::statistics(cpu);
        let times = [statistics.user, statistics.nice, statistics.system, statistics.idle];
        all.iter_mut().zip(times).for_each(|(sum, time)| *sum += time);
        switches += statistics.switches;
        if !cpu::online().contains(cpu) {
            continue;
        }
        written(cpu_line(&mut lines, &alloc::format!("cpu{cpu}"), times))?;
    }
    written(cpu_line(out, "cpu ", all))?;
    out.push_str(&lines);
    let boot = time::realtime().saturating_sub(time::now()) / 1_000_000_000;
    let [interrupts, soft] = processor::sums();
    written(write!(
        out,
        "{interrupts}ctxt {switches}\nbtime {boot}\nprocesses {}\nprocs_running {}\nprocs_blocked 0\n{soft}",
        population()?.forks(),
        sched::runnable_count(),
    ))
}

fn cpu_line(out: &mut String, name: &str, times: [u64; 4]) -> core::fmt::Result {
    let [user, nice, system, idle] = times.map(ticks);
    writeln!(out, "{name} {user} {nice} {system} {idle} 0 0 0 0 0 0")
}

/// Linux's version 15: for each CPU how often it switched and how many ns tasks ran there; what is not counted is 0.
fn schedstat(_: &System, out: &mut String) -> Result<(), Errno> {
    written(writeln!(out, "version 15\ntimestamp {}", ticks(time::now())))?;
    for cpu in cpu::online().iter() {
        let statistics = sched::statistics(cpu);
        let (switches, ran) = (statistics.switches, statistics.user + statistics.nice + statistics.system);
        written(writeln!(out, "cpu{cpu} 0 0 {switches} 0 0 0 {ran} 0 {switches}"))?;
    }
    Ok(())
}

/// Pages in KiB.
fn kibibytes(pages: u64) -> u64 {
    pages * 4
}

fn meminfo(_: &System, out: &mut String) -> Result<(), Errno> {
    let frames = memory::frames::total();
    let [anonymous, copies, shared] = [ChargeKind::Anonymous, ChargeKind::Cache, ChargeKind::Shared].map(charge::pages);
    let rows = [
        ("MemTotal", frames.total),
        ("MemFree", frames.free),
        // What a program can have: all that is free but the kernel's reserve, and copies of files that can be dropped.
        ("MemAvailable", frames.free.saturating_sub(memory::frames::reserve()) + copies),
        ("Buffers", 0),
        ("Cached", copies + shared),
        ("SwapCached", 0),
        ("SwapTotal", 0),
        ("SwapFree", 0),
        ("Dirty", 0),
        ("Writeback", 0),
        ("AnonPages", anonymous),
        ("Shmem", shared),
        ("Slab", memory::heap::statistics().frames),
        ("KernelStack", machine::context::stack_bytes() >> 12),
        ("CommitLimit", memory::commitment::limit()),
        ("Committed_AS", memory::commitment::committed()),
    ];
    rows.iter().try_for_each(|(name, pages)| {
        written(writeln!(out, "{:<16}{:>8} kB", alloc::format!("{name}:"), kibibytes(*pages)))
    })
}

/// The text of a node's `meminfo` in /sys.
pub(crate) fn node_meminfo(node: NodeId, out: &mut String) -> Result<(), Errno> {
    let frames = memory::frames::statistics(node);
    let rows = [
        ("MemTotal", frames.total),
        ("MemFree", frames.free),
        ("MemUsed", frames.total.saturating_sub(frames.free)),
        ("Slab", memory::heap::frames_on(node)),
    ];
    rows.iter().try_for_each(|(name, pages)| {
        let name = alloc::format!("{name}:");
        written(writeln!(out, "Node {node} {name:<16}{:>8} kB", kibibytes(*pages)))
    })
}

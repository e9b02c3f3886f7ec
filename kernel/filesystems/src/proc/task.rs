//! /proc/PID and /proc/PID/task/TID: the table of files of a task.

use super::{
    activity, bytes, check_inspection, core_dump, links, mounts, namespaces, net, numa, oom, population,
    process_memory, smaps, status, timers, waiting, written,
};
use crate::table::{Child, Children, Directory, DirectoryInode, Line, Place, Subject};
use alloc::{
    string::{String, ToString},
    sync::Arc,
    vec,
    vec::Vec,
};
use base::{Errno, Gid, Pid, Uid};
use core::{any::Any, fmt::Write};
use process::{Name, Process, Task, core_dump::Dumpable, process_file::ProcessNumber};
use vfs::{FileKind, Inode};

/// A task as the subject of a directory: by number, so that an open directory keeps nothing alive.
#[derive(Clone, Copy)]
pub(super) struct TaskFiles {
    tid: Pid,
    /// The files of the whole process, or of one thread.
    pub(super) process: bool,
}

/// Inode numbers of a task begin at its number times this; descriptors and threads lie in the upper half.
const NUMBERS: u64 = 1 << 34;
/// Where the numbers of the thread's own directory begin.
const THREAD: u64 = 1 << 33;
/// Where the numbers of descriptors begin.
const DESCRIPTORS: u64 = 1 << 32;
/// How far behind them those of their texts lie.
const DESCRIPTOR_TEXTS: u64 = 1 << 31;

impl TaskFiles {
    fn new(tid: Pid, process: bool) -> Self {
        Self { tid, process }
    }

    /// The inode number of /proc/PID.
    pub(super) fn inode_of(pid: Pid) -> u64 {
        Self::new(pid, true).base()
    }

    /// The directory of the process that a number belongs to. `ENOENT`.
    pub(super) fn of_process(number: Pid, holder: &Place) -> Result<Arc<dyn Inode>, Errno> {
        population()?.task(number).ok_or(Errno::ENOENT)?;
        Ok(DirectoryInode::new(holder.clone(), Self::new(number, true), &PROCESS, 0o555))
    }

    /// The task. `ESRCH` it is gone.
    pub(super) fn task(&self) -> Result<Arc<Task>, Errno> {
        population()?.task(self.tid).ok_or(Errno::ESRCH)
    }

    /// The number of the inode of what is told about a descriptor.
    pub(super) fn descriptor_text_inode(&self, descriptor: u32) -> u64 {
        self.descriptor_inode(descriptor) + DESCRIPTOR_TEXTS
    }

    /// The number of the inode of a descriptor.
    pub(super) fn descriptor_inode(&self, descriptor: u32) -> u64 {
        self.base() + DESCRIPTORS + u64::from(descriptor)
    }
}

impl Subject for TaskFiles {
    fn base(&self) -> u64 {
        self.tid.raw() as u64 * NUMBERS + if self.process { 0 } else { THREAD }
    }

    fn owner(&self) -> (Uid, Gid) {
        self.task().map_or((Uid::ROOT, Gid::ROOT), |task| {
            let credentials = task.credentials();
            (credentials.euid, credentials.egid)
        })
    }

    /// Root, for what a process that is not dumpable hides from its own user.
    fn file_owner(&self) -> (Uid, Gid) {
        let is_hidden = |task: Arc<Task>| task.process().dumpable() != Dumpable::Yes;
        if self.task().is_ok_and(is_hidden) { (Uid::ROOT, Gid::ROOT) } else { self.owner() }
    }

    fn exists(&self) -> bool {
        self.task().is_ok()
    }

    fn stands_for(&self) -> Option<Arc<dyn Any + Send + Sync>> {
        if self.process { Some(Arc::new(ProcessNumber(self.tid))) } else { None }
    }
}

/// A name that is a positive number without leading zero.
pub(super) fn parse_number(name: &str) -> Option<Pid> {
    let number: i32 = name.parse().ok()?;
    (number > 0 && name.as_bytes()[0].is_ascii_digit() && !name.starts_with('0')).then_some(Pid::new(number))
}

macro_rules! task_lines {
    ($($more:expr),*) => {
        &[
            Line::opened("auxv", 0o400, bytes::vector),
            Line::text("cgroup", |files, out| append(out, population()?.framework().task_cgroup(&*files.task()?)?)),
            Line::text("cmdline", cmdline),
            Line::setting("comm", comm, store_comm),
            Line::text("container", |files, out| append(out, population()?.framework().task_container(&*files.task()?)?)),
            Line::text("cpuset", |files, out| append(out, population()?.framework().task_cpuset(&*files.task()?)?)),
            Line::link("cwd", links::working_directory, links::working_directory_text),
            Line::private("environ", environ),
            Line::link("exe", links::program, links::program_text),
            Line { name: "fd", mode: 0o500, what: crate::table::What::Directory(&links::DESCRIPTORS) },
            Line::directory("fdinfo", &links::DESCRIPTOR_TEXTS),
            Line::private("io", activity::io),
            Line::text("limits", status::limits),
            Line::records("maps", smaps::maps),
            Line::opened("mem", 0o600, process_memory::open),
            Line::opened("mountinfo", 0o444, mounts::mountinfo),
            Line::opened("mounts", 0o444, mounts::mounts),
            Line::opened("mountstats", 0o400, mounts::mountstats),
            Line::directory("net", &net::NET),
            Line { name: "ns", mode: 0o511, what: crate::table::What::Directory(&namespaces::NAMESPACES) },
            Line::records("numa_maps", numa::maps),
            Line::text("oom_score", oom::score),
            Line::setting("oom_score_adj", oom::adjustment, oom::store_adjustment),
            Line::link("root", links::root, links::root_text),
            Line::text("sched", activity::sched),
            Line::text("schedstat", activity::schedstat),
            Line::records("smaps", smaps::smaps),
            Line::text("smaps_rollup", smaps::rollup),
            Line::private("stack", waiting::stack),
            Line::text("stat", status::stat),
            Line::text("statm", status::statm),
            Line::text("status", status::status),
            Line::private("syscall", waiting::system_call),
            Line::text("wchan", waiting::channel),
            $($more),*
        ]
    };
}

static PROCESS: Directory<TaskFiles> = Directory {
    id: 0,
    lines: task_lines![core_dump::FILTER, Line::directory("task", &THREADS), Line::text("timers", timers::timers)],
    children: None,
};

static THREAD_FILES: Directory<TaskFiles> = Directory { id: 0, lines: task_lines![], children: None };

static THREADS: Directory<TaskFiles> = Directory { id: 2, lines: &[], children: Some(&Threads) };

/// The threads of a process by number.
struct Threads;

impl Children<TaskFiles> for Threads {
    fn next(&self, files: &TaskFiles, from: u32) -> Option<Child> {
        let process = files.task().ok()?.process().clone();
        let tid = thread_numbers(&process).into_iter().filter(|tid| tid.raw() as u32 >= from).min()?;
        let inode = TaskFiles::new(tid, false).base();
        Some(Child { key: tid.raw() as u32, name: tid.to_string(), inode, kind: FileKind::Directory })
    }

    fn find(&self, files: &TaskFiles, name: &str, holder: &Place) -> Result<Arc<dyn Inode>, Errno> {
        let tid = parse_number(name).ok_or(Errno::ENOENT)?;
        let process = files.task()?.process().clone();
        if !thread_numbers(&process).contains(&tid) {
            return Err(Errno::ENOENT);
        }
        Ok(DirectoryInode::new(holder.clone(), TaskFiles::new(tid, false), &THREAD_FILES, 0o555))
    }
}

/// The numbers of a process's threads; of a zombie, its own.
fn thread_numbers(process: &Process) -> Vec<Pid> {
    let mut numbers: Vec<Pid> = process.threads().iter().map(|thread| thread.tid()).collect();
    if !numbers.contains(&process.pid()) {
        numbers.push(process.pid());
    }
    numbers
}

fn append(out: &mut String, text: Vec<u8>) -> Result<(), Errno> {
    out.push_str(&String::from_utf8_lossy(&text));
    Ok(())
}

fn comm(files: &TaskFiles, out: &mut String) -> Result<(), Errno> {
    let name = files.task()?.name();
    written(writeln!(out, "{}", String::from_utf8_lossy(name.as_bytes())))
}

fn store_comm(files: &TaskFiles, text: &[u8]) -> Result<(), Errno> {
    let task = files.task()?;
    let own = process::current().ok_or(Errno::ESRCH)?;
    // Only threads of the same process may name each other.
    if own.pid() != task.pid() {
        return Err(Errno::EINVAL);
    }
    task.set_name(Name::new(text));
    Ok(())
}

/// The most of a program's strings that is shown, so that a text fits into the kernel's memory.
const STRINGS_MAX: u64 = 1 << 20;

/// The strings between two addresses of a task, as they are now.
fn strings(task: &Task, (start, end): (u64, u64), out: &mut String) -> Result<(), Errno> {
    let Ok(space) = task.space() else { return Ok(()) };
    let mut bytes = vec![0; (end.saturating_sub(start)).min(STRINGS_MAX) as usize];
    if space.read(start, &mut bytes).is_ok() {
        out.push_str(&String::from_utf8_lossy(&bytes));
    }
    Ok(())
}

fn cmdline(files: &TaskFiles, out: &mut String) -> Result<(), Errno> {
    let task = files.task()?;
    task.process().program().map_or(Ok(()), |program| strings(&task, program.arguments, out))
}

fn environ(files: &TaskFiles, out: &mut String) -> Result<(), Errno> {
    let task = files.task()?;
    check_inspection(&task)?;
    task.process().program().map_or(Ok(()), |program| strings(&task, program.environment, out))
}

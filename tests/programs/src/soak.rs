//! A storm: eight workers that fork, run programs, move between containers, mount and unmount, for some time.

use crate::{audit, choices::Choices};
use std::{
    fs,
    io::Write,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    thread,
    time::{Duration, Instant},
};

#[derive(Default)]
struct Counts {
    forks: AtomicU64,
    moves: AtomicU64,
    mounts: AtomicU64,
    refused: AtomicU64,
}

pub fn write(path: &Path, text: &str) -> bool {
    fs::OpenOptions::new().write(true).open(path).and_then(|mut file| file.write_all(text.as_bytes())).is_ok()
}

fn mount(options: &str, directory: &Path) -> bool {
    let text = |text: &str| std::ffi::CString::new(text).unwrap_or_default();
    let (source, target, kind, data) =
        (text("soak"), text(&directory.to_string_lossy()), text("container"), text(options));
    // SAFETY: four strings that live until the call is over.
    unsafe { libc::mount(source.as_ptr(), target.as_ptr(), kind.as_ptr(), 0, data.as_ptr().cast()) == 0 }
}

fn umount(directory: &Path) -> bool {
    let target = std::ffi::CString::new(directory.to_string_lossy().as_bytes()).unwrap_or_default();
    // SAFETY: a string that lives until the call is over.
    unsafe { libc::umount2(target.as_ptr(), 0) == 0 }
}

fn work(number: u64, tree: &Path, own: &Path, end: Instant, stop: &AtomicBool, counts: &Counts) {
    let mut choices = Choices::of(&[number]);
    let container = tree.join(format!("worker{number}"));
    while Instant::now() < end && !stop.load(Relaxed) {
        match choices.below(8) {
            0..4 => {
                let child = Command::new("/bin/true").stdin(Stdio::null()).spawn();
                let Ok(mut child) = child else {
                    counts.refused.fetch_add(1, Relaxed);
                    continue;
                };
                write(&container.join("tasks"), &child.id().to_string());
                let _ = child.wait();
                counts.forks.fetch_add(1, Relaxed);
            }
            4 | 5 => {
                let target = if choices.below(2) == 0 { tree } else { &container };
                // The number 0 is the writing thread itself.
                if write(&target.join("tasks"), "0") {
                    counts.moves.fetch_add(1, Relaxed);
                }
            }
            6 => {
                let child = container.join(format!("child{}", choices.below(4)));
                let _ = fs::create_dir(&child);
                let _ = fs::remove_dir(&child);
            }
            _ => {
                if mount("cpuacct", own) {
                    counts.mounts.fetch_add(1, Relaxed);
                    let _ = fs::create_dir(own.join("there"));
                    let _ = fs::remove_dir(own.join("there"));
                    umount(own);
                }
            }
        }
    }
    write(&tree.join("tasks"), "0");
}

/// What must be the same before and after.
#[derive(PartialEq, Debug)]
pub struct Census {
    tasks: String,
    containers: String,
}

impl Census {
    /// Counts, once what has ended is gone. Memory is told apart, in KiB: what is free, and the kernel's stacks, of which
    /// some are kept for later (as many as there are tasks are in use, before as after).
    pub fn take() -> (Self, u64) {
        thread::sleep(Duration::from_millis(200));
        write(Path::new("/proc/sys/vm/drop_caches"), "3");
        let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
        let tasks = read("/proc/loadavg").split(' ').nth(3).unwrap_or_default().to_owned();
        let tasks = tasks.split('/').nth(1).unwrap_or_default().to_owned();
        let memory = read("/proc/meminfo");
        let row = |name: &str| -> Option<u64> {
            memory.lines().find_map(|line| line.strip_prefix(name)?.trim().strip_suffix(" kB")?.parse().ok())
        };
        let free = row("MemFree:").unwrap_or(0) + row("KernelStack:").unwrap_or(0);
        (Self { tasks, containers: read("/proc/containers") }, free)
    }
}

/// A short storm, so that what is made once is there; then the storm, with everything counted before and after.
pub fn run(seconds: u64, directory: &str) -> bool {
    /// What may differ, in KiB: pages of the heap that are held by one object each.
    const SLACK: u64 = 128;
    let _ = fs::create_dir_all(directory);
    if !storm(1, directory) {
        return false;
    }
    let (before, free_before) = Census::take();
    let fine = storm(seconds, directory);
    let (after, free_after) = Census::take();
    println!("tasks {} before, {} after", before.tasks, after.tasks);
    println!("{free_before} KiB free or in stacks before, {free_after} KiB after");
    if before.containers != after.containers {
        println!("containers before:\n{}after:\n{}", before.containers, after.containers);
    }
    fine && before == after && free_after + SLACK >= free_before
}

/// What an audit of the containers finds while each has a task that sleeps, and of the CPU time.
fn audited(tree: &Path, workers: u64) -> Vec<String> {
    let sleeper = || Command::new("/bin/sleep").arg("1000").stdin(Stdio::null()).spawn();
    let mut sleepers: Vec<_> = (0..workers).filter_map(|_| sleeper().ok()).collect();
    for (number, sleeper) in sleepers.iter().enumerate() {
        write(&tree.join(format!("worker{number}/tasks")), &sleeper.id().to_string());
    }
    let mut faults = audit::tasks(tree);
    for sleeper in &mut sleepers {
        let _ = sleeper.kill();
        let _ = sleeper.wait();
    }
    let accounts = tree.with_file_name("accounts");
    let _ = fs::create_dir(&accounts);
    if mount("cpuacct", &accounts) {
        faults.extend(audit::time(&accounts));
        umount(&accounts);
    } else {
        faults.push("cpuacct can't be mounted".into());
    }
    let _ = fs::remove_dir(&accounts);
    faults
}

/// Runs the storm and undoes all of it; whether that was possible.
fn storm(seconds: u64, directory: &str) -> bool {
    const WORKERS: u64 = 8;
    let tree = PathBuf::from(directory).join("tree");
    let _ = fs::create_dir_all(&tree);
    if !mount("cpuset,pids,numtasks,debug", &tree) {
        println!("mount: {}", std::io::Error::last_os_error());
        return false;
    }
    let (stop, counts) = (AtomicBool::new(false), Counts::default());
    let end = Instant::now() + Duration::from_secs(seconds);
    let cpus = fs::read_to_string(tree.join("cpus")).unwrap_or_default();
    let mems = fs::read_to_string(tree.join("mems")).unwrap_or_default();
    let mut failed = Vec::new();
    thread::scope(|scope| {
        for number in 0..WORKERS {
            let container = tree.join(format!("worker{number}"));
            let own = PathBuf::from(directory).join(format!("own{number}"));
            let _ = fs::create_dir_all(&own);
            let _ = fs::create_dir(&container);
            write(&container.join("cpus"), &cpus);
            write(&container.join("mems"), &mems);
            let (tree, counts, stop) = (&tree, &counts, &stop);
            scope.spawn(move || work(number, tree, &own, end, stop, counts));
        }
    });
    failed.extend(audited(&tree, WORKERS));
    for number in 0..WORKERS {
        let container = tree.join(format!("worker{number}"));
        if let Err(error) = fs::remove_dir(&container) {
            failed.push(format!("{}: {error}", container.display()));
        }
        let _ = fs::remove_dir(PathBuf::from(directory).join(format!("own{number}")));
    }
    if !umount(&tree) {
        println!("umount: {}", std::io::Error::last_os_error());
        return false;
    }
    let _ = fs::remove_dir(&tree);
    let load = |count: &AtomicU64| count.load(Relaxed);
    println!(
        "{} forks, {} moves, {} mounts, {} forks refused",
        load(&counts.forks),
        load(&counts.moves),
        load(&counts.mounts),
        load(&counts.refused)
    );
    failed.iter().for_each(|line| println!("{line}"));
    failed.is_empty()
}

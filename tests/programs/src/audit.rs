//! What must hold whenever nothing moves: every task in one container, every count that of the tasks, every nanosecond
//! in an account.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    thread,
    time::Duration,
};

/// How often a thing is looked at that others may change in between.
const LOOKS: usize = 100;

fn read(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_default()
}

fn numbers(text: &str) -> Vec<u64> {
    text.split_ascii_whitespace().filter_map(|word| word.parse().ok()).collect()
}

/// The directory and all below it.
fn containers(directory: &Path, found: &mut Vec<PathBuf>) {
    found.push(directory.to_owned());
    for entry in fs::read_dir(directory).into_iter().flatten().flatten() {
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            containers(&entry.path(), found);
        }
    }
}

/// The numbers of all tasks.
fn all_tasks() -> Vec<u64> {
    let names = |path: &Path| -> Vec<String> {
        let entries = fs::read_dir(path).into_iter().flatten().flatten();
        entries.filter_map(|entry| entry.file_name().into_string().ok()).collect()
    };
    let mut tasks = Vec::new();
    for process in names(Path::new("/proc")).iter().filter(|name| name.parse::<u64>().is_ok()) {
        tasks.extend(
            names(&Path::new("/proc").join(process).join("task")).iter().filter_map(|name| name.parse::<u64>().ok()),
        );
    }
    tasks.sort_unstable();
    tasks
}

/// Whether every task is in exactly one container of the hierarchy at `tree`, each of which counts its tasks and those below
/// right. The faults.
pub fn tasks(tree: &Path) -> Vec<String> {
    let mut faults = Vec::new();
    for _ in 0..LOOKS {
        faults = tasks_now(tree);
        if faults.is_empty() {
            break;
        }
        // A task of somebody else's may have begun or ended meanwhile.
        thread::sleep(Duration::from_millis(20));
    }
    faults
}

fn tasks_now(tree: &Path) -> Vec<String> {
    let mut faults = Vec::new();
    let mut places = Vec::new();
    containers(tree, &mut places);
    let inside: BTreeMap<&PathBuf, Vec<u64>> =
        places.iter().map(|place| (place, numbers(&read(&place.join("tasks"))))).collect();
    let mut listed: Vec<u64> = inside.values().flatten().copied().collect();
    listed.sort_unstable();
    let all = all_tasks();
    if listed != all {
        faults.push(format!("tasks {all:?}, and in containers {listed:?}"));
    }
    for place in &places {
        let below: usize =
            inside.iter().filter(|(other, _)| other.starts_with(place)).map(|(_, tasks)| tasks.len()).sum();
        let own = inside[place].len();
        for (file, wanted) in [("numtasks.current", below), ("pids.current", below), ("debug.taskcount", own)] {
            let path = place.join(file);
            // Not every file is in the root.
            if path.exists() && numbers(&read(&path)) != [wanted as u64] {
                faults.push(format!("{}: {} instead of {wanted}", path.display(), read(&path).trim()));
            }
        }
    }
    faults
}

/// What each CPU ran for tasks, in ns.
fn ran() -> Vec<u64> {
    let text = read(Path::new("/proc/schedstat"));
    text.lines()
        .filter(|line| line.starts_with("cpu"))
        .filter_map(|line| line.split(' ').nth(7)?.parse().ok())
        .collect()
}

/// Binds this thread to one CPU.
fn stay_on(cpu: usize) {
    let mut set = [0_u64; 16];
    set[cpu / 64] |= 1 << (cpu % 64);
    // SAFETY: a mask with its length.
    unsafe { libc::sched_setaffinity(0, size_of_val(&set), set.as_ptr().cast()) };
}

/// Whether the accounts of the root at `tree` are what the CPUs ran for tasks, to the nanosecond. The faults.
///
/// A CPU can be compared while nothing runs there, so the thread that compares goes from one to another. The only CPU there
/// is runs that thread; then its account must lie between what it had run before and after.
pub fn time(tree: &Path) -> Vec<String> {
    let count = ran().len();
    let mut open: Vec<usize> = (0..count).collect();
    let mut last = String::new();
    for look in 0..LOOKS.max(4 * count) {
        stay_on(look % count);
        thread::sleep(Duration::from_millis(5));
        let before = ran();
        let accounts = numbers(&read(&tree.join("cpuacct.usage_percpu")));
        let after = ran();
        if count == 1 && before <= accounts && accounts <= after {
            return sums(tree);
        }
        open.retain(|&cpu| {
            let still = before.get(cpu) == after.get(cpu) && cpu != look % count;
            if still && before.get(cpu) != accounts.get(cpu) {
                last = format!("CPU {cpu} ran {:?} ns, in accounts {:?}", before.get(cpu), accounts.get(cpu));
            }
            !still || before.get(cpu) != accounts.get(cpu)
        });
        if open.is_empty() {
            return sums(tree);
        }
    }
    vec![format!("CPUs {open:?} were never accounted to the nanosecond: {last}")]
}

/// Whether the files of the accounts agree with each other.
fn sums(tree: &Path) -> Vec<String> {
    let of = |file: &str| numbers(&read(&tree.join(file)));
    for _ in 0..LOOKS {
        let (before, each) = (of("cpuacct.usage"), of("cpuacct.usage_percpu"));
        // This thread runs between two reads, so that what is read later may be more.
        let (user, system, after) = (of("cpuacct.usage_user"), of("cpuacct.usage_sys"), of("cpuacct.usage"));
        let sum: u64 = each.iter().sum();
        let parts: u64 = user.iter().chain(&system).sum();
        let within = |value: u64| before.first().is_some_and(|&from| from <= value) && after.first() >= Some(&value);
        if within(sum) && within(parts) {
            return Vec::new();
        }
    }
    vec!["the sums of cpuacct's files do not agree".into()]
}

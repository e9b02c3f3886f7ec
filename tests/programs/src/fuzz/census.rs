//! What must be back after a round: tasks, memory, containers, mounts, objects.

use std::fs;

/// Counts of the system while no task of a round is there.
pub struct Census {
    /// Everything that must be equal, by name.
    exact: Vec<(&'static str, String)>,
    /// Objects of the kernel's heap by size, as `/proc/slabinfo` has them: size, how many are in use.
    heap: Vec<(u64, u64)>,
    /// Memory that is free or in stacks, KiB.
    free: u64,
    /// What `/proc/meminfo` and `/proc/vmstat` say, for who looks where memory has gone.
    memory: String,
}

/// How far free memory may be from where it was, KiB: pages of the heap with one object each, tables, caches of CPUs.
const MEMORY_SLACK: u64 = 1024;
/// By how many objects of one size the heap may have grown since the first census, whatever happened meanwhile. What a
/// call leaks it leaks in each round.
const HEAP_SLACK: u64 = 160;
/// The same of these sizes: each of the 256 queues that locks share, and of those that futex words share, keeps a list of
/// four once somebody has slept there.
const QUEUES: &[u64] = &[64, 384];
const HEAP_SLACK_OF_QUEUES: u64 = HEAP_SLACK + 256;

fn read(path: &str) -> String {
    fs::read_to_string(path).unwrap_or_default()
}

impl Census {
    /// Counts.
    pub fn take() -> Self {
        let _ = fs::write("/proc/sys/vm/drop_caches", "3");
        let tasks =
            read("/proc/loadavg").split(' ').nth(3).and_then(|tasks| tasks.split('/').nth(1)).map(str::to_owned);
        let memory = read("/proc/meminfo");
        let row = |name: &str| -> u64 {
            let found =
                memory.lines().find_map(|line| line.strip_prefix(name)?.trim().strip_suffix(" kB")?.parse().ok());
            found.unwrap_or(0)
        };
        let heap = read("/proc/slabinfo");
        let heap = heap.lines().skip(2).filter_map(|line| {
            let mut words = line.split_ascii_whitespace();
            let size = words.next()?.strip_prefix("kmalloc-")?.parse().ok()?;
            Some((size, words.next()?.parse().ok()?))
        });
        Self {
            exact: vec![
                ("tasks", tasks.unwrap_or_default()),
                ("containers", read("/proc/containers")),
                ("mounts", read("/proc/mounts")),
                ("semaphores", objects("sem")),
                ("messages", objects("msg")),
                ("segments", objects("shm")),
                ("user beancounters", beancounters()),
            ],
            heap: heap.collect(),
            free: row("MemFree:") + row("KernelStack:"),
            memory: memory + &read("/proc/vmstat"),
        }
    }

    /// What has not come back since `first`; of memory only if that is `warm`.
    pub fn differences(&self, first: &Self, warm: bool) -> Vec<String> {
        let mut found = Vec::new();
        for ((name, before), (_, now)) in first.exact.iter().zip(&self.exact) {
            if before != now {
                found.push(format!("{name} before:\n{before}\nand now:\n{now}"));
            }
        }
        if !warm {
            return found;
        }
        if self.free + MEMORY_SLACK < first.free {
            let rows = first.memory.lines().zip(self.memory.lines()).filter(|(before, now)| before != now);
            let rows: Vec<String> = rows.map(|(before, now)| format!("{before}, and now: {now}")).collect();
            let (before, now) = (first.free, self.free);
            found.push(format!("{before} KiB were free or in stacks, and {now} KiB are now:\n{}", rows.join("\n")));
        }
        for ((size, before), (_, now)) in first.heap.iter().zip(&self.heap) {
            if *now > before + if QUEUES.contains(size) { HEAP_SLACK_OF_QUEUES } else { HEAP_SLACK } {
                found.push(format!("{before} objects of {size} bytes were in use, and {now} are now"));
            }
        }
        found
    }

    /// A line for a person who watches.
    pub fn summary(&self, first: &Self) -> String {
        let objects: u64 = self.heap.iter().map(|(_, used)| used).sum();
        let mut text = format!("{} KiB free, {objects} objects in the heap", self.free);
        for ((size, before), (_, now)) in first.heap.iter().zip(&self.heap) {
            if now > before {
                text.push_str(&format!(", {} more of {size}", now - before));
            }
        }
        text
    }
}

/// The keys and numbers of the System V objects of a kind: how they are used may differ.
fn objects(kind: &str) -> String {
    let text = read(&format!("/proc/sysvipc/{kind}"));
    let names = text.lines().map(|line| line.split_ascii_whitespace().take(2).collect::<Vec<_>>().join(" "));
    names.collect::<Vec<_>>().join(", ")
}

/// The names of the accounts of users; what each had at most may differ.
fn beancounters() -> String {
    let text = read("/proc/user_beancounters");
    let accounts =
        text.lines().filter_map(|line| line.split_ascii_whitespace().next().filter(|word| word.ends_with(':')));
    accounts.collect::<Vec<_>>().join(" ")
}

//! Waits for what Linux does after a call has returned: see the lines `Awaited` of [`crate::differences`]. Menagerie
//! gets no such time.

use rustix::mount::{MountFlags, UnmountFlags, mount, unmount};
use std::ffi::CString;
use std::fs;
use std::time::{Duration, Instant};

/// How long Linux may take.
const PATIENCE: Duration = Duration::from_secs(20);

/// Whether this is the system that gets time.
fn is_linux() -> bool {
    std::env::var_os("ORACLE_LINUX").is_some()
}

/// Waits until it is done; whether it came to that.
pub fn until(done: impl FnMut() -> bool) -> bool {
    wait(done, is_linux())
}

/// Waits on either system for what takes its time on both.
pub fn soon(done: impl FnMut() -> bool) -> bool {
    wait(done, true)
}

fn wait(mut done: impl FnMut() -> bool, patient: bool) -> bool {
    let end = Instant::now() + PATIENCE;
    while !done() {
        if !patient || Instant::now() >= end {
            return false;
        }
        std::thread::sleep(Duration::from_micros(500));
    }
    true
}

/// The hierarchies that there are, each as what mounts it: `cpuset,cpuacct`, `none,name=x`.
pub fn hierarchies() -> Vec<String> {
    let text = fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
    let names = text.lines().filter_map(|line| line.split(':').nth(1)).filter(|names| !names.is_empty());
    names.map(|names| if names.starts_with("name=") { format!("none,{names}") } else { names.to_owned() }).collect()
}

/// The number of containers in the hierarchy of that subsystem.
pub fn containers(subsystem: &str) -> usize {
    let of = |line: &str| {
        let mut words = line.split('\t');
        (words.next() == Some(subsystem)).then(|| words.nth(1)?.parse().ok()).flatten()
    };
    counts().lines().find_map(of).unwrap_or(0)
}

/// The subsystems with the number of their containers.
pub fn counts() -> String {
    fs::read_to_string("/proc/cgroups").unwrap_or_default()
}

/// How long a hierarchy may take to go before this looks after it: several times what Linux needs if nothing is in
/// its way.
const FIRST_LOOK: Duration = Duration::from_millis(100);

/// After the last umounts of hierarchies without containers, each with its place and what mounts it: waits until they
/// are gone. Linux lets one stay for good if a container that was removed was not wholly gone at that moment; mounting
/// it once more and unmounting it helps then. Only then: one that is just going is made anew by a mount, which waits
/// for its end.
pub fn dissolved(unmounted: &[(String, String)]) -> bool {
    let (mut since, mut pause) = (Instant::now(), FIRST_LOOK);
    until(|| {
        let listed = hierarchies();
        let mut staying = unmounted.iter().filter(|(_, data)| listed.contains(data)).peekable();
        if staying.peek().is_none() {
            return true;
        }
        if is_linux() && since.elapsed() > pause {
            for (top, data) in staying {
                let Ok(data) = CString::new(data.as_str()) else { continue };
                if mount("fuzz", top.as_str(), "cgroup", MountFlags::empty(), data.as_c_str()).is_ok() {
                    // If it is busy, the next try comes.
                    let _ = unmount(top.as_str(), UnmountFlags::empty());
                }
            }
            (since, pause) = (Instant::now(), pause * 2);
        }
        false
    })
}

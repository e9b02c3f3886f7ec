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

/// The number of hierarchies.
pub fn hierarchies() -> usize {
    fs::read_to_string("/proc/self/cgroup").unwrap_or_default().lines().count()
}

/// The subsystems with the number of their containers.
pub fn counts() -> String {
    fs::read_to_string("/proc/cgroups").unwrap_or_default()
}

/// How long a hierarchy may take to go before this looks after it: several times what Linux needs if nothing is in
/// its way.
const FIRST_LOOK: Duration = Duration::from_millis(400);

/// After the last umount of a hierarchy without containers: waits until it is gone. Linux lets it stay for good if a
/// container that was removed was not wholly gone at that moment; mounting it once more with `data` and unmounting it
/// helps then. Only then: one that is just going is made anew by a mount, which waits for its end.
pub fn dissolved(top: &str, data: &str, before: usize) -> bool {
    let Ok(data) = CString::new(data) else { return false };
    let (mut since, mut pause) = (Instant::now(), FIRST_LOOK);
    until(|| {
        if hierarchies() < before {
            return true;
        }
        if is_linux() && since.elapsed() > pause {
            if mount("fuzz", top, "cgroup", MountFlags::empty(), data.as_c_str()).is_ok() {
                // If it is busy, the next try comes.
                let _ = unmount(top, UnmountFlags::empty());
            }
            (since, pause) = (Instant::now(), pause * 2);
        }
        false
    })
}

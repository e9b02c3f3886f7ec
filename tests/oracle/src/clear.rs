//! Puts everything back as it was before a sequence.

use crate::settle;
use crate::world::{PLACES, directories_in};
use rustix::mount::{MountFlags, UnmountFlags, mount, unmount};
use std::ffi::CString;
use std::fs;

/// What the roots keep when their hierarchy goes, as it is at boot. In this order: a flag may need another.
const AT_BOOT: &[(&str, &str)] = &[
    ("cpu_exclusive", "1"),
    ("mem_exclusive", "1"),
    ("mem_hardwall", "0"),
    ("sched_load_balance", "1"),
    ("sched_relax_domain_level", "-1"),
    ("memory_migrate", "0"),
    ("memory_spread_page", "0"),
    ("memory_spread_slab", "0"),
    ("memory_pressure_enabled", "0"),
];

/// Clears what is mounted at a place; `counted` if it has a subsystem, which counts its containers.
pub fn place(place: usize, counted: bool, troubles: &mut Vec<String>) {
    let top = format!("/m/{place}");
    // Where the task is already there, or the hierarchy goes anyway, nothing is lost if this fails.
    let _ = fs::write(format!("{top}/tasks"), "0");
    remove_below(&top, counted, troubles);
    for (name, value) in AT_BOOT {
        let put = |path: String| fs::OpenOptions::new().write(true).open(path).map(|file| (file, value));
        let file = put(format!("{top}/cpuset.{name}")).or_else(|_| put(format!("{top}/{name}")));
        if let Ok((mut file, value)) = file
            && let Err(error) = std::io::Write::write(&mut file, value.as_bytes())
        {
            troubles.push(format!("{top} {name}: {error}"));
        }
    }
}

/// Unmounts a place. With `data` it is the last mount of a hierarchy that must go now.
pub fn unmount_place(place: usize, data: Option<&str>, hierarchies: usize, troubles: &mut Vec<String>) {
    let top = format!("/m/{place}");
    if unmount(top.as_str(), UnmountFlags::empty()).is_err() {
        troubles.push(format!("{top} stays mounted"));
    } else if data.is_some_and(|data| !settle::dissolved(&top, data, hierarchies)) {
        troubles.push(format!("{top}: its hierarchy stays"));
    }
}

fn remove_below(path: &str, counted: bool, troubles: &mut Vec<String>) {
    for child in directories_in(path) {
        let child = format!("{path}/{child}");
        remove_below(&child, counted, troubles);
        let before = settle::counts();
        if let Err(error) = fs::remove_dir(&child) {
            troubles.push(format!("{child}: {error}"));
        } else if counted && !settle::until(|| settle::counts() != before) {
            troubles.push(format!("{child} stays"));
        }
    }
}

/// Clears the hierarchies that go on without a mount.
pub fn persisting(troubles: &mut Vec<String>) {
    let text = fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
    for line in text.lines() {
        let Some(names) = line.split(':').nth(1).filter(|names| !names.is_empty()) else { continue };
        let data = if names.starts_with("name=") { format!("none,{names}") } else { names.to_owned() };
        let Ok(word) = CString::new(data.as_str()) else { continue };
        let (last, hierarchies) = (PLACES - 1, settle::hierarchies());
        // A hierarchy that is just going on Linux can't be mounted any more, and need not be.
        if mount("fuzz", format!("/m/{last}").as_str(), "cgroup", MountFlags::empty(), word.as_c_str()).is_ok() {
            place(last, !names.starts_with("name="), troubles);
            unmount_place(last, Some(&data), hierarchies, troubles);
        }
    }
}

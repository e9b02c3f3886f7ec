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

/// What is mounted at a place.
pub struct Mounted<'a> {
    /// The place.
    pub top: String,
    /// One of its subsystems, which counts its containers.
    pub subsystem: Option<&'a str>,
    /// What mounts it.
    pub data: &'a str,
}

/// Clears the hierarchies that are mounted and unmounts them. What Linux takes its time for is awaited for all
/// of them at once.
pub fn mounted(places: &[Mounted<'_>], troubles: &mut Vec<String>) {
    places.iter().for_each(|mounted| put_in_order(&mounted.top, troubles));
    let alone = |mounted: &Mounted<'_>| mounted.subsystem.is_none_or(|name| settle::containers(name) <= 1);
    if !settle::until(|| places.iter().all(alone)) {
        troubles.push("containers stay".to_owned());
    }
    for Mounted { top, .. } in places {
        if unmount(top.as_str(), UnmountFlags::empty()).is_err() {
            troubles.push(format!("{top} stays mounted"));
        }
    }
    let unmounted = places.iter().map(|mounted| (mounted.top.clone(), mounted.data.to_owned()));
    if !settle::dissolved(&unmounted.collect::<Vec<_>>()) {
        troubles.push("a hierarchy stays".to_owned());
    }
}

/// Moves this task to the root, removes all containers and gives the root's files what they have at boot.
fn put_in_order(top: &str, troubles: &mut Vec<String>) {
    // Where the task is already there, or the hierarchy goes anyway, nothing is lost if this fails.
    let _ = fs::write(format!("{top}/tasks"), "0");
    remove_below(top, troubles);
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

fn remove_below(path: &str, troubles: &mut Vec<String>) {
    for child in directories_in(path) {
        let child = format!("{path}/{child}");
        remove_below(&child, troubles);
        if let Err(error) = fs::remove_dir(&child) {
            troubles.push(format!("{child}: {error}"));
        }
    }
}

/// Clears the hierarchies that go on without a mount.
pub fn persisting(troubles: &mut Vec<String>) {
    for data in settle::hierarchies() {
        let top = format!("/m/{}", PLACES - 1);
        let Ok(word) = CString::new(data.as_str()) else { continue };
        // A hierarchy that is just going on Linux can't be mounted any more, and need not be.
        if mount("fuzz", top.as_str(), "cgroup", MountFlags::empty(), word.as_c_str()).is_ok() {
            let subsystem = data.split(',').next().filter(|name| *name != "none");
            mounted(&[Mounted { top, subsystem, data: &data }], troubles);
        }
    }
}

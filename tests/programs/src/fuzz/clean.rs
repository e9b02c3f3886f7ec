//! What stands before a round, and what is taken away after it: containers, file systems, objects.

use super::{CONTAINER, PATIENCE, WORK};
use libc::*;
use std::ffi::CString;
use std::fs;
use std::os::fd::AsRawFd;
use std::os::unix::fs::{PermissionsExt, chown, symlink};
use std::path::Path;
use std::ptr::{null, null_mut};
use std::thread::sleep;
use std::time::{Duration, Instant};

/// The hierarchy of the test.
const HIERARCHY: &str = "/tmp/fuzz/box";

/// What a round may use: tasks by two controllers, and memory.
const LIMITS: &[(&str, &str)] = &[("pids.max", "48"), ("numtasks.limit", "56"), ("memory.limit_in_bytes", "48M")];

fn text(text: &str) -> CString {
    CString::new(text).unwrap_or_default()
}

fn mount_at(kind: &str, target: &str, options: &str) -> Result<(), String> {
    let (kind, target_text, options) = (text(kind), text(target), text(options));
    // SAFETY: texts that live until the call is over.
    let result = unsafe { mount(kind.as_ptr(), target_text.as_ptr(), kind.as_ptr(), 0, options.as_ptr().cast()) };
    if result == 0 { Ok(()) } else { Err(format!("mount on {target}: {}", std::io::Error::last_os_error())) }
}

fn unmount(target: &str) -> std::io::Result<()> {
    let target = text(target);
    // SAFETY: a text that lives until the call is over.
    if unsafe { umount2(target.as_ptr(), 0) } == 0 { Ok(()) } else { Err(std::io::Error::last_os_error()) }
}

/// Brings the programs of the initramfs into memory whole. The first task that executes one would do so page by page, and
/// what has come stays.
fn load_programs() {
    let in_bin = fs::read_dir("/bin").into_iter().flatten().flatten().map(|entry| entry.path());
    for path in in_bin.chain(["/init".into()]) {
        let Some(file) = fs::symlink_metadata(&path).ok().filter(fs::Metadata::is_file).and(fs::File::open(&path).ok())
        else {
            continue;
        };
        let length = file.metadata().map_or(0, |metadata| metadata.len() as usize);
        // SAFETY: a new mapping at a place of the kernel's choice, of a file that nobody shortens; only its own bytes are
        // read, and it is taken away when they have been.
        unsafe {
            let bytes = mmap(null_mut(), length, PROT_READ, MAP_SHARED, file.as_raw_fd(), 0);
            if bytes != MAP_FAILED {
                for offset in (0..length).step_by(4096) {
                    bytes.cast::<u8>().add(offset).read_volatile();
                }
                munmap(bytes, length);
            }
        }
    }
}

/// Once: the hierarchy.
pub fn lay_out() -> Result<(), String> {
    load_programs();
    for directory in [HIERARCHY, WORK] {
        fs::create_dir_all(directory).map_err(|error| format!("{directory}: {error}"))?;
    }
    mount_at("container", HIERARCHY, "pids,numtasks,memory")
}

/// The last thing: the hierarchy goes.
pub fn take_away() -> Result<(), String> {
    unmount(HIERARCHY).map_err(|error| format!("{HIERARCHY}: {error}"))?;
    fs::remove_dir_all("/tmp/fuzz").map_err(|error| format!("/tmp/fuzz: {error}"))
}

/// A new container, and a new file system with a few files, which belong to the tasks. Gives back the directory where they
/// work: the file system's own or, with `inside`, one in it, so that root can't unmount what it lives in and mount no more.
pub fn before_round(root: bool, inside: bool) -> Result<fs::File, String> {
    let fine = |result: std::io::Result<()>, what: &str| result.map_err(|error| format!("{what}: {error}"));
    fine(fs::create_dir(CONTAINER), CONTAINER)?;
    for (name, value) in LIMITS {
        fine(fs::write(Path::new(CONTAINER).join(name), value), name)?;
    }
    // The child writes itself into `tasks` before it gives up its rights.
    mount_at("tmpfs", WORK, "size=8M,nr_inodes=300,mode=0755")?;
    let work = if inside { format!("{WORK}/inside") } else { WORK.to_owned() };
    fine(fs::create_dir_all(&work), &work)?;
    let path = |name: &str| format!("{work}/{name}");
    for name in ["d", "e", "mount"] {
        fine(fs::create_dir(path(name)), name)?;
    }
    fine(fs::write(path("file"), [b'x'; 10_000]), "file")?;
    fine(fs::copy("/proc/self/exe", path("run")).map(drop), "run")?;
    fine(fs::set_permissions(path("run"), fs::Permissions::from_mode(0o755)), "run")?;
    fine(symlink("file", path("link")), "link")?;
    fine(symlink("loop", path("loop")), "loop")?;
    let fifo = text(&path("fifo"));
    // SAFETY: a text that lives until the call is over.
    unsafe { mkfifo(fifo.as_ptr(), 0o644) };
    if !root {
        for name in ["", "d", "e", "mount", "file", "run", "fifo"] {
            fine(chown(path(name), Some(1000), Some(1000)), name)?;
        }
    }
    fs::File::open(&work).map_err(|error| format!("{work}: {error}"))
}

/// Takes away what the tasks of a round have left. The container is empty.
pub fn after_round() -> Result<(), String> {
    let begun = Instant::now();
    // What was mounted in it, until nothing is left at or below the place: the last one first, but what was mounted below
    // a place that had been covered is out of sight until the cover is gone.
    loop {
        let targets = below(WORK);
        if targets.is_empty() {
            break;
        }
        let mut refused = String::new();
        let gone = targets.iter().rev().any(|target| {
            containers(Path::new(target));
            let result = unmount(target);
            refused.extend(result.as_ref().err().map(|error| format!("\n{target}: {error}")));
            result.is_ok()
        });
        if !gone {
            if begun.elapsed() > PATIENCE {
                let mounts = fs::read_to_string("/proc/mounts").unwrap_or_default();
                return Err(format!("what is below {WORK} can't be unmounted: {mounts}{refused}"));
            }
            sleep(Duration::from_millis(5));
        }
    }
    abandoned()?;
    // All mounts of it are one file system, which root may have made read-only through its own.
    let (place, flags) = (text("/sys"), MS_REMOUNT | MS_NOSUID | MS_NODEV | MS_NOEXEC);
    // SAFETY: a text that lives until the call is over.
    unsafe { mount(null(), place.as_ptr(), null(), flags, null()) };
    while let Err(error) = fs::remove_dir(CONTAINER) {
        if begun.elapsed() > PATIENCE {
            return Err(format!("{CONTAINER}: {error}"));
        }
        sleep(Duration::from_millis(5));
    }
    // What a user may make outside.
    for directory in ["/tmp", "/dev/shm"] {
        for entry in fs::read_dir(directory).into_iter().flatten().flatten().filter(|entry| entry.file_name() != "fuzz")
        {
            let _ = if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                fs::remove_dir_all(entry.path())
            } else {
                fs::remove_file(entry.path())
            };
        }
    }
    let _ = fs::write("/proc/sys/kernel/hostname", "menagerie");
    let _ = fs::write("/proc/sys/kernel/domainname", "(none)");
    Ok(())
}

/// Where something is mounted at or below a place, in the order in which it was.
fn below(place: &str) -> Vec<String> {
    let mounts = fs::read_to_string("/proc/mounts").unwrap_or_default();
    let targets = mounts.lines().filter_map(|line| line.split(' ').nth(1));
    targets.filter(|target| target.starts_with(place)).map(str::to_owned).collect()
}

/// Dissolves hierarchies that are mounted nowhere: one that was unmounted before its containers were removed stays.
///
/// Errors: one can't be mounted again.
fn abandoned() -> Result<(), String> {
    let place = "/tmp/fuzz/abandoned";
    fs::create_dir_all(place).map_err(|error| format!("{place}: {error}"))?;
    let text = fs::read_to_string("/proc/containers").unwrap_or_default();
    for line in text.lines().filter(|line| line.split(' ').any(|word| word == "mounts=0")) {
        let value = |key: &str| line.split(' ').find_map(|word| word.strip_prefix(key));
        let subsystems = line.split(['(', ')']).nth(1).unwrap_or_default().replace(", ", ",");
        let subsystems = if subsystems.is_empty() { "none".to_owned() } else { subsystems };
        let name = value("name=").map(|name| format!(",name={name}")).unwrap_or_default();
        mount_at(value("dialect=").unwrap_or("container"), place, &format!("{subsystems}{name}"))?;
        containers(Path::new(place));
        unmount(place).map_err(|error| format!("{place}: {error}"))?;
    }
    Ok(())
}

/// Removes the containers of a hierarchy, deepest first.
fn containers(directory: &Path) {
    if !directory.join("tasks").exists() {
        return;
    }
    for entry in fs::read_dir(directory).into_iter().flatten().flatten() {
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            containers(&entry.path());
            let _ = fs::remove_dir(entry.path());
        }
    }
}

/// Removes all System V objects, and the queues by whatever names.
///
/// Errors: the queues can't be seen.
pub fn objects() -> Result<(), String> {
    for (kind, remove) in [("shm", 0), ("sem", 1), ("msg", 2)] {
        let text = fs::read_to_string(format!("/proc/sysvipc/{kind}")).unwrap_or_default();
        for line in text.lines().skip(1) {
            let mut words = line.split_ascii_whitespace().map(|word| word.parse::<i32>().unwrap_or(0));
            let Some(number) = words.nth(1) else { continue };
            // SAFETY: commands without an address.
            unsafe {
                match remove {
                    0 => shmctl(number, IPC_RMID, std::ptr::null_mut()),
                    1 => semctl(number, 0, IPC_RMID),
                    _ => msgctl(number, IPC_RMID, std::ptr::null_mut()),
                };
            }
        }
    }
    let place = "/tmp/fuzz/queues";
    fs::create_dir_all(place).map_err(|error| format!("{place}: {error}"))?;
    mount_at("mqueue", place, "")?;
    let own = |queue: &fs::DirEntry| queue.file_name() == "roots-queue";
    for queue in fs::read_dir(place).into_iter().flatten().flatten().filter(|queue| !own(queue)) {
        let _ = fs::remove_file(queue.path());
    }
    unmount(place).map_err(|error| format!("{place}: {error}"))
}

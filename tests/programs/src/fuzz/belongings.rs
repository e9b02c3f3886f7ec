//! What root owns, and how it is: no round of a plain user's may change any of it.

use libc::*;
use std::fs::{self, Metadata};
use std::os::unix::fs::{MetadataExt, PermissionsExt, lchown, symlink};
use std::path::{Path, PathBuf};

/// Root's files for the tasks to try on.
pub const DIRECTORY: &str = "/tmp/fuzz/roots";

/// Trees that are looked at, with contents where the files are small.
const TREES: &[&str] = &[DIRECTORY, "/bin", "/etc", "/init", "/root", "/sbin", "/proc/sys", "/tmp/fuzz/box"];

/// What of `/proc/PID` says what a task is, and not what it did.
const OF_A_TASK: &[&str] = &["cgroup", "limits", "oom_score_adj", "comm", "cmdline", "environ", "mounts"];

/// The lines of `/proc/PID/status` of the same kind.
const STATUS: &[&str] = &[
    "Name",
    "Umask",
    "Tgid",
    "PPid",
    "Uid",
    "Gid",
    "Groups",
    "Threads",
    "SigPnd",
    "ShdPnd",
    "SigBlk",
    "SigIgn",
    "SigCgt",
    "CapInh",
    "CapPrm",
    "CapEff",
    "CapBnd",
    "CapAmb",
    "NoNewPrivs",
    "Seccomp",
    "Seccomp_filters",
    "Cpus_allowed",
    "Mems_allowed",
];

/// Root's things.
pub struct Belongings {
    /// A process of root's that only waits.
    witness: pid_t,
    semaphores: c_int,
    queue: c_int,
    /// The devices, with the mode and the owners that they began with.
    devices: Vec<(PathBuf, Metadata)>,
}

impl Belongings {
    /// Makes them.
    pub fn lay_out() -> std::io::Result<Self> {
        fs::create_dir_all(format!("{DIRECTORY}/directory"))?;
        fs::create_dir_all(format!("{DIRECTORY}/sticky"))?;
        let modes = [
            ("open", 0o644),
            ("secret", 0o600),
            ("directory/file", 0o666),
            ("sticky/file", 0o644),
            ("set-uid", 0o4644),
        ];
        for (name, mode) in modes {
            let path = format!("{DIRECTORY}/{name}");
            fs::write(&path, "root's\n")?;
            fs::set_permissions(&path, fs::Permissions::from_mode(mode))?;
        }
        fs::set_permissions(format!("{DIRECTORY}/directory/file"), fs::Permissions::from_mode(0o644))?;
        fs::set_permissions(format!("{DIRECTORY}/sticky"), fs::Permissions::from_mode(0o1755))?;
        symlink("secret", format!("{DIRECTORY}/link"))?;
        // SAFETY: this process has one thread; the child does nothing but wait. Literals that end in NUL and structures that live until the call is over.
        unsafe {
            let witness = fork();
            if witness == 0 {
                loop {
                    pause();
                }
            }
            mkfifo(c"/tmp/fuzz/roots/fifo".as_ptr(), 0o600);
            let mut attributes: mq_attr = std::mem::zeroed();
            (attributes.mq_maxmsg, attributes.mq_msgsize) = (4, 64);
            let queue = mq_open(c"/roots-queue".as_ptr(), O_RDWR | O_CREAT | O_NONBLOCK, 0o600, &raw mut attributes);
            mq_send(queue, c"x".as_ptr(), 1, 0);
            let devices = fs::read_dir("/dev")?.flatten().map(|entry| entry.path());
            let devices = devices.filter_map(|path| Some((path.clone(), path.symlink_metadata().ok()?)));
            Ok(Self { witness, semaphores: -1, queue, devices: devices.collect() })
        }
    }

    /// Makes root's System V objects, which a round of root may use up and the end of each round takes away.
    pub fn make_objects(&mut self) {
        // SAFETY: takes no address but that of a type and a byte, which are there.
        unsafe {
            shmget(IPC_PRIVATE, 4096, IPC_CREAT | 0o600);
            self.semaphores = semget(IPC_PRIVATE, 2, IPC_CREAT | 0o600);
            msgsnd(msgget(IPC_PRIVATE, IPC_CREAT | 0o600), [1_i64, 0].as_ptr().cast(), 1, IPC_NOWAIT);
        }
    }

    /// Gives the devices back to root: a task of root's may have given one that it has open to somebody else, who may
    /// do with it what he likes.
    pub fn take_devices_back(&self) {
        for (path, metadata) in &self.devices {
            let _ = lchown(path, Some(metadata.uid()), Some(metadata.gid()));
            if !metadata.is_symlink() {
                let _ = fs::set_permissions(path, metadata.permissions());
            }
        }
    }

    /// The process that waits.
    pub fn witness(&self) -> u32 {
        self.witness as u32
    }

    /// How all of it is, a line for each thing.
    pub fn look(&self) -> Vec<String> {
        let mut lines = Vec::new();
        for tree in TREES {
            look_at(Path::new(tree), &mut lines);
        }
        for entry in fs::read_dir("/dev").into_iter().flatten().flatten() {
            describe(&entry.path(), false, &mut lines);
        }
        for process in [1, std::process::id(), self.witness()] {
            look_at_task(process, &mut lines);
        }
        for (kind, creator) in [("shm", 9), ("sem", 6), ("msg", 9)] {
            let text = fs::read_to_string(format!("/proc/sysvipc/{kind}")).unwrap_or_default();
            let roots = text.lines().filter(|line| line.split_ascii_whitespace().nth(creator) == Some("0"));
            lines.extend(roots.map(|line| format!("{kind}: {line}")));
        }
        for path in ["/proc/mounts", "/proc/containers"] {
            lines.push(format!("{path}: {}", fs::read_to_string(path).unwrap_or_default()));
        }
        // SAFETY: structures that live until the call is over.
        unsafe {
            let mut attributes: mq_attr = std::mem::zeroed();
            mq_getattr(self.queue, &raw mut attributes);
            lines.push(format!("queue: {} messages", attributes.mq_curmsgs));
            lines.push(format!("semaphore: {}", semctl(self.semaphores, 0, GETVAL)));
        }
        lines
    }

    /// Takes them away.
    pub fn clear(&mut self) {
        // SAFETY: no status is asked for; a literal that ends in NUL.
        unsafe {
            kill(self.witness, SIGKILL);
            waitpid(self.witness, std::ptr::null_mut(), 0);
            close(self.queue);
            mq_unlink(c"/roots-queue".as_ptr());
        }
    }
}

fn look_at(path: &Path, lines: &mut Vec<String>) {
    describe(path, true, lines);
    if path.symlink_metadata().is_ok_and(|metadata| metadata.is_dir()) {
        let mut below: Vec<_> = fs::read_dir(path).into_iter().flatten().flatten().map(|entry| entry.path()).collect();
        below.sort();
        below.iter().for_each(|path| look_at(path, lines));
    }
}

/// Owner, mode, size, and what is in it if that is short. Control files of tasks and times of use differ by themselves.
fn describe(path: &Path, with_contents: bool, lines: &mut Vec<String>) {
    const SHORT: u64 = 4096;
    let Ok(metadata) = path.symlink_metadata() else {
        lines.push(format!("{}: not there", path.display()));
        return;
    };
    let mut line = format!("{} {:o} {}:{}", path.display(), metadata.mode(), metadata.uid(), metadata.gid());
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let moves = path.starts_with("/tmp/fuzz/box") && !(name.contains("limit") || name.contains("max"));
    // Counts of what everybody has.
    let moves = moves || matches!(&*name, "file-nr" | "inode-nr" | "inode-state");
    // Another one for each reader.
    let moves = moves || path.starts_with("/proc/sys/kernel/random") && name == "uuid";
    if with_contents && metadata.is_file() && !moves && !name.contains("max_usage") {
        line.push_str(&format!(" {} bytes", metadata.size()));
        if metadata.size() <= SHORT && metadata.mode() & 0o444 != 0 {
            line.push_str(&format!(": {}", String::from_utf8_lossy(&fs::read(path).unwrap_or_default()).trim_end()));
        }
    }
    lines.push(line);
}

fn look_at_task(process: u32, lines: &mut Vec<String>) {
    let read = |name: &str| fs::read(format!("/proc/{process}/{name}")).unwrap_or_default();
    for name in OF_A_TASK {
        lines.push(format!("/proc/{process}/{name}: {}", String::from_utf8_lossy(&read(name))));
    }
    let status = String::from_utf8_lossy(&read("status")).into_owned();
    let kept = status.lines().filter(|line| STATUS.iter().any(|name| line.split(':').next() == Some(name)));
    lines.extend(kept.map(|line| format!("/proc/{process}/status {line}")));
    // SAFETY: takes no address.
    unsafe {
        let nice = getpriority(PRIO_PROCESS, process);
        let (group, session) = (getpgid(process as pid_t), getsid(process as pid_t));
        lines.push(format!(
            "{process}: nice {nice}, class {}, group {group}, session {session}",
            sched_getscheduler(process as pid_t)
        ));
    }
    for name in ["cwd", "root", "exe"] {
        lines.push(format!("/proc/{process}/{name}: {:?}", fs::read_link(format!("/proc/{process}/{name}")).ok()));
    }
}

//! Core dumps (core(5)): when there is one, what it is called, who owns it, what is in it, and who reads it by a pipe.

use crate::{
    checks::{Checks, result},
    settings::Setting,
};
use elf::{ElfBytes, abi, endian::LittleEndian, note::Note};
use libc::*;
use std::{
    fs,
    io::Read,
    os::unix::fs::{MetadataExt, PermissionsExt, symlink},
    path::{Path, PathBuf},
    ptr::null_mut,
    sync::atomic::{AtomicI32, AtomicU64, Ordering::SeqCst},
    thread,
    time::Duration,
};

const PATTERN: &str = "/proc/sys/kernel/core_pattern";
const ALL: rlim_t = RLIM_INFINITY;
const PAGE: usize = 4096;
/// What is looked for in cores.
static MARK: AtomicU64 = AtomicU64::new(0);
/// Threads that are about to sleep.
static ASLEEP: AtomicI32 = AtomicI32::new(0);

/// How a child ended: the number of its signal, and whether it has left a core.
type Outcome = (c_int, bool);

/// Waits for a child, by waitid and by waitpid; -1 where they differ.
fn outcome(child: pid_t) -> Outcome {
    let mut status = 0;
    // SAFETY: a siginfo_t may be zeros.
    let mut info: siginfo_t = unsafe { std::mem::zeroed() };
    // SAFETY: both live until the calls are over.
    unsafe {
        waitid(P_PID, child as id_t, &raw mut info, WEXITED | WNOWAIT);
        waitpid(child, &raw mut status, 0);
    }
    let dumped = WCOREDUMP(status);
    let agrees = info.si_code == if dumped { CLD_DUMPED } else { CLD_KILLED };
    (if agrees { WTERMSIG(status) } else { -1 }, dumped)
}

fn limit(resource: c_int, most: rlim_t) {
    let limit = rlimit { rlim_cur: most, rlim_max: ALL };
    // SAFETY: the limit lives until the call is over.
    unsafe { setrlimit(resource as _, &raw const limit) };
}

/// Starts a child in `place` that may leave a core of `most` bytes, and does `act`.
fn start(place: &Path, most: rlim_t, act: impl FnOnce()) -> pid_t {
    // SAFETY: this process has one thread, so the child may do anything.
    let child = unsafe { fork() };
    if child == 0 {
        let _ = std::env::set_current_dir(place);
        limit(RLIMIT_CORE as c_int, most);
        act();
        // SAFETY: ends the child.
        unsafe { _exit(0) };
    }
    child
}

/// Ends the process by a signal of its own.
fn end_by(signal: c_int) {
    // SAFETY: takes no address.
    unsafe { raise(signal) };
}

/// An empty directory.
fn empty(name: &str) -> PathBuf {
    let place = std::env::temp_dir().join(name);
    let _ = fs::remove_dir_all(&place);
    let _ = fs::create_dir_all(&place);
    place
}

/// The names in a directory, in order.
fn names(place: &Path) -> Vec<String> {
    let entries = fs::read_dir(place).into_iter().flatten().flatten();
    let mut names: Vec<String> = entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
    names.sort();
    names
}

/// What a core says.
struct Core {
    bytes: Vec<u8>,
    /// Kind and content.
    notes: Vec<(u64, Vec<u8>)>,
}

impl Core {
    fn read(path: &Path) -> Option<Self> {
        let bytes = fs::read(path).ok()?;
        let file = ElfBytes::<LittleEndian>::minimal_parse(&bytes).ok()?;
        let of_notes = file.segments()?.iter().find(|segment| segment.p_type == abi::PT_NOTE)?;
        let notes = file.segment_data_as_notes(&of_notes).ok()?;
        let notes = notes
            .filter_map(
                |note| if let Note::Unknown(note) = note { Some((note.n_type, note.desc.to_vec())) } else { None },
            )
            .collect();
        Some(Self { notes, bytes })
    }

    /// Whether it is a core for this machine.
    fn fits(&self) -> bool {
        ElfBytes::<LittleEndian>::minimal_parse(&self.bytes)
            .is_ok_and(|file| (file.ehdr.e_type, file.ehdr.e_machine) == (abi::ET_CORE, abi::EM_X86_64))
    }

    /// The bytes at an address, if they are in it; `None` at the end: no segment has the address.
    fn at(&self, address: u64, length: usize) -> Option<Option<&[u8]>> {
        let file = ElfBytes::<LittleEndian>::minimal_parse(&self.bytes).ok()?;
        let covers = |start: u64, size: u64| address >= start && address - start < size;
        let loads = file.segments()?.iter();
        let segment = loads
            .filter(|segment| segment.p_type == abi::PT_LOAD)
            .find(|segment| covers(segment.p_vaddr, segment.p_memsz))?;
        if !covers(segment.p_vaddr, segment.p_filesz) {
            return Some(None);
        }
        let at = (segment.p_offset + address - segment.p_vaddr) as usize;
        Some(self.bytes.get(at..at + length))
    }

    fn note(&self, kind: u64) -> &[u8] {
        self.notes.iter().find(|note| note.0 == kind).map_or(&[], |note| &note.1)
    }

    fn count(&self, kind: u64) -> usize {
        self.notes.iter().filter(|note| note.0 == kind).count()
    }
}

fn number(bytes: &[u8], at: usize) -> u32 {
    bytes.get(at..at + 4).map_or(0, |bytes| u32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]))
}

fn word(bytes: &[u8], at: usize) -> u64 {
    u64::from(number(bytes, at)) | u64::from(number(bytes, at + 4)) << 32
}

/// New memory of one page that begins with a word; its address.
fn memory(kind: c_int, value: u64) -> u64 {
    // SAFETY: new memory, with room for the word.
    unsafe {
        let page = mmap(null_mut(), PAGE, PROT_READ | PROT_WRITE, kind | MAP_ANONYMOUS, -1, 0);
        page.cast::<u64>().write(value);
        page as u64
    }
}

/// Takes rights away from a page of [`memory`].
fn protect(page: u64, rights: c_int) {
    // SAFETY: nobody uses the page.
    unsafe { mprotect(page as *mut c_void, PAGE, rights) };
}

fn advise(page: u64, advice: c_int) {
    // SAFETY: the memory stays.
    unsafe { madvise(page as *mut c_void, PAGE, advice) };
}

/// An address where nothing lies.
const NOBODYS: u64 = 8;
const CONTENT: u64 = 0x1122_3344_5566_7788;

/// Three threads, memory of each kind, and a store to null.
fn contents(checks: &mut Checks) {
    let place = empty("cores");
    let [private, hidden, unwanted, wanted] = [(); 4].map(|()| memory(MAP_PRIVATE, CONTENT));
    let shared = memory(MAP_SHARED, CONTENT);
    let crash = || {
        MARK.store(CONTENT, SeqCst);
        protect(hidden, PROT_NONE);
        advise(unwanted, MADV_DONTDUMP);
        advise(wanted, MADV_DONTDUMP);
        advise(wanted, MADV_DODUMP);
        let sleeper = || {
            ASLEEP.fetch_add(1, SeqCst);
            loop {
                thread::sleep(Duration::from_secs(1000));
            }
        };
        let _threads = [thread::spawn(sleeper), thread::spawn(sleeper)];
        while ASLEEP.load(SeqCst) < 2 {
            thread::yield_now();
        }
        // SAFETY: not at all, and on purpose.
        unsafe { std::ptr::without_provenance_mut::<u64>(NOBODYS as usize).write_volatile(1) };
    };
    let child = start(&place, ALL, crash);
    checks.equal("a store to null", outcome(child), (SIGSEGV, true));
    checks.equal("the core", names(&place), vec!["core".to_owned()]);
    let facts = fs::metadata(place.join("core"));
    checks.check("is the owner's alone", facts.is_ok_and(|facts| (facts.mode() & 0o7777, facts.nlink()) == (0o600, 1)));
    let Some(core) = Core::read(&place.join("core")) else {
        checks.check("a core that can be read", false);
        return;
    };
    checks.check("is one for this machine", core.fits());
    const STATUS: u64 = 1;
    checks.equal("threads", (core.count(STATUS), core.count(2)), (3, 3));
    let status = core.note(STATUS);
    let first = (status.len(), number(status, 0), number(status, 12) & 0xffff, number(status, 32));
    checks.equal("the first is who crashed", first, (336, SIGSEGV as u32, SIGSEGV as u32, child as u32));
    let instruction = core.at(word(status, 112 + 16 * 8), 1);
    checks.check("the instruction is in a segment", instruction.is_some());
    checks.check("and the stack in the core", core.at(word(status, 112 + 19 * 8), 8).flatten().is_some());
    let about = core.note(3);
    // SAFETY: takes no address.
    let parent = unsafe { getpid() } as u32;
    checks.equal("the process", (about.len(), number(about, 24), number(about, 28)), (136, child as u32, parent));
    checks.equal("its name", about.get(40..46), Some(&b"probe\0"[..]));
    let signal = core.note(0x5349_4749);
    checks.equal("the signal", (signal.len(), number(signal, 8), word(signal, 16)), (128, 1, NOBODYS));
    let vector = core.note(6);
    let mut entries = vector.chunks_exact(16).map(|entry| (word(entry, 0), word(entry, 8)));
    checks.check("the auxiliary vector", entries.clone().any(|(kind, value)| (kind, value) == (AT_PAGESZ, 4096)));
    checks.equal("its end", entries.next_back(), Some((0, 0)));
    let program = std::env::current_exe().unwrap_or_default();
    let program = program.as_os_str().as_encoded_bytes();
    checks.check("mapped files", core.note(0x4649_4c45).windows(program.len()).any(|part| part == program));
    checks.equal("registers of the FPU", core.note(2).len(), 512);
    let bytes = CONTENT.to_le_bytes();
    let content = Some(Some(&bytes[..]));
    let mark = MARK.as_ptr() as u64;
    for (what, address) in
        [("static", mark), ("private", private), ("hidden", hidden), ("shared", shared), ("wanted", wanted)]
    {
        checks.equal(what, core.at(address, 8), content);
    }
    checks.equal("not wanted", core.at(unwanted, 8), Some(None));

    let filter = fs::read_to_string("/proc/self/coredump_filter").unwrap_or_default();
    checks.equal("the filter", filter.as_str(), "00000033\n");
    let child = start(&place, ALL, || {
        let _ = fs::write("/proc/self/coredump_filter", "0x2");
        end_by(SIGQUIT);
    });
    checks.equal("with a filter", outcome(child), (SIGQUIT, true));
    let found = Core::read(&place.join("core"));
    let found = found.as_ref().map(|core| (core.at(shared, 8), core.at(private, 8)));
    checks.equal("only what is shared", found, Some((content, Some(None))));
    let refused = ["x", "-1"].map(|text| fs::write("/proc/self/coredump_filter", text).is_err());
    checks.equal("what is no filter", refused, [true, true]);
}

/// Sizes, and processes that leave none.
fn limits(checks: &mut Checks) {
    let place = empty("cores");
    let size_of = |most: rlim_t, signal: c_int| {
        let child = start(&place, most, || end_by(signal));
        let outcome = outcome(child);
        let size = fs::metadata(place.join("core")).map(|facts| facts.len()).ok();
        let _ = fs::remove_file(place.join("core"));
        (outcome, size)
    };
    let none = [size_of(0, SIGABRT), size_of(4095, SIGABRT), size_of(ALL, SIGTERM)];
    let cut = size_of(20_000, SIGABRT);
    checks.equal("none", none, [((SIGABRT, false), None), ((SIGABRT, false), None), ((SIGTERM, false), None)]);
    checks.check("cut off", cut.0 == (SIGABRT, true) && cut.1.is_some_and(|size| size > 4096));
    let dumpable = |value: c_ulong| {
        // SAFETY: takes no address.
        result(unsafe { prctl(PR_SET_DUMPABLE, value, 0, 0, 0) }.into())
    };
    checks.equal("PR_SET_DUMPABLE", [dumpable(2), dumpable(3), dumpable(1)], [Err(EINVAL), Err(EINVAL), Ok(0)]);
    let child = start(&place, ALL, || {
        let _ = dumpable(0);
        end_by(SIGABRT);
    });
    checks.equal("not dumpable", (outcome(child), names(&place)), ((SIGABRT, false), vec![]));
    let _ = fs::create_dir(place.join("core"));
    let child = start(&place, ALL, || end_by(SIGABRT));
    checks.equal("a directory in its place", outcome(child), (SIGABRT, false));
    let _ = fs::remove_dir(place.join("core"));
    let link = place.join("core");
    let _ = symlink("/nowhere/else", &link);
    let child = start(&place, ALL, || end_by(SIGABRT));
    checks.equal("a link in its place", outcome(child), (SIGABRT, true));
    checks.check("is replaced", fs::symlink_metadata(&link).is_ok_and(|facts| facts.is_file()));
}

/// What the file is called.
fn patterns(checks: &mut Checks) {
    let place = empty("cores");
    let pattern = Setting::new(PATTERN);
    let uses_pid = Setting::new("/proc/sys/kernel/core_uses_pid");
    let mut called = |text: &str, name: &dyn Fn(pid_t) -> String| {
        pattern.write(text);
        let child = start(&place, ALL, || end_by(SIGABRT));
        checks.equal(text, outcome(child), (SIGABRT, true));
        checks.equal(text, names(&place), vec![name(child)]);
        empty("cores");
    };
    called("a-%e-%s-%p", &|child| format!("a-probe-6-{child}"));
    called("%%%q%", &|_| "%".to_owned());
    uses_pid.write("1");
    called("core", &|child| format!("core.{child}"));
    called("core-%P", &|child| format!("core-{child}"));
    called(&format!("{}/%u.%h", place.display()), &|child| {
        let host = fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
        format!("0.{}.{child}", host.trim())
    });
    pattern.write(&"x".repeat(200));
    checks.equal("at most 127 bytes", pattern.read().len(), 127);
}

/// Processes that have changed who they are.
fn privileged(checks: &mut Checks) {
    let place = empty("cores");
    let open = fs::set_permissions(&place, fs::Permissions::from_mode(0o777));
    checks.check("a directory for all", open.is_ok());
    let pattern = Setting::new(PATTERN);
    let dumpable = Setting::new("/proc/sys/fs/suid_dumpable");
    dumpable.table(checks, &["3", "-1", "x"], "0");
    let crash = || {
        let child = start(&place, ALL, || {
            // SAFETY: takes no address.
            unsafe { setresuid(1000, 1000, 1000) };
            end_by(SIGABRT);
        });
        let dumped = outcome(child).1;
        let owner = fs::metadata(place.join("core")).map(|facts| facts.uid()).ok();
        let _ = fs::remove_file(place.join("core"));
        (dumped, owner)
    };
    checks.equal("none of who was another", crash(), (false, None));
    dumpable.write("1");
    checks.equal("its own", crash(), (true, Some(1000)));
    dumpable.write("2");
    checks.equal("root's needs a whole path", crash(), (false, None));
    pattern.write(&format!("{}/core", place.display()));
    checks.equal("root's", crash(), (true, Some(0)));
}

/// What reads cores: copies its input to a file named by the other arguments.
pub fn keep(place: &str, words: &[&str]) -> bool {
    let mut bytes = Vec::new();
    let read = std::io::stdin().read_to_end(&mut bytes);
    read.is_ok() && fs::write(Path::new(place).join(words.join("+")), bytes).is_ok()
}

/// Programs that read cores.
fn pipes(checks: &mut Checks) {
    let place = empty("cores");
    let pattern = Setting::new(PATTERN);
    let most = Setting::new("/proc/sys/kernel/core_pipe_limit");
    let program = std::env::current_exe().unwrap_or_default();
    // With a limit the reader is waited for.
    most.table(checks, &["-1", "x"], "1");
    pattern.write(&format!("|{} keep {} %p %s", program.display(), place.display()));
    let child = start(&place, 0, || end_by(SIGABRT));
    checks.equal("whatever the limit", outcome(child), (SIGABRT, true));
    let name = format!("{child}+6");
    checks.equal("the words", names(&place), vec![name.clone()]);
    checks.check("a core", Core::read(&place.join(&name)).is_some_and(|core| core.fits() && core.count(1) == 1));
    let child = start(&place, 1, || end_by(SIGABRT));
    checks.equal("but a limit of 1", outcome(child), (SIGABRT, false));
    pattern.write("|/nowhere/at/all");
    let child = start(&place, ALL, || end_by(SIGABRT));
    checks.equal("no such program", outcome(child), (SIGABRT, false));

    // One that does not read: the dump stays until SIGKILL.
    pattern.write(&format!("|{} wait", program.display()));
    let child = start(&place, ALL, || {
        // More than fits into a pipe.
        let kept = vec![1_u8; 1 << 20];
        end_by(SIGABRT);
        drop(kept);
    });
    let status = format!("/proc/{child}/status");
    while !fs::read_to_string(&status).is_ok_and(|text| text.contains("CoreDumping:\t1")) {
        thread::sleep(Duration::from_millis(10));
    }
    // SAFETY: take no address.
    unsafe {
        kill(child, SIGTERM);
        kill(child, SIGKILL);
    }
    checks.equal("killed on the way", outcome(child), (SIGKILL, false));
}

/// Waits to be ended, or for the end of its input: the reader that does not read.
pub fn wait() -> bool {
    let mut input = pollfd { fd: 0, events: 0, revents: 0 };
    // SAFETY: the descriptor lives until the call is over. Without events only the end of the writer is reported.
    unsafe { poll(&raw mut input, 1, -1) == 1 }
}

/// Tries everything; says what is not as it should be.
pub fn run() -> bool {
    let mut checks = Checks::default();
    let pattern = Setting::new(PATTERN);
    pattern.write("core");
    contents(&mut checks);
    limits(&mut checks);
    patterns(&mut checks);
    privileged(&mut checks);
    pipes(&mut checks);
    drop(pattern);
    let _ = fs::remove_dir_all(std::env::temp_dir().join("cores"));
    checks.tell()
}

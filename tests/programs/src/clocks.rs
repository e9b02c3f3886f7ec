//! The vDSO: found as a C library finds it, true to the system calls on every CPU, and mapped as memory is.

use crate::checks::Checks;
use crate::child;
use elf::{ElfBytes, endian::LittleEndian};
use libc::*;
use std::{
    fs,
    mem::{transmute, zeroed},
    ptr::{null_mut, with_exposed_provenance, with_exposed_provenance_mut},
    sync::atomic::{AtomicU64, Ordering::SeqCst},
    thread,
};

const PAGE: usize = 4096;
const SECOND: u64 = 1_000_000_000;

type GetTime = unsafe extern "C" fn(clockid_t, *mut timespec) -> c_int;
type GetDay = unsafe extern "C" fn(*mut timeval, *mut [c_int; 2]) -> c_int;
type GetSecond = unsafe extern "C" fn(*mut i64) -> i64;
type GetCpu = unsafe extern "C" fn(*mut c_uint, *mut c_uint, *mut c_void) -> c_int;

/// The functions of the object that is mapped at `base`.
#[derive(Clone, Copy)]
struct Object {
    base: usize,
    time: GetTime,
    resolution: GetTime,
    day: GetDay,
    second: GetSecond,
    cpu: GetCpu,
}

impl Object {
    /// The object that begins at `base`, of so many pages, if it is one.
    fn at(base: usize, pages: usize) -> Option<Self> {
        // SAFETY: /proc/self/maps says that these pages are there; nobody writes to them meanwhile.
        let bytes = unsafe { std::slice::from_raw_parts(with_exposed_provenance::<u8>(base), pages * PAGE) };
        let image = ElfBytes::<LittleEndian>::minimal_parse(bytes).ok()?;
        let common = image.find_common_data().ok()?;
        let (symbols, names, table) = (common.dynsyms?, common.dynsyms_strs?, common.sysv_hash?);
        let find = |name: &str| {
            let (_, symbol) = table.find(name.as_bytes(), &symbols, &names).ok()??;
            Some(with_exposed_provenance::<()>(base + symbol.st_value as usize))
        };
        // SAFETY: these names have these types, in every kernel that has them.
        unsafe {
            Some(Self {
                base,
                time: transmute::<*const (), GetTime>(find("__vdso_clock_gettime")?),
                resolution: transmute::<*const (), GetTime>(find("__vdso_clock_getres")?),
                day: transmute::<*const (), GetDay>(find("__vdso_gettimeofday")?),
                second: transmute::<*const (), GetSecond>(find("__vdso_time")?),
                cpu: transmute::<*const (), GetCpu>(find("__vdso_getcpu")?),
            })
        }
    }

    /// What a clock shows, in ns; the negative errno if it shows nothing.
    fn read(&self, clock: clockid_t) -> i64 {
        let mut time = timespec { tv_sec: 0, tv_nsec: 0 };
        // SAFETY: writes to `time` only.
        let result = unsafe { (self.time)(clock, &mut time) };
        if result == 0 { nanoseconds(&time) as i64 } else { result.into() }
    }
}

fn nanoseconds(time: &timespec) -> u64 {
    time.tv_sec as u64 * SECOND + time.tv_nsec as u64
}

/// What the system call says that a clock shows, in ns.
fn asked(clock: clockid_t) -> i64 {
    let mut time = timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: writes to `time` only.
    let result = unsafe { syscall(SYS_clock_gettime, clock, &mut time) };
    if result == 0 { nanoseconds(&time) as i64 } else { result }
}

/// The mapping of this name: its first address, the one behind it, and its rights.
fn mapping(name: &str) -> Option<(usize, usize, String)> {
    let maps = fs::read_to_string("/proc/self/maps").ok()?;
    let line = maps.lines().find(|line| line.ends_with(name))?;
    let mut words = line.split_ascii_whitespace();
    let (start, end) = words.next()?.split_once('-')?;
    let address = |text| usize::from_str_radix(text, 16).ok();
    Some((address(start)?, address(end)?, words.next()?.to_owned()))
}

/// All of it; whether everything was right.
pub fn run() -> bool {
    let mut checks = Checks::default();
    let (Some(clock), Some(code)) = (mapping("[vvar]"), mapping("[vdso]")) else {
        println!("wrong: [vvar] and [vdso] are not mapped");
        return false;
    };
    checks.equal("the rights of [vvar]", clock.2.as_str(), "r--p");
    checks.equal("the rights of [vdso]", code.2.as_str(), "r-xp");
    checks.equal("[vdso] follows [vvar]", clock.1, code.0);
    // SAFETY: asks for a word of the auxiliary vector.
    checks.equal("AT_SYSINFO_EHDR", unsafe { getauxval(AT_SYSINFO_EHDR) } as usize, code.0);
    let Some(object) = Object::at(code.0, (code.1 - code.0) / PAGE) else {
        println!("wrong: [vdso] does not hold the functions");
        return false;
    };
    readings(&mut checks, &object);
    places(&mut checks, &object);
    together(&mut checks, &object);
    memory(&mut checks, &object, code.1 - code.0);
    checks.tell()
}

/// Each clock between two readings of the other kind.
fn readings(checks: &mut Checks, object: &Object) {
    let clocks = [
        CLOCK_REALTIME,
        CLOCK_MONOTONIC,
        CLOCK_PROCESS_CPUTIME_ID,
        CLOCK_THREAD_CPUTIME_ID,
        CLOCK_MONOTONIC_RAW,
        CLOCK_BOOTTIME,
        CLOCK_TAI,
    ];
    for clock in clocks {
        let readings = [asked(clock), object.read(clock), asked(clock), object.read(clock)];
        checks.check(&format!("clock {clock} in order: {readings:?}"), readings.is_sorted() && readings[0] > 0);
    }
    for clock in [CLOCK_REALTIME_COARSE, CLOCK_MONOTONIC_COARSE] {
        let readings = [object.read(clock), object.read(clock)];
        checks.check(&format!("clock {clock}: {readings:?}"), readings.is_sorted() && readings[0] > 0);
    }
    for wrong in [10, 16, 77, i32::MAX] {
        checks.equal("a clock that is none", object.read(wrong), (-EINVAL).into());
    }
    let mut resolution = timespec { tv_sec: 9, tv_nsec: 9 };
    // SAFETY: these write where the manual pages say, and nowhere if that is null.
    unsafe {
        checks.equal("clock_getres", (object.resolution)(CLOCK_MONOTONIC, &mut resolution), 0);
        checks.equal("the resolution", (resolution.tv_sec, resolution.tv_nsec), (0, 1));
        checks.equal("clock_getres for nobody", (object.resolution)(CLOCK_MONOTONIC, null_mut()), 0);
        checks.equal("clock_getres of none", (object.resolution)(77, null_mut()), -EINVAL);
        let mut day: timeval = zeroed();
        let mut zone = [9, 9];
        let before = asked(CLOCK_REALTIME) / 1000;
        checks.equal("gettimeofday", (object.day)(&mut day, &mut zone), 0);
        let shown = day.tv_sec * 1_000_000 + day.tv_usec;
        checks.check("the time of day", (before..=asked(CLOCK_REALTIME) / 1000).contains(&shown));
        checks.equal("the time zone", zone, [0, 0]);
        let mut second = 0;
        let before = asked(CLOCK_REALTIME) / SECOND as i64;
        checks.equal("time", (object.second)(&mut second), second);
        checks.check("the second", (before..=asked(CLOCK_REALTIME) / SECOND as i64).contains(&second));
        checks.check("time for nobody", (object.second)(null_mut()) >= second);
    }
}

/// The CPU and its node, on each CPU.
fn places(checks: &mut Checks, object: &Object) {
    // SAFETY: a set of bits, filled by the call.
    let mut own: cpu_set_t = unsafe { zeroed() };
    // SAFETY: these write to variables of ours.
    unsafe { sched_getaffinity(0, size_of::<cpu_set_t>(), &mut own) };
    // SAFETY: looks into the set only.
    let cpus: Vec<usize> = (0..256).filter(|&cpu| unsafe { CPU_ISSET(cpu, &own) }).collect();
    for &cpu in &cpus {
        pin(cpu);
        let (mut found, mut expected) = ((9999u32, 9999u32), (9999u32, 9999u32));
        // SAFETY: as above.
        unsafe {
            checks.equal("getcpu", (object.cpu)(&mut found.0, &mut found.1, null_mut()), 0);
            syscall(SYS_getcpu, &raw mut expected.0, &raw mut expected.1, 0);
            checks.equal("getcpu for nobody", (object.cpu)(null_mut(), null_mut(), null_mut()), 0);
        }
        checks.equal("CPU and node", found, expected);
        checks.equal("the CPU", found.0 as usize, cpu);
    }
    // SAFETY: gives the set back.
    unsafe { sched_setaffinity(0, size_of::<cpu_set_t>(), &own) };
}

fn pin(cpu: usize) {
    // SAFETY: a set with one bit, which the call reads.
    unsafe {
        let mut set: cpu_set_t = zeroed();
        CPU_SET(cpu, &mut set);
        sched_setaffinity(0, size_of::<cpu_set_t>(), &set);
    }
}

/// Threads that read in turn by both ways, and never see less than anybody has seen before.
fn together(checks: &mut Checks, object: &Object) {
    const READINGS: usize = 2000;
    for clock in [CLOCK_MONOTONIC, CLOCK_REALTIME] {
        let latest = AtomicU64::new(0);
        let read = |own: usize| {
            (0..READINGS).all(|index| {
                let before = latest.load(SeqCst);
                let now = if (index + own).is_multiple_of(2) { object.read(clock) } else { asked(clock) } as u64;
                latest.fetch_max(now, SeqCst);
                now >= before
            })
        };
        let right = thread::scope(|scope| {
            let readers: Vec<_> = (0..4).map(|own| scope.spawn(move || read(own))).collect();
            readers.into_iter().all(|reader| reader.join().unwrap_or(false))
        });
        checks.check(&format!("clock {clock} on all CPUs"), right);
    }
}

/// What can be done to the mappings; in children, so that the program keeps its own.
fn memory(checks: &mut Checks, object: &Object, length: usize) {
    let at = |address: usize| with_exposed_provenance_mut::<c_void>(address);
    let clock = object.base - PAGE;
    let ends_well = |act: &dyn Fn() -> bool| child::status(|| i32::from(!act())) == 0;
    // SAFETY: the children change their own mappings only, and use none that they have taken away.
    unsafe {
        checks.check("a child has it too", ends_well(&|| object.read(CLOCK_MONOTONIC) > 0));
        checks.equal("[vvar] can't be made writable", mprotect(at(clock), PAGE, PROT_READ | PROT_WRITE), -1);
        checks.equal("for that reason", *__errno_location(), EACCES);
        let write_copy = || {
            let all = PROT_READ | PROT_WRITE | PROT_EXEC;
            mprotect(at(object.base), length, all) == 0 && {
                at(object.base).cast::<u8>().write_volatile(0);
                object.read(CLOCK_MONOTONIC) > 0
            }
        };
        checks.check("code can be written to", ends_well(&write_copy));
        checks.equal("in a copy", at(object.base).cast::<u8>().read_volatile(), 0x7f);
        let dropped = || {
            madvise(at(object.base), length, MADV_DONTNEED) == 0
                && madvise(at(object.base), length, MADV_WILLNEED) == 0
                && object.read(CLOCK_MONOTONIC) > 0
        };
        checks.check("pages that were let go come again", ends_well(&dropped));
        let moved = || {
            let room = mmap(null_mut(), PAGE + length, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
            let flags = MREMAP_MAYMOVE | MREMAP_FIXED;
            let target = room.expose_provenance();
            mremap(at(clock), PAGE, PAGE, flags, room) == room
                && mremap(at(object.base), length, length, flags, at(target + PAGE)) == at(target + PAGE)
                && mapping("[vdso]").is_some_and(|(start, ..)| start == target + PAGE)
                && Object::at(target + PAGE, length / PAGE).is_some_and(|object| {
                    let readings = [asked(CLOCK_REALTIME), object.read(CLOCK_REALTIME), asked(CLOCK_REALTIME)];
                    readings.is_sorted() && object.base == target + PAGE
                })
        };
        checks.check("it can be moved", ends_well(&moved));
        let unmapped =
            || munmap(at(clock), PAGE + length) == 0 && mapping("[vdso]").is_none() && asked(CLOCK_MONOTONIC) > 0;
        checks.check("it can be unmapped", ends_well(&unmapped));
    }
}

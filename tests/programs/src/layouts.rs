//! Where the parts of a program lie, and what moves them: `randomize_va_space` and the execution domain.

use crate::checks::Checks;
use libc::{ADDR_NO_RANDOMIZE, personality, sbrk};
use std::{collections::BTreeSet, env, fs, process::Command};

const SETTING: &str = "/proc/sys/kernel/randomize_va_space";
/// So many runs are looked at: none of the parts lies in the same place in all of them by chance.
const RUNS: usize = 8;
/// The parts: program, heap, mappings, vDSO, stack, and how far the heap lies behind the program.
const PARTS: usize = 6;

/// Prints where the parts of this program lie.
pub fn show() -> bool {
    let Ok(maps) = fs::read_to_string("/proc/self/maps") else { return false };
    let range = |line: &str| -> Option<(u64, u64)> {
        let (start, end) = line.split_ascii_whitespace().next()?.split_once('-')?;
        Some((u64::from_str_radix(start, 16).ok()?, u64::from_str_radix(end, 16).ok()?))
    };
    let of = |name: &str| maps.lines().find(|line| line.ends_with(name)).and_then(range).unwrap_or_default();
    let file = env::current_exe().map(|path| path.display().to_string()).unwrap_or_default();
    let program_end = maps.lines().rfind(|line| line.ends_with(&file)).and_then(range).unwrap_or_default().1;
    // SAFETY: asks where the heap ends; nothing has asked for any of it that could be moved.
    let heap = unsafe { sbrk(0) }.addr() as u64;
    // SAFETY: a fresh mapping, which stays.
    let mapping = unsafe { libc::mmap(std::ptr::null_mut(), 4096, 0, libc::MAP_PRIVATE | libc::MAP_ANONYMOUS, -1, 0) };
    let (program, stack) = (of(&file).0, of("[stack]").1);
    println!("{program} {heap} {} {} {stack} {}", mapping.addr(), of("[vdso]").0, heap.wrapping_sub(program_end));
    true
}

/// In how many different places each part was seen.
fn places() -> [usize; PARTS] {
    let mut seen: [BTreeSet<u64>; PARTS] = Default::default();
    for _ in 0..RUNS {
        let run = env::current_exe().and_then(|own| Command::new(own).arg("places").output());
        let text = run.map(|output| String::from_utf8_lossy(&output.stdout).into_owned()).unwrap_or_default();
        for (part, place) in seen.iter_mut().zip(text.split_ascii_whitespace()) {
            part.extend(place.parse::<u64>());
        }
    }
    seen.map(|part| part.len())
}

/// Tries every setting; says what is not as it should be.
pub fn run() -> bool {
    let mut checks = Checks::default();
    let Ok(before) = fs::read_to_string(SETTING) else {
        println!("wrong: there is no {SETTING}");
        return false;
    };
    checks.equal("the setting at boot", before.trim_end(), "2");
    let set = |number: &str| fs::write(SETTING, number).is_ok();
    checks.check("setting 2", set("2"));
    let [rest @ .., distance] = places();
    checks.check(&format!("2 moves all: {rest:?}"), rest.iter().all(|&places| places > 1));
    checks.check("2 moves the heap from the program", distance > 1);
    checks.check("setting 1", set("1"));
    let [rest @ .., distance] = places();
    checks.check(&format!("1 moves all: {rest:?}"), rest.iter().all(|&places| places > 1));
    checks.equal("1 leaves the heap with the program", distance, 1);
    checks.check("setting 0", set("0"));
    checks.equal("0 moves nothing", places(), [1; PARTS]);
    checks.check("setting 2 again", set("2"));
    // SAFETY: takes no address.
    unsafe { personality(ADDR_NO_RANDOMIZE as _) };
    checks.equal("nor does 2 where the execution domain is against it", places(), [1; PARTS]);
    // SAFETY: as before.
    unsafe { personality(0) };
    checks.check("no number", fs::write(SETTING, "x").is_err());
    checks.check("the setting as it was", set(before.trim_end()));
    checks.tell()
}

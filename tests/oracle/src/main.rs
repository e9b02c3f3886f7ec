//! oracle: the first program of a machine, which does what a seed says to the hierarchies of the system that it runs
//! on, and prints what came of it. It runs on Menagerie and on Linux; `cargo xtask fuzz --oracle` compares.
//!
//! From the environment, that is from the kernel's command line: `ORACLE_SEED`, `ORACLE_FIRST` (the first sequence),
//! `ORACLE_OPERATIONS` (how many, about), `ORACLE_FULL=1` for every detail. If there is a file `/script`, its lines
//! are the operations, with an empty line between two sequences, and every detail is printed.
//!
//! Called as `oracle subsystems` or `oracle differences` it prints what is compared, and the table of what is not.
//!
//! Each operation gives a line `SEQUENCE.NUMBER ANSWER HASH`; the hash is of the answer and of the state of the system
//! afterwards. In detail, the operation and the state come with it.
#![forbid(unsafe_code)]

mod actor;
mod choices;
mod clear;
mod differences;
mod errno;
mod generate;
mod look;
mod names;
mod normal;
mod operation;
mod settle;
mod world;

use choices::Choices;
use operation::Operation;
use rustix::mount::{MountFlags, mount};
use rustix::system::{RebootCommand, reboot};
use std::io::Write;
use std::time::Instant;
use world::{Outcome, World};

/// Operations in one sequence.
const LENGTH: u64 = 60;

fn main() {
    match std::env::args().nth(1).as_deref() {
        Some("obey") => return actor::Actor::obey(),
        Some("subsystems") => return println!("{}", names::SUBSYSTEMS.join(" ")),
        Some("differences") => return differences::print(),
        _ => {}
    }
    prepare();
    let started = Instant::now();
    let done = match std::fs::read_to_string("/script") {
        Ok(script) => run_script(&script),
        Err(_) => run_seed(),
    };
    say(&format!("end {done} in {} ms", started.elapsed().as_millis()));
    // Whoever watches sees the end of a machine that can't be switched off.
    let _ = reboot(RebootCommand::PowerOff);
}

/// Folders, and `/proc`.
fn prepare() {
    for folder in ["/proc", "/m"].map(str::to_owned).into_iter().chain((0..world::PLACES).map(|n| format!("/m/{n}"))) {
        let _ = std::fs::create_dir(folder);
    }
    let _ = mount("proc", "/proc", "proc", MountFlags::empty(), c"");
}

fn number_in(name: &str, otherwise: u64) -> u64 {
    std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(otherwise)
}

fn run_seed() -> u64 {
    let (seed, total) = (number_in("ORACLE_SEED", 1), number_in("ORACLE_OPERATIONS", 1000));
    let full = number_in("ORACLE_FULL", 0) != 0;
    let (mut sequence, mut done) = (number_in("ORACLE_FIRST", 0), 0);
    while done < total {
        let mut choices = Choices::new(seed, sequence);
        let mut world = World::new();
        for number in 0..LENGTH {
            let operation = match number {
                n if n == LENGTH - 1 => Operation::new(0, &["look"]),
                _ => generate::next(&world, &mut choices),
            };
            let outcome = world.perform(&operation);
            print(&format!("{sequence}.{number}"), full.then_some(&operation), &outcome);
        }
        let troubles = world.clear();
        print(&format!("{sequence}.clear"), None, &Outcome { answer: format!("{troubles:?}"), state: Vec::new() });
        done += LENGTH;
        sequence += 1;
    }
    done
}

fn run_script(script: &str) -> u64 {
    let mut done = 0;
    for (sequence, lines) in script.split("\n\n").enumerate() {
        let mut world = World::new();
        for (number, operation) in lines.lines().filter_map(Operation::parse).enumerate() {
            let outcome = world.perform(&operation);
            print(&format!("{sequence}.{number}"), Some(&operation), &outcome);
            done += 1;
        }
        let troubles = world.clear();
        print(&format!("{sequence}.clear"), None, &Outcome { answer: format!("{troubles:?}"), state: Vec::new() });
    }
    done
}

/// One operation's line; with the operation, all that there is to say.
fn print(number: &str, operation: Option<&Operation>, outcome: &Outcome) {
    let hash = hash(std::iter::once(&outcome.answer).chain(&outcome.state));
    let Some(operation) = operation else {
        let answer = outcome.answer.split(' ').next().unwrap_or_default();
        return say(&format!("{number} {answer} {hash:08x}"));
    };
    let mut text = format!("{number} {hash:08x} {operation}\n  = {}", outcome.answer);
    outcome.state.iter().for_each(|line| text += &format!("\n  {line}"));
    say(&text);
}

fn say(text: &str) {
    let mut out = std::io::stdout().lock();
    // Nobody is left who could be told.
    let _ = out.write_all(format!("{text}\n").as_bytes());
    let _ = out.flush();
}

/// FNV-1a over the lines, folded to 32 bits.
fn hash<'a>(lines: impl Iterator<Item = &'a String>) -> u32 {
    let mut hash: u64 = 0xcbf2_9ce4_8422_2325;
    for byte in lines.flat_map(|line| line.bytes().chain([b'\n'])) {
        hash = (hash ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3);
    }
    (hash ^ hash >> 32) as u32
}

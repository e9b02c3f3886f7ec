//! `cargo xtask fuzz`: random system calls ([`system_calls`]); or random sequences of what one can do to hierarchies, and
//! with `--oracle` the same on Linux.
//!
//! For hierarchies the program `oracle` (`tests/oracle`) is the first program of both machines and prints a line for each
//! operation. Equal lines mean equal errno, contents, memberships. Where they differ, [`shrink`] looks for the shortest
//! sequence that shows it.

mod guest;
mod last_calls;
mod linux;
mod shrink;
mod system_calls;

use std::fs;
use std::path::Path;
use std::time::Instant;

use anyhow::{Context, Result};

use crate::command_line::Fuzz;
use crate::progress;
use guest::{Guests, Job, System};

/// A machine does so many operations and is replaced: nothing in it should matter for long.
const OPERATIONS_OF_A_BOOT: u64 = 20_000;

/// Runs the command. Status 1 if something differs or fails.
pub fn run(options: &Fuzz) -> Result<u8> {
    if !options.hierarchies && !options.oracle {
        return system_calls::run(options);
    }
    let guests = Guests::open(options.oracle, options.debug)?;
    if let Some(script) = &options.script {
        let text = fs::read_to_string(script).with_context(|| format!("cannot read {}", script.display()))?;
        return run_script(&guests, &text, options.oracle);
    }
    let sequences = Sequences { seed: options.seed, first: options.first, operations: options.operations };
    Ok(match run_sequences(&guests, &sequences, options.oracle)? {
        Verdict::Equal(summary) => {
            println!("{summary}");
            0
        }
        Verdict::Different(report) => {
            println!("{report}");
            1
        }
    })
}

/// A short run for `cargo xtask test`; the inner error says why Linux's package can't be had.
pub fn short(operations: u64, debug: bool) -> Result<Result<Verdict, String>> {
    if let Err(error) = linux::kernel() {
        return Ok(Err(format!("{error:#}")));
    }
    let guests = Guests::open(true, debug)?;
    run_sequences(&guests, &Sequences { seed: 1, first: 0, operations }, true).map(Ok)
}

/// What to do.
struct Sequences {
    seed: u64,
    first: u64,
    operations: u64,
}

/// What came of it.
pub enum Verdict {
    /// No difference; what was done, in words.
    Equal(String),
    /// The report on the first difference.
    Different(String),
}

fn run_sequences(guests: &Guests, wanted: &Sequences, oracle: bool) -> Result<Verdict> {
    let (mut done, mut first) = (0, wanted.first);
    let started = Instant::now();
    while done < wanted.operations {
        let operations = (wanted.operations - done).min(OPERATIONS_OF_A_BOOT);
        let job = Job::Seed { seed: wanted.seed, first, operations };
        let (ours, theirs) = match oracle {
            true => guests.run_both(&job).map(|(ours, theirs)| (ours, Some(theirs)))?,
            false => (guests.run(System::Menagerie, &job)?, None),
        };
        if let Some(trouble) = ours.trouble() {
            return Ok(Verdict::Different(format!("seed {}, from sequence {first}: {trouble}", wanted.seed)));
        }
        if let Some(difference) = theirs.and_then(|theirs| ours.first_difference(&theirs)) {
            progress::say(&format!("{difference}; looking for the shortest sequence that shows it"));
            return Ok(Verdict::Different(shrink::report(guests, wanted.seed, &difference)?));
        }
        done += ours.operations();
        first = ours.last_sequence().map_or(first, |last| last + 1);
        progress::say(&format!("{done} operations in {:.0} s", started.elapsed().as_secs_f64()));
    }
    let how = if oracle { "without a difference from Linux" } else { "on Menagerie alone" };
    Ok(Verdict::Equal(format!("{done} operations from seed {} {how}", wanted.seed)))
}

/// Runs the lines of a file and shows what came of them, side by side where it differs.
fn run_script(guests: &Guests, script: &str, oracle: bool) -> Result<u8> {
    let job = Job::Script(script);
    if !oracle {
        print!("{}", guests.run(System::Menagerie, &job)?.text());
        return Ok(0);
    }
    let (ours, theirs) = guests.run_both(&job)?;
    let differences = shrink::side_by_side(&ours, &theirs);
    println!("{}", if differences.is_empty() { ours.text() } else { &differences });
    Ok(u8::from(!differences.is_empty()))
}

fn make_folder(folder: &Path) -> Result<()> {
    fs::create_dir_all(folder).with_context(|| format!("cannot create {}", folder.display()))
}

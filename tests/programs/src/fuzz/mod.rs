//! A fuzzer of system calls: processes and threads in a container make calls with half-sensible arguments, in rounds.
//!
//! `calls` describes what each argument of each call is, `values` and `structures` make it up, `restricted` says what
//! root leaves out. After each round all tasks are ended and everything that was made is taken away: `census` must find
//! every count as before, and after a round of a plain user `belongings` everything of root's as it was.
//!
//! The choices follow from seed, round, place of the thread and number of the call. So a round of one thread on one CPU
//! is the same each time; with several, each still makes the same choices, but numbers of files and tasks, and who comes
//! first, depend on the others.

mod belongings;
mod calls;
mod census;
mod clean;
mod kinds;
mod memory;
mod restricted;
mod ring;
mod sets;
mod structures;
mod values;
mod worker;

use belongings::Belongings;
use census::Census;
use libc::*;
use ring::Ring;
use std::fs;
use std::os::fd::AsRawFd;
use std::path::Path;
use std::sync::atomic::Ordering::Relaxed;
use std::thread::sleep;
use std::time::{Duration, Instant};
use worker::{Round, THREADS};

/// The container of a round, in a hierarchy of the test's own.
const CONTAINER: &str = "/tmp/fuzz/box/round";

/// Where the tasks work: a file system of the round's own.
const WORK: &str = "/tmp/fuzz/work";

/// Rounds after which everything is there that is made once and kept: the counts of the next are those to come back to.
const WARM_UP: u64 = 4;

/// A process whose calls don't get on is ended after so many looks at it.
const LOOKS: u32 = 40;

/// How long all tasks of a round may take to end, and the file system to be free. Reached only if something hangs.
const PATIENCE: Duration = Duration::from_secs(100);

/// What to do.
pub struct Plan {
    /// What decides the choices.
    pub seed: u64,
    /// The first round.
    pub first: u64,
    /// How many rounds at most.
    pub rounds: u64,
    /// When no further round begins.
    pub seconds: u64,
    /// Processes at a time.
    pub processes: usize,
    /// Calls of each thread in a round.
    pub calls: u64,
    /// Which calls, as places among [`calls::CALLS`].
    pub only: &'static [usize],
}

/// The plan in words: seed, first round, rounds, seconds, processes, calls, and if not all the names of the calls.
pub fn from_words(words: &[&str]) -> Option<Plan> {
    let [seed, first, rounds, seconds, processes, calls, names @ ..] = words else { return None };
    let number = |word: &str| word.parse::<u64>().ok();
    let places = (0..calls::CALLS.len()).filter(|place| names.is_empty() || names.contains(&calls::CALLS[*place].1));
    let only: Vec<usize> = places.collect();
    (!only.is_empty()).then_some(())?;
    Some(Plan {
        seed: number(seed)?,
        first: number(first)?,
        rounds: number(rounds)?,
        seconds: number(seconds)?,
        processes: (number(processes)? as usize).clamp(1, 64),
        calls: number(calls)?,
        only: only.leak(),
    })
}

/// Runs the rounds; says what it finds.
pub fn run(plan: &Plan) -> bool {
    match rounds(plan) {
        Ok(summary) => {
            println!("{summary}, no finding");
            true
        }
        Err(finding) => {
            println!("finding: {finding}");
            false
        }
    }
}

fn rounds(plan: &Plan) -> Result<String, String> {
    clean::lay_out()?;
    let rings = Ring::several(plan.processes * THREADS).ok_or("no memory for the rings")?;
    let mut belongings = Belongings::lay_out().map_err(|error| format!("root's files: {error}"))?;
    // SAFETY: takes no address; the structure lives until the call is over.
    unsafe {
        prctl(PR_SET_CHILD_SUBREAPER, 1);
        let priority: c_int = 99;
        syscall(SYS_sched_setscheduler, 0, SCHED_FIFO, &raw const priority);
    }
    let (started, mut number, mut made) = (Instant::now(), plan.first, 0);
    // What is made once, and then kept, may be made in the first rounds.
    let mut first_census = Census::take();
    while number < plan.first + plan.rounds && started.elapsed() < Duration::from_secs(plan.seconds) {
        let mut round = Round {
            seed: plan.seed,
            number,
            root: number.is_multiple_of(2),
            calls: plan.calls,
            only: plan.only,
            others: [1, u64::from(std::process::id()), u64::from(belongings.witness())],
            work: -1,
        };
        let who = if round.root { "root" } else { "a user" };
        if !round.root {
            belongings.take_devices_back();
            belongings.make_objects();
        }
        let before = belongings.look();
        let result = play(&mut round, rings, plan.processes).and_then(|()| clean::after_round());
        let said = |text: String| {
            // What is wrong comes last: of a long report often only the end is kept.
            let mut report = format!("seed {} round {number} as {who}, after these calls:", plan.seed);
            for (place, ring) in rings.iter().enumerate() {
                report.push_str(&format!("\nthread {place}:\n  {}", ring.last(6).join("\n  ")));
            }
            format!("{report}\n{text}")
        };
        result.map_err(said)?;
        made += rings.iter().map(|ring| ring.begun.load(Relaxed)).sum::<u64>();
        if !round.root {
            let after = belongings.look();
            let changed = before.iter().zip(&after).find(|(before, after)| before != after);
            if let Some((before, after)) = changed {
                return Err(said(format!("a user changed what is root's: {before:?} became {after:?}")));
            }
        }
        clean::objects()?;
        let warm = number >= plan.first + WARM_UP;
        let mut census = Census::take();
        let begun = Instant::now();
        while !census.differences(&first_census, warm).is_empty() && begun.elapsed() < PATIENCE {
            // A task is gone from its container before it is gone.
            reap(&mut []);
            sleep(Duration::from_millis(20));
            census = Census::take();
        }
        println!("round {number} as {who}: {made} calls, {}", census.summary(&first_census));
        let differences = census.differences(&first_census, warm);
        if !differences.is_empty() {
            return Err(said(differences.join("\n")));
        }
        if !warm {
            first_census = census;
        }
        number += 1;
    }
    belongings.clear();
    clean::take_away()?;
    Ok(format!("{} rounds, {made} calls of {} kinds", number - plan.first, plan.only.len()))
}

/// Whether the kernel writes what the argument at that place of the call points to, and does not read it.
pub fn is_written(number: u64, place: usize) -> bool {
    calls::CALLS.iter().any(|(described, _, kinds)| *described == number && kinds.get(place) == Some(&kinds::Kind::Out))
}

/// The descriptions of the calls that the kernel has.
#[cfg(test)]
pub fn calls_of_the_kernel() -> impl Iterator<Item = (u64, &'static str, &'static [kinds::Kind])> {
    let here = |number| calls::catalogue().any(|(listed, _, here)| here && listed == number);
    calls::CALLS.iter().copied().filter(move |(number, ..)| here(*number))
}

/// One round: starts processes, another one where one has ended early, and ends what is left when all have done their
/// share.
fn play(round: &mut Round, rings: &'static [Ring], processes: usize) -> Result<(), String> {
    let work = clean::before_round(round.root, round.root && !round.number.is_multiple_of(8))?;
    round.work = work.as_raw_fd();
    for (place, ring) in rings.iter().enumerate() {
        ring.start(round.seed, round.number, place as u64);
    }
    let mut children: Vec<(pid_t, u64, u32)> = vec![(0, 0, 0); processes];
    let mut said = Instant::now();
    let (mut seen_of_all, mut looks_at_all) = (0, 0);
    loop {
        reap(&mut children);
        let mut busy = false;
        for (place, (child, seen, looks)) in children.iter_mut().enumerate() {
            let own = &rings[place * THREADS..(place + 1) * THREADS];
            let done = own.iter().all(|ring| ring.begun.load(Relaxed) >= round.calls);
            busy |= !done;
            if *child == 0 && !done {
                // SAFETY: this process has one thread, so the child may do anything.
                *child = unsafe { fork() };
                if *child == 0 {
                    worker::run(round, rings, place * THREADS);
                }
                (*seen, *looks) = (0, 0);
                continue;
            }
            let now = own.iter().map(|ring| ring.begun.load(Relaxed)).sum();
            (*looks, *seen) = if now == *seen { (*looks + 1, *seen) } else { (0, now) };
            if *looks > LOOKS && *child > 0 {
                // SAFETY: takes no address.
                unsafe { kill(*child, SIGKILL) };
                *looks = 0;
            }
        }
        if !busy {
            break;
        }
        let begun: u64 = rings.iter().map(|ring| ring.begun.load(Relaxed)).sum();
        (looks_at_all, seen_of_all) = if begun == seen_of_all { (looks_at_all + 1, begun) } else { (0, begun) };
        if looks_at_all > 4 * LOOKS {
            // Sleeping children of children leave no room in the container for another process.
            empty()?;
            children.fill((0, 0, 0));
            looks_at_all = 0;
        }
        if said.elapsed() > Duration::from_secs(2) {
            said = Instant::now();
            println!("beat: round {}, {begun} calls", round.number);
        }
        sleep(Duration::from_millis(5));
    }
    empty()
}

/// Takes note of children that have ended, and of those that were left to this process.
fn reap(children: &mut [(pid_t, u64, u32)]) {
    loop {
        let mut status = 0;
        // SAFETY: the status lives until the call is over.
        let told = unsafe { waitpid(-1, &raw mut status, WNOHANG) };
        if told <= 0 {
            return;
        }
        // Who has made this process its tracer stops for it, until it is found to do nothing.
        if WIFSTOPPED(status) {
            continue;
        }
        if let Some(child) = children.iter_mut().find(|(child, ..)| *child == told) {
            child.0 = 0;
        }
    }
}

/// Where the threads of a process are, as far as `/proc` tells. Their names may be no text.
fn threads_of(process: pid_t) -> Vec<String> {
    let threads = fs::read_dir(format!("/proc/{process}/task")).into_iter().flatten().flatten();
    let told = threads.map(|thread| {
        let file =
            |name: &str| String::from_utf8_lossy(&fs::read(thread.path().join(name)).unwrap_or_default()).into_owned();
        format!("{}: {}{}", thread.path().display(), file("stat"), file("stack"))
    });
    let told: Vec<String> = told.collect();
    if told.is_empty() { vec![format!("{process} has no threads in /proc")] } else { told }
}

/// Ends all tasks of the container and waits until it is empty.
fn empty() -> Result<(), String> {
    let begun = Instant::now();
    let mut said = begun;
    loop {
        reap(&mut []);
        let tasks = fs::read_to_string(Path::new(CONTAINER).join("cgroup.procs")).map_err(|error| error.to_string())?;
        let tasks: Vec<pid_t> = tasks.lines().filter_map(|line| line.parse().ok()).collect();
        if tasks.is_empty() {
            return Ok(());
        }
        for task in &tasks {
            // SAFETY: takes no address.
            unsafe { kill(*task, SIGKILL) };
        }
        if begun.elapsed() > PATIENCE {
            let states: Vec<String> = tasks.iter().flat_map(|task| threads_of(*task)).collect();
            return Err(format!("tasks that were killed are still there:\n{}", states.join("\n")));
        }
        if said.elapsed() > Duration::from_secs(2) {
            said = Instant::now();
            println!("beat: {} tasks are still to end", tasks.len());
        }
        sleep(Duration::from_millis(5));
    }
}

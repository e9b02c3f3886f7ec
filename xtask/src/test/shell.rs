//! Scenarios: types each file of a folder into the guest's shell and compares what comes back.
//!
//! Scenarios that want the same machine share one boot, until one of them fails or ends the machine. Those of
//! `tests/scenarios` meet our own userland, those of `tests/linux` Debian's.

use std::collections::BTreeMap;
use std::fs;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};

use super::console::{PROMPT, Session, Stop};
use super::report::Report;
use super::scenario::{self, End, Scenario, Step, Wish};
use super::{USUAL, Workshop, shape};
use crate::command_line::Test;
use crate::emulator::{self, Boot, Ending};
use crate::shape::{Shape, Size};
use crate::toolchain::Toolchain;
use crate::workspace::{self, RunFolder};
use crate::{image, images, kernel, rootfs};

/// A folder of scenarios and the userland that they are typed into.
pub(super) struct Userland {
    /// The word in front of each result.
    suite: &'static str,
    /// Where the scenarios lie.
    folder: &'static str,
    /// Whether it is Debian's.
    debian: bool,
    /// The machine of those who ask for nothing.
    usual: Shape,
}

/// Our own programs.
pub(super) const OURS: Userland = Userland { suite: "shell", folder: "tests/scenarios", debian: false, usual: USUAL };

/// Debian's, whose archive lies in memory.
pub(super) const DEBIANS: Userland = Userland {
    suite: "linux",
    folder: "tests/linux",
    debian: true,
    usual: Shape { memory: Size::mebibytes(1024), ..USUAL },
};

/// What lies beside Debian's scenarios for their use, and where the guest finds it.
const DEBIANS_FILES: (&str, &str) = ("tests/linux/files", "/tests");

/// Typed into Debian's bash before anything else: readline draws long lines its own way.
const NO_LINE_EDITING: &str = "set +o emacs +o vi";

/// How long a step may take unless the scenario says otherwise: TCG on a busy host is slow.
const PATIENCE: Duration = Duration::from_secs(60);

/// After so many boots in a row without a prompt the rest of the scenarios would only take time.
const ENOUGH_FAILED_BOOTS: u32 = 2;

/// The shell's first prompt did not come.
#[derive(Debug)]
struct NoPrompt(String);

impl std::fmt::Display for NoPrompt {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(out, "no prompt: {}", self.0)
    }
}

impl std::error::Error for NoPrompt {}

/// Runs the scenarios whose names (the file's, and the title) contain `filter`.
pub fn run(userland: &Userland, filter: &str, options: &Test, report: &mut Report) -> Result<()> {
    let suite = userland.suite;
    let base = shape(options, userland.usual);
    // Somebody who names a machine wants that one; otherwise each scenario gets what it asks for.
    let only_this_machine = options.names_a_machine();
    let mut by_shape: BTreeMap<Shape, Vec<(String, Scenario)>> = BTreeMap::new();
    for (name, scenario) in load(userland, filter, report)? {
        if scenario.wish.long && !options.long {
            report.skipped(suite, &described(&name, &scenario), "it takes minutes; --long runs it");
        } else if userland.debian && !rootfs::is_possible() {
            report.skipped(suite, &described(&name, &scenario), "there is no apt here to get Debian's packages");
        } else if only_this_machine && !scenario.wish.is_fulfilled_by(base) {
            report.skipped(suite, &name, &format!("it wants another machine ({})", scenario.wish.shape(base)));
        } else {
            by_shape.entry(scenario.wish.shape(base)).or_default().push((name, scenario));
        }
    }
    if by_shape.is_empty() {
        return Ok(());
    }
    let workshop = if userland.debian { debians_workshop(options)? } else { Workshop::open(options, false)? };
    for (shape, scenarios) in by_shape {
        report.heading(&format!("Scenarios ({shape})"));
        let mut shared = None;
        let mut failed_boots = 0;
        for (name, scenario) in scenarios {
            let started = Instant::now();
            if failed_boots == ENOUGH_FAILED_BOOTS {
                report.failed(suite, &described(&name, &scenario), "not tried: this machine does not boot");
                continue;
            }
            match run_one(&name, &scenario, shape, &workshop, &mut shared) {
                Ok(()) => report.passed(suite, &described(&name, &scenario), Some(started.elapsed())),
                Err(error) => {
                    failed_boots = if error.is::<NoPrompt>() { failed_boots + 1 } else { 0 };
                    report.failed(suite, &described(&name, &scenario), &format!("{error:#}"));
                }
            }
        }
    }
    Ok(())
}

fn debians_workshop(options: &Test) -> Result<Workshop> {
    let (host, guest) = DEBIANS_FILES;
    let initramfs = |run: &RunFolder| rootfs::usual_with(&workspace::root().join(host), guest, run);
    let kernel = |toolchain: &Toolchain| kernel::build(super::variant(options, false), toolchain);
    let workshop = Workshop::open_with(options, kernel, initramfs)?;
    Ok(Workshop { first_line: Some(NO_LINE_EDITING), ..workshop })
}

/// How a scenario is called in a report.
pub(super) fn described(name: &str, scenario: &Scenario) -> String {
    format!("{name} ({})", scenario.title.trim_end_matches('.'))
}

/// The scenarios by name. A file that cannot be understood is a failure.
fn load(userland: &Userland, filter: &str, report: &mut Report) -> Result<Vec<(String, Scenario)>> {
    let folder = workspace::root().join(userland.folder);
    let mut scenarios = Vec::new();
    let entries = fs::read_dir(&folder).with_context(|| format!("cannot read {}", folder.display()))?;
    for entry in entries {
        let path = entry?.path();
        if path.extension().is_none_or(|extension| extension != "txt") {
            continue;
        }
        let name = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        let text = fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
        match scenario::parse(&text) {
            Ok(scenario) if described(&name, &scenario).contains(filter) => scenarios.push((name, scenario)),
            Ok(_) => {}
            Err(error) => report.failed(userland.suite, &name, &format!("{}: {error:#}", path.display())),
        }
    }
    scenarios.sort_by(|(left, _), (right, _)| left.cmp(right));
    Ok(scenarios)
}

/// Runs one scenario in the shared machine, if there is one and it may share; leaves the machine there if it is as
/// good as new.
pub(super) fn run_one(
    name: &str,
    scenario: &Scenario,
    shape: Shape,
    workshop: &Workshop,
    shared: &mut Option<Session>,
) -> Result<()> {
    let alone = scenario.wish.is_alone();
    let patience = scenario.wish.patience.unwrap_or(PATIENCE);
    let mut session = match shared.take() {
        Some(session) if !alone => session,
        _ => boot(name, &scenario.wish, shape, workshop)?,
    };
    let mut ended = false;
    for step in &scenario.steps {
        ensure!(!ended, "line {}: the machine has ended before", step.line);
        ended = run_step(step, &mut session, patience).with_context(|| format!("line {}", step.line))?;
    }
    if !alone && !ended {
        *shared = Some(session);
    }
    Ok(())
}

fn boot(name: &str, wish: &Wish, shape: Shape, workshop: &Workshop) -> Result<Session> {
    let words = format!("log=ttyS1 TERM=dumb PS1={PROMPT} {}", wish.append);
    let mut machine = workshop.machine(&format!("scenario-{name}"), shape, words)?;
    machine.icount = wish.icount;
    if wish.gzip || wish.image {
        let packed = image::compressed(&machine.initramfs, &workshop.run)?;
        if wish.image {
            let image = workshop.run.path().join("image");
            images::build(&workshop.kernel.stripped, shape.firmware, Some(&packed), &image)?;
            let symbols = workshop.kernel.symbols.clone();
            machine.boot = Boot::Menagerie { image, with_initramfs: true, symbols };
        }
        machine.initramfs = packed;
    }
    let mut session = Session::start(machine, &workshop.run)?;
    let mut answer = session.read_until(PROMPT, PATIENCE);
    if let (Some(line), Stop::Found) = (workshop.first_line, answer.1) {
        session.press(format!("{line}\n").as_bytes())?;
        answer = session.read_until(PROMPT, PATIENCE);
    }
    match answer {
        (_, Stop::Found) => Ok(session),
        (output, stop) => {
            session.guest.kill();
            let log = &session.machine.log;
            let tail = emulator::end_of_log(log, 40);
            let why = format!("{stop:?}; console:\n{output}\nthe end of {}:\n{tail}", log.display());
            Err(NoPrompt(why).into())
        }
    }
}

/// Does one step; says whether the machine has ended, as it should.
fn run_step(step: &Step, session: &mut Session, patience: Duration) -> Result<bool> {
    let log_before = fs::read(&session.machine.log).unwrap_or_default().len();
    session.press(format!("{}\n", step.command).as_bytes())?;
    if !step.keys.is_empty() {
        press_keys(step, session, patience)?;
    }
    let (output, stop) = session.read_until(PROMPT, patience);
    let output = without_echo(&output, &step.command);
    let lines: Vec<&str> = output.lines().collect();
    let ending = check_end(step, session, stop, patience)?;
    if !scenario::agrees(&step.expected, &lines) {
        let how = if stop == Stop::TimedOut { "no prompt came, and " } else { "" };
        bail!("{how}expected:\n{}read:\n{output}", scenario::in_words(&step.expected));
    }
    ensure!(stop != Stop::TimedOut, "no prompt came within {} s", patience.as_secs());
    let log = fs::read(&session.machine.log).unwrap_or_default();
    let log = String::from_utf8_lossy(log.get(log_before..).unwrap_or_default()).into_owned();
    for wanted in &step.log {
        ensure!(log.lines().any(|line| wanted.is_match(line)), "no line of the log matches `{wanted}`:\n{log}");
    }
    Ok(ending)
}

/// Presses each key when its text has been read, after the echo of the command and after the key before.
fn press_keys(step: &Step, session: &mut Session, patience: Duration) -> Result<()> {
    let mut from = session.wait_for("\n", 0, patience).unwrap_or(0);
    for key in &step.keys {
        match session.wait_for(&key.when, from, patience) {
            Ok(end) => from = end,
            Err(stop) => bail!("{:?} was not read ({stop:?})", key.when),
        }
        session.press(&[key.byte])?;
    }
    Ok(())
}

/// Whether the machine ended, if that is what the step says; an end too many or too few is an error.
fn check_end(step: &Step, session: &mut Session, stop: Stop, patience: Duration) -> Result<bool> {
    let tail = |session: &Session| emulator::end_of_log(&session.machine.log, 40);
    match (step.end, stop) {
        (None, Stop::Ended) => {
            session.guest.kill();
            bail!("the machine ended; the end of its log:\n{}", tail(session))
        }
        (None, _) => Ok(false),
        (Some(_), Stop::Found) => bail!("the machine goes on"),
        (Some(wanted), _) => {
            let log = session.machine.log.clone();
            let ending = emulator::wait(&mut session.guest, &log, Some(Instant::now() + patience))?;
            let right = match wanted {
                End::Off => ending == Ending::Off,
                End::Panic => ending == Ending::Panic,
                End::Status(status) => ending == Ending::Status(status),
            };
            ensure!(right, "the machine should end {wanted:?}, and it ended {ending:?}:\n{}", tail(session));
            Ok(true)
        }
    }
}

/// What was typed is echoed by the terminal; that is no output of the command.
fn without_echo<'a>(output: &'a str, command: &str) -> &'a str {
    match output.strip_prefix(command) {
        Some(rest) => rest.strip_prefix('\n').unwrap_or(rest),
        None => output,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_scenario_in_the_repository_can_be_understood() {
        for userland in [&OURS, &DEBIANS] {
            let mut report = Report::to(std::io::sink());
            assert!(!load(userland, "", &mut report).unwrap().is_empty());
            assert_eq!(report.end(), 0);
        }
    }

    #[test]
    fn only_the_echo_of_the_command_is_dropped() {
        assert_eq!(without_echo("ls /\nbin\n", "ls /"), "bin\n");
        assert_eq!(without_echo("bin\n", "ls /"), "bin\n");
        assert_eq!(without_echo("true\n", "true"), "");
    }
}

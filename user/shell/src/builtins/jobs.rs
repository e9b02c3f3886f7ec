//! `jobs`, `fg`, `bg`, `wait`, `disown`, and what keeps `exit` from leaving stopped jobs behind.

use std::io::Write;
use std::sync::atomic::{AtomicBool, Ordering};

use brush_core::builtins::BoxFuture;
use brush_core::{CommandArg, ExecutionExitCode, ExecutionResult};
use rustix::process::Pid;
use tokio::signal::unix::{SignalKind, signal};

use super::{Context, Outcome, words};
use crate::foreground::{self, controls_jobs};
use crate::interrupt;
use crate::jobs::{self, Job, State};
use crate::session::Shell;

/// The words after a builtin's name: its options, and the rest.
fn options_and_rest(arguments: Vec<CommandArg>) -> (String, Vec<String>) {
    let mut letters = String::new();
    let mut rest = words(arguments).into_iter().skip(1).peekable();
    while let Some(word) = rest.next_if(|word| word.len() > 1 && word.starts_with('-')) {
        if word == "--" {
            break;
        }
        letters.push_str(&word[1..]);
    }
    (letters, rest.collect())
}

/// Tells what is wrong, after the builtin's name; the result of a failure.
fn complain(context: &Context<'_>, message: &str) -> Outcome {
    writeln!(context.stderr(), "sh: {}: {message}", context.command_name)?;
    Ok(ExecutionResult::general_error())
}

/// `jobs [-lprs] [JOB]…`: lists them, with `-l` with their processes, with `-p` only the numbers of these, with `-r` and
/// `-s` only those that run or are stopped.
pub fn jobs(context: Context<'_>, arguments: Vec<CommandArg>) -> BoxFuture<'_, Outcome> {
    Box::pin(async move {
        let (letters, names) = options_and_rest(arguments);
        let has = |letter| letters.contains(letter);
        if let Some(unknown) = letters.chars().find(|letter| !"lprs".contains(*letter)) {
            complain(&context, &format!("-{unknown}: invalid option"))?;
            return Ok(ExecutionResult::new(2));
        }
        let hidden = context.shell.is_subshell();
        let (mut lines, mut messages) = (Vec::new(), Vec::new());
        {
            let mut table = jobs::table();
            table.look();
            let mut ids: Vec<usize> = Vec::new();
            for name in &names {
                match table.find(Some(name), hidden) {
                    Ok(id) => ids.push(id),
                    Err(message) => messages.push(message),
                }
            }
            if names.is_empty() {
                ids = table.jobs(hidden).map(|job| job.id).collect();
            }
            for id in ids {
                let mark = table.mark(id);
                let Some(job) = table.get(id) else { continue };
                let state = job.state();
                if has('r') && state != State::Running || has('s') && !matches!(state, State::Stopped(_)) {
                    continue;
                }
                job.told = state;
                lines.push(match job.members.first() {
                    Some(first) if has('p') => first.process.as_raw_nonzero().to_string(),
                    _ if has('l') => job.long_lines(mark),
                    _ => job.line(mark),
                });
                if state.has_ended() && !has('p') {
                    table.bury(id);
                }
            }
        }
        let mut out = context.stdout();
        lines.iter().try_for_each(|line| writeln!(out, "{line}"))?;
        messages.iter().try_for_each(|message| complain(&context, message).map(drop))?;
        Ok(ExecutionResult::new(u8::from(!messages.is_empty())))
    })
}

/// The number of the job that a word names, or a message.
fn find(context: &Context<'_>, word: Option<&str>) -> Result<usize, String> {
    let mut table = jobs::table();
    table.look();
    table.find(word, context.shell.is_subshell())
}

/// `bg [JOB]…`: lets stopped jobs go on in the background.
pub fn bg(context: Context<'_>, arguments: Vec<CommandArg>) -> BoxFuture<'_, Outcome> {
    Box::pin(async move {
        let (_, names) = options_and_rest(arguments);
        if !controls_jobs(context.shell) {
            return complain(&context, "no job control");
        }
        let wanted: Vec<Option<&str>> =
            if names.is_empty() { vec![None] } else { names.iter().map(|name| Some(name.as_str())).collect() };
        let mut result = ExecutionResult::success();
        for word in wanted {
            let told = find(&context, word).and_then(|id| {
                let mut table = jobs::table();
                let mark = table.mark(id);
                let job = table.get(id).ok_or_else(|| format!("{id}: no such job"))?;
                match job.state() {
                    State::Running => Err(format!("job {id} already in background")),
                    State::Stopped(_) => {
                        job.resume().map_err(|errno| format!("{id}: {errno}"))?;
                        let line = format!("[{id}]{mark} {} &", job.text);
                        table.choose_current();
                        Ok(line)
                    }
                    _ => Err("job has terminated".to_owned()),
                }
            });
            match told {
                Ok(line) => writeln!(context.stdout(), "{line}")?,
                Err(message) => result = complain(&context, &message)?,
            }
        }
        Ok(result)
    })
}

/// `fg [JOB]`: brings a job to the terminal, lets it go on, and waits for it.
pub fn fg(context: Context<'_>, arguments: Vec<CommandArg>) -> BoxFuture<'_, Outcome> {
    Box::pin(async move {
        let (_, names) = options_and_rest(arguments);
        if !controls_jobs(context.shell) {
            return complain(&context, "no job control");
        }
        let id = match find(&context, names.first().map(String::as_str)) {
            Ok(id) => id,
            Err(message) => return complain(&context, &message),
        };
        let Some(mut job) = jobs::table().take(id) else { return Ok(ExecutionResult::general_error()) };
        if job.state().has_ended() {
            jobs::table().insert(job);
            return complain(&context, "job has terminated");
        }
        let (mut out, mut err) = (context.stdout(), context.stderr());
        writeln!(out, "{}", job.text)?;
        out.flush()?;
        interrupt::forget_stop();
        if let Some(group) = job.group() {
            foreground::give_terminal(group);
        }
        if let Err(errno) = job.resume() {
            return complain(&context, &errno.to_string());
        }
        Ok(foreground::wait(context.shell, job, 0, &mut err).await?.result)
    })
}

/// `disown [-a | -r] [JOB | PROCESS]…`: lets the shell forget jobs, which go on.
pub fn disown(context: Context<'_>, arguments: Vec<CommandArg>) -> BoxFuture<'_, Outcome> {
    Box::pin(async move {
        let (letters, names) = options_and_rest(arguments);
        let hidden = context.shell.is_subshell();
        let mut messages = Vec::new();
        {
            let mut table = jobs::table();
            table.look();
            let mut ids = Vec::new();
            if names.is_empty() && (letters.contains('a') || letters.contains('r')) {
                let wanted = |job: &&Job| letters.contains('a') || job.state() == State::Running;
                ids.extend(table.jobs(hidden).filter(wanted).map(|job| job.id));
            } else {
                let words: Vec<Option<&str>> =
                    if names.is_empty() { vec![None] } else { names.iter().map(|name| Some(name.as_str())).collect() };
                for word in words {
                    let of_process = word.and_then(process).and_then(|process| table.job_of(process));
                    match of_process.map_or_else(|| table.find(word, hidden), Ok) {
                        Ok(id) => ids.push(id),
                        Err(message) => messages.push(message),
                    }
                }
            }
            ids.iter().for_each(|id| drop(table.take(*id)));
        }
        messages.iter().try_for_each(|message| complain(&context, message).map(drop))?;
        Ok(ExecutionResult::new(u8::from(!messages.is_empty())))
    })
}

fn process(word: &str) -> Option<Pid> {
    word.parse().ok().and_then(Pid::from_raw)
}

/// `wait [-n] [JOB | PROCESS]…`: waits for these, or for all, or with `-n` for the next that ends; the status is the
/// last one's. Ctrl-C and traps end the waiting.
pub fn wait(context: Context<'_>, arguments: Vec<CommandArg>) -> BoxFuture<'_, Outcome> {
    Box::pin(async move {
        let (letters, names) = options_and_rest(arguments);
        let hidden = context.shell.is_subshell();
        let mut messages = Vec::new();
        let mut result = ExecutionResult::success();
        if letters.contains('n') {
            let known: Vec<usize> = jobs::table().jobs(hidden).map(|job| job.id).collect();
            let wanted = if names.is_empty() {
                known
            } else {
                names.iter().filter_map(|name| target(context.shell, name).ok()?.0).collect()
            };
            let ended = || wanted.iter().copied().find(|id| has_ended(*id));
            return match until(|| wanted.is_empty() || ended().is_some()).await? {
                Some(interrupted) => Ok(interrupted),
                None => Ok(ended().map_or(ExecutionResult::new(127), |id| conclude(context.shell, id))),
            };
        }
        if names.is_empty() {
            let done = || jobs::table().jobs(hidden).all(|job| job.state() != State::Running);
            if let Some(interrupted) = until(done).await? {
                return Ok(interrupted);
            }
            let ids: Vec<usize> = jobs::table().jobs(hidden).map(|job| job.id).collect();
            for id in ids.into_iter().filter(|id| has_ended(*id)) {
                conclude(context.shell, id);
            }
        }
        for name in &names {
            match target(context.shell, name) {
                Err(message) => {
                    messages.push(message);
                    result = ExecutionResult::new(127);
                }
                Ok((_, Some(process))) if jobs::table().status_of(process).is_some() => {
                    let (id, status) = {
                        let table = jobs::table();
                        (table.job_of(process), table.status_of(process).unwrap_or(0))
                    };
                    if let Some(id) = id.filter(|id| has_ended(*id)) {
                        conclude(context.shell, id);
                    }
                    result = ExecutionResult::new(status);
                }
                Ok((Some(id), process)) => {
                    let ended = || has_ended(id) || process.is_some_and(|one| jobs::table().status_of(one).is_some());
                    if let Some(interrupted) = until(ended).await? {
                        return Ok(interrupted);
                    }
                    let status = process.and_then(|one| jobs::table().status_of(one));
                    result = if has_ended(id) { conclude(context.shell, id) } else { ExecutionResult::success() };
                    if let Some(status) = status {
                        result = ExecutionResult::new(status);
                    }
                }
                Ok((None, _)) => result = ExecutionResult::new(127),
            }
        }
        messages.iter().try_for_each(|message| complain(&context, message).map(drop))?;
        Ok(result)
    })
}

/// The job, and the process if it is one, that a word of `wait` names.
fn target(shell: &Shell, word: &str) -> Result<(Option<usize>, Option<Pid>), String> {
    let mut table = jobs::table();
    table.look();
    if word.starts_with('%') {
        return Ok((Some(table.find(Some(word), shell.is_subshell())?), None));
    }
    let process = process(word).ok_or_else(|| format!("`{word}': not a pid or valid job spec"))?;
    let job = table.job_of(process);
    if job.is_none() && table.status_of(process).is_none() {
        return Err(format!("pid {word} is not a child of this shell"));
    }
    Ok((job, Some(process)))
}

fn has_ended(id: usize) -> bool {
    jobs::table().get(id).is_none_or(|job| job.state().has_ended())
}

/// Puts away a job that has ended; a person is told how, as they would be before the next prompt.
fn conclude(shell: &Shell, id: usize) -> ExecutionResult {
    let mut table = jobs::table();
    let mark = table.mark(id);
    let Some(job) = table.bury(id) else { return ExecutionResult::new(127) };
    if controls_jobs(shell) && !job.hidden {
        let _ = writeln!(shell.stderr(), "{}", job.line(mark));
    }
    ExecutionResult::new(job.state().status())
}

/// Waits until `done` says so, looking after each change of a child. An interrupt, or a signal that is trapped, ends it
/// with a result.
async fn until(done: impl Fn() -> bool) -> std::io::Result<Option<ExecutionResult>> {
    let mut changes = signal(SignalKind::child())?;
    let mut interrupts = signal(SignalKind::interrupt())?;
    let _decides = interrupt::LeftToChild::begin();
    loop {
        jobs::table().look();
        if done() {
            return Ok(None);
        }
        if interrupt::happened() {
            return Ok(Some(ExecutionExitCode::Interrupted.into()));
        }
        if let Some(signal) = interrupt::trap_waits() {
            return Ok(Some(ExecutionResult::new(u8::try_from(128 + signal).unwrap_or(255))));
        }
        tokio::select! {
            _ = changes.recv() => {}
            _ = interrupts.recv() => {}
            () = interrupt::trap_comes() => {}
        }
    }
}

/// What `kill` sends a signal to for a job: its process group, or its processes where it has no group of its own.
pub fn targets(shell: &Shell, specification: &str) -> Result<Vec<i32>, String> {
    let mut table = jobs::table();
    table.look();
    let id = table.find(Some(specification), shell.is_subshell())?;
    let job = table.get(id).ok_or_else(|| format!("{specification}: no such job"))?;
    Ok(match job.group() {
        Some(group) => vec![-group.as_raw_nonzero().get()],
        None => {
            let living = job.members.iter().filter(|member| !member.state.has_ended());
            living.map(|member| member.process.as_raw_nonzero().get()).collect()
        }
    })
}

/// Tells a person what has become of jobs since they last heard.
pub fn tell_news(shell: &Shell) {
    let lines = {
        let mut table = jobs::table();
        table.look();
        table.news()
    };
    let mut err = shell.stderr();
    let _ = lines.iter().try_for_each(|line| writeln!(err, "{line}"));
}

/// A person was told that jobs are stopped, and has done nothing since but look at them or leave again.
static WARNED: AtomicBool = AtomicBool::new(false);

/// Another command was run: a later `exit` warns again.
pub fn forget_warning(command: &str) {
    if !matches!(command, "exit" | "logout" | "jobs") {
        WARNED.store(false, Ordering::Relaxed);
    }
}

/// Whether a person may leave the shell; told once that jobs are stopped, they may.
pub fn may_leave(shell: &Shell) -> bool {
    let stopped = {
        let mut table = jobs::table();
        table.look();
        table.jobs(false).any(|job| matches!(job.state(), State::Stopped(_)))
    };
    if !controls_jobs(shell) || shell.is_subshell() || !stopped || WARNED.swap(true, Ordering::Relaxed) {
        return true;
    }
    let _ = writeln!(shell.stderr(), "There are stopped jobs.");
    false
}

//! Jobs: `COMMAND &`, `jobs`, `fg`, `bg`, `wait`.
//!
//! A job in the background is a process in a group of its own (in an interactive shell). brush's list of jobs can hold
//! only coroutines for it; so each process gets one that awaits it, and the table here knows which process it is.

use std::io::Write;
use std::process::Stdio;
use std::sync::{Mutex, MutexGuard, PoisonError};

use brush_core::builtins::BoxFuture;
use brush_core::jobs::{Job, JobState};
use brush_core::openfiles::OpenFiles;
use brush_core::{CommandArg, ErrorKind, ExecutionExitCode, ExecutionResult, ShellVariable, SourceInfo, commands};
use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, getpgid, getpgrp, kill_process_group, waitid};
use rustix::termios::tcsetpgrp;
use tokio::process::{Child, Command};
use tokio::signal::unix::{SignalKind, signal};

use super::{Context, Outcome, language, words};
use crate::rewrite::BACKGROUND_PROCESS;
use crate::session::{Shell, is_own_input, own_path};

/// The coroutine that stands for a process: `__await PROCESS`.
pub const AWAIT: &str = "__await";

/// A process that was started in the background.
struct Process {
    number: i32,
    /// Until it is awaited.
    child: Option<Child>,
    /// Its job's number in brush's list.
    job: usize,
    /// Once it has ended.
    status: Option<u8>,
}

static PROCESSES: Mutex<Vec<Process>> = Mutex::new(Vec::new());

/// How many ended processes are remembered for `wait NUMBER`.
const REMEMBERED: usize = 1000;

fn processes() -> MutexGuard<'static, Vec<Process>> {
    PROCESSES.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The number of the running process behind a job of brush's list.
fn process_of(job: &Job) -> Option<i32> {
    let ours =
        processes().iter().rev().find(|process| process.job == job.id && process.status.is_none()).map(|p| p.number);
    ours.or_else(|| job.process_group_id())
}

/// The process group of the job that `number` belongs to.
fn group_of(number: i32) -> Option<Pid> {
    let process = Pid::from_raw(number)?;
    getpgid(Some(process)).ok().or(Some(process))
}

/// `__background TEXT COMMAND [ARGUMENT…]`: starts the command and returns at once.
pub fn background(mut context: Context<'_>, arguments: Vec<CommandArg>) -> BoxFuture<'_, Outcome> {
    Box::pin(async move {
        let mut rest = words(arguments).into_iter().skip(1);
        let text = rest.next().unwrap_or_default();
        let command: Vec<String> = rest.collect();
        let [name, ..] = command.as_slice() else { return Ok(ExecutionResult::success()) };
        let mut process = compose(&mut context, command.clone())?;
        if context.try_fd(OpenFiles::STDIN_FD).is_some_and(|file| is_own_input(&file)) {
            process.stdin(Stdio::null());
        }
        let in_own_group = context.shell.options().enable_job_control;
        if in_own_group {
            std::os::unix::process::CommandExt::process_group(&mut process, 0);
        }
        let child =
            Command::from(process).spawn().map_err(|error| ErrorKind::FailedToExecuteCommand(name.clone(), error))?;
        let Some(number) = child.id().and_then(|id| i32::try_from(id).ok()) else {
            return Ok(ExecutionResult::success());
        };
        {
            let mut processes = processes();
            if processes.len() >= REMEMBERED {
                processes.retain(|process| process.status.is_none());
            }
            processes.push(Process { number, child: Some(child), job: 0, status: None });
        }
        add_job(context.shell, number, text).await?;
        context.shell.set_env_global(BACKGROUND_PROCESS, ShellVariable::new(number.to_string()))?;
        if context.shell.options().interactive
            && !context.shell.is_subshell()
            && let Some(job) = context.shell.jobs().current_job()
        {
            writeln!(context.stderr(), "[{}] {number}", job.id)?;
        }
        Ok(ExecutionResult::success())
    })
}

/// The program to start for `command`: itself, or another shell for what only a shell knows.
fn compose(context: &mut Context<'_>, mut command: Vec<String>) -> Result<std::process::Command, brush_core::Error> {
    if let Some(alias) = context.shell.aliases().get(&command[0]) {
        command.splice(0..1, alias.split_ascii_whitespace().map(str::to_owned).collect::<Vec<_>>());
    }
    let name = command[0].clone();
    let known = context.shell.funcs().get(&name).is_some() || context.shell.builtins().contains_key(&name);
    if known && !name.contains('/') {
        let script = format!("{}\"$@\"", language::state_text(context.shell));
        let mut other: Vec<String> = vec!["-c".to_owned(), script, "sh".to_owned()];
        other.append(&mut command);
        return commands::compose_std_command(context, &own_path(), "sh", &other, false);
    }
    let path = if name.contains('/') {
        name.clone()
    } else {
        match context.shell.find_first_executable_in_path_using_cache(&name) {
            Some(path) => path.to_string_lossy().into_owned(),
            None => return Err(ErrorKind::CommandNotFound(name).into()),
        }
    };
    commands::compose_std_command(context, &path, &name, &command[1..], false)
}

/// Puts the process into brush's list of jobs.
async fn add_job(shell: &mut Shell, number: i32, text: String) -> Result<(), brush_core::Error> {
    // brush would announce the coroutine.
    let interactive = std::mem::replace(&mut shell.options_mut().interactive, false);
    let parameters = shell.default_exec_params();
    let added = shell.run_string(format!("{AWAIT} {number} &"), &SourceInfo::from(AWAIT), &parameters).await;
    shell.options_mut().interactive = interactive;
    added?;
    if let Some(job) = shell.jobs_mut().current_job_mut() {
        job.command_line = text;
        let id = job.id;
        processes().iter_mut().filter(|process| process.number == number).for_each(|process| process.job = id);
    }
    Ok(())
}

/// `__await PROCESS`: ends when the process does, with its status.
pub fn await_process(_context: Context<'_>, arguments: Vec<CommandArg>) -> BoxFuture<'_, Outcome> {
    Box::pin(async move {
        let number: i32 = words(arguments).get(1).and_then(|word| word.parse().ok()).unwrap_or_default();
        let child = processes().iter_mut().rev().find(|process| process.number == number).and_then(|p| p.child.take());
        let Some(mut child) = child else { return Ok(ExecutionResult::new(127)) };
        let result = ExecutionResult::from(std::process::Output {
            status: child.wait().await?,
            stdout: Vec::new(),
            stderr: Vec::new(),
        });
        if let Some(process) = processes().iter_mut().rev().find(|process| process.number == number) {
            process.status = Some(u8::from(&result.exit_code));
        }
        Ok(result)
    })
}

/// `jobs [-l | -p]`: lists them, with `-l` with their process numbers, with `-p` only these.
pub fn jobs(context: Context<'_>, arguments: Vec<CommandArg>) -> BoxFuture<'_, Outcome> {
    Box::pin(async move {
        let option = words(arguments).into_iter().nth(1).unwrap_or_default();
        let mut out = context.stdout();
        for job in &context.shell.jobs().jobs {
            let process = process_of(job).map_or_else(String::new, |number| number.to_string());
            match option.as_str() {
                "-p" => writeln!(out, "{process}")?,
                "-l" => {
                    writeln!(out, "[{}]{:2} {process} {}\t{}", job.id, job.annotation(), job.state, job.command_line)?
                }
                _ => writeln!(out, "{job}")?,
            }
        }
        Ok(ExecutionResult::success())
    })
}

/// The job that an argument names (`%2`, `2`, none for the current one), or a message and `None`.
fn named_job(context: &mut Context<'_>, argument: Option<&String>) -> Option<usize> {
    let found = match argument {
        None => context.shell.jobs().current_job().map(|job| job.id),
        Some(word) => {
            let number = if word.starts_with('%') { word.clone() } else { format!("%{word}") };
            context.shell.jobs_mut().resolve_job_spec(&number).map(|job| job.id)
        }
    };
    if found.is_none() {
        let what = argument.map_or_else(|| "no current job".to_owned(), |word| format!("{word}: no such job"));
        let _ = writeln!(context.stderr(), "sh: {}: {what}", context.command_name);
    }
    found
}

fn job_mut(shell: &mut Shell, id: usize) -> Option<&mut Job> {
    shell.jobs_mut().jobs.iter_mut().find(|job| job.id == id)
}

/// `bg [JOB]`: lets a stopped job go on in the background.
pub fn bg(mut context: Context<'_>, arguments: Vec<CommandArg>) -> BoxFuture<'_, Outcome> {
    Box::pin(async move {
        let Some(id) = named_job(&mut context, words(arguments).get(1)) else {
            return Ok(ExecutionResult::general_error());
        };
        let mut out = context.stdout();
        if let Some(job) = job_mut(context.shell, id) {
            if let Some(group) = process_of(job).and_then(group_of) {
                kill_process_group(group, Signal::CONT).map_err(std::io::Error::from)?;
            }
            job.state = JobState::Running;
            writeln!(out, "[{id}] {} &", job.command_line)?;
        }
        Ok(ExecutionResult::success())
    })
}

/// `fg [JOB]`: brings a job to the terminal, lets it go on, and waits for it.
pub fn fg(mut context: Context<'_>, arguments: Vec<CommandArg>) -> BoxFuture<'_, Outcome> {
    Box::pin(async move {
        let Some(id) = named_job(&mut context, words(arguments).get(1)) else {
            return Ok(ExecutionResult::general_error());
        };
        let (mut out, mut err) = (context.stdout(), context.stderr());
        let Some(job) = job_mut(context.shell, id) else { return Ok(ExecutionResult::general_error()) };
        writeln!(out, "{}", job.command_line)?;
        let process = process_of(job);
        if let Some(group) = process.and_then(group_of).filter(|group| *group != getpgrp()) {
            let _ = tcsetpgrp(std::io::stdin(), group);
            let _ = kill_process_group(group, Signal::CONT);
        }
        job.state = JobState::Running;
        let result = tokio::select! {
            result = job.wait() => result?,
            () = stopped(process.and_then(Pid::from_raw)) => {
                job.state = JobState::Stopped;
                ExecutionResult::stopped()
            }
        };
        let _ = tcsetpgrp(std::io::stdin(), getpgrp());
        if matches!(job.state, JobState::Stopped) {
            writeln!(err, "\r{job}")?;
        } else {
            context.shell.jobs_mut().poll()?;
        }
        Ok(result)
    })
}

/// Returns when the process has stopped.
async fn stopped(process: Option<Pid>) {
    let (Some(process), Ok(mut children)) = (process, signal(SignalKind::child())) else {
        return std::future::pending().await;
    };
    while children.recv().await.is_some() {
        if let Ok(Some(_)) = waitid(WaitId::Pid(process), WaitIdOptions::STOPPED | WaitIdOptions::NOHANG) {
            return;
        }
    }
}

/// `wait [JOB | PROCESS]…`: waits for these, or for all; the status is the last one's.
pub fn wait(context: Context<'_>, arguments: Vec<CommandArg>) -> BoxFuture<'_, Outcome> {
    Box::pin(async move {
        let names: Vec<String> = words(arguments).into_iter().skip(1).collect();
        let mut err = context.stderr();
        let all = async {
            let mut result = ExecutionResult::success();
            if names.is_empty() {
                for job in &mut context.shell.jobs_mut().jobs {
                    job.wait().await?;
                }
            }
            for name in &names {
                result = wait_for(context.shell, name, &mut err).await?;
            }
            Ok::<_, brush_core::Error>(result)
        };
        let result = tokio::select! {
            result = all => result?,
            _ = tokio::signal::ctrl_c() => ExecutionExitCode::Interrupted.into(),
        };
        context.shell.jobs_mut().poll()?;
        Ok(result)
    })
}

async fn wait_for(shell: &mut Shell, name: &str, err: &mut impl Write) -> Outcome {
    let id = if name.starts_with('%') {
        shell.jobs_mut().resolve_job_spec(name).map(|job| job.id)
    } else {
        let number: Option<i32> = name.parse().ok();
        let known = processes().iter().rev().find(|process| Some(process.number) == number).map(|p| (p.job, p.status));
        if let Some((_, Some(status))) = known {
            return Ok(ExecutionResult::new(status));
        }
        known.map(|(job, _)| job)
    };
    match id.and_then(|id| job_mut(shell, id)) {
        Some(job) => job.wait().await,
        None => {
            writeln!(err, "sh: wait: {name} is not a child of this shell")?;
            Ok(ExecutionResult::new(127))
        }
    }
}

/// What `kill` sends a signal to for a job: its process group, or its process where it has no group of its own.
pub fn target(shell: &mut Shell, specification: &str) -> Option<i32> {
    let number = process_of(shell.jobs_mut().resolve_job_spec(specification)?)?;
    let group = group_of(number)?;
    Some(if group == getpgrp() { number } else { -group.as_raw_nonzero().get() })
}

//! Running programs: `__run` in the foreground, `__background` behind the prompt.

use std::io::Write;
use std::process::{Command, Stdio};

use brush_core::builtins::BoxFuture;
use brush_core::commands::{self as core_commands, ShellForCommand, SimpleCommand};
use brush_core::openfiles::OpenFiles;
use brush_core::results::ExecutionWaitResult;
use brush_core::{CommandArg, Error, ErrorKind, ExecutionResult, ProcessGroupPolicy, ShellVariable};
use rustix::process::Pid;

use super::{Context, Outcome, language, words};
use crate::commands;
use crate::foreground;
use crate::jobs::{self, Job};
use crate::rewrite::BACKGROUND_PROCESS;
use crate::session::{Shell, is_own_input, own_path};

/// A program to start: where it lies, and its argument list.
pub struct Program {
    path: String,
    arguments: Vec<String>,
}

impl Program {
    /// This program under the name of one of its commands.
    pub fn own(arguments: Vec<String>) -> Self {
        Self { path: own_path(), arguments }
    }

    /// The program that `command` names: one in the path, this one for a command of ours, or another shell, in the
    /// state of this one, for what only a shell knows.
    pub fn of(shell: &mut Shell, command: Vec<String>) -> Result<Self, Error> {
        let command = expand_alias(shell, command);
        let Some(name) = command.first().cloned() else { return Err(ErrorKind::CommandNotFound(String::new()).into()) };
        if name.contains('/') {
            return Ok(Self { path: name, arguments: command });
        }
        if shell.funcs().get(&name).is_none() && commands::find(&name).is_some() {
            return Ok(Self::own(command));
        }
        if is_known(shell, &name) {
            let script = format!("{}\"$@\"", language::state_text(shell));
            let mut arguments: Vec<String> = ["sh", "-c", &script, "sh"].map(str::to_owned).to_vec();
            arguments.extend(command);
            return Ok(Self { path: own_path(), arguments });
        }
        match shell.find_first_executable_in_path_using_cache(&name) {
            Some(path) => Ok(Self { path: path.to_string_lossy().into_owned(), arguments: command }),
            None => Err(ErrorKind::CommandNotFound(name).into()),
        }
    }

    /// The program as std starts it, with the files and the environment of the context.
    pub fn compose(&self, context: &Context<'_>) -> Result<Command, Error> {
        let (name, rest) = self.arguments.split_first().map_or(("", &[][..]), |(name, rest)| (name.as_str(), rest));
        core_commands::compose_std_command(context, &self.path, name, rest, false)
    }

    /// Why it could not be started, as the shell tells it.
    pub fn failure(&self, shell: &Shell, error: std::io::Error) -> Error {
        if error.kind() == std::io::ErrorKind::NotFound {
            let directory = shell.working_dir();
            if !directory.exists() {
                return ErrorKind::WorkingDirMissing(directory.to_owned()).into();
            }
            return ErrorKind::CommandNotFound(self.path.clone()).into();
        }
        let name = self.arguments.first().cloned().unwrap_or_default();
        ErrorKind::FailedToExecuteCommand(name, error).into()
    }
}

fn expand_alias(shell: &Shell, mut command: Vec<String>) -> Vec<String> {
    if let Some(alias) = command.first().and_then(|name| shell.aliases().get(name)) {
        let words: Vec<String> = alias.split_ascii_whitespace().map(str::to_owned).collect();
        command.splice(0..1, words);
    }
    command
}

/// Whether a name is that of a function or a builtin.
fn is_known(shell: &Shell, name: &str) -> bool {
    shell.funcs().get(name).is_some() || shell.builtins().get(name).is_some_and(|known| !known.disabled)
}

/// `__run LOOPS TEXT COMMAND [ARGUMENT…]`: runs the command and waits for it.
pub fn run(mut context: Context<'_>, arguments: Vec<CommandArg>) -> BoxFuture<'_, Outcome> {
    Box::pin(async move {
        let mut rest = words(arguments).into_iter().skip(1);
        let loops = rest.next().and_then(|word| word.parse().ok()).unwrap_or(0);
        let text = rest.next().unwrap_or_default();
        let command = expand_alias(context.shell, rest.collect());
        let Some(name) = command.first().cloned() else {
            // All of its words came to nothing; a substitution among them has left its status.
            let substituted = text.contains("$(") || text.contains('`');
            return Ok(ExecutionResult::new(if substituted { context.shell.last_exit_status() } else { 0 }));
        };
        if !name.contains('/') && is_known(context.shell, &name) {
            let shell = ShellForCommand::ParentShell(context.shell);
            let arguments = command.into_iter().map(CommandArg::String).collect();
            let known = SimpleCommand::new(shell, context.params, name, arguments);
            return match known.execute().await?.wait().await? {
                ExecutionWaitResult::Completed(result) => Ok(result),
                ExecutionWaitResult::Stopped(_) => Ok(ExecutionResult::stopped()),
            };
        }
        let program = Program::of(context.shell, command)?;
        run_program(&mut context, program, loops, text).await
    })
}

/// Whether a job that is started here is to be a process group of its own: not in a substitution.
pub fn grouped(context: &Context<'_>) -> bool {
    context.shell.options().enable_job_control
        && matches!(context.params.process_group_policy, ProcessGroupPolicy::NewProcessGroup)
}

/// Runs a program in the foreground.
pub async fn run_program(context: &mut Context<'_>, program: Program, loops: usize, text: String) -> Outcome {
    let mut job = Job::new(text.clone(), grouped(context));
    job.hidden = context.shell.is_subshell();
    let command = program.compose(context)?;
    foreground::start(command, &mut job, text, true).map_err(|error| program.failure(context.shell, error))?;
    let mut err = context.stderr();
    Ok(foreground::wait(context.shell, job, loops, &mut err).await?.result)
}

/// `__background TEXT COMMAND [ARGUMENT…]`: starts the command and returns at once.
pub fn background(mut context: Context<'_>, arguments: Vec<CommandArg>) -> BoxFuture<'_, Outcome> {
    Box::pin(async move {
        let mut rest = words(arguments).into_iter().skip(1);
        let text = rest.next().unwrap_or_default();
        let program = Program::of(context.shell, rest.collect())?;
        let mut job = Job::new(text.clone(), grouped(&context));
        start_behind(&mut context, &program, &mut job, text)?;
        announce(&mut context, job)?;
        Ok(ExecutionResult::success())
    })
}

/// Starts a program as the next process of a job in the background: not with what the shell itself reads as its input.
pub fn start_behind(context: &mut Context<'_>, program: &Program, job: &mut Job, text: String) -> Result<Pid, Error> {
    let mut command = program.compose(context)?;
    if context.try_fd(OpenFiles::STDIN_FD).is_some_and(|file| is_own_input(&file)) && !job.grouped {
        command.stdin(Stdio::null());
    }
    foreground::start(command, job, text, false).map_err(|error| program.failure(context.shell, error))
}

/// Takes a job in the background into the table, tells its number, and lets `$!` name its last process.
pub fn announce(context: &mut Context<'_>, mut job: Job) -> Result<(), Error> {
    let Some(last) = job.members.last().map(|last| last.process.as_raw_nonzero()) else { return Ok(()) };
    job.hidden = context.shell.is_subshell();
    let shown = context.shell.options().interactive && !job.hidden;
    let id = jobs::table().insert(job);
    context.shell.set_env_global(BACKGROUND_PROCESS, ShellVariable::new(last.to_string()))?;
    if shown {
        writeln!(context.stderr(), "[{id}] {last}")?;
    }
    Ok(())
}

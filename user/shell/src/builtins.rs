//! The builtins: brush's, ours in place of some of them, and our commands.

mod help;
mod input;
mod jobs;
mod language;
mod pipeline;
mod run;
mod signals;

use std::collections::HashMap;
use std::sync::OnceLock;

use brush_builtins::BuiltinSet;
use brush_core::builtins::{BoxFuture, CommandExecuteFunc, ContentOptions, ContentType, Registration};
use brush_core::{CommandArg, Error, ExecutionContext, ExecutionControlFlow, ExecutionExitCode, ExecutionResult};

use crate::commands;
use crate::interrupt;
use crate::messages::Extensions;
use crate::rewrite::{BACKGROUND, CHECK, PIPE, RUN, STAGE, STATE};
use crate::session::Shell;

pub use jobs::{may_leave, tell_news};
pub use pipeline::provide_statuses;

/// The context that a builtin runs in.
pub type Context<'a> = ExecutionContext<'a, Extensions>;
/// What a builtin returns.
pub type Outcome = Result<ExecutionResult, Error>;

/// Builtins of our own, in place of brush's where it has one.
const OWN: &[(&str, CommandExecuteFunc<Extensions>)] = &[
    (BACKGROUND, run::background),
    (CHECK, language::check),
    (RUN, run::run),
    (STATE, language::state),
    ("bg", jobs::bg),
    ("disown", jobs::disown),
    ("eval", language::eval),
    ("exit", language::exit),
    ("fg", jobs::fg),
    ("help", help::help),
    ("jobs", jobs::jobs),
    ("kill", signals::kill),
    ("printf", language::printf),
    ("trap", language::trap),
    ("wait", jobs::wait),
];

/// What each name runs, behind `gently`.
static FUNCTIONS: OnceLock<HashMap<String, CommandExecuteFunc<Extensions>>> = OnceLock::new();

/// All builtins by name.
pub fn all() -> HashMap<String, Registration<Extensions>> {
    let mut all = brush_builtins::default_builtins::<Extensions>(BuiltinSet::BashMode);
    for (name, function) in OWN {
        let known = all.remove(*name).unwrap_or_else(|| registration(*function, help::no_text));
        all.insert((*name).to_owned(), Registration { execute_func: *function, ..known });
    }
    for command in commands::builtins() {
        all.insert(command.name.to_owned(), registration(run_command, help::command_text));
    }
    FUNCTIONS.get_or_init(|| all.iter().map(|(name, known)| (name.clone(), known.execute_func)).collect());
    all.values_mut().for_each(|known| known.execute_func = gently);
    // Not gentle: a pipeline that was begun is ended; then it gets the interrupt.
    all.insert(PIPE.to_owned(), registration(pipeline::pipe, help::no_text));
    all.insert(STAGE.to_owned(), registration(pipeline::stage, help::no_text));
    all
}

fn registration(
    execute_func: CommandExecuteFunc<Extensions>,
    content_func: fn(&str, ContentType, &ContentOptions) -> Result<String, Error>,
) -> Registration<Extensions> {
    Registration { execute_func, content_func, disabled: false, special_builtin: false, declaration_builtin: false }
}

/// Runs the function that `name` stands for, if there is one.
async fn call(name: &str, context: Context<'_>, arguments: Vec<CommandArg>) -> Outcome {
    match FUNCTIONS.get().and_then(|functions| functions.get(name)) {
        Some(function) => function(context, arguments).await,
        None => Err(brush_core::ErrorKind::BuiltinNotFound(name.to_owned()).into()),
    }
}

/// Runs a builtin, unless there was an interrupt, and keeps the process in the shell's directory.
fn gently(mut context: Context<'_>, arguments: Vec<CommandArg>) -> BoxFuture<'_, Outcome> {
    Box::pin(async move {
        let name = context.command_name.clone();
        input::prepare(&name, &mut context, &arguments).await;
        if let Some(result) = interrupt::check(context.shell).await {
            return Ok(result);
        }
        pipeline::forget_statuses();
        jobs::forget_warning(&name);
        let inner = again(&mut context);
        let outcome = call(&name, inner, arguments).await;
        if matches!(name.as_str(), "cd" | "pushd" | "popd") && !context.shell.is_subshell() {
            // brush keeps the directory to itself. With the process in it too, the kernel holds it in use.
            let _ = std::env::set_current_dir(context.shell.working_dir());
        }
        match outcome {
            // Rust's programs ignore SIGPIPE, which ends any other shell here.
            Err(error) if broken_pipe(&error) && !context.shell.options().interactive => Ok(ExecutionResult {
                next_control_flow: ExecutionControlFlow::ExitShell,
                exit_code: ExecutionExitCode::BrokenPipe,
            }),
            outcome => outcome,
        }
    })
}

fn broken_pipe(error: &Error) -> bool {
    error.as_io_error().is_some_and(|error| error.kind() == std::io::ErrorKind::BrokenPipe)
}

/// The same context for a call in between.
fn again<'a>(context: &'a mut Context<'_>) -> Context<'a> {
    Context { shell: &mut *context.shell, command_name: context.command_name.clone(), params: context.params.clone() }
}

/// Runs one of our commands inside the shell.
fn run_command(mut context: Context<'_>, arguments: Vec<CommandArg>) -> BoxFuture<'_, Outcome> {
    Box::pin(async move {
        let Some(command) = commands::find(&context.command_name) else {
            return Err(brush_core::ErrorKind::BuiltinNotFound(context.command_name).into());
        };
        let plain = words(arguments);
        if command.needs_process(&plain) {
            let text = plain.join(" ");
            return run::run_program(&mut context, run::Program::own(plain), 0, text).await;
        }
        if context.shell.is_subshell() {
            let _ = std::env::set_current_dir(context.shell.working_dir());
        }
        let status = commands::run(command, &plain, &mut context.stdout(), &mut context.stderr());
        Ok(ExecutionResult::new(status))
    })
}

/// The arguments as plain words.
fn words(arguments: Vec<CommandArg>) -> Vec<String> {
    arguments.iter().map(ToString::to_string).collect()
}

/// The names of all builtins that a person may call.
pub fn names(shell: &Shell) -> Vec<&str> {
    let mut names: Vec<&str> =
        shell.builtins().keys().map(String::as_str).filter(|name| !name.starts_with("__")).collect();
    names.sort_unstable();
    names
}

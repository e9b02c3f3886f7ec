//! Builtins that belong to the language: `eval`, `exit`, `printf`, `trap`, the check for interrupts, and the shell's state as text.

use std::collections::HashMap;
use std::fmt::Write as _;
use std::io::Write as _;
use std::sync::LazyLock;

use brush_core::builtins::{BoxFuture, Registration};
use brush_core::escape::{QuoteMode, force_quote};
use brush_core::{CommandArg, Error, ErrorKind, ExecutionResult, ShellValue};

use super::{Context, Outcome, again, may_leave, words};
use crate::interrupt;
use crate::messages::Extensions;
use crate::rewrite::replace_background_process;
use crate::session::{Shell, run_parsed};

/// `eval TEXT…`: as brush's, with the rewriting that the whole program gets.
pub fn eval(context: Context<'_>, arguments: Vec<CommandArg>) -> BoxFuture<'_, Outcome> {
    Box::pin(async move {
        let text = replace_background_process(&words(arguments)[1..].join(" "));
        let parsed = context.shell.parse_string(text);
        Ok(run_parsed(context.shell, parsed, &context.params).await)
    })
}

/// `__check`: changes nothing; `gently` has ended the loop around it if there was an interrupt.
pub fn check(context: Context<'_>, _arguments: Vec<CommandArg>) -> BoxFuture<'_, Outcome> {
    let must_succeed = context.shell.options().exit_on_nonzero_command_exit;
    let status = if must_succeed { 0 } else { context.shell.last_exit_status() };
    Box::pin(async move { Ok(ExecutionResult::new(status)) })
}

/// `exit [STATUS]`: brush's, but a person is first told of jobs that are stopped.
pub fn exit(context: Context<'_>, arguments: Vec<CommandArg>) -> BoxFuture<'_, Outcome> {
    Box::pin(async move {
        if !may_leave(context.shell) {
            return Ok(ExecutionResult::general_error());
        }
        brush_builtin("exit", context, arguments).await
    })
}

/// `trap …`: brush's, which only takes notes; from then on the signals are caught.
pub fn trap(mut context: Context<'_>, arguments: Vec<CommandArg>) -> BoxFuture<'_, Outcome> {
    Box::pin(async move {
        let result = brush_builtin("trap", again(&mut context), arguments).await;
        interrupt::catch_trapped(context.shell);
        result
    })
}

/// Where `printf` keeps its output for a moment.
const PRINTF_OUTPUT: &str = "__PRINTF_OUTPUT";

/// `printf`: brush's, but with all of its output in one write. A control file takes each write for a whole request.
pub fn printf(mut context: Context<'_>, mut arguments: Vec<CommandArg>) -> BoxFuture<'_, Outcome> {
    Box::pin(async move {
        if arguments.get(1).is_some_and(|word| word.to_string().starts_with("-v")) {
            return brush_builtin("printf", context, arguments).await;
        }
        let at = arguments.len().min(1);
        let output = ["-v", PRINTF_OUTPUT].map(|word| CommandArg::String(word.to_owned()));
        arguments.splice(at..at, output);
        let result = brush_builtin("printf", again(&mut context), arguments).await?;
        let text = context.shell.env_str(PRINTF_OUTPUT).map(|text| text.into_owned());
        context.shell.env_mut().unset(PRINTF_OUTPUT)?;
        if let Some(text) = text {
            let mut out = context.stdout();
            out.write_all(text.as_bytes())
                .and_then(|()| out.flush())
                .map_err(|error| ErrorKind::BuiltinError(Box::new(Error::from(error)), context.command_name.clone()))?;
        }
        Ok(result)
    })
}

/// brush's own builtin of a name that ours hides.
async fn brush_builtin(name: &str, context: Context<'_>, arguments: Vec<CommandArg>) -> Outcome {
    static BUILTINS: LazyLock<HashMap<String, Registration<Extensions>>> =
        LazyLock::new(|| brush_builtins::default_builtins(brush_builtins::BuiltinSet::BashMode));
    match BUILTINS.get(name) {
        Some(builtin) => (builtin.execute_func)(context, arguments).await,
        None => Err(brush_core::ErrorKind::BuiltinNotFound(name.to_owned()).into()),
    }
}

/// `__state`: prints what brings another shell into the state of this one.
pub fn state(context: Context<'_>, _arguments: Vec<CommandArg>) -> BoxFuture<'_, Outcome> {
    Box::pin(async move {
        let text = state_text(context.shell);
        let mut out = context.stdout();
        out.write_all(text.as_bytes())?;
        // A substitution loses the newlines at its end.
        out.write_all(b":;")?;
        Ok(ExecutionResult::success())
    })
}

/// Variables that a shell sets by itself, or that can't be set.
const OWN_VARIABLES: &[&str] = &[
    "_",
    "COLUMNS",
    "COMP_WORDBREAKS",
    "DIRSTACK",
    "EPOCHREALTIME",
    "EPOCHSECONDS",
    "EUID",
    "FUNCNAME",
    "GROUPS",
    "HISTCMD",
    "HOSTNAME",
    "HOSTTYPE",
    "LINENO",
    "LINES",
    "MACHTYPE",
    "OPTERR",
    "OPTIND",
    "OSTYPE",
    "PIPESTATUS",
    "PPID",
    "PS1",
    "PS2",
    "PS4",
    "RANDOM",
    "SECONDS",
    "SHELL",
    "SHELLOPTS",
    "SHLVL",
    "SRANDOM",
    "UID",
];

/// The functions, variables, aliases and options that a new shell would not have by itself, as commands.
pub fn state_text(shell: &Shell) -> String {
    let mut text = String::new();
    for (name, variable) in shell.env().iter() {
        let plain = variable.is_exported() || variable.is_readonly();
        let own = OWN_VARIABLES.contains(&name.as_str()) || name.starts_with("BASH") || name.starts_with("BRUSH");
        if plain || own {
            continue;
        }
        if let ShellValue::String(value) = variable.value() {
            let _ = writeln!(text, "{name}={}", force_quote(value, QuoteMode::SingleQuote));
        }
    }
    for (_, function) in shell.funcs().iter().filter(|(_, function)| !function.is_exported()) {
        let _ = writeln!(text, "{}", function.definition());
    }
    for (name, value) in shell.aliases() {
        let _ = writeln!(text, "alias {name}={}", force_quote(value, QuoteMode::SingleQuote));
    }
    for letter in shell.options().option_flags().chars().filter(|letter| "aefuxC".contains(*letter)) {
        let _ = writeln!(text, "set -{letter}");
    }
    text
}

//! One running shell: brush and the runtime that it lives on.

use std::collections::HashMap;
use std::fs::File;
use std::os::fd::AsFd;
use std::path::Path;

use brush_core::openfiles::{OpenFile, OpenFiles};
use brush_core::{ExecutionControlFlow, ExecutionParameters, ExecutionResult, ShellFd, ShellVariable, SourceInfo};
use brush_core::{ProfileLoadBehavior, RcLoadBehavior, error};
use brush_parser::ast::Program;
use rustix::fs::fstat;
use tokio::runtime::Runtime;

use crate::builtins;
use crate::foreground::controls_jobs;
use crate::interrupt;
use crate::invocation::{Invocation, Source};
use crate::messages::{Extensions, errno_text};
use crate::rewrite::{Manner, Rewriter, replace_background_process};

/// brush with our messages.
pub type Shell = brush_core::Shell<Extensions>;

/// A shell and its runtime.
pub struct Session {
    runtime: Runtime,
    shell: Shell,
}

/// What has come of a text that may be a program.
pub enum Reading {
    /// It is one; it ran, and asks to leave the shell if the flag is set.
    Ran { leave: bool },
    /// It is only the beginning of one.
    Incomplete,
}

impl Session {
    /// Makes a shell as the command line asks. On an error there is no shell to be had.
    pub fn start(invocation: &Invocation) -> Result<Self, error::Error> {
        // One thread: all children are forked by it. The threads for builtins in pipelines end at once, so that none
        // stays behind in a container that the main thread has left.
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_io()
            .thread_keep_alive(std::time::Duration::ZERO)
            .build()?;
        let mut shell = runtime.block_on(async {
            interrupt::watch(invocation.interactive);
            brush_core::Shell::builder_with_extensions::<Extensions>()
                .builtins(builtins::all())
                .interactive(invocation.interactive)
                .command_string_mode(matches!(invocation.source, Source::Command(_)))
                .read_commands_from_stdin(invocation.source == Source::Input)
                .no_editing(true)
                .fds(own_files())
                .profile(ProfileLoadBehavior::Skip)
                .rc(RcLoadBehavior::Skip)
                .shell_name(invocation.name.clone())
                .shell_args(invocation.arguments.clone())
                .shell_product_display_str("The shell of Menagerie, on brush.".to_owned())
                .enable_options(invocation.enabled.iter().cloned())
                .disable_options(invocation.disabled.iter().cloned())
                .build()
                .await
        })?;
        builtins::provide_statuses(&mut shell)?;
        if invocation.interactive && std::env::var_os("PS1").is_none() {
            // `# ` for root, `$ ` for others.
            shell.set_env_global("PS1", ShellVariable::new("\\$ "))?;
        }
        Ok(Self { runtime, shell })
    }

    /// The shell, to look at.
    pub fn shell(&self) -> &Shell {
        &self.shell
    }

    /// Runs something that needs brush and its runtime.
    pub fn with<R>(&mut self, work: impl AsyncFnOnce(&mut Shell) -> R) -> R {
        self.runtime.block_on(work(&mut self.shell))
    }

    /// Runs `text` as the whole program of this shell and ends the shell; returns its status.
    pub fn run_whole(mut self, text: &str) -> u8 {
        if matches!(self.read(text, true), Reading::Incomplete) {
            unreachable!("the end of the input was told");
        }
        self.finish()
    }

    /// Runs a script file as the whole program.
    pub fn run_script(self, path: &Path) -> u8 {
        match std::fs::read(path) {
            Ok(bytes) if bytes.iter().take(80).any(|&byte| byte == 0) => {
                eprintln!("sh: {}: cannot execute binary file", path.display());
                126
            }
            Ok(bytes) => self.run_whole(&String::from_utf8_lossy(&bytes)),
            Err(error) => {
                eprintln!("sh: {}: {}", path.display(), errno_text(&error));
                127
            }
        }
    }

    /// Runs `text` if it is a complete program, or if it `is_all` that will come; errors are told and are the status.
    pub fn read(&mut self, text: &str, is_all: bool) -> Reading {
        let text = replace_background_process(text);
        let parsed = self.shell.parse_string(text);
        if !is_all && parsed.as_ref().is_err_and(is_incomplete) {
            return Reading::Incomplete;
        }
        let result = self.runtime.block_on(async {
            let parameters = self.shell.default_exec_params();
            run_parsed(&mut self.shell, parsed, &parameters).await
        });
        Reading::Ran { leave: matches!(result.next_control_flow, ExecutionControlFlow::ExitShell) }
    }

    /// Runs the exit trap and ends the shell; returns its status.
    pub fn finish(mut self) -> u8 {
        let status = self.shell.last_exit_status();
        let trap = self.runtime.block_on(self.shell.on_exit());
        if let Err(error) = trap {
            let _ = self.shell.display_error(&mut self.shell.stderr(), &error);
        }
        // Jobs that still run go on without the shell.
        let interactive = self.shell.options().interactive;
        self.runtime.shutdown_background();
        interrupt::die_of_it(interactive);
        status
    }
}

/// The standard input as a plain file: std's own reads ahead, and takes from a command what belongs to the next.
fn own_files() -> HashMap<ShellFd, OpenFile> {
    let input = std::io::stdin().as_fd().try_clone_to_owned();
    input.into_iter().map(|input| (OpenFiles::STDIN_FD, OpenFile::File(File::from(input)))).collect()
}

/// Whether `file` is what the shell itself reads.
pub fn is_own_input(file: &OpenFile) -> bool {
    let identity = |file| fstat(file).map(|stat| (stat.st_dev, stat.st_ino)).ok();
    file.try_borrow_as_fd().is_ok_and(|file| identity(file) == identity(rustix::stdio::stdin()))
}

/// Parses `text` as the shell would.
pub fn parse(text: &str) -> Result<Program, brush_parser::ParseError> {
    brush_parser::Parser::new(text.as_bytes(), &brush_parser::ParserOptions::default()).parse_program()
}

/// Whether more text could make a program of what failed to parse.
pub fn is_incomplete(error: &brush_parser::ParseError) -> bool {
    match error {
        brush_parser::ParseError::Tokenizing { inner, .. } => inner.is_incomplete(),
        brush_parser::ParseError::ParsingAtEndOfInput => true,
        _ => false,
    }
}

/// Rewrites and runs a program, or tells why it is none. The shell's status is set in any case.
pub async fn run_parsed(
    shell: &mut Shell,
    parsed: Result<Program, brush_parser::ParseError>,
    parameters: &ExecutionParameters,
) -> ExecutionResult {
    let outcome = match parsed {
        Ok(mut program) => {
            let functions = shell.funcs().iter().map(|(name, _)| name.clone());
            let own_path = own_path();
            let manner = Manner {
                jobs: controls_jobs(shell),
                // `set -x` is to show commands as they were typed.
                plain: shell.options().print_commands_and_arguments,
            };
            let is_builtin = |name: &str| shell.builtins().contains_key(name);
            Rewriter::new(functions, &is_builtin, &own_path, manner).program(&mut program);
            shell.run_program(program, parameters).await
        }
        Err(cause) => Err(error::Error::from(error::ErrorKind::ParseError(cause, SourceInfo::from("sh"))).into_fatal()),
    };
    match outcome {
        Ok(result) => result,
        Err(error) => {
            if let Some(mut stderr) = parameters.try_fd(shell, OpenFiles::STDERR_FD) {
                let _ = shell.display_error(&mut stderr, &error);
            }
            let result = error.into_result(shell);
            shell.set_last_exit_status(u8::from(&result.exit_code));
            result
        }
    }
}

/// The path of this program.
pub fn own_path() -> String {
    std::env::current_exe().map_or_else(|_| "/bin/sh".to_owned(), |path| path.to_string_lossy().into_owned())
}

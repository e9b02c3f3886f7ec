//! Pipelines of an interactive shell, each a job whose processes are all forked here:
//! `__pipe open; __stage TEXT COMMAND…; __pipe next; __stage …; __pipe last; __stage …; __pipe wait LOOPS TEXT`.
//!
//! brush would run builtins among them in threads, miss a stop of any but the first, and wait for a child that
//! Ctrl-Z had stopped before it looked.

use std::sync::{Mutex, MutexGuard, PoisonError};

use brush_core::builtins::BoxFuture;
use brush_core::openfiles::OpenFile;
use brush_core::{CommandArg, ErrorKind, ExecutionResult, ShellValue, ShellVariable};

use super::run::{Program, announce, grouped, start_behind};
use super::{Context, Outcome, words};
use crate::foreground;
use crate::jobs::{Job, State};
use crate::rewrite::{PIPE_INPUT, PIPE_OUTPUT};
use crate::session::Shell;

/// A pipeline that is being started.
struct Pipeline {
    job: Job,
    foreground: bool,
    /// What each stage has become.
    stages: Vec<Stage>,
    /// How many stages are over.
    passed: usize,
    /// The reading end of the pipe that the present stage writes into.
    next_input: Option<OpenFile>,
}

enum Stage {
    /// The member of the job with this index.
    Process(usize),
    /// It could not be started, and this is its status.
    Failed(u8),
}

impl Pipeline {
    /// Ends a stage. One whose redirections or words failed has started nothing; brush has told why.
    fn pass(&mut self) {
        self.passed += 1;
        if self.stages.len() < self.passed {
            self.stages.push(Stage::Failed(1));
        }
    }

    /// Makes the pipe behind the next stage, unless it is the last. What was read from it before is its input.
    fn lay_pipe(&mut self, shell: &mut Shell, is_last: bool) -> std::io::Result<()> {
        let files = shell.open_files_mut();
        files.remove_fd(PIPE_OUTPUT);
        files.remove_fd(PIPE_INPUT);
        if let Some(input) = self.next_input.take() {
            files.set_fd(PIPE_INPUT, input);
        }
        if !is_last {
            let (reader, writer) = std::io::pipe()?;
            files.set_fd(PIPE_OUTPUT, writer.into());
            self.next_input = Some(reader.into());
        }
        Ok(())
    }

    /// The statuses of all stages, given how the processes fared.
    fn statuses(&self, states: &[State]) -> Vec<u8> {
        let status = |stage: &Stage| match stage {
            Stage::Process(index) => states.get(*index).map_or(0, |state| state.status()),
            Stage::Failed(status) => *status,
        };
        self.stages.iter().map(status).collect()
    }
}

static PIPELINE: Mutex<Option<Pipeline>> = Mutex::new(None);

/// The statuses of the last pipeline; empty once another command was run.
static STATUSES: Mutex<Vec<u8>> = Mutex::new(Vec::new());

fn lock<T>(of: &'static Mutex<T>) -> MutexGuard<'static, T> {
    of.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Another command than a pipeline was run.
pub fn forget_statuses() {
    lock(&STATUSES).clear();
}

/// Lets `PIPESTATUS` tell of our pipelines, and else of what brush knows.
pub fn provide_statuses(shell: &mut Shell) -> Result<(), brush_core::Error> {
    let statuses = ShellValue::Dynamic {
        getter: |shell| {
            let ours = lock(&STATUSES);
            let statuses = if ours.is_empty() { shell.last_pipeline_statuses() } else { ours.as_slice() };
            ShellValue::indexed_array_from_strings(statuses.iter().map(u8::to_string))
        },
        setter: |_| (),
    };
    shell.env_mut().set_global("PIPESTATUS", ShellVariable::new(statuses))
}

/// `__pipe open|behind`, `__pipe next|last`, `__pipe wait LOOPS TEXT`: begins a pipeline in the foreground or in the
/// background, goes on to its next or last stage, and waits for it.
pub fn pipe(mut context: Context<'_>, arguments: Vec<CommandArg>) -> BoxFuture<'_, Outcome> {
    Box::pin(async move {
        let arguments = words(arguments);
        let step = arguments.get(1).map_or("", String::as_str);
        let mut pipeline = match step {
            "open" | "behind" => {
                let job = Job::new(String::new(), grouped(&context));
                let foreground = step == "open";
                Pipeline { job, foreground, stages: Vec::new(), passed: 0, next_input: None }
            }
            _ => {
                let Some(mut pipeline) = lock(&PIPELINE).take() else { return Ok(ExecutionResult::success()) };
                pipeline.pass();
                pipeline
            }
        };
        if step == "wait" {
            let files = context.shell.open_files_mut();
            files.remove_fd(PIPE_INPUT);
            let loops = arguments.get(2).and_then(|word| word.parse().ok()).unwrap_or(0);
            pipeline.job.text = arguments.get(3).cloned().unwrap_or_default();
            return finish(&mut context, pipeline, loops).await;
        }
        pipeline.lay_pipe(context.shell, step == "last")?;
        *lock(&PIPELINE) = Some(pipeline);
        Ok(ExecutionResult::success())
    })
}

/// `__stage TEXT COMMAND [ARGUMENT…]`: starts a stage.
pub fn stage(mut context: Context<'_>, arguments: Vec<CommandArg>) -> BoxFuture<'_, Outcome> {
    Box::pin(async move {
        let mut rest = words(arguments).into_iter().skip(1);
        let text = rest.next().unwrap_or_default();
        let Some(mut pipeline) = lock(&PIPELINE).take() else { return Ok(ExecutionResult::success()) };
        let started = start(&mut context, &mut pipeline, rest.collect(), text);
        let stage = match &started {
            Ok(()) => Stage::Process(pipeline.job.members.len() - 1),
            Err(error) if matches!(error.kind(), ErrorKind::CommandNotFound(_)) => Stage::Failed(127),
            Err(_) => Stage::Failed(126),
        };
        pipeline.stages.push(stage);
        *lock(&PIPELINE) = Some(pipeline);
        if let Err(error) = started {
            let _ = context.shell.display_error(&mut context.stderr(), &error);
        }
        Ok(ExecutionResult::success())
    })
}

fn start(
    context: &mut Context<'_>,
    pipeline: &mut Pipeline,
    command: Vec<String>,
    text: String,
) -> Result<(), brush_core::Error> {
    let program = Program::of(context.shell, command)?;
    if !pipeline.foreground {
        return start_behind(context, &program, &mut pipeline.job, text).map(drop);
    }
    let command = program.compose(context)?;
    foreground::start(command, &mut pipeline.job, text, true)
        .map(drop)
        .map_err(|error| program.failure(context.shell, error))
}

/// Waits for the pipeline, or announces it.
async fn finish(context: &mut Context<'_>, mut pipeline: Pipeline, loops: usize) -> Outcome {
    let job = std::mem::replace(&mut pipeline.job, Job::new(String::new(), false));
    if job.members.is_empty() {
        let statuses = pipeline.statuses(&[]);
        let status = statuses.last().copied().unwrap_or(0);
        *lock(&STATUSES) = statuses;
        return Ok(ExecutionResult::new(status));
    }
    if !pipeline.foreground {
        announce(context, job)?;
        return Ok(ExecutionResult::success());
    }
    let mut err = context.stderr();
    let ended = foreground::wait(context.shell, job, loops, &mut err).await?;
    let statuses = pipeline.statuses(&ended.states);
    let mut result = ended.result;
    if result.is_normal_flow() {
        let failed = || statuses.iter().rev().find(|status| **status != 0);
        let pipefail = context.shell.options().return_last_failure_from_pipeline;
        let status = if pipefail { failed() } else { statuses.last() };
        result.exit_code = status.copied().unwrap_or(0).into();
    }
    *lock(&STATUSES) = statuses;
    Ok(result)
}

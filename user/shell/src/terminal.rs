//! Reading commands from the standard input: a person's at a terminal, or a program's from a pipe.

mod completion;
mod editor;
mod lines;
mod probe;
mod words;

use std::io::Write;

use crate::builtins::may_leave;
use crate::foreground;
use crate::interrupt;
use crate::invocation::Invocation;
use crate::session::{Reading, Session};
use editor::Editor;
use lines::Lines;

/// One line of input.
pub enum Line {
    /// With its newline, if it has one.
    Text(String),
    /// Ctrl-C: what was typed so far is void.
    Interrupted,
    /// There are no more.
    End,
}

/// Where lines come from.
trait Reader {
    /// The next line, after the prompt.
    fn line(&mut self, session: &mut Session, prompt: &str) -> Line;

    /// A command was ended by Ctrl-C.
    fn after_interrupt(&mut self) {}
}

/// Runs commands from the standard input until it ends or a command leaves the shell; returns the status.
pub fn run(mut session: Session, invocation: &Invocation) -> u8 {
    if !invocation.interactive {
        converse(&mut session, &mut Lines, false);
        return session.finish();
    }
    let before = foreground::take_terminal();
    session.with(async |shell| {
        let _ = shell.start_interactive_session();
    });
    let dumb = std::env::var_os("TERM").is_none_or(|kind| kind == "dumb");
    let mut reader: Box<dyn Reader> = if !dumb && probe::answers() { Box::new(Editor::new()) } else { Box::new(Lines) };
    converse(&mut session, reader.as_mut(), true);
    let status = session.finish();
    if let Some(group) = before {
        foreground::give_terminal(group);
    }
    status
}

/// Reads and runs one program after the other.
fn converse(session: &mut Session, reader: &mut dyn Reader, prompts: bool) {
    'programs: loop {
        let mut text = String::new();
        let mut prompt = if prompts { session.with(lines::prompt) } else { String::new() };
        loop {
            match reader.line(session, &prompt) {
                Line::Text(line) => text.push_str(&line),
                Line::Interrupted => {
                    let _ = writeln!(std::io::stderr());
                    session.with(async |shell| shell.set_last_exit_status(130));
                    continue 'programs;
                }
                Line::End => {
                    if !text.is_empty() {
                        session.read(&text, true);
                    }
                    if prompts && !may_leave(session.shell()) {
                        continue 'programs;
                    }
                    return;
                }
            }
            if prompts {
                session.with(async |shell| shell.add_to_history(text.trim_end()).is_ok());
            }
            match session.read(&text, false) {
                Reading::Ran { leave: true } => return,
                Reading::Ran { leave: false } => {
                    if prompts && interrupt::happened() {
                        reader.after_interrupt();
                    }
                    continue 'programs;
                }
                Reading::Incomplete if prompts => prompt = session.with(lines::continuation_prompt),
                Reading::Incomplete => {}
            }
        }
    }
}

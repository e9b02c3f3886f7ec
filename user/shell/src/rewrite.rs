//! What is changed in a program before brush runs it, so that jobs are processes and signals find them.
//!
//! brush runs `LIST &` and the compound commands of a pipeline as coroutines of its own process. Then `$!` names nobody,
//! and a loop in the background keeps the prompt from coming back. And what it starts itself it can't stop, or continue,
//! or interrupt, reliably. Here
//! * a program to run, `COMMAND`, becomes `__run LOOPS TEXT COMMAND`, which starts it and waits for it;
//! * `COMMAND &` becomes `__background TEXT COMMAND`, which starts it as a process and remembers its number;
//! * any other `LIST &`, and compound commands and functions that write into a pipe, become a new shell with the state
//!   of this one: `sh -c "$(__state)"'LIST'`;
//! * where there is job control, a pipeline becomes a list of commands that start its stages (`stages`);
//! * elsewhere `echo` and `printf` that write into a pipe become the programs of that name (brush would start a thread,
//!   which ends the shell where the number of tasks is at its limit);
//! * every turn of a loop begins with `__check`, which notices Ctrl-C; any other builtin notices it too;
//! * `$!` becomes a variable (`dollar`).

mod dollar;
mod stages;

use std::collections::HashSet;

use brush_core::escape::{QuoteMode, force_quote};
use brush_parser::ast::{
    AndOr, AndOrList, Command, CommandPrefixOrSuffixItem as Item, CommandSuffix, CompoundCommand, CompoundList,
    CompoundListItem, DoGroupCommand, Pipeline, Program, SeparatorOperator, SimpleCommand, Word,
};

pub use dollar::replace_background_process;
pub use stages::{PIPE, PIPE_INPUT, PIPE_OUTPUT, STAGE};

/// Runs its arguments after the second, and waits: `__run LOOPS TEXT COMMAND [ARGUMENT…]`.
pub const RUN: &str = "__run";
/// Starts its arguments after the first, which is the text to show, as a process in the background.
pub const BACKGROUND: &str = "__background";
/// Prints the commands that bring another shell into the state of this one.
pub const STATE: &str = "__state";
/// Notices an interrupt; else it changes nothing.
pub const CHECK: &str = "__check";
/// The variable that stands for `$!`.
pub const BACKGROUND_PROCESS: &str = "BACKGROUND_PROCESS";

/// How the shell works that the program is for.
#[derive(Clone, Copy, Debug, Default)]
pub struct Manner {
    /// Jobs are process groups that take turns at the terminal.
    pub jobs: bool,
    /// Commands in the foreground are to stay as they are.
    pub plain: bool,
}

/// Rewrites programs; knows the functions and builtins that there are.
pub struct Rewriter<'a> {
    functions: HashSet<String>,
    is_builtin: &'a dyn Fn(&str) -> bool,
    /// The path of this program, to start another shell with.
    shell: &'a str,
    manner: Manner,
    /// How many loops of the same function, or of none, are around.
    loops: usize,
}

impl<'a> Rewriter<'a> {
    /// A rewriter for a shell that has these functions and builtins.
    pub fn new(
        functions: impl Iterator<Item = String>,
        is_builtin: &'a dyn Fn(&str) -> bool,
        shell: &'a str,
        manner: Manner,
    ) -> Self {
        Self { functions: functions.collect(), is_builtin, shell, manner, loops: 0 }
    }

    /// Rewrites a whole program.
    pub fn program(&mut self, program: &mut Program) {
        program.complete_commands.iter_mut().for_each(|list| self.list(list));
    }

    fn list(&mut self, list: &mut CompoundList) {
        for item in &mut list.0 {
            if matches!(item.1, SeparatorOperator::Async) {
                let in_background = self.pipeline_behind(&item.0).unwrap_or_else(|| self.background(&item.0));
                *item = command_item(in_background);
            } else {
                self.and_or_list(&mut item.0);
            }
        }
    }

    fn and_or_list(&mut self, list: &mut AndOrList) {
        self.pipeline(&mut list.first);
        for item in &mut list.additional {
            let (AndOr::And(pipeline) | AndOr::Or(pipeline)) = item;
            self.pipeline(pipeline);
        }
    }

    fn pipeline(&mut self, pipeline: &mut Pipeline) {
        if let [command] = pipeline.seq.as_mut_slice() {
            match command {
                Command::Simple(simple) => self.run(simple),
                command => self.command(command),
            }
            return;
        }
        if self.manner.jobs && !self.manner.plain {
            pipeline.seq = vec![self.stages(&pipeline.seq, true)];
            return;
        }
        let last = pipeline.seq.len() - 1;
        for (index, command) in pipeline.seq.iter_mut().enumerate() {
            if index < last {
                self.writer(command);
            }
            self.command(command);
        }
    }

    /// A command that is a program, or may turn out to be one.
    fn run(&self, command: &mut SimpleCommand) {
        let text = shown(command);
        let Some(name) = &mut command.word_or_name else { return };
        let is_ours =
            is_literal(&name.value) && ((self.is_builtin)(&name.value) || self.functions.contains(&name.value));
        if self.manner.plain || is_ours {
            return;
        }
        let program = std::mem::replace(name, word(RUN.to_owned()));
        let words = [word(self.loops.to_string()), word(quoted(&text)), program];
        command.suffix.get_or_insert_default().0.splice(0..0, words.map(Item::Word));
    }

    /// A command that writes into a pipe: not in this process, where it could wait for its reader for ever.
    fn writer(&mut self, command: &mut Command) {
        if let Command::Simple(simple) = command {
            let Some(name) = simple.word_or_name.as_mut() else { return };
            if !self.functions.contains(&name.value) {
                if matches!(name.value.as_str(), "echo" | "printf") {
                    name.value.insert_str(0, "/bin/");
                }
                return;
            }
        }
        *command = Command::Simple(self.other_shell(&command.to_string()));
    }

    fn command(&mut self, command: &mut Command) {
        match command {
            Command::Simple(_) | Command::ExtendedTest(..) => {}
            Command::Compound(compound, _) => self.compound(compound),
            Command::Function(function) => {
                self.functions.insert(function.fname.value.clone());
                let around = std::mem::take(&mut self.loops);
                self.compound(&mut function.body.0);
                self.loops = around;
            }
        }
    }

    fn compound(&mut self, command: &mut CompoundCommand) {
        match command {
            CompoundCommand::Arithmetic(_) => {}
            CompoundCommand::ArithmeticForClause(clause) => self.body(&mut clause.body),
            CompoundCommand::BraceGroup(group) => self.list(&mut group.list),
            CompoundCommand::Subshell(group) => self.list(&mut group.list),
            CompoundCommand::ForClause(clause) => self.body(&mut clause.body),
            CompoundCommand::CaseClause(clause) => {
                clause.cases.iter_mut().filter_map(|case| case.cmd.as_mut()).for_each(|list| self.list(list));
            }
            CompoundCommand::IfClause(clause) => {
                self.list(&mut clause.condition);
                self.list(&mut clause.then);
                for branch in clause.elses.iter_mut().flatten() {
                    if let Some(condition) = &mut branch.condition {
                        self.list(condition);
                    }
                    self.list(&mut branch.body);
                }
            }
            CompoundCommand::WhileClause(clause) | CompoundCommand::UntilClause(clause) => {
                self.list(&mut clause.0);
                self.body(&mut clause.1);
            }
            CompoundCommand::Coprocess(clause) => self.command(&mut clause.body),
        }
    }

    fn body(&mut self, body: &mut DoGroupCommand) {
        self.loops += 1;
        self.list(&mut body.list);
        self.loops -= 1;
        body.list.0.insert(0, command_item(simple_command(CHECK, Vec::new())));
    }

    /// `list &` as a command that returns at once.
    fn background(&self, list: &AndOrList) -> Command {
        let text = shown(list);
        let mut command = match (list.additional.as_slice(), list.first.seq.as_slice()) {
            ([], [Command::Simple(command)])
                if command.word_or_name.is_some() && !list.first.bang && list.first.timed.is_none() =>
            {
                command.clone()
            }
            _ => self.other_shell(&list.to_string()),
        };
        let name = command.word_or_name.replace(word(BACKGROUND.to_owned()));
        let items = command.suffix.get_or_insert_default();
        items.0.splice(0..0, [Item::Word(word(quoted(&text)))].into_iter().chain(name.map(Item::Word)));
        Command::Simple(command)
    }

    /// A new shell that runs `text` in the state of this one.
    fn other_shell(&self, text: &str) -> SimpleCommand {
        let script = format!("\"$({STATE})\"{}", quoted(text));
        simple(&quoted(self.shell), ["-c", &script, "\"$0\"", "\"$@\""].map(str::to_owned).to_vec())
    }
}

/// `command` as an item of a list.
fn command_item(command: Command) -> CompoundListItem {
    let pipeline = Pipeline { timed: None, bang: false, seq: vec![command] };
    CompoundListItem(AndOrList { first: pipeline, additional: Vec::new() }, SeparatorOperator::Sequence)
}

/// A command as a person would type it.
fn shown(command: &impl std::fmt::Display) -> String {
    let text = command.to_string().replace(">& ", ">&").replace("<& ", "<&");
    let text = text.lines().map(str::trim).collect::<Vec<_>>().join(" ");
    // A pipe is printed without a blank behind it.
    let mut pieces = text.split(" |");
    let mut shown = pieces.next().unwrap_or_default().to_owned();
    for piece in pieces {
        shown.push_str(if piece.starts_with(['|', '&', ' ']) { " |" } else { " | " });
        shown.push_str(piece);
    }
    shown
}

/// Whether a word is what it says: nothing in it is expanded or taken away.
fn is_literal(text: &str) -> bool {
    text.chars().all(|character| character.is_alphanumeric() || "_-./+:@%,^=".contains(character))
}

fn simple_command(name: &str, arguments: Vec<String>) -> Command {
    Command::Simple(simple(name, arguments))
}

fn simple(name: &str, arguments: Vec<String>) -> SimpleCommand {
    let suffix = CommandSuffix(arguments.into_iter().map(|text| Item::Word(word(text))).collect());
    SimpleCommand { prefix: None, word_or_name: Some(word(name.to_owned())), suffix: Some(suffix) }
}

fn word(value: String) -> Word {
    Word { value, loc: None }
}

fn quoted(text: &str) -> String {
    force_quote(text, QuoteMode::SingleQuote)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rewritten(text: &str) -> String {
        rewritten_for(text, false)
    }

    fn rewritten_for(text: &str, jobs: bool) -> String {
        let mut parser = brush_parser::Parser::new(std::io::Cursor::new(text.to_owned()), &Default::default());
        let mut program = parser.parse_program().unwrap();
        let is_builtin = |name: &str| matches!(name, "cd" | "echo" | "true" | "read" | "__check");
        let manner = Manner { jobs, plain: false };
        Rewriter::new(["known".to_owned()].into_iter(), &is_builtin, "/bin/sh", manner).program(&mut program);
        program.to_string().split_whitespace().collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn programs_are_run_and_what_the_shell_knows_stays() {
        assert_eq!(rewritten("A=1 ls -l > f"), "A=1 __run 0 'A=1 ls -l > f' ls -l > f");
        assert_eq!(rewritten("$x y"), "__run 0 '$x y' $x y");
        for text in ["cd x", "known a", "x=1", "[[ a == b ]]", "echo a && known"] {
            assert_eq!(rewritten(text), text);
        }
    }

    #[test]
    fn a_program_knows_the_loops_around_it() {
        assert_eq!(
            rewritten("while true; do for i in 1; do ls; done; f() { ls; }; done"),
            "while true; do __check ; for i in 1; do __check ; __run 2 'ls' ls done; \
             f () { __run 0 'ls' ls } done"
        );
    }

    #[test]
    fn a_command_in_the_background_keeps_its_words_and_redirections() {
        assert_eq!(
            rewritten("A=1 sleep $x 2> /dev/null & echo"),
            "A=1 __background 'A=1 sleep $x 2> /dev/null' sleep $x 2> /dev/null; echo"
        );
    }

    #[test]
    fn a_list_in_the_background_is_another_shell() {
        let other = r#"/bin/sh' -c "$(__state)"'a && b' "$0" "$@""#;
        assert_eq!(rewritten("a && b &"), format!("__background 'a && b' '{other}"));
    }

    #[test]
    fn writers_into_a_pipe_are_processes() {
        assert_eq!(rewritten("echo a | cat"), "/bin/echo a |cat");
        assert_eq!(rewritten("known a | cat"), r#"'/bin/sh' -c "$(__state)"'known a' "$0" "$@" |cat"#);
        assert_eq!(rewritten("ls | known"), "ls |known");
    }

    #[test]
    fn with_job_control_a_pipeline_starts_its_stages() {
        assert_eq!(
            rewritten_for("echo a 2>&1 | A=1 wc | read x", true),
            "{ __pipe open; >& 1001 1001>& - __stage 'echo a 2>&1' /bin/echo a 2>& 1; \
             __pipe next; <& 1000 1000<& - >& 1001 1001>& - A=1 __stage 'A=1 wc' wc; \
             __pipe last; <& 1000 1000<& - __stage 'read x' read x; \
             __pipe wait 0 'echo a 2>&1 | A=1 wc | read x' }"
        );
        assert!(rewritten_for("ls | wc &", true).starts_with("{ __pipe behind;"));
    }

    #[test]
    fn what_needs_no_change_stays() {
        for text in ["echo && known || true", "( cd x; true )", "if known; then true; else cd; fi", "f() { true; }"] {
            let mut parser = brush_parser::Parser::new(std::io::Cursor::new(text.to_owned()), &Default::default());
            let same = parser.parse_program().unwrap().to_string();
            assert_eq!(rewritten(text), same.split_whitespace().collect::<Vec<_>>().join(" "));
        }
    }
}

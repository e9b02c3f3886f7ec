//! What is changed in a program before brush runs it, so that jobs are processes.
//!
//! brush runs `LIST &` and the compound commands of a pipeline as coroutines of its own process. Then `$!` names nobody,
//! and a loop in the background keeps the prompt from coming back. Here
//! * `COMMAND &` becomes `__background TEXT COMMAND`, which starts it as a process and remembers its number;
//! * any other `LIST &`, and compound commands and functions that write into a pipe, become a new shell with the state
//!   of this one: `sh -c "$(__state)"'LIST'`;
//! * `echo` and `printf` that write into a pipe become the programs of that name (brush would start a thread, which
//!   ends the shell where the number of tasks is at its limit);
//! * every turn of a loop, and in an interactive shell every command of a list, is followed by `__check`, which notices
//!   Ctrl-C;
//! * `$!` becomes a variable (`dollar`).

mod dollar;

use std::collections::HashSet;

use brush_core::escape::{QuoteMode, force_quote};
use brush_parser::ast::{
    AndOr, AndOrList, Command, CommandPrefixOrSuffixItem as Item, CommandSuffix, CompoundCommand, CompoundList,
    CompoundListItem, DoGroupCommand, Pipeline, Program, SeparatorOperator, SimpleCommand, Word,
};

pub use dollar::replace_background_process;

/// Starts its arguments after the first, which is the text to show, as a process in the background.
pub const BACKGROUND: &str = "__background";
/// Prints the commands that bring another shell into the state of this one.
pub const STATE: &str = "__state";
/// Notices an interrupt; else it changes nothing.
pub const CHECK: &str = "__check";
/// The variable that stands for `$!`.
pub const BACKGROUND_PROCESS: &str = "BACKGROUND_PROCESS";

/// Rewrites programs; knows the functions that there are.
pub struct Rewriter<'a> {
    functions: HashSet<String>,
    /// The path of this program, to start another shell with.
    shell: &'a str,
    /// Ctrl-C goes to the child that has the terminal, and the shell must find out from its end.
    interactive: bool,
}

impl<'a> Rewriter<'a> {
    /// A rewriter for a shell that has these functions.
    pub fn new(functions: impl Iterator<Item = String>, shell: &'a str, interactive: bool) -> Self {
        Self { functions: functions.collect(), shell, interactive }
    }

    /// Rewrites a whole program.
    pub fn program(&mut self, program: &mut Program) {
        program.complete_commands.iter_mut().for_each(|list| self.list(list));
    }

    fn list(&mut self, list: &mut CompoundList) {
        for item in &mut list.0 {
            if matches!(item.1, SeparatorOperator::Async) {
                *item = command_item(self.background(&item.0));
            } else {
                self.and_or_list(&mut item.0);
            }
        }
        if self.interactive {
            let items = std::mem::take(&mut list.0);
            for item in items {
                if !list.0.is_empty() {
                    list.0.push(check());
                }
                list.0.push(item);
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
        let last = pipeline.seq.len() - 1;
        for (index, command) in pipeline.seq.iter_mut().enumerate() {
            if index < last {
                self.writer(command);
            }
            self.command(command);
        }
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
                self.compound(&mut function.body.0);
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
        self.list(&mut body.list);
        body.list.0.insert(0, check());
        if self.interactive {
            body.list.0.push(check());
        }
    }

    /// `list &` as a command that returns at once.
    fn background(&self, list: &AndOrList) -> SimpleCommand {
        let text = list.to_string();
        let mut command = match (list.additional.as_slice(), list.first.seq.as_slice()) {
            ([], [Command::Simple(command)])
                if command.word_or_name.is_some() && !list.first.bang && list.first.timed.is_none() =>
            {
                command.clone()
            }
            _ => self.other_shell(&text),
        };
        let name = command.word_or_name.replace(word(BACKGROUND.to_owned()));
        let items = command.suffix.get_or_insert_default();
        items.0.splice(0..0, [Item::Word(word(quoted(&text)))].into_iter().chain(name.map(Item::Word)));
        command
    }

    /// A new shell that runs `text` in the state of this one.
    fn other_shell(&self, text: &str) -> SimpleCommand {
        let script = format!("\"$({STATE})\"{}", quoted(text));
        simple(&quoted(self.shell), ["-c", &script, "\"$0\"", "\"$@\""].map(str::to_owned).to_vec())
    }
}

/// `command` as an item of a list.
fn command_item(command: SimpleCommand) -> CompoundListItem {
    let pipeline = Pipeline { timed: None, bang: false, seq: vec![Command::Simple(command)] };
    CompoundListItem(AndOrList { first: pipeline, additional: Vec::new() }, SeparatorOperator::Sequence)
}

fn check() -> CompoundListItem {
    command_item(simple(CHECK, Vec::new()))
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

    fn rewritten_for(text: &str, interactive: bool) -> String {
        let mut parser = brush_parser::Parser::new(std::io::Cursor::new(text.to_owned()), &Default::default());
        let mut program = parser.parse_program().unwrap();
        Rewriter::new(["known".to_owned()].into_iter(), "/bin/sh", interactive).program(&mut program);
        program.to_string().split_whitespace().collect::<Vec<_>>().join(" ")
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
    fn an_interactive_shell_looks_after_each_command() {
        assert_eq!(rewritten_for("while a; do b; done", true), "while a; do __check ; b; __check done");
        assert_eq!(rewritten_for("a; b", true), "a; __check ; b");
        assert_eq!(rewritten_for("a", true), "a");
    }

    #[test]
    fn loops_notice_an_interrupt() {
        assert_eq!(rewritten("while a; do b; done"), "while a; do __check ; b done");
    }

    #[test]
    fn what_needs_no_change_stays() {
        for text in ["a && b || c", "( cd x; ls )", "if a; then b; else c; fi", "f() { a; }"] {
            let mut parser = brush_parser::Parser::new(std::io::Cursor::new(text.to_owned()), &Default::default());
            let same = parser.parse_program().unwrap().to_string();
            assert_eq!(rewritten(text), same.split_whitespace().collect::<Vec<_>>().join(" "));
        }
    }
}

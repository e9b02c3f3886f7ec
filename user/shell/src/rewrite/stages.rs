//! A pipeline as a list of commands that start its stages, one after the other, and wait for all of them:
//! `{ __pipe open; >&1001 1001>&- __stage 'a' a; __pipe last; <&1000 1000<&- __stage 'b' b; __pipe wait 0 'a | b'; }`.
//!
//! The pipes stand first among a stage's redirections, as in any shell: `2>&1` in it means the pipe.

use brush_core::ShellFd;
use brush_parser::ast::{
    AndOrList, BraceGroupCommand, Command, CommandPrefixOrSuffixItem as Item, CompoundCommand, CompoundList,
    IoFileRedirectKind, IoFileRedirectTarget, IoRedirect, SimpleCommand,
};

use super::{Rewriter, command_item, quoted, shown, simple_command, word};

/// Begins a pipeline, goes on to its next stage, waits for it.
pub const PIPE: &str = "__pipe";
/// Starts its arguments after the first as a stage.
pub const STAGE: &str = "__stage";
/// Where the shell, not the process, keeps what a stage is to read from.
pub const PIPE_INPUT: ShellFd = 1000;
/// Where it keeps what a stage is to write into.
pub const PIPE_OUTPUT: ShellFd = 1001;

impl Rewriter<'_> {
    /// The pipeline of `commands` as a list in braces.
    pub(super) fn stages(&self, commands: &[Command], foreground: bool) -> Command {
        let texts: Vec<String> = commands.iter().map(shown).collect();
        let last = commands.len() - 1;
        let step = |word: &str| command_item(simple_command(PIPE, vec![word.to_owned()]));
        let mut items = vec![step(if foreground { "open" } else { "behind" })];
        for (index, command) in commands.iter().enumerate() {
            if index > 0 {
                items.push(step(if index == last { "last" } else { "next" }));
            }
            let stage = self.stage(command, &texts[index], index > 0, index < last);
            items.push(command_item(Command::Simple(stage)));
        }
        let wait = ["wait".to_owned(), self.loops.to_string(), quoted(&texts.join(" | "))];
        items.push(command_item(simple_command(PIPE, wait.to_vec())));
        let group = BraceGroupCommand { list: CompoundList(items), loc: Default::default() };
        Command::Compound(CompoundCommand::BraceGroup(group), None)
    }

    /// The pipeline in `list`, if that is all and job control is there to look after it, in the background.
    pub(super) fn pipeline_behind(&self, list: &AndOrList) -> Option<Command> {
        let pipeline = &list.first;
        let alone = list.additional.is_empty() && !pipeline.bang && pipeline.timed.is_none();
        let several = pipeline.seq.len() > 1;
        (self.manner.jobs && alone && several).then(|| self.stages(&pipeline.seq, false))
    }

    fn stage(&self, command: &Command, text: &str, reads: bool, writes: bool) -> SimpleCommand {
        let mut stage = match command {
            Command::Simple(simple) if simple.word_or_name.is_some() => simple.clone(),
            _ => self.other_shell(&command.to_string()),
        };
        let mut name = stage.word_or_name.replace(word(STAGE.to_owned()));
        if let Some(name) = name.as_mut().filter(|name| matches!(name.value.as_str(), "echo" | "printf"))
            && !self.functions.contains(&name.value)
        {
            name.value.insert_str(0, "/bin/");
        }
        let words = [Item::Word(word(quoted(text)))].into_iter().chain(name.map(Item::Word));
        stage.suffix.get_or_insert_default().0.splice(0..0, words);
        let mut pipes = Vec::new();
        if reads {
            pipes.push(duplicate(None, IoFileRedirectKind::DuplicateInput, PIPE_INPUT));
            pipes.push(close(IoFileRedirectKind::DuplicateInput, PIPE_INPUT));
        }
        if writes {
            pipes.push(duplicate(None, IoFileRedirectKind::DuplicateOutput, PIPE_OUTPUT));
            pipes.push(close(IoFileRedirectKind::DuplicateOutput, PIPE_OUTPUT));
        }
        stage.prefix.get_or_insert_default().0.splice(0..0, pipes);
        stage
    }
}

/// `N>&FILE` or `N<&FILE`.
fn duplicate(number: Option<ShellFd>, kind: IoFileRedirectKind, file: ShellFd) -> Item {
    Item::IoRedirect(IoRedirect::File(number, kind, IoFileRedirectTarget::Duplicate(word(file.to_string()))))
}

/// `N>&-` or `N<&-`.
fn close(kind: IoFileRedirectKind, number: ShellFd) -> Item {
    Item::IoRedirect(IoRedirect::File(Some(number), kind, IoFileRedirectTarget::Duplicate(word("-".to_owned()))))
}

//! What Tab offers: commands, the words of our commands, and files.

use std::collections::BTreeSet;
use std::fs::DirEntry;
use std::path::{Path, PathBuf};

use brush_core::escape::{QuoteMode, quote_if_needed};

use super::words::{Kind, Piece, pieces};
use crate::builtins;
use crate::commands::{self, Files, Line, Offers};
use crate::jobs;
use crate::session::Shell;

/// What the shell knows at the moment of the prompt.
#[derive(Default)]
pub struct Knowledge {
    /// The names of all commands: builtins, functions, aliases, programs.
    commands: BTreeSet<String>,
    /// The shell's directory.
    directory: PathBuf,
    /// The names of the jobs.
    jobs: Vec<String>,
}

/// One completion.
#[derive(Debug, PartialEq, Eq)]
pub struct Candidate {
    /// What the word becomes.
    pub text: String,
    /// Whether the word is complete with it.
    pub finished: bool,
}

impl Knowledge {
    /// Asks the shell.
    pub fn of(shell: &Shell) -> Self {
        let mut commands: BTreeSet<String> = builtins::names(shell).into_iter().map(str::to_owned).collect();
        commands.extend(shell.funcs().iter().map(|(name, _)| name.clone()));
        commands.extend(shell.aliases().keys().cloned());
        let path = shell.env_str("PATH").unwrap_or_default();
        for directory in path.split(':') {
            let programs = std::fs::read_dir(directory).into_iter().flatten().flatten();
            commands.extend(programs.filter_map(|program| program.file_name().into_string().ok()));
        }
        let jobs = jobs::table().jobs(false).map(|job| format!("%{}", job.id)).collect();
        Self { commands, directory: shell.working_dir().to_owned(), jobs }
    }

    /// Whether a word in the place of a command can be run.
    pub fn is_command(&self, word: &str) -> bool {
        self.commands.contains(word) || word.contains('/') && self.directory.join(word).is_file()
    }

    /// What the word before byte `position` of `line` can become, and where that word begins.
    pub fn complete(&self, line: &str, position: usize) -> (usize, Vec<Candidate>) {
        let before = line.get(..position).unwrap_or(line);
        let mut all = pieces(before);
        let (kind, start) = match all.pop() {
            Some(piece) if matches!(piece.kind, Kind::Command | Kind::Word) => (piece.kind, piece.range.start),
            Some(piece) => {
                // A new word: what it would be is what a letter here would be.
                let kind = pieces(&format!("{before}x")).pop().map_or(Kind::Word, |next| next.kind);
                all.push(piece);
                (kind, before.len())
            }
            None => (Kind::Command, before.len()),
        };
        let word = &before[start..];
        if kind == Kind::Comment {
            return (start, Vec::new());
        }
        if kind == Kind::Command && !word.contains('/') {
            let known = self.commands.iter().filter(|name| name.starts_with(word));
            return (start, known.map(|name| Candidate { text: name.clone(), finished: true }).collect());
        }
        // What stands between the command and the word, without blanks.
        let at = all.iter().rposition(|piece| matches!(piece.kind, Kind::Command | Kind::Operator));
        let text = |piece: &Piece| &before[piece.range.clone()];
        let command = at.filter(|at| all[*at].kind == Kind::Command);
        let name = command.map_or("", |at| text(&all[at]));
        let words: Vec<&str> = all[command.map_or(all.len(), |at| at + 1)..]
            .iter()
            .filter(|piece| piece.kind == Kind::Word)
            .map(text)
            .collect();
        let offers = self.offers(name, &Line { before: &words, word });
        let mut candidates: Vec<Candidate> =
            offers.words.into_iter().map(|(text, finished)| Candidate { text, finished }).collect();
        let known: Vec<String> = candidates.iter().map(|candidate| format!("{}/", candidate.text)).collect();
        let files = self.files(word).into_iter().filter(|file| match offers.files {
            Files::All => true,
            Files::Directories => !file.finished && !known.contains(&file.text),
            Files::None => false,
        });
        candidates.extend(files);
        (start, candidates)
    }

    /// What can follow a command.
    fn offers(&self, command: &str, line: &Line<'_>) -> Offers {
        match command {
            "help" | "type" | "command" => Offers::only(self.commands.iter().map(String::as_str), line),
            "fg" | "bg" | "jobs" | "disown" => Offers::only(self.jobs.iter().map(String::as_str), line),
            "kill" | "wait" if line.word.starts_with('%') => Offers::only(self.jobs.iter().map(String::as_str), line),
            _ => commands::find(command).map_or_else(|| Offers::files(line), |command| (command.offers)(line)),
        }
    }

    fn files(&self, word: &str) -> Vec<Candidate> {
        let plain = word.replace('\\', "");
        let (parent, name) =
            plain.rsplit_once('/').map_or(("", plain.as_str()), |(_, name)| (&plain[..plain.len() - name.len()], name));
        let fitting = entries(&self.directory.join(parent))
            .into_iter()
            .filter(|(entry, _)| entry.starts_with(name) && (name.starts_with('.') || !entry.starts_with('.')));
        fitting
            .map(|(entry, is_directory)| {
                let path = format!("{parent}{entry}{}", if is_directory { "/" } else { "" });
                Candidate {
                    text: quote_if_needed(&path, QuoteMode::BackslashEscape).into_owned(),
                    finished: !is_directory,
                }
            })
            .collect()
    }
}

/// The names in a directory, in order, and whether each is a directory; none if it can't be read.
fn entries(directory: &Path) -> Vec<(String, bool)> {
    let mut entries: Vec<(String, bool)> = std::fs::read_dir(directory)
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|entry| Some((entry.file_name().into_string().ok()?, is_directory(&entry))))
        .collect();
    entries.sort_unstable();
    entries
}

/// Whether an entry is a directory or a link to one; only a link has to be looked at for that.
fn is_directory(entry: &DirEntry) -> bool {
    entry.file_type().is_ok_and(|kind| kind.is_dir() || kind.is_symlink() && entry.path().is_dir())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn knowledge() -> Knowledge {
        let commands = ["echo", "eval", "spin", "container"].map(str::to_owned).into_iter().collect();
        Knowledge { commands, directory: PathBuf::from("/"), jobs: vec!["%1".to_owned(), "%2".to_owned()] }
    }

    fn texts(line: &str) -> (usize, Vec<String>) {
        let (start, candidates) = knowledge().complete(line, line.len());
        (start, candidates.into_iter().map(|candidate| candidate.text).collect())
    }

    #[test]
    fn commands_are_offered_where_commands_stand() {
        assert_eq!(texts("e"), (0, vec!["echo".to_owned(), "eval".to_owned()]));
        assert_eq!(texts("spin | ec"), (7, vec!["echo".to_owned()]));
        assert_eq!(texts("true;").1.len(), 4);
    }

    #[test]
    fn our_commands_have_words() {
        assert_eq!(texts("container cr"), (10, vec!["create".to_owned()]));
        assert_eq!(texts("help sp").1, ["spin"]);
        assert_eq!(texts("true; fg ").1, ["%1", "%2"]);
        assert_eq!(texts("mount -o no").1[0], "none");
        assert!(texts("mount -t nothing").1.is_empty());
    }

    #[test]
    fn files_are_offered_elsewhere() {
        assert_eq!(texts("cat /pro"), (4, vec!["/proc/".to_owned()]));
        assert_eq!(texts("echo >pro"), (6, vec!["proc/".to_owned()]));
        assert!(texts("echo # pro").1.is_empty());
    }
}

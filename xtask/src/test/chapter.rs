//! The controller of the manual's chapter *Write a controller in an afternoon*, built from the chapter's own text.
//!
//! Its blocks of code, joined, are the one new file in a copy of the tree, and its line of registration is the one
//! line that changes there. The copy is compiled, the controller's tests run, the kernel boots and the chapter's
//! session is typed.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::{Context, Result, ensure};

use super::report::Report;
use super::{USUAL, Workshop, host, scenario, shell};
use crate::command_line::Test;
use crate::toolchain::Toolchain;
use crate::{kernel, workspace};

const SUITE: &str = "chapter";
const NAME: &str = "write-a-controller";

/// Where controllers lie, and the file with their list.
const CONTROLLERS: &str = "kernel/controllers/src";
const LIST: &str = "kernel/controllers/src/lib.rs";
/// What the list begins with; it ends at the next line that is a brace.
const LIST_HEAD: &str = "subsystems! { most_tasks:";

/// What of the repository is copied.
const TREE: &[&str] = &[".cargo", "Cargo.lock", "Cargo.toml", "boot", "kernel", "tests", "user", "xtask"];

/// Runs it, unless the filter or the machine says otherwise.
pub fn run(filter: &str, options: &Test, report: &mut Report) -> Result<()> {
    if !NAME.contains(filter) {
        return Ok(());
    }
    if options.names_a_machine() {
        report.skipped(SUITE, NAME, "it wants its own machine");
        return Ok(());
    }
    let path = workspace::root().join("docs/src").join(format!("{NAME}.md"));
    let text = fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
    let chapter = Chapter::parse(&text)?;
    let kept = workspace::kept().join(SUITE);
    let (tree, target) = (kept.join("tree"), kept.join("target"));
    chapter.put_into(&tree)?;
    let cargo = || {
        let mut cargo = crate::cargo();
        cargo.current_dir(&tree).env("CARGO_TARGET_DIR", &target);
        cargo
    };
    host::cargo_test(
        SUITE,
        cargo().args([
            "test",
            "--color",
            "never",
            "--package",
            "controllers",
            "--lib",
            "--",
            &format!("{}::", chapter.module),
        ]),
        report,
    )?;
    let session = scenario::parse(&chapter.session)?;
    let variant = super::variant(options, false);
    let build =
        |toolchain: &Toolchain| kernel::build_with(variant, toolchain, cargo(), &target, kept.join(variant.name()));
    let workshop = Workshop::open_with(options, build, super::our_initramfs)?;
    let started = Instant::now();
    match shell::run_one(NAME, &session, USUAL, &workshop, &mut None) {
        Ok(()) => report.passed(SUITE, &shell::described(NAME, &session), Some(started.elapsed())),
        Err(error) => report.failed(SUITE, &shell::described(NAME, &session), &format!("{error:#}")),
    }
    Ok(())
}

/// What the chapter holds for the machine.
struct Chapter {
    /// The name of the controller's file, without its end.
    module: String,
    /// The file.
    code: String,
    /// The line in the list.
    registration: String,
    /// What is typed and read, as a scenario.
    session: String,
}

impl Chapter {
    /// Errors: a part is missing.
    fn parse(text: &str) -> Result<Self> {
        let registration = blocks(text, "rust,ignore,registration");
        let entry = registration.trim();
        let (module, _) = entry.split_once("::").context("the chapter registers no `file::Type`")?;
        ensure!(entry.lines().count() == 1, "the registration is one line");
        let session = blocks(text, "text,session");
        ensure!(!session.is_empty(), "the chapter has no session");
        Ok(Self {
            module: module.to_owned(),
            code: blocks(text, "rust,ignore"),
            session: format!("# The controller of the chapter works.\n% alone\n{session}"),
            registration,
        })
    }

    /// Brings `tree` up to date with the repository, with the new file and the new line in it.
    fn put_into(&self, tree: &Path) -> Result<()> {
        let root = workspace::root();
        let file = PathBuf::from(CONTROLLERS).join(format!("{}.rs", self.module));
        ensure!(!root.join(&file).exists(), "{} is there already", file.display());
        let mut wanted = Vec::new();
        for name in TREE {
            files_below(root, Path::new(name), &mut wanted)?;
        }
        let mut stale = Vec::new();
        if tree.exists() {
            files_below(tree, Path::new(""), &mut stale)?;
        }
        for path in stale.iter().filter(|path| !wanted.contains(path) && **path != file) {
            fs::remove_file(tree.join(path)).with_context(|| format!("cannot remove {}", path.display()))?;
        }
        for path in &wanted {
            let content = fs::read(root.join(path)).with_context(|| format!("cannot read {}", path.display()))?;
            let content = if path == Path::new(LIST) { self.registered_in(&content)? } else { content };
            put(&tree.join(path), &content)?;
        }
        put(&tree.join(&file), self.code.as_bytes())
    }

    /// The list with the new line at its end.
    fn registered_in(&self, list: &[u8]) -> Result<Vec<u8>> {
        let list = std::str::from_utf8(list)?;
        let head = list.find(LIST_HEAD).context("the list of subsystems was not found")?;
        let end = head + list[head..].find("\n}").context("the list of subsystems does not end")? + 1;
        Ok([&list[..end], &self.registration, &list[end..]].concat().into_bytes())
    }
}

/// The content of all code blocks of the text with this word after the fence, joined.
fn blocks(text: &str, word: &str) -> String {
    let fence = format!("```{word}");
    let mut inside = false;
    let mut found = String::new();
    for line in text.lines() {
        match inside {
            true if line == "```" => inside = false,
            true => found.extend([line, "\n"]),
            false => inside = line == fence,
        }
    }
    found
}

/// Adds the paths, from `root`, of `path` and of all files below it.
fn files_below(root: &Path, path: &Path, files: &mut Vec<PathBuf>) -> Result<()> {
    let full = root.join(path);
    if !full.is_dir() {
        files.push(path.to_owned());
        return Ok(());
    }
    for entry in fs::read_dir(&full).with_context(|| format!("cannot read {}", full.display()))? {
        let name = entry?.file_name();
        if name != "target" {
            files_below(root, &path.join(name), files)?;
        }
    }
    Ok(())
}

/// Writes the file, unless it is so already: cargo builds again what is newer.
fn put(path: &Path, content: &[u8]) -> Result<()> {
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder).with_context(|| format!("cannot create {}", folder.display()))?;
    }
    workspace::replace_file(path, content)
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "Words.\n```rust,ignore\nfirst\n```\nwords\n```rust,ignore\nsecond\n```\n\
                        ```rust,ignore,registration\n    a::A::root(),\n```\n```text,session\n$ true\n```\n";

    #[test]
    fn the_blocks_of_one_kind_are_joined() {
        let chapter = Chapter::parse(TEXT).unwrap();
        assert_eq!((chapter.code.as_str(), chapter.module.as_str()), ("first\nsecond\n", "a"));
        assert!(chapter.session.ends_with("$ true\n"));
    }

    #[test]
    fn the_line_goes_to_the_end_of_the_list() {
        let list = "x\nsubsystems! { most_tasks:\n    b::B,\n}\ny\n";
        let with = Chapter::parse(TEXT).unwrap().registered_in(list.as_bytes()).unwrap();
        assert_eq!(
            String::from_utf8(with).unwrap(),
            "x\nsubsystems! { most_tasks:\n    b::B,\n    a::A::root(),\n}\ny\n"
        );
        assert!(Chapter::parse(TEXT).unwrap().registered_in(b"nothing").is_err());
    }

    #[test]
    fn the_chapter_of_the_manual_is_whole_and_formatted() {
        let path = workspace::root().join("docs/src").join(format!("{NAME}.md"));
        let chapter = Chapter::parse(&fs::read_to_string(path).unwrap()).unwrap();
        scenario::parse(&chapter.session).unwrap();
        assert!(chapter.code.starts_with("//! ") && chapter.code.contains("impl Subsystem for "));
        assert!(chapter.code.lines().all(|line| line.len() <= 120 && line.trim_end() == line));
        let list = fs::read(workspace::root().join(LIST)).unwrap();
        chapter.registered_in(&list).unwrap();
    }
}

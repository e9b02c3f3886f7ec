//! grep: prints the lines that match a pattern, on ripgrep's libraries, with POSIX's patterns and options.
//!
//! `grep` takes basic regular expressions, `grep -E` and `egrep` extended ones, `grep -F` and `fgrep` plain strings.
//! Back references are refused. Exit status: 0 a line was selected, 1 none was, 2 an error.

mod pattern;

use std::ffi::{OsStr, OsString};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use clap::{Arg, ArgAction, ArgMatches, Command, value_parser};
use grep_printer::{StandardBuilder, SummaryBuilder, SummaryKind};
use grep_regex::{RegexMatcher, RegexMatcherBuilder};
use grep_searcher::{BinaryDetection, Searcher, SearcherBuilder};
use termcolor::NoColor;

use pattern::Syntax;

/// Runs grep with its whole argument list and returns its exit status.
pub fn main(arguments: Vec<OsString>) -> i32 {
    let called = arguments.first().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    let options = match command().try_get_matches_from(arguments) {
        Ok(options) => options,
        Err(error) => {
            let wrong = error.use_stderr();
            let _ = error.print();
            return if wrong { 2 } else { 0 };
        }
    };
    let syntax = if options.get_flag("fixed") || called.ends_with("fgrep") {
        Syntax::Fixed
    } else if options.get_flag("extended") || called.ends_with("egrep") {
        Syntax::Extended
    } else {
        Syntax::Basic
    };
    match Search::new(&options, syntax) {
        Ok(search) => search.run(),
        Err(message) => {
            eprintln!("grep: {message}");
            2
        }
    }
}

fn flag(short: char, name: &'static str, help: &'static str) -> Arg {
    Arg::new(name).short(short).long(name).action(ArgAction::SetTrue).help(help)
}

fn number(short: char, name: &'static str, help: &'static str) -> Arg {
    Arg::new(name).short(short).long(name).value_name("N").value_parser(value_parser!(usize)).help(help)
}

fn command() -> Command {
    Command::new("grep")
        .about("Prints the lines that match a pattern")
        .override_usage("grep [OPTION]... PATTERN [FILE]...\n       grep [OPTION]... -e PATTERN... [FILE]...")
        .disable_help_flag(true)
        .arg(Arg::new("help").long("help").action(ArgAction::Help).help("Prints this text"))
        .arg(flag('G', "basic", "The pattern is a basic regular expression (the default)").long("basic-regexp"))
        .arg(flag('E', "extended", "The pattern is an extended regular expression").long("extended-regexp"))
        .arg(flag('F', "fixed", "The pattern is a plain string").long("fixed-strings"))
        .arg(flag('i', "ignore-case", "Upper and lower case are the same"))
        .arg(flag('v', "invert-match", "Selects the lines that do not match"))
        .arg(flag('w', "word-regexp", "Matches whole words only"))
        .arg(flag('x', "line-regexp", "Matches whole lines only"))
        .arg(flag('c', "count", "Prints how many lines were selected"))
        .arg(flag('l', "files-with-matches", "Prints the names of the files with a selected line"))
        .arg(flag('L', "files-without-match", "Prints the names of the files without one"))
        .arg(flag('o', "only-matching", "Prints only the matching part, each on its own line"))
        .arg(flag('q', "quiet", "Prints nothing; the exit status tells").visible_alias("silent"))
        .arg(flag('s', "no-messages", "Says nothing of files that can't be read"))
        .arg(flag('n', "line-number", "Prints line numbers"))
        .arg(flag('H', "with-filename", "Prints file names"))
        .arg(flag('h', "no-filename", "Prints no file names"))
        .arg(flag('r', "recursive", "Searches directories through and through").short_alias('R'))
        .arg(flag('a', "text", "Takes binary files for text"))
        .arg(number('m', "max-count", "Stops after N selected lines"))
        .arg(number('A', "after-context", "Prints N lines after each selected line"))
        .arg(number('B', "before-context", "Prints N lines before each selected line"))
        .arg(number('C', "context", "Prints N lines before and after each selected line"))
        .arg(
            Arg::new("regexp")
                .short('e')
                .long("regexp")
                .value_name("PATTERN")
                .action(ArgAction::Append)
                .allow_hyphen_values(true)
                .help("A pattern; may be given several times"),
        )
        .arg(Arg::new("operands").num_args(0..).value_parser(value_parser!(OsString)).hide(true))
}

/// What is printed of the files that are searched.
enum Report {
    Lines { only_matching: bool },
    Summary(SummaryKind),
}

struct Search {
    matcher: RegexMatcher,
    searcher: Searcher,
    report: Report,
    names: bool,
    quiet: bool,
    silent_errors: bool,
    recursive: bool,
    files: Vec<PathBuf>,
    failed: bool,
}

impl Search {
    fn new(options: &ArgMatches, syntax: Syntax) -> Result<Self, String> {
        let mut operands: Vec<OsString> = options.get_many("operands").unwrap_or_default().cloned().collect();
        let patterns: Vec<String> = match options.get_many::<String>("regexp") {
            Some(patterns) => patterns.cloned().collect(),
            None if operands.is_empty() => return Err("no pattern was given; see `grep --help`".into()),
            None => vec![operands.remove(0).to_string_lossy().into_owned()],
        };
        let lines: Vec<String> =
            patterns.iter().flat_map(|text| text.split('\n')).map(|line| syntax.translate(line)).collect();
        let matcher = RegexMatcherBuilder::new()
            .case_insensitive(options.get_flag("ignore-case"))
            .word(options.get_flag("word-regexp"))
            .whole_line(options.get_flag("line-regexp"))
            .fixed_strings(syntax == Syntax::Fixed)
            .line_terminator(Some(b'\n'))
            .build_many(&lines)
            .map_err(|error| error.to_string())?;

        let recursive = options.get_flag("recursive");
        let context = options.get_one::<usize>("context").copied().unwrap_or(0);
        let side = |name: &str| options.get_one::<usize>(name).copied().unwrap_or(context);
        let searcher = SearcherBuilder::new()
            .line_number(options.get_flag("line-number"))
            .invert_match(options.get_flag("invert-match"))
            .after_context(side("after-context"))
            .before_context(side("before-context"))
            .max_matches(options.get_one::<usize>("max-count").map(|&n| n as u64))
            .binary_detection(if options.get_flag("text") {
                BinaryDetection::none()
            } else {
                BinaryDetection::convert(0)
            })
            .build();
        let quiet = options.get_flag("quiet");
        let report = if quiet {
            Report::Summary(SummaryKind::QuietWithMatch)
        } else if options.get_flag("files-with-matches") {
            Report::Summary(SummaryKind::PathWithMatch)
        } else if options.get_flag("files-without-match") {
            Report::Summary(SummaryKind::PathWithoutMatch)
        } else if options.get_flag("count") {
            Report::Summary(SummaryKind::Count)
        } else {
            Report::Lines { only_matching: options.get_flag("only-matching") && !options.get_flag("invert-match") }
        };
        if operands.is_empty() {
            operands.push(OsString::from(if recursive { "." } else { "-" }));
        }
        Ok(Self {
            matcher,
            searcher,
            report,
            names: (operands.len() > 1 || recursive || options.get_flag("with-filename"))
                && !options.get_flag("no-filename"),
            quiet,
            silent_errors: options.get_flag("no-messages"),
            recursive,
            files: operands.into_iter().map(PathBuf::from).collect(),
            failed: false,
        })
    }

    fn run(mut self) -> i32 {
        let mut found = false;
        let mut waiting: Vec<PathBuf> = std::mem::take(&mut self.files);
        waiting.reverse();
        while let Some(path) = waiting.pop() {
            if self.recursive && path.is_dir() {
                self.add_entries(&path, &mut waiting);
                continue;
            }
            match self.file(&path) {
                Ok(selected) => found |= selected,
                Err(error) if error.kind() == io::ErrorKind::BrokenPipe => return 2,
                Err(error) => self.complain(&path, &error),
            }
            if found && self.quiet {
                return 0;
            }
        }
        if self.failed { 2 } else { i32::from(!found) }
    }

    /// Puts what is in the directory `path` on top of `waiting`, so that it comes out in the order of names.
    fn add_entries(&mut self, path: &Path, waiting: &mut Vec<PathBuf>) {
        match std::fs::read_dir(path) {
            Ok(entries) => {
                let mut entries: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).collect();
                entries.sort_by(|one, other| other.cmp(one));
                waiting.append(&mut entries);
            }
            Err(error) => self.complain(path, &error),
        }
    }

    fn complain(&mut self, path: &Path, error: &io::Error) {
        self.failed = true;
        if !self.silent_errors {
            eprintln!("grep: {}: {}", path.display(), uucore::error::strip_errno(error));
        }
    }

    /// Searches one file (`-` is the standard input); tells whether a line was selected.
    fn file(&mut self, path: &Path) -> io::Result<bool> {
        let is_input = path.as_os_str() == OsStr::new("-");
        let shown = if is_input { Path::new("(standard input)") } else { path };
        let mut out = NoColor::new(Vec::new());
        let selected = match &self.report {
            Report::Lines { only_matching } => {
                let mut printer = StandardBuilder::new().path(self.names).only_matching(*only_matching).build(&mut out);
                let mut sink = printer.sink_with_path(&self.matcher, shown);
                if is_input {
                    self.searcher.search_reader(&self.matcher, io::stdin().lock(), &mut sink)?;
                } else {
                    self.searcher.search_path(&self.matcher, path, &mut sink)?;
                }
                sink.has_match()
            }
            Report::Summary(kind) => {
                let mut printer =
                    SummaryBuilder::new().kind(*kind).path(self.names).exclude_zero(false).build(&mut out);
                let mut sink = printer.sink_with_path(&self.matcher, shown);
                if is_input {
                    self.searcher.search_reader(&self.matcher, io::stdin().lock(), &mut sink)?;
                } else {
                    self.searcher.search_path(&self.matcher, path, &mut sink)?;
                }
                sink.has_match()
            }
        };
        io::stdout().write_all(&out.into_inner())?;
        Ok(selected)
    }
}

//! The words of the kernel's command line that concern the whole: what to start, and what to leave out.

use alloc::{borrow::ToOwned, string::String, vec::Vec};

/// The command line, cut into what is the kernel's and what goes to init.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct CommandLine {
    /// `rdinit=`: the first program.
    pub init: Option<String>,
    /// `cgroup_disable=`: subsystems to leave out, joined by commas.
    pub disabled: String,
    /// Words without `=` that the kernel does not know, and all words behind `--`: init's arguments.
    pub arguments: Vec<String>,
    /// Words with `=` that the kernel does not know: init's environment.
    pub environment: Vec<String>,
}

/// Words that some floor of the kernel reads by itself.
const KNOWN: &[&str] =
    &["log", "maxcpus", "run", "test", "test-from", "panic", "console", "console_mark", "quiet", "root", "ro", "rw"];

impl CommandLine {
    /// Cuts a command line. Of a repeated word the last counts; `cgroup_disable` adds up.
    pub fn parse(text: &str) -> Self {
        let mut line = Self::default();
        let mut words = text.split_ascii_whitespace();
        for word in words.by_ref().take_while(|&word| word != "--") {
            match word.split_once('=') {
                Some(("rdinit", path)) => line.init = Some(path.to_owned()),
                Some(("cgroup_disable", names)) => {
                    line.disabled.push(',');
                    line.disabled.push_str(names);
                }
                Some((name, _)) if KNOWN.contains(&name) => {}
                None if KNOWN.contains(&word) => {}
                Some(_) => line.environment.push(word.to_owned()),
                None => line.arguments.push(word.to_owned()),
            }
        }
        line.arguments.extend(words.map(ToOwned::to_owned));
        line
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_kernel_does_not_know_goes_to_init() {
        let line = CommandLine::parse("log=both rdinit=/bin/sh TERM=dumb single cgroup_disable=a,b -- -c x=1");
        assert_eq!(line.init.as_deref(), Some("/bin/sh"));
        assert_eq!(line.disabled, ",a,b");
        assert_eq!(line.environment, ["TERM=dumb"]);
        assert_eq!(line.arguments, ["single", "-c", "x=1"]);
    }
}

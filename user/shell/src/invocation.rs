//! The shell's own command line, as POSIX has it: `sh [-eux…] [-o OPTION] [-c COMMAND [NAME] | SCRIPT | -s] [ARGUMENT…]`.

use std::io::IsTerminal;
use std::path::PathBuf;

/// Where commands come from.
#[derive(Debug, PartialEq, Eq)]
pub enum Source {
    /// This text.
    Command(String),
    /// A file.
    Script(PathBuf),
    /// The standard input.
    Input,
}

/// What the command line asks for.
#[derive(Debug)]
pub struct Invocation {
    /// Where commands come from.
    pub source: Source,
    /// `$0`.
    pub name: String,
    /// `$1` and on.
    pub arguments: Vec<String>,
    /// A person is to be asked for commands.
    pub interactive: bool,
    /// Names of options that are switched on.
    pub enabled: Vec<String>,
    /// Names of options that are switched off.
    pub disabled: Vec<String>,
}

/// The option of `set -o` that stands behind a letter.
fn option_name(letter: char) -> Option<&'static str> {
    Some(match letter {
        'a' => "allexport",
        'b' => "notify",
        'C' => "noclobber",
        'e' => "errexit",
        'f' => "noglob",
        'h' => "hashall",
        'm' => "monitor",
        'n' => "noexec",
        'u' => "nounset",
        'v' => "verbose",
        'x' => "xtrace",
        _ => return None,
    })
}

impl Invocation {
    /// Reads the argument list, the shell's own name first. The error is a message for a person.
    pub fn parse(arguments: &[String]) -> Result<Self, String> {
        let mut rest = arguments.iter().skip(1).peekable();
        let (mut command, mut input, mut interactive) = (false, false, false);
        let (mut enabled, mut disabled) = (Vec::new(), Vec::new());
        while let Some(word) = rest.next_if(|word| word.len() > 1 && word.starts_with(['-', '+'])) {
            if word == "--" {
                break;
            }
            let on = word.starts_with('-');
            for letter in word.chars().skip(1) {
                match letter {
                    'c' if on => command = true,
                    's' if on => input = true,
                    'i' if on => interactive = true,
                    'l' => {}
                    'o' => {
                        let name = rest.next().ok_or("-o: the name of an option must follow")?;
                        if on { &mut enabled } else { &mut disabled }.push(name.clone());
                    }
                    _ => {
                        let name = option_name(letter).ok_or_else(|| format!("{word}: invalid option"))?;
                        if on { &mut enabled } else { &mut disabled }.push(name.to_owned());
                    }
                }
            }
        }
        let mut name = arguments.first().cloned().unwrap_or_else(|| "sh".to_owned());
        let source = if command {
            let text = rest.next().ok_or("-c: a command must follow")?.clone();
            if let Some(word) = rest.next() {
                name.clone_from(word);
            }
            Source::Command(text)
        } else if input || rest.peek().is_none() {
            interactive |= std::io::stdin().is_terminal() && std::io::stderr().is_terminal();
            Source::Input
        } else {
            name.clone_from(rest.next().ok_or("a script must follow")?);
            Source::Script(PathBuf::from(&name))
        };
        Ok(Self { source, name, arguments: rest.cloned().collect(), interactive, enabled, disabled })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(words: &str) -> Result<Invocation, String> {
        Invocation::parse(&words.split_whitespace().map(str::to_owned).collect::<Vec<_>>())
    }

    #[test]
    fn a_command_takes_a_name_and_arguments() {
        let invocation = parse("sh -ec true me one two").unwrap();
        assert_eq!(invocation.source, Source::Command("true".into()));
        assert_eq!(invocation.name, "me");
        assert_eq!(invocation.arguments, ["one", "two"]);
        assert_eq!(invocation.enabled, ["errexit"]);
    }

    #[test]
    fn a_script_is_its_own_name() {
        let invocation = parse("/bin/sh -o pipefail +x file -c").unwrap();
        assert_eq!(invocation.source, Source::Script("file".into()));
        assert_eq!(invocation.name, "file");
        assert_eq!(invocation.arguments, ["-c"]);
        assert_eq!((invocation.enabled, invocation.disabled), (vec!["pipefail".to_owned()], vec!["xtrace".to_owned()]));
    }

    #[test]
    fn a_wrong_letter_is_refused() {
        assert_eq!(parse("sh -Z").unwrap_err(), "-Z: invalid option");
        assert!(parse("sh -c").is_err());
    }
}

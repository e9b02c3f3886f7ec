//! `help`: what there is, and how each of our commands is used.

use std::io::Write;

use brush_core::builtins::{BoxFuture, ContentOptions, ContentType};
use brush_core::{CommandArg, Error, ExecutionResult};

use super::{Context, Outcome, names, words};
use crate::commands;

/// `help [NAME]…`.
pub fn help(context: Context<'_>, arguments: Vec<CommandArg>) -> BoxFuture<'_, Outcome> {
    Box::pin(async move {
        let topics: Vec<String> = words(arguments).into_iter().skip(1).filter(|word| !word.starts_with('-')).collect();
        let mut out = context.stdout();
        if topics.is_empty() {
            writeln!(out, "The shell understands bash's language. Of containers and the machine:")?;
            for command in commands::COMMANDS {
                writeln!(out, "  {:<10} {}", command.name, command.summary)?;
            }
            writeln!(out, "\nOf the shell itself:")?;
            for line in wrapped(
                &names(context.shell).into_iter().filter(|name| commands::find(name).is_none()).collect::<Vec<_>>(),
            ) {
                writeln!(out, "  {line}")?;
            }
            writeln!(out, "\nAnd the programs in /bin. `help NAME` or `NAME --help` tells more of one.")?;
            return Ok(ExecutionResult::success());
        }
        let mut status = 0;
        for topic in topics {
            let content = context.shell.builtins().get(&topic).map(|known| known.content_func);
            let program = commands::find(&topic).map(|command| (command.usage)());
            match (program, content) {
                (Some(text), _) => write!(out, "{text}")?,
                (None, Some(content)) if !topic.starts_with("__") => {
                    write!(out, "{}", content(&topic, ContentType::DetailedHelp, &ContentOptions::default())?)?;
                }
                _ => {
                    writeln!(context.stderr(), "sh: help: nothing is known of '{topic}'; try `{topic} --help`")?;
                    status = 1;
                }
            }
        }
        Ok(ExecutionResult::new(status))
    })
}

/// The names in lines that fit a terminal.
fn wrapped(names: &[&str]) -> Vec<String> {
    let mut lines = vec![String::new()];
    for name in names {
        let full = lines.last().is_some_and(|line| line.len() + name.len() > 74);
        if full {
            lines.push(String::new());
        }
        if let Some(line) = lines.last_mut() {
            if !line.is_empty() {
                line.push(' ');
            }
            line.push_str(name);
        }
    }
    lines
}

/// The help text of one of our commands.
pub fn command_text(name: &str, content: ContentType, _options: &ContentOptions) -> Result<String, Error> {
    Ok(match (commands::find(name), content) {
        (Some(command), ContentType::ShortDescription) => format!("{name} - {}\n", command.summary),
        (Some(command), _) => (command.usage)(),
        (None, _) => String::new(),
    })
}

/// The help text of what no person calls.
pub fn no_text(_name: &str, _content: ContentType, _options: &ContentOptions) -> Result<String, Error> {
    Ok(String::new())
}

#[cfg(test)]
mod tests {
    use super::wrapped;

    #[test]
    fn names_are_wrapped_before_the_edge() {
        let names = vec!["a-name-of-twenty-char"; 7];
        let lines = wrapped(&names);
        assert!(lines.iter().all(|line| line.len() <= 76));
        assert_eq!(lines.iter().map(|line| line.split(' ').count()).sum::<usize>(), 7);
    }
}

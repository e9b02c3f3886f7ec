//! A line cut into words as far as completion and colours need it.

use std::ops::Range;

/// What a piece of a line is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// The name of a command.
    Command,
    /// Another word.
    Word,
    /// `;`, `|`, `>` and the like.
    Operator,
    /// From `#` to the end.
    Comment,
    /// White space.
    Blank,
}

/// A piece of a line.
#[derive(Debug, PartialEq, Eq)]
pub struct Piece {
    /// What it is.
    pub kind: Kind,
    /// Where it is, in bytes.
    pub range: Range<usize>,
}

/// Words after which a command begins.
const BEFORE_COMMAND: &[&str] = &["if", "then", "else", "elif", "while", "until", "do", "!", "{", "time"];

/// All pieces of `line`, one after the other, without a gap.
pub fn pieces(line: &str) -> Vec<Piece> {
    let mut pieces = Vec::new();
    let mut at = 0;
    let mut command_next = true;
    while let Some(first) = line[at..].chars().next() {
        let rest = &line[at..];
        let (kind, length) = if first.is_whitespace() {
            (Kind::Blank, rest.find(|other: char| !other.is_whitespace()).unwrap_or(rest.len()))
        } else if is_operator(first) {
            (Kind::Operator, rest.find(|other: char| !is_operator(other)).unwrap_or(rest.len()))
        } else if first == '#' {
            (Kind::Comment, rest.len())
        } else {
            (if command_next { Kind::Command } else { Kind::Word }, word_length(rest))
        };
        let text = &rest[..length];
        command_next = match kind {
            Kind::Blank | Kind::Comment => command_next,
            Kind::Operator => !text.ends_with(['<', '>']),
            Kind::Command => BEFORE_COMMAND.contains(&text) || is_assignment(text),
            Kind::Word => false,
        };
        pieces.push(Piece { kind, range: at..at + length });
        at += length;
    }
    pieces
}

fn is_operator(character: char) -> bool {
    ";|&<>()".contains(character)
}

fn is_assignment(word: &str) -> bool {
    word.split_once('=').is_some_and(|(name, _)| {
        !name.is_empty() && name.chars().all(|character| character.is_alphanumeric() || character == '_')
    })
}

/// The length of the word that `text` begins with; quotes and backslashes hide what would end it.
fn word_length(text: &str) -> usize {
    let mut quote = None;
    let mut hidden = false;
    for (index, character) in text.char_indices() {
        match (quote, character) {
            _ if hidden => hidden = false,
            (Some('"') | None, '\\') => hidden = true,
            (Some(open), _) => {
                if character == open {
                    quote = None;
                }
            }
            (None, '\'' | '"') => quote = Some(character),
            (None, _) if character.is_whitespace() || is_operator(character) => return index,
            (None, _) => {}
        }
    }
    text.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kinds(line: &str) -> Vec<(Kind, &str)> {
        let all = pieces(line).into_iter();
        all.filter(|piece| piece.kind != Kind::Blank).map(|piece| (piece.kind, &line[piece.range])).collect()
    }

    #[test]
    fn commands_stand_at_the_beginning_and_after_operators() {
        use Kind::{Command, Operator, Word};
        assert_eq!(
            kinds("A=1 ls -l|wc >f; if true"),
            [
                (Command, "A=1"),
                (Command, "ls"),
                (Word, "-l"),
                (Operator, "|"),
                (Command, "wc"),
                (Operator, ">"),
                (Word, "f"),
                (Operator, ";"),
                (Command, "if"),
                (Command, "true")
            ]
        );
    }

    #[test]
    fn quotes_hide_what_ends_a_word() {
        assert_eq!(kinds(r#"a 'b; c' "d\" e" f\ g"#).len(), 4);
        assert_eq!(kinds("a 'b c"), [(Kind::Command, "a"), (Kind::Word, "'b c")]);
        assert_eq!(kinds("a # b c")[1], (Kind::Comment, "# b c"));
    }

    proptest::proptest! {
        #[test]
        fn pieces_are_the_whole_line(line in ".*") {
            let joined: String = pieces(&line).into_iter().map(|piece| line[piece.range].to_owned()).collect();
            proptest::prop_assert_eq!(joined, line);
        }
    }
}

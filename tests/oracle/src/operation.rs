//! One operation as a line of text: who does it, what, and to what. `1 write 0:/a/tasks {2}` is: task 1 writes the
//! number of task 2 to the file `tasks` of container `/a` of what is mounted at place 0.

use std::fmt;

/// A line: the task that acts, then the words. Blanks, percent signs and bytes that do not print are `%XX` in them.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Operation {
    /// The task that acts; 0 is the first.
    pub by: u32,
    /// The verb and its arguments, without escapes.
    pub words: Vec<Vec<u8>>,
}

impl Operation {
    /// The operation of these words.
    pub fn new<W: AsRef<[u8]>>(by: u32, words: &[W]) -> Self {
        Self { by, words: words.iter().map(|word| word.as_ref().to_vec()).collect() }
    }

    /// Reads a line. `None` where it names no task or no verb.
    pub fn parse(line: &str) -> Option<Self> {
        let mut words = line.split_ascii_whitespace();
        let by = words.next()?.parse().ok()?;
        let words: Vec<_> = words.map(unescape).collect();
        (!words.is_empty()).then_some(Self { by, words })
    }

    /// The verb.
    pub fn verb(&self) -> &str {
        self.words.first().map_or("", |word| std::str::from_utf8(word).unwrap_or(""))
    }
}

impl fmt::Display for Operation {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}", self.by)?;
        self.words.iter().try_for_each(|word| write!(out, " {}", escape(word)))
    }
}

/// The bytes as one word that prints; no bytes are `%`.
pub fn escape(bytes: &[u8]) -> String {
    if bytes.is_empty() {
        return "%".to_owned();
    }
    bytes.iter().fold(String::new(), |mut text, &byte| {
        match byte {
            b'%' | 0..=b' ' | 0x7f.. => text += &format!("%{byte:02x}"),
            _ => text.push(char::from(byte)),
        }
        text
    })
}

/// The bytes that [`escape`] was given.
pub fn unescape(word: &str) -> Vec<u8> {
    let (mut bytes, mut rest) = (Vec::new(), word.as_bytes());
    while let [byte, after @ ..] = rest {
        rest = after;
        let hex = after.get(..2).and_then(|hex| std::str::from_utf8(hex).ok());
        match (byte, hex.and_then(|hex| u8::from_str_radix(hex, 16).ok())) {
            (b'%', Some(value)) => {
                bytes.push(value);
                rest = &after[2..];
            }
            (b'%', None) => {}
            _ => bytes.push(*byte),
        }
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_comes_back_as_it_was() {
        let operation = Operation::new(3, &[&b"write"[..], b"0:/a b%\n\xff", b""]);
        let line = operation.to_string();
        assert_eq!(line, "3 write 0:/a%20b%25%0a%ff %");
        assert_eq!(Operation::parse(&line), Some(operation));
    }

    #[test]
    fn a_line_without_a_task_or_a_verb_is_none() {
        assert_eq!(Operation::parse("write x"), None);
        assert_eq!(Operation::parse("1"), None);
    }
}

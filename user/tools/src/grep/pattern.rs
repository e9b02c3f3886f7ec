//! Translates POSIX's regular expressions, basic and extended, into the syntax of the regex library.

/// The kind of a pattern.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Syntax {
    /// `\(`, `\{`, `\|`, `\+`, `\?` are special, their bare characters are not.
    Basic,
    /// The bare characters are special.
    Extended,
    /// Nothing is special.
    Fixed,
}

impl Syntax {
    /// `pattern` in the library's syntax. Nothing is checked: the library tells what is wrong with it.
    pub fn translate(self, pattern: &str) -> String {
        if self == Syntax::Fixed { pattern.to_owned() } else { Translation::new(pattern).run(self == Syntax::Basic) }
    }
}

struct Translation<'a> {
    rest: std::iter::Peekable<std::str::Chars<'a>>,
    out: String,
    /// At the start of the pattern or of a group or branch, where `*` is itself and `^` an anchor.
    at_start: bool,
}

impl<'a> Translation<'a> {
    fn new(pattern: &'a str) -> Self {
        Self { rest: pattern.chars().peekable(), out: String::with_capacity(pattern.len() + 8), at_start: true }
    }

    fn run(mut self, basic: bool) -> String {
        while let Some(character) = self.rest.next() {
            let starts = matches!((basic, character), (false, '(' | '|'));
            match character {
                '[' => self.bracket(),
                '\\' => {
                    self.escape(basic);
                    continue;
                }
                '(' | ')' | '{' | '}' | '|' | '+' | '?' if basic => self.literal(character),
                '*' if basic && self.at_start => self.literal('*'),
                '^' if basic && !self.at_start => self.literal('^'),
                '$' if basic && !self.at_end() => self.literal('$'),
                '^' => {
                    self.out.push('^');
                    continue;
                }
                _ => self.out.push(character),
            }
            self.at_start = starts;
        }
        self.out
    }

    fn literal(&mut self, character: char) {
        self.out.push('\\');
        self.out.push(character);
    }

    /// Whether a `$` read just now stands at the end of the pattern, of a group or of a branch.
    fn at_end(&self) -> bool {
        let mut ahead = self.rest.clone();
        matches!((ahead.next(), ahead.next()), (None, _) | (Some('\\'), Some(')' | '|')))
    }

    /// What follows a backslash.
    fn escape(&mut self, basic: bool) {
        self.at_start = false;
        match self.rest.next() {
            Some(special @ ('(' | ')' | '{' | '}' | '|' | '+' | '?')) if basic => {
                self.out.push(special);
                self.at_start = matches!(special, '(' | '|');
            }
            Some(word @ ('<' | '>' | 'b' | 'B' | 'w' | 'W' | 's' | 'S')) => self.literal(word),
            // A back reference; the library refuses it by that name.
            Some(digit @ '1'..='9') => self.literal(digit),
            Some(other) if other.is_ascii_punctuation() => self.literal(other),
            Some(other) => self.out.push(other),
            None => self.out.push('\\'),
        }
    }

    /// A bracket expression, in which only `]`, `-`, `^` and classes are special.
    fn bracket(&mut self) {
        self.out.push('[');
        if self.rest.next_if_eq(&'^').is_some() {
            self.out.push('^');
        }
        if self.rest.next_if_eq(&']').is_some() {
            self.out.push_str("\\]");
        }
        while let Some(character) = self.rest.next() {
            match character {
                ']' => {
                    self.out.push(']');
                    return;
                }
                '[' if self.rest.peek() == Some(&':') => {
                    self.out.push('[');
                    while let Some(inner) = self.rest.next() {
                        self.out.push(inner);
                        if inner == ':' && self.rest.next_if_eq(&']').is_some() {
                            self.out.push(']');
                            break;
                        }
                    }
                }
                '[' | '\\' | '&' | '~' => self.literal(character),
                _ => self.out.push(character),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Syntax::{Basic, Extended, Fixed};

    #[test]
    fn bare_characters_are_plain_in_a_basic_pattern() {
        assert_eq!(Basic.translate("a+b(c)|d?{1}"), r"a\+b\(c\)\|d\?\{1\}");
        assert_eq!(Basic.translate(r"\(ab\)\{2\}\|c\+"), "(ab){2}|c+");
    }

    #[test]
    fn a_star_or_an_anchor_out_of_place_is_itself() {
        assert_eq!(Basic.translate("*a*"), r"\*a*");
        assert_eq!(Basic.translate("^a^b$c$"), r"^a\^b\$c$");
        assert_eq!(Basic.translate("^*"), r"^\*");
        assert_eq!(Basic.translate(r"\(^a$\)"), "(^a$)");
    }

    #[test]
    fn an_extended_pattern_stays_as_it_is() {
        assert_eq!(Extended.translate("name=(cpuset|cpuacct) $"), "name=(cpuset|cpuacct) $");
        assert_eq!(Extended.translate("name|^cpu"), "name|^cpu");
        assert_eq!(Extended.translate(r"\.\/"), r"\.\/");
    }

    #[test]
    fn brackets_hold_backslashes_and_classes() {
        assert_eq!(Basic.translate(r"[]\a]"), r"[\]\\a]");
        assert_eq!(Basic.translate("[^[:digit:][]"), r"[^[:digit:]\[]");
    }

    #[test]
    fn a_fixed_string_is_untouched() {
        assert_eq!(Fixed.translate(r"a\(*"), r"a\(*");
    }
}

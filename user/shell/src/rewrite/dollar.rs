//! `$!`, which brush can't give a value, becomes a variable that it can.

use super::BACKGROUND_PROCESS;

/// What the characters around a place mean.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Inside {
    /// `"…"`: single quotes are plain.
    Quotes,
    /// `(…)`, with or without a `$` before it: a program again.
    Parentheses,
}

/// `text` with `$!` and `${!}` replaced wherever the shell would expand them: not in single quotes or comments, nor
/// behind a backslash.
pub fn replace_background_process(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut around: Vec<Inside> = Vec::new();
    let mut rest = text;
    while let Some(character) = rest.chars().next() {
        let in_quotes = around.last() == Some(&Inside::Quotes);
        let length = match character {
            '\\' => 1 + rest.chars().nth(1).map_or(0, char::len_utf8),
            '\'' if !in_quotes => 1 + end_of(&rest[1..], '\'', out.ends_with('$')),
            '#' if !in_quotes && out.chars().next_back().is_none_or(|before| " \t\n;&|()".contains(before)) => {
                rest.find('\n').unwrap_or(rest.len())
            }
            '$' => {
                if let Some(after) = rest.strip_prefix("$!").or_else(|| rest.strip_prefix("${!}")) {
                    out.push_str(&format!("${{{BACKGROUND_PROCESS}}}"));
                    rest = after;
                    continue;
                }
                1
            }
            '"' => {
                if in_quotes {
                    around.pop();
                } else {
                    around.push(Inside::Quotes);
                }
                1
            }
            '(' if !in_quotes || out.ends_with('$') => {
                around.push(Inside::Parentheses);
                1
            }
            ')' if around.last() == Some(&Inside::Parentheses) => {
                around.pop();
                1
            }
            other => other.len_utf8(),
        };
        out.push_str(&rest[..length]);
        rest = &rest[length..];
    }
    out
}

/// The length of `text` up to and with the `quote` that ends it; in `$'…'` a backslash hides one.
fn end_of(text: &str, quote: char, escapes: bool) -> usize {
    let mut hidden = false;
    for (index, character) in text.char_indices() {
        if character == quote && !hidden {
            return index + 1;
        }
        hidden = escapes && character == '\\' && !hidden;
    }
    text.len()
}

#[cfg(test)]
mod tests {
    use super::replace_background_process as replaced;

    #[test]
    fn it_is_replaced_where_the_shell_expands_it() {
        assert_eq!(replaced("sleep 9 & echo $!> x"), "sleep 9 & echo ${BACKGROUND_PROCESS}> x");
        assert_eq!(
            replaced(r#"echo "a $! $(kill ${!})""#),
            r#"echo "a ${BACKGROUND_PROCESS} $(kill ${BACKGROUND_PROCESS})""#
        );
        assert_eq!(replaced(r#""it's $!""#), r#""it's ${BACKGROUND_PROCESS}""#);
    }

    #[test]
    fn it_stays_in_quotes_and_comments() {
        for text in ["echo '$!'", r"echo \$!", "a # $! b", r#"echo "$(echo '$!')""#, r"echo $'\'$!'", "${!name}"] {
            assert_eq!(replaced(text), text);
        }
        assert_eq!(replaced("a#$!"), "a#${BACKGROUND_PROCESS}");
    }

    proptest::proptest! {
        #[test]
        fn text_without_it_is_never_changed(text in "[^!]*") {
            proptest::prop_assert_eq!(replaced(&text), text);
        }
    }
}

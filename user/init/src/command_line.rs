//! The words of the kernel's command line that are meant for init.

/// What `/proc/cmdline` asks of init.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct CommandLine {
    /// The command to run instead of the shell: `run=`, percent-decoded.
    pub run: Option<String>,
}

impl CommandLine {
    /// Reads `/proc/cmdline`; one that can't be read asks nothing.
    pub fn of_the_kernel() -> Self {
        std::fs::read_to_string("/proc/cmdline").map(|text| Self::parse(&text)).unwrap_or_default()
    }

    fn parse(text: &str) -> Self {
        // As with the kernel's own words, the last one counts.
        Self {
            run: text.split_whitespace().filter_map(|word| word.strip_prefix("run=")).next_back().map(percent_decode),
        }
    }
}

/// `text` with each `%` and two hexadecimal digits replaced by the byte they name. A `%` without them is itself.
fn percent_decode(text: &str) -> String {
    let mut decoded = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [first, tail @ ..] = rest {
        rest = match (first, tail) {
            (b'%', [high, low, after @ ..]) if high.is_ascii_hexdigit() && low.is_ascii_hexdigit() => {
                decoded.push(hex_digit(*high) << 4 | hex_digit(*low));
                after
            }
            _ => {
                decoded.push(*first);
                tail
            }
        };
    }
    String::from_utf8_lossy(&decoded).into_owned()
}

/// The value of a hexadecimal digit.
fn hex_digit(digit: u8) -> u8 {
    match digit {
        b'0'..=b'9' => digit - b'0',
        _ => (digit | 0x20) - b'a' + 10,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn run_is_decoded() {
        let line = CommandLine::parse("log=ttyS1 run=echo%20a%3B%20exit%203 quiet\n");
        assert_eq!(line.run.as_deref(), Some("echo a; exit 3"));
    }

    #[test]
    fn no_run_asks_for_the_shell() {
        assert_eq!(CommandLine::parse("log=both"), CommandLine::default());
    }

    #[test]
    fn a_percent_that_starts_no_byte_is_itself() {
        assert_eq!(percent_decode("100%"), "100%");
        assert_eq!(percent_decode("%zz%4"), "%zz%4");
        assert_eq!(percent_decode("%c3%A9"), "é");
    }
}

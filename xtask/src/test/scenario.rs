//! The language of scenarios: what a person types and reads. `tests/scenarios/README.md` is its manual.

use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use regex_lite::Regex;

use crate::shape::{Firmware, Shape, Size};

/// One scenario, as its file says.
#[derive(Debug)]
pub struct Scenario {
    /// The sentence that it proves.
    pub title: String,
    /// What it asks of the machine.
    pub wish: Wish,
    /// What happens, in order.
    pub steps: Vec<Step>,
}

/// What a scenario asks of its machine. What it leaves open, any machine fulfils.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Wish {
    /// How many CPUs.
    pub cpus: Option<u32>,
    /// How many memory nodes.
    pub nodes: Option<u32>,
    /// How many of the nodes have no memory.
    pub memoryless: Option<u32>,
    /// How much memory.
    pub memory: Option<Size>,
    /// Which firmware.
    pub firmware: Option<Firmware>,
    /// Words for the kernel's command line; such a scenario has its machine for itself.
    pub append: String,
    /// Whether it wants a machine for itself.
    pub alone: bool,
    /// Whether the machine's time counts instructions, so that no load of the host changes a result: each takes two to the
    /// power of this many nanoseconds.
    pub icount: Option<u8>,
    /// Whether the initramfs is compressed.
    pub gzip: bool,
    /// Whether the initramfs is in the disk image and the bootloader loads it.
    pub image: bool,
    /// How long one step may take.
    pub patience: Option<Duration>,
    /// Whether it takes so long that only those who ask for it run it.
    pub long: bool,
}

impl Wish {
    /// Whether no other scenario may run in its machine.
    pub fn is_alone(&self) -> bool {
        self.alone || self.icount.is_some() || self.gzip || self.image || !self.append.is_empty()
    }

    /// Whether a machine of this shape will do.
    pub fn is_fulfilled_by(&self, shape: Shape) -> bool {
        self.shape(shape) == shape
    }

    /// The shape it wants, where what is left open is as in `base`.
    pub fn shape(&self, base: Shape) -> Shape {
        Shape {
            cpus: self.cpus.unwrap_or(base.cpus),
            nodes: self.nodes.unwrap_or(base.nodes),
            memoryless: self.memoryless.unwrap_or(base.memoryless),
            memory: self.memory.unwrap_or(base.memory),
            firmware: self.firmware.unwrap_or(base.firmware),
        }
    }
}

/// A line that is typed, and what it must lead to.
#[derive(Debug)]
pub struct Step {
    /// Its line in the file.
    pub line: usize,
    /// What is typed before Enter.
    pub command: String,
    /// Keys that are pressed while the command runs.
    pub keys: Vec<Key>,
    /// What is read until the next prompt.
    pub expected: Vec<Expected>,
    /// Lines that the kernel's log must get meanwhile.
    pub log: Vec<Regex>,
    /// How the machine ends, if it does.
    pub end: Option<End>,
}

/// A key that is pressed once the output contains a text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Key {
    /// What the key sends.
    pub byte: u8,
    /// The text to wait for.
    pub when: String,
}

/// A line of output.
#[derive(Debug)]
pub enum Expected {
    /// Exactly this.
    Line(String),
    /// A whole line that the expression describes.
    Matching(Regex),
    /// Any number of lines.
    Anything,
}

/// How a machine ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// Powered off or reset.
    Off,
    /// A kernel panic.
    Panic,
    /// Powered off with this status.
    Status(u8),
}

/// Reads a scenario.
pub fn parse(text: &str) -> Result<Scenario> {
    let mut lines = text.lines().enumerate();
    let title = match lines.next() {
        Some((_, line)) => line.strip_prefix("# ").map(str::trim).unwrap_or_default().to_owned(),
        None => String::new(),
    };
    ensure!(!title.is_empty(), "the first line must be `# ` and the sentence that the scenario proves");
    let mut scenario = Scenario { title, wish: Wish::default(), steps: Vec::new() };
    for (index, line) in lines {
        parse_line(line, index + 1, &mut scenario).with_context(|| format!("line {}", index + 1))?;
    }
    ensure!(!scenario.steps.is_empty(), "there is no `$ ` line: nothing would be typed");
    Ok(scenario)
}

fn parse_line(line: &str, number: usize, scenario: &mut Scenario) -> Result<()> {
    let steps = &mut scenario.steps;
    if line.is_empty() {
        return Ok(());
    }
    if let Some(command) = line.strip_prefix("$ ") {
        steps.push(Step {
            line: number,
            command: command.to_owned(),
            keys: Vec::new(),
            expected: Vec::new(),
            log: Vec::new(),
            end: None,
        });
        return Ok(());
    }
    let (directive, rest) = match line.strip_prefix("% ") {
        Some(words) => words.split_once(' ').unwrap_or((words, "")),
        None => ("", ""),
    };
    match (directive, steps.last_mut()) {
        ("#", _) => {}
        ("press", Some(last)) => last.keys.push(parse_key(rest)?),
        ("match", Some(last)) => last.expected.push(Expected::Matching(whole_line(rest)?)),
        ("any", Some(last)) => last.expected.push(Expected::Anything),
        ("log", Some(last)) => last.log.push(Regex::new(rest).context("not a regular expression")?),
        ("ends", Some(last)) => last.end = Some(parse_end(rest)?),
        ("", Some(last)) => {
            let text = line.strip_prefix('\\').unwrap_or(line);
            last.expected.push(Expected::Line(text.to_owned()));
        }
        ("", None) if line.starts_with("# ") => {}
        ("", None) => bail!("before the first `$ ` only `# ` and `% ` lines have a meaning"),
        ("machine", None) => parse_machine(rest, &mut scenario.wish)?,
        ("append", None) => rest.clone_into(&mut scenario.wish.append),
        ("alone", None) => scenario.wish.alone = true,
        ("icount", None) => scenario.wish.icount = Some(parse_icount(rest)?),
        ("gzip", None) => scenario.wish.gzip = true,
        ("image", None) => scenario.wish.image = true,
        ("long", None) => scenario.wish.long = true,
        ("patience", None) => {
            let seconds = rest.strip_suffix(" s").and_then(|number| number.parse().ok());
            scenario.wish.patience = Some(Duration::from_secs(seconds.context("write it like `% patience 120 s`")?));
        }
        (other, None) => bail!("`% {other}` has no meaning before the first `$ ` line"),
        (other, Some(_)) => bail!("`% {other}` has no meaning after the first `$ ` line"),
    }
    Ok(())
}

/// `cpus 4 nodes 2 memory 256M firmware uefi`, any of them.
fn parse_machine(words: &str, wish: &mut Wish) -> Result<()> {
    let words: Vec<&str> = words.split_ascii_whitespace().collect();
    for pair in words.chunks(2) {
        match pair {
            ["cpus", number] => wish.cpus = Some(number.parse().context("cpus")?),
            ["nodes", number] => wish.nodes = Some(number.parse().context("nodes")?),
            ["memoryless", number] => wish.memoryless = Some(number.parse().context("memoryless")?),
            ["memory", size] => wish.memory = Some(size.parse().map_err(anyhow::Error::msg)?),
            ["firmware", "bios"] => wish.firmware = Some(Firmware::Bios),
            ["firmware", "uefi"] => wish.firmware = Some(Firmware::Uefi),
            _ => bail!("{:?} says nothing about a machine", pair.join(" ")),
        }
    }
    Ok(())
}

/// Nothing for 16 ns, with which guest seconds pass while a person waits; or `4 ns`, a power of two.
fn parse_icount(words: &str) -> Result<u8> {
    match words {
        "" => Ok(4),
        _ => {
            let nanoseconds: Option<u32> = words.strip_suffix(" ns").and_then(|number| number.parse().ok());
            let is_fit = |number: &u32| number.is_power_of_two() && *number <= 16;
            let number = nanoseconds.filter(is_fit).context("write it like `% icount 4 ns`: 1, 2, 4, 8 or 16")?;
            Ok(number.trailing_zeros() as u8)
        }
    }
}

/// `ctrl-c when TEXT`, or with `enter` or a printable character for the key.
fn parse_key(words: &str) -> Result<Key> {
    let (key, when) = words.split_once(" when ").context("write it like `% press ctrl-c when TEXT`")?;
    let byte = match (key.strip_prefix("ctrl-").map(str::as_bytes), key.as_bytes()) {
        (Some([letter @ (b'a'..=b'z' | b'\\')]), _) => letter & 0x1f,
        (_, b"enter") => b'\r',
        (_, [character @ b'!'..=b'~']) => *character,
        _ => bail!("{key:?} is no key; write it like ctrl-c, enter or q"),
    };
    Ok(Key { byte, when: when.to_owned() })
}

fn parse_end(words: &str) -> Result<End> {
    match words.split_once(' ') {
        None if words == "off" => Ok(End::Off),
        None if words == "panic" => Ok(End::Panic),
        Some(("status", number)) => Ok(End::Status(number.parse().context("not a status")?)),
        _ => bail!("a machine ends `off`, `panic` or `status N`"),
    }
}

fn whole_line(expression: &str) -> Result<Regex> {
    Regex::new(&format!("^(?:{expression})$")).context("not a regular expression")
}

/// Whether `lines` are what was expected.
pub fn agrees(expected: &[Expected], lines: &[&str]) -> bool {
    match (expected.split_first(), lines.split_first()) {
        (None, None) => true,
        (Some((Expected::Anything, rest)), _) => (0..=lines.len()).any(|skipped| agrees(rest, &lines[skipped..])),
        (Some((Expected::Line(wanted), rest)), Some((line, others))) => wanted == line && agrees(rest, others),
        (Some((Expected::Matching(regex), rest)), Some((line, others))) => regex.is_match(line) && agrees(rest, others),
        _ => false,
    }
}

/// What was expected, as it stands in the file.
pub fn in_words(expected: &[Expected]) -> String {
    let line = |expected: &Expected| match expected {
        Expected::Line(line) => format!("{line}\n"),
        Expected::Matching(regex) => format!("% match {regex}\n"),
        Expected::Anything => "% any\n".to_owned(),
    };
    expected.iter().map(line).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_and_their_output_are_told_apart() {
        let scenario = parse(
            "# A container with a task in it stays.\n\
             $ mkdir /acct/a\n\
             $ rmdir /acct/a\n\
             rmdir: failed to remove '/acct/a': Device or resource busy\n\
             # a line of output\n\
             \\$ no command\n\
             \\\n\
             \n\
             $ poweroff\n\
             % ends off\n",
        )
        .unwrap();
        assert_eq!(scenario.title, "A container with a task in it stays.");
        assert_eq!(scenario.steps.len(), 3);
        assert_eq!(scenario.steps[1].line, 3);
        assert_eq!(
            in_words(&scenario.steps[1].expected),
            "rmdir: failed to remove '/acct/a': Device or resource busy\n# a line of output\n$ no command\n\n"
        );
        assert_eq!(scenario.steps[2].end, Some(End::Off));
    }

    #[test]
    fn the_head_describes_the_machine() {
        let scenario = parse(
            "# Title\n# more words\n% machine cpus 4 nodes 2 memoryless 1 memory 1G firmware uefi\n% append maxcpus=2\n\
             % patience 120 s\n% alone\n% icount 4 ns\n% gzip\n% image\n% long\n$ true\n",
        )
        .unwrap();
        let wish = Wish {
            cpus: Some(4),
            nodes: Some(2),
            memoryless: Some(1),
            memory: Some(Size::mebibytes(1024)),
            firmware: Some(Firmware::Uefi),
            append: "maxcpus=2".to_owned(),
            alone: true,
            icount: Some(2),
            gzip: true,
            image: true,
            patience: Some(Duration::from_secs(120)),
            long: true,
        };
        assert_eq!(scenario.wish, wish);
    }

    #[test]
    fn what_a_scenario_leaves_open_any_machine_fulfils() {
        let shape = Shape { cpus: 4, nodes: 2, memoryless: 0, memory: Size::mebibytes(512), firmware: Firmware::Bios };
        assert!(Wish::default().is_fulfilled_by(shape));
        assert!(Wish { cpus: Some(4), ..Wish::default() }.is_fulfilled_by(shape));
        assert!(!Wish { cpus: Some(2), ..Wish::default() }.is_fulfilled_by(shape));
    }

    #[test]
    fn keys_are_pressed_when_a_text_was_read() {
        let scenario = parse("# Title\n$ spin\n% press ctrl-c when on CPU\n^C\n").unwrap();
        assert_eq!(scenario.steps[0].keys, [Key { byte: 3, when: "on CPU".to_owned() }]);
        assert_eq!(in_words(&scenario.steps[0].expected), "^C\n");
        let keys = parse("# Title\n$ less\n% press q when END\n% press enter when x\n").unwrap().steps.remove(0).keys;
        assert_eq!(keys.iter().map(|key| key.byte).collect::<Vec<_>>(), b"q\r");
        assert!(parse("# Title\n$ less\n% press quit when END\n").is_err());
        assert!(parse("# Title\n% icount 3 ns\n$ true\n").is_err());
        assert_eq!(parse("# Title\n% icount\n$ true\n").unwrap().wish.icount, Some(4));
    }

    #[test]
    fn mistakes_are_named_with_their_line() {
        for (text, words) in [
            ("$ true\n", "first line"),
            ("# Title\n", "nothing would be typed"),
            ("# Title\noutput\n", "line 2"),
            ("# Title\n$ true\n% matches x\n", "line 3"),
            ("# Title\n% machine wheels 4\n$ true\n", "wheels"),
            ("# Title\n$ true\n% match (\n", "regular expression"),
        ] {
            let error = format!("{:#}", parse(text).unwrap_err());
            assert!(error.contains(words), "{error:?} does not say {words:?}");
        }
    }

    #[test]
    fn output_agrees_exactly_by_expression_or_by_gap() {
        let scenario = parse("# T\n$ x\na\n% match [0-9]+\n% any\nz\n").unwrap();
        let expected = &scenario.steps[0].expected;
        assert!(agrees(expected, &["a", "12", "z"]));
        assert!(agrees(expected, &["a", "12", "z", "y", "z"]));
        assert!(!agrees(expected, &["a", "12x", "z"]));
        assert!(!agrees(expected, &["a", "12"]));
        assert!(!agrees(expected, &["a", "12", "z", "more"]));
    }
}

//! `#!` lines: which interpreter a script names, and what becomes of its arguments.

use alloc::vec::Vec;
use base::Errno;

/// How much of a file's start is looked at.
pub const LINE_MAX: usize = 256;
/// How many scripts may name another script as their interpreter.
pub const MAX_DEPTH: usize = 5;

/// What the first line of a script says.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Script {
    /// The interpreter's path.
    pub interpreter: Vec<u8>,
    /// Its one argument, if there is one.
    pub argument: Option<Vec<u8>>,
}

impl Script {
    /// Reads the start of a file: none unless it begins with `#!`; `ENOEXEC` if the line names no interpreter or the
    /// interpreter's name may have been cut off.
    pub fn parse(start: &[u8]) -> Option<Result<Self, Errno>> {
        let start = &start[..start.len().min(LINE_MAX)];
        let line = start.strip_prefix(b"#!")?;
        let end = line.iter().position(|&byte| byte == b'\n' || byte == 0);
        let is_blank = |byte: &u8| *byte == b' ' || *byte == b'\t';
        let text = line[..end.unwrap_or(line.len())].trim_ascii();
        let name_end = text.iter().position(is_blank);
        let is_cut = end.is_none() && start.len() == LINE_MAX && name_end.is_none();
        if text.is_empty() || is_cut {
            return Some(Err(Errno::ENOEXEC));
        }
        let (interpreter, rest) = text.split_at(name_end.unwrap_or(text.len()));
        let rest = rest.trim_ascii();
        Some(Ok(Self { interpreter: interpreter.to_vec(), argument: (!rest.is_empty()).then(|| rest.to_vec()) }))
    }

    /// The arguments for the interpreter: itself, its argument, the script's path, the script's arguments but the first.
    /// `ENOMEM`.
    pub fn arguments(&self, path: &[u8], old: Vec<Vec<u8>>) -> Result<Vec<Vec<u8>>, Errno> {
        let mut new = memory::heap::try_vec(old.len() + 2)?;
        new.push(self.interpreter.clone());
        new.extend(self.argument.clone());
        new.push(path.to_vec());
        new.extend(old.into_iter().skip(1));
        Ok(new)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_first_line_names_interpreter_and_one_argument() {
        let script = Script::parse(b"#! /bin/sh  -e -x \nexit").unwrap().unwrap();
        assert_eq!(script.interpreter, b"/bin/sh");
        assert_eq!(script.argument.as_deref(), Some(&b"-e -x"[..]));
        let old = [b"s".to_vec(), b"one".to_vec()];
        let expected = [&b"/bin/sh"[..], b"-e -x", b"./s", b"one"].map(<[u8]>::to_vec);
        assert_eq!(script.arguments(b"./s", old.to_vec()).unwrap(), expected);
    }

    #[test]
    fn a_line_without_interpreter_is_no_program() {
        assert_eq!(Script::parse(b"#!\n"), Some(Err(Errno::ENOEXEC)));
        assert_eq!(Script::parse(b"#!   \t\nx"), Some(Err(Errno::ENOEXEC)));
        assert_eq!(Script::parse(b"#"), None);
        assert_eq!(Script::parse(b"\x7fELF"), None);
    }

    #[test]
    fn a_name_that_was_cut_off_is_refused_and_a_cut_argument_is_not() {
        let mut long = b"#!/".to_vec();
        long.resize(400, b'x');
        assert_eq!(Script::parse(&long), Some(Err(Errno::ENOEXEC)));
        long[5] = b' ';
        assert!(Script::parse(&long).unwrap().is_ok());
    }

    proptest! {
        #[test]
        fn any_bytes_are_answered(bytes in proptest::collection::vec(any::<u8>(), 0..600)) {
            let _ = Script::parse(&bytes);
            let mut script = b"#!".to_vec();
            script.extend(bytes);
            if let Some(Ok(script)) = Script::parse(&script) {
                prop_assert!(!script.interpreter.is_empty());
            }
        }
    }
}

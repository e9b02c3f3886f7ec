//! `core_pattern`: what the file of a core dump is called, or which program reads it (core(5)).

use alloc::{format, vec, vec::Vec};

/// What the signs of a pattern stand for.
#[derive(Clone, Debug, Default)]
pub(super) struct Facts {
    /// `%p`, `%P`: the process.
    pub(super) pid: i32,
    /// `%i`, `%I`: the thread.
    pub(super) tid: i32,
    /// `%u`: the real user.
    pub(super) uid: u32,
    /// `%g`: the real group.
    pub(super) gid: u32,
    /// `%d`: as `PR_GET_DUMPABLE` tells.
    pub(super) mode: u8,
    /// `%s`: the signal.
    pub(super) signal: u8,
    /// `%t`: seconds since 1970.
    pub(super) time: u64,
    /// `%c`: the soft limit on core files.
    pub(super) limit: u64,
    /// `%h`: the host.
    pub(super) host: Vec<u8>,
    /// `%e`: the thread's name.
    pub(super) name: Vec<u8>,
    /// `%E`, and its last part `%f`: the path of the program.
    pub(super) path: Vec<u8>,
}

/// Where a core goes.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Target {
    /// Into a new file of this name.
    File(Vec<u8>),
    /// To a program, by these arguments.
    Program(Vec<Vec<u8>>),
}

/// Fills in a pattern. `with_pid`: `core_uses_pid` is set. `None`: a pipe to nothing.
pub(super) fn expand(pattern: &[u8], facts: &Facts, with_pid: bool) -> Option<Target> {
    if let Some(command) = pattern.strip_prefix(b"|") {
        if command.is_empty() {
            return None;
        }
        // Words are told apart before signs are filled in, which may hold spaces.
        let mut words: Vec<Vec<u8>> = command
            .split(|byte| byte.is_ascii_whitespace() || *byte == 0x0b)
            .filter(|word| !word.is_empty())
            .map(|word| fill(word, facts).0)
            .collect();
        if words.is_empty() {
            words = vec![Vec::new()];
        }
        return Some(Target::Program(words));
    }
    let (mut name, has_pid) = fill(pattern, facts);
    if with_pid && !has_pid {
        name.extend_from_slice(format!(".{}", facts.pid).as_bytes());
    }
    Some(Target::File(name))
}

/// Fills in a word, and says whether the number of the process was in it.
fn fill(word: &[u8], facts: &Facts) -> (Vec<u8>, bool) {
    let mut out = Vec::new();
    let mut has_pid = false;
    let mut bytes = word.iter();
    while let Some(&byte) = bytes.next() {
        if byte != b'%' {
            out.push(byte);
            continue;
        }
        let number = match bytes.next() {
            Some(b'%') => {
                out.push(b'%');
                continue;
            }
            Some(b'h') => {
                push_name(&mut out, &facts.host);
                continue;
            }
            Some(b'e') => {
                push_name(&mut out, &facts.name);
                continue;
            }
            Some(b'E') => {
                push_name(&mut out, &facts.path);
                continue;
            }
            Some(b'f') => {
                push_name(&mut out, facts.path.rsplit(|&byte| byte == b'/').next().unwrap_or_default());
                continue;
            }
            Some(b'p' | b'P') => {
                has_pid = true;
                format!("{}", facts.pid)
            }
            Some(b'i' | b'I') => format!("{}", facts.tid),
            Some(b'u') => format!("{}", facts.uid),
            Some(b'g') => format!("{}", facts.gid),
            Some(b'd') => format!("{}", facts.mode),
            Some(b's') => format!("{}", facts.signal),
            Some(b't') => format!("{}", facts.time),
            Some(b'c') => format!("{}", facts.limit),
            // An unknown sign, or the last byte, stands for nothing.
            _ => continue,
        };
        out.extend_from_slice(number.as_bytes());
    }
    (out, has_pid)
}

/// Adds a name from outside, so that the result is one part of a path: never empty, `.` or `..`, and without a slash.
fn push_name(out: &mut Vec<u8>, name: &[u8]) {
    let start = out.len();
    out.extend(name.iter().map(|&byte| if byte == b'/' { b'!' } else { byte }));
    match &mut out[start..] {
        [] => out.push(b'!'),
        [first @ b'.'] | [first @ b'.', b'.'] => *first = b'!',
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn facts() -> Facts {
        Facts {
            pid: 12,
            tid: 13,
            uid: 1000,
            gid: 100,
            mode: 1,
            signal: 11,
            time: 1_700_000_000,
            limit: u64::MAX,
            host: b"box".to_vec(),
            name: b"a b/c".to_vec(),
            path: b"/usr/bin/cat".to_vec(),
        }
    }

    fn file(pattern: &str, with_pid: bool) -> alloc::string::String {
        match expand(pattern.as_bytes(), &facts(), with_pid) {
            Some(Target::File(name)) => alloc::string::String::from_utf8(name).unwrap(),
            other => panic!("{pattern}: {other:?}"),
        }
    }

    #[test]
    fn signs_are_those_of_the_manual() {
        let all = "%%_%p_%P_%i_%I_%u_%g_%d_%s_%t_%h_%e_%f_%E_%c";
        let expected = "%_12_12_13_13_1000_100_1_11_1700000000_box_a b!c_cat_!usr!bin!cat_18446744073709551615";
        assert_eq!(file(all, false), expected);
        assert_eq!(file("/tmp/core%q.%", false), "/tmp/core.", "unknown signs and the last one are dropped");
    }

    #[test]
    fn the_number_is_added_where_it_is_not_yet() {
        assert_eq!(file("core", false), "core");
        assert_eq!(file("core", true), "core.12");
        assert_eq!(file("core-%p", true), "core-12");
        assert_eq!(file("", true), ".12");
    }

    #[test]
    fn no_name_leads_to_another_directory() {
        let file = |name: &[u8]| {
            let facts = Facts { name: name.to_vec(), ..facts() };
            expand(b"/cores/%e", &facts, false)
        };
        for (name, shown) in [("..", "!."), (".", "!"), ("", "!"), ("../x", "..!x")] {
            let expected = format!("/cores/{shown}");
            assert_eq!(file(name.as_bytes()), Some(Target::File(expected.into_bytes())));
        }
    }

    #[test]
    fn words_of_a_program_are_told_apart_before_they_are_filled_in() {
        let words = |pattern: &str| expand(pattern.as_bytes(), &facts(), true);
        let expected = ["/bin/reader", "12", "a b!c", "x%"].map(|word| word.as_bytes().to_vec()).to_vec();
        assert_eq!(words("|/bin/reader  %p %e x%% "), Some(Target::Program(expected)));
        assert_eq!(words("|"), None);
        assert_eq!(words("| "), Some(Target::Program(vec![Vec::new()])));
    }
}

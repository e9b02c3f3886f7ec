//! What the threads of a machine did last, found in the files of its memory after it has ended.
//!
//! The program in the guest keeps a page for each thread (`tests/programs/src/fuzz/ring.rs`): a mark, five numbers (seed,
//! round, place, calls begun, process), then the last calls in a ring: number, six arguments, result.

use std::fs;
use std::io::Read;
use std::path::Path;

use anyhow::{Context, Result};

/// With what a page begins.
const MARK: &[u8; 24] = b"menagerie fuzz: calls\0\0\0";
const PAGE: usize = 4096;
const HEAD: usize = 64;
const ENTRY: usize = 64;
const REMEMBERED: u64 = 56;
/// The result of a call that was going on.
const GOING_ON: u64 = 0x8000_0000_0000_1234;
/// How many calls of a thread are shown.
const SHOWN: u64 = 4;

/// The last calls of each thread, for a person; empty if no page is found.
pub fn find(folder: &Path) -> Result<String> {
    let mut threads = Vec::new();
    for entry in fs::read_dir(folder).with_context(|| format!("cannot read {}", folder.display()))?.flatten() {
        let mut file = fs::File::open(entry.path())?;
        let mut page = [0; PAGE];
        while file.read_exact(&mut page).is_ok() {
            if page.starts_with(MARK) {
                threads.push(describe(&page));
            }
        }
    }
    threads.sort();
    threads.dedup();
    Ok(threads.into_iter().map(|(_, text)| text).collect())
}

/// A thread's place and what it did.
fn describe(page: &[u8]) -> (u64, String) {
    let word = |at: usize| u64::from_le_bytes(page[at..at + 8].try_into().unwrap_or_default());
    let (place, begun) = (word(40), word(48));
    let mut text = format!("seed {}, round {}, thread {place}, process {}:\n", word(24), word(32), word(56));
    for index in begun.saturating_sub(SHOWN)..begun {
        let at = HEAD + (index % REMEMBERED) as usize * ENTRY;
        let arguments: Vec<_> = (1..7).map(|place| format!("{:#x}", word(at + 8 * place))).collect();
        let result = match word(at + 56) {
            GOING_ON => "goes on".to_owned(),
            result => format!("= {}", result as i64),
        };
        text.push_str(&format!("  {index} {}({}) {result}\n", name(word(at)), arguments.join(", ")));
    }
    (place, text)
}

/// The name of a call, from the manual's list.
fn name(number: u64) -> String {
    let lines = include_str!("../../../docs/src/system-calls.md").lines();
    let mut named = lines.filter_map(|line| {
        let mut fields = line.split('|').map(str::trim).skip(1);
        let listed: u64 = fields.next()?.parse().ok()?;
        (listed == number).then(|| fields.next()).flatten()
    });
    named.next().map_or_else(|| number.to_string(), str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::workspace::RunFolder;

    #[test]
    fn the_last_calls_are_read_from_the_memory_of_the_machine() {
        let mut page = vec![0; PAGE];
        page[..24].copy_from_slice(MARK);
        let mut put = |at: usize, value: u64| page[at..at + 8].copy_from_slice(&value.to_le_bytes());
        for (place, value) in [7, 3, 1, 2, 99].into_iter().enumerate() {
            put(24 + 8 * place, value);
        }
        put(64 + 8, 5);
        put(128, 39);
        put(128 + 56, GOING_ON);
        let run = RunFolder::create().unwrap();
        let folder = run.path().join("memory");
        fs::create_dir(&folder).unwrap();
        fs::write(folder.join("ram"), [vec![1; PAGE], page].concat()).unwrap();
        assert_eq!(
            find(&folder).unwrap(),
            "seed 7, round 3, thread 1, process 99:\n  0 read(0x5, 0x0, 0x0, 0x0, 0x0, 0x0) = 0\n  1 getpid(0x0, 0x0, \
             0x0, 0x0, 0x0, 0x0) goes on\n"
        );
    }
}

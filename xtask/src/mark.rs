//! Tells the firmware's words on the console from the guest's: the kernel writes a mark before anything else.

use std::io::{Read, Write};

use anyhow::Result;

/// What the kernel writes to its console when its command line says `console_mark=` and this word.
pub const MARK: &str = "menagerie-console-begins";

/// Copies what follows the first [`MARK`], as it comes, until `from` ends.
pub fn copy_after_mark(mut from: impl Read, mut to: impl Write) -> Result<()> {
    let mut seen = Vec::new();
    let mut buffer = [0; 64 * 1024];
    let mut past = false;
    loop {
        let length = match from.read(&mut buffer) {
            Ok(0) => return Ok(()),
            Ok(length) => length,
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(error.into()),
        };
        if past {
            to.write_all(&buffer[..length])?;
        } else {
            seen.extend_from_slice(&buffer[..length]);
            if let Some(at) = seen.windows(MARK.len()).position(|window| window == MARK.as_bytes()) {
                past = true;
                to.write_all(&seen[at + MARK.len()..])?;
            }
        }
        to.flush()?;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A reader that gives one byte at a time.
    struct Drops<'a>(&'a [u8]);

    impl Read for Drops<'_> {
        fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
            let length = self.0.len().min(1);
            buffer[..length].copy_from_slice(&self.0[..length]);
            self.0 = &self.0[length..];
            Ok(length)
        }
    }

    #[test]
    fn only_what_follows_the_mark_is_copied_byte_for_byte() {
        let text = format!("BdsDxe: loading\n{MARK}\0\x01 {MARK}\n");
        for whole in [true, false] {
            let mut copied = Vec::new();
            match whole {
                true => copy_after_mark(text.as_bytes(), &mut copied).unwrap(),
                false => copy_after_mark(Drops(text.as_bytes()), &mut copied).unwrap(),
            }
            assert_eq!(copied, format!("\0\x01 {MARK}\n").as_bytes());
        }
    }

    #[test]
    fn without_a_mark_nothing_is_copied() {
        let mut copied = Vec::new();
        copy_after_mark(&b"Shell> "[..], &mut copied).unwrap();
        assert!(copied.is_empty());
    }
}

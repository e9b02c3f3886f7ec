//! What the screen shows of a line that is being typed, and the keys that take from it.

use super::{Discipline, Reaction};
use crate::terminal::termios::{Control, Termios, input, local};
use alloc::vec::Vec;

impl Discipline {
    /// Shows a byte that was typed.
    pub(super) fn echo(&mut self, byte: u8, reaction: &mut Reaction) {
        if self.termios.has_local(local::ECHO) {
            self.finish_erasing(reaction);
            Self::show(&self.termios, byte, &mut reaction.echo);
        }
    }

    /// A byte as echo shows it: `^C` for control characters.
    pub(super) fn show(termios: &Termios, byte: u8, out: &mut Vec<u8>) {
        let control = byte < 0x20 || byte == 0x7f;
        if control && termios.has_local(local::ECHOCTL) && !matches!(byte, b'\n' | b'\t') {
            out.extend_from_slice(&[b'^', byte ^ 0x40]);
        } else {
            out.push(byte);
        }
    }

    /// Ends the erased characters that the screen shows (`ECHOPRT`).
    pub(super) fn finish_erasing(&mut self, reaction: &mut Reaction) {
        if core::mem::take(&mut self.erasing) {
            reaction.echo.push(b'/');
        }
    }

    /// Columns that typed bytes take on the screen, from column `start`.
    fn width(&self, bytes: &[u8], start: usize) -> usize {
        let end = bytes.iter().fold(start, |column, &byte| match byte {
            b'\t' => (column | 7) + 1,
            0..0x20 | 0x7f => column + if self.termios.has_local(local::ECHOCTL) { 2 } else { 0 },
            0x80..0xc0 if self.termios.has_input(input::IUTF8) => column,
            _ => column + 1,
        });
        end - start
    }

    /// Takes the last bytes off the line, down to `length`, and off the screen.
    fn shorten(&mut self, length: usize, reaction: &mut Reaction) {
        let shown = self.termios.has_local(local::ECHO);
        while self.edit.len() > length {
            let start = self.before_last(self.edit.len()).max(length);
            if shown && self.termios.has_local(local::ECHOPRT) {
                if !core::mem::replace(&mut self.erasing, true) {
                    reaction.echo.push(b'\\');
                }
                for &byte in &self.edit[start..] {
                    Self::show(&self.termios, byte, &mut reaction.echo);
                }
                self.edit.truncate(start);
                continue;
            }
            let before = self.width(&self.edit, self.edit_column);
            let is_tab = self.edit.last() == Some(&b'\t');
            self.edit.truncate(start);
            if shown {
                let back: &[u8] = if is_tab { b"\x08" } else { b"\x08 \x08" };
                for _ in self.width(&self.edit, self.edit_column)..before {
                    reaction.echo.extend_from_slice(back);
                }
            }
        }
    }

    /// The length of the line without its last character.
    fn before_last(&self, mut length: usize) -> usize {
        length = length.saturating_sub(1);
        if self.termios.has_input(input::IUTF8) {
            while length > 0 && self.edit[length] & 0xc0 == 0x80 {
                length -= 1;
            }
        }
        length
    }

    /// The key that erases: the screen shows what is left, or the key itself (without `ECHOE`).
    pub(super) fn erase_character(&mut self, key: u8, reaction: &mut Reaction) {
        if self.edit.is_empty() {
            return;
        }
        let length = self.before_last(self.edit.len());
        if self.termios.has_local(local::ECHOE) || self.termios.has_local(local::ECHOPRT) {
            self.shorten(length, reaction);
        } else {
            self.edit.truncate(length);
            self.echo(key, reaction);
        }
    }

    pub(super) fn erase_word(&mut self, reaction: &mut Reaction) {
        let is_word = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_' || byte >= 0x80;
        let mut length = self.edit.len();
        while length > 0 && !is_word(self.edit[length - 1]) {
            length -= 1;
        }
        while length > 0 && is_word(self.edit[length - 1]) {
            length -= 1;
        }
        self.shorten(length, reaction);
    }

    pub(super) fn kill(&mut self, key: u8, reaction: &mut Reaction) {
        if self.edit.is_empty() {
            return;
        }
        if self.termios.has_local(local::ECHOK | local::ECHOKE | local::ECHOE) {
            self.shorten(0, reaction);
            return;
        }
        self.edit.clear();
        self.echo(key, reaction);
        if self.termios.has_local(local::ECHO | local::ECHOK) {
            reaction.echo.push(b'\n');
        }
    }

    /// Whether a byte ends a line beside the newline.
    pub(super) fn is_end(&self, byte: u8) -> bool {
        self.termios.is(Control::EndOfLine, byte)
            || (self.termios.has_local(local::IEXTEN) && self.termios.is(Control::EndOfLine2, byte))
    }
}

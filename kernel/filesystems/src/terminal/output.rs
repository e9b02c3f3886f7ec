//! Output processing: what written bytes become on their way to the line, `termios(3)`.

use super::termios::{Termios, input, output};

/// The screen at the other end, as far as it matters: the column of its cursor.
#[derive(Default)]
pub struct Screen {
    column: usize,
}

impl Screen {
    /// Where the cursor is.
    pub fn column(&self) -> usize {
        self.column
    }

    /// Turns written bytes into what goes over the line, as many as `out` has room for; says how many were taken.
    pub fn output(&mut self, termios: &Termios, bytes: &[u8], out: &mut Chunk) -> usize {
        for (index, &byte) in bytes.iter().enumerate() {
            let mut piece = [byte; 8];
            let length = self.output_byte(termios, byte, &mut piece);
            if out.room() < length {
                return index;
            }
            self.move_column(termios, &piece[..length]);
            out.push(&piece[..length]);
        }
        bytes.len()
    }

    /// What one written byte becomes; its length.
    fn output_byte(&self, termios: &Termios, byte: u8, piece: &mut [u8; 8]) -> usize {
        if !termios.has_output(output::OPOST) {
            return 1;
        }
        match byte {
            b'\n' if termios.has_output(output::ONLCR) => {
                piece[..2].copy_from_slice(b"\r\n");
                2
            }
            b'\r' if termios.has_output(output::ONOCR) && self.column == 0 => 0,
            b'\r' if termios.has_output(output::OCRNL) => {
                piece[0] = b'\n';
                1
            }
            b'\t' if termios.output & output::TABDLY == output::XTABS => {
                piece.fill(b' ');
                8 - self.column % 8
            }
            _ => {
                if termios.has_output(output::OLCUC) {
                    piece[0] = byte.to_ascii_uppercase();
                }
                1
            }
        }
    }

    fn move_column(&mut self, termios: &Termios, bytes: &[u8]) {
        for &byte in bytes {
            self.column = match byte {
                b'\r' => 0,
                b'\n' if termios.has_output(output::ONLRET) => 0,
                8 => self.column.saturating_sub(1),
                b'\t' => (self.column | 7) + 1,
                0..0x20 | 0x7f => self.column,
                0x80..0xc0 if termios.has_input(input::IUTF8) => self.column,
                _ => self.column.saturating_add(1),
            };
        }
    }
}

/// A piece of output on its way to the line.
pub struct Chunk {
    bytes: [u8; 256],
    length: usize,
    limit: usize,
}

impl Chunk {
    /// An empty piece that takes up to `limit` bytes.
    pub fn new(limit: usize) -> Self {
        Self { bytes: [0; 256], length: 0, limit: limit.min(256) }
    }

    fn room(&self) -> usize {
        self.limit - self.length
    }

    fn push(&mut self, bytes: &[u8]) {
        self.bytes[self.length..self.length + bytes.len()].copy_from_slice(bytes);
        self.length += bytes.len();
    }

    /// The bytes.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes[..self.length]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn output(flags: u32, bytes: &[u8]) -> std::vec::Vec<u8> {
        let termios = Termios { output: flags, ..Termios::default() };
        let mut chunk = Chunk::new(256);
        assert_eq!(Screen::default().output(&termios, bytes, &mut chunk), bytes.len());
        chunk.bytes().to_vec()
    }

    #[test]
    fn written_bytes_become_what_the_flags_say() {
        use output::*;
        for (flags, written, sent) in [
            (OPOST | ONLCR, &b"a\nb"[..], &b"a\r\nb"[..]),
            (ONLCR | OLCUC, b"a\nb", b"a\nb"),
            (OPOST | XTABS, b"\tc\td", b"        c       d"),
            (OPOST | OCRNL, b"a\rb", b"a\nb"),
            (OPOST | ONOCR, b"\ra\r\r", b"a\r"),
            (OPOST | ONOCR | ONLRET, b"a\n\rb", b"a\nb"),
            (OPOST | OLCUC, "ab\u{e4}".as_bytes(), "AB\u{e4}".as_bytes()),
        ] {
            assert_eq!(output(flags, written), sent, "{flags:o}");
        }
    }

    #[test]
    fn output_stops_where_the_line_has_no_room() {
        let mut chunk = Chunk::new(4);
        assert_eq!(Screen::default().output(&Termios::default(), b"ab\n\n", &mut chunk), 3);
        assert_eq!(chunk.bytes(), b"ab\r\n");
    }
}

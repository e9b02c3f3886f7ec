//! Whether there is a terminal at the other end that answers, and how large it is.
//!
//! A serial line tells neither. An editor that draws needs both: so the cursor is sent to the far corner and the
//! terminal asked where it came to stand.

use std::io::Write;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::termios::{OptionalActions, Winsize, tcgetattr, tcgetwinsize, tcsetattr, tcsetwinsize};

/// How long a terminal may take to answer.
const PATIENCE: Duration = Duration::from_millis(500);

/// Asks the terminal on the standard input. If it answers, it knows its size afterwards.
pub fn answers() -> bool {
    let stdin = rustix::stdio::stdin();
    let Ok(modes) = tcgetattr(stdin) else { return false };
    let mut raw = modes.clone();
    raw.make_raw();
    if tcsetattr(stdin, OptionalActions::Now, &raw).is_err() {
        return false;
    }
    let position = ask();
    let _ = tcsetattr(stdin, OptionalActions::Now, &modes);
    let Some((rows, columns)) = position else { return false };
    if tcgetwinsize(stdin).is_ok_and(|size| size.ws_row == 0 || size.ws_col == 0) {
        let size = Winsize { ws_row: rows, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 };
        return tcsetwinsize(stdin, size).is_ok();
    }
    true
}

/// Sends the cursor to the corner and back, and returns the row and column it reached.
fn ask() -> Option<(u16, u16)> {
    let mut out = std::io::stdout();
    out.write_all(b"\x1b7\x1b[999;999H\x1b[6n\x1b8").and_then(|()| out.flush()).ok()?;
    let deadline = Instant::now() + PATIENCE;
    let mut answer = Vec::new();
    loop {
        let left = Timespec::try_from(deadline.saturating_duration_since(Instant::now())).ok()?;
        let stdin = rustix::stdio::stdin();
        if poll(&mut [PollFd::new(&stdin, PollFlags::IN)], Some(&left)).ok()? == 0 {
            return None;
        }
        let mut bytes = [0; 32];
        let length = rustix::io::read(stdin, &mut bytes).ok()?;
        if length == 0 {
            return None;
        }
        answer.extend_from_slice(&bytes[..length]);
        if let Some(position) = position(&answer) {
            return Some(position);
        }
    }
}

/// The row and column of the answer `ESC [ row ; column R`, wherever it is among what was typed.
fn position(bytes: &[u8]) -> Option<(u16, u16)> {
    let start = bytes.windows(2).rposition(|pair| pair == b"\x1b[")? + 2;
    let end = start + bytes[start..].iter().position(|&byte| byte == b'R')?;
    let (row, column) = std::str::from_utf8(&bytes[start..end]).ok()?.split_once(';')?;
    Some((row.parse().ok()?, column.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::position;

    #[test]
    fn the_answer_is_found_among_typed_characters() {
        assert_eq!(position(b"ls\x1b[24;80R"), Some((24, 80)));
        assert_eq!(position(b"\x1b[24;8"), None);
        assert_eq!(position(b"R\x1b[A"), None);
    }
}

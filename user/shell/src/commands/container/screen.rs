//! A terminal that a table is drawn on again and again, and the keys pressed meanwhile.

use std::io::{self, Write, stdout};
use std::time::Duration;

use crossterm::event::{Event, KeyCode, KeyEventKind, KeyModifiers, poll, read};
use crossterm::style::{Attribute, Print, SetAttribute};
use crossterm::terminal::{
    Clear, ClearType, EnterAlternateScreen, LeaveAlternateScreen, disable_raw_mode, enable_raw_mode, size,
};
use crossterm::{cursor, queue};

/// What a person may ask for with a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wish {
    /// To see it anew, now.
    Again,
    /// Another order of the rows.
    Order,
    /// Another hierarchy.
    Hierarchy,
    /// Rows further up or down.
    Scroll(isize),
    /// No more.
    Leave,
}

/// The screen, as long as it is in use; then the terminal is what it was before.
pub struct Screen;

impl Screen {
    /// Takes the terminal.
    pub fn open() -> io::Result<Self> {
        enable_raw_mode()?;
        let screen = Self;
        queue!(stdout(), EnterAlternateScreen, cursor::Hide)?;
        stdout().flush()?;
        Ok(screen)
    }

    /// How many rows of a table it has room for, without heading and foot.
    pub fn rows(&self) -> usize {
        size().map_or(20, |(_, rows)| usize::from(rows).saturating_sub(3).max(1))
    }

    /// Draws `lines`, the first of which is a heading, and `foot` below.
    pub fn draw(&self, lines: &[String], foot: &str) -> io::Result<()> {
        let (columns, rows) = size().unwrap_or((80, 24));
        let fit = |line: &str| line.chars().take(usize::from(columns)).collect::<String>();
        let mut out = stdout();
        queue!(out, cursor::MoveTo(0, 0), SetAttribute(Attribute::Reverse))?;
        for (row, line) in (0..rows.saturating_sub(1)).zip(lines) {
            queue!(out, cursor::MoveTo(0, row), Clear(ClearType::CurrentLine), Print(fit(line)))?;
            queue!(out, SetAttribute(Attribute::Reset))?;
        }
        queue!(out, Clear(ClearType::FromCursorDown), cursor::MoveTo(0, rows.saturating_sub(1)))?;
        queue!(out, SetAttribute(Attribute::Dim), Print(fit(foot)), SetAttribute(Attribute::Reset))?;
        out.flush()
    }

    /// Waits for a key that means something, or until the time is over.
    pub fn wish(&self, time: Duration) -> io::Result<Option<Wish>> {
        if !poll(time)? {
            return Ok(None);
        }
        let Event::Key(key) = read()? else { return Ok(Some(Wish::Again)) };
        let held = key.modifiers.contains(KeyModifiers::CONTROL);
        Ok(match key.code {
            _ if key.kind == KeyEventKind::Release => None,
            KeyCode::Char('c') if held => Some(Wish::Leave),
            KeyCode::Char('q') | KeyCode::Esc => Some(Wish::Leave),
            KeyCode::Char('s') => Some(Wish::Order),
            KeyCode::Char('h') | KeyCode::Tab => Some(Wish::Hierarchy),
            KeyCode::Char('k') | KeyCode::Up => Some(Wish::Scroll(-1)),
            KeyCode::Char('j') | KeyCode::Down => Some(Wish::Scroll(1)),
            KeyCode::Char(' ') => Some(Wish::Again),
            _ => None,
        })
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        let _ = queue!(stdout(), cursor::Show, LeaveAlternateScreen).and_then(|()| stdout().flush());
        let _ = disable_raw_mode();
    }
}

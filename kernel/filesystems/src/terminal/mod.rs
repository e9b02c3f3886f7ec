//! Terminals: the serial lines, pseudo-terminals, and the line discipline over both.

pub mod console;
mod devices;
mod discipline;
mod file;
mod pseudo;
mod termios;
mod tty;

pub use console::Console;
pub use devices::{ALTERNATIVE_MAJOR, AlternativeTerminals, SerialTerminals};
pub use pseudo::{DevPtsType, PTS_MAJOR, PseudoTerminals, PtsDriver};

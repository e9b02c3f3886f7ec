//! Terminals: the serial lines, pseudo-terminals, and the line discipline over both.

pub mod console;
mod devices;
mod devpts;
mod discipline;
mod file;
mod openings;
mod output;
mod pseudo;
mod termios;
mod tty;

pub use console::Console;
pub use devices::{ALTERNATIVE_MAJOR, AlternativeTerminals, SerialTerminals};
pub use devpts::DevPtsType;
pub use pseudo::{PTS_MAJOR, PseudoTerminals, PtsDriver};

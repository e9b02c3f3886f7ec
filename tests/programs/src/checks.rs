//! Counting what is as it should be.

use std::io::Error;

/// Checks that were made.
#[derive(Default)]
pub struct Checks {
    tried: u32,
    wrong: u32,
}

impl Checks {
    /// Notes one check; says which one is wrong.
    pub fn check(&mut self, what: &str, right: bool) {
        self.tried += 1;
        if !right {
            self.wrong += 1;
            println!("wrong: {what} ({})", Error::last_os_error());
        }
    }

    /// Notes that a call has to give exactly this.
    pub fn equal<T: PartialEq + std::fmt::Debug>(&mut self, what: &str, found: T, expected: T) {
        self.tried += 1;
        if found != expected {
            self.wrong += 1;
            println!("wrong: {what}: {found:?}, not {expected:?}");
        }
    }

    /// Whether all were right so far.
    pub fn all_right(&self) -> bool {
        self.wrong == 0
    }

    /// Says how many there were; whether all were right.
    pub fn tell(self) -> bool {
        println!("{} checks, {} wrong", self.tried, self.wrong);
        self.wrong == 0
    }
}

/// The result of a system call, or its errno.
pub fn result(value: i64) -> Result<i64, i32> {
    if value < 0 { Err(Error::last_os_error().raw_os_error().unwrap_or(-1)) } else { Ok(value) }
}

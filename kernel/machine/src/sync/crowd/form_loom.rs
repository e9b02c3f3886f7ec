//! The lock as loom has it.

use crate::sync::primitive;

pub struct Crowd(primitive::Shared<()>);
pub type Reading<'a> = primitive::ReadGuard<'a, ()>;
pub type Writing<'a> = primitive::WriteGuard<'a, ()>;

impl Crowd {
    pub fn new() -> Self {
        Self(primitive::Shared::new(()))
    }

    pub fn read(&self) -> Reading<'_> {
        primitive::read(&self.0)
    }

    pub fn write(&self) -> Writing<'_> {
        primitive::write(&self.0)
    }
}

//! Signals: numbers, sets, what comes with them, who gets them and what happens then.
//!
//! [`send`] puts a signal into a queue and wakes who should take it; [`deliver`] takes it on the way back to user mode;
//! [`calls`] are the system calls. The rest is plain data: numbers and sets, [`info`], actions, queues, [`frame`], the
//! alternate stack, [`restart`].

mod action;
pub mod calls;
pub mod deliver;
pub mod frame;
pub mod info;
mod number;
mod queue;
pub mod restart;
mod saved_mask;
pub mod send;
pub mod signal_file;
mod stack;

pub use action::{Action, ActionFlags, ActionTable, SIG_DFL, SIG_IGN};
pub use frame::FaultFacts;
pub use info::{Detail, SignalInfo, code};
pub use number::{Default, LARGEST, Signal, SignalSet};
pub use queue::{Place, SignalQueue};
pub use saved_mask::SavedMask;
pub use stack::AlternateStack;

//! Filters of system calls, seccomp(2): a task gives up calls, for itself and for all that come of it.
//!
//! | part | what |
//! |---|---|
//! | [`program`] | the programs that filters are: checked, and run; plain data |
//! | [`action`] | what they can say, and what of it is logged |
//! | [`facts`] | what they see of a call |
//! | `chain` | the filters of a task |
//! | `calls` | how it gets them, and who may look at them |
//! | `entry` | what they do at the beginning of a call |
//! | `listener` | another task that answers for a filter |
//! | `log` | the lines in the kernel log |
//!
//! A task without filters pays nothing for them: those of others are looked at where a tracer's wishes are
//! ([`crate::signals::deliver`]).

pub mod action;
pub(crate) mod calls;
pub(crate) mod chain;
pub(crate) mod entry;
pub mod facts;
pub(crate) mod listener;
mod log;
pub mod program;

pub use calls::{check_sees_filters, seccomp};
pub use chain::Mode;

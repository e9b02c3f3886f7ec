//! model: the container interface twice, and a proof that both are the same.
//!
//! [`mod@reference`] says what the interface is, from the rules alone and as simply as can be: hierarchies are trees of
//! plain structs, tasks are a map, everything is counted anew whenever somebody asks. [`real`] is the framework of the
//! kernel with its controllers. The test in `tests/agree.rs` does the same random [`step`]s to both: after each, what
//! came back and every file of every container must be equal.
//!
//! Above it is nothing; below it are `container`, `controllers`, `machine` (on the host) and `base`.
#![forbid(unsafe_code)]

pub mod real;
pub mod reference;
pub mod step;

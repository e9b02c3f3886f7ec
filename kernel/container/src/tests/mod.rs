//! Tests of the framework: a world of tasks that only live and die, compared with a model that is too simple to be
//! wrong, single rules, and (under `cfg(loom)`) every order of steps of a move against fork, exit and mount.

#[cfg(not(loom))]
mod births;
#[cfg(not(loom))]
mod defects;
#[cfg(not(loom))]
mod holes;
#[cfg(loom)]
mod loom;
#[cfg(not(loom))]
mod model;
#[cfg(not(loom))]
mod removal;
#[cfg(not(loom))]
mod rules;
mod world;

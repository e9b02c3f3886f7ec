//! How a task competes for its CPU: the policies of sched(7).

use super::weight::{Nice, Weight};

/// A real-time priority, 1 (least) to 99.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Priority(u8);

impl Priority {
    /// The least.
    pub const MIN: Self = Self(1);
    /// The greatest.
    pub const MAX: Self = Self(99);

    /// `None` for what is no priority.
    pub fn new(raw: u32) -> Option<Self> {
        u8::try_from(raw).ok().filter(|raw| (Self::MIN.0..=Self::MAX.0).contains(raw)).map(Self)
    }

    /// The number, 1 to 99.
    pub const fn raw(self) -> u32 {
        self.0 as u32
    }
}

/// What a program may ask for: `SCHED_OTHER` and its like.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Policy {
    /// By virtual time, with the weight of the nice value.
    #[default]
    Other,
    /// The same, but whoever wakes up so waits for the end of the running turn.
    Batch,
    /// With hardly any weight; every other task goes first when it wakes up.
    Idle,
    /// Before all of the above and all of lower priority, until it blocks or yields.
    Fifo(Priority),
    /// The same, but those of equal priority take turns of [`REAL_TIME_TURN`](super::REAL_TIME_TURN).
    RoundRobin(Priority),
}

/// What a queue must know of a task that it orders.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Class {
    /// It shares with others by virtual time.
    Fair {
        /// Its share.
        weight: Weight,
        /// Whether it may end the turn of another when it wakes up.
        eager: bool,
    },
    /// It goes first.
    RealTime {
        /// Before whom.
        priority: Priority,
        /// Whether it takes turns with those of equal priority.
        takes_turns: bool,
    },
}

impl Policy {
    /// The priority; none for the policies without.
    pub const fn priority(self) -> Option<Priority> {
        match self {
            Self::Fifo(priority) | Self::RoundRobin(priority) => Some(priority),
            Self::Other | Self::Batch | Self::Idle => None,
        }
    }

    /// How a task of this policy and nice value competes.
    pub fn class(self, nice: Nice) -> Class {
        match self {
            Self::Other => Class::Fair { weight: nice.weight(), eager: true },
            Self::Batch => Class::Fair { weight: nice.weight(), eager: false },
            Self::Idle => Class::Fair { weight: Weight::IDLE, eager: false },
            Self::Fifo(priority) => Class::RealTime { priority, takes_turns: false },
            Self::RoundRobin(priority) => Class::RealTime { priority, takes_turns: true },
        }
    }
}

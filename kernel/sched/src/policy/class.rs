//! How a task competes for its CPU: the policies of sched(7).

use super::{
    server::{Reservation, Server},
    weight::{Nice, Weight},
};
use alloc::sync::Arc;

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

/// How urgent a task is that goes before those who share by virtual time: any deadline goes before every priority, and the
/// earlier one first.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Urgency(u64);

impl Urgency {
    /// That of an absolute deadline, in nanoseconds since boot.
    pub const fn of_deadline(deadline: u64) -> Self {
        let latest = u64::MAX - 1 - Priority::MAX.0 as u64;
        Self(u64::MAX - if deadline < latest { deadline } else { latest })
    }

    /// From its number; `None` for 0.
    pub const fn from_raw(raw: u64) -> Option<Self> {
        if raw == 0 { None } else { Some(Self(raw)) }
    }

    /// A number for it, above 0: the greater goes first.
    pub const fn raw(self) -> u64 {
        self.0
    }
}

impl From<Priority> for Urgency {
    fn from(priority: Priority) -> Self {
        Self(u64::from(priority.0))
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
    /// Before all of the above: so much time within so much of each period.
    Deadline(Reservation),
}

/// What a queue must know of a task that it orders.
#[derive(Clone, Copy, Debug)]
pub enum Class<'a> {
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
    /// It goes first of all, by its deadline, while it has time left.
    Deadline(&'a Arc<Server>),
}

impl Policy {
    /// The priority; none for the policies without.
    pub const fn priority(self) -> Option<Priority> {
        match self {
            Self::Fifo(priority) | Self::RoundRobin(priority) => Some(priority),
            Self::Other | Self::Batch | Self::Idle | Self::Deadline(_) => None,
        }
    }

    /// How a task of this policy and nice value competes; `server` is that of its reservation.
    pub fn class(self, nice: Nice, server: Option<&Arc<Server>>) -> Class<'_> {
        match self {
            Self::Deadline(_) => match server {
                Some(server) => Class::Deadline(server),
                None => Class::Fair { weight: nice.weight(), eager: true },
            },
            Self::Other => Class::Fair { weight: nice.weight(), eager: true },
            Self::Batch => Class::Fair { weight: nice.weight(), eager: false },
            Self::Idle => Class::Fair { weight: Weight::IDLE, eager: false },
            Self::Fifo(priority) => Class::RealTime { priority, takes_turns: false },
            Self::RoundRobin(priority) => Class::RealTime { priority, takes_turns: true },
        }
    }
}

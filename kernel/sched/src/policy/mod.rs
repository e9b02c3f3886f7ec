//! The decisions of the scheduler as pure values: no clock, no lock, no CPU of their own.

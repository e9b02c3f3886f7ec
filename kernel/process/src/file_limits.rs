//! `RLIMIT_FSIZE` for the file layer.

use crate::{
    limits::Resource,
    signals::{Detail, Signal, SignalInfo, code, send},
    task::current,
};
use vfs::FileLimits;

/// The limits of the running task's process.
pub struct OwnLimits;

impl FileLimits for OwnLimits {
    fn largest_file(&self) -> u64 {
        current().map_or(u64::MAX, |task| task.process().limit(Resource::FileSize))
    }

    fn tell_too_large(&self) {
        if let Some(task) = current() {
            // As if it had sent it to itself, as on Linux.
            let detail = Detail::Sender { process: task.process().pid(), user: task.credentials().uid };
            let info = SignalInfo { signal: Signal::XFSZ, code: code::USER, detail };
            // Only real-time signals are refused.
            let _ = send::to_task(&task, info);
        }
    }
}

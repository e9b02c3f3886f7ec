//! What is not done, and why: calls that would end the machine or the test itself.
//!
//! A plain user is restricted in nothing: the kernel is to refuse it.

/// Calls with which root would harm the test and not the kernel.
pub struct Restriction {
    /// The number of the call.
    pub call: u64,
    /// Whether these arguments are meant.
    pub meant: fn(&[u64; 6]) -> bool,
    /// Why root doesn't do it.
    #[cfg_attr(not(test), expect(dead_code, reason = "for people"))]
    pub reason: &'static str,
}

const fn restriction(call: u64, meant: fn(&[u64; 6]) -> bool, reason: &'static str) -> Restriction {
    Restriction { call, meant, reason }
}

/// What root leaves out. Beside these root lives in a file system of its own, without a name for any task but those of
/// the round, and without a container hierarchy that the test itself is in (see `values`).
pub const OF_ROOT: &[Restriction] = &[
    restriction(62, |words| words[0] as i32 == -1, "kill: every task but init, the test among them"),
    restriction(129, |words| words[0] as i32 == -1, "rt_sigqueueinfo: the same"),
    restriction(141, |words| words[0] == 2, "setpriority of a user: root's, so the test's"),
    restriction(251, |words| words[0] == 3, "ioprio_set of a user: the same"),
    restriction(16, |words| words[1] as u32 == 0x5437, "ioctl TIOCVHANGUP: the terminal that the test writes to"),
    restriction(153, |_| true, "vhangup: the same"),
    restriction(169, |_| true, "reboot: the machine ends"),
    restriction(308, |_| true, "setns: out of the file system that holds root"),
];

/// Whether the task, root or not, leaves this out.
pub fn leaves_out(root: bool, call: u64, words: &[u64; 6]) -> bool {
    root && OF_ROOT.iter().any(|restriction| restriction.call == call && (restriction.meant)(words))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_restriction_names_a_described_call_and_only_root_keeps_it() {
        for restriction in OF_ROOT {
            let name =
                super::super::calls::CALLS.iter().find(|(number, ..)| *number == restriction.call).map(|call| call.1);
            assert!(name.is_some_and(|name| restriction.reason.starts_with(name)), "{}", restriction.reason);
        }
        let everybody = [u64::MAX, 9, 0, 0, 0, 0];
        assert!(leaves_out(true, 62, &everybody));
        assert!(!leaves_out(false, 62, &everybody));
        assert!(!leaves_out(true, 62, &[7, 9, 0, 0, 0, 0]));
    }
}

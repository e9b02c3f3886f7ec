//! The rules by which a task may change who it is: `setuid(2)` and its family, groups, capabilities, exec.
//!
//! Each function takes the credentials of the caller and returns the new ones, or the error, so that all of it can be
//! tested without a task. Rules: `credentials(7)`, `capabilities(7)`.

use alloc::vec::Vec;
use base::{Capabilities, Credentials, Errno, Gid, Uid};
use bitflags::bitflags;

/// The most supplementary groups.
pub const MAX_GROUPS: usize = 65536;

/// The argument that means "leave as it is".
const SAME: u32 = u32::MAX;

bitflags! {
    /// `securebits` of `capabilities(7)`; each flag has its lock in the next bit.
    #[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
    pub struct SecureBits: u32 {
        /// User 0 gets no capabilities by exec.
        const NO_ROOT = 1 << 0;
        #[allow(missing_docs)] const NO_ROOT_LOCKED = 1 << 1;
        /// Changes between user 0 and others don't touch capabilities.
        const NO_SETUID_FIXUP = 1 << 2;
        #[allow(missing_docs)] const NO_SETUID_FIXUP_LOCKED = 1 << 3;
        /// Permitted capabilities stay when the last user number becomes other than 0.
        const KEEP_CAPS = 1 << 4;
        #[allow(missing_docs)] const KEEP_CAPS_LOCKED = 1 << 5;
        /// The ambient set can't grow.
        const NO_AMBIENT_RAISE = 1 << 6;
        #[allow(missing_docs)] const NO_AMBIENT_RAISE_LOCKED = 1 << 7;
    }
}

impl SecureBits {
    /// What `PR_SET_SECUREBITS` does. `EPERM`: without CAP_SETPCAP, unknown bits, or against a lock.
    pub fn change(self, new: u32, who: &Credentials) -> Result<Self, Errno> {
        let new = Self::from_bits(new).ok_or(Errno::EPERM)?;
        let locks = 0b1010_1010;
        let locked = (self.bits() & locks) >> 1;
        let breaks_lock = (self.bits() ^ new.bits()) & locked != 0 || self.bits() & locks & !new.bits() != 0;
        if breaks_lock || !who.has(Capabilities::SETPCAP) {
            return Err(Errno::EPERM);
        }
        Ok(new)
    }
}

/// What happens to capabilities when user numbers change.
fn fix_up(old: &Credentials, mut new: Credentials, bits: SecureBits) -> Credentials {
    if bits.contains(SecureBits::NO_SETUID_FIXUP) {
        return new;
    }
    let had_root = [old.uid, old.euid, old.suid].contains(&Uid::ROOT);
    let has_root = [new.uid, new.euid, new.suid].contains(&Uid::ROOT);
    if had_root && !has_root {
        if !bits.contains(SecureBits::KEEP_CAPS) {
            new.permitted = Capabilities::empty();
            new.effective = Capabilities::empty();
        }
        new.ambient = Capabilities::empty();
    }
    if old.euid == Uid::ROOT && new.euid != Uid::ROOT {
        new.effective = Capabilities::empty();
    }
    if old.euid != Uid::ROOT && new.euid == Uid::ROOT {
        new.effective = new.permitted;
    }
    new
}

/// `setuid(2)`. `EINVAL` for −1; `EPERM` without CAP_SETUID unless it is the real or saved user.
pub fn set_uid(old: &Credentials, bits: SecureBits, uid: u32) -> Result<Credentials, Errno> {
    if uid == SAME {
        return Err(Errno::EINVAL);
    }
    let uid = Uid::new(uid);
    let mut new = old.clone();
    if old.has(Capabilities::SETUID) {
        (new.uid, new.suid) = (uid, uid);
    } else if uid != old.uid && uid != old.suid {
        return Err(Errno::EPERM);
    }
    (new.euid, new.fsuid) = (uid, uid);
    Ok(fix_up(old, new, bits))
}

/// `setreuid(2)`; −1 leaves a number. `EPERM` without CAP_SETUID for what the caller isn't already.
pub fn set_real_effective_uid(old: &Credentials, bits: SecureBits, uid: u32, euid: u32) -> Result<Credentials, Errno> {
    let privileged = old.has(Capabilities::SETUID);
    let mut new = old.clone();
    if uid != SAME {
        new.uid = Uid::new(uid);
        if !privileged && new.uid != old.uid && new.uid != old.euid {
            return Err(Errno::EPERM);
        }
    }
    if euid != SAME {
        new.euid = Uid::new(euid);
        if !privileged && ![old.uid, old.euid, old.suid].contains(&new.euid) {
            return Err(Errno::EPERM);
        }
    }
    if uid != SAME || (euid != SAME && new.euid != old.uid) {
        new.suid = new.euid;
    }
    new.fsuid = new.euid;
    Ok(fix_up(old, new, bits))
}

/// `setresuid(2)`; −1 leaves a number. `EPERM` without CAP_SETUID for what the caller isn't already.
pub fn set_three_uids(old: &Credentials, bits: SecureBits, three: [u32; 3]) -> Result<Credentials, Errno> {
    let allowed = [old.uid, old.euid, old.suid];
    let mut new = old.clone();
    for (wanted, number) in three.into_iter().zip([&mut new.uid, &mut new.euid, &mut new.suid]) {
        if wanted == SAME {
            continue;
        }
        *number = Uid::new(wanted);
        if !old.has(Capabilities::SETUID) && !allowed.contains(number) {
            return Err(Errno::EPERM);
        }
    }
    new.fsuid = new.euid;
    Ok(fix_up(old, new, bits))
}

/// `setfsuid(2)`: the new credentials, or none if nothing changes; the call itself always returns the old number.
pub fn set_file_uid(old: &Credentials, bits: SecureBits, uid: u32) -> Option<Credentials> {
    let wanted = Uid::new(uid);
    let allowed = old.has(Capabilities::SETUID) || [old.uid, old.euid, old.suid, old.fsuid].contains(&wanted);
    if uid == SAME || !allowed || wanted == old.fsuid {
        return None;
    }
    let mut new = old.clone();
    new.fsuid = wanted;
    if !bits.contains(SecureBits::NO_SETUID_FIXUP) {
        let files = Capabilities::CHOWN
            | Capabilities::DAC_OVERRIDE
            | Capabilities::DAC_READ_SEARCH
            | Capabilities::FOWNER
            | Capabilities::FSETID
            | Capabilities::MKNOD;
        if old.fsuid == Uid::ROOT {
            new.effective &= !files;
        } else if wanted == Uid::ROOT {
            new.effective |= new.permitted & files;
        }
    }
    Some(new)
}

/// `setgid(2)`. `EINVAL` for −1; `EPERM` without CAP_SETGID unless it is the real or saved group.
pub fn set_gid(old: &Credentials, gid: u32) -> Result<Credentials, Errno> {
    if gid == SAME {
        return Err(Errno::EINVAL);
    }
    let gid = Gid::new(gid);
    let mut new = old.clone();
    if old.has(Capabilities::SETGID) {
        (new.gid, new.sgid) = (gid, gid);
    } else if gid != old.gid && gid != old.sgid {
        return Err(Errno::EPERM);
    }
    (new.egid, new.fsgid) = (gid, gid);
    Ok(new)
}

/// `setregid(2)`; −1 leaves a number. `EPERM` without CAP_SETGID for what the caller isn't already.
pub fn set_real_effective_gid(old: &Credentials, gid: u32, egid: u32) -> Result<Credentials, Errno> {
    let privileged = old.has(Capabilities::SETGID);
    let mut new = old.clone();
    if gid != SAME {
        new.gid = Gid::new(gid);
        if !privileged && new.gid != old.gid && new.gid != old.egid {
            return Err(Errno::EPERM);
        }
    }
    if egid != SAME {
        new.egid = Gid::new(egid);
        if !privileged && ![old.gid, old.egid, old.sgid].contains(&new.egid) {
            return Err(Errno::EPERM);
        }
    }
    if gid != SAME || (egid != SAME && new.egid != old.gid) {
        new.sgid = new.egid;
    }
    new.fsgid = new.egid;
    Ok(new)
}

/// `setresgid(2)`; −1 leaves a number. `EPERM` without CAP_SETGID for what the caller isn't already.
pub fn set_three_gids(old: &Credentials, three: [u32; 3]) -> Result<Credentials, Errno> {
    let allowed = [old.gid, old.egid, old.sgid];
    let mut new = old.clone();
    for (wanted, number) in three.into_iter().zip([&mut new.gid, &mut new.egid, &mut new.sgid]) {
        if wanted == SAME {
            continue;
        }
        *number = Gid::new(wanted);
        if !old.has(Capabilities::SETGID) && !allowed.contains(number) {
            return Err(Errno::EPERM);
        }
    }
    new.fsgid = new.egid;
    Ok(new)
}

/// `setfsgid(2)`: the new credentials, or none if nothing changes; the call itself always returns the old number.
pub fn set_file_gid(old: &Credentials, gid: u32) -> Option<Credentials> {
    let wanted = Gid::new(gid);
    let allowed = old.has(Capabilities::SETGID) || [old.gid, old.egid, old.sgid, old.fsgid].contains(&wanted);
    if gid == SAME || !allowed || wanted == old.fsgid {
        return None;
    }
    Some(Credentials { fsgid: wanted, ..old.clone() })
}

/// `setgroups(2)`. `EPERM` without CAP_SETGID; `EINVAL` for more than [`MAX_GROUPS`].
pub fn set_groups(old: &Credentials, groups: Vec<Gid>) -> Result<Credentials, Errno> {
    if !old.has(Capabilities::SETGID) {
        return Err(Errno::EPERM);
    }
    if groups.len() > MAX_GROUPS {
        return Err(Errno::EINVAL);
    }
    Ok(Credentials { groups, ..old.clone() })
}

/// `capset(2)` on oneself: `EPERM` where a set would hold more than the rules let it.
pub fn set_capabilities(
    old: &Credentials,
    effective: Capabilities,
    permitted: Capabilities,
    inheritable: Capabilities,
) -> Result<Credentials, Errno> {
    let may_inherit =
        if old.has(Capabilities::SETPCAP) { old.inheritable | old.bounding } else { old.inheritable | old.permitted };
    let allowed = may_inherit.contains(inheritable)
        && (old.inheritable | old.bounding).contains(inheritable)
        && old.permitted.contains(permitted)
        && permitted.contains(effective);
    if !allowed {
        return Err(Errno::EPERM);
    }
    let ambient = old.ambient & permitted & inheritable;
    Ok(Credentials { effective, permitted, inheritable, ambient, ..old.clone() })
}

/// `PR_CAPBSET_DROP`. `EINVAL` unknown capability; `EPERM` without CAP_SETPCAP.
pub fn drop_bounding(old: &Credentials, number: u64) -> Result<Credentials, Errno> {
    let one = capability(number)?;
    if !old.has(Capabilities::SETPCAP) {
        return Err(Errno::EPERM);
    }
    Ok(Credentials { bounding: old.bounding - one, ..old.clone() })
}

/// `PR_CAP_AMBIENT_RAISE`. `EINVAL` unknown capability; `EPERM` unless it is permitted and inheritable.
pub fn raise_ambient(old: &Credentials, bits: SecureBits, number: u64) -> Result<Credentials, Errno> {
    let one = capability(number)?;
    if !old.permitted.contains(one) || !old.inheritable.contains(one) || bits.contains(SecureBits::NO_AMBIENT_RAISE) {
        return Err(Errno::EPERM);
    }
    Ok(Credentials { ambient: old.ambient | one, ..old.clone() })
}

/// The set of the one capability with this number; `EINVAL` if there is none.
pub fn capability(number: u64) -> Result<Capabilities, Errno> {
    u32::try_from(number)
        .ok()
        .and_then(|number| 1u64.checked_shl(number))
        .and_then(Capabilities::from_bits)
        .ok_or(Errno::EINVAL)
}

/// Whether a task that had the `old` credentials is another with the `new`, so that its memory is no business of the one that
/// it was any more.
///
/// Rule: prctl(2), `PR_SET_DUMPABLE`.
pub fn becomes_another(old: &Credentials, new: &Credentials) -> bool {
    new.euid != old.euid
        || new.egid != old.egid
        || new.fsuid != old.fsuid
        || new.fsgid != old.fsgid
        || !old.permitted.contains(new.permitted)
}

/// The file that is executed, as far as it can change credentials.
#[derive(Clone, Copy, Debug, Default)]
pub struct ExecutedFile {
    /// The owner, if the file is set-user-ID and that counts here.
    pub set_uid: Option<Uid>,
    /// The group, if the file is set-group-ID and that counts here.
    pub set_gid: Option<Gid>,
}

/// What exec makes of credentials, and whether the program must distrust its environment (`AT_SECURE`).
pub fn execute(
    old: &Credentials,
    bits: SecureBits,
    no_new_privileges: bool,
    file: ExecutedFile,
) -> (Credentials, bool) {
    let file = if no_new_privileges { ExecutedFile::default() } else { file };
    let mut new = old.clone();
    new.euid = file.set_uid.unwrap_or(old.euid);
    new.egid = file.set_gid.unwrap_or(old.egid);
    let changed = new.euid != old.euid || new.egid != old.egid;
    // User 0, real or effective, executes as if the file had all capabilities.
    let (mut file_permitted, mut file_inheritable, mut file_effective) =
        (Capabilities::empty(), Capabilities::empty(), false);
    if !bits.contains(SecureBits::NO_ROOT) {
        if new.euid == Uid::ROOT || new.uid == Uid::ROOT {
            (file_permitted, file_inheritable) = (Capabilities::all(), Capabilities::all());
        }
        file_effective = new.euid == Uid::ROOT;
    }
    new.ambient = if changed { Capabilities::empty() } else { old.ambient };
    new.permitted = (old.inheritable & file_inheritable) | (file_permitted & old.bounding) | new.ambient;
    if no_new_privileges && !old.permitted.contains(new.permitted) {
        new.permitted &= old.permitted;
    }
    new.effective = if file_effective { new.permitted } else { new.ambient };
    (new.suid, new.fsuid) = (new.euid, new.euid);
    (new.sgid, new.fsgid) = (new.egid, new.egid);
    let secure = changed || new.uid != new.euid || new.gid != new.egid;
    (new, secure)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn user(uid: u32) -> Credentials {
        set_three_uids(&Credentials::root(), SecureBits::empty(), [uid; 3]).unwrap()
    }

    #[test]
    fn root_that_becomes_a_user_has_no_way_back() {
        let user = user(1000);
        assert_eq!([user.uid, user.euid, user.suid, user.fsuid], [Uid::new(1000); 4]);
        assert!(user.permitted.is_empty() && user.effective.is_empty());
        assert_eq!(set_uid(&user, SecureBits::empty(), 0), Err(Errno::EPERM));
    }

    #[test]
    fn a_saved_root_can_be_taken_up_again() {
        let root = Credentials::root();
        let lowered = set_real_effective_uid(&root, SecureBits::empty(), SAME, 1000).unwrap();
        assert_eq!(lowered.suid, Uid::new(1000)); // setreuid saves the new effective user
        let lowered = set_three_uids(&root, SecureBits::empty(), [SAME, 1000, SAME]).unwrap();
        assert!(lowered.effective.is_empty() && lowered.permitted == Capabilities::all());
        let back = set_three_uids(&lowered, SecureBits::empty(), [SAME, 0, SAME]).unwrap();
        assert_eq!(back, root);
    }

    #[test]
    fn keep_caps_keeps_the_permitted_set_only() {
        let kept = set_uid(&Credentials::root(), SecureBits::KEEP_CAPS, 1000).unwrap();
        assert_eq!(kept.permitted, Capabilities::all());
        assert!(kept.effective.is_empty());
    }

    #[test]
    fn a_set_user_id_file_changes_the_effective_user_and_is_secure() {
        let file = ExecutedFile { set_uid: Some(Uid::ROOT), set_gid: None };
        let (new, secure) = execute(&user(1000), SecureBits::empty(), false, file);
        assert_eq!((new.uid, new.euid, new.suid), (Uid::new(1000), Uid::ROOT, Uid::ROOT));
        assert_eq!(new.effective, Capabilities::all());
        assert!(secure);
        let (new, secure) = execute(&user(1000), SecureBits::empty(), true, file);
        assert_eq!((new.euid, secure), (Uid::new(1000), false));
    }

    #[test]
    fn exec_of_a_plain_file_drops_the_capabilities_of_a_user() {
        let mut old = user(1000);
        (old.permitted, old.effective) = (Capabilities::all(), Capabilities::KILL);
        let (new, _) = execute(&old, SecureBits::empty(), false, ExecutedFile::default());
        assert!(new.permitted.is_empty() && new.effective.is_empty());
        let (root, secure) = execute(&Credentials::root(), SecureBits::empty(), false, ExecutedFile::default());
        assert_eq!((root, secure), (Credentials::root(), false));
    }

    #[test]
    fn capset_never_adds_to_the_permitted_set() {
        let mut old = Credentials::root();
        old.permitted = Capabilities::KILL | Capabilities::CHOWN;
        let kill = Capabilities::KILL;
        let none = Capabilities::empty();
        assert_eq!(set_capabilities(&old, kill, kill, none).unwrap().permitted, kill);
        assert_eq!(set_capabilities(&old, none, Capabilities::MKNOD, none), Err(Errno::EPERM));
        assert_eq!(set_capabilities(&old, Capabilities::CHOWN, kill, none), Err(Errno::EPERM));
        assert_eq!(capability(41), Err(Errno::EINVAL));
        assert_eq!(capability(64), Err(Errno::EINVAL));
    }

    #[test]
    fn locked_secure_bits_stay() {
        let root = Credentials::root();
        let locked = SecureBits::empty().change(0b11, &root).unwrap();
        assert_eq!(locked.change(0b10, &root), Err(Errno::EPERM));
        assert_eq!(locked.change(0b01, &root), Err(Errno::EPERM));
        assert!(locked.change(0b111, &root).is_ok());
        assert_eq!(locked.change(1 << 9, &root), Err(Errno::EPERM));
    }

    proptest! {
        /// Whatever an unprivileged task tries, it stays within the numbers it had.
        #[test]
        fn without_capabilities_no_new_number_is_reached(steps in proptest::collection::vec((0..5u8, 0..6u32, 0..6u32, 0..6u32), 1..20)) {
            let mut at = user(1);
            (at.uid, at.euid, at.suid) = (Uid::new(1), Uid::new(2), Uid::new(3));
            at.fsuid = at.euid;
            for (kind, a, b, c) in steps {
                let number = |n: u32| if n == 5 { SAME } else { n };
                let (a, b, c) = (number(a), number(b), number(c));
                let none = SecureBits::empty();
                let next = match kind {
                    0 => set_uid(&at, none, a).ok(),
                    1 => set_real_effective_uid(&at, none, a, b).ok(),
                    2 => set_three_uids(&at, none, [a, b, c]).ok(),
                    3 => set_file_uid(&at, none, a),
                    _ => Some(execute(&at, none, false, ExecutedFile::default()).0),
                };
                at = next.unwrap_or(at);
                for number in [at.uid, at.euid, at.suid, at.fsuid] {
                    prop_assert!((1..=3).contains(&number.raw()));
                }
                prop_assert!(at.effective.is_empty() && at.permitted.is_empty());
            }
        }
    }
}

//! Hooks: how a lower floor calls up.

#[cfg(target_os = "none")]
type Cell<T> = spin::Once<T>;
#[cfg(not(target_os = "none"))]
type Cell<T> = std::sync::OnceLock<T>;

/// A place for one `&'static` value, filled once at boot by whoever wires the floors. Reading it is a load and a
/// branch.
pub struct Hook<T: ?Sized + 'static> {
    value: Cell<&'static T>,
}

impl<T: ?Sized + Sync + 'static> Hook<T> {
    /// An empty hook.
    pub const fn new() -> Self {
        Self { value: Cell::new() }
    }

    /// Fills the hook. Panics if it is filled already: two owners would be a mistake of the wiring.
    #[track_caller]
    pub fn install(&self, value: &'static T) {
        let mut fresh = false;
        #[cfg(target_os = "none")]
        self.value.call_once(|| {
            fresh = true;
            value
        });
        #[cfg(not(target_os = "none"))]
        self.value.get_or_init(|| {
            fresh = true;
            value
        });
        assert!(fresh, "a hook is installed twice");
    }

    /// What was installed, if anything yet.
    pub fn get(&self) -> Option<&'static T> {
        self.value.get().copied()
    }
}

impl<T: ?Sized + Sync + 'static> Default for Hook<T> {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hook_is_empty_until_it_is_installed() {
        static HOOK: Hook<str> = Hook::new();
        assert_eq!(HOOK.get(), None);
        HOOK.install("filled");
        assert_eq!(HOOK.get(), Some("filled"));
    }
}

//! cpu: what its files take and show. Rules: sections 14 and 15. Nothing runs here, so nothing is throttled.

use super::{Dialect, Model, numbers, shares};
use base::Errno;

/// What is kept for a container, times in microseconds.
#[derive(Clone, Copy, Debug)]
pub struct Settings {
    weight: u64,
    idle: bool,
    quota: Option<u64>,
    period: u64,
    burst: u64,
    /// The container dialect's.
    pub(super) shares: shares::Shares,
}

impl Default for Settings {
    fn default() -> Self {
        Self { weight: 1024, idle: false, quota: None, period: 100_000, burst: 0, shares: shares::Shares::default() }
    }
}

impl Settings {
    /// Whether it grants more of a CPU than another; without a quota neither does.
    fn grants_more(&self, other: &Self) -> bool {
        let part = |quota: u64, period: u64| u128::from(quota) * u128::from(period);
        match (self.quota, other.quota) {
            (Some(quota), Some(most)) => part(quota, other.period) > part(most, self.period),
            _ => false,
        }
    }
}

impl Model {
    pub(super) fn cpu_files(dialect: Dialect) -> &'static [&'static str] {
        match dialect {
            Dialect::Container => &["shares", "stats"],
            Dialect::Cgroup => &["shares", "idle", "cfs_quota_us", "cfs_period_us", "cfs_burst_us", "stat"],
        }
    }

    pub(super) fn read_cpu(&self, container: u32, name: &str) -> String {
        let cpu = &self.state(container).cpu;
        let number = |number: u64| format!("{number}\n");
        match name {
            "shares" if self.dialect_of(container) == Dialect::Container => cpu.shares.shown("cpu"),
            "shares" => number(cpu.weight),
            "idle" => number(u64::from(cpu.idle)),
            "cfs_quota_us" => cpu.quota.map_or("-1\n".to_owned(), number),
            "cfs_period_us" => number(cpu.period),
            "cfs_burst_us" => number(cpu.burst),
            "stat" => "nr_periods 0\nnr_throttled 0\nthrottled_time 0\nnr_bursts 0\nburst_time 0\n".to_owned(),
            "stats" => ["Usage", "Number of periods", "Number of throttled periods", "Throttled time"]
                .map(|what| format!("cpu: {what} 0\n"))
                .concat(),
            other => format!("the model knows no cpu.{other}"),
        }
    }

    pub(super) fn write_cpu(&mut self, container: u32, name: &str, text: &str) -> Result<(), Errno> {
        if self.dialect_of(container) == Dialect::Container {
            return match name {
                "shares" => self.write_shares(container, text, |state| &mut state.cpu.shares),
                "stats" => shares::check_reset(text),
                _ => Err(Errno::EINVAL),
            };
        }
        let root = self.is_root(container);
        let mut new = self.state(container).cpu;
        match name {
            "shares" => {
                let weight = numbers::unsigned(text)?;
                if root || new.idle {
                    return Err(Errno::EINVAL);
                }
                new.weight = weight.clamp(2, 262_144);
            }
            "idle" => {
                let idle = numbers::signed(text)?;
                if root || !(0..=1).contains(&idle) {
                    return Err(Errno::EINVAL);
                }
                if new.idle != (idle == 1) {
                    (new.idle, new.weight) = if idle == 1 { (true, 3) } else { (false, 1024) };
                }
            }
            "cfs_quota_us" => new.quota = u64::try_from(numbers::signed(text)?).ok(),
            "cfs_period_us" => new.period = numbers::unsigned(text)?,
            "cfs_burst_us" => new.burst = numbers::unsigned(text)?,
            _ => return Err(Errno::EINVAL),
        }
        if name.starts_with("cfs") {
            self.check_bandwidth(container, &new)?;
        }
        self.state_mut(container).cpu = new;
        Ok(())
    }

    fn check_bandwidth(&self, container: u32, new: &Settings) -> Result<(), Errno> {
        let mut good = !self.is_root(container) && (1000..=1_000_000).contains(&new.period);
        // It must be a number of nanoseconds.
        good &= new.burst.checked_mul(1000).is_some();
        if let Some(quota) = new.quota {
            good &= quota >= 1000 && new.burst <= quota && quota.saturating_add(new.burst) < 1 << 44;
            let above = self.upwards(container).into_iter().skip(1).map(|above| &self.state(above).cpu);
            good &= !above.into_iter().find(|cpu| cpu.quota.is_some()).is_some_and(|above| new.grants_more(above));
            let mut below = self.downwards(container).into_iter().skip(1).map(|below| &self.state(below).cpu);
            good &= !below.any(|below| below.grants_more(new));
        }
        if good { Ok(()) } else { Err(Errno::EINVAL) }
    }
}

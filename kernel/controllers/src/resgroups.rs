//! ResGroups: shares of a parent's resource, for the controllers that divide one by shares.
//!
//! A container has a guarantee (`min_shares`) and a cap (`max_shares`), both in units of its parent's
//! `child_shares_divisor`. This library keeps, reads, checks and prints them and turns them into absolute amounts; what
//! an amount means is the affair of the [`Client`]. Rule: interfaces.md, section 14.
//!
//! A client has one file made with [`show`] and [`store`], which must be
//! [`managed_alone`](container::ControlFile::managed_alone): the rules compare a container with its parent, siblings and
//! children, and a change reaches all containers below.

use base::Errno;
use container::{Node, Subsystem};
use core::fmt::{self, Write};
use machine::sync::{SpinLock, rank};

/// In place of a share: no guarantee, no cap.
pub const DONT_CARE: i32 = -3;
/// In place of a share: the client can't do this. What is written to such a key is ignored.
pub const NOT_SUPPORTED: i32 = -2;
/// In a write: leave the key as it is.
const UNCHANGED: i32 = -1;

/// The shares of one container as a user sees them.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Values {
    /// What is guaranteed, or [`DONT_CARE`], or [`NOT_SUPPORTED`].
    pub min: i32,
    /// What is the most, or [`DONT_CARE`], or [`NOT_SUPPORTED`].
    pub max: i32,
    /// Into how many parts the container's own amount is cut for its children, or [`NOT_SUPPORTED`].
    pub divisor: i32,
}

impl Values {
    /// What every container starts with: nothing is guaranteed, nothing is capped.
    pub const INITIAL: Self = Self { min: DONT_CARE, max: DONT_CARE, divisor: 100 };

    /// The guarantee, if there is one.
    pub const fn numeric_min(&self) -> Option<u32> {
        numeric(self.min)
    }

    /// The cap, if there is one.
    pub const fn numeric_max(&self) -> Option<u32> {
        numeric(self.max)
    }
}

/// The shares of one container in the client's unit; `None` is don't care.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Amounts {
    /// What the container has for sure.
    pub min: Option<u64>,
    /// What it can have at most.
    pub max: Option<u64>,
}

/// The shares of one container, a part of the client's state.
pub struct Shares(SpinLock<(Values, Amounts)>);

impl Shares {
    /// The shares of a new container, with [`NOT_SUPPORTED`] for what the client can't do.
    pub fn new(values: Values) -> Self {
        Self(SpinLock::new(rank::CONTROLLER, (values, Amounts::default())))
    }

    /// The shares now, all of one moment. Locks: rank `CONTROLLER`.
    pub fn values(&self) -> Values {
        self.0.lock().0
    }
}

impl Default for Shares {
    fn default() -> Self {
        Self::new(Values::INITIAL)
    }
}

/// A controller that divides its resource by shares.
pub trait Client: Subsystem {
    /// The shares in the state of a container.
    fn shares(&self) -> &Shares;
    /// How much there is for the whole hierarchy.
    fn total(root: &Self) -> u64;
    /// The shares of this container, of its parent or of one further up have changed, and `amounts` are the new absolute
    /// ones. Called for the container that was written to and then for all below it, parents before children. Held:
    /// *manage*, exclusively.
    fn apply(node: &Node<'_, Self>, amounts: Amounts);
}

/// Shows the line of `<name>.shares`.
pub fn show<S: Client>(node: &Node<'_, S>, out: &mut dyn Write) -> fmt::Result {
    let Values { min, max, divisor } = node.state().shares().values();
    writeln!(out, "res={},min_shares={min},max_shares={max},child_shares_divisor={divisor}", S::NAME)
}

/// Does what a write to `<name>.shares` asks for: all keys are checked together, then stored together.
///
/// Errors, nothing changed: `EINVAL` the text is no list of keys, or what comes out is against a rule of section 14.2.
/// Held: *manage*, exclusively.
pub fn store<S: Client>(node: &Node<'_, S>, text: &str) -> Result<(), Errno> {
    let shares = node.state().shares();
    let now = shares.values();
    let changed = Request::parse(text)?.applied_to(now)?;
    // A root has nobody to take from: its own shares are kept and mean nothing.
    let above = node.parent().map(|parent| (parent.state().shares().values().divisor, Sum::of_children(&parent).mins));
    check(now, changed, Sum::of_children(node), above)?;
    if changed != now {
        shares.0.lock().0 = changed;
        recompute(node);
    }
    Ok(())
}

/// Computes the absolute amounts of the container and of all below it, and tells the client. For a client whose total
/// has changed, with the root. Held: *manage*, exclusively.
pub fn recompute<S: Client>(node: &Node<'_, S>) {
    node.for_each_below(|node| {
        if let Some(parent) = node.parent() {
            let above = amounts(&parent);
            let divisor = parent.state().shares().values().divisor;
            let mut own = node.state().shares().0.lock();
            own.1 =
                Amounts { min: part_of(above.min, own.0.min, divisor), max: part_of(above.max, own.0.max, divisor) };
        }
        S::apply(node, amounts(node));
    });
}

/// The absolute amounts of the container now, both of one moment. Locks: rank `CONTROLLER`.
pub fn amounts<S: Client>(node: &Node<'_, S>) -> Amounts {
    if node.is_root() {
        let total = Some(S::total(node.state()));
        Amounts { min: total, max: total }
    } else {
        node.state().shares().0.lock().1
    }
}

/// Whether a text written to `<name>.stats` asks for a reset.
///
/// Errors: `EINVAL` it does not name a resource.
pub fn check_reset(text: &str) -> Result<(), Errno> {
    // A piece of its own: `min_shares=` ends in the same letters.
    if text.split(',').any(|piece| piece.starts_with("res=")) { Ok(()) } else { Err(Errno::EINVAL) }
}

const fn numeric(share: i32) -> Option<u32> {
    if share >= 0 { Some(share as u32) } else { None }
}

/// `share` of `divisor` parts of what the parent has.
fn part_of(amount: Option<u64>, share: i32, divisor: i32) -> Option<u64> {
    let share = numeric(share)?;
    match numeric(divisor) {
        None | Some(0) => amount.map(|_| 0),
        // No share is above the divisor, so the part fits again.
        Some(divisor) => amount.map(|amount| (u128::from(amount) * u128::from(share) / u128::from(divisor)) as u64),
    }
}

/// What all children of a container have together.
#[derive(Clone, Copy, Default)]
struct Sum {
    mins: u64,
    largest_max: u32,
}

impl Sum {
    fn of_children<S: Client>(node: &Node<'_, S>) -> Self {
        node.children().map(|child| child.state().shares().values()).fold(Self::default(), |sum, child| Self {
            mins: sum.mins + u64::from(child.numeric_min().unwrap_or(0)),
            largest_max: sum.largest_max.max(child.numeric_max().unwrap_or(0)),
        })
    }
}

/// The rules of section 14.2 for what comes out. `above`: the parent's divisor and the sum of its children's guarantees,
/// the old one of this container included.
fn check(now: Values, changed: Values, children: Sum, above: Option<(i32, u64)>) -> Result<(), Errno> {
    let (min, max) = (changed.numeric_min(), changed.numeric_max());
    let mut good = match (min, max) {
        (Some(min), Some(max)) => min <= max,
        _ => true,
    };
    if let Some(divisor) = numeric(changed.divisor) {
        good &= u64::from(divisor) >= children.mins && divisor >= children.largest_max;
    }
    if let Some((divisor, mins)) = above
        && let Some(divisor) = numeric(divisor)
    {
        let before = u64::from(now.numeric_min().unwrap_or(0));
        let after = u64::from(min.unwrap_or(0));
        good &= after <= before || mins - before + after <= u64::from(divisor);
        good &= max.is_none_or(|max| max <= divisor);
    }
    if good { Ok(()) } else { Err(Errno::EINVAL) }
}

/// What a write asks for; `None` for a key that it does not have.
#[derive(Default)]
struct Request {
    min: Option<i32>,
    max: Option<i32>,
    divisor: Option<i32>,
}

impl Request {
    fn parse(text: &str) -> Result<Self, Errno> {
        let mut request = Self::default();
        let mut named = false;
        for piece in text.split(',').filter(|piece| !piece.is_empty()) {
            let (key, value) = piece.split_once('=').ok_or(Errno::EINVAL)?;
            let field = match key {
                "min_shares" => &mut request.min,
                "max_shares" => &mut request.max,
                "child_shares_divisor" => &mut request.divisor,
                "res" if !named => {
                    named = true;
                    continue;
                }
                _ => return Err(Errno::EINVAL),
            };
            *field = Some(parse_number(value)?);
        }
        Ok(request)
    }

    fn applied_to(&self, now: Values) -> Result<Values, Errno> {
        let share = |number| number >= 0 || number == DONT_CARE;
        Ok(Values {
            min: one(self.min, now.min, share)?,
            max: one(self.max, now.max, share)?,
            divisor: one(self.divisor, now.divisor, |number| number >= 0)?,
        })
    }
}

/// One key after the write.
fn one(asked: Option<i32>, now: i32, allowed: impl Fn(i32) -> bool) -> Result<i32, Errno> {
    match asked {
        None | Some(UNCHANGED) => Ok(now),
        Some(_) if now == NOT_SUPPORTED => Ok(now),
        Some(number) if allowed(number) => Ok(number),
        Some(_) => Err(Errno::EINVAL),
    }
}

/// Decimal digits with an optional `-`, 32 bits.
fn parse_number(text: &str) -> Result<i32, Errno> {
    if text.starts_with('+') { Err(Errno::EINVAL) } else { text.parse().map_err(|_| Errno::EINVAL) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::world::World;
    use container::{ControlFile, subsystem};
    use proptest::prelude::*;
    use std::{format, string::String, vec::Vec};

    /// A client with 1000 of something, which shows the amounts that it was told last.
    struct Thousand {
        shares: Shares,
        told: SpinLock<Amounts>,
    }

    impl Thousand {
        fn with(values: Values) -> Self {
            Self { shares: Shares::new(values), told: SpinLock::new(rank::CONTROLLER, Amounts::default()) }
        }
    }

    impl Subsystem for Thousand {
        const NAME: &'static str = "thousand";
        const INDEX: usize = 1;
        const FILES: &'static [ControlFile<Self>] = &[
            ControlFile::read_write_node("shares", show, store).managed_alone(),
            ControlFile::read_node("amounts", |node: &Node<'_, Self>, out| {
                let Amounts { min, max } = *node.state().told.lock();
                assert!(node.is_root() || Amounts { min, max } == amounts(node));
                let [min, max] = [min, max].map(|amount| amount.map_or(-1, |amount| amount as i64));
                writeln!(out, "{min} {max}")
            }),
        ];
        fn create(parent: &Self) -> Result<Self, Errno> {
            let lacks_max = parent.shares.values().max == NOT_SUPPORTED;
            let max = if lacks_max { NOT_SUPPORTED } else { DONT_CARE };
            Ok(Self::with(Values { max, ..Values::INITIAL }))
        }
    }

    impl Client for Thousand {
        fn shares(&self) -> &Shares {
            &self.shares
        }
        fn total(_root: &Self) -> u64 {
            1000
        }
        fn apply(node: &Node<'_, Self>, amounts: Amounts) {
            *node.state().told.lock() = amounts;
        }
    }

    fn world() -> World {
        let world = World::of(std::vec![subsystem(Thousand::with(Values::INITIAL))], "thousand");
        world.mkdir("/a").mkdir("/a/b").mkdir("/a/c")
    }

    fn write(world: &World, path: &str, text: &str) -> Result<(), Errno> {
        world.write(path, "thousand.shares", text)
    }

    fn amounts_of(world: &World, path: &str) -> String {
        world.read(path, "thousand.amounts")
    }

    #[test]
    fn a_new_container_cares_for_nothing() {
        let line = "res=thousand,min_shares=-3,max_shares=-3,child_shares_divisor=100\n";
        assert_eq!(world().read("/a", "thousand.shares"), line);
        assert_eq!(world().read("/", "thousand.shares"), line);
    }

    #[test]
    fn a_write_takes_any_keys_in_any_order() {
        let world = world();
        for (text, shown) in [
            ("max_shares=50,min_shares=20", "20,max_shares=50,child_shares_divisor=100"),
            (",,res=whatever,,child_shares_divisor=7,", "20,max_shares=50,child_shares_divisor=7"),
            ("min_shares=-1,max_shares=-3", "20,max_shares=-3,child_shares_divisor=7"),
            ("min_shares=1,min_shares=2,min_shares=3", "3,max_shares=-3,child_shares_divisor=7"),
            ("res=", "3,max_shares=-3,child_shares_divisor=7"),
            (" ", "3,max_shares=-3,child_shares_divisor=7"),
            ("min_shares=-3", "-3,max_shares=-3,child_shares_divisor=7"),
        ] {
            assert_eq!(write(&world, "/a", text), Ok(()), "{text}");
            assert_eq!(world.read("/a", "thousand.shares"), format!("res=thousand,min_shares={shown}\n"), "{text}");
        }
    }

    #[test]
    fn a_wrong_text_changes_nothing() {
        let world = world();
        write(&world, "/a", "min_shares=10,max_shares=20").unwrap();
        let before = world.read("/a", "thousand.shares");
        for text in [
            "min_shares",
            "min_shares=",
            "min_shares=x",
            "min_shares=+5",
            "min_shares= 5",
            "min_shares=2147483648",
            "min_shares=-2",
            "min_shares=-4",
            "max_shares=-2",
            "child_shares_divisor=-3",
            "child_shares_divisor=-2",
            "shares=5",
            "res=a,res=a",
            "15",
            "min_shares=21",
            "max_shares=9",
            "child_shares_divisor=50,min_shares=21",
        ] {
            assert_eq!(write(&world, "/a", text), Err(Errno::EINVAL), "{text}");
            assert_eq!(world.read("/a", "thousand.shares"), before, "{text}");
        }
    }

    #[test]
    fn guarantees_of_siblings_fit_into_the_parents_divisor() {
        let world = world();
        write(&world, "/a/b", "min_shares=60").unwrap();
        assert_eq!(write(&world, "/a/c", "min_shares=41"), Err(Errno::EINVAL));
        write(&world, "/a/c", "min_shares=40").unwrap();
        assert_eq!(write(&world, "/a/b", "min_shares=61"), Err(Errno::EINVAL));
        assert_eq!(write(&world, "/a/b", "max_shares=101"), Err(Errno::EINVAL));
        assert_eq!(write(&world, "/a", "child_shares_divisor=99"), Err(Errno::EINVAL));
        write(&world, "/a/b", "min_shares=-3,max_shares=90").unwrap();
        assert_eq!(write(&world, "/a", "child_shares_divisor=89"), Err(Errno::EINVAL));
        assert_eq!(write(&world, "/a", "child_shares_divisor=90"), Ok(()));
    }

    #[test]
    fn what_a_root_asks_for_itself_means_nothing() {
        let world = world();
        write(&world, "/", "min_shares=2000000000,max_shares=2000000000").unwrap();
        write(&world, "/a", "min_shares=100").unwrap();
        assert_eq!(amounts_of(&world, "/a"), "1000 -1\n");
    }

    #[test]
    fn a_change_is_computed_for_all_below() {
        let world = world();
        write(&world, "/a/b", "min_shares=1,max_shares=50").unwrap();
        assert_eq!(amounts_of(&world, "/a/b"), "-1 -1\n");
        write(&world, "/a", "min_shares=33,max_shares=66").unwrap();
        assert_eq!((amounts_of(&world, "/a"), amounts_of(&world, "/a/b")), ("330 660\n".into(), "3 330\n".into()));
        write(&world, "/a", "child_shares_divisor=60").unwrap();
        assert_eq!(amounts_of(&world, "/a/b"), "5 550\n");
        write(&world, "/", "child_shares_divisor=66").unwrap();
        assert_eq!((amounts_of(&world, "/a"), amounts_of(&world, "/a/b")), ("500 1000\n".into(), "8 833\n".into()));
    }

    #[test]
    fn nothing_is_left_where_the_divisor_is_nothing() {
        let world = world();
        write(&world, "/a", "min_shares=10,max_shares=10,child_shares_divisor=0").unwrap();
        write(&world, "/a/b", "min_shares=0,max_shares=0").unwrap();
        assert_eq!(amounts_of(&world, "/a/b"), "0 0\n");
        assert_eq!(write(&world, "/a/b", "max_shares=1"), Err(Errno::EINVAL));
    }

    #[test]
    fn a_key_that_the_client_does_not_support_ignores_what_is_written() {
        let lacking = Values { max: NOT_SUPPORTED, ..Values::INITIAL };
        let world = World::of(std::vec![subsystem(Thousand::with(lacking))], "thousand").mkdir("/a");
        assert_eq!(write(&world, "/a", "min_shares=30,max_shares=20"), Ok(()));
        let line = "res=thousand,min_shares=30,max_shares=-2,child_shares_divisor=100\n";
        assert_eq!(world.read("/a", "thousand.shares"), line);
        assert_eq!(amounts_of(&world, "/a"), "300 -1\n");
    }

    #[test]
    fn a_reset_names_a_resource() {
        assert_eq!((check_reset("res=cpu"), check_reset("cpu")), (Ok(()), Err(Errno::EINVAL)));
        assert_eq!((check_reset("x=1,res=cpu"), check_reset("min_shares=1")), (Ok(()), Err(Errno::EINVAL)));
    }

    /// The values of a shares line, in its order.
    fn shown(world: &World, path: &str) -> [i64; 3] {
        let line = world.read(path, "thousand.shares");
        let numbers: Vec<i64> =
            line.trim().split(',').skip(1).map(|piece| piece.split_once('=').unwrap().1.parse().unwrap()).collect();
        numbers.try_into().unwrap()
    }

    proptest! {
        /// Whatever is written in whatever order: what is accepted keeps the rules, what is refused changes nothing, and
        /// the amounts are those of the definition.
        #[test]
        fn accepted_shares_keep_the_rules(
            steps in proptest::collection::vec(
                (0usize..4, proptest::option::of(-4i32..9), proptest::option::of(-4i32..9), proptest::option::of(-2i32..9)),
                1..60,
            ),
        ) {
            const PATHS: [&str; 4] = ["/", "/a", "/a/b", "/a/c"];
            let world = world();
            for (place, min, max, divisor) in steps {
                let keys = [("min_shares", min), ("max_shares", max), ("child_shares_divisor", divisor)];
                let pieces: Vec<_> = keys.iter().filter_map(|(key, value)| Some(format!("{key}={}", (*value)?))).collect();
                let before = PATHS.map(|path| (shown(&world, path), amounts_of(&world, path)));
                let result = write(&world, PATHS[place], &(pieces.join(",") + ","));
                let after = PATHS.map(|path| (shown(&world, path), amounts_of(&world, path)));
                if result.is_err() {
                    prop_assert_eq!(before, after);
                    continue;
                }
                let [root, a, b, c] = after.each_ref().map(|(values, _)| *values);
                for [min, max, _] in [root, a, b, c] {
                    prop_assert!(min < 0 || max < 0 || min <= max);
                }
                prop_assert!(a[0].max(0) <= root[2] && a[1] <= root[2]);
                prop_assert!(b[0].max(0) + c[0].max(0) <= a[2] && b[1].max(c[1]) <= a[2]);
                let part = |whole: i64, share: i64, divisor: i64| match (whole, share, divisor) {
                    (-1, _, _) => -1,
                    (_, ..0, _) => -1,
                    (_, _, 0) => 0,
                    _ => whole * share / divisor,
                };
                let of_a = [0, 1].map(|which| part(1000, a[which], root[2]));
                prop_assert_eq!(&after[1].1, &format!("{} {}\n", of_a[0], of_a[1]));
                for (values, text) in [(b, &after[2].1), (c, &after[3].1)] {
                    let [min, max] = [0, 1].map(|which| part(of_a[which], values[which], a[2]));
                    prop_assert_eq!(text, &format!("{min} {max}\n"));
                }
            }
        }
    }
}

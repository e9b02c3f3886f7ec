//! A debugger reads and writes what the program itself may not, and nobody else sees what it writes.

use super::*;

fn peek(space: &AddressSpace, page: u64) -> Result<u8, Errno> {
    let mut byte = [0];
    space.read_forced(BASE + page * PAGE, &mut byte).map(|()| byte[0])
}

fn poke(space: &AddressSpace, page: u64, value: u8) -> Result<(), Errno> {
    space.write_forced(BASE + page * PAGE, &[value])
}

#[test]
fn a_page_of_a_file_that_may_only_be_read_is_written_in_a_copy() {
    let (space, file) = (space(), File::new(3));
    let request = |page, protection| MapRequest { source: Some((file.clone(), 0)), ..fixed(page, 3, protection) };
    map(&space, request(0, Protection::READ | Protection::EXECUTE));
    map(&space, request(4, Protection::READ));
    assert_eq!(load(&space, 0), Ok(100));
    poke(&space, 0, 9).unwrap();
    poke(&space, 1, 8).unwrap();
    assert_eq!((load(&space, 0), load(&space, 1), load(&space, 4)), (Ok(9), Ok(8), Ok(100)));
    assert_eq!(file.first_byte(0), 100, "the file is as it was");
    assert_eq!(store(&space, 0, 1), Err(FaultError::NoAccess), "the program still may not");
    assert_eq!(space.resident().anonymous, 2);
}

#[test]
fn what_has_no_rights_at_all_is_read_and_written_and_stays_out_of_reach() {
    let space = space();
    map(&space, fixed(0, 4, RW));
    store(&space, 0, 7).unwrap();
    load(&space, 1).unwrap();
    space.protect(BASE, 4 * PAGE, Protection::empty()).unwrap();
    assert_eq!([0, 1, 2].map(|page| peek(&space, page)), [Ok(7), Ok(0), Ok(0)]);
    (0..3).for_each(|page| poke(&space, page, 30 + page as u8).unwrap());
    assert_eq!([0, 1, 2].map(|page| peek(&space, page)), [Ok(30), Ok(31), Ok(32)]);
    assert_eq!(load(&space, 2), Err(FaultError::NoAccess));
    space.protect(BASE, 4 * PAGE, RW).unwrap();
    assert_eq!([0, 1, 2].map(|page| load(&space, page)), [Ok(30), Ok(31), Ok(32)]);
}

#[test]
fn a_child_keeps_what_it_had_when_its_parent_is_written_by_force() {
    let parent = space();
    map(&parent, fixed(0, 1, RW));
    store(&parent, 0, 1).unwrap();
    parent.protect(BASE, PAGE, Protection::READ).unwrap();
    let child = parent.fork(crate::payer::current()).unwrap();
    poke(&parent, 0, 2).unwrap();
    assert_eq!((load(&parent, 0), load(&child, 0)), (Ok(2), Ok(1)));
}

#[test]
fn what_is_shared_is_written_only_where_the_program_may_and_holes_are_refused() {
    let space = space();
    map(&space, MapRequest { sharing: Sharing::Shared, ..fixed(0, 1, RW) });
    map(&space, MapRequest { sharing: Sharing::Shared, ..fixed(2, 1, Protection::READ) });
    assert_eq!((poke(&space, 0, 5), peek(&space, 0)), (Ok(()), Ok(5)));
    assert_eq!(poke(&space, 2, 5), Err(Errno::EFAULT));
    assert_eq!((poke(&space, 9, 5), peek(&space, 9)), (Err(Errno::EFAULT), Err(Errno::EFAULT)));
    let mut both = [0; 2];
    assert_eq!(space.read_forced(BASE + PAGE - 1, &mut both), Err(Errno::EFAULT), "half of it is a hole");
    assert_eq!(space.read_forced(u64::MAX, &mut both), Err(Errno::EFAULT));
}

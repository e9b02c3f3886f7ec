//! Core dumps have what was stored, and of files what the program could see.

use super::*;

fn dumped(space: &AddressSpace, page: u64) -> Option<u8> {
    let mut bytes = [1; 4096];
    space.dump_page(BASE + page * PAGE, &mut bytes).then_some(bytes[0])
}

#[test]
fn a_dump_has_what_was_stored_whatever_the_protection_is_now() {
    let space = space();
    map(&space, fixed(0, 3, RW));
    store(&space, 0, 7).unwrap();
    load(&space, 1).unwrap();
    space.protect(BASE, PAGE, Protection::empty()).unwrap();
    assert_eq!(dumped(&space, 0), Some(7), "unreadable for the program");
    assert_eq!(dumped(&space, 1), None, "the page of zeros");
    assert_eq!(dumped(&space, 2), None, "never touched");
    assert_eq!(dumped(&space, 9), None, "not mapped");
    assert_eq!(space.resident().anonymous, 1, "nothing came in for the dump");
}

#[test]
fn a_dump_brings_in_pages_of_files_that_may_be_read() {
    let space = space();
    let file = |page, protection| MapRequest { source: Some((File::new(2), 0)), ..fixed(page, 3, protection) };
    map(&space, file(0, Protection::READ));
    map(&space, file(4, Protection::EXECUTE));
    map(&space, file(8, Protection::empty()));
    assert_eq!([0, 1, 2].map(|page| dumped(&space, page)), [Some(100), Some(101), None], "a page beyond the end");
    assert_eq!(dumped(&space, 5), Some(101));
    assert_eq!(dumped(&space, 8), None);
}

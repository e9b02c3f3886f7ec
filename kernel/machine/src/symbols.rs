//! The functions that addresses of the kernel lie in, by the table of symbols that the host may give: lines of
//! `<hex address> <name>`, the addresses counted from the kernel's base, ascending.

/// A function of the kernel, and where in it an address lies.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Symbol<'a> {
    /// Its name, with its path.
    pub name: &'a str,
    /// How far behind its start the address lies.
    pub offset: u64,
    /// How many bytes there are up to the next function; 0 for the last.
    pub size: u64,
}

/// The function that a return address lies in; none without a table. Takes no lock: a panic may call it.
pub fn find(address: u64) -> Option<Symbol<'static>> {
    let (base, table) = super::arch::symbol_table()?;
    search(table, address.checked_sub(base)?)
}

/// The last function that begins before `address`: a return address may be the first byte of the next one, if the call
/// never returns.
fn search(table: &[u8], address: u64) -> Option<Symbol<'_>> {
    // Lines before `low` begin before the address, those from `high` on do not; both are beginnings of lines.
    let (mut low, mut high) = (0, table.len());
    while low < high {
        let middle = beginning(table, low + (high - low) / 2);
        let line = line_at(table, middle);
        if parse(line)?.0 < address {
            low = (middle + line.len() + 1).min(table.len());
        } else {
            high = middle;
        }
    }
    let (start, name) = parse(line_at(table, beginning(table, low.checked_sub(1)?)))?;
    let next = parse(line_at(table, low)).map_or(start, |(next, _)| next);
    Some(Symbol { name, offset: address - start, size: next - start })
}

/// Where the line begins that the byte `at` belongs to.
fn beginning(table: &[u8], at: usize) -> usize {
    table[..at].iter().rposition(|&byte| byte == b'\n').map_or(0, |end| end + 1)
}

fn line_at(table: &[u8], at: usize) -> &[u8] {
    table[at..].split(|&byte| byte == b'\n').next().unwrap_or_default()
}

/// The most bytes of a name: those of generic functions can be longer than any screen.
const NAME_MOST: usize = 120;

fn parse(line: &[u8]) -> Option<(u64, &str)> {
    let (address, name) = core::str::from_utf8(line).ok()?.split_once(' ')?;
    Some((u64::from_str_radix(address, 16).ok()?, &name[..name.floor_char_boundary(NAME_MOST)]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_belongs_to_the_function_that_begins_before_it() {
        let table = b"10 first\n2a <second as a::Trait>::call\n2a again\n100 last\n";
        let found = |address| search(table, address).map(|symbol| (symbol.name, symbol.offset, symbol.size));
        assert_eq!(found(0x10), None);
        assert_eq!(found(0x11), Some(("first", 1, 0x1a)));
        assert_eq!(found(0x2a), Some(("first", 0x1a, 0x1a)));
        assert_eq!(found(0x2b), Some(("again", 1, 0xd6)));
        assert_eq!(found(0x100), Some(("again", 0xd6, 0xd6)));
        assert_eq!(found(0x180), Some(("last", 0x80, 0)));
        assert_eq!(search(b"", 5), None);
        assert_eq!(search(b"no table", 5), None);
    }

    #[test]
    fn a_name_that_is_too_long_is_cut() {
        let table = std::format!("10 {}\u{e4}\n", "x".repeat(NAME_MOST - 1));
        assert_eq!(search(table.as_bytes(), 0x20).map(|symbol| symbol.name.len()), Some(NAME_MOST - 1));
    }

    #[test]
    fn a_long_table_is_searched_as_a_short_one() {
        let table: std::string::String = (0..500).map(|at| std::format!("{:x} f{at}\n", at * 7)).collect();
        for address in 1..3500 {
            let symbol = search(table.as_bytes(), address).expect("the first function begins at 0");
            let at = (address - 1) / 7;
            assert_eq!((symbol.name, symbol.offset), (std::format!("f{at}").as_str(), address - at * 7));
        }
    }
}

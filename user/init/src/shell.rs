//! Which program is the shell of whoever sits at the console: root's, as `/etc/passwd` says.

/// The shell of a system that has no users.
pub const USUAL: &str = "/bin/sh";

/// The shell of root, or [`USUAL`] where no user has the number 0 or no shell is named.
pub fn of_root() -> String {
    let users = std::fs::read_to_string("/etc/passwd").unwrap_or_default();
    of_user_zero(&users).unwrap_or(USUAL).to_owned()
}

/// The last field of the first line whose third is 0: name, password, user, group, comment, home, shell.
fn of_user_zero(users: &str) -> Option<&str> {
    let fields = users.lines().map(|line| line.split(':').collect::<Vec<_>>());
    fields.into_iter().find(|fields| fields.get(2) == Some(&"0"))?.get(6).copied().filter(|shell| !shell.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_shell_of_user_zero_is_found_by_number() {
        let users = "daemon:x:1:1:daemon:/:/bin/false\nroot:x:0:0:root:/root:/bin/bash\n";
        assert_eq!(of_user_zero(users), Some("/bin/bash"));
        assert_eq!(of_user_zero("root:x:0:0:root:/root:\n"), None);
        assert_eq!(of_user_zero("root:x:0\n"), None);
        assert_eq!(of_user_zero(""), None);
    }
}

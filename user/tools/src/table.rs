//! The list of tools: a name, where its messages are, and what runs. A tool is added by its line here and its
//! dependency in `Cargo.toml`.

use std::ffi::OsString;

/// One tool as a person calls it.
pub struct Tool {
    /// The name it is called by.
    pub name: &'static str,
    /// The name of its built-in messages (another tool's where one is an alias).
    pub texts: &'static str,
    /// Runs it with its whole argument list, its own name first, and returns its exit status.
    pub run: fn(Vec<OsString>) -> i32,
}

/// The tool called `name`, if there is one.
pub fn find(name: &str) -> Option<&'static Tool> {
    TOOLS.iter().find(|tool| tool.name == name)
}

macro_rules! uutils {
    ($($name:literal $krate:ident),* $(,)?) => {
        &[
            $(Tool { name: $name, texts: strip_prefix(stringify!($krate)), run: |arguments| $krate::uumain(arguments.into_iter()) },)*
            Tool { name: "grep", texts: "grep", run: crate::grep::main },
            Tool { name: "egrep", texts: "grep", run: crate::grep::main },
            Tool { name: "fgrep", texts: "grep", run: crate::grep::main },
            Tool { name: "sed", texts: "sed", run: |arguments| sed::sed::uumain(arguments.into_iter()) },
        ]
    };
}

/// The part of a crate's name after `uu_`: what uucore calls its messages.
const fn strip_prefix(krate: &'static str) -> &'static str {
    krate.split_at(3).1
}

/// All tools.
pub const TOOLS: &[Tool] = uutils! {
    "[" uu_test,
    "basename" uu_basename,
    "cat" uu_cat,
    "chmod" uu_chmod,
    "chown" uu_chown,
    "comm" uu_comm,
    "cp" uu_cp,
    "cut" uu_cut,
    "date" uu_date,
    "dd" uu_dd,
    "df" uu_df,
    "dirname" uu_dirname,
    "du" uu_du,
    "echo" uu_echo,
    "env" uu_env,
    "false" uu_false,
    "head" uu_head,
    "hostname" uu_hostname,
    "id" uu_id,
    "kill" uu_kill,
    "ln" uu_ln,
    "ls" uu_ls,
    "mkdir" uu_mkdir,
    "mkfifo" uu_mkfifo,
    "mknod" uu_mknod,
    "mktemp" uu_mktemp,
    "mv" uu_mv,
    "nice" uu_nice,
    "nohup" uu_nohup,
    "nproc" uu_nproc,
    "od" uu_od,
    "printf" uu_printf,
    "pwd" uu_pwd,
    "readlink" uu_readlink,
    "realpath" uu_realpath,
    "rm" uu_rm,
    "rmdir" uu_rmdir,
    "seq" uu_seq,
    "sleep" uu_sleep,
    "sort" uu_sort,
    "stat" uu_stat,
    "sync" uu_sync,
    "tail" uu_tail,
    "tee" uu_tee,
    "test" uu_test,
    "timeout" uu_timeout,
    "touch" uu_touch,
    "tr" uu_tr,
    "true" uu_true,
    "truncate" uu_truncate,
    "tty" uu_tty,
    "uname" uu_uname,
    "uniq" uu_uniq,
    "wc" uu_wc,
    "whoami" uu_whoami,
    "yes" uu_yes,
};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_name_is_listed_twice() {
        let mut names: Vec<&str> = TOOLS.iter().map(|tool| tool.name).collect();
        names.sort_unstable();
        let all = names.len();
        names.dedup();
        assert_eq!(names.len(), all);
    }

    #[test]
    fn an_alias_has_the_messages_of_its_tool() {
        assert_eq!(find("[").map(|tool| tool.texts), Some("test"));
        assert!(find("nosuch").is_none());
    }
}

//! The commands that change what a session has on the server, known by their tags.

/// A command that leaves something behind beside its rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Command {
    /// BEGIN, START TRANSACTION.
    Begin,
    /// COMMIT, END.
    Commit,
    /// ROLLBACK, ABORT, ROLLBACK TO SAVEPOINT; and a COMMIT of what has failed.
    Rollback,
    /// PREPARE TRANSACTION, which ends it here.
    PrepareTransaction,
    /// LISTEN.
    Listen,
    /// UNLISTEN of one channel or all.
    Unlisten,
    /// DISCARD ALL.
    DiscardAll,
    /// DEALLOCATE ALL.
    DeallocateAll,
    /// SET, RESET.
    Set,
    /// A name may mean something else: CREATE, ALTER, DROP and the like.
    Define,
}

impl Command {
    /// The command of a tag, if it is one of these.
    #[inline]
    pub(crate) fn from_tag(tag: &[u8]) -> Option<Self> {
        // The usual ones leave nothing behind.
        if tag.starts_with(b"SELE") || tag.starts_with(b"INSE") {
            return None;
        }
        Self::from_rare_tag(tag)
    }

    #[cold]
    #[inline(never)]
    fn from_rare_tag(tag: &[u8]) -> Option<Self> {
        Some(match tag {
            b"BEGIN" | b"START TRANSACTION" => Self::Begin,
            b"COMMIT" => Self::Commit,
            b"ROLLBACK" => Self::Rollback,
            b"PREPARE TRANSACTION" => Self::PrepareTransaction,
            b"LISTEN" => Self::Listen,
            b"UNLISTEN" => Self::Unlisten,
            b"DISCARD ALL" => Self::DiscardAll,
            b"DEALLOCATE ALL" => Self::DeallocateAll,
            b"SET" | b"RESET" => Self::Set,
            // It drops tables.
            b"DISCARD TEMP" => Self::Define,
            _ => {
                let word = tag.split(|&byte| byte == b' ').next().unwrap_or_default();
                let defines = matches!(word, b"CREATE" | b"ALTER" | b"DROP" | b"IMPORT");
                return defines.then_some(Self::Define);
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tags_are_told_apart() {
        for (tag, command) in [
            ("SELECT 1", None),
            ("INSERT 0 1", None),
            ("UPDATE 3", None),
            ("SAVEPOINT", None),
            ("RELEASE", None),
            ("SET CONSTRAINTS", None),
            ("COMMIT PREPARED", None),
            ("ROLLBACK PREPARED", None),
            ("DEALLOCATE", None),
            ("DISCARD PLANS", None),
            ("", None),
            ("START TRANSACTION", Some(Command::Begin)),
            ("ROLLBACK", Some(Command::Rollback)),
            ("UNLISTEN", Some(Command::Unlisten)),
            ("DISCARD TEMP", Some(Command::Define)),
            ("ALTER TABLE", Some(Command::Define)),
            ("CREATE TABLE", Some(Command::Define)),
            ("DROP OWNED", Some(Command::Define)),
            ("RESET", Some(Command::Set)),
        ] {
            assert_eq!(Command::from_tag(tag.as_bytes()), command, "{tag}");
        }
    }
}

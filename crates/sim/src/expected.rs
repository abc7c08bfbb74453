//! What a minute of runs has to reach: a simulator that does nothing finds nothing.

/// What a minute of runs has to reach.
pub(crate) fn expected() -> impl Iterator<Item = String> {
    let kinds = crate::callers::Kind::ALL.iter().filter(|(kind, _)| !kind.is_frame());
    let begun = kinds.map(|(_, word)| format!("begun: {word}"));
    let others = [
        "dropped: interaction",
        "dropped: query",
        "dropped: stream",
        "error: Cancelled",
        "error: CommitRefused",
        "error: Lost",
        "error: Server",
        "error: Timeout",
        "server: Terminate",
        "server: cancel that missed",
        "server: cancel that struck",
        "server: commit",
        "server: forgot all",
        "server: notification",
        "server: rollback",
        "step: aside",
        "step: calm",
        "step: drop",
        "step: hang",
        "step: hangup",
        "step: kill",
        "step: refuse",
        "step: reset",
        "told: heard",
    ];
    begun.chain(others.into_iter().map(str::to_owned))
}

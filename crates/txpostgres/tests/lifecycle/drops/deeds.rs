//! Everything that may be dropped half-way.

/// What is dropped.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Deed {
    /// A statement of the connection.
    Call(Call),
    /// A whole interaction.
    Interaction(Interaction),
    /// A call of a cursor, while the interaction lives on; as its first statement or after another one.
    Inside { inner: Inner, first: bool },
    /// What streams, copies or is fetched, on the connection or in an interaction that lives on.
    Piecemeal { piecemeal: Piecemeal, inside: bool },
    /// Some of several calls that wait for their answers at once.
    Pipeline,
    /// A call and an interaction that wait for another interaction.
    Queue,
}

#[derive(Debug, Clone, Copy)]
pub(crate) enum Call {
    Known,
    New,
    NoParameters,
    Operation,
    Script,
    Refused,
    /// With a time limit that does not pass.
    Limited,
    /// Cancelled on the server when it is dropped.
    CancelledOnDrop,
    NewCancelledOnDrop,
    /// The cancel of another call is what is dropped.
    Cancelling,
}

#[derive(Debug, Clone, Copy)]
pub(crate) enum Interaction {
    Single,
    Several,
    Isolated,
    Nested,
    Failing,
    Script,
    Pipelined,
    CancelledOnDrop,
    Limited,
}

#[derive(Debug, Clone, Copy)]
pub(crate) enum Inner {
    Query,
    New,
    Operation,
    Script,
    Nested,
    NestedFailing,
}

/// What takes several steps, or goes on after the first: streams, COPY, cursors.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Piecemeal {
    /// A stream, row by row.
    Next,
    /// A stream, in batches.
    NextRows,
    CopyIn,
    CopyInFlushed,
    CopyInAborted,
    CopyInRows,
    CopyOut,
    CopyOutRows,
    Execute,
    ExecuteMany,
    Callproc,
    Batch,
    /// A cursor in the server: opened, read, moved and closed; on a connection it is held.
    Named,
}

pub(crate) const PIECEMEAL: [Piecemeal; 13] = [
    Piecemeal::Next,
    Piecemeal::NextRows,
    Piecemeal::CopyIn,
    Piecemeal::CopyInFlushed,
    Piecemeal::CopyInAborted,
    Piecemeal::CopyInRows,
    Piecemeal::CopyOut,
    Piecemeal::CopyOutRows,
    Piecemeal::Execute,
    Piecemeal::ExecuteMany,
    Piecemeal::Callproc,
    Piecemeal::Batch,
    Piecemeal::Named,
];

pub(crate) fn deeds() -> impl Iterator<Item = Deed> {
    let calls = [
        Call::Known,
        Call::New,
        Call::NoParameters,
        Call::Operation,
        Call::Script,
        Call::Refused,
        Call::Limited,
        Call::CancelledOnDrop,
        Call::NewCancelledOnDrop,
        Call::Cancelling,
    ];
    let interactions = [
        Interaction::Single,
        Interaction::Several,
        Interaction::Isolated,
        Interaction::Nested,
        Interaction::Failing,
        Interaction::Script,
        Interaction::Pipelined,
        Interaction::CancelledOnDrop,
        Interaction::Limited,
    ];
    let inside = [
        Inner::Query,
        Inner::New,
        Inner::Operation,
        Inner::Script,
        Inner::Nested,
        Inner::NestedFailing,
    ];
    let inside = inside.into_iter().flat_map(|inner| {
        [true, false].into_iter().map(move |first| Deed::Inside { inner, first })
    });
    (calls.into_iter().map(Deed::Call))
        .chain(interactions.into_iter().map(Deed::Interaction))
        .chain(inside)
        .chain([Deed::Pipeline, Deed::Queue])
}

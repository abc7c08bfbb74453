//! Several callers share one PostgreSQL session: who may submit, who waits for which answer, how
//! transactions end, how statements are cancelled, which channels are listened to.
//!
//! There is no socket here, no clock, no task and no runtime. A face gives the lock, the socket and
//! timers ([`Drive`]); it has the futures that users await.

mod access_lock;
mod call;
mod cancel_run;
mod cancellation;
mod drive;
mod effects;
mod listen;
mod loan;
mod multiplexer;
mod operation;
mod portal;
mod response_buffer;
mod scope;
mod slots;
mod transaction;

pub use access_lock::LockId;
pub use call::{Call, Fetched, polled_after_end};
pub use cancel_run::{CancelRun, CancelStep};
pub use cancellation::{CancelHandle, CancelTarget, Cancellation};
pub use drive::{Drive, Locked};
pub use effects::Effects;
pub use listen::{ChannelName, Listeners, NotifyEvent, Queue, QueueBounds, Reply, ReplyReceiver};
pub use loan::{Borrower, Loan, Source};
pub use multiplexer::{
    Access, CancelStart, CopyRoom, EndStart, Input, Multiplexer, NeedsWaker, OnGraceExpired,
    Patience, Received, Tick, Usable,
};
pub use operation::{BindParams, SimpleOperation};
pub use portal::{Portal, Portion};
pub use response_buffer::Chunk;
pub use scope::{Scope, TransactionScope};
pub use slots::{Driven, SlotId};
pub use transaction::{Begin, EndKind, outlived};

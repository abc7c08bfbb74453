//! The task that has the server listen to what is wanted: it comes when there is something to do, and goes when it is done.

use std::future::Future;
use std::sync::{Arc, Weak};

use txpostgres_session::{Error, ErrorKind};

use super::audience::Audience;
use super::channels::Replies;
use crate::call::Call;
use crate::caller::Caller;

/// Makes what is listened to agree with what is wanted, one request after the other.
pub(crate) fn work(audience: Weak<Audience>) -> impl Future<Output = ()> + Send {
    // Made before it is polled: a runtime that has ended drops it at once.
    let departure = Departure { audience, goes_home: false };
    rounds(departure)
}

async fn rounds(mut departure: Departure) {
    loop {
        let Some(audience) = departure.audience.upgrade() else {
            return;
        };
        let mut replies = Replies::new();
        let next = audience.next_round(&mut replies);
        answer(&mut replies);
        let Some((round, link, generation)) = next else {
            departure.goes_home = true;
            return;
        };
        // It must not keep the connection while it waits for the server.
        drop(audience);
        let session = Arc::downgrade(&link);
        let call = Call::script(Ok(Caller::Connection(link)), &round.sql);
        let outcome = call.answer(|_| ()).await;
        let Some(audience) = departure.audience.upgrade() else {
            return;
        };
        audience.finish(round, generation, outcome.as_ref().copied(), &mut replies);
        answer(&mut replies);
        if let Err(error) = &outcome {
            tracing::warn!(target: "txpostgres::notify", %error, "LISTEN or UNLISTEN failed");
            if error.kind() != ErrorKind::Server && audience.give_up(Some(&session), error) {
                departure.goes_home = true;
                return;
            }
        }
    }
}

fn answer(replies: &mut Replies) {
    for (reply, outcome) in replies.drain(..) {
        // Who asked may be gone.
        reply.send(outcome).ok();
    }
}

/// The registrar must be known to be gone, however it goes: the runtime may end, and it with it.
struct Departure {
    audience: Weak<Audience>,
    goes_home: bool,
}

impl Drop for Departure {
    fn drop(&mut self) {
        if !self.goes_home
            && let Some(audience) = self.audience.upgrade()
        {
            audience.give_up(None, &unanswered());
        }
    }
}

/// Why somebody gets no answer.
pub(crate) fn unanswered() -> Error {
    Error::new(ErrorKind::Closed, "the connection's runtime ended, or the connection was dropped")
}

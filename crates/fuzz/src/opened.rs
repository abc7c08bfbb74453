//! A session that is open, and the columns of an answer.

use std::collections::HashMap;
use std::sync::{Arc, LazyLock, Mutex};

use txpostgres_session::{Column, Event, Request, Session};

use crate::support::dialog::{Dialog, message};
use crate::support::player::Player;

/// A session that has logged in, with nothing outstanding.
pub(crate) fn session() -> Session {
    static DIALOG: LazyLock<Dialog> =
        LazyLock::new(|| Dialog::parse("opened", "A session.\n! open"));
    let mut player = Player::new(&DIALOG);
    let count = player.take();
    player.session.sent(count);
    player.receive(&[message(b'R', &[0; 4]), message(b'Z', b"I")].concat());
    assert!(player.session.is_open());
    player.session
}

/// A description of columns of these types, in binary if `format` is 1.
pub(crate) fn row_description(oids: &[u32], format: u8) -> Vec<u8> {
    let mut body = u16::try_from(oids.len()).unwrap().to_be_bytes().to_vec();
    for (number, oid) in oids.iter().enumerate() {
        body.extend(format!("c{number}\0").bytes());
        body.extend([0; 6]);
        body.extend(oid.to_be_bytes());
        body.extend([0xff; 6]);
        body.extend([0, format]);
    }
    message(b'T', &body)
}

/// Columns of built-in types, as an answer brings them.
pub(crate) fn columns(oids: &[u32], format: u8) -> Arc<[Column]> {
    type Known = HashMap<(Vec<u32>, u8), Arc<[Column]>>;
    static KNOWN: LazyLock<Mutex<Known>> = LazyLock::new(Mutex::default);
    let mut known = KNOWN.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    let columns = known.entry((oids.to_vec(), format)).or_insert_with(|| ask(oids, format));
    Arc::clone(columns)
}

fn ask(oids: &[u32], format: u8) -> Arc<[Column]> {
    let mut session = session();
    session.submit(Request::Script { sql: "select" }).unwrap();
    session.receive(&row_description(oids, format));
    session.receive(&[message(b'C', b"SELECT 0\0"), message(b'Z', b"I")].concat());
    while let Some(event) = session.next_event() {
        if let Event::Settled { outcome, .. } = event {
            return outcome.unwrap().columns().unwrap();
        }
    }
    panic!("nothing has settled")
}

//! How a session comes to be open: encryption, the greeting, the key that the password makes.

use super::Session;
use crate::auth::DerivedKey;
use crate::error::Result;
use crate::event::Event;
use crate::protocol::encode::Draft;
use crate::protocol::phase::Phase;
use crate::protocol::startup::{Encryption, Reply, Stage};
use crate::tls::Tls;

impl Session {
    /// The driver derived the key that [`Event::DeriveKey`] asked for.
    pub fn supply_key(&mut self, key: DerivedKey) {
        let Some(startup) = self.startup() else {
            return;
        };
        if let Err(error) = startup.supply_key(key).and_then(|reply| self.reply(reply)) {
            self.lost(error);
        }
    }

    pub(super) fn start_tls(&mut self) -> Result<()> {
        let Some(startup) = self.startup() else {
            return Ok(());
        };
        if let Encryption::Tls { settings, server_name, .. } = &startup.encryption {
            let tls = Tls::new(settings, server_name)?;
            self.tls = Some(Box::new(tls));
        }
        Ok(())
    }

    /// When the handshake has just ended, the greeting begins.
    pub(super) fn after_handshake(&mut self) -> Result<()> {
        if self.tls.as_ref().is_none_or(|tls| tls.is_handshaking()) {
            return Ok(());
        }
        let Some(startup) = self.startup().filter(|startup| startup.stage == Stage::Handshake)
        else {
            return Ok(());
        };
        startup.stage = Stage::Greeting;
        self.greet()
    }

    /// Sends the StartupMessage, or the CancelRequest if that is what the session is for.
    pub(super) fn greet(&mut self) -> Result<()> {
        let Phase::Starting(startup) = &mut self.phase else {
            return Ok(());
        };
        let mut draft = Draft::new(self.send_buffer.pending());
        if let Some(key) = &startup.victim {
            startup.stage = Stage::Interrupting;
            draft.cancel_request(key.process_id(), key.secret())?;
        } else {
            draft.startup(startup.version_number(), startup.parameters())?;
        }
        draft.keep();
        Ok(())
    }

    pub(super) fn reply(&mut self, reply: Reply) -> Result<()> {
        if let Phase::Starting(startup) = &mut self.phase {
            self.events.extend(startup.take_warnings().into_iter().map(Event::Warning));
        }
        match reply {
            Reply::Wait => {}
            Reply::Send(body) => {
                let mut draft = Draft::new(self.send_buffer.pending());
                draft.authentication(&body)?;
                draft.keep();
            }
            Reply::Derive(derivation) => {
                self.events.push_back(Event::DeriveKey(derivation));
            }
            Reply::CancelKey(key) => self.cancel_key = key,
        }
        Ok(())
    }
}

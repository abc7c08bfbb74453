//! Whether the session is in a transaction, in the server's own words at each ReadyForQuery.

/// The transaction status that the server reported last (manual, section 54.7, `ReadyForQuery`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum TransactionStatus {
    /// `I`: not in a transaction.
    #[default]
    Idle,
    /// `T`: in a transaction.
    InTransaction,
    /// `E`: in a transaction that failed; everything but ROLLBACK is refused.
    Failed,
}

impl TransactionStatus {
    /// Reads the byte of a ReadyForQuery.
    pub(crate) fn from_byte(byte: u8) -> Option<Self> {
        match byte {
            b'I' => Some(Self::Idle),
            b'T' => Some(Self::InTransaction),
            b'E' => Some(Self::Failed),
            _ => None,
        }
    }

    /// The byte of a ReadyForQuery.
    pub fn as_byte(self) -> u8 {
        match self {
            Self::Idle => b'I',
            Self::InTransaction => b'T',
            Self::Failed => b'E',
        }
    }
}

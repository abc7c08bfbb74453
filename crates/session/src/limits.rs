//! Every bound of the engine, with its unit and its reason.
//!
//! A length announced by the peer is compared with one of these before a byte is reserved for it,
//! and even then memory is reserved only for bytes that have arrived.

/// Bytes of one message from the server, its length word included: 1 GiB.
///
/// The server cannot build a larger one: a field ends at 1 GB (`MaxAllocSize` in PostgreSQL's
/// `memutils.h`).
pub const MESSAGE_BYTES: usize = 1 << 30;

/// Bytes of one message of a kind that is never long (everything but `D`, `T`, `t`, `E`, `N`, `d`
/// and `V`, and `A`, see below): 30,000, as in libpq's `VALID_LONG_MESSAGE_TYPE`. A peer that is
/// not PostgreSQL is found out by it.
pub const SHORT_MESSAGE_BYTES: usize = 30_000;

/// Bytes of one NotificationResponse: 256 KiB. A payload ends below 8,000 bytes where blocks have 8
/// KiB, and below 32,768 where they have 32, which is the most (`NOTIFY_PAYLOAD_MAX_LENGTH` in
/// PostgreSQL's `async.c`); as UTF-8 it may have four times as many (`MAX_CONVERSION_GROWTH`). More
/// is not PostgreSQL.
pub const NOTIFICATION_BYTES: usize = 256 * 1024;

/// Bytes of a NOTIFY's payload: less than 8,000, unless the server was built with other blocks
/// (manual, NOTIFY).
pub const NOTIFY_PAYLOAD_BYTES: usize = 7_999;

/// Bytes of a name: `NAMEDATALEN` is 64, its NUL included. The server cuts a longer one off; a
/// channel's is refused instead, since another would be listened to.
pub const NAME_BYTES: usize = 63;

/// Bytes of one message before the server has let us in: libpq accepts 2,000 for authentication
/// requests and 30,000 for an error.
pub const AUTHENTICATION_BYTES: usize = 2_000;

/// Bytes of one message to the server: a length word is a signed 32-bit number, and the server
/// refuses more than 1 GiB (`PQ_LARGE_MESSAGE_LIMIT` in `libpq.h`).
pub const REQUEST_BYTES: usize = (1 << 30) - 1;

/// Parameters of one statement: their count travels in an unsigned 16-bit number.
pub const PARAMETERS: usize = 65_535;

/// Bytes of one request with many sets of parameters, past which no further set is added: 1 MiB.
/// What is sent is built in memory as a whole.
pub const FLIGHT_BYTES: usize = 1024 * 1024;

/// Bytes of a request from which on it is handed over instead of copied, and takes no Close along:
/// 64 KiB. A copy of less costs little beside writing it to the socket; a parameter of 200 MB must
/// not be in memory twice.
pub const LARGE_REQUEST_BYTES: usize = 64 * 1024;

/// Bytes of one message of COPY data that we send: 64 KiB, as large as what is written at a time.
/// The server joins them again.
pub const COPY_DATA_BYTES: usize = 64 * 1024;

/// Bytes of rows that are sent as one message of COPY data, which spares copying them: 256 KiB.
/// More are cut into messages.
pub const COPY_ROWS_BYTES: usize = 256 * 1024;

/// Columns of one row in COPY's binary format: their count travels in a signed 16-bit number; a
/// table has 1,600 at most.
pub const COPY_COLUMNS: usize = 32_767;

/// Results of a script beyond its statements: 1,000. A rule (`ON … DO ALSO SELECT`) adds one to a
/// statement that it is on.
pub const RULE_RESULTS: usize = 1_000;

/// Columns of one row description: the server's own limit is 1,664; the count travels in 16 bits.
pub const COLUMNS: usize = 65_535;

/// Bytes of a cancel key: 4 in protocol 3.0; 4 to 256 in 3.2 (manual, section 54.7,
/// `BackendKeyData`).
pub const CANCEL_KEY_BYTES: core::ops::RangeInclusive<usize> = 4..=256;

/// Parameters that the server reports and we remember (`ParameterStatus`). PostgreSQL 18 reports
/// 15; extensions may add some with `GUC_REPORT`. Past this the report is dropped.
pub const REPORTED_PARAMETERS: usize = 128;

/// Notices kept for [`Session::notices`](crate::Session), the oldest dropped first; psycopg2 keeps
/// 50 as well.
pub const NOTICES: usize = 50;

/// Bytes of the notices kept for [`Session::notices`](crate::Session), all of them together: 256
/// KiB.
pub const NOTICES_BYTES: usize = 256 * 1024;

/// Bytes of each field of a notice that alone would have more than [`NOTICES_BYTES`]: 8 KiB are
/// kept. There are 18 kinds of fields.
pub const NOTICE_FIELD_BYTES: usize = 8 * 1024;

/// Bytes of one field of an error or notice that are printed, before they are escaped: 4 KiB. A
/// server quotes user input in its messages, and one line of a log must not have a megabyte.
pub const PRINTED_BYTES: usize = 4 * 1024;

/// Statements kept prepared on a connection when nothing else is said. asyncpg and pgx keep 100 and
/// 512.
pub const STATEMENT_CACHE: usize = 256;

/// Bytes of SQL text up to which a statement is worth remembering: longer ones are mostly built by
/// a program and never come again (asyncpg's limit is 15 KB).
pub const CACHED_STATEMENT_BYTES: usize = 16 * 1024;

/// SCRAM iterations that we compute. PostgreSQL's default is 4,096; each costs a quarter of a
/// microsecond. An endless count is a way to burn the client's processor (CVE-2026-42198).
pub const SCRAM_ITERATIONS: u32 = 100_000;

/// SCRAM iterations below which there is a warning, if the server is not verified: 4,096, the least
/// that RFC 7677, section 4, recommends, and PostgreSQL's default.
pub const USUAL_SCRAM_ITERATIONS: u32 = 4_096;

/// Bytes of a SCRAM nonce or salt that we accept; PostgreSQL sends 24 and 24 in base64.
pub const SCRAM_FIELD_BYTES: usize = 1_024;

/// Keys derived for SCRAM that are remembered, 128 bytes each: one for each user, password and
/// server. Past this the one that was not used for longest is forgotten, and derived again when it
/// is needed.
pub const SCRAM_KEYS: usize = 64;

/// Bytes of a file with certificates or a key. Debian's file with every public authority has 220
/// KB.
pub const CERTIFICATE_FILE_BYTES: u64 = 8 * 1024 * 1024;

/// Bytes of all revocation lists of a folder together.
pub const REVOCATION_FOLDER_BYTES: usize = 64 * 1024 * 1024;

/// Bytes of a command tag that we keep: `COMPLETION_TAG_BUFSIZE` in PostgreSQL is 64, its NUL
/// included.
pub const COMMAND_TAG_BYTES: usize = 63;

/// Bytes that the session hands out for sending at a time when TLS is in use, so that what has left
/// stays known.
pub const TLS_CHUNK_BYTES: usize = 64 * 1024;

/// Bytes that the session encrypts in one call of [`Session::take_output`](crate::Session), beyond
/// which it goes on in the next: 256 KiB, some tenths of a millisecond. Other tasks wait meanwhile
/// for the lock that a driver has on the session.
pub const TLS_OUTPUT_BYTES: usize = 256 * 1024;

/// Nesting of arrays in composites in arrays … that a value may have before a decoder sees it.
pub const VALUE_DEPTH: usize = 64;

/// Dimensions of an array: `MAXDIM` in PostgreSQL is 6.
pub const ARRAY_DIMENSIONS: usize = 6;

/// Types of the database that a session remembers. `LOOKUP` asks for as many at once. Past this all
/// are forgotten, and looked up again when they are met; a database with more enums and composites
/// in use is hard to imagine.
pub const CATALOG_TYPES: usize = 8_192;

/// Types that are put together from the answer to one lookup: as many as there can be. Each is put
/// together once, but for recursive types, which could be unfolded without end: what is past this
/// is left out.
pub const TYPE_STEPS: usize = 8_192;

//! What holds when nothing is said, each with its unit and its reason.

use std::time::Duration;

/// Time for one host, from the first system call to the first `ReadyForQuery`: 30 s.
///
/// libpq waits for ever. A server that accepts and says nothing must not hold a caller for longer
/// than people wait for a page; a server that starts up or a name server that retries (5 s a try)
/// may take some of it.
pub const CONNECT_TIMEOUT: Duration = Duration::from_secs(30);

/// Silence on the socket before the first keepalive probe: 15 s.
///
/// Linux waits for 2 hours. With the two below, a peer that vanished is found out after 15 + 3 × 5
/// = 30 s, in less than a minute, and a connection costs at most four small packets a minute.
pub const KEEPALIVES_IDLE: Duration = Duration::from_secs(15);

/// Between two probes: 5 s. Longer than any round trip; Linux waits 75 s.
pub const KEEPALIVES_INTERVAL: Duration = Duration::from_secs(5);

/// Probes without an answer before the connection counts as lost: 3, so that two lost packets are
/// forgiven. Linux sends 9.
pub const KEEPALIVES_COUNT: u32 = 3;

/// How long bytes that were sent may stay without acknowledgement: 30 s.
///
/// Keepalive does not run while bytes are under way; without this limit Linux retransmits for about
/// 15 minutes.
pub const TCP_USER_TIMEOUT: Duration = Duration::from_secs(30);

/// The port that IANA gave to PostgreSQL.
pub const PORT: u16 = 5432;

/// Where servers keep their Unix socket, the first that exists: Debian's, Red Hat's and Alpine's
/// builds; those built from source. (libpq knows the one it was compiled with.)
pub const SOCKET_DIRECTORIES: [&str; 2] = ["/var/run/postgresql", "/tmp"];

/// Where the `pg_service.conf` of the machine is looked for without `PGSYSCONFDIR`: Debian's place
/// and Red Hat's. (libpq knows the one it was compiled with.)
pub const SYSTEM_DIRECTORIES: [&str; 2] = ["/etc/postgresql-common", "/etc/sysconfig/pgsql"];

/// Bytes of a password file or service file: 1 MiB, some ten thousand lines. A larger one is a
/// mistake, such as a dump.
pub const FILE_BYTES: u64 = 1 << 20;

/// Bytes of a Unix socket's path: the size of `sun_path` less its NUL (108 on Linux, 104 on BSD and
/// macOS).
pub const SOCKET_PATH_BYTES: usize = if cfg!(target_os = "linux") { 107 } else { 103 };

//! Where to connect, as whom and how.

mod options;

pub use options::{
    AuthenticationMethod, ChannelBinding, LoadBalanceHosts, ProtocolVersion, RequireAuth, SslMode,
    SslNegotiation, TargetSessionAttrs,
};

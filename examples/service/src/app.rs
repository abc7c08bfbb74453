//! What all requests share, and the routes.

use axum::Router;
use axum::extract::FromRef;
use axum::routing::{get, put};
use tokio::sync::watch;
use txpostgres::ConnectionPool;

use crate::{accounts, csv, events, health, transfers};

/// What all requests share. A pool is a handle: clones are cheap, and share their connections.
#[derive(Clone)]
pub(crate) struct App {
    pub(crate) pool: ConnectionPool,
    /// For uploads and downloads.
    pub(crate) bulk: ConnectionPool,
    /// `true` once the service stops.
    pub(crate) closing: watch::Receiver<bool>,
}

impl App {
    /// Ends when the service stops: for answers that have no end of their own.
    pub(crate) fn stopped(&self) -> impl Future<Output = ()> + Send + use<> {
        let mut closing = self.closing.clone();
        async move {
            // An error means that the sender is gone, and `main` with it.
            let _ = closing.wait_for(|is_closing| *is_closing).await;
        }
    }
}

/// Most handlers need no more than this pool: `State(pool): State<ConnectionPool>`.
impl FromRef<App> for ConnectionPool {
    fn from_ref(app: &App) -> Self {
        app.pool.clone()
    }
}

pub(crate) fn router(app: App) -> Router {
    let account = get(accounts::read).put(accounts::rename).delete(accounts::delete);
    Router::new()
        .route("/accounts", get(accounts::list).post(accounts::create))
        .route("/accounts/{id}", account)
        // A body that is read as a stream has no limit of its size, unlike JSON (2 MB).
        .route("/accounts.csv", get(csv::download).post(csv::upload))
        .route("/transfers/{id}", put(transfers::put))
        .route("/events", get(events::events))
        .route("/health", get(health::health))
        .with_state(app)
}

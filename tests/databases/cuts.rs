//! Closes the connections that a proxy forwards.

use std::sync::{Arc, Mutex};

use tokio::sync::watch;

#[derive(Clone, Default)]
pub(crate) struct Cuts(Arc<Mutex<watch::Sender<()>>>);

impl Cuts {
    /// Runs a connection until it ends or is cut.
    pub(crate) fn run<F: Future>(&self, connection: F) -> impl Future<Output = ()> + use<F> {
        let mut cut = self.0.lock().unwrap().subscribe();
        async move {
            tokio::select! {
                // An error is a closed connection.
                _ = connection => {}
                _ = cut.changed() => {}
            }
        }
    }

    /// Closes all connections. When it returns, none of them forwards anything more: a statement
    /// sent afterwards had no effect.
    pub(crate) async fn cut(&self) {
        let cut = std::mem::take(&mut *self.0.lock().unwrap());
        cut.send_replace(());
        cut.closed().await;
    }
}

//! Start and stop of the whole emulator.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;

use super::assemble::{Assembly, assemble};
use super::connection::Port;
use super::keep_alive;
use crate::accept::accept;
use crate::adversary::Adversary;
use crate::clock::Clock;
use crate::iam::Iam;
use crate::lambda;
use crate::logs::Logs;
use crate::metrics::{Metrics, SECONDS_KEPT};
use crate::settings::{Random, Settings};
use crate::store::replay::{ReplayError, replay};
use crate::store::{Identity, Store, StoreError};

/// What a start may choose. Everything that makes a run differ is here, so that a run can be repeated.
#[derive(Clone, Debug)]
pub struct Options {
    /// 0 takes any free port.
    pub port: u16,
    pub region: String,
    pub account_id: String,
    pub clock: Clock,
    pub seed: u64,
    /// Whether the policies of roles are enforced on the calls of functions.
    pub iam: bool,
    /// Functions learn of FIS's faults, and of their end, when the extension polls, as on AWS; else at once.
    pub fis_polling: bool,
    /// Do, by this seed, what AWS may do and a laptop never shows.
    pub adversary: Option<u64>,
    /// Keep everything that was acknowledged here; None: in memory only.
    pub data_dir: Option<PathBuf>,
    /// Of all log events together; the oldest go first.
    pub logs_bytes_max: usize,
    /// How long metrics are kept by the second.
    pub metric_seconds_kept: Duration,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            port: 0,
            region: "us-east-1".to_owned(),
            account_id: "123456789012".to_owned(),
            clock: Clock::System,
            seed: 0,
            iam: true,
            fis_polling: false,
            adversary: None,
            data_dir: None,
            logs_bytes_max: crate::logs::BYTES_MAX,
            metric_seconds_kept: SECONDS_KEPT,
        }
    }
}

/// Why the emulator did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    #[error("failed to listen on 127.0.0.1:{port}")]
    Listen { port: u16, source: io::Error },
    #[error("failed to open the table engine")]
    Tables(#[source] dynoxide::DynoxideError),
    #[error("failed to prepare the place where functions run")]
    Functions(#[source] io::Error),
    #[error("failed to open the data directory")]
    Store(#[from] StoreError),
    #[error("failed to bring back what the data directory holds")]
    Replay(#[from] ReplayError),
}

/// The emulator as a library.
#[derive(Debug)]
pub struct Emulator;

impl Emulator {
    /// Listens, makes the services, and answers from then on in the background.
    ///
    /// # Errors
    /// When the port is taken or an engine does not open.
    pub async fn start(options: Options) -> Result<Running, StartError> {
        let store = options.data_dir.as_deref().map_or_else(|| Ok(Store::default()), Store::open)?;
        let known = store.dir().map_or(Ok(None), Identity::read)?;
        // URLs that were handed out name the port.
        let wanted = known.as_ref().filter(|_| options.port == 0).map_or(options.port, |known| known.port);
        let listen = |source| StartError::Listen { port: wanted, source };
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, wanted)).await.map_err(listen)?;
        let address = listener.local_addr().map_err(listen)?;
        // A directory belongs to one account, region and port: ARNs and URLs in it name them.
        let (account_id, region) = (options.account_id.clone(), options.region.clone());
        let ours = Identity { account_id, region, port: address.port() };
        let starts_before = store.claim(known.as_ref(), &ours)?;
        let settings = settings_for(&options, address, store, starts_before);
        let functions = lambda::Options { fis_polling: options.fis_polling, ..lambda::Options::default() };
        let assembly = assemble(&settings, functions)?;
        compact_requests(&settings.store).await?;
        bring_back(&settings, &assembly).await?;
        settings.iam.enforce(options.iam);
        assembly.services.begin();
        let port = Arc::new(Port { assembly, settings, seed: options.seed });
        let (stop, stopped) = watch::channel(false);
        let accepting = tokio::spawn(serve_all(listener, Arc::clone(&port), stopped));
        Ok(Running { port, stop, accepting })
    }
}

/// Of what is gone nothing needs to be made again.
async fn compact_requests(store: &Store) -> Result<(), StartError> {
    let dropped = store.compact().await?;
    if dropped > 0 {
        tracing::info!(calls = dropped, "calls about what is gone were dropped from the data directory");
    }
    Ok(())
}

/// What the data directory holds. Policies are not asked: the calls in it were judged when they were made.
async fn bring_back(settings: &Settings, assembly: &Assembly) -> Result<(), StartError> {
    settings.iam.enforce(false);
    replay(settings, &assembly.services).await?;
    assembly.queues.restore().await?;
    Ok(())
}

fn settings_for(options: &Options, address: SocketAddr, store: Store, starts_before: u64) -> Settings {
    let metrics = Metrics::new(options.metric_seconds_kept, options.clock.clone());
    Settings {
        account_id: options.account_id.as_str().into(),
        region: options.region.as_str().into(),
        endpoint: format!("http://{address}").into(),
        clock: options.clock.clone(),
        logs: Logs::new(metrics.clone(), options.logs_bytes_max),
        metrics,
        random: Random::from_seed(seed_of_start(options.seed, starts_before)),
        iam: Iam::new(options.iam),
        adversary: Adversary::from_seed(options.adversary),
        store,
    }
}

/// Ids of an earlier start are kept in the data directory: the same seed must not choose them again for something else. The
/// first start has the seed itself, so that a run without a directory is the same.
const fn seed_of_start(seed: u64, starts_before: u64) -> u64 {
    // Odd: every start has another one.
    const STRIDE: u64 = 0x9E37_79B9_7F4A_7C15;
    seed ^ starts_before.wrapping_mul(STRIDE)
}

/// A started emulator. Dropping it without [`Running::shutdown`] closes the port but leaves children to their parent's end.
#[derive(Debug)]
pub struct Running {
    port: Arc<Port>,
    stop: watch::Sender<bool>,
    accepting: JoinHandle<()>,
}

impl Running {
    /// `http://127.0.0.1:PORT`.
    #[must_use]
    pub fn endpoint(&self) -> &str {
        &self.port.settings.endpoint
    }

    #[must_use]
    pub fn settings(&self) -> &Settings {
        &self.port.settings
    }

    /// Closes the port and all connections, then ends the services: no process of theirs is left.
    pub async fn shutdown(self) {
        self.stop.send_replace(true);
        // A panic of the accept loop was reported when it happened, and the services must end all the same.
        drop(self.accepting.await);
        self.port.assembly.services.shutdown().await;
        self.port.settings.store.close();
    }
}

async fn serve_all(listener: TcpListener, port: Arc<Port>, mut stopped: watch::Receiver<bool>) {
    loop {
        let (stream, peer) = tokio::select! {
            accepted = accept(&listener) => accepted,
            _ = stopped.changed() => return,
        };
        tokio::spawn(serve(stream, peer, Arc::clone(&port), stopped.clone()));
    }
}

async fn serve(stream: TcpStream, peer: SocketAddr, port: Arc<Port>, mut stopped: watch::Receiver<bool>) {
    // Small answers must not wait for the acknowledgement of the one before.
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(%error, "a connection was gone before it began");
        return;
    }
    let answer = move |request| Arc::clone(&port).answer(request, peer);
    tokio::select! {
        ended = keep_alive::serve(stream, answer) => {
            if let Err(error) = ended {
                tracing::debug!(%error, "a connection ended early");
            }
        }
        // Long polls may wait for 20 s: a stop does not wait for them.
        _ = stopped.changed() => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_start_has_the_seed_itself_and_every_later_one_another() {
        let seeds: std::collections::HashSet<u64> = (0..1_000).map(|start| seed_of_start(7, start)).collect();
        assert_eq!((seed_of_start(7, 0), seeds.len()), (7, 1_000));
    }
}

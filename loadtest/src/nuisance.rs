//! Sockets that annoy: they listen to nothing, or slowly, or are gone without a word. Whoever pushes must not mind.

use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use tokio::sync::Semaphore;
use tokio::task::JoinHandle;
use tokio::time::sleep;

use crate::outcome::ConnectionStats;
use crate::session::{Socket, open};
use crate::shared::Shared;

/// A slow reader takes one message in this time, so that a busy owner's messages pile up on the way to it.
const READ_EVERY: Duration = Duration::from_millis(500);
/// A socket that is going to be dropped lives for at most this long.
const LIFE_MAX: Duration = Duration::from_secs(2);
/// After a handshake that failed.
const PAUSE: Duration = Duration::from_secs(1);
/// Keeps the lives of these sockets apart from the pauses of the sessions.
const SEED: u64 = 0xBAD;

#[derive(Clone, Copy)]
enum Habit {
    Silent,
    Slow,
    Dropped,
}

/// Begins the nuisance sockets of one owner. Each ends with the run.
pub(crate) fn spawn(shared: &Arc<Shared>, owner: usize, handshakes: &Arc<Semaphore>) -> Vec<JoinHandle<()>> {
    let asked = shared.plan.nuisance;
    let habits = [(Habit::Silent, asked.silent), (Habit::Slow, asked.slow), (Habit::Dropped, asked.dropped)];
    let all = habits.into_iter().flat_map(|(habit, count)| (0..count).map(move |number| (habit, number)));
    all.map(|(habit, number)| {
        let seed = shared.plan.seed ^ SEED ^ ((owner as u64) << 8) ^ u64::from(number);
        let nuisance =
            Nuisance { owner, habit, shared: Arc::clone(shared), handshakes: Arc::clone(handshakes) };
        tokio::spawn(nuisance.run(ChaCha8Rng::seed_from_u64(seed)))
    })
    .collect()
}

struct Nuisance {
    owner: usize,
    habit: Habit,
    shared: Arc<Shared>,
    handshakes: Arc<Semaphore>,
}

impl Nuisance {
    async fn run(self, mut random: ChaCha8Rng) {
        let mut stop = self.shared.stop.subscribe();
        tokio::select! {
            () = stop.wait() => {}
            () = self.annoy(&mut random) => {}
        }
    }

    /// Never ends by itself: a socket that was closed is opened again.
    async fn annoy(&self, random: &mut ChaCha8Rng) {
        loop {
            match self.connect().await {
                Ok(socket) => self.keep(socket, random).await,
                Err(_) => sleep(PAUSE).await,
            }
        }
    }

    async fn connect(&self) -> Result<Socket, String> {
        // Closed never: the semaphore lives as long as its sockets.
        let _permit = self.handshakes.acquire().await.map_err(|error| error.to_string())?;
        open(&self.shared.target.owners[self.owner].socket_url).await
    }

    async fn keep(&self, mut socket: Socket, random: &mut ChaCha8Rng) {
        match self.habit {
            Habit::Silent => {
                self.note(|stats| stats.nuisance_silent += 1);
                std::future::pending::<()>().await;
            }
            Habit::Slow => {
                while let Some(Ok(_)) = socket.next().await {
                    self.note(|stats| stats.nuisance_reads += 1);
                    sleep(READ_EVERY).await;
                }
            }
            Habit::Dropped => {
                sleep(LIFE_MAX.mul_f64(random.random())).await;
                drop(socket);
                self.note(|stats| stats.nuisance_drops += 1);
            }
        }
    }

    fn note(&self, count: impl FnOnce(&mut ConnectionStats)) {
        count(&mut self.shared.book.lock().connections);
    }
}

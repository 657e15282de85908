//! A call that can be made again later and comes out the same: the random source and the clock are those of the call.

use std::cell::RefCell;
use std::future::Future;

use rand_chacha::ChaCha12Rng;
use rand_chacha::rand_core::SeedableRng;

tokio::task_local! {
    static CALL: Call;
}

struct Call {
    random: RefCell<ChaCha12Rng>,
    /// None: the time is now.
    now_ms: Option<i64>,
}

/// Runs a call whose random choices all come from `seed`, at one moment if `now_ms` names it: the call must not wait for
/// a later one. What it spawns is not part of it.
pub async fn scope<F: Future>(seed: u64, now_ms: Option<i64>, call: F) -> F::Output {
    let random = RefCell::new(ChaCha12Rng::seed_from_u64(seed));
    CALL.scope(Call { random, now_ms }, call).await
}

/// The time of the call that is made again.
pub(crate) fn now_ms() -> Option<i64> {
    CALL.try_with(|call| call.now_ms).ok().flatten()
}

/// The generator of the call, inside of one.
pub(crate) fn with_random<T, F: FnOnce(&mut ChaCha12Rng) -> T>(choose: F) -> Result<T, F> {
    let mut choose = Some(choose);
    let chosen = CALL.try_with(|call| {
        let choose = choose.take()?;
        Some(choose(&mut call.random.borrow_mut()))
    });
    match (chosen, choose) {
        (Ok(Some(chosen)), _) => Ok(chosen),
        (_, Some(choose)) => Err(choose),
        (_, None) => unreachable!("the choice is either made or still there"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Clock;
    use crate::settings::Random;

    #[tokio::test]
    async fn a_call_made_again_chooses_the_same_at_the_same_time() {
        use rand::RngExt as _;
        let random = Random::from_seed(1);
        let choose = || async { random.with(|random| random.random::<u64>()) };
        let first = scope(9, None, choose()).await;
        assert_ne!(choose().await, choose().await, "outside of a call the source goes on");
        assert_eq!(scope(9, None, choose()).await, first);
        let then = scope(9, Some(1_000), async { Clock::System.now_ms() }).await;
        assert_eq!(then, 1_000);
        assert_ne!(Clock::System.now_ms(), 1_000);
    }
}
